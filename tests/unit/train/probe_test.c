/* The probe learns to reconstruct, sees more in fewer faces, and its price follows the formulas. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <string.h>

#include "core/base/memory.h"
#include "core/image/synth.h"
#include "core/train/dual.h"
#include "core/train/probe.h"
#include "core/train/strategy.h"

enum { SIZE = 32, PEOPLE = 16, IMAGES = 8, FACES = PEOPLE * IMAGES, BATCH = 16, MIXES = 32 };

struct fixture {
  uint8_t faces[FACES][SIZE * SIZE * 3];
  struct mask *mask;
  float *templates, *scratch, *mixed;
};

static const uint8_t *face(void *context, uint32_t i) {
  const struct fixture *f = context;
  return f->faces[i];
}

static void make_mask(struct fixture *f, enum mask_dct dct) {
  struct mask_options options = mask_options_default(MASK_AHM, SIZE);
  options.dct = dct;
  assert_int_equal(mask_new(&options, &f->mask, NULL), 0);
  assert_int_equal(mask_fit(f->mask, face, f, FACES, NULL), 0);
  const size_t elements = mask_elements(f->mask);
  f->templates = tensor_alloc(FACES * elements * sizeof(float));
  f->mixed = tensor_alloc(MIXES * elements * sizeof(float));
  f->scratch = tensor_alloc(mask_scratch(f->mask) * sizeof(float));
  for (uint32_t i = 0; i < FACES; i++)
    mask_template(f->mask, f->faces[i], false, NULL, f->scratch, f->templates + i * elements);
}

static void drop_mask(struct fixture *f) {
  tensor_free(f->templates);
  tensor_free(f->mixed);
  tensor_free(f->scratch);
  f->mask = mask_free(f->mask);
}

static int set_up(void **state) {
  struct fixture *f = calloc(1, sizeof(*f));
  for (uint32_t i = 0; i < FACES; i++)
    synth_face(3, i / IMAGES, i % IMAGES, SIZE, f->faces[i]);
  *state = f;
  return 0;
}

static int tear_down(void **state) {
  free(*state);
  return 0;
}

static struct probe *make_probe(const struct fixture *f) {
  const struct probe_options options = {
      .batch = BATCH, .mixes = MIXES, .faces = FACES, .threads = 1, .seed = 7};
  struct guise_error err = {0};
  struct probe *probe = NULL;
  if (probe_new(f->mask, &options, &probe, &err) < 0)
    fail_msg("%s", err.text);
  return probe;
}

/* Mixes of k of all faces. */
static void draw_mixes(uint64_t step, uint32_t k, uint32_t count, struct mix *ret_mixes) {
  uint32_t identity[FACES];
  for (uint32_t i = 0; i < FACES; i++)
    identity[i] = i / IMAGES;
  for (uint32_t i = 0; i < count; i++) {
    struct rng rng;
    float lambda[MIX_MAX];
    rng_init(&rng, 5, RNG_MIX, step, i);
    mix_draw_lambdas(&rng, k, lambda);
    mix_compose(&rng, rng_below(&rng, FACES), k, lambda, identity, FACES, &ret_mixes[i]);
  }
}

static double train_step(const struct fixture *f, struct probe *probe, uint64_t step) {
  struct mix mixes[BATCH];
  const uint8_t *targets[BATCH];
  double error = 0;
  draw_mixes(step, 1 + (uint32_t)(step % MIX_MAX), BATCH, mixes);
  mix_templates(mixes, BATCH, f->templates, mask_elements(f->mask), probe_input(probe));
  for (uint32_t i = 0; i < BATCH; i++) {
    uint32_t best = 0;
    for (uint32_t j = 1; j < mixes[i].k; j++)
      best = mixes[i].lambda[j] > mixes[i].lambda[best] ? j : best;
    targets[i] = f->faces[mixes[i].member[best]];
  }
  assert_int_equal(probe_step(probe, targets, &error, NULL), 0);
  return error;
}

