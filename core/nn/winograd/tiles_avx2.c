/* The transforms of winograd.h for AVX2 with FMA: eight channels, or eight kernels, a vector. */
#if defined(__x86_64__)
#include <immintrin.h>

#include "core/nn/winograd/tiles.h"

#define ALWAYS static inline __attribute__((always_inline))
#define LANES 8u

typedef float vec __attribute__((vector_size(LANES * 4)));

ALWAYS vec load(const float *p) {
  return (vec)_mm256_loadu_ps(p);
}

ALWAYS void store(float *p, vec v) {
  _mm256_storeu_ps(p, (__m256)v);
}

/* ---- one dimension of each transform; arrays are read and written with a step ---- */

/* B': 6 -> 6 */
ALWAYS void input_line(const vec *d, int step, vec *r, int r_step) {
  const vec d0 = d[0], d1 = d[step], d2 = d[2 * step], d3 = d[3 * step], d4 = d[4 * step], d5 = d[5 * step];
  const vec even = d4 - 4 * d2, odd = d3 - 4 * d1, near = d4 - d2, far = 2 * (d3 - d1);
  r[0] = 4 * d0 - 5 * d2 + d4;
  r[r_step] = even + odd;
  r[2 * r_step] = even - odd;
  r[3 * r_step] = near + far;
  r[4 * r_step] = near - far;
  r[5 * r_step] = 4 * d1 - 5 * d3 + d5;
}

/* A': 6 -> 4 */
ALWAYS void output_line(const vec *m, int step, vec *r, int r_step) {
  const vec s1 = m[step] + m[2 * step], d1 = m[step] - m[2 * step], s2 = m[3 * step] + m[4 * step],
            d2 = m[3 * step] - m[4 * step];
  r[0] = m[0] + s1 + s2;
  r[r_step] = d1 + 2 * d2;
  r[2 * r_step] = s1 + 4 * s2;
  r[3 * r_step] = d1 + 8 * d2 + m[5 * step];
}

/* A: 4 -> 6 */
ALWAYS void gradient_line(const vec *y, int step, vec *r, int r_step) {
  const vec y0 = y[0], y1 = y[step], y2 = y[2 * step], y3 = y[3 * step];
  const vec even = y0 + y2, odd = y1 + y3, even2 = y0 + 4 * y2, odd2 = 2 * y1 + 8 * y3;
  r[0] = y0;
  r[r_step] = even + odd;
  r[2 * r_step] = even - odd;
  r[3 * r_step] = even2 + odd2;
  r[4 * r_step] = even2 - odd2;
  r[5 * r_step] = y3;
}

/* G: 3 -> 6 */
ALWAYS void weights_line(const vec *g, int step, vec *r, int r_step) {
  const vec g0 = g[0], g1 = g[step], g2 = g[2 * step];
  const vec outer = (g0 + g2) * (-1.0f / 6), middle = g1 * (-1.0f / 6);
  const vec outer2 = g0 * (1.0f / 24) + g2 * (1.0f / 6), middle2 = g1 * (1.0f / 12);
  r[0] = g0 * 0.25f;
  r[r_step] = outer + middle;
  r[2 * r_step] = outer - middle;
  r[3 * r_step] = outer2 + middle2;
  r[4 * r_step] = outer2 - middle2;
  r[5 * r_step] = g2;
}

/* G': 6 -> 3 */
ALWAYS void weights_gradient_line(const vec *u, int step, vec *r, int r_step) {
  const vec s1 = u[step] + u[2 * step], d1 = u[2 * step] - u[step], s2 = u[3 * step] + u[4 * step],
            d2 = u[3 * step] - u[4 * step];
  r[0] = u[0] * 0.25f - s1 * (1.0f / 6) + s2 * (1.0f / 24);
  r[r_step] = d1 * (1.0f / 6) + d2 * (1.0f / 12);
  r[2 * r_step] = (s2 - s1) * (1.0f / 6) + u[5 * step];
}

/* ---- tiles ---- */

