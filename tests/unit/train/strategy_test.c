/* The strategy network learns what its reward says: a state-dependent choice, and collapse where the reward
 * grows with k. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <string.h>

#include "core/train/strategy.h"

enum { CHANNELS = 3, CELLS = 4, BATCH = 32 };
static const uint32_t all_k[5] = {2, 3, 4, 5, 6};

static struct strategy *make(bool standard) {
  struct strategy *strategy = NULL;
  assert_int_equal(strategy_new(CHANNELS, all_k, 5, STRATEGY_FLOOR, standard, 1, &strategy, NULL), 0);
  return strategy;
}

static void random_states(struct strategy *s, uint64_t step, float *states) {
  for (uint32_t i = 0; i < BATCH; i++) {
    struct rng rng;
    float template_[CHANNELS * CELLS];
    struct strategy_context context = {0};
    rng_init(&rng, 1, RNG_ATTACK, step, i);
    for (int e = 0; e < CHANNELS * CELLS; e++)
      template_[e] = rng_normal(&rng);
    context.margin_sample = rng_u32(&rng) & 1 ? 1 : -1;
    strategy_state(s, template_, CELLS, &context, states + i * strategy_state_size(s));
  }
}

/* Trains with reward(state, action) and returns the last policy and its states. */
static void train(struct strategy *s, float (*reward)(const float *state, uint32_t action), int updates,
                  float *states, float *policy) {
  for (int step = 0; step <= updates; step++) {
    uint32_t a[2][BATCH];
    float r[2][BATCH];
    random_states(s, (uint64_t)step, states);
    strategy_standardise(s, states, BATCH);
    strategy_policy(s, states, BATCH, policy);
    if (step == updates)
      return;
    for (uint32_t i = 0; i < BATCH; i++) {
      struct rng rng;
      rng_init(&rng, 2, RNG_STRATEGY, (uint64_t)step, i);
      for (int d = 0; d < 2; d++) {
        a[d][i] = strategy_draw(&rng, policy + i * 5, 5);
        r[d][i] = reward(states + i * strategy_state_size(s), a[d][i]);
      }
    }
    float entropy = strategy_update(s, states, BATCH, a[0], a[1], r[0], r[1], 0.002f);
    assert_true(entropy > 0 && entropy <= logf(5) + 1e-4f);
  }
}

static float by_state(const float *state, uint32_t action) {
  return action == (state[2 * CHANNELS] > 0 ? 4u : 1u) ? 1 : 0;
}

static float grows(const float *state, uint32_t action) {
  static const float floors[5] = {.68f, .96f, 1.18f, 1.38f, 1.54f};
  (void)state;
  return floors[action];
}

static void learns_from_the_state(void **state) {
  (void)state;
  struct strategy *s = make(false);
  float states[BATCH * (2 * CHANNELS + STRATEGY_EXTRA)], policy[BATCH * 5];
  train(s, by_state, 3000, states, policy);
  for (int i = 0; i < BATCH; i++)
    assert_true(policy[i * 5 + (states[i * (2 * CHANNELS + STRATEGY_EXTRA) + 2 * CHANNELS] > 0 ? 4 : 1)] >
                0.8f);
  strategy_free(s);
}

static void collapses_where_the_reward_grows_with_k(void **state) {
  (void)state;
  struct strategy *s = make(false);
  float states[BATCH * (2 * CHANNELS + STRATEGY_EXTRA)], policy[BATCH * 5];
  train(s, grows, 4000, states, policy);
  for (int i = 0; i < BATCH; i++) {
    assert_true(policy[i * 5 + 4] > 0.85f &&
                policy[i * 5 + 4] <= 0.92001f); /* .9 + .1/5: the floor keeps the rest alive */
    for (int a = 0; a < 5; a++)
      assert_true(policy[i * 5 + a] >= 0.01999f);
  }
  strategy_free(s);
}

/* One update moves pi' along the estimate's gradient: the better of two drawn actions gains. */
static void one_update_favours_the_better_action(void **state) {
  (void)state;
  struct strategy *s = make(false);
  float states[BATCH * (2 * CHANNELS + STRATEGY_EXTRA)], before[BATCH * 5], after[BATCH * 5];
  uint32_t a1[BATCH], a2[BATCH];
  float r1[BATCH], r2[BATCH];
  random_states(s, 0, states);
  strategy_policy(s, states, BATCH, before);
  for (uint32_t i = 0; i < BATCH; i++) {
    a1[i] = 3;
    a2[i] = 0;
    r1[i] = 2;
    r2[i] = -1;
  }
  (void)strategy_update(s, states, BATCH, a1, a2, r1, r2, 0);
  strategy_policy(s, states, BATCH, after);
  for (int i = 0; i < BATCH; i++) {
    assert_true(after[i * 5 + 3] > before[i * 5 + 3]);
    assert_true(after[i * 5] < before[i * 5]);
  }
  strategy_free(s);
}

