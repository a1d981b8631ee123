/* SSIM with a separable window: for each row of windows the five moments are first summed down the columns,
 * then along the row, so that a line of moments is all the memory it needs. */
#include "core/metric/quality.h"

#include <math.h>

#include "core/metric/window.h"

#define WINDOW SSIM_WINDOW
#define HALF 5 /* the window's middle */
#define SIGMA 1.5
#define RANGE SSIM_RANGE
#define PSNR_CAP 100.0

double quality_psnr(const float *a, const float *b, uint32_t planes, uint32_t size) {
  uint64_t count = (uint64_t)planes * size * size;
  double sum = 0;
  for (uint64_t i = 0; i < count; i++) {
    double difference = (double)a[i] - (double)b[i];
    sum += difference * difference;
  }
  if (sum <= 0 || count == 0)
    return PSNR_CAP;
  return fmin(PSNR_CAP, 10.0 * log10(RANGE * RANGE * (double)count / sum));
}

void ssim_window(double ret_weight[WINDOW]) {
  double sum = 0;
  for (int i = 0; i < WINDOW; i++) {
    double x = i - HALF;
    ret_weight[i] = exp(-x * x / (2 * SIGMA * SIGMA));
    sum += ret_weight[i];
  }
  for (int i = 0; i < WINDOW; i++)
    ret_weight[i] /= sum;
}

enum moment { MEAN_A, MEAN_B, SQUARE_A, SQUARE_B, PRODUCT, MOMENTS };

/* Moments of the WINDOW rows that begin at a and b, for every column. */
static void sum_columns(const float *a, const float *b, uint32_t size, const double weight[WINDOW],
                        double line[MOMENTS][QUALITY_SIZE_MAX]) {
  for (uint32_t x = 0; x < size; x++) {
    double m[MOMENTS] = {0};
    for (uint32_t y = 0; y < WINDOW; y++) {
      double p = (double)a[y * size + x], q = (double)b[y * size + x], w = weight[y];
      m[MEAN_A] += w * p;
      m[MEAN_B] += w * q;
      m[SQUARE_A] += w * p * p;
      m[SQUARE_B] += w * q * q;
      m[PRODUCT] += w * p * q;
    }
    for (int k = 0; k < MOMENTS; k++)
      line[k][x] = m[k];
  }
}

static double similarity(const double m[MOMENTS]) {
  double variance_a = m[SQUARE_A] - m[MEAN_A] * m[MEAN_A];
  double variance_b = m[SQUARE_B] - m[MEAN_B] * m[MEAN_B];
  double covariance = m[PRODUCT] - m[MEAN_A] * m[MEAN_B];
  return (2 * m[MEAN_A] * m[MEAN_B] + SSIM_C1) * (2 * covariance + SSIM_C2) /
         ((m[MEAN_A] * m[MEAN_A] + m[MEAN_B] * m[MEAN_B] + SSIM_C1) * (variance_a + variance_b + SSIM_C2));
}

double quality_ssim(const float *a, const float *b, uint32_t planes, uint32_t size) {
  if (size < WINDOW || size > QUALITY_SIZE_MAX || planes == 0)
    return NAN;
  double weight[WINDOW];
  double line[MOMENTS][QUALITY_SIZE_MAX];
  double total = 0;
  uint32_t windows = size - WINDOW + 1;
  ssim_window(weight);
  for (uint32_t plane = 0; plane < planes; plane++) {
    const float *pa = a + (uint64_t)plane * size * size, *pb = b + (uint64_t)plane * size * size;
    for (uint32_t y = 0; y < windows; y++) {
      sum_columns(pa + (uint64_t)y * size, pb + (uint64_t)y * size, size, weight, line);
      for (uint32_t x = 0; x < windows; x++) {
        double m[MOMENTS] = {0};
        for (int k = 0; k < MOMENTS; k++)
          for (uint32_t i = 0; i < WINDOW; i++)
            m[k] += weight[i] * line[k][x + i];
        total += similarity(m);
      }
    }
  }
  return total / ((double)planes * windows * windows);
}
