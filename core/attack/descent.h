/* Adam on the numbers that a search moves, from a rate down to nothing along a cosine. Internal to
 * core/attack.
 */
#pragma once

#include "core/base/base.h"

struct descent {
  size_t count;
  float *first, *second; /* (count) moments */
};

int descent_init(struct descent *descent, size_t count); /* 0 or -ENOMEM; then done is due */
void descent_done(struct descent *descent);
void descent_start(struct descent *descent); /* a new search */
/* x -= Adam's step `step` of `steps` */
void descent_step(struct descent *descent, float rate, uint32_t step, uint32_t steps, const float *derivative,
                  float *x);
