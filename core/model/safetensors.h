/* safetensors files (https://github.com/huggingface/safetensors): 8-byte little-endian header length, JSON
 * header, raw tensors. Files come from outside, so the reader checks everything before it gives out a
 * pointer: the tensors must cover the data exactly once, their sizes must follow from type and shape, and
 * each must lie aligned to its type. A struct safetensors is immutable and may be read by many threads. */
#pragma once

#include <jansson.h>
#include <stdint.h>

#include "core/base/base.h"

#define SAFETENSORS_RANK_MAX 5
#define SAFETENSORS_HEADER_MAX (16u << 20) /* bytes of JSON */

struct safetensor {
  const char *name;
  const char *dtype; /* "F32", "F16", "U32", "F64" or "U8" */
  uint32_t rank;
  uint64_t shape[SAFETENSORS_RANK_MAX];
  const void *data;
  uint64_t bytes;
  const uint32_t
      *row; /* of what is written: not NULL: data[row[i]], i < shape[0], rows of bytes / shape[0] */
};

/* Writes atomically (temp, fsync, rename, fsync directory). metadata: JSON object of strings or NULL. Tensors
 * keep the order given; the first starts 64-byte aligned relative to the file (the header is padded with
 * spaces) and nothing lies between tensors, so that F64 ones come first where types are mixed. -EINVAL for
 * tensors that could not be read back. */
int safetensors_write(const char *path, const struct safetensor *tensors, uint32_t count,
                      const json_t *metadata, struct guise_error *err);

struct safetensors;
/* Maps and validates a file. Tensors point into the mapping until safetensors_free. -EBADMSG when it is not a
 * valid file of this format; err says where. -EIO when the disk cannot read it. */
int safetensors_open(const char *path, struct safetensors **ret_file, struct guise_error *err);
struct safetensors *safetensors_free(struct safetensors *file);
DEFINE_CLEANUP(struct safetensors *, safetensors_free)
/* Whether a part could not be read after it was opened (core/base/mapping.h): what was read may be zeros. */
bool safetensors_failed(const struct safetensors *file);
uint32_t safetensors_count(const struct safetensors *file);
const struct safetensor *safetensors_at(const struct safetensors *file, uint32_t i);
const struct safetensor *safetensors_find(const struct safetensors *file,
                                          const char *name);        /* NULL when missing */
const json_t *safetensors_metadata(const struct safetensors *file); /* object, maybe empty */
