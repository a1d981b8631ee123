/* Image tensors of the Open Inference Protocol: (N,3,S,S), planes of red, green and blue, row by row, as
 * numbers in a JSON text or as they lie in memory (little-endian). They are many, so they never become a tree
 * of JSON. */
#pragma once

#include <stdint.h>

#include "core/base/base.h"

struct tensor_form {
  uint32_t images, side; /* N, S */
  bool floats;           /* FP32 of 0 to 255, rounded to whole numbers; else UINT8 */
};

/* Where the array `data` of an input lies in the text of a request, brackets included: [*ret_begin,
 * *ret_end). Of several the first; false: there is none, or it does not end. */
bool tensor_find(const char *text, size_t bytes, size_t *ret_begin, size_t *ret_end);

/* ret_rgb: (N,S,S,3), as model_embed takes images. -EINVAL when the values are not what the form says; err
 * says how. The JSON array is flat, or nested as the shape is; behind its `bytes` stands one that ends a
 * number. */
int tensor_read_json(const char *text, size_t bytes, const struct tensor_form *form, uint8_t *ret_rgb,
                     struct guise_error *err);
int tensor_read_binary(const void *data, size_t bytes, const struct tensor_form *form, uint8_t *ret_rgb,
                       struct guise_error *err);
