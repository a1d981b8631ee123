/* Masks that learn: which channels the gates choose, and PPFR-FD's sums against numpy. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "core/base/philox.h"
#include "core/freq/dct.h"
#include "core/mask/mask.h"
#include "unit/mask/adjoint.h"

enum { SIDE = 16, PIXELS = SIDE * SIDE, CELLS = 4 };

static uint8_t image[PIXELS * 3];
static float gates[192]; /* all different */

static int setup(void **state) {
  (void)state;
  uint32_t seed = 12345;
  for (size_t i = 0; i < sizeof(image); i++) {
    seed = seed * 1664525u + 1013904223u;
    image[i] = (uint8_t)(seed >> 24);
  }
  for (uint32_t c = 0; c < 192; c++)
    gates[c] = (float)((37 * c + 11) % 193) / 193;
  return 0;
}

static const uint8_t *only_image(void *context, uint32_t i) {
  (void)context;
  (void)i;
  return image;
}

static struct mask *learnt_mask(enum mask_method method, enum mask_dct dct, uint32_t drop, uint64_t seed) {
  struct mask *mask = NULL;
  struct mask_options options = mask_options_default(method, SIDE);
  options.select = MASK_SELECT_LEARNT;
  options.dct = dct;
  options.drop_low = drop;
  options.seed = seed;
  options.clip = 0;
  assert_int_equal(mask_new(&options, &mask, NULL), 0);
  assert_int_equal(mask_set_learnt(mask, gates, 192, NULL), 0);
  return mask;
}

/* Of each colour the lowest gates go, the rest stays in order. */
static void lowest_gates_go(void **state) {
  (void)state;
  struct mask *mask = learnt_mask(MASK_AHM, MASK_DCT_NATIVE, 10, 0);
  const struct mask_constants *k = mask_constants(mask);
  assert_int_equal(k->channels, 162);
  bool kept[192] = {false};
  for (uint32_t c = 0; c < k->channels; c++) {
    kept[k->channel[c]] = true;
    assert_true(c == 0 || k->channel[c] > k->channel[c - 1]);
  }
  for (uint32_t a = 0; a < 192; a++)
    for (uint32_t b = a / 64 * 64; b < a / 64 * 64 + 64; b++)
      assert_true(!kept[a] || kept[b] || gates[a] > gates[b]);
  assert_true(mask_inverts_to_pixels(mask));
  mask_free(mask);
}

static void zigzag_needs_nothing(void **state) {
  (void)state;
  struct mask_options options = mask_options_default(MASK_AHM, SIDE);
  struct guise_error err = {0};
  struct mask *mask = NULL;
  assert_false(mask_learns(&options));
  assert_int_equal(mask_new(&options, &mask, NULL), 0);
  assert_int_equal(mask_set_learnt(mask, gates, 192, &err), -EINVAL);
  assert_int_equal(mask_fit(mask, only_image, NULL, 1, NULL), 0);
  mask_free(mask);
  options = mask_options_default(MASK_PPFR_FD, SIDE);
  assert_true(mask_learns(&options));
  assert_int_equal(mask_new(&options, &mask, NULL), 0);
  assert_int_equal(mask_channels(mask), 108);
  assert_int_equal(mask_fit(mask, only_image, NULL, 1, &err), -EINVAL); /* nothing learnt yet */
  assert_int_equal(mask_set_learnt(mask, gates, 191, &err), -EINVAL);
  mask_free(mask);
}

/* A file's channels must be those that its gates choose. */
static void untrusted_constants(void **state) {
  (void)state;
  struct mask *mask = learnt_mask(MASK_PPFR_FD, MASK_DCT_NATIVE, 28, 1);
  struct guise_error err = {0};
  assert_int_equal(mask_fit(mask, only_image, NULL, 1, NULL), 0);
  struct mask_constants good = *mask_constants(mask), bad;
  assert_int_equal(mask_set_constants(mask, &good, &err), 0);
  bad = good, bad.learnt_count = 0;
  assert_int_equal(mask_set_constants(mask, &bad, &err), -EINVAL);
  bad = good, bad.learnt[good.channel[3]] = 0;
  assert_int_equal(mask_set_constants(mask, &bad, &err), -EINVAL);
  bad = good, bad.learnt[7] = NAN;
  assert_int_equal(mask_set_constants(mask, &bad, &err), -EINVAL);
  bad = good, bad.channel[3] = (uint16_t)(bad.channel[3] + 1u);
  assert_int_equal(mask_set_constants(mask, &bad, &err), -EINVAL);
  mask_free(mask);
}

static double check_values(FILE *file, const float *values, size_t count, size_t step, double square) {
  double mine = 0, want;
  for (size_t i = 0; i < count; i++) {
    mine += (double)values[i] * (double)values[i];
    if (i % step == 0) {
      assert_int_equal(fscanf(file, "%lf", &want), 1);
      if (fabs((double)values[i] - want) > 2e-3)
        fail_msg("value %zu: %g, %g expected", i, (double)values[i], want);
    }
  }
  assert_true(fabs(mine / square - 1) < 1e-5);
  return mine;
}

/* Templates without standardisation, and what mask_invert makes of them: numpy's pseudo-inverse, for an even
 * number of channels, where the sums lose something, as for an odd one. */
static void golden(void **state) {
  (void)state;
  FILE *file = fopen(GUISE_GOLDEN "/ppfr_fd.txt", "re");
  uint32_t drop, channels, lines = 0;
  unsigned long long seed;
  double square;
  struct block_dct *dct = NULL;
  assert_non_null(file);
  assert_int_equal(block_dct_new(SIDE, &dct, NULL), 0);
  while (fscanf(file, "%u %llu %u %lf", &drop, &seed, &channels, &square) == 4) {
    struct mask *mask = learnt_mask(MASK_PPFR_FD, MASK_DCT_NATIVE, drop, seed);
    assert_int_equal(mask_channels(mask), channels);
    float *out = calloc(mask_elements(mask), sizeof(float)),
          *scratch = calloc(mask_scratch(mask), sizeof(float));
    float planar[3 * PIXELS], back[192 * CELLS];
    mask_template(mask, image, false, NULL, scratch, out);
    check_values(file, out, mask_elements(mask), 7, square);
    mask_invert(mask, out, scratch, planar);
    block_dct_forward(dct, planar, back);
    assert_int_equal(fscanf(file, "%lf", &square), 1);
    check_values(file, back, 192 * CELLS, 97, square);
    free(out);
    free(scratch);
    mask_free(mask);
    lines++;
  }
  block_dct_free(dct);
  (void)fclose(file);
  assert_int_equal(lines, 3);
}

/* With fitted constants, on both transforms. */
static void adjoint(void **state) {
  (void)state;
  for (int dct = 0; dct < MASK_DCTS; dct++) {
    struct mask *mask = learnt_mask(MASK_PPFR_FD, (enum mask_dct)dct, 28, 5);
    assert_int_equal(mask_fit(mask, only_image, NULL, 1, NULL), 0);
    assert_true(mask_is_linear(mask));
    assert_false(mask_inverts_to_pixels(mask));
    check_adjoint(mask, 0);
    mask_free(mask);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(lowest_gates_go), cmocka_unit_test(zigzag_needs_nothing),
      cmocka_unit_test(untrusted_constants), cmocka_unit_test(golden), cmocka_unit_test(adjoint)};
  return cmocka_run_group_tests(tests, setup, NULL);
}
