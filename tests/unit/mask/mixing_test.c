/* Lambdas, partners, labels, mixed tensors. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <string.h>

#include "core/mask/mixing.h"
#include "core/mask/recipe.h"

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

/* Each k by itself is drawn as ever; from the same state different k see the same numbers. */
static void common_lambdas(void **state) {
  (void)state;
  enum { DRAWS = 20000 };
  double square[2][MIX_MAX + 1] = {{0}}, lead[2][MIX_MAX + 1] = {{0}};
  uint32_t shared = 0;
  for (uint32_t i = 0; i < DRAWS; i++) {
    float largest[MIX_MAX];
    struct rng rng;
    rng_init(&rng, 3, RNG_MIX, i, 0);
    mix_draw_common_lambdas(&rng, MIX_MAX, largest);
    for (uint32_t k = 1; k <= MIX_MAX; k++)
      for (uint32_t common = 0; common < 2; common++) {
        float lambda[MIX_MAX], sum = 0;
        rng_init(&rng, 3, RNG_MIX, i, common ? 0 : k);
        (common ? mix_draw_common_lambdas : mix_draw_lambdas)(&rng, k, lambda);
        for (uint32_t j = 0; j < k; j++) {
          assert_true(lambda[j] >= 0 && (k == 1 || lambda[j] <= 0.65001f));
          sum += lambda[j];
          square[common][k] += (double)lambda[j] * (double)lambda[j] / DRAWS;
        }
        assert_true(fabsf(sum - 1) < 1e-5f);
        lead[common][k] += (double)lambda[0] / DRAWS;
        shared += common && k == 5 && fabsf(lambda[0] * largest[4] - lambda[4] * largest[0]) < 1e-6f;
      }
  }
  for (uint32_t k = 1; k <= MIX_MAX; k++) {
    assert_true(fabs(square[0][k] - square[1][k]) < 0.01);
    assert_true(fabs(lead[0][k] - 1.0 / k) < 0.006 && fabs(lead[1][k] - 1.0 / k) < 0.006);
  }
  assert_true(shared > DRAWS * 9 / 10); /* few are redrawn of five and six */
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

/* Of each colour the first of the zig-zag order, wherever these channels stand. */
static void the_lowest_frequencies_are_lost(void **state) {
  (void)state;
  enum { CHANNELS = 7, CELLS = 3 };
  static const uint16_t channel[CHANNELS] = {8, 0, 1, 2, 64 + 1, 128 + 16, 191}; /* u * 8 + v */
  static const bool lost[5][CHANNELS] = {[1] = {false, true},
                                         [2] = {false, true, true, false, true},
                                         [3] = {true, true, true, false, true},
                                         [4] = {true, true, true, false, true, true}};
  for (uint32_t drop = 0; drop < 5; drop++) {
    float template_[CHANNELS * CELLS];
    for (int i = 0; i < CHANNELS * CELLS; i++)
      template_[i] = (float)(i + 1);
    mix_lower(channel, CHANNELS, CELLS, drop, template_);
    for (int i = 0; i < CHANNELS * CELLS; i++)
      assert_true(template_[i] == (lost[drop][i / CELLS] ? 0 : (float)(i + 1)));
  }
}

static void what_is_chosen_becomes_of_a_mix(void **state) {
  (void)state;
  static const struct mix_protection mixes = {.drop = 0}, both = {.drop = 6},
                                     alone = {.drop = 6, .alone = true};
  assert_true(mix_size(&mixes, 3) == 3 && mix_drop(&mixes, 3) == 0);
  assert_true(mix_size(&both, 3) == 3 && mix_drop(&both, 3) == 6 && mix_drop(&both, 1) == 0);
  assert_true(mix_size(&alone, 2) == 1 && mix_drop(&alone, 2) == 6 && mix_drop(&alone, 1) == 0);
  const struct mix left = {.k = 1}, lost = {.k = 1, .drop = 6}, mixed = {.k = 3, .drop = 6};
  assert_true(mix_is_plain(&left) && !mix_is_plain(&lost) && !mix_is_plain(&mixed));
  assert_true(mix_choice(&left) == 1 && mix_choice(&lost) == 2 && mix_choice(&mixed) == 3);
}

/* Labels are the private members' alone, with the weights they have in the mix. */
static void check_public_labels(const struct mix *mix, const struct mix_pool *pool) {
  float private = 0, entropy = 0;
  for (uint32_t j = 0; j < mix->k; j++) {
    assert_true(mix->member[j] < pool->privates + pool->publics);
    private += mix->member[j] < pool->privates ? mix->lambda[j] : 0;
    for (uint32_t i = 0; i < j; i++)
      assert_int_not_equal(mix->member[i], mix->member[j]);
  }
  assert_true(fabsf(mix_label_sum(mix) - private) < 1e-6f);
  for (uint32_t l = 0; l < mix->labels; l++) {
    float want = 0;
    for (uint32_t j = 0; j < mix->k; j++)
      if (mix->member[j] < pool->privates && pool->identities[mix->member[j]] == mix->label[l].identity)
        want += mix->lambda[j];
    assert_true(want > 0 && fabsf(want - mix->label[l].weight) < 1e-6f);
    /* the least of -sum w log p over distributions p is at p = w / W */
    entropy -= mix->label[l].weight * logf(mix->label[l].weight / private);
  }
  assert_true(fabsf(mix_label_entropy(mix) - entropy) < 1e-5f);
}

static void pools(void **state) {
  (void)state;
  static const uint32_t identities[8] = {5, 5, 6, 6, 7, 7, 8, 8};
  uint32_t partners[3] = {0}, publics[3] = {0};
  for (int kind = 0; kind < 3; kind++) {
    const struct mix_pool pool = {(enum mix_pool_kind)kind, identities, 8, kind == MIX_POOL_PRIVATE ? 0 : 9};
    assert_int_equal(mix_pool_most(&pool), MIX_MAX);
    for (uint32_t draw = 0; draw < 2000; draw++) {
      struct rng rng;
      struct mix mix;
      float lambda[MIX_MAX];
      const uint32_t k = 1 + draw % MIX_MAX;
      rng_init(&rng, 3, RNG_MIX, draw, 0);
      mix_draw_lambdas(&rng, k, lambda);
      mix_compose_from(&rng, draw % 8, k, lambda, &pool, &mix);
      assert_int_equal(mix.member[0], draw % 8);
      check_public_labels(&mix, &pool);
      for (uint32_t j = 1; j < k; j++) {
        partners[kind]++;
        publics[kind] += mix.member[j] >= 8;
      }
    }
  }
  assert_int_equal(publics[MIX_POOL_PRIVATE], 0);
  assert_int_equal(publics[MIX_POOL_PUBLIC], partners[MIX_POOL_PUBLIC]);
  const double share = (double)publics[MIX_POOL_BOTH] / partners[MIX_POOL_BOTH];
  assert_true(fabs(share - 0.5) < 0.03);
}

/* Few faces: every k that is promised can be drawn, and nobody twice. */
static void small_pools(void **state) {
  (void)state;
  static const uint32_t identities[3] = {0, 1, 2};
  static const struct {
    enum mix_pool_kind kind;
    uint32_t privates, publics, most;
  } cases[] = {{MIX_POOL_PRIVATE, 3, 0, 3}, {MIX_POOL_PRIVATE, 1, 0, 1}, {MIX_POOL_PUBLIC, 3, 1, 2},
               {MIX_POOL_PUBLIC, 1, 9, 6},  {MIX_POOL_BOTH, 3, 1, 4},    {MIX_POOL_BOTH, 1, 2, 3},
               {MIX_POOL_BOTH, 2, 9, 6}};
  for (size_t c = 0; c < sizeof(cases) / sizeof(*cases); c++) {
    const struct mix_pool pool = {cases[c].kind, identities, cases[c].privates, cases[c].publics};
    assert_int_equal(mix_pool_most(&pool), cases[c].most);
    for (uint32_t draw = 0; draw < 200; draw++) {
      struct rng rng;
      struct mix mix;
      float lambda[MIX_MAX];
      rng_init(&rng, 4, RNG_MIX, draw, (uint32_t)c);
      mix_draw_lambdas(&rng, cases[c].most, lambda);
      mix_compose_from(&rng, 0, cases[c].most, lambda, &pool, &mix);
      check_public_labels(&mix, &pool);
    }
  }
}

static bool same_mix(const struct mix *a, const struct mix *b) {
  return a->k == b->k && memcmp(a->member, b->member, sizeof(a->member)) == 0 &&
         memcmp(a->lambda, b->lambda, sizeof(a->lambda)) == 0;
}

/* However often an image is mixed by R recipes, it is mixed in exactly R ways for each k. */
static void recipes_are_frozen(void **state) {
  (void)state;
  enum { IMAGES = 40, EPOCHS = 24 };
  uint32_t identities[IMAGES];
  for (uint32_t i = 0; i < IMAGES; i++)
    identities[i] = i / 4;
  const struct mix_pool pool = {MIX_POOL_BOTH, identities, IMAGES, 30};
  for (uint32_t recipes = 1; recipes <= 4; recipes *= 2)
    for (uint32_t image = 0; image < IMAGES; image++)
      for (uint32_t k = 2; k <= MIX_MAX; k++) {
        struct mix seen[EPOCHS];
        uint32_t distinct = 0;
        for (uint32_t epoch = 0; epoch < EPOCHS; epoch++) {
          struct mix mix;
          bool known = false;
          recipe_compose(9, image, epoch % recipes, k, 0, &pool, &mix);
          check_public_labels(&mix, &pool);
          assert_int_equal(mix.member[0], image);
          for (uint32_t i = 0; i < distinct; i++)
            known |= same_mix(&seen[i], &mix);
          if (!known)
            seen[distinct++] = mix;
        }
        assert_int_equal(distinct, recipes);
      }
}

/* The mixes of k and k + 1 of one recipe must not be nested: their difference would be one face. */
static void recipes_of_different_k_share_nothing(void **state) {
  (void)state;
  static uint32_t identities[1000];
  const struct mix_pool pool = {MIX_POOL_PRIVATE, identities, 1000, 0};
  uint32_t nested = 0;
  for (uint32_t image = 0; image < 200; image++)
    for (uint32_t k = 2; k < MIX_MAX; k++) {
      struct mix less, more;
      recipe_compose(1, image, 0, k, 0, &pool, &less);
      recipe_compose(1, image, 0, k + 1, 0, &pool, &more);
      bool all = true;
      for (uint32_t j = 1; j < k; j++)
        all &= less.member[j] == more.member[j];
      nested += all;
    }
  assert_true(nested <= 4); /* 800 chances; one partner of 1,000 agrees by luck */
}

/* Views, choices and mixes come from different sequences; a lead's view is that of all its mixes. */
static void recipe_sequences(void **state) {
  (void)state;
  enum { MOST = 64 };
  uint32_t first[MOST], count = 0;
  struct rng rng;
  recipe_choice(5, 7, 1, &rng);
  first[count++] = rng_u32(&rng);
  for (uint32_t recipe = 1; recipe < 3; recipe++) {
    recipe_view(5, 7, recipe, 2, 0, &rng);
    first[count++] = rng_u32(&rng);
    for (uint32_t k = 2; k <= 4; k++)
      for (uint32_t slot = 1; slot < k; slot++) {
        recipe_view(5, 7, recipe, k, slot, &rng);
        first[count++] = rng_u32(&rng);
      }
  }
  for (uint32_t i = 0; i < count; i++)
    for (uint32_t j = 0; j < i; j++)
      assert_int_not_equal(first[i], first[j]);
  recipe_view(5, 7, 1, 6, 0, &rng);
  assert_int_equal(rng_u32(&rng), first[1]);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(lambdas),
                                     cmocka_unit_test(common_lambdas),
                                     cmocka_unit_test(beta_draws),
                                     cmocka_unit_test(composition),
                                     cmocka_unit_test(mixed_templates),
                                     cmocka_unit_test(the_lowest_frequencies_are_lost),
                                     cmocka_unit_test(what_is_chosen_becomes_of_a_mix),
                                     cmocka_unit_test(pools),
                                     cmocka_unit_test(small_pools),
                                     cmocka_unit_test(recipes_are_frozen),
                                     cmocka_unit_test(recipes_of_different_k_share_nothing),
                                     cmocka_unit_test(recipe_sequences)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
