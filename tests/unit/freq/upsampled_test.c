/* The up-sampled block DCT against a reference in double that makes the up-sampled image, PyTorch's values,
 * its adjoint and its inverse; once for each set of loops. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/philox.h"
#include "core/freq/upsampled.h"

static int portable(void **state) {
  (void)state;
  return setenv("GUISE_KERNELS", "portable", 1);
}

static int fastest(void **state) {
  (void)state;
  return unsetenv("GUISE_KERNELS");
}

static float *random_values(size_t count, uint32_t stream, float range) {
  struct rng rng;
  float *values = malloc(count * sizeof(float));
  assert_non_null(values);
  rng_init(&rng, 4, RNG_ATTACK, stream, 0);
  for (size_t i = 0; i < count; i++)
    values[i] = range * (2 * rng_uniform(&rng) - 1);
  return values;
}

/* (size,size) -> (8 size, 8 size), the source coordinate computed as it is defined. */
static double *upsample(const float *plane, int size) {
  const int large = 8 * size;
  double *out = malloc(sizeof(double) * (size_t)large * (size_t)large);
  assert_non_null(out);
  for (int y = 0; y < large; y++)
    for (int x = 0; x < large; x++) {
      double sy = (double)y * (size - 1) / (large - 1), sx = (double)x * (size - 1) / (large - 1);
      int y0 = (int)sy, x0 = (int)sx, y1 = MIN(y0 + 1, size - 1), x1 = MIN(x0 + 1, size - 1);
      double fy = sy - y0, fx = sx - x0;
      out[y * large + x] =
          (1 - fy) * ((1 - fx) * (double)plane[y0 * size + x0] + fx * (double)plane[y0 * size + x1]) +
          fy * ((1 - fx) * (double)plane[y1 * size + x0] + fx * (double)plane[y1 * size + x1]);
    }
  return out;
}

static double block_coefficient(const double *image, int large, int by, int bx, int u, int v) {
  static double cosine[8][8]; /* (frequency, position) */
  if (cosine[0][0] == 0)
    for (int k = 0; k < 8; k++)
      for (int n = 0; n < 8; n++)
        cosine[k][n] = (k ? 0.5 : sqrt(0.125)) * cos(M_PI * (2 * n + 1) * k / 16);
  double sum = 0;
  for (int y = 0; y < 8; y++)
    for (int x = 0; x < 8; x++)
      sum += image[(by * 8 + y) * large + bx * 8 + x] * cosine[u][y] * cosine[v][x];
  return sum;
}

static void the_definition(void **state) {
  (void)state;
  static const int sizes[] = {16, 24, 112};
  for (size_t s = 0; s < ARRAY_SIZE(sizes); s++) {
    const int size = sizes[s];
    const size_t pixels = (size_t)size * (size_t)size;
    struct upsampled_dct *dct = NULL;
    float *planar = random_values(3 * pixels, 0, 128), *coefficients = malloc(192 * pixels * sizeof(float));
    assert_int_equal(upsampled_dct_new((uint32_t)size, &dct, NULL), 0);
    upsampled_dct_forward(dct, planar, coefficients);
    for (size_t c = 0; c < (size == 112 ? 1 : 3); c++) {
      double *image = upsample(planar + c * pixels, size), worst = 0;
      for (int u = 0; u < 8; u++)
        for (int v = 0; v < 8; v++)
          for (int i = 0; i < size * size; i++) {
            double want = block_coefficient(image, 8 * size, i / size, i % size, u, v);
            double got = (double)coefficients[(c * 64 + (size_t)(u * 8 + v)) * pixels + (size_t)i];
            worst = fmax(worst, fabs(got - want));
          }
      assert_true(worst < 1e-3); /* of up to 1024 */
      free(image);
    }
    free(planar);
    free(coefficients);
    assert_null(upsampled_dct_free(dct));
  }
}

