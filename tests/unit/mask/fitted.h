/* Masks of any method, fitted on drawn faces of 32 x 32, and what they compute into. */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/mask/mask.h"
#include "unit/mask/weights.h"

enum { SIDE = 32, FACES = 40, PIXELS = SIDE * SIDE * 3 };

#include "unit/mask/drawn_faces.h"

static inline struct mask *made(const struct mask_options *options) {
  struct mask *mask = NULL;
  struct guise_error err = {0};
  if (mask_new(options, &mask, &err) != 0)
    fail_msg("%s", err.text);
  return mask;
}

static inline struct mask *fitted(enum mask_method method, enum mask_dct dct) {
  struct mask_options options = mask_options_default(method, SIDE);
  options.dct = dct;
  options.seed = 3;
  struct mask *mask = made(&options);
  if (mask_learns(&options)) {
    float gates[192];
    for (uint32_t c = 0; c < 192; c++)
      gates[c] = (float)(41 * c % 192) / 192;
    assert_int_equal(mask_set_learnt(mask, gates, 192, NULL), 0);
  }
  assert_int_equal(give_weights(mask, NULL), 0);
  assert_int_equal(mask_fit(mask, face, NULL, FACES, NULL), 0);
  return mask;
}

/* Buffers of one mask. */
struct work {
  float *template_, *scratch, *planar;
};
static inline struct work work_for(const struct mask *mask) {
  const size_t pixels = (size_t)3 * mask_size(mask) * mask_size(mask);
  struct work work = {calloc(mask_elements(mask), 4), calloc(mask_scratch(mask), 4), calloc(pixels, 4)};
  assert_true(work.template_ && work.scratch && work.planar);
  return work;
}
static inline void work_done(struct work *work) {
  free(work->template_);
  free(work->scratch);
  free(work->planar);
}

static inline void refused_constants(struct mask *mask, const struct mask_constants *constants) {
  struct guise_error err = {0};
  assert_int_equal(mask_set_constants(mask, constants, &err), -EINVAL);
  assert_true(err.text[0]);
}
