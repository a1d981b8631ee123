/* Construction, and the least-squares inverse. With the bilinear up-sampling B (8 size x size) and the
 * orthonormal block DCT D, an axis is A = D B, and A'A = B'B: an up-sampled pixel lies between two source
 * pixels, so this is tridiagonal (and positive definite: B is injective). The inverse (A'A)^-1 A' along both
 * axes is the adjoint and then two solves with its factors L diag L', a few operations a pixel. */
#include "core/freq/upsampled.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/freq/upsampled_kernels.h"

struct upsampled_dct {
  uint32_t size;
  const struct upsampled_kernels *kernels;
  float taps[DCT_BLOCK * UPSAMPLED_TAPS * UPSAMPLED_SIZE_MAX]; /* (8,3,size) */
  float lower[UPSAMPLED_SIZE_MAX];                             /* L: ones, and lower[i] at (i,i-1) */
  float pivot[UPSAMPLED_SIZE_MAX];                             /* 1 / diag */
};

static const struct upsampled_kernels *choose_kernels(void) {
#if defined(__x86_64__)
  const char *wanted = getenv("GUISE_KERNELS"); /* as the networks' */
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
      !(wanted && strcmp(wanted, "portable") == 0))
    return &upsampled_avx2;
#endif
  return &upsampled_portable;
}

/* Up-sampled pixel j = (1 - share) source[left] + share source[left + 1]. */
static uint32_t source_of(uint32_t size, uint32_t j, double *ret_share) {
  const uint32_t last = DCT_BLOCK * size - 1, left = MIN(j * (size - 1) / last, size - 2);
  *ret_share = (double)(j * (size - 1) - left * last) / last;
  return left;
}

static void set_taps(struct upsampled_dct *dct) {
  const double pi = 3.14159265358979323846;
  const uint32_t size = dct->size;
  for (uint32_t i = 0; i < size; i++)
    for (uint32_t u = 0; u < DCT_BLOCK; u++) {
      double tap[UPSAMPLED_TAPS] = {0}; /* of source pixel i - 1 + t */
      for (uint32_t n = 0; n < DCT_BLOCK; n++) {
        double share, cosine = (u ? 0.5 : sqrt(0.125)) * cos(pi * (2 * n + 1) * u / 16);
        uint32_t t = source_of(size, DCT_BLOCK * i + n, &share) + 1 - i;
        tap[t] += (1 - share) * cosine;
        tap[t + 1] += share * cosine;
      }
      for (uint32_t t = 0; t < UPSAMPLED_TAPS; t++)
        dct->taps[(u * UPSAMPLED_TAPS + t) * size + i] = (float)tap[t];
    }
}

static void factorise(struct upsampled_dct *dct) {
  double diagonal[UPSAMPLED_SIZE_MAX] = {0}, beside[UPSAMPLED_SIZE_MAX] = {0}; /* beside[i]: (i,i+1) */
  for (uint32_t j = 0; j < DCT_BLOCK * dct->size; j++) {
    double share;
    uint32_t left = source_of(dct->size, j, &share);
    diagonal[left] += (1 - share) * (1 - share);
    diagonal[left + 1] += share * share;
    beside[left] += share * (1 - share);
  }
  for (uint32_t i = 0; i < dct->size; i++) {
    if (i > 0) {
      dct->lower[i] = (float)(beside[i - 1] / diagonal[i - 1]);
      diagonal[i] -= beside[i - 1] * beside[i - 1] / diagonal[i - 1];
    }
    dct->pivot[i] = (float)(1 / diagonal[i]);
  }
}

int upsampled_dct_new(uint32_t size, struct upsampled_dct **ret_dct, struct guise_error *err) {
  if (size < 16 || size > UPSAMPLED_SIZE_MAX || size % DCT_BLOCK != 0)
    return error_set(
        err, -EINVAL,
        "Image size %u is not a multiple of 8 from 16 to %u; crop or scale the images to 112 pixels.", size,
        UPSAMPLED_SIZE_MAX);
  struct upsampled_dct *dct = calloc(1, sizeof(*dct));
  if (!dct)
    return error_set(err, -ENOMEM, "Out of memory while preparing the up-sampled block DCT.");
  dct->size = size;
  dct->kernels = choose_kernels();
  set_taps(dct);
  factorise(dct);
  *ret_dct = dct;
  return 0;
}

struct upsampled_dct *upsampled_dct_free(struct upsampled_dct *dct) {
  free(dct);
  return NULL;
}

float upsampled_dct_tap(const struct upsampled_dct *dct, uint32_t block, uint32_t u, uint32_t t) {
  return dct->taps[(u * UPSAMPLED_TAPS + t) * dct->size + block];
}

void upsampled_dct_forward(const struct upsampled_dct *dct, const float *planar, float *ret_coefficients) {
  const size_t plane = (size_t)dct->size * dct->size;
  for (size_t c = 0; c < 3; c++)
    dct->kernels->forward(dct->taps, dct->size, planar + c * plane,
                          ret_coefficients + c * DCT_COEFFICIENTS * plane);
}

void upsampled_dct_adjoint(const struct upsampled_dct *dct, const float *coefficients, float *ret_planar) {
  const size_t plane = (size_t)dct->size * dct->size;
  for (size_t c = 0; c < 3; c++)
    dct->kernels->adjoint(dct->taps, dct->size, coefficients + c * DCT_COEFFICIENTS * plane,
                          ret_planar + c * plane);
}

/* (A'A)^-1 of every column of a plane. */
static void solve_columns(const struct upsampled_dct *dct, float *plane) {
  const size_t size = dct->size;
  for (size_t y = 1; y < size; y++) {
    float *restrict row = plane + y * size;
    const float lower = dct->lower[y];
    for (size_t x = 0; x < size; x++)
      row[x] -= lower * (row - size)[x];
  }
  for (size_t y = size; y-- > 0;) {
    float *restrict row = plane + y * size;
    const float pivot = dct->pivot[y], lower = y + 1 < size ? dct->lower[y + 1] : 0;
    const float *below = y + 1 < size ? row + size : row;
    for (size_t x = 0; x < size; x++)
      row[x] = pivot * row[x] - lower * below[x];
  }
}

static void transpose(float *plane, size_t size) {
  for (size_t y = 1; y < size; y++)
    for (size_t x = 0; x < y; x++) {
      const float swap = plane[y * size + x];
      plane[y * size + x] = plane[x * size + y];
      plane[x * size + y] = swap;
    }
}

void upsampled_dct_inverse(const struct upsampled_dct *dct, const float *coefficients, float *ret_planar) {
  upsampled_dct_adjoint(dct, coefficients, ret_planar);
  for (size_t c = 0; c < 3; c++) {
    float *plane = ret_planar + c * dct->size * dct->size;
    for (int axis = 0; axis < 2; axis++) {
      solve_columns(dct, plane);
      transpose(plane, dct->size);
    }
  }
}
