/* Faces of which it is known where the identity is, and the callbacks of a trainer that learns from them. */
#pragma once

#include <stdlib.h>

#include "core/base/philox.h"
#include "core/freq/dct.h"
#include "core/train/trainer.h"

/* Faces of 64 x 64: who it is stands in four coefficients of Y; three others of Y carry most of the energy
 * and say nothing; all have a little noise. */
enum { SIDE = 64, FACE = SIDE * SIDE * 3, PEOPLE = 8, EACH = 12, FACES = PEOPLE * EACH };
static const uint8_t telling[4] = {10, 17, 24, 3}, loud[3] = {0, 1, 8};

static uint8_t faces[FACES][FACE];
static uint32_t image[FACES], identity[FACES];

static inline void draw_face(const struct block_dct *dct, uint32_t person, uint32_t number,
                             uint8_t *ret_rgb) {
  enum { FACE_CELLS = SIDE * SIDE / 64 };
  float coefficients[192 * FACE_CELLS], planar[FACE];
  struct rng own, mine;
  rng_init(&own, 1, RNG_SYNTH, person, 0);
  rng_init(&mine, 2, RNG_SYNTH, person, number);
  for (size_t i = 0; i < ARRAY_SIZE(coefficients); i++)
    coefficients[i] = 4 * rng_normal(&mine);
  for (size_t k = 0; k < ARRAY_SIZE(loud); k++)
    for (size_t i = 0; i < FACE_CELLS; i++)
      coefficients[loud[k] * FACE_CELLS + i] = 150 * rng_normal(&mine);
  for (size_t k = 0; k < ARRAY_SIZE(telling); k++)
    for (size_t i = 0; i < FACE_CELLS; i++)
      coefficients[telling[k] * FACE_CELLS + i] = 12 * rng_normal(&own) + 4 * rng_normal(&mine);
  block_dct_inverse(dct, coefficients, planar);
  ycbcr_to_rgb(planar, SIDE, ret_rgb);
}

static inline void no_phase(void *context, const char *phase) {
  (void)context;
  (void)phase;
}
static inline void on_progress(void *context, const struct job_progress *progress) {
  double *last = context;
  assert_true(progress->fraction >= *last && progress->fraction <= 1);
  *last = progress->fraction;
}
static inline void on_log(void *context, const char *level, const char *text) {
  (void)context;
  assert_true(*level && *text);
}
static inline enum job_stop never(void *context) {
  (void)context;
  return JOB_CONTINUE;
}
static inline enum job_stop at_once(void *context) {
  (void)context;
  return JOB_SUSPEND;
}

/* A group's setup. */
static inline int draw_faces(void **state) {
  (void)state;
  struct block_dct *dct = NULL;
  if (block_dct_new(SIDE, &dct, NULL) < 0)
    return -1;
  for (uint32_t i = 0; i < FACES; i++) {
    image[i] = i;
    identity[i] = i / EACH;
    draw_face(dct, i / EACH, i % EACH, faces[i]);
  }
  block_dct_free(dct);
  return 0;
}

/* Trains on all of them, batches of 16. */
static inline struct trainer telling_trainer(const struct job_spec *spec,
                                             const struct job_callbacks *callbacks, uint32_t threads) {
  struct trainer trainer = {.spec = spec, .callbacks = callbacks, .threads = threads, .batch = 16};
  trainer.data =
      (struct job_data){.size = SIDE, .pixels = faces[0], .train = {image, identity, FACES, PEOPLE}};
  trainer.steps_per_epoch = FACES / 16;
  return trainer;
}