/* Mean error of steps [first, first + 60). */
static double train(const struct fixture *f, struct probe *probe, uint64_t first) {
  double sum = 0;
  for (uint64_t step = first; step < first + 60; step++)
    sum += train_step(f, probe, step) / 60;
  return sum;
}

static double mean_leak(const struct fixture *f, struct probe *probe, uint32_t k) {
  struct mix mixes[MIXES];
  const uint8_t *faces[FACES];
  uint32_t person[FACES];
  float leaks[MIXES];
  double sum = 0;
  draw_mixes(1000 + k, k, MIXES, mixes);
  mix_templates(mixes, MIXES, f->templates, mask_elements(f->mask), f->mixed);
  for (uint32_t i = 0; i < FACES; i++) {
    faces[i] = f->faces[i];
    person[i] = i / IMAGES;
  }
  const struct probe_members members = {NULL, person, faces};
  assert_int_equal(probe_leaks(probe, mixes, MIXES, f->mixed, &members, leaks, NULL), 0);
  for (uint32_t i = 0; i < MIXES; i++) {
    assert_true(leaks[i] >= -2 && leaks[i] <= 2);
    sum += (double)leaks[i] / MIXES;
  }
  return sum;
}

static void learns_and_sees_more_in_fewer_faces(void **state) {
  struct fixture *f = *state;
  make_mask(f, MASK_DCT_NATIVE);
  struct probe *probe = make_probe(f);
  double first = train(f, probe, 0);
  for (uint64_t at = 60; at < 300; at += 60)
    (void)train(f, probe, at);
  double last = train(f, probe, 300);
  if (!(last < 0.75 * first))
    fail_msg("error %g, then %g grey levels", first, last);
  double one = mean_leak(f, probe, 1), two = mean_leak(f, probe, 2), six = mean_leak(f, probe, 6);
  if (!(one > 0.2 && one > two + 0.03 && two > six + 0.03 && six > -0.03))
    fail_msg("leak of 1, 2 and 6 faces: %g, %g, %g", one, two, six);
  probe_free(probe);
  drop_mask(f);
}

/* The largest of six chance similarities is larger than that of one; nobody leaks the more for it. */
static void who_learnt_nothing_sees_nothing(void **state) {
  struct fixture *f = *state;
  make_mask(f, MASK_DCT_NATIVE);
  memset(f->templates, 0, FACES * mask_elements(f->mask) * sizeof(float));
  struct probe *probe = make_probe(f);
  for (uint32_t k = 1; k <= MIX_MAX; k++) {
    const double leak = mean_leak(f, probe, k);
    if (!(fabs(leak) < 0.06))
      fail_msg("leak of %u faces without any picture of them: %g", k, leak);
  }
  probe_free(probe);
  drop_mask(f);
}

/* One block a pixel: there is no inverse DCT to begin with. */
static void learns_from_upsampled_templates(void **state) {
  struct fixture *f = *state;
  make_mask(f, MASK_DCT_UPSAMPLED);
  struct probe *probe = make_probe(f);
  double first = train(f, probe, 0), second = train(f, probe, 60);
  if (!(second < 0.9 * first))
    fail_msg("error %g, then %g grey levels", first, second);
  probe_free(probe);
  drop_mask(f);
}

/* Members beyond the faces to protect are not compared: a public face gives nobody away. */
static void public_faces_do_not_leak(void **state) {
  struct fixture *f = *state;
  make_mask(f, MASK_DCT_NATIVE);
  const struct probe_options options = {.batch = BATCH, .mixes = MIXES, .faces = 1, .threads = 1, .seed = 7};
  const uint8_t *faces[1] = {f->faces[0]};
  struct probe *probe = NULL;
  const uint32_t person[FACES] = {0};
  float leaks[2];
  struct mix mixes[2] = {{.k = 2, .member = {0, 9}, .lambda = {.5f, .5f}},
                         {.k = 1, .member = {9}, .lambda = {1}}};
  assert_int_equal(probe_new(f->mask, &options, &probe, NULL), 0);
  mix_templates(mixes, 2, f->templates, mask_elements(f->mask), f->mixed);
  const struct probe_members members = {NULL, person, faces};
  assert_int_equal(probe_leaks(probe, mixes, 2, f->mixed, &members, leaks, NULL), 0);
  assert_true(leaks[0] != 0);
  assert_true(leaks[1] == 0);
  probe_free(probe);
  drop_mask(f);
}

