/* Total variation of pictures, the prior of attacks that search for one. Internal to core/attack. */
#pragma once

#include "core/mask/mask.h"

/* The mean over pixels of sqrt(|d/dx|^2 + |d/dy|^2 + e^2) of each plane, (planes, size, size), e a hundredth
 * of the planes' unit; its derivative times `factor` is added to `derivative`. */
double variation_of_planes(const float *planes, uint32_t count, uint32_t size, float unit, double factor,
                           float *derivative);

/* The same of the picture behind a template, of masks that invert to pixels. */
struct variation;
int variation_new(const struct mask *mask, struct variation **ret_variation, struct guise_error *err);
struct variation *variation_free(struct variation *variation);
DEFINE_CLEANUP(struct variation *, variation_free)

/* derivative (elements) += factor * d variation / d template, the picture in units of its pixels' deviation.
 */
int variation_add(struct variation *variation, const float *template_, double factor, float *derivative,
                  struct guise_error *err);
