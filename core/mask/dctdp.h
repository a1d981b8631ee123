/* The noise of dctdp, for who learns its budgets. Internal to core/mask and core/train. */
#pragma once

#include "core/base/philox.h"
#include "core/mask/mask.h"

enum { DCTDP_EPSILON, DCTDP_MEASURED, DCTDP_LEARNT }; /* its parameters */

/* The least share of the mean budget that a value may have: less would be noise without bounds. */
#define DCTDP_SHARE_LEAST 1e-5f

/* Largest |value| of channel c of the constants, deviations: what values are clamped to. */
float dctdp_bound(const struct mask_options *options, const struct mask_constants *constants, uint32_t c);
/* Scale of the noise of a value of channel c whose budget is `share` times the mean one. */
float dctdp_scale(const struct mask_options *options, const struct mask_constants *constants, uint32_t c,
                  float share);
/* Laplace(0, 1). */
float dctdp_draw(struct rng *rng);