static void sizes(void **state) {
  (void)state;
  static const uint32_t wanted[][3] = {{32, 32, 40},  {56, 56, 56},  {64, 32, 40}, {72, 36, 40},
                                       {112, 56, 56}, {120, 30, 40}, {224, 56, 56}};
  for (size_t i = 0; i < ARRAY_SIZE(wanted); i++) {
    assert_int_equal(probe_target(wanted[i][0]), wanted[i][1]);
    assert_int_equal(probe_embedder_input(wanted[i][0]), wanted[i][2]);
  }
}

static void the_price_rises_and_falls(void **state) {
  struct dual dual;
  (void)state;
  dual_start(&dual, 600);
  assert_true(dual.mu == 0 && dual.tau == DUAL_TAU_START);
  dual.tau = 0.25;
  dual_step(&dual, 1.25, true); /* the first value is the average; beyond tau by 1 */
  assert_true(fabs(dual.nu - 0.01) < 1e-12 && fabs(dual.mu - 1.01) < 1e-12); /* twice tau at most */
  dual_step(&dual, 0.25, true);                                              /* average 1.15 */
  assert_true(fabs(dual.nu - 0.02) < 1e-12 && fabs(dual.mu - dual.nu - 0.9) < 1e-12);
  double before = dual.nu;
  for (int i = 0; i < 50; i++)
    dual_step(&dual, 2, true);
  assert_true(dual.nu > before + 0.1);
  for (int i = 0; i < 2000; i++)
    dual_step(&dual, 2, true);
  assert_true(dual.nu == 5 && dual.mu == 5); /* or it would take as long to come down */
  for (int i = 0; i < 60; i++)
    dual_step(&dual, 0, true);
  assert_true(dual.mu < 4.75); /* at once what costs nothing is worth less */
  for (int i = 0; i < 10000; i++)
    dual_step(&dual, 0, true);
  assert_true(dual.mu == 0 && dual.nu == 0);
  dual_start(&dual, 600);
  dual.tau = 0.02; /* a tenth of cost is five times as much as may be: the price is felt within 100 updates */
  for (int i = 0; i < 100; i++)
    dual_step(&dual, 0.1, true);
  assert_true(fabs(dual.nu - 1) < 1e-9);
  dual.tau = 0.08; /* a quarter of tau too much */
  dual_step(&dual, 0.1, true);
  assert_true(fabs(dual.nu - 1 - 0.005 * 0.25) < 1e-9);
  dual_start(&dual, 600);
  assert_true(ablation_traits(ABLATION_NO_DUAL)->no_dual && !ablation_traits(ABLATION_NONE)->no_dual);
  dual_step(&dual, 5, false);
  assert_true(dual.mu == 0 && dual.cost == 5);
}

/* The table is what the draws give. */
static void dilution_is_that_of_the_draws(void **state) {
  (void)state;
  assert_true(dual_dilution(0) == 0 && dual_dilution(1) == 0);
  for (uint32_t k = 2; k <= MIX_MAX; k++) {
    double sum = 0;
    for (uint32_t i = 0; i < 20000; i++) {
      float lambda[MIX_MAX];
      struct rng rng;
      rng_init(&rng, 1, RNG_MIX, k, i);
      mix_draw_lambdas(&rng, k, lambda);
      sum += 1;
      for (uint32_t j = 0; j < k; j++)
        sum -= (double)lambda[j] * (double)lambda[j];
    }
    assert_true(fabs(sum / 20000 - dual_dilution(k)) < 2e-3); /* 1 deviation is about 4e-4 */
  }
}

