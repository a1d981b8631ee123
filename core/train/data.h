/* What a job learns from: the pack, who is held out, and the images of the training classes. Immutable once
 * opened; images may be read by many threads. */
#pragma once

#include <stdint.h>

#include "core/base/file.h"
#include "core/image/pack.h"
#include "core/train/spec.h"

/* A list of images of one pack with a running person number. */
struct face_list {
  uint32_t *image;    /* index into the pack */
  uint32_t *identity; /* 0..identities-1, ascending */
  uint32_t count, identities;
};

struct job_data {
  struct pack *pack;
  uint32_t size;   /* pixels the job works at */
  uint8_t *pixels; /* the pack's images at that size; NULL when the pack has it already */
  struct face_list train, held;
  uint32_t *images_of;           /* (train.identities) images of a class */
  char split_sha256[SHA256_HEX]; /* over the held-out identities' pack numbers, little-endian; "" without any
                                  */
};

/* Opens the pack and splits its people by (seed, RNG_SPLIT): round(share * identities) are held out, at least
 * two when the share is not 0. -EINVAL with err when too few people or too small a pack. */
int job_data_open(const char *pack_path, uint32_t size, double share, uint64_t seed,
                  struct job_data *ret_data, struct guise_error *err);
void job_data_close(struct job_data *data);

/* (size,size,3) of image `i` of the pack, at the job's size. */
const uint8_t *job_data_image(const struct job_data *data, uint32_t i);

/* Callbacks of masks, attacks and embedding: context is a struct face_view. */
struct face_view {
  const struct job_data *data;
  const uint32_t *image; /* the list's images */
};
const uint8_t *face_view_image(void *view, uint32_t i);
