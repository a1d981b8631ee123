/* What the policy's updates credit an action with: rewards of mixes that differ by the action alone. */
#include "unit/train/defences.h"

#include "core/mask/recipe.h"
#include "core/nn/head.h"
#include "core/train/partners.h"

#define PROBED "\"method\":\"ahm\",\"policy\":\"learned\",\"reward\":\"probe\",\"unmixed\":0"
#define LONG "\"epochs\":100,\"batch\":28,\"margin_warmup\":0"
enum { ANCHORS = 7, SOME = 20 };

/* One step of recognition and of the probe, and then the next step's templates. */
static void advance(struct trainer *t) {
  assert_int_equal(trainer_recognition_step(t, NULL), 0);
  assert_int_equal(trainer_probe_step(t, NULL), 0);
  t->step++;
  assert_int_equal(trainer_fill(t, t->order, t->batch, graph_input_data(t->graph), NULL), 0);
}

/* ---- common random numbers ---- */

/* The smaller mix's partners are the first of the larger's; its weights too, up to their sum, as often as
 * both accept the same round. A mix with fresh draws shares nothing. */
static void mixes_of_one_lead_are_nested(void **state) {
  (void)state;
  struct bench *b = open_bench(PROBED, "", LONG, "nested");
  struct trainer *t = &b->t;
  uint32_t common = 0, others = 0;
  advance(t);
  for (t->step = 0; t->step < SOME; t->step++)
    for (uint32_t lead = 0; lead < ANCHORS; lead++) {
      struct mix most, mix;
      trainer_compose_reward(t, lead, MIX_MAX, &most);
      for (uint32_t k = 1; k < MIX_MAX; k++) {
        trainer_compose_reward(t, lead, k, &mix);
        assert_int_equal(mix.k, k);
        for (uint32_t j = 0; j < k; j++)
          assert_int_equal(mix.member[j], most.member[j]);
        common += k == 2 && fabsf(mix.lambda[0] * most.lambda[1] - mix.lambda[1] * most.lambda[0]) < 1e-6f;
      }
      struct rng rng;
      rng_init(&rng, 1, RNG_MIX, t->step, lead);
      trainer_compose(t, &rng, lead, 2, &mix);
      others += mix.member[1] != most.member[1];
    }
  print_message("%u of %u mixes of two have the weights of the mix of six\n", common, SOME * ANCHORS);
  assert_in_range(common, SOME * ANCHORS / 4, SOME * ANCHORS / 2); /* .37 accept the first round */
  assert_true(others > SOME * ANCHORS * 9 / 10);
  close_bench(b);
}

/* Frozen mixes of different k share no partners on purpose, in the reward as in the training. */
static void frozen_mixes_are_not_nested(void **state) {
  (void)state;
  struct bench *b = open_bench(PROBED ",\"recipes_per_image\":1", "", LONG, "apart");
  struct trainer *t = &b->t;
  uint32_t nested = 0;
  memcpy(t->sample, t->order, t->batch * sizeof(*t->sample));
  for (uint32_t lead = 0; lead < t->batch; lead++) {
    struct mix two, three, recipe;
    const struct mix_pool pool = {MIX_POOL_PRIVATE, t->data.train.identity, t->data.train.count, 0};
    trainer_compose_reward(t, lead, 2, &two);
    trainer_compose_reward(t, lead, 3, &three);
    recipe_compose(t->spec->train.seed, t->sample[lead], 0, 3, 0, &pool, &recipe);
    for (uint32_t j = 1; j < 3; j++)
      assert_int_equal(three.member[j], t->batch + recipe.member[j]);
    nested += two.member[1] == three.member[1];
  }
  assert_true(nested < 6); /* one of 27 by chance */
  close_bench(b);
}

