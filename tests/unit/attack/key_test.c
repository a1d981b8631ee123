/* Keys guessed without having them: the assignment against all permutations, what known pairs and statistics
 * find, and what the linear attack makes of it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "core/attack/key.h"
#include "core/base/philox.h"
#include "core/image/synth.h"
#include "core/mask/key.h"

#define SIZE 64
#define PEOPLE 40
#define IMAGES 2
#define FACES (PEOPLE * IMAGES)
#define PIXELS ((size_t)SIZE * SIZE * 3)

static uint8_t pixels[FACES][PIXELS], others[FACES][PIXELS];
static uint32_t identity[FACES];

static const uint8_t *test_image(void *context, uint32_t i) {
  return context ? others[i] : pixels[i];
}

static int draw_faces(void **state) {
  (void)state;
  for (uint32_t i = 0; i < FACES; i++) {
    identity[i] = i / IMAGES;
    synth_face(5, i / IMAGES, i % IMAGES, SIZE, pixels[i]);
    synth_face(6, i / IMAGES, i % IMAGES, SIZE, others[i]);
  }
  return 0;
}

static struct mask *keyed(enum mask_method method, enum mask_dct dct, uint32_t key_number) {
  struct mask *mask = NULL;
  struct mask_key key;
  struct guise_error err = {0};
  struct mask_options options = mask_options_default(method, SIZE);
  options.dct = dct;
  options.select = MASK_SELECT_ZIGZAG; /* nothing was learnt */
  memset(key.secret, (int)key_number, sizeof(key.secret));
  if (mask_new(&options, &mask, &err) != 0 || mask_fit(mask, test_image, NULL, FACES, &err) != 0 ||
      mask_set_key(mask, &key, &err) != 0)
    fail_msg("%s", err.text);
  return mask;
}

static struct attack_context context_of(const struct mask *mask, uint32_t k) {
  struct attack_context context = {.victims = {test_image, NULL, identity, FACES, NULL},
                                   .mask = mask,
                                   .effort = EFFORT_QUICK,
                                   .seed = 3,
                                   .threads = 2};
  context.mixing.unmixed = k == 1;
  context.mixing.probability[k] = k > 1;
  return context;
}

/* ---- the assignment ---- */

static double least_of_all(uint32_t n, const double *cost, uint32_t row, uint32_t taken) {
  double least = row == n ? 0 : INFINITY;
  for (uint32_t j = 0; row < n && j < n; j++)
    if (!(taken >> j & 1))
      least = fmin(least, cost[row * n + j] + least_of_all(n, cost, row + 1, taken | 1u << j));
  return least;
}

static void assignments_are_the_cheapest(void **state) {
  (void)state;
  for (uint32_t n = 1; n <= 7; n++)
    for (uint32_t round = 0; round < 30; round++) {
      double cost[49], sum = 0;
      uint32_t column[7], taken = 0;
      struct rng rng;
      rng_init(&rng, 1, RNG_ATTACK, n, round);
      for (uint32_t i = 0; i < n * n; i++) /* small whole numbers: many ties */
        cost[i] = round % 2 ? (double)rng_normal(&rng) : (double)rng_below(&rng, 4);
      assert_int_equal(assign(n, cost, column), 0);
      for (uint32_t i = 0; i < n; i++) {
        taken |= 1u << column[i];
        sum += cost[i * n + column[i]];
      }
      assert_int_equal(taken, (1u << n) - 1);
      assert_true(fabs(sum - least_of_all(n, cost, 0, 0)) < 1e-9);
    }
}

/* ---- guesses ---- */

static void one_pair_gives_the_key(void **state) {
  (void)state;
  for (int dct = 0; dct < MASK_DCTS; dct++) {
    struct mask *mask = keyed(dct ? MASK_DUETFACE : MASK_AHM, (enum mask_dct)dct, 7);
    struct attack_context context = context_of(mask, 1);
    struct face_sample sample;
    struct key_guess guess;
    assert_int_equal(face_sample_draw(&context.victims, 2, 3, &sample), 0);
    assert_int_equal(key_from_pairs(&context, &sample, &guess, NULL), 0);
    assert_int_equal(guess.faces, 1); /* of the two people's */
    assert_true(guess.found == 1.0);
    assert_memory_equal(mask_order(guess.mask)->channel, mask_order(mask)->channel,
                        mask_channels(mask) * sizeof(uint16_t));
    key_guess_done(&guess);
    face_sample_done(&sample);
    mask_free(mask);
  }
}

static double statistics_find(enum mask_method method, enum mask_dct dct, uint32_t key_number, uint32_t k,
                              bool public_faces) {
  struct mask *mask = keyed(method, dct, key_number);
  struct attack_context context = context_of(mask, k);
  struct face_sample sample;
  struct key_guess guess;
  if (public_faces)
    context.open = (struct attack_faces){test_image, others, identity, FACES, NULL};
  assert_int_equal(face_sample_draw(&context.victims, 100, 3, &sample), 0);
  assert_int_equal(key_from_statistics(&context, &sample, k > 1 ? &context.mixing : NULL, &guess, NULL), 0);
  const double found = guess.found;
  assert_int_equal(guess.faces, public_faces ? FACES : FACES / 2);
  key_guess_done(&guess);
  face_sample_done(&sample);
  mask_free(mask);
  return found;
}