/* Eight channels of a plane, from where the tile's window of `size` x `size` pixels begins. */
ALWAYS void load_window(const struct winograd_tile *t, const float *plane, int64_t row, int64_t column,
                        const int size, vec *ret_window) {
  const vec zero = {0};
  if (row >= 0 && column >= 0 && row + size <= t->height && column + size <= t->width) {
    const float *at = plane + ((size_t)row * t->width + (size_t)column) * LANES;
    for (int i = 0; i < size; i++)
      for (int j = 0; j < size; j++)
        ret_window[i * size + j] = load(at + ((size_t)i * t->width + (size_t)j) * LANES);
    return;
  }
  for (int i = 0; i < size; i++)
    for (int j = 0; j < size; j++) {
      const int64_t y = row + i, x = column + j;
      const bool inside = y >= 0 && y < t->height && x >= 0 && x < t->width;
      ret_window[i * size + j] = inside ? load(plane + ((size_t)y * t->width + (size_t)x) * LANES) : zero;
    }
}

static void input(const struct winograd_tile *t, const float *x, size_t stride, float *ret_v) {
  const size_t plane = (size_t)t->height * t->width * LANES;
  x += (size_t)t->image * (t->channels / LANES) * plane;
  for (uint32_t c = 0; c < t->channels; c += LANES, x += plane) {
    vec d[36], half[36], v[6];
    load_window(t, x, (int64_t)t->row - 1, (int64_t)t->column - 1, 6, d);
#pragma GCC unroll 6
    for (int i = 0; i < 6; i++)
      input_line(d + 6 * i, 1, half + 6 * i, 1);
#pragma GCC unroll 6
    for (int j = 0; j < 6; j++) {
      input_line(half + j, 6, v, 1);
#pragma GCC unroll 6
      for (int i = 0; i < 6; i++)
        store(ret_v + (size_t)(6 * i + j) * stride + c, v[i]);
    }
  }
}

static void gradient(const struct winograd_tile *t, const float *dy, size_t stride, float *ret_v) {
  const size_t plane = (size_t)t->height * t->width * LANES;
  dy += (size_t)t->image * (t->channels / LANES) * plane;
  for (uint32_t c = 0; c < t->channels; c += LANES, dy += plane) {
    vec d[16], half[24], v[6];
    load_window(t, dy, t->row, t->column, 4, d);
#pragma GCC unroll 4
    for (int i = 0; i < 4; i++)
      gradient_line(d + 4 * i, 1, half + 6 * i, 1);
#pragma GCC unroll 6
    for (int j = 0; j < 6; j++) {
      gradient_line(half + j, 6, v, 1);
#pragma GCC unroll 6
      for (int i = 0; i < 6; i++)
        store(ret_v + (size_t)(6 * i + j) * stride + c, v[i]);
    }
  }
}

static void output(const struct winograd_tile *t, const float *m, size_t stride, const float *bias, bool add,
                   float *y) {
  const size_t plane = (size_t)t->height * t->width * LANES;
  const uint32_t rows = t->height - t->row < 4 ? t->height - t->row : 4,
                 columns = t->width - t->column < 4 ? t->width - t->column : 4;
  y += (size_t)t->image * (t->channels / LANES) * plane + ((size_t)t->row * t->width + t->column) * LANES;
  for (uint32_t c = 0; c < t->channels; c += LANES, y += plane) {
    vec places[36], half[24], v[16];
    const vec zero = {0}, shift = bias ? load(bias + c) : zero;
#pragma GCC unroll 36
    for (int p = 0; p < 36; p++)
      places[p] = load(m + (size_t)p * stride + c);
#pragma GCC unroll 6
    for (int i = 0; i < 6; i++)
      output_line(places + 6 * i, 1, half + 4 * i, 1);
#pragma GCC unroll 4
    for (int j = 0; j < 4; j++)
      output_line(half + j, 4, v + j, 4);
    for (uint32_t i = 0; i < rows; i++)
      for (uint32_t j = 0; j < columns; j++) {
        float *to = y + ((size_t)i * t->width + j) * LANES;
        const vec value = v[4 * i + j] + shift;
        store(to, add ? load(to) + value : value);
      }
  }
}

/* ---- the matrix product ---- */

