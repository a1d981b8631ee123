/* Resizing against a plain loop that works out every weight at every pixel: the same bytes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/base.h"
#include "core/base/philox.h"
#include "core/image/pack.h"

/* How much of input cell `cell` output `out` covers, or how much it weighs in the line through two centres.
 */
static double plain_weight(uint32_t out, uint32_t to, double origin, double extent, uint32_t limit,
                           uint32_t cell) {
  const double scale = extent / to;
  if (extent > to) {
    const double begin = origin + out * scale, end = MIN(begin + scale, (double)limit);
    return MAX(MIN(end, (double)(cell + 1)) - MAX(begin, (double)cell), 0.0);
  }
  const double centre = MIN(MAX(origin + (out + 0.5) * scale - 0.5, 0.0), (double)(limit - 1));
  const uint32_t first = (uint32_t)centre;
  const float far = (float)(centre - first);
  if (cell == first)
    return first + 1 < limit ? (double)(1 - far) : 1;
  return cell == first + 1 ? (double)far : 0;
}

static void plain_resize(const uint8_t *rgb, uint32_t width, uint32_t height, uint8_t *ret_rgb,
                         uint32_t size) {
  const bool wide = width > 1.25 * height, tall = height > 1.25 * width;
  const double w = wide ? height : width, h = tall ? width : height;
  const double x0 = wide ? (width - w) / 2 : 0, y0 = tall ? (height - h) / 2 : 0;
  for (uint32_t y = 0; y < size; y++)
    for (uint32_t x = 0; x < size; x++) {
      double sum[3] = {0, 0, 0}, total = 0;
      for (uint32_t j = 0; j < height; j++)
        for (uint32_t i = 0; i < width; i++) {
          const double weight =
              plain_weight(y, size, y0, h, height, j) * plain_weight(x, size, x0, w, width, i);
          total += weight;
          for (int c = 0; c < 3; c++)
            sum[c] += weight * rgb[((size_t)j * width + i) * 3 + (size_t)c];
        }
      for (int c = 0; c < 3; c++)
        ret_rgb[((size_t)y * size + x) * 3 + (size_t)c] = (uint8_t)(sum[c] / total + 0.5);
    }
}

static void bytes_are_those_of_a_plain_loop(void **state) {
  (void)state;
  static const struct {
    uint32_t width, height, size;
  } cases[] = {{28, 28, 16}, {28, 28, 14},  {28, 28, 28}, {16, 16, 28}, {40, 30, 17},  {30, 40, 17},
               {37, 31, 5},  {5, 4, 33},    {1, 1, 3},    {2, 1, 4},    {3, 64, 8},    {64, 3, 8},
               {33, 28, 30}, {150, 140, 7}, {9, 9, 8},    {7, 7, 1},    {12, 12, 140}, {8, 7, 129}};
  struct rng rng;
  rng_init(&rng, 7, RNG_SPLIT, 0, 0);
  for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
    const uint32_t width = cases[i].width, height = cases[i].height, size = cases[i].size;
    const size_t in = (size_t)width * height * 3, out = (size_t)size * size * 3;
    uint8_t *rgb = malloc(in), *want = malloc(out), *got = malloc(out);
    assert_true(rgb && want && got);
    for (size_t b = 0; b < in; b++)
      rgb[b] = (uint8_t)rng_u32(&rng);
    plain_resize(rgb, width, height, want, size);
    image_resize(rgb, width, height, got, size);
    for (size_t b = 0; b < out; b++)
      if (got[b] != want[b])
        fail_msg("%ux%u to %u: byte %zu is %u, not %u", width, height, size, b, got[b], want[b]);
    free(rgb);
    free(want);
    free(got);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(bytes_are_those_of_a_plain_loop)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
