/* Weights for masks that hold some, as if they had been learnt: small numbers that repeat. */
#pragma once

#include <stdlib.h>

#include "core/base/philox.h"
#include "core/mask/generator.h"
#include "core/mask/mask.h"
#include "core/mask/minusface.h"

_Static_assert((int)MINUSFACE_MEAN == (int)GENERATOR_MEAN &&
                   (int)MINUSFACE_DEVIATION == (int)GENERATOR_DEVIATION,
               "networks come behind the same constants");

/* Mean and deviation of coefficients, and what else comes before a network. */
static inline void give_constants(enum mask_weights kind, float *weights) {
  for (uint32_t c = 0; c < MASK_CHANNELS_MAX; c++) {
    weights[GENERATOR_MEAN + c] = 0;
    weights[GENERATOR_DEVIATION + c] = 300.0f / (float)(1 + c % 64);
    if (kind == MASK_WEIGHTS_SUBTRACTION) {
      weights[MINUSFACE_MAGNITUDE + c] = 200.0f / (float)(1 + c % 64) + (float)c / 1000;
    } else {
      weights[GENERATOR_POWER + c] = 0.5f;
      weights[GENERATOR_ECHO + c] = 0.25f;
    }
  }
}

/* Nothing is given to a mask without weights. -ENOMEM, -EINVAL */
static inline int give_weights(struct mask *mask, struct guise_error *err) {
  const size_t count = mask_weight_count(mask_options(mask));
  const enum mask_weights kind = mask_traits(mask_method(mask))->weights;
  struct rng rng;
  if (count == 0)
    return 0;
  float *weights = malloc(count * sizeof(*weights));
  if (!weights)
    return error_set(err, -ENOMEM, "out of memory");
  rng_init(&rng, 4, RNG_INIT, 0, 0);
  for (size_t i = 0; i < count; i++)
    weights[i] = kind == MASK_WEIGHTS_BUDGETS ? (float)(1 + i % 5) : 0.05f * rng_normal(&rng);
  if (kind != MASK_WEIGHTS_BUDGETS)
    give_constants(kind, weights);
  int r = mask_set_weights(mask, weights, count, err);
  free(weights);
  return r;
}
