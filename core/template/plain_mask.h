/* A model's mask on a machine without FFTW and oneDNN: none, mixup, duetface and ahm, which do no more than
 * choose among the coefficients of the native block DCT, and that is two products with an 8x8 matrix. The
 * same template as core/mask to rounding; a test holds them together. */
#pragma once

#include <jansson.h>
#include <stdint.h>

#include "core/base/base.h"
#include "core/model/mask_file.h"

struct plain_mask {
  const char *method;  /* one of MASK_PLAIN_METHODS; in metadata */
  bool mixes;          /* the method does */
  uint32_t size, grid; /* pixels and cells of a side */
  struct mask_constants constants;
  struct mask_mixing mixing; /* of the model's training */
  bool mixing_known;         /* false: the model is of a version that did not write it down */
  json_t *metadata;          /* the model's "input" and "mask...", for a file of templates; owned */
  double matrix[8][8];       /* of the DCT */
};

/* From the model.safetensors at `path`. -EBADMSG when it is no model; -ENOTSUP when its mask is none of the
 * above or has a key or decoys; err says what to do. */
int plain_mask_open(const char *path, struct plain_mask *ret_mask, struct guise_error *err);
void plain_mask_close(struct plain_mask *mask);

size_t plain_mask_elements(const struct plain_mask *mask); /* C*G*G, floats of a template */
size_t plain_mask_scratch(const struct plain_mask *mask);  /* floats */
/* rgb (size,size,3) -> template (C,G,G). */
void plain_mask_template(const struct plain_mask *mask, const uint8_t *rgb, float *scratch,
                         float *ret_template);
