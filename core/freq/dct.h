/* The frequency domain of section "native": RGB -> JPEG full-range YCbCr minus 128 -> 8x8 blocks, stride 8,
 * orthonormal DCT-II. (3,H,W) -> (192, H/8, W/8), channel = colour * 64 + u * 8 + v, u vertical, v horizontal
 * frequency.
 *
 * Plans are made under one lock (only FFTW's execute is thread-safe) with FFTW_ESTIMATE, so results do not
 * depend on timing; a plan may be executed by many threads at once. */
#pragma once

#include <stdint.h>

#include "core/base/base.h"

#define DCT_BLOCK 8
#define DCT_COEFFICIENTS 64 /* a block of one colour */
#define DCT_CHANNELS 192    /* of three colours */

/* JPEG zig-zag order: zigzag8[rank] = u * 8 + v. */
extern const uint8_t zigzag8[DCT_COEFFICIENTS];

struct block_dct;

/* For square images of `size` pixels (a multiple of 8, 16 to 448). */
int block_dct_new(uint32_t size, struct block_dct **ret_dct, struct guise_error *err);
struct block_dct *block_dct_free(struct block_dct *dct);

/* planar: (3,size,size), coefficients: (192,size/8,size/8); no aliasing; any alignment. */
void block_dct_forward(const struct block_dct *dct, const float *planar, float *ret_coefficients);
void block_dct_inverse(const struct block_dct *dct, const float *coefficients, float *ret_planar);

/* rgb: (size,size,3) interleaved bytes; planar: (3,size,size) YCbCr minus 128. `flip` mirrors left and right.
 */
void rgb_to_ycbcr(const uint8_t *rgb, uint32_t size, bool flip, float *ret_planar);
void ycbcr_to_rgb(const float *planar, uint32_t size, uint8_t *ret_rgb); /* rounded and clamped to 0..255 */
/* JPEG's matrix of that: RGB - 128 = matrix YCbCr. */
extern const float ycbcr_rgb_matrix[3][3];
extern const float rgb_ycbcr_matrix[3][3]; /* the way back */
