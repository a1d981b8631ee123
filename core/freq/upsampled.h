/* The frequency domain of section "upsampled" (DuetFace, PartialFace, DCTDP): RGB -> JPEG full-range YCbCr
 * minus 128 -> bilinear x8 up-sampling with aligned corners (up-sampled pixel j lies at source coordinate
 * j (size-1) / (8 size - 1)) -> 8x8 blocks, stride 8, orthonormal DCT-II. (3,H,W) -> (192,H,W), channel =
 * colour * 64 + u * 8 + v as in dct.h: one block a source pixel.
 *
 * The up-sampled image is never made. The transform is linear and separable, and block i of an axis sees the
 * source pixels i - 1, i, i + 1 only: 8 coefficients from 3 pixels through a small matrix that depends on i.
 * Immutable after construction: many threads may use one. */
#pragma once

#include <stdint.h>

#include "core/freq/dct.h"

struct upsampled_dct;

/* For square images of `size` pixels (a multiple of 8, 16 to 224). */
int upsampled_dct_new(uint32_t size, struct upsampled_dct **ret_dct, struct guise_error *err);
struct upsampled_dct *upsampled_dct_free(struct upsampled_dct *dct);

/* The transform of one axis: coefficient u of block i is the sum over t = 0..2 of tap(i, u, t) times source
 * pixel i - 1 + t (0 where there is none); a coefficient (u,v) multiplies the taps of both axes. */
float upsampled_dct_tap(const struct upsampled_dct *dct, uint32_t block, uint32_t u, uint32_t t);

/* planar: (3,size,size), coefficients: (192,size,size); no aliasing; any alignment. adjoint is the exact
 * transpose of forward. inverse gives the pixels whose coefficients come nearest in least squares (the
 * transform is injective): those of forward for coefficients that come from it. */
void upsampled_dct_forward(const struct upsampled_dct *dct, const float *planar, float *ret_coefficients);
void upsampled_dct_adjoint(const struct upsampled_dct *dct, const float *coefficients, float *ret_planar);
void upsampled_dct_inverse(const struct upsampled_dct *dct, const float *coefficients, float *ret_planar);