/* Variance of R1 - R2 of the same two actions, over leads and steps. */
static double variance_of_credit(struct trainer *t, bool common, uint32_t k1, uint32_t k2) {
  double sum = 0, square = 0;
  const uint64_t first = t->step;
  const struct dual dual = t->dual;
  struct mix mixes[2 * ANCHORS];
  float rewards[2 * ANCHORS];
  for (; t->step < first + SOME; t->step++) {
    assert_int_equal(trainer_fill(t, t->order, t->batch, graph_input_data(t->graph), NULL), 0);
    for (uint32_t i = 0; i < 2 * ANCHORS; i++) {
      struct rng rng;
      rng_init(&rng, 7, RNG_MIX, t->step, i);
      if (common)
        trainer_compose_reward(t, i % ANCHORS, i < ANCHORS ? k1 : k2, &mixes[i]);
      else
        trainer_compose(t, &rng, i % ANCHORS, i < ANCHORS ? k1 : k2, &mixes[i]);
    }
    t->dual = dual;
    assert_int_equal(trainer_probe_rewards(t, mixes, 2 * ANCHORS, rewards, NULL), 0);
    for (uint32_t i = 0; i < ANCHORS; i++) {
      const double credit = (double)rewards[i] - (double)rewards[i + ANCHORS];
      sum += credit / (SOME * ANCHORS);
      square += credit * credit / (SOME * ANCHORS);
    }
  }
  t->step = first;
  t->dual = dual;
  return square - sum * sum;
}

static void common_numbers_sharpen_the_credit(void **state) {
  (void)state;
  static const uint32_t pairs[][2] = {{2, 3}, {3, 6}, {5, 6}, {2, 6}};
  struct bench *b = open_bench(PROBED, "", LONG, "credit");
  struct trainer *t = &b->t;
  double ratios = 0;
  for (int i = 0; i < 40; i++)
    advance(t);
  for (size_t p = 0; p < ARRAY_SIZE(pairs); p++) {
    const double common = variance_of_credit(t, true, pairs[p][0], pairs[p][1]),
                 fresh = variance_of_credit(t, false, pairs[p][0], pairs[p][1]);
    print_message("k = %u against %u: variance of R1 - R2 %.5f by common numbers, %.5f by fresh ones\n",
                  pairs[p][0], pairs[p][1], common, fresh);
    assert_true(pairs[p][0] != 5 || common < 0.6 * fresh); /* close mixes share the most */
    ratios += common / fresh / ARRAY_SIZE(pairs);
  }
  assert_true(ratios < 0.9);
  close_bench(b);
}

/* ---- what a mix costs ---- */

/* Mixes of k of the first leads of the batch, twice. */
static void compose_twice(struct trainer *t, uint32_t k, struct mix ret_mixes[2 * ANCHORS]) {
  for (uint32_t i = 0; i < 2 * ANCHORS; i++)
    trainer_compose_reward(t, i % ANCHORS, k, &ret_mixes[i]);
}

/* What a mix costs is its dilution; an unmixed sample costs nothing, whatever the price. */
static void costs_are_dilution(void **state) {
  (void)state;
  static const uint32_t faces[] = {1, 2, 6};
  struct bench *b = open_bench(PROBED ",\"k\":[1,2,6]", "", LONG, "cost");
  struct trainer *t = &b->t;
  struct mix mixes[2 * ANCHORS];
  float cheap[2 * ANCHORS], dear[2 * ANCHORS];
  for (int i = 0; i < 20; i++)
    advance(t);
  for (size_t f = 0; f < ARRAY_SIZE(faces); f++) {
    compose_twice(t, faces[f], mixes);
    for (int priced = 0; priced < 2; priced++) {
      dual_start(&t->dual, 100);
      t->dual.mu = 2 * priced;
      assert_int_equal(trainer_probe_rewards(t, mixes, 2 * ANCHORS, priced ? dear : cheap, NULL), 0);
      assert_true(fabs(t->dual.cost - dual_dilution(faces[f])) < 1e-9);
    }
    for (uint32_t i = 0; i < 2 * ANCHORS; i++)
      assert_true(fabs((double)cheap[i] - (double)dear[i] - 2 * dual_dilution(mixes[i].k)) < 1e-4);
  }
  close_bench(b);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(mixes_of_one_lead_are_nested), cmocka_unit_test(frozen_mixes_are_not_nested),
      cmocka_unit_test(common_numbers_sharpen_the_credit), cmocka_unit_test(costs_are_dilution)};
  return cmocka_run_group_tests(tests, setup, teardown);
}
