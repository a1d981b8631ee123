#include <math.h>
#include <string.h>

#include "core/image/pack.h"

/* Weights of one output coordinate over the input: an area filter when shrinking, linear interpolation when
 * growing. */
struct taps {
  uint32_t first, count;
  float weight[2]; /* growing, or the partial first and last cell of an area */
  double begin, end;
};

static struct taps taps_of(uint32_t out, uint32_t to, double origin, double extent, uint32_t limit) {
  struct taps taps = {.count = 0};
  double scale = extent / to;
  if (scale > 1) {
    taps.begin = origin + out * scale;
    taps.end = MIN(taps.begin + scale, (double)limit);
    taps.first = (uint32_t)taps.begin;
    taps.count = MIN((uint32_t)ceil(taps.end), limit) - taps.first;
    return taps;
  }
  double centre = origin + (out + 0.5) * scale - 0.5;
  centre = MIN(MAX(centre, 0.0), (double)(limit - 1));
  taps.first = MIN((uint32_t)centre, limit - 1);
  taps.count = taps.first + 1 < limit ? 2 : 1;
  taps.weight[1] = (float)(centre - taps.first);
  taps.weight[0] = 1 - taps.weight[1];
  if (taps.count == 1)
    taps.weight[0] = 1;
  return taps;
}

static double tap_weight(const struct taps *taps, bool area, uint32_t i) {
  if (!area)
    return (double)taps->weight[i];
  double low = MAX(taps->begin, (double)(taps->first + i)),
         high = MIN(taps->end, (double)(taps->first + i + 1));
  return MAX(high - low, 0.0);
}

void image_resize(const uint8_t *rgb, uint32_t width, uint32_t height, uint8_t *ret_rgb, uint32_t size) {
  double w = width, h = height, x0 = 0, y0 = 0;
  if (width == size && height == size) {
    memcpy(ret_rgb, rgb, (size_t)size * size * 3);
    return;
  }
  /* far from a square: the middle; within a quarter of one: stretched, so that aligned crops keep their whole
   * face */
  if (w > 1.25 * h) {
    x0 = (w - h) / 2;
    w = h;
  } else if (h > 1.25 * w) {
    y0 = (h - w) / 2;
    h = w;
  }
  bool area_x = w > size, area_y = h > size;
  for (uint32_t y = 0; y < size; y++) {
    struct taps ty = taps_of(y, size, y0, h, height);
    for (uint32_t x = 0; x < size; x++) {
      struct taps tx = taps_of(x, size, x0, w, width);
      double sum[3] = {0, 0, 0}, total = 0;
      for (uint32_t j = 0; j < ty.count; j++) {
        double wy = tap_weight(&ty, area_y, j);
        const uint8_t *row = rgb + ((size_t)(ty.first + j) * width + tx.first) * 3;
        for (uint32_t i = 0; i < tx.count; i++) {
          double weight = wy * tap_weight(&tx, area_x, i);
          total += weight;
          for (int c = 0; c < 3; c++)
            sum[c] += weight * row[i * 3 + (uint32_t)c];
        }
      }
      for (int c = 0; c < 3; c++)
        ret_rgb[((size_t)y * size + x) * 3 + (size_t)c] = (uint8_t)(sum[c] / total + 0.5);
    }
  }
}
