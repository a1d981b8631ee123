/* PSNR and SSIM against plain-Python references, the bootstrap against theory. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
// cmocka needs the four headers above
#include <cmocka.h>
#include <math.h>
#include <stdio.h>

#include "core/base/base.h"
#include "core/base/philox.h"
#include "core/metric/bootstrap.h"
#include "core/metric/quality.h"
#include "unit/metric/golden.h"

static void golden_images(uint32_t planes, uint32_t size, uint32_t noise, uint32_t seed, float *a, float *b) {
  for (uint32_t p = 0; p < planes; p++)
    for (uint32_t y = 0; y < size; y++)
      for (uint32_t x = 0; x < size; x++) {
        uint32_t value = (40 * p + 5 * x + 3 * y + lcg_next(&seed) % 64) % 256;
        int32_t shift = (int32_t)(lcg_next(&seed) % (2 * noise * 16 + 1)) - (int32_t)(noise * 16);
        *a++ = (float)value;
        *b++ = (float)value + (float)shift / 16.0f;
      }
}

static void golden_values(void **state) {
  (void)state;
  FILE *file = fopen(GUISE_GOLDEN "/metric.txt", "re");
  assert_non_null(file);
  double golden[GOLDEN_NUMBERS];
  int seen = 0;
  while (golden_next(file, "quality", golden)) {
    uint32_t planes = (uint32_t)golden[0], size = (uint32_t)golden[1];
    double psnr = golden[4], ssim = golden[5];
    _cleanup_(freep) float *a = calloc((size_t)planes * size * size, sizeof(float));
    _cleanup_(freep) float *b = calloc((size_t)planes * size * size, sizeof(float));
    golden_images(planes, size, (uint32_t)golden[2], (uint32_t)golden[3], a, b);
    assert_true(fabs(quality_psnr(a, b, planes, size) - psnr) < 1e-8);
    assert_true(fabs(quality_ssim(a, b, planes, size) - ssim) < 1e-8);
    assert_true(fabs(quality_ssim(b, a, planes, size) - ssim) < 1e-8);
    seen++;
  }
  (void)fclose(file);
  assert_int_equal(seen, 3);
}

/* The loss is SSIM where no window's is below 0, and its magnitude for a picture's negative; the gradient
 * against differences along directions. */
static void likeness_is_a_loss(void **state) {
  (void)state;
  enum { SIZE = 24, AREA = SIZE * SIZE };
  float a[AREA], b[AREA], negative[AREA], gradient[AREA], other[AREA], moved[AREA];
  float *scratch = calloc(QUALITY_LOSS_SCRATCH(SIZE), sizeof(float));
  golden_images(1, SIZE, 10, 1, a, b);
  assert_true(fabs(quality_likeness(a, b, SIZE, scratch, gradient) - quality_ssim(a, b, 1, SIZE)) < 1e-4);
  for (size_t i = 0; i < AREA; i++)
    negative[i] = 255 - b[i];
  assert_true(quality_ssim(negative, b, 1, SIZE) < -0.7);
  assert_true(quality_likeness(negative, b, SIZE, scratch, gradient) > 0.7);
  const float *pictures[2] = {a, negative};
  for (uint32_t round = 0; round < 20; round++) {
    const float *picture = pictures[round % 2];
    const float length = 0.25f;
    double along = 0, differences = 0;
    struct rng rng;
    (void)quality_likeness(picture, b, SIZE, scratch, gradient);
    rng_init(&rng, 1, RNG_ATTACK, round, 0);
    for (int side = 1; side >= -1; side -= 2) {
      struct rng same = rng;
      along = 0;
      for (size_t i = 0; i < AREA; i++) {
        const float direction = rng_normal(&same) + gradient[i] * 300; /* not all across the slope */
        along += (double)direction * (double)gradient[i];
        moved[i] = picture[i] + (float)side * length * direction;
      }
      differences += side * quality_likeness(moved, b, SIZE, scratch, other) / (2 * (double)length);
    }
    if (fabs(differences - along) > 0.02 * fabs(along) + 2e-5)
      fail_msg("%g, %g by differences", along, differences);
  }
  free(scratch);
}

