/* The block DCT against its formula in double, its inverse, colours, and use by many threads. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <pthread.h>
#include <string.h>

#include "core/base/philox.h"
#include "core/freq/dct.h"

enum { SIZE = 24, GRID = SIZE / 8, COUNT = 3 * SIZE * SIZE };

static void random_values(float *values, size_t count, float range) {
  struct rng rng;
  rng_init(&rng, 4, RNG_ATTACK, 0, 0);
  for (size_t i = 0; i < count; i++)
    values[i] = range * (2 * rng_uniform(&rng) - 1);
}

static double naive(const float *planar, int colour, int by, int bx, int u, int v) {
  double sum = 0;
  for (int y = 0; y < 8; y++)
    for (int x = 0; x < 8; x++)
      sum += (double)planar[(colour * SIZE + by * 8 + y) * SIZE + bx * 8 + x] *
             cos(M_PI * (2 * y + 1) * u / 16) * cos(M_PI * (2 * x + 1) * v / 16);
  return sum * (u ? 0.5 : sqrt(0.125)) * (v ? 0.5 : sqrt(0.125));
}

static void the_formula(void **state) {
  (void)state;
  static float planar[COUNT], coefficients[COUNT], back[COUNT];
  struct block_dct *dct = NULL;
  assert_int_equal(block_dct_new(SIZE, &dct, NULL), 0);
  random_values(planar, COUNT, 128);
  block_dct_forward(dct, planar, coefficients);
  for (int c = 0; c < 3; c++)
    for (int u = 0; u < 8; u++)
      for (int v = 0; v < 8; v++)
        for (int i = 0; i < GRID * GRID; i++) {
          double want = naive(planar, c, i / GRID, i % GRID, u, v);
          assert_true(fabs((double)coefficients[(c * 64 + u * 8 + v) * GRID * GRID + i] - want) < 1e-3);
        }
  block_dct_inverse(dct, coefficients, back);
  for (int i = 0; i < COUNT; i++)
    assert_true(fabsf(back[i] - planar[i]) < 1e-4f * 256);
  block_dct_free(dct);
}

static void sizes(void **state) {
  (void)state;
  static const uint32_t bad[] = {0, 8, 20, 456};
  struct block_dct *dct = NULL;
  struct guise_error err = {0};
  for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
    assert_int_equal(block_dct_new(bad[i], &dct, &err), -EINVAL);
    assert_null(dct);
  }
}

static void zigzag(void **state) {
  (void)state;
  bool seen[64] = {false};
  int rank_sum = 0;
  for (int i = 0; i < 64; i++) {
    int sum = zigzag8[i] / 8 + zigzag8[i] % 8;
    assert_true(sum >= rank_sum && sum <= rank_sum + 1);
    rank_sum = sum;
    assert_false(seen[zigzag8[i]]);
    seen[zigzag8[i]] = true;
  }
  assert_int_equal(zigzag8[1], 1); /* (0,1) before (1,0), as in JPEG */
  assert_int_equal(zigzag8[2], 8);
}

static void colours(void **state) {
  (void)state;
  static uint8_t rgb[SIZE * SIZE * 3], back[SIZE * SIZE * 3];
  static float planar[COUNT], mirrored[COUNT];
  struct rng rng;
  rng_init(&rng, 1, RNG_ATTACK, 0, 0);
  for (size_t i = 0; i < sizeof(rgb); i++)
    rgb[i] = (uint8_t)rng_u32(&rng);
  memset(rgb, 255, 3);
  rgb_to_ycbcr(rgb, SIZE, false, planar);
  assert_true(fabsf(planar[0] - 127) < 1e-3f && fabsf(planar[SIZE * SIZE]) < 1e-3f); /* white */
  ycbcr_to_rgb(planar, SIZE, back);
  assert_memory_equal(rgb, back, sizeof(rgb));
  rgb_to_ycbcr(rgb, SIZE, true, mirrored);
  for (int row = 0; row < 3 * SIZE; row++)
    for (int x = 0; x < SIZE; x++)
      assert_true(planar[row * SIZE + x] == mirrored[row * SIZE + SIZE - 1 - x]);
}

static struct block_dct *shared;
static float shared_planar[COUNT], shared_answer[COUNT];

static void *worker(void *context) {
  float *mine = malloc(sizeof(shared_answer));
  for (int i = 0; i < 200; i++) {
    block_dct_forward(shared, shared_planar, mine);
    if (memcmp(mine, shared_answer, sizeof(shared_answer)) != 0)
      *(int *)context = 1;
  }
  free(mine);
  return NULL;
}

static void many_threads(void **state) {
  (void)state;
  pthread_t threads[4];
  int wrong[4] = {0};
  assert_int_equal(block_dct_new(SIZE, &shared, NULL), 0);
  random_values(shared_planar, COUNT, 100);
  block_dct_forward(shared, shared_planar, shared_answer);
  for (int i = 0; i < 4; i++)
    assert_int_equal(pthread_create(&threads[i], NULL, worker, &wrong[i]), 0);
  for (int i = 0; i < 4; i++) {
    (void)pthread_join(threads[i], NULL);
    assert_int_equal(wrong[i], 0);
  }
  block_dct_free(shared);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(the_formula), cmocka_unit_test(sizes),
                                     cmocka_unit_test(zigzag), cmocka_unit_test(colours),
                                     cmocka_unit_test(many_threads)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
