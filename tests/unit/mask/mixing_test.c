/* Lambdas, partners, labels, mixed tensors. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <string.h>

#include "core/mask/mixing.h"

static void lambdas(void **state) {
  (void)state;
  enum { DRAWS = 20000 };
  double variance[MIX_MAX + 1] = {0};
  for (uint32_t k = 1; k <= MIX_MAX; k++) {
    struct rng rng;
    rng_init(&rng, 1, RNG_MIX, k, 0);
    for (int i = 0; i < DRAWS; i++) {
      float lambda[MIX_MAX], sum = 0;
      mix_draw_lambdas(&rng, k, lambda);
      for (uint32_t j = 0; j < k; j++) {
        assert_true(lambda[j] >= 0 && (k == 1 || lambda[j] <= 0.65001f));
        sum += lambda[j];
        variance[k] += (double)lambda[j] * (double)lambda[j] / DRAWS;
      }
      assert_true(fabsf(sum - 1) < 1e-5f);
    }
  }
  assert_true(fabs(variance[1] - 1) < 1e-9);
  assert_true(fabs(variance[2] - 0.51) < 0.01);
  assert_true(fabs(variance[6] - 0.25) < 0.02);
}

static void beta_draws(void **state) {
  (void)state;
  enum { DRAWS = 50000 };
  struct rng rng;
  double mean = 0, square = 0;
  rng_init(&rng, 1, RNG_MIX, 0, 0);
  for (int i = 0; i < DRAWS; i++) {
    float lambda[2];
    mix_draw_beta(&rng, 0.4f, lambda);
    assert_true(lambda[0] >= 0 && lambda[0] <= 1 && lambda[0] + lambda[1] == 1);
    mean += (double)lambda[0] / DRAWS;
    square += (double)lambda[0] * (double)lambda[0] / DRAWS;
  }
  assert_true(fabs(mean - 0.5) < 0.01);
  assert_true(fabs(square - mean * mean - 1 / (4 * 1.8)) < 0.005); /* 1/(4(2a+1)) */
}

static void composition(void **state) {
  (void)state;
  static const uint32_t identities[8] = {5, 5, 6, 6, 7, 7, 8, 8};
  for (uint32_t draw = 0; draw < 500; draw++) {
    struct rng rng;
    struct mix mix;
    float lambda[MIX_MAX], weight = 0;
    uint32_t k = 1 + draw % MIX_MAX;
    rng_init(&rng, 9, RNG_MIX, draw, 0);
    mix_draw_lambdas(&rng, k, lambda);
    mix_compose(&rng, draw % 8, k, lambda, identities, 8, &mix);
    assert_int_equal(mix.member[0], draw % 8);
    for (uint32_t i = 0; i < k; i++)
      for (uint32_t j = 0; j < i; j++)
        assert_int_not_equal(mix.member[i], mix.member[j]);
    for (uint32_t l = 0; l < mix.labels; l++) {
      float want = 0;
      for (uint32_t i = 0; i < k; i++)
        want += identities[mix.member[i]] == mix.label[l].identity ? mix.lambda[i] : 0;
      assert_true(fabsf(want - mix.label[l].weight) < 1e-6f && want > 0);
      assert_true(l == 0 || mix.label[l].weight <= mix.label[l - 1].weight);
      weight += mix.label[l].weight;
    }
    assert_true(fabsf(weight - 1) < 1e-5f);
  }
}

static void mixed_templates(void **state) {
  (void)state;
  enum { N = 5, ELEMENTS = 37 };
  static const uint32_t identities[N] = {0, 1, 2, 3, 4};
  float templates[N * ELEMENTS], mixed[3 * ELEMENTS];
  struct mix mixes[3];
  struct rng rng;
  rng_init(&rng, 2, RNG_MIX, 0, 0);
  for (int i = 0; i < N * ELEMENTS; i++)
    templates[i] = rng_normal(&rng);
  for (uint32_t i = 0; i < 3; i++) {
    float lambda[MIX_MAX];
    mix_draw_lambdas(&rng, 2 * i + 1, lambda);
    mix_compose(&rng, i, 2 * i + 1, lambda, identities, N, &mixes[i]);
  }
  mix_templates(mixes, 3, templates, ELEMENTS, mixed);
  for (int i = 0; i < 3; i++)
    for (int e = 0; e < ELEMENTS; e++) {
      double want = 0;
      for (uint32_t j = 0; j < mixes[i].k; j++)
        want += (double)mixes[i].lambda[j] * (double)templates[mixes[i].member[j] * ELEMENTS + (uint32_t)e];
      assert_true(fabs(want - (double)mixed[i * ELEMENTS + e]) < 1e-5);
    }
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(lambdas), cmocka_unit_test(beta_draws),
                                     cmocka_unit_test(composition), cmocka_unit_test(mixed_templates)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