static void equal_and_unlike_images(void **state) {
  (void)state;
  float a[3 * 32 * 32], b[3 * 32 * 32];
  golden_images(3, 32, 10, 1, a, b);
  assert_true(quality_psnr(a, a, 3, 32) == 100);
  assert_true(fabs(quality_ssim(a, a, 3, 32) - 1) < 1e-12);
  for (size_t i = 0; i < 3 * 32 * 32; i++) {
    a[i] = 0;
    b[i] = 255;
  }
  assert_true(fabs(quality_psnr(a, b, 3, 32)) < 1e-9);
  assert_true(quality_ssim(a, b, 3, 32) < 1e-3);
  assert_true(isnan(quality_ssim(a, b, 3, 10)));
  assert_true(isnan(quality_ssim(a, b, 1, QUALITY_SIZE_MAX + 1)));
}

/* Interval of a mean of independent values: +-1.96 deviation / sqrt(n). */
static void bootstrap_of_independent_values(void **state) {
  (void)state;
  enum { COUNT = 2000 };
  static double value[COUNT];
  static uint32_t cluster[COUNT];
  struct rng rng;
  rng_init(&rng, 3, RNG_ATTACK, 0, 0);
  for (uint32_t i = 0; i < COUNT; i++) {
    value[i] = 5 + (double)rng_normal(&rng);
    cluster[i] = i;
  }
  struct interval x = bootstrap_mean(value, cluster, COUNT, COUNT, 1000, 1);
  struct interval again = bootstrap_mean(value, cluster, COUNT, COUNT, 1000, 1);
  struct interval other = bootstrap_mean(value, cluster, COUNT, COUNT, 1000, 2);
  assert_true(fabs(x.mean - 5) < 0.1);
  assert_true(fabs((x.high - x.low) / (2 * 1.96 / sqrt(COUNT)) - 1) < 0.15);
  assert_true(x.low == again.low && x.high == again.high);
  assert_true(x.low != other.low);
}

/* Images of a person that are all alike count as one: the interval is that of the people, not of the images.
 */
static void bootstrap_counts_people(void **state) {
  (void)state;
  enum { PEOPLE = 50, IMAGES = 40 };
  static double value[PEOPLE * IMAGES];
  static uint32_t by_person[PEOPLE * IMAGES], by_image[PEOPLE * IMAGES];
  struct rng rng;
  rng_init(&rng, 4, RNG_ATTACK, 0, 0);
  for (uint32_t p = 0; p < PEOPLE; p++) {
    double level = (double)rng_normal(&rng);
    for (uint32_t i = 0; i < IMAGES; i++) {
      value[p * IMAGES + i] = level;
      by_person[p * IMAGES + i] = p;
      by_image[p * IMAGES + i] = p * IMAGES + i;
    }
  }
  struct interval people = bootstrap_mean(value, by_person, PEOPLE * IMAGES, PEOPLE, 1000, 1);
  struct interval images = bootstrap_mean(value, by_image, PEOPLE * IMAGES, PEOPLE * IMAGES, 1000, 1);
  double ratio = (people.high - people.low) / (images.high - images.low);
  assert_true(ratio > 5 && ratio < 7.7); /* sqrt 40 = 6.3 */
}

static void bootstrap_of_shares(void **state) {
  (void)state;
  struct interval x = bootstrap_share(900, 1000, 1000, 1);
  assert_true(fabs(x.mean - 0.9) < 1e-12);
  assert_true(fabs(x.low - 0.881) < 0.004 && fabs(x.high - 0.918) < 0.004);
  struct interval all = bootstrap_share(10, 10, 1000, 1);
  assert_true(all.low == 1 && all.high == 1);
}

/* People who have been found or not: the interval holds the exact one. Nobody of n found leaves 1 -
 * .025^(1/n). Values of Clopper and Pearson's two-sided 95 %: 0 of 16 ends at .2059, 0 of 10 at .3085, 0 of 1
 * at .975. */
