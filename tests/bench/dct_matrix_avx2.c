/* One row of blocks at a time. Vertically a row of pixels is a vector; horizontally 8 blocks are transposed,
 * so that a vector holds one position of 8 blocks. Blocks beyond the last of a row are zeros, not stored. */
#include "tests/bench/dct_matrix.h"

#include <math.h>
#include <string.h>

#if defined(__x86_64__)
#include <immintrin.h>

enum { N = 8, GROUPS = (DCT_MATRIX_SIZE_MAX / N + N - 1) / N, WIDTH = GROUPS * N * N };

/* entry[u][n] = c_u cos(pi (2n + 1) u / 16) */
static void make_matrix(float entry[N][N]) {
  for (int u = 0; u < N; u++)
    for (int n = 0; n < N; n++)
      entry[u][n] = (float)((u ? 0.5 : sqrt(0.125)) * cos(M_PI * (2 * n + 1) * u / 16));
}

static inline __attribute__((always_inline)) void transpose(__m256 r[N]) {
  __m256 t[N], s[N];
  for (int i = 0; i < N; i += 2) {
    t[i] = _mm256_unpacklo_ps(r[i], r[i + 1]);
    t[i + 1] = _mm256_unpackhi_ps(r[i], r[i + 1]);
  }
  for (int i = 0; i < N; i += 4) {
    s[i] = _mm256_shuffle_ps(t[i], t[i + 2], 0x44);
    s[i + 1] = _mm256_shuffle_ps(t[i], t[i + 2], 0xee);
    s[i + 2] = _mm256_shuffle_ps(t[i + 1], t[i + 3], 0x44);
    s[i + 3] = _mm256_shuffle_ps(t[i + 1], t[i + 3], 0xee);
  }
  for (int i = 0; i < 4; i++) {
    r[i] = _mm256_permute2f128_ps(s[i], s[i + 4], 0x20);
    r[i + 4] = _mm256_permute2f128_ps(s[i], s[i + 4], 0x31);
  }
}

/* out[k] = sum_n matrix[k][n] in[n], or with the transposed matrix */
static inline __attribute__((always_inline)) void multiply(const float matrix[N][N], bool transposed,
                                                           const __m256 in[N], __m256 out[N]) {
#pragma GCC unroll 8
  for (int k = 0; k < N; k++) {
    __m256 sum = _mm256_setzero_ps();
#pragma GCC unroll 8
    for (int n = 0; n < N; n++)
      sum = _mm256_fmadd_ps(_mm256_set1_ps(transposed ? matrix[n][k] : matrix[k][n]), in[n], sum);
    out[k] = sum;
  }
}

bool dct_matrix_supported(void) {
  return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
}

static void store_some(float *out, __m256 value, uint32_t count) {
  float values[N];
  if (count >= N) {
    _mm256_storeu_ps(out, value);
    return;
  }
  _mm256_storeu_ps(values, value);
  memcpy(out, values, count * sizeof(float));
}

static __m256 load_some(const float *in, uint32_t count) {
  float values[N] = {0};
  if (count >= N)
    return _mm256_loadu_ps(in);
  memcpy(values, in, count * sizeof(float));
  return _mm256_loadu_ps(values);
}

void dct_matrix_forward(uint32_t size, const float *planar, float *ret_coefficients) {
  const uint32_t grid = size / N;
  const size_t cells = (size_t)grid * grid;
  static _Thread_local float rows[N][WIDTH];
  float matrix[N][N];
  make_matrix(matrix);
  for (size_t row = 0; row < (size_t)3 * grid; row++) {
    const float *in = planar + row * N * size;
    float *out = ret_coefficients + row / grid * N * N * cells + row % grid * grid;
    for (uint32_t x = 0; x < size; x += N) {
      __m256 pixels[N], result[N];
      for (int n = 0; n < N; n++)
        pixels[n] = _mm256_loadu_ps(in + (size_t)n * size + x);
      multiply(matrix, false, pixels, result);
      for (int u = 0; u < N; u++)
        _mm256_storeu_ps(&rows[u][x], result[u]);
    }
    for (size_t u = 0; u < N; u++)
      for (uint32_t first = 0; first < grid; first += N) {
        __m256 blocks[N], result[N];
        for (uint32_t b = 0; b < N; b++)
          blocks[b] = _mm256_loadu_ps(&rows[u][(first + b) * N]);
        transpose(blocks);
        multiply(matrix, false, blocks, result);
        for (size_t v = 0; v < N; v++)
          store_some(out + (u * N + v) * cells + first, result[v], grid - first);
      }
  }
}

void dct_matrix_inverse(uint32_t size, const float *coefficients, float *ret_planar) {
  const uint32_t grid = size / N;
  const size_t cells = (size_t)grid * grid;
  static _Thread_local float rows[N][WIDTH];
  float matrix[N][N];
  make_matrix(matrix);
  for (size_t row = 0; row < (size_t)3 * grid; row++) {
    const float *in = coefficients + row / grid * N * N * cells + row % grid * grid;
    float *out = ret_planar + row * N * size;
    for (size_t u = 0; u < N; u++)
      for (uint32_t first = 0; first < grid; first += N) {
        __m256 values[N], blocks[N];
        for (size_t v = 0; v < N; v++)
          values[v] = load_some(in + (u * N + v) * cells + first, grid - first);
        multiply(matrix, true, values, blocks);
        transpose(blocks);
        for (uint32_t b = 0; b < N; b++)
          _mm256_storeu_ps(&rows[u][(first + b) * N], blocks[b]);
      }
    for (uint32_t x = 0; x < size; x += N) {
      __m256 values[N], pixels[N];
      for (int u = 0; u < N; u++)
        values[u] = _mm256_loadu_ps(&rows[u][x]);
      multiply(matrix, true, values, pixels);
      for (int n = 0; n < N; n++)
        _mm256_storeu_ps(out + (size_t)n * size + x, pixels[n]);
    }
  }
}
#else
bool dct_matrix_supported(void) {
  return false;
}

void dct_matrix_forward(uint32_t size, const float *planar, float *ret_coefficients) {
  (void)size, (void)planar, (void)ret_coefficients;
}

void dct_matrix_inverse(uint32_t size, const float *coefficients, float *ret_planar) {
  (void)size, (void)coefficients, (void)ret_planar;
}
#endif