/* A flat image has DC alone, 8 times its value, up to the border. */
static void flat_images(void **state) {
  (void)state;
  struct upsampled_dct *dct = NULL;
  const size_t pixels = 32 * 32;
  float *planar = malloc(3 * pixels * sizeof(float)), *coefficients = malloc(192 * pixels * sizeof(float));
  assert_int_equal(upsampled_dct_new(32, &dct, NULL), 0);
  for (size_t i = 0; i < 3 * pixels; i++)
    planar[i] = 100;
  upsampled_dct_forward(dct, planar, coefficients);
  for (size_t i = 0; i < 192 * pixels; i++)
    assert_true(fabsf(coefficients[i] - (i / pixels % 64 == 0 ? 800.0f : 0)) < 1e-3f);
  free(planar);
  free(coefficients);
  upsampled_dct_free(dct);
}

static void transpose(void **state) {
  (void)state;
  for (uint32_t size = 16; size <= 112; size += 48) {
    const size_t n = (size_t)3 * size * size, m = 64 * n;
    struct upsampled_dct *dct = NULL;
    float *x = random_values(n, 1, 1), *y = random_values(m, 2, 1);
    float *ax = malloc(m * sizeof(float)), *aty = malloc(n * sizeof(float));
    double left = 0, right = 0, scale = 0;
    assert_int_equal(upsampled_dct_new(size, &dct, NULL), 0);
    upsampled_dct_forward(dct, x, ax);
    upsampled_dct_adjoint(dct, y, aty);
    for (size_t i = 0; i < m; i++) {
      left += (double)ax[i] * (double)y[i];
      scale += fabs((double)ax[i] * (double)y[i]);
    }
    for (size_t i = 0; i < n; i++)
      right += (double)x[i] * (double)aty[i];
    assert_true(fabs(left - right) < 1e-6 * scale);
    free(x);
    free(y);
    free(ax);
    free(aty);
    upsampled_dct_free(dct);
  }
}

/* The way back; and what is orthogonal to every image's coefficients does not change it: least squares. */
static void inverse(void **state) {
  (void)state;
  static const uint32_t sizes[] = {16, 40, 112, 224};
  for (size_t s = 0; s < ARRAY_SIZE(sizes); s++) {
    const size_t n = (size_t)3 * sizes[s] * sizes[s], m = 64 * n;
    struct upsampled_dct *dct = NULL;
    float *x = random_values(n, 3, 128), *y = random_values(m, 4, 128);
    float *ax = malloc(m * sizeof(float)), *back = malloc(n * sizeof(float)),
          *aty = malloc(n * sizeof(float));
    assert_int_equal(upsampled_dct_new(sizes[s], &dct, NULL), 0);
    upsampled_dct_forward(dct, x, ax);
    upsampled_dct_inverse(dct, ax, back);
    for (size_t i = 0; i < n; i++)
      assert_true(fabsf(back[i] - x[i]) < 1e-4f * 256);
    upsampled_dct_inverse(dct, y, back); /* the normal equations: A'(A back - y) = 0 */
    upsampled_dct_forward(dct, back, ax);
    for (size_t i = 0; i < m; i++)
      ax[i] -= y[i];
    upsampled_dct_adjoint(dct, ax, aty);
    for (size_t i = 0; i < n; i++)
      assert_true(fabsf(aty[i]) < 0.02f); /* A'y: sums of hundreds of values of up to 128 */
    free(x);
    free(y);
    free(ax);
    free(back);
    free(aty);
    upsampled_dct_free(dct);
  }
}

