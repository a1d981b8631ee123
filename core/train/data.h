/* What a job learns from: the pack, who is held out, and the images of the training classes. Immutable once
 * opened; images may be read by many threads. */
#pragma once

#include <stdint.h>

#include "core/base/file.h"
#include "core/image/pack.h"
#include "core/template/templates.h"
#include "core/train/spec.h"

/* A list of images of one pack with a running person number. */
struct face_list {
  uint32_t *image;    /* index into the pack */
  uint32_t *identity; /* 0..identities-1, ascending */
  uint32_t count, identities;
};

struct job_data {
  struct pack *pack;
  struct templates *templates; /* of a data set whose owner has masked it, which is all in `train`; then there
                                  is no pack and no image */
  uint32_t size;               /* pixels the job works at */
  uint8_t *pixels;             /* the pack's images at that size; NULL when the pack has it already */
  struct face_list train, held;
  struct face_list unseen; /* images of trained people that are not trained on; identities as in train */
  uint32_t *images_of;     /* (train.identities) images of a class */
  char split_sha256[SHA256_HEX]; /* over the held-out identities' pack numbers, then the unseen images', 4
                                    bytes each, little-endian; "" without any */
};

/* What is kept out of training. */
struct data_split {
  double identities; /* share of people: round(share * people), at least two when it is not 0 */
  double images;     /* share of each trained person's images: at least one when it is not 0, and one stays */
  uint64_t seed;
  uint32_t most_people; /* to train on, and to hold out; the others are in no list; 0 = all */
  bool complement;      /* the images that `images` keeps out are trained on, and the others kept out */
};

struct data_split job_spec_split(const struct job_spec *spec);

/* Opens the pack, or the file of templates, and splits it, people and then the images of each person by
 * (seed, RNG_SPLIT). split NULL: everything is trained on, and templates are refused. -EINVAL with err when
 * too few people or too small a pack. */
int job_data_open(const char *pack_path, uint32_t size, const struct data_split *split,
                  struct job_data *ret_data, struct guise_error *err);
/* The same for a job, which may be stopped while images are resized: -ECANCELED, -EINTR. callbacks NULL =
 * never asked. */
struct job_callbacks; /* core/train/job.h */
int job_data_open_for(const struct job_callbacks *callbacks, const char *pack_path, uint32_t size,
                      const struct data_split *split, struct job_data *ret_data, struct guise_error *err);
void job_data_close(struct job_data *data);
uint32_t job_data_identities(const struct job_data *data); /* of the whole data set */
uint32_t job_data_images(const struct job_data *data);

/* (size,size,3) of image `i` of the pack, at the job's size. */
const uint8_t *job_data_image(const struct job_data *data, uint32_t i);

/* Images (from,from,3) that image(context, i) has, called by the threads of an OpenMP loop, and their places
 * (i,to,to,3). */
struct resizing {
  const uint8_t *(*image)(void *context, uint32_t i);
  void *context;
  uint32_t from, to;
  uint8_t *ret_pixels;
};
/* Those of the list, NULL = the first `count`, on the threads of omp_set_num_threads. 0, or, some images on,
 * what job_stop_code says; callbacks NULL = never asked. */
int resize_images(const struct resizing *resizing, const uint32_t *listed, uint32_t count,
                  const struct job_callbacks *callbacks);

/* Callbacks of masks, attacks and embedding: context is a struct face_view. */
struct face_view {
  const struct job_data *data;
  const uint32_t *image; /* the list's images */
};
const uint8_t *face_view_image(void *view, uint32_t i);