static void tau_follows_the_accuracy(void **state) {
  struct dual dual;
  const double start = 0.3;
  (void)state;
  dual_start(&dual, 600);
  dual.tau = start;
  dual.reference_accuracy = 0.9;
  dual_epoch(&dual, 0.9, 1, 0.01); /* nothing lost: exp(.1) */
  assert_true(fabs(dual.tau - start * exp(0.1)) < 1e-12);
  dual_epoch(&dual, 0.89, 1, 0.01); /* all that may be lost: stays */
  assert_true(fabs(dual.tau - start * exp(0.1)) < 1e-12);
  dual_epoch(&dual, 0.885, 1, 0.01); /* half of it too much: exp(-.25) */
  assert_true(fabs(dual.tau - start * exp(-0.15)) < 1e-12);
  dual_epoch(&dual, 0.5, 1, 0.01); /* far too much: no more than exp(-.5) */
  assert_true(fabs(dual.tau - start * exp(-0.65)) < 1e-12);
  for (int i = 0; i < 20; i++)
    dual_epoch(&dual, 0.5, 1, 0.01);
  assert_true(dual.tau == 0.05);
  for (int i = 0; i < 30; i++)
    dual_epoch(&dual, 0.95, 1, 0.01);
  assert_true(dual.tau == 0.75);
}

/* Who is bound begins with less, at a price. */
static void a_bound_begins_carefully(void **state) {
  struct dual dual;
  (void)state;
  dual_start(&dual, 600);
  dual_bind(&dual, 0.9, 0.5, 0, true);
  assert_true(dual.known > 0 && dual.reference_accuracy == 0.9 && dual.reference_tar == 0.5);
  assert_true(dual.tau == DUAL_TAU_BOUND && dual.mu == DUAL_MU_BOUND);
  dual_step(&dual, DUAL_TAU_BOUND, true); /* as much as may be: the price stays */
  assert_true(dual.mu == DUAL_MU_BOUND);
  dual_bind(&dual, 0.9, 0.5, dual_dilution(2), true); /* who mixes two at least cannot have less */
  assert_true(dual.tau == dual_dilution(2));
  dual_bind(&dual, 0.9, 0.5, 0, false);
  assert_true(dual.mu == 0 && dual.nu == 0);
  dual_step(&dual, 0.5, false);
  assert_true(dual.mu == 0);
}

/* A reference that ended at .8 on its own pairs and had .6 after half of its training is asked, on pairs
 * where it reaches .9, for .7 after half of this one. */
static void early_epochs_are_held_against_early_epochs(void **state) {
  struct dual dual;
  (void)state;
  dual_start(&dual, 600);
  dual.reference_accuracy = 0.9;
  for (int i = 0; i < CURVE_POINTS; i++)
    dual.curve[i] = i < CURVE_POINTS / 2 ? 0.6 : 0.8;
  assert_true(fabs(dual_reference_at(&dual, 0.5) - 0.7) < 1e-12);
  assert_true(fabs(dual_reference_at(&dual, 1) - 0.9) < 1e-12);
  dual_epoch(&dual, 0.7 - 0.01, 0.5, 0.01); /* all that may be missing */
  assert_true(fabs(dual.tau - DUAL_TAU_START) < 1e-12);
}

/* A training that was not verified at each stage: what lies between is interpolated, a few points are none.
 */
static void curves_with_gaps(void **state) {
  double curve[CURVE_POINTS] = {0};
  (void)state;
  for (int epoch = 2; epoch <= 40; epoch += 2) /* half of the sixteenths end within such an epoch */
    curve_add(curve, (epoch - 1) / 40.0, epoch / 40.0, 0.5 + 0.01 * epoch);
  assert_true(curve[0] == 0 && curve[4] == 0 && curve[15] > 0);
  assert_true(curve_fill(curve));
  assert_true(curve[0] == curve[2] && curve[1] == curve[2]);
  for (int i = 2; i < CURVE_POINTS; i++)
    assert_true(fabs(curve[i] - (0.5 + 0.4 * (i + 1) / CURVE_POINTS)) < 0.006);
  double few[CURVE_POINTS] = {[3] = 0.5, [7] = 0.6, [15] = 0.8},
         no_last[CURVE_POINTS] = {0.5, 0.5, 0.5, 0.6, 0.6};
  assert_false(curve_fill(few));
  assert_false(curve_fill(no_last));
  assert_true(few[0] == 0 && no_last[15] == 0);
}

