#include <math.h>
#include <string.h>

#include "core/image/pack.h"

#define COLUMNS 128u /* of the output, whose weights are there at once */

/* Weights of one output coordinate over the input: an area filter when shrinking, linear interpolation when
 * growing. Cells between the first and the last lie in the area as a whole: they weigh 1. */
struct taps {
  uint32_t first, count;
  double weight[2]; /* of the first and the last cell */
};

static struct taps area_taps(uint32_t out, double scale, double origin, uint32_t limit) {
  const double begin = origin + out * scale, end = MIN(begin + scale, (double)limit);
  struct taps taps = {.first = (uint32_t)begin};
  taps.count = MIN((uint32_t)ceil(end), limit) - taps.first;
  const uint32_t last = taps.first + taps.count - 1;
  taps.weight[0] = MAX(MIN(end, (double)(taps.first + 1)) - begin, 0.0);
  taps.weight[1] = MAX(end - MAX(begin, (double)last), 0.0);
  return taps;
}

static struct taps taps_of(uint32_t out, uint32_t to, double origin, double extent, uint32_t limit) {
  const double scale = extent / to;
  if (scale > 1)
    return area_taps(out, scale, origin, limit);
  double centre = origin + (out + 0.5) * scale - 0.5;
  centre = MIN(MAX(centre, 0.0), (double)(limit - 1));
  struct taps taps = {.first = MIN((uint32_t)centre, limit - 1)};
  taps.count = taps.first + 1 < limit ? 2 : 1;
  const float far = (float)(centre - taps.first);
  taps.weight[0] = taps.count == 1 ? 1 : (double)(1 - far);
  taps.weight[1] = (double)far;
  return taps;
}

struct sums {
  double colour[3], weight;
};

static inline void add_cell(struct sums *sums, double weight, const uint8_t *cell) {
  sums->weight += weight;
  for (int c = 0; c < 3; c++)
    sums->colour[c] += weight * cell[c];
}

/* cell: the first of the row that counts. */
static inline void add_row(struct sums *sums, double weight, const struct taps *taps, const uint8_t *cell) {
  const uint8_t *last = cell + (size_t)(taps->count - 1) * 3;
  add_cell(sums, weight * taps->weight[0], cell);
  if (taps->count == 1)
    return;
  for (cell += 3; cell < last; cell += 3)
    add_cell(sums, weight, cell);
  add_cell(sums, weight * taps->weight[1], last);
}

static double weight_of(const struct taps *taps, uint32_t i) {
  return i == 0 ? taps->weight[0] : i + 1 == taps->count ? taps->weight[1] : 1;
}

/* One row of the output, `count` pixels of it. */
static void resize_row(const uint8_t *rgb, uint32_t width, const struct taps *row, const struct taps *columns,
                       uint32_t count, uint8_t *ret_rgb) {
  for (uint32_t x = 0; x < count; x++, ret_rgb += 3) {
    struct sums sums = {.weight = 0};
    for (uint32_t j = 0; j < row->count; j++)
      add_row(&sums, weight_of(row, j), &columns[x],
              rgb + ((size_t)(row->first + j) * width + columns[x].first) * 3);
    for (int c = 0; c < 3; c++)
      ret_rgb[c] = (uint8_t)(sums.colour[c] / sums.weight + 0.5);
  }
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
  for (uint32_t left = 0; left < size; left += COLUMNS) {
    struct taps columns[COLUMNS];
    const uint32_t count = MIN(COLUMNS, size - left);
    for (uint32_t x = 0; x < count; x++)
      columns[x] = taps_of(left + x, size, x0, w, width);
    for (uint32_t y = 0; y < size; y++) {
      const struct taps row = taps_of(y, size, y0, h, height);
      resize_row(rgb, width, &row, columns, count, ret_rgb + ((size_t)y * size + left) * 3);
    }
  }
}