static void golden(void **state) {
  (void)state;
  enum { SIZE = 16, PIXELS = 3 * SIZE * SIZE, COEFFICIENTS = 192 * SIZE * SIZE, STEP = 37 };
  enum { KEPT = (COEFFICIENTS + STEP - 1) / STEP };
  static float values[PIXELS + COEFFICIENTS], coefficients[COEFFICIENTS], gradient[PIXELS],
      want[KEPT + PIXELS];
  struct upsampled_dct *dct = NULL;
  uint32_t x = 1;
  for (size_t i = 0; i < ARRAY_SIZE(values); i++) {
    x = x * 1664525u + 1013904223u;
    values[i] = ((float)(x >> 8) / 8388608.0f - 1) * (i < PIXELS ? 128 : 1);
  }
  FILE *file = fopen(GUISE_GOLDEN "/upsampled.f32", "re");
  assert_non_null(file);
  assert_int_equal(fread(want, sizeof(float), ARRAY_SIZE(want), file), ARRAY_SIZE(want));
  assert_int_equal(fgetc(file), EOF);
  (void)fclose(file);
  assert_int_equal(upsampled_dct_new(SIZE, &dct, NULL), 0);
  upsampled_dct_forward(dct, values, coefficients);
  upsampled_dct_adjoint(dct, values + PIXELS, gradient);
  for (size_t i = 0; i < KEPT; i++)
    assert_true(fabsf(coefficients[i * STEP] - want[i]) < 1e-3f);
  for (size_t i = 0; i < PIXELS; i++)
    assert_true(fabsf(gradient[i] - want[KEPT + i]) < 1e-4f);
  upsampled_dct_free(dct);
}

static void sizes(void **state) {
  (void)state;
  static const uint32_t bad[] = {0, 8, 20, 232};
  struct upsampled_dct *dct = NULL;
  struct guise_error err = {0};
  for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
    assert_int_equal(upsampled_dct_new(bad[i], &dct, &err), -EINVAL);
    assert_null(dct);
  }
  assert_null(upsampled_dct_free(NULL));
}

enum { SHARED = 32, SHARED_PIXELS = 3 * SHARED * SHARED };

static struct upsampled_dct *shared;
static float *shared_planar, *shared_answer, *shared_back;

static void *worker(void *context) {
  float *mine = malloc(64 * SHARED_PIXELS * sizeof(float)), *back = malloc(SHARED_PIXELS * sizeof(float));
  for (int i = 0; i < 50; i++) {
    upsampled_dct_forward(shared, shared_planar, mine);
    upsampled_dct_inverse(shared, mine, back);
    if (memcmp(mine, shared_answer, 64 * SHARED_PIXELS * sizeof(float)) != 0 ||
        memcmp(back, shared_back, SHARED_PIXELS * sizeof(float)) != 0)
      *(int *)context = 1;
  }
  free(mine);
  free(back);
  return NULL;
}

static void many_threads(void **state) {
  (void)state;
  pthread_t threads[4];
  int wrong[4] = {0};
  assert_int_equal(upsampled_dct_new(SHARED, &shared, NULL), 0);
  shared_planar = random_values(SHARED_PIXELS, 5, 100);
  shared_answer = malloc(64 * SHARED_PIXELS * sizeof(float));
  shared_back = malloc(SHARED_PIXELS * sizeof(float));
  upsampled_dct_forward(shared, shared_planar, shared_answer);
  upsampled_dct_inverse(shared, shared_answer, shared_back);
  for (int i = 0; i < 4; i++)
    assert_int_equal(pthread_create(&threads[i], NULL, worker, &wrong[i]), 0);
  for (int i = 0; i < 4; i++) {
    (void)pthread_join(threads[i], NULL);
    assert_int_equal(wrong[i], 0);
  }
  free(shared_planar);
  free(shared_answer);
  free(shared_back);
  upsampled_dct_free(shared);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(the_definition), cmocka_unit_test(flat_images),
                                     cmocka_unit_test(transpose),      cmocka_unit_test(inverse),
                                     cmocka_unit_test(golden),         cmocka_unit_test(sizes),
                                     cmocka_unit_test(many_threads)};
  int failed = cmocka_run_group_tests_name("fastest", tests, fastest, NULL);
  return failed + cmocka_run_group_tests_name("portable", tests, portable, fastest);
}