static void curves(void **state) {
  double curve[CURVE_POINTS] = {0}, read[CURVE_POINTS];
  char text[CURVE_TEXT];
  (void)state;
  curve_text(curve, text);
  assert_string_equal(text, "");
  assert_true(isnan(curve_at(curve, 1)));
  for (int epoch = 1; epoch <= 4; epoch++) {
    assert_false(curve_fill(curve));
    curve_add(curve, (epoch - 1) / 4.0, epoch / 4.0, 0.5 + 0.1 * epoch);
  }
  assert_true(curve_fill(curve));
  assert_true(fabs(curve_at(curve, 0.01) - 0.6) < 1e-12); /* the first epoch's */
  assert_true(fabs(curve_at(curve, 0.25) - 0.6) < 1e-12);
  assert_true(fabs(curve_at(curve, 0.75) - 0.8) < 1e-12);
  assert_true(fabs(curve_at(curve, 1) - 0.9) < 1e-12);
  assert_true(fabs(curve_at(curve, 4.5 / CURVE_POINTS) - 0.65) < 1e-12);
  curve_text(curve, text);
  assert_true(curve_parse(text, read));
  for (int i = 0; i < CURVE_POINTS; i++)
    assert_true(fabs(read[i] - curve[i]) < 1e-5);
  static const char *const wrong[] = {"",
                                      "0.5",
                                      "0.5 0.5 0.5 0.5 0.5 0.5 0.5 0.5 0.5 0.5 0.5 0.5 0.5 0.5 0.5 nan",
                                      "1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1",
                                      "a",
                                      "2 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1"};
  for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
    assert_false(curve_parse(wrong[i], read));
    assert_true(read[0] == 0);
  }
  /* every third of seven epochs was verified, and the last: nothing is told of stages that others reached */
  for (int epoch = 3; epoch <= 7; epoch += epoch == 3 ? 3 : 1)
    curve_add(read, (epoch - 1) / 7.0, epoch / 7.0, 0.1 * epoch);
  static const double known[CURVE_POINTS] = {0, 0, 0, 0, 0.3, 0.3, 0, 0, 0, 0, 0, 0.6, 0.6, 0.7, 0.7, 0.7};
  for (int i = 0; i < CURVE_POINTS; i++)
    assert_true(fabs(read[i] - known[i]) < 1e-12);
  assert_true(curve_fill(read));
  assert_true(read[0] == read[4] && fabs(read[8] - (0.3 + 0.3 * 3 / 6)) < 1e-12 &&
              fabs(read[15] - 0.7) < 1e-12);
  assert_true(fabs(curve_at(read, 1) - 0.7) < 1e-12);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(learns_and_sees_more_in_fewer_faces, set_up, tear_down),
      cmocka_unit_test_setup_teardown(who_learnt_nothing_sees_nothing, set_up, tear_down),
      cmocka_unit_test_setup_teardown(learns_from_upsampled_templates, set_up, tear_down),
      cmocka_unit_test_setup_teardown(public_faces_do_not_leak, set_up, tear_down),
      cmocka_unit_test(sizes),
      cmocka_unit_test(the_price_rises_and_falls),
      cmocka_unit_test(dilution_is_that_of_the_draws),
      cmocka_unit_test(tau_follows_the_accuracy),
      cmocka_unit_test(a_bound_begins_carefully),
      cmocka_unit_test(early_epochs_are_held_against_early_epochs),
      cmocka_unit_test(curves_with_gaps),
      cmocka_unit_test(curves),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