static void people_who_are_all_alike(void **state) {
  (void)state;
  static const struct {
    uint32_t people;
    double high;
  } rows[] = {{1, .975}, {10, .3085}, {16, .2059}, {100, .0362}};
  static const struct {
    uint32_t found;
    double low, high;
  } exact[] = {{1, .0016, .3023}, {3, .0405, .4565}, {8, .2465, .7535}, {15, .6977, .9984}}; /* of 16 */
  double rate[100] = {0};
  uint32_t cluster[100];
  for (uint32_t i = 0; i < 100; i++)
    cluster[i] = i;
  for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
    struct interval none = {0, 0, 0}, all = {1, 1, 1};
    memset(rate, 0, sizeof(rate));
    bootstrap_widen(rate, rows[i].people, &none);
    assert_true(none.mean == 0 && none.low == 0 && fabs(none.high - rows[i].high) < 5e-5);
    for (uint32_t p = 0; p < rows[i].people; p++)
      rate[p] = 1 - 1e-12; /* fifteen fifteenths */
    bootstrap_widen(rate, rows[i].people, &all);
    assert_true(all.mean == 1 && all.high == 1 && fabs(all.low - (1 - rows[i].high)) < 5e-5);
  }
  struct interval before = {0, 0, 0};
  memset(rate, 0, sizeof(rate));
  for (uint32_t found = 0; found <= 16; found++) { /* the more are found, the higher both bounds */
    struct interval x = bootstrap_mean(rate, cluster, 16, 16, 1000, 1);
    const struct interval drawn = x;
    bootstrap_widen(rate, 16, &x);
    assert_true(x.low >= before.low && x.high >= before.high && x.low < x.high);
    assert_true(x.low <= drawn.low && x.high >= drawn.high);
    for (size_t i = 0; i < sizeof(exact) / sizeof(exact[0]); i++)
      if (found == exact[i].found)
        assert_true(fabs(x.low - fmin(drawn.low, exact[i].low)) < 5e-5 &&
                    fabs(x.high - fmax(drawn.high, exact[i].high)) < 5e-5);
    before = x;
    rate[found] = 1;
  }
  struct interval x = {.5, .5, .5}, unknown = {0, NAN, NAN};
  rate[0] = .5; /* somebody is between: what was drawn stands */
  bootstrap_widen(rate, 16, &x);
  assert_true(x.low == .5 && x.high == .5);
  rate[0] = NAN;
  bootstrap_widen(rate, 16, &x);
  bootstrap_widen(rate, 0, &x);
  assert_true(x.low == .5 && x.high == .5);
  rate[0] = 1;
  bootstrap_widen(rate, 16, &unknown);
  assert_true(isnan(unknown.low) && isnan(unknown.high));
}

static void bootstrap_of_nothing(void **state) {
  (void)state;
  struct interval x = bootstrap_mean(NULL, NULL, 0, 0, 100, 1);
  assert_true(isnan(x.mean) && isnan(x.low) && isnan(x.high));
  const double value[1] = {3};
  const uint32_t cluster[1] = {0};
  x = bootstrap_mean(value, cluster, 1, 1, 100, 1);
  assert_true(x.mean == 3 && x.low == 3 && x.high == 3);
  x = bootstrap_mean(value, cluster, 1, 1, 0, 1);
  assert_true(x.mean == 3 && isnan(x.low));
  x = bootstrap_share(0, 0, 10, 1);
  assert_true(isnan(x.mean));
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(golden_values),
      cmocka_unit_test(likeness_is_a_loss),
      cmocka_unit_test(equal_and_unlike_images),
      cmocka_unit_test(bootstrap_of_independent_values),
      cmocka_unit_test(bootstrap_counts_people),
      cmocka_unit_test(bootstrap_of_shares),
      cmocka_unit_test(people_who_are_all_alike),
      cmocka_unit_test(bootstrap_of_nothing),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
