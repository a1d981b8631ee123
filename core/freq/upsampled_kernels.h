/* The loops of upsampled.c over one colour, compiled for each instruction set from upsampled_impl.h. */
#pragma once

#include <stdint.h>

#include "core/freq/dct.h"

#define UPSAMPLED_SIZE_MAX 224u
#define UPSAMPLED_TAPS 3 /* source pixels i - 1, i, i + 1 of block i */

struct upsampled_kernels {
  /* taps: (8,3,size), taps[u][t][i] of coefficient u, source pixel i - 1 + t. plane: (size,size),
   * coefficients: (64,size,size). */
  void (*forward)(const float *taps, uint32_t size, const float *plane, float *ret_coefficients);
  void (*adjoint)(const float *taps, uint32_t size, const float *coefficients, float *ret_plane);
};

extern const struct upsampled_kernels upsampled_portable;
#if defined(__x86_64__)
extern const struct upsampled_kernels upsampled_avx2;
#endif
