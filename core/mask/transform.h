/* The two block transforms behind one interface. Internal to core/mask. */
#pragma once

#include "core/mask/mask.h"

struct mask_transform;
struct upsampled_dct;

int mask_transform_new(enum mask_dct dct, uint32_t size, struct mask_transform **ret_transform,
                       struct guise_error *err);
struct mask_transform *mask_transform_free(struct mask_transform *transform);
uint32_t mask_transform_grid(const struct mask_transform *transform); /* cells of a side */

/* Of the up-sampled form, NULL of the native one. */
const struct upsampled_dct *mask_transform_upsampled(const struct mask_transform *transform);

/* planar (3,size,size), coefficients (192,grid,grid). adjoint: the transpose of forward; inverse: the pixels
 * whose coefficients come nearest in least squares. For the native form, which is orthonormal, the same. */
void mask_transform_forward(const struct mask_transform *transform, const float *planar,
                            float *ret_coefficients);
void mask_transform_adjoint(const struct mask_transform *transform, const float *coefficients,
                            float *ret_planar);
void mask_transform_inverse(const struct mask_transform *transform, const float *coefficients,
                            float *ret_planar);
