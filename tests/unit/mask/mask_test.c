/* Templates against golden values made with numpy, constants, the linear operator, inverses. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <omp.h>
#include <stdio.h>
#include <string.h>

#include "core/base/philox.h"
#include "core/freq/dct.h"
#include "core/mask/mask.h"
#include "unit/mask/adjoint.h"

enum { IMAGES = 200 };

static uint8_t lcg_image[16 * 16 * 3];
static uint8_t faces[IMAGES][32 * 32 * 3];

/* Smooth random images: coefficients fall off with frequency as in faces. */
static int setup(void **state) {
  (void)state;
  uint32_t seed = 12345;
  struct rng rng;
  for (size_t i = 0; i < sizeof(lcg_image); i++) {
    seed = seed * 1664525u + 1013904223u;
    lcg_image[i] = (uint8_t)(seed >> 24);
  }
  rng_init(&rng, 2, RNG_ATTACK, 0, 0);
  for (int n = 0; n < IMAGES; n++) {
    float a = rng_normal(&rng), b = rng_normal(&rng), c = rng_normal(&rng);
    for (int i = 0; i < 32 * 32 * 3; i++) {
      float x = (float)(i / 3 % 32) / 32, y = (float)(i / 96) / 32;
      float value = 128 + 40 * a * sinf(4 * x + c) + 40 * b * cosf(5 * y * x) + 8 * rng_normal(&rng);
      faces[n][i] = (uint8_t)fminf(fmaxf(value, 0), 255);
    }
  }
  return 0;
}

static const uint8_t *face(void *context, uint32_t i) {
  (void)context;
  return faces[i];
}

static void golden_templates(void **state) {
  (void)state;
  FILE *file = fopen(GUISE_GOLDEN "/mask.txt", "re");
  int lines = 0;
  unsigned drop, channels;
  double sum, square;
  assert_non_null(file);
  while (fscanf(file, "%u %u %lf %lf", &drop, &channels, &sum, &square) == 4) {
    struct mask *mask = NULL;
    double my_sum = 0, my_square = 0;
    assert_int_equal(
        mask_new(&(struct mask_options){.method = MASK_NONE, .size = 16, .drop_low = drop}, &mask, NULL), 0);
    assert_int_equal(mask_channels(mask), channels);
    size_t n = mask_elements(mask);
    float *out = calloc(n, sizeof(float)), *scratch = calloc(mask_scratch(mask), sizeof(float));
    mask_template(mask, lcg_image, false, NULL, scratch, out);
    for (size_t i = 0; i < n; i++) {
      double want;
      my_sum += (double)out[i];
      my_square += (double)out[i] * (double)out[i];
      if (i % 37 == 0) {
        assert_int_equal(fscanf(file, "%lf", &want), 1);
        assert_true(fabs((double)out[i] - want) < 2e-3);
      }
    }
    assert_true(fabs(my_sum - sum) < 0.05);
    assert_true(fabs(my_square / square - 1) < 1e-4);
    free(out);
    free(scratch);
    mask_free(mask);
    lines++;
  }
  (void)fclose(file);
  assert_int_equal(lines, 4);
}

static struct mask *fitted_as(enum mask_method method, enum mask_dct dct, uint32_t drop) {
  struct mask *mask = NULL;
  struct mask_options options = mask_options_default(method, 32);
  options.drop_low = drop;
  options.dct = dct;
  assert_int_equal(mask_new(&options, &mask, NULL), 0);
  assert_int_equal(mask_fit(mask, face, NULL, IMAGES, NULL), 0);
  return mask;
}

static struct mask *fitted(enum mask_method method, uint32_t drop) {
  return fitted_as(method, MASK_DCT_NATIVE, drop);
}

/* Standardised templates of the fitted images have mean 0 and deviation 1 a channel, whatever the thread
 * count. */
static void constants(void **state) {
  (void)state;
  omp_set_num_threads(1);
  struct mask *one = fitted(MASK_NONE, 0);
  omp_set_num_threads(3);
  struct mask *three = fitted(MASK_NONE, 0);
  assert_memory_equal(mask_constants(one), mask_constants(three), sizeof(struct mask_constants));
  size_t n = mask_elements(one), cells = (size_t)mask_grid(one) * mask_grid(one);
  float *out = calloc(n, sizeof(float)), *scratch = calloc(mask_scratch(one), sizeof(float));
  double *sum = calloc(192, sizeof(double)), *square = calloc(192, sizeof(double));
  for (int i = 0; i < IMAGES; i++) {
    mask_template(one, faces[i], false, NULL, scratch, out);
    for (size_t e = 0; e < n; e++) {
      sum[e / cells] += (double)out[e];
      square[e / cells] += (double)out[e] * (double)out[e];
    }
  }
  for (int c = 0; c < 192; c++) {
    double values = (double)IMAGES * (double)cells, mean = sum[c] / values;
    assert_true(fabs(mean) < 1e-3);
    assert_true(fabs(sqrt(square[c] / values - mean * mean) - 1) < 2e-3);
  }
  free(out);
  free(scratch);
  free(sum);
  free(square);
  mask_free(one);
  mask_free(three);
}

