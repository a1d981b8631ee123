/* What the driver asks of an instruction set: transforms of a tile or of weights, and the matrix product. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define WINOGRAD_PLACES 36u /* of a transformed tile */
#define WINOGRAD_PANEL 16u  /* columns of the matrix product at a time */
#define WINOGRAD_ROWS 6u    /* rows at a time, at most */

/* A tensor (N, C/8, H, W, 8) and the tile whose 4x4 outputs begin at (row, column) of image n. */
struct winograd_tile {
  uint32_t channels, height, width;
  uint32_t image, row, column;
};

struct winograd_kernels {
  /* 6x6 inputs from (row - 1, column - 1) on, zero outside: place p of channel c to v[p * stride + c]. */
  void (*input)(const struct winograd_tile *tile, const float *x, size_t stride, float *ret_v);
  /* y's 4x4 gradients, zero outside, to 36 places likewise. */
  void (*gradient)(const struct winograd_tile *tile, const float *dy, size_t stride, float *ret_v);
  /* 36 places to 4x4 outputs plus bias (NULL: none), those inside the image. */
  void (*output)(const struct winograd_tile *tile, const float *m, size_t stride, const float *bias, bool add,
                 float *y);
  /* c[r][0..15] (= or +=) sum over k < depth of a[r * a_row + k * a_step] * b[k * b_step + 0..15], r < rows.
   */
  void (*product)(uint32_t rows, uint32_t depth, const float *a, size_t a_row, size_t a_step, const float *b,
                  size_t b_step, bool add, float *c, size_t c_row);
  /* 16 kernels, kernel j's nine weights at plain + j * stride, turned by half or not: place p of kernel j to
   * ret_u[p * place + j]. */
  void (*weights)(const float *plain, size_t stride, bool turned, size_t place, float *ret_u);
  /* The adjoint: places u[p * place + j] to nine weights of kernel j at ret_plain + j * stride. */
  void (*weights_gradient)(const float *u, size_t place, size_t stride, float *ret_plain);
};

extern const struct winograd_kernels winograd_avx2;
