/* Weights for masks that hold a network, as if they had been learnt: small numbers that repeat. */
#pragma once

#include <stdlib.h>

#include "core/base/philox.h"
#include "core/mask/mask.h"

static inline void give_weights(struct mask *mask) {
  const size_t count = mask_weight_count(mask_options(mask));
  struct rng rng;
  if (count == 0)
    return;
  float *weights = malloc(count * sizeof(*weights));
  assert_non_null(weights);
  rng_init(&rng, 4, RNG_INIT, 0, 0);
  for (size_t i = 0; i < count; i++)
    weights[i] = 0.05f * rng_normal(&rng);
  for (uint32_t c = 0; c < MASK_CHANNELS_MAX; c++) { /* means, deviations, magnitudes come first */
    weights[c] = 0;
    weights[MASK_CHANNELS_MAX + c] = 300.0f / (float)(1 + c % 64);
    weights[2 * MASK_CHANNELS_MAX + c] = 200.0f / (float)(1 + c % 64) + (float)c / 1000;
  }
  assert_int_equal(mask_set_weights(mask, weights, count, NULL), 0);
  free(weights);
}