static void saved_and_loaded_to_the_bit(void **state) {
  (void)state;
  for (int standard = 0; standard < 2; standard++) {
    struct strategy *a = make(standard), *b = make(standard);
    float states[BATCH * (2 * CHANNELS + STRATEGY_EXTRA)], pa[BATCH * 5], pb[BATCH * 5];
    float *values = calloc(strategy_save_size(a), sizeof(float));
    train(a, by_state, 50, states, pa);
    strategy_save(a, values);
    strategy_load(b, values);
    train(a, by_state, 20, states, pa);
    train(b, by_state, 20, states, pb);
    assert_memory_equal(pa, pb, sizeof(pa));
    free(values);
    strategy_free(a);
    strategy_free(b);
  }
}

static void bad_actions(void **state) {
  (void)state;
  struct strategy *s = NULL;
  assert_int_equal(strategy_new(3, (const uint32_t[]){3, 2}, 2, STRATEGY_FLOOR, false, 1, &s, NULL), -EINVAL);
  assert_int_equal(strategy_new(3, (const uint32_t[]){7}, 1, STRATEGY_FLOOR, false, 1, &s, NULL), -EINVAL);
  assert_int_equal(strategy_new(3, all_k, 0, STRATEGY_FLOOR, false, 1, &s, NULL), -EINVAL);
  assert_int_equal(strategy_new(3, (const uint32_t[]){0, 1}, 2, STRATEGY_FLOOR, false, 1, &s, NULL), -EINVAL);
  assert_int_equal(strategy_new(3, (const uint32_t[]){1, 2, 3, 4, 5, 6}, STRATEGY_ACTIONS_MAX, STRATEGY_FLOOR,
                                false, 1, &s, NULL),
                   0); /* 1: left unmixed */
  strategy_free(s);
}

/* k[0] gets its share, and the others are as equal as ever. */
static void begins_where_it_is_told(void **state) {
  (void)state;
  float states[BATCH * (2 * CHANNELS + STRATEGY_EXTRA)], policy[BATCH * 5];
  for (int careful = 0; careful < 2; careful++) {
    struct strategy *s = make(true);
    if (careful)
      strategy_begin(s, 0.75f);
    random_states(s, 3, states);
    strategy_standardise(s, states, BATCH);
    strategy_policy(s, states, BATCH, policy);
    for (uint32_t a = 0; a < 5; a++) {
      const float expected = careful ? (a == 0 ? 0.75f : 0.0625f) : 0.2f;
      float mean = 0;
      for (uint32_t i = 0; i < BATCH; i++)
        mean += policy[i * 5 + a] / (float)BATCH;
      print_message("P(%u) %.3f\n", all_k[a], (double)mean);
      assert_true(fabsf(mean / expected - 1) < 0.2f);
    }
    strategy_free(s);
  }
}

static void entropy_bonuses(void **state) {
  (void)state;
  assert_true(fabsf(strategy_entropy_weight(false, 0) - 0.02f) < 1e-7f);
  assert_true(fabsf(strategy_entropy_weight(false, 1) - 0.002f) < 1e-7f);
  assert_true(fabsf(strategy_entropy_weight(true, 0) - 0.2f) < 1e-7f);
  assert_true(fabsf(strategy_entropy_weight(true, 1) - 0.2f) < 1e-7f);
}

/* Rewards a third of a deviation apart: with the bonus of priced rewards the better action is taken more
 * often, and the worse one not given up; without it, it is. */