static void inverse_and_pixel_scale(void **state) {
  (void)state;
  for (uint32_t drop = 0; drop <= 10; drop += 5) {
    struct mask *mask = fitted(MASK_NONE, drop);
    float *out = calloc(mask_elements(mask), sizeof(float)),
          *scratch = calloc(mask_scratch(mask), sizeof(float));
    float *planar = calloc(3 * 32 * 32, sizeof(float)), *back = calloc(3 * 32 * 32, sizeof(float));
    double sum = 0, square = 0, values = 0;
    for (int i = 0; i < IMAGES; i++) {
      mask_template(mask, faces[i], false, NULL, scratch, out);
      mask_invert(mask, out, scratch, back);
      if (drop == 0) {
        rgb_to_ycbcr(faces[i], 32, false, planar);
        for (int p = 0; p < 3 * 32 * 32; p++)
          assert_true(fabsf(planar[p] - back[p]) < 0.02f);
      }
      for (int p = 0; p < 3 * 32 * 32; p++) {
        sum += (double)back[p];
        square += (double)back[p] * (double)back[p];
        values++;
      }
    }
    double deviation = sqrt(square / values - sum / values * (sum / values));
    assert_true(fabs(deviation / (double)mask_constants(mask)->pixel_scale - 1) < 1e-3);
    free(out);
    free(scratch);
    free(planar);
    free(back);
    mask_free(mask);
  }
}

/* It is the template, but for the mean, where nothing is clipped. */
static void check_operator(enum mask_dct dct, uint32_t channels, uint32_t grid) {
  struct mask *mask = fitted_as(MASK_NONE, dct, 3);
  assert_int_equal(mask_channels(mask), channels);
  assert_int_equal(mask_grid(mask), grid);
  assert_int_equal(mask_inverts_to_pixels(mask), dct == MASK_DCT_NATIVE);
  check_adjoint(mask, 0);
  size_t n = mask_elements(mask), p = 3 * 32 * 32;
  float *x = calloc(p, 4), *y = calloc(n, 4), *ax = calloc(n, 4), *scratch = calloc(mask_scratch(mask), 4);
  const struct mask_constants *k = mask_constants(mask);
  rgb_to_ycbcr(faces[1], 32, false, x);
  mask_linear_forward(mask, 0, x, scratch, ax);
  mask_template(mask, faces[1], false, NULL, scratch, y);
  for (size_t i = 0; i < n; i++) {
    const size_t c = i / ((size_t)grid * grid);
    assert_true(fabsf(ax[i] - k->mean[c] / k->deviation[c] - y[i]) < 2e-3f);
  }
  free(x);
  free(y);
  free(ax);
  free(scratch);
  mask_free(mask);
}

static void linear_operator(void **state) {
  (void)state;
  check_operator(MASK_DCT_NATIVE, 183, 4);
  check_operator(MASK_DCT_UPSAMPLED, 183, 32);
}

static void methods(void **state) {
  (void)state;
  struct mask *ahm = fitted(MASK_AHM, 3);
  float *out = calloc(mask_elements(ahm), 4), *mirrored = calloc(mask_elements(ahm), 4),
        *scratch = calloc(mask_scratch(ahm), 4);
  uint8_t flipped[32 * 32 * 3], high[32 * 32 * 3];
  enum mask_method method = MASK_METHODS;
  assert_int_equal(mask_channels(ahm), 183);
  for (int i = 0; i < 32 * 32 * 3; i++) {
    flipped[i] = faces[0][i / 96 * 96 + (31 - i / 3 % 32) * 3 + i % 3];
    high[i] = (i / 3 + i / 96) % 2 ? 255 : 0;
  }
  mask_template(ahm, faces[0], true, NULL, scratch, out);
  mask_template(ahm, flipped, false, NULL, scratch, mirrored);
  assert_memory_equal(out, mirrored, mask_elements(ahm) * 4);
  mask_template(ahm, high, false, NULL, scratch, out);
  float largest = 0;
  for (size_t i = 0; i < mask_elements(ahm); i++)
    largest = fmaxf(largest, fabsf(out[i]));
  assert_true(largest == 3); /* clipped */
  for (int m = 0; m < MASK_METHODS; m++) {
    assert_int_equal(mask_method_from_name(mask_traits((enum mask_method)m)->name, &method), 0);
    assert_int_equal(method, m);
  }
  assert_int_equal(mask_method_from_name("blurred", &method), -ENOENT);
  free(out);
  free(mirrored);
  free(scratch);
  mask_free(ahm);
}

static void untrusted_constants(void **state) {
  (void)state;
  struct mask *mask = fitted(MASK_AHM, 10);
  struct mask_constants good = *mask_constants(mask), bad;
  struct guise_error err = {0};
  assert_int_equal(good.channels, 162);
  assert_int_equal(mask_set_constants(mask, &good, &err), 0);
  bad = good, bad.channels = 161;
  assert_int_equal(mask_set_constants(mask, &bad, &err), -EINVAL);
  bad = good, bad.channel[5] = 192;
  assert_int_equal(mask_set_constants(mask, &bad, &err), -EINVAL);
  bad = good, bad.channel[5] = bad.channel[4];
  assert_int_equal(mask_set_constants(mask, &bad, &err), -EINVAL);
  bad = good, bad.deviation[7] = 0;
  assert_int_equal(mask_set_constants(mask, &bad, &err), -EINVAL);
  bad = good, bad.mean[7] = NAN;
  assert_int_equal(mask_set_constants(mask, &bad, &err), -EINVAL);
  bad = good, bad.pixel_scale = -1;
  assert_int_equal(mask_set_constants(mask, &bad, &err), -EINVAL);
  assert_int_equal(mask_new(&(struct mask_options){.size = 32, .drop_low = 61}, &mask, &err), -EINVAL);
  assert_int_equal(mask_new(&(struct mask_options){.size = 32, .clip = -1}, &mask, &err), -EINVAL);
  mask_free(mask);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(golden_templates),
                                     cmocka_unit_test(constants),
                                     cmocka_unit_test(inverse_and_pixel_scale),
                                     cmocka_unit_test(linear_operator),
                                     cmocka_unit_test(methods),
                                     cmocka_unit_test(untrusted_constants)};
  return cmocka_run_group_tests(tests, setup, NULL);
}
