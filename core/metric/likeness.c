/* SSIM and its gradient. With the moments of a window, m = mean a, q = mean a^2, p = mean ab (weighted), and
 * S = A1 A2 / (B1 B2) of them, the gradient at a pixel is
 *
 *   sum over windows w (dS/dm + 2 a dS/dq + b dS/dp),
 *
 * three maps of windows spread by the window's weights. */
#include <math.h>
#include <string.h>

#include "core/metric/quality.h"
#include "core/metric/window.h"

enum { MEAN_A, MEAN_B, SQUARE_A, SQUARE_B, PRODUCT, MOMENTS };
enum { BY_MEAN, BY_SQUARE, BY_PRODUCT, SLOPES };

struct loss {
  uint32_t size, windows; /* pixels, windows of a side */
  float weight[SSIM_WINDOW];
};

/* Moments of the windows of row y: columns first, then along the row. ret_map[k] + y * windows. */
static void row_moments(const struct loss *loss, const float *a, const float *b, uint32_t y,
                        float *ret_map[MOMENTS]) {
  float line[MOMENTS][QUALITY_SIZE_MAX] = {{0}};
  for (uint32_t j = 0; j < SSIM_WINDOW; j++) {
    const float w = loss->weight[j];
    const float *p = a + (size_t)(y + j) * loss->size, *q = b + (size_t)(y + j) * loss->size;
    for (uint32_t x = 0; x < loss->size; x++) {
      line[MEAN_A][x] += w * p[x];
      line[MEAN_B][x] += w * q[x];
      line[SQUARE_A][x] += w * p[x] * p[x];
      line[SQUARE_B][x] += w * q[x] * q[x];
      line[PRODUCT][x] += w * p[x] * q[x];
    }
  }
  for (uint32_t k = 0; k < MOMENTS; k++) {
    float *to = ret_map[k] + (size_t)y * loss->windows;
    memset(to, 0, loss->windows * sizeof(*to));
    for (uint32_t i = 0; i < SSIM_WINDOW; i++)
      for (uint32_t x = 0; x < loss->windows; x++)
        to[x] += loss->weight[i] * line[k][x + i];
  }
}

/* |S| of a window; its slopes take the place of the first moments. */
static double slopes_of(float *map[MOMENTS], size_t at) {
  const double ma = (double)map[MEAN_A][at], mb = (double)map[MEAN_B][at];
  const double va = (double)map[SQUARE_A][at] - ma * ma, vb = (double)map[SQUARE_B][at] - mb * mb,
               covariance = (double)map[PRODUCT][at] - ma * mb;
  const double a1 = 2 * ma * mb + SSIM_C1, a2 = 2 * covariance + SSIM_C2, b1 = ma * ma + mb * mb + SSIM_C1,
               b2 = va + vb + SSIM_C2, s = a1 * a2 / (b1 * b2), sign = s < 0 ? -1 : 1;
  map[BY_MEAN][at] = (float)(sign * (2 * mb * (a2 - a1) / (b1 * b2) - 2 * s * ma / b1 + 2 * s * ma / b2));
  map[BY_SQUARE][at] = (float)(-sign * s / b2);
  map[BY_PRODUCT][at] = (float)(sign * 2 * a1 / (b1 * b2));
  return sign * s;
}

/* Adds a row of a map of windows to the pixels that its windows hold. */
static void spread_row(const struct loss *loss, const float *map, uint32_t y, float *pixels) {
  float line[QUALITY_SIZE_MAX] = {0};
  const float *from = map + (size_t)y * loss->windows;
  for (uint32_t i = 0; i < SSIM_WINDOW; i++)
    for (uint32_t x = 0; x < loss->windows; x++)
      line[x + i] += loss->weight[i] * from[x];
  for (uint32_t j = 0; j < SSIM_WINDOW; j++) {
    float *to = pixels + (size_t)(y + j) * loss->size;
    for (uint32_t x = 0; x < loss->size; x++)
      to[x] += loss->weight[j] * line[x];
  }
}

double quality_likeness(const float *a, const float *b, uint32_t size, float *scratch, float *ret_gradient) {
  struct loss loss = {.size = size, .windows = size - SSIM_WINDOW + 1};
  const size_t pixels = (size_t)size * size, windows = (size_t)loss.windows * loss.windows;
  double weight[SSIM_WINDOW], sum = 0;
  float *map[MOMENTS], *spread[SLOPES];
  if (size < SSIM_WINDOW || size > QUALITY_SIZE_MAX)
    return NAN;
  ssim_window(weight);
  for (uint32_t i = 0; i < SSIM_WINDOW; i++)
    loss.weight[i] = (float)weight[i];
  for (uint32_t k = 0; k < MOMENTS; k++)
    map[k] = scratch + k * pixels;
  for (uint32_t k = 0; k < SLOPES; k++)
    spread[k] = scratch + (MOMENTS + k) * pixels;
  memset(spread[0], 0, SLOPES * pixels * sizeof(float));
  for (uint32_t y = 0; y < loss.windows; y++)
    row_moments(&loss, a, b, y, map);
  for (size_t at = 0; at < windows; at++)
    sum += slopes_of(map, at);
  for (uint32_t k = 0; k < SLOPES; k++)
    for (uint32_t y = 0; y < loss.windows; y++)
      spread_row(&loss, map[k], y, spread[k]);
  for (size_t i = 0; i < pixels; i++)
    ret_gradient[i] = (spread[BY_MEAN][i] + 2 * a[i] * spread[BY_SQUARE][i] + b[i] * spread[BY_PRODUCT][i]) /
                      (float)windows;
  return sum / (double)windows;
}