ALWAYS void product_rows(const int rows, uint32_t depth, const float *a, size_t a_row, size_t a_step,
                         const float *b, size_t b_step, bool add, float *c, size_t c_row) {
  __m256 sum[WINOGRAD_ROWS][2];
#pragma GCC unroll 6
  for (int r = 0; r < rows; r++) {
    sum[r][0] = add ? _mm256_loadu_ps(c + (size_t)r * c_row) : _mm256_setzero_ps();
    sum[r][1] = add ? _mm256_loadu_ps(c + (size_t)r * c_row + LANES) : _mm256_setzero_ps();
  }
  for (uint32_t k = 0; k < depth; k++, a += a_step, b += b_step) {
    const __m256 b0 = _mm256_loadu_ps(b), b1 = _mm256_loadu_ps(b + LANES);
#pragma GCC unroll 6
    for (int r = 0; r < rows; r++) {
      const __m256 value = _mm256_broadcast_ss(a + (size_t)r * a_row);
      sum[r][0] = _mm256_fmadd_ps(value, b0, sum[r][0]);
      sum[r][1] = _mm256_fmadd_ps(value, b1, sum[r][1]);
    }
  }
#pragma GCC unroll 6
  for (int r = 0; r < rows; r++) {
    _mm256_storeu_ps(c + (size_t)r * c_row, sum[r][0]);
    _mm256_storeu_ps(c + (size_t)r * c_row + LANES, sum[r][1]);
  }
}

static void product(uint32_t rows, uint32_t depth, const float *a, size_t a_row, size_t a_step,
                    const float *b, size_t b_step, bool add, float *c, size_t c_row) {
  switch (rows) {
  case 6:
    product_rows(6, depth, a, a_row, a_step, b, b_step, add, c, c_row);
    break;
  case 5:
    product_rows(5, depth, a, a_row, a_step, b, b_step, add, c, c_row);
    break;
  case 4:
    product_rows(4, depth, a, a_row, a_step, b, b_step, add, c, c_row);
    break;
  case 3:
    product_rows(3, depth, a, a_row, a_step, b, b_step, add, c, c_row);
    break;
  case 2:
    product_rows(2, depth, a, a_row, a_step, b, b_step, add, c, c_row);
    break;
  default:
    product_rows(1, depth, a, a_row, a_step, b, b_step, add, c, c_row);
  }
}

/* ---- weights ---- */

static void weights(const float *plain, size_t stride, bool turned, size_t place, float *ret_u) {
  float gathered[9][WINOGRAD_PANEL];
  for (uint32_t j = 0; j < WINOGRAD_PANEL; j++)
    for (uint32_t p = 0; p < 9; p++)
      gathered[turned ? 8 - p : p][j] = plain[j * stride + p];
  for (uint32_t lane = 0; lane < WINOGRAD_PANEL; lane += LANES) {
    vec g[9], half[18], u[6];
#pragma GCC unroll 9
    for (int p = 0; p < 9; p++)
      g[p] = load(&gathered[p][lane]);
#pragma GCC unroll 3
    for (int i = 0; i < 3; i++)
      weights_line(g + 3 * i, 1, half + 6 * i, 1);
#pragma GCC unroll 6
    for (int j = 0; j < 6; j++) {
      weights_line(half + j, 6, u, 1);
#pragma GCC unroll 6
      for (int i = 0; i < 6; i++)
        store(ret_u + (size_t)(6 * i + j) * place + lane, u[i]);
    }
  }
}

static void weights_gradient(const float *u, size_t place, size_t stride, float *ret_plain) {
  float gathered[9][WINOGRAD_PANEL];
  for (uint32_t lane = 0; lane < WINOGRAD_PANEL; lane += LANES) {
    vec places[36], half[18], g[9];
#pragma GCC unroll 36
    for (int p = 0; p < 36; p++)
      places[p] = load(u + (size_t)p * place + lane);
#pragma GCC unroll 6
    for (int i = 0; i < 6; i++)
      weights_gradient_line(places + 6 * i, 1, half + 3 * i, 1);
#pragma GCC unroll 3
    for (int j = 0; j < 3; j++)
      weights_gradient_line(half + j, 3, g + j, 3);
#pragma GCC unroll 9
    for (int p = 0; p < 9; p++)
      store(&gathered[p][lane], g[p]);
  }
  for (uint32_t j = 0; j < WINOGRAD_PANEL; j++)
    for (uint32_t p = 0; p < 9; p++)
      ret_plain[j * stride + p] = gathered[p][j];
}

const struct winograd_kernels winograd_avx2 = {input, gradient, output, product, weights, weights_gradient};
#endif