static void priced_policies_stay_open(void **state) {
  (void)state;
  enum { ACTIONS = 2, ANCHORS = 32 };
  static const uint32_t k[ACTIONS] = {1, 6};
  for (int priced = 0; priced < 2; priced++) {
    struct strategy *s = NULL;
    float probability[ANCHORS * ACTIONS];
    assert_int_equal(strategy_new(4, k, ACTIONS, 0, priced, 3, &s, NULL), 0);
    const size_t size = strategy_state_size(s);
    float *states = calloc(ANCHORS * size, sizeof(*states));
    assert_non_null(states);
    for (uint32_t i = 0; i < ANCHORS * size; i++)
      states[i] = 0.5f;
    for (uint64_t step = 0; step < 3000; step++) {
      uint32_t a[2][ANCHORS];
      float r[2][ANCHORS];
      struct rng rng;
      rng_init(&rng, 5, RNG_STRATEGY, step, 0);
      strategy_policy(s, states, ANCHORS, probability);
      for (uint32_t i = 0; i < ANCHORS; i++)
        for (int d = 0; d < 2; d++) {
          a[d][i] = strategy_draw(&rng, probability + i * ACTIONS, ACTIONS);
          /* noise of deviation .87, and .15 more or less */
          r[d][i] = (float)(1.5 * (double)(rng_uniform(&rng) * 2 - 1)) + (a[d][i] == 1 ? 0.15f : -0.15f);
        }
      (void)strategy_update(s, states, ANCHORS, a[0], a[1], r[0], r[1], strategy_entropy_weight(priced, 0.5));
    }
    strategy_policy(s, states, ANCHORS, probability);
    print_message("%s: P(better) %.3f\n", priced ? "priced" : "published", (double)probability[1]);
    assert_true(priced ? probability[1] > 0.75f && probability[1] < 0.95f : probability[1] > 0.999f);
    free(states);
    strategy_free(s);
  }
}

enum { BLOCK = 189, GROUP = 16 };

/* Two kinds of people, whom one entry of the context tells apart, among entries of templates that are much
 * the same for all. */
static void draw_states(const struct strategy *s, struct rng *rng, float *states) {
  const size_t size = strategy_state_size(s);
  for (uint32_t i = 0; i < GROUP; i++) {
    float *state = states + i * size;
    memset(state, 0, size * sizeof(*state));
    for (uint32_t e = 0; e < 2 * BLOCK; e++)
      state[e] = 0.8f + 0.05f * (float)(e % 7) + 0.1f * rng_normal(rng);
    state[2 * BLOCK + 4] = i % 2 ? 1 : -1;
  }
}

/* How much more often those of the second kind are mixed after `updates`, where each kind is better off with
 * another action, by .3 beside noise of deviation .4. */
static double learnt_difference(bool standard, uint64_t updates) {
  static const uint32_t k[2] = {1, 6};
  struct strategy *s = NULL;
  float probability[GROUP * 2];
  double difference = 0;
  assert_int_equal(strategy_new(BLOCK, k, 2, STRATEGY_FLOOR, standard, 3, &s, NULL), 0);
  float *states = calloc(GROUP * strategy_state_size(s), sizeof(*states));
  for (uint64_t step = 0; step <= updates; step++) {
    uint32_t a[2][GROUP];
    float r[2][GROUP];
    struct rng rng;
    rng_init(&rng, 5, RNG_STRATEGY, step, 0);
    draw_states(s, &rng, states);
    strategy_standardise(s, states, GROUP);
    strategy_policy(s, states, GROUP, probability);
    for (uint32_t i = 0; i < GROUP; i++)
      for (int d = 0; d < 2; d++) {
        a[d][i] = strategy_draw(&rng, probability + (size_t)i * 2, 2);
        r[d][i] = 0.4f * rng_normal(&rng) + (a[d][i] == i % 2 ? 0.3f : 0);
      }
    if (step < updates)
      (void)strategy_update(s, states, GROUP, a[0], a[1], r[0], r[1], strategy_entropy_weight(true, 0));
  }
  for (uint32_t i = 0; i < GROUP; i++)
    difference += (i % 2 ? 1 : -1) * (double)probability[2 * i + 1] / (GROUP / 2.0);
  free(states);
  strategy_free(s);
  return difference;
}

/* 200 updates are a short training. */
static void whom_is_learnt_in_a_short_training(void **state) {
  (void)state;
  const double standard = learnt_difference(true, 200), plain = learnt_difference(false, 200);
  print_message("difference learnt: %.2f; %.2f with the state as it is\n", standard, plain);
  assert_true(standard > 0.6 && plain < 0.3);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(begins_where_it_is_told),
                                     cmocka_unit_test(entropy_bonuses),
                                     cmocka_unit_test(priced_policies_stay_open),
                                     cmocka_unit_test(whom_is_learnt_in_a_short_training),
                                     cmocka_unit_test(learns_from_the_state),
                                     cmocka_unit_test(collapses_where_the_reward_grows_with_k),
                                     cmocka_unit_test(one_update_favours_the_better_action),
                                     cmocka_unit_test(saved_and_loaded_to_the_bit),
                                     cmocka_unit_test(bad_actions)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
