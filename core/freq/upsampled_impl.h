/* Written once with vectors of 8 floats (sizes are multiples of 8); the including file defines KERNELS.
 *
 * Along x a tap is a vector of its own, since each block column has its own matrix; along y it is a number.
 * Taps that would reach outside the image are 0.
 *
 * The coefficients (9.6 MB a colour image of 112 pixels) pass by memory's speed: 64 rows, one of each
 * channel, are read or written at once, which is more than processors foresee. Asking the second-level cache
 * for the next row of each is 1.7 times as fast. */
#include <stddef.h>
#include <string.h>

#include "core/freq/upsampled_kernels.h"

typedef float vec __attribute__((vector_size(32)));
typedef float memory_vec __attribute__((vector_size(32), aligned(4), may_alias));

#define LANES 8u
#define load(p) ((vec) * (const memory_vec *)(p))
#define store(p, v) (*(memory_vec *)(p) = (memory_vec)(v))
#define prefetch_read(p) __builtin_prefetch(p, 0, 2)
#define prefetch_write(p) __builtin_prefetch(p, 1, 2)

/* The source rows of block row y: beyond the border any row does, its tap is 0. */
static void source_rows(uint32_t size, uint32_t y, size_t ret_row[UPSAMPLED_TAPS]) {
  ret_row[0] = y > 0 ? y - 1 : 0;
  ret_row[1] = y;
  ret_row[2] = y + 1 < size ? y + 1 : y;
}

/* The block row's 8 vertical coefficients of every source column, with a zero before and after each. */
static void analyse_column(const float *taps, uint32_t size, uint32_t y, const float *plane,
                           float columns[DCT_BLOCK][UPSAMPLED_SIZE_MAX + 2]) {
  size_t row[UPSAMPLED_TAPS];
  source_rows(size, y, row);
  for (size_t u = 0; u < DCT_BLOCK; u++) {
    const float *tap = taps + u * UPSAMPLED_TAPS * size + y;
    const float a = tap[0], b = tap[size], c = tap[(size_t)2 * size];
    float *out = columns[u] + 1;
    out[-1] = out[size] = 0;
    for (size_t x = 0; x < size; x += LANES)
      store(out + x, a * load(plane + row[0] * size + x) + b * load(plane + row[1] * size + x) +
                         c * load(plane + row[2] * size + x));
  }
}

static void forward(const float *taps, uint32_t size, const float *plane, float *ret_coefficients) {
  const size_t cells = (size_t)size * size;
  float columns[DCT_BLOCK][UPSAMPLED_SIZE_MAX + 2];
  for (uint32_t y = 0; y < size; y++) {
    analyse_column(taps, size, y, plane, columns);
    for (size_t u = 0; u < DCT_BLOCK; u += 2)
      for (size_t x = 0; x < size; x += LANES) {
        const float *first = columns[u] + x, *second = columns[u + 1] + x;
        const vec a = load(first), b = load(first + 1), c = load(first + 2);
        const vec d = load(second), e = load(second + 1), f = load(second + 2);
        float *out = ret_coefficients + u * DCT_BLOCK * cells + (size_t)y * size + x;
        for (size_t v = 0; v < DCT_BLOCK; v++, out += cells) {
          const float *tap = taps + v * UPSAMPLED_TAPS * size + x;
          const vec left = load(tap), middle = load(tap + size), right = load(tap + (size_t)2 * size);
          prefetch_write(out + size);
          prefetch_write(out + DCT_BLOCK * cells + size);
          store(out, left * a + middle * b + right * c);
          store(out + DCT_BLOCK * cells, left * d + middle * e + right * f);
        }
      }
  }
}

/* What block (y,x) gives to its 3 x 3 source pixels, at x + 1, with a zero before and after each row. */
static void gather(const float *taps, uint32_t size, uint32_t y, const float *coefficients,
                   float shares[UPSAMPLED_TAPS][UPSAMPLED_TAPS][UPSAMPLED_SIZE_MAX + 2]) {
  const size_t cells = (size_t)size * size;
  for (size_t x = 0; x < size; x += LANES) {
    vec share[UPSAMPLED_TAPS][UPSAMPLED_TAPS] = {{{0}}};
    const float *in = coefficients + (size_t)y * size + x;
    for (size_t u = 0; u < DCT_BLOCK; u++) {
      vec left = {0}, middle = {0}, right = {0};
      for (size_t v = 0; v < DCT_BLOCK; v++, in += cells) {
        const float *tap = taps + v * UPSAMPLED_TAPS * size + x;
        const vec value = load(in);
        prefetch_read(in + size);
        left += load(tap) * value;
        middle += load(tap + size) * value;
        right += load(tap + (size_t)2 * size) * value;
      }
      for (size_t t = 0; t < UPSAMPLED_TAPS; t++) {
        const float tap = taps[(u * UPSAMPLED_TAPS + t) * size + y];
        share[t][0] += tap * left;
        share[t][1] += tap * middle;
        share[t][2] += tap * right;
      }
    }
    for (size_t t = 0; t < UPSAMPLED_TAPS; t++)
      for (size_t s = 0; s < UPSAMPLED_TAPS; s++)
        store(&shares[t][s][x + 1], share[t][s]);
  }
}

static void adjoint(const float *taps, uint32_t size, const float *coefficients, float *ret_plane) {
  float shares[UPSAMPLED_TAPS][UPSAMPLED_TAPS][UPSAMPLED_SIZE_MAX + 2] = {{{0}}};
  memset(ret_plane, 0, (size_t)size * size * sizeof(float));
  for (uint32_t y = 0; y < size; y++) {
    size_t row[UPSAMPLED_TAPS];
    source_rows(size, y, row);
    gather(taps, size, y, coefficients, shares);
    for (size_t t = 0; t < UPSAMPLED_TAPS; t++) {
      float *restrict out = ret_plane + row[t] * size;
      const float *left = shares[t][0] + 2, *middle = shares[t][1] + 1, *right = shares[t][2];
      for (size_t x = 0; x < size; x++)
        out[x] += left[x] + middle[x] + right[x];
    }
  }
}

const struct upsampled_kernels KERNELS = {.forward = forward, .adjoint = adjoint};
