/* The native block DCT as plain products with the 8x8 matrix, what core/freq is measured against. As
 * block_dct_forward and block_dct_inverse. size: a multiple of 8 up to DCT_MATRIX_SIZE_MAX. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#define DCT_MATRIX_SIZE_MAX 448

bool dct_matrix_supported(void); /* AVX2 and FMA */
void dct_matrix_forward(uint32_t size, const float *planar, float *ret_coefficients);
void dct_matrix_inverse(uint32_t size, const float *coefficients, float *ret_planar);