/* Of drawn faces, which are more alike than photographs; chance is 1 in 366. */
static void statistics_find_a_part(void **state) {
  (void)state;
  assert_true(statistics_find(MASK_AHM, MASK_DCT_NATIVE, 7, 1, false) > .4);
  assert_true(statistics_find(MASK_AHM, MASK_DCT_NATIVE, 9, 1, true) > .7);
  assert_true(statistics_find(MASK_AHM, MASK_DCT_NATIVE, 7, 3, true) > .7);
  assert_true(statistics_find(MASK_PPFR_FD, MASK_DCT_NATIVE, 7, 1, true) > .4);
}

/* ---- the attack ---- */

static const struct attack_metric *metric_of(const struct attack_surface_result *surface, const char *name) {
  for (uint32_t i = 0; i < surface->metrics; i++)
    if (strcmp(surface->metric[i].name, name) == 0)
      return &surface->metric[i];
  return NULL;
}

static void run(const struct mask *mask, uint32_t k, struct attack_result *ret_result) {
  struct attack_context context = context_of(mask, k);
  struct guise_error err = {0};
  context.victims.count = 24;
  if (attack_run(attack_find("linear"), &context, ret_result, &err) != 0)
    fail_msg("%s", err.text);
}

/* Pairs take a key away altogether: what is left is the attack on the mask without one. */
static void the_linear_attack_reports_both(void **state) {
  (void)state;
  struct mask *mask = keyed(MASK_AHM, MASK_DCT_NATIVE, 7);
  struct attack_result with, without;
  run(mask, 2, &with);
  assert_int_equal(mask_set_key(mask, NULL, NULL), 0);
  run(mask, 2, &without);
  for (uint32_t s = 0; s < 2; s++) {
    const struct attack_surface_result *surface = &with.surface[s];
    const bool training = surface->surface == SURFACE_TRAINING_TEMPLATES;
    const char *name = training ? "ssim_best" : "ssim", *pairs = training ? "ssim_best_pairs" : "ssim_pairs";
    const struct attack_metric *plain = metric_of(&without.surface[s], name);
    assert_string_equal(surface->decided_by, name);
    assert_true(fabs(metric_of(surface, pairs)->value.mean - plain->value.mean) < 1e-3);
    assert_true(metric_of(surface, name)->value.mean <= plain->value.mean + 1e-3);
    assert_true(metric_of(surface, "key_found_pairs")->value.mean == 1);
    assert_in_range(100 * metric_of(surface, "key_found")->value.mean, 1, 99);
    assert_non_null(strstr(surface->reason, "Who knows pairs"));
    assert_null(metric_of(&without.surface[s], pairs));
  }
  attack_result_done(&with);
  attack_result_done(&without);
  mask_free(mask);
}

struct patience {
  uint32_t asked, most;
};

static bool out_of_patience(void *context) {
  struct patience *patience = context;
  return ++patience->asked > patience->most;
}

/* Asked at every face and every round, and stopped at each of them. */
static void guesses_stop_when_asked(void **state) {
  (void)state;
  struct mask *mask = keyed(MASK_AHM, MASK_DCT_NATIVE, 7);
  struct attack_context context = context_of(mask, 1);
  struct patience patience = {0, UINT32_MAX};
  struct face_sample sample;
  context.should_stop = out_of_patience;
  context.stop_context = &patience;
  assert_int_equal(face_sample_draw(&context.victims, 20, 3, &sample), 0);
  for (int pairs = 0; pairs < 2; pairs++) {
    uint32_t all = 0;
    for (uint32_t most = UINT32_MAX; most == UINT32_MAX || most < all;
         most = most == UINT32_MAX ? 0 : most + 3) {
      struct key_guess guess = {.mask = NULL};
      struct guise_error err = {0};
      patience = (struct patience){0, most};
      const int r = pairs ? key_from_pairs(&context, &sample, &guess, &err)
                          : key_from_statistics(&context, &sample, NULL, &guess, &err);
      assert_int_equal(r, most == UINT32_MAX ? 0 : -ECANCELED);
      assert_true(r == 0 || (strcmp(err.text, "the attack was stopped") == 0 && patience.asked == most + 1));
      all = r == 0 ? patience.asked : all;
      key_guess_done(&guess);
    }
    assert_true(all >= 10);
  }
  face_sample_done(&sample);
  mask_free(mask);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(assignments_are_the_cheapest), cmocka_unit_test(one_pair_gives_the_key),
      cmocka_unit_test(statistics_find_a_part),       cmocka_unit_test(the_linear_attack_reports_both),
      cmocka_unit_test(guesses_stop_when_asked),
  };
  return cmocka_run_group_tests(tests, draw_faces, NULL);
}
