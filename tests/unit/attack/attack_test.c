/* What all attacks share: whom they look at, how those are mixed, verdicts, and names. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <string.h>

#include "core/attack/attack.h"
#include "core/attack/faces.h"
#include "core/attack/victims.h"

#define PEOPLE 12
#define IMAGES 3
#define FACES (PEOPLE * IMAGES)

static uint32_t identity[FACES];

/* Nobody looks at pixels here. */
static const uint8_t *no_image(void *context, uint32_t i) {
  (void)context;
  (void)i;
  return NULL;
}

static int number_people(void **state) {
  (void)state;
  for (uint32_t i = 0; i < FACES; i++)
    identity[i] = 100 + 7 * (i / IMAGES); /* any numbering */
  return 0;
}

static void sample_spreads_over_people(void **state) {
  (void)state;
  struct attack_faces faces = {no_image, NULL, identity, FACES, NULL};
  struct face_sample sample;
  uint32_t of_person[PEOPLE] = {0};
  bool chosen[FACES] = {false};
  assert_int_equal(face_sample_draw(&faces, 2 * PEOPLE, 1, &sample), 0);
  assert_int_equal(sample.count, 2 * PEOPLE);
  assert_int_equal(sample.people, PEOPLE);
  for (uint32_t i = 0; i < sample.count; i++) {
    assert_false(chosen[sample.index[i]]);
    chosen[sample.index[i]] = true;
    of_person[sample.person[i]]++;
    assert_int_equal(sample.person[i], sample.index[i] / IMAGES); /* numbered in ascending order */
  }
  for (uint32_t p = 0; p < PEOPLE; p++)
    assert_int_equal(of_person[p], 2);
  face_sample_done(&sample);
}

static void mixes_follow_the_policy(void **state) {
  (void)state;
  struct attack_faces faces = {no_image, NULL, identity, FACES, NULL};
  struct attack_mixing mixing = {.unmixed = 0.25, .by_samples = true, .probability = {[2] = 0.2, [6] = 0.6}};
  struct face_sample sample;
  uint32_t seen[MIX_MAX + 1] = {0};
  assert_int_equal(face_sample_draw(&faces, FACES, 1, &sample), 0);
  for (uint64_t seed = 0; seed < 100; seed++)
    for (uint32_t i = 0; i < FACES; i++) {
      struct mix mix;
      float sum = 0;
      face_sample_mix(&sample, &mixing, i, seed, &mix);
      assert_int_equal(mix.member[0], i);
      for (uint32_t j = 0; j < mix.k; j++)
        sum += mix.lambda[j];
      assert_true(fabsf(sum - 1) < 1e-5f);
      seen[mix.k]++;
      uint32_t stranger = face_sample_stranger(&sample, &mix, i, 0, seed);
      for (uint32_t j = 0; j < mix.k; j++)
        assert_int_not_equal(sample.person[stranger], sample.person[mix.member[j]]);
    }
  assert_in_range(seen[1], 800, 1000);  /* 900 of 3,600 */
  assert_in_range(seen[2], 575, 775);   /* 675: the weights need not sum to 1 */
  assert_in_range(seen[6], 1900, 2150); /* 2,025 */
  assert_int_equal(seen[1] + seen[2] + seen[6], 3600);
  /* of the policy's own choices some are unmixed, too */
  mixing = (struct attack_mixing){.unmixed = 0.25, .by_samples = true, .probability = {[1] = 0.2, [6] = 0.6}};
  memset(seen, 0, sizeof(seen));
  for (uint64_t seed = 0; seed < 100; seed++)
    for (uint32_t i = 0; i < FACES; i++) {
      struct mix mix;
      face_sample_mix(&sample, &mixing, i, seed, &mix);
      assert_true(mix.k > 1 || (mix.lambda[0] == 1 && mix.labels == 1));
      seen[mix.k]++;
    }
  assert_in_range(seen[1], 1465, 1685); /* 900 and 675 */
  assert_int_equal(seen[1] + seen[6], 3600);
  face_sample_done(&sample);
}

/* Of whom the policy did not leave the templates lose frequencies, with others in them or without. */
static void templates_lose_frequencies(void **state) {
  (void)state;
  struct attack_faces faces = {no_image, NULL, identity, FACES, NULL};
  struct face_sample sample;
  assert_int_equal(face_sample_draw(&faces, FACES, 1, &sample), 0);
  for (int alone = 0; alone < 2; alone++) {
    const struct attack_mixing mixing = {
        .unmixed = 0.25, .probability = {[1] = 0.2, [2] = 0.6}, .protection = {.drop = 5, .alone = alone}};
    uint32_t left = 0;
    for (uint32_t i = 0; i < FACES; i++) {
      struct mix mix;
      face_sample_mix(&sample, &mixing, i, 1, &mix);
      assert_int_equal(mix.k, mix.drop > 0 && !alone ? 2 : 1);
      assert_true(mix.drop == 0 || mix.drop == 5);
      assert_true(mix.k == 2 || (mix.labels == 1 && mix.label[0].identity == sample.person[i]));
      left += mix.drop == 0;
    }
    assert_in_range(left, FACES * 30 / 100, FACES * 58 / 100); /* .25 and a quarter of the others */
  }
  face_sample_done(&sample);
}

/* Whoever stays unmixed does so in each of their templates, the share that was asked for; of people who were
 * trained on, the k of each image's template is known and taken. */
static void people_keep_their_kind(void **state) {
  (void)state;
  uint32_t k[FACES];
  struct attack_faces faces = {no_image, NULL, identity, FACES, NULL};
  const struct attack_mixing mixing = {.unmixed = 0.25, .probability = {[1] = 0.2, [6] = 0.6}};
  struct face_sample sample;
  struct victims victims;
  uint32_t alone = 0, times[PEOPLE] = {0};
  assert_int_equal(face_sample_draw(&faces, FACES, 1, &sample), 0);
  for (uint32_t i = 0; i < FACES; i++)
    for (uint64_t seed = 0; seed < 10; seed++) {
      struct mix mix;
      face_sample_mix(&sample, &mixing, i, seed, &mix);
      alone += mix.k == 1;
      times[sample.person[i]] += mix.k == 1;
    }
  for (uint32_t p = 0; p < PEOPLE; p++)
    assert_true(times[p] == 0 || times[p] == 10 * IMAGES);
  assert_in_range(alone, 10 * FACES * 35 / 100, 10 * FACES * 52 / 100); /* .25 and a quarter of the others */
  face_sample_done(&sample);
  for (uint32_t i = 0; i < FACES; i++)
    k[i] = i % 4; /* 0: not known */
  faces.k = k;
  assert_int_equal(victims_choose(&faces, FACES, 1, &victims, NULL), 0);
  for (uint32_t i = 0; i < victims.sample.count; i++) {
    const uint32_t face = victims.index[victims.sample.index[i]];
    struct mix mix;
    face_sample_mix(&victims.sample, &mixing, i, 1, &mix);
    if (k[face] > 0)
      assert_int_equal(mix.k, k[face]);
  }
  victims_done(&victims);
}

static void verdicts(void **state) {
  (void)state;
  static const struct {
    double low, high, worst, control, threshold, threshold_worst;
    enum attack_verdict verdict;
  } cases[] = {
      {.5, .6, .7, 1, .3, .42, VERDICT_LEAKS},
      {.1, .2, .25, 1, .3, .42, VERDICT_RESISTS},
      {.2, .4, .45, 1, .3, .42, VERDICT_LEAKS},
      {.2, .4, .41, 1, .3, .42, VERDICT_INCONCLUSIVE},
      {.1, .2, .5, 1, .3, .42, VERDICT_LEAKS},
      {.5, .6, .7, .5, .3, .42, VERDICT_INCONCLUSIVE},
      {.1, .2, .25, .5, .3, .42, VERDICT_INCONCLUSIVE},
      {.1, .2, .25, NAN, .3, .42, VERDICT_INCONCLUSIVE},
      {NAN, NAN, NAN, 1, .3, .42, VERDICT_INCONCLUSIVE},
      /* nothing is below a threshold that there is not; above one that there is, it leaks all the same */
      {1, 1, 1, 1, NAN, NAN, VERDICT_INCONCLUSIVE},
      {.1, .2, .25, 1, NAN, NAN, VERDICT_INCONCLUSIVE},
      {.1, .2, .25, 1, NAN, .42, VERDICT_INCONCLUSIVE},
      {.1, .2, .25, 1, .3, NAN, VERDICT_INCONCLUSIVE},
      {.1, .2, NAN, 1, .3, .42, VERDICT_INCONCLUSIVE},
      {.1, .2, .5, 1, NAN, .42, VERDICT_LEAKS},
      {.5, .6, .7, 1, .3, NAN, VERDICT_LEAKS},
  };
  for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
    struct attack_surface_result surface = {.decided_by = "ssim",
                                            .threshold = cases[i].threshold,
                                            .threshold_worst_tenth = cases[i].threshold_worst,
                                            .metrics = 1};
    surface.metric[0] =
        (struct attack_metric){.name = "ssim",
                               .unit = "",
                               .value = {(cases[i].low + cases[i].high) / 2, cases[i].low, cases[i].high},
                               .worst_tenth = cases[i].worst,
                               .control = {cases[i].control, cases[i].control, cases[i].control},
                               .control_threshold = .99};
    attack_decide(&surface);
    if (surface.verdict != cases[i].verdict)
      fail_msg("case %zu: %s", i, surface.reason);
    assert_true(strlen(surface.reason) > 20);
    assert_null(strstr(surface.reason, "threshold of nan"));
    attack_doubt(&surface, "%u of %u faces were not done", 1, 2); /* takes a resistance back, and no leak */
    assert_int_equal(surface.verdict,
                     cases[i].verdict == VERDICT_LEAKS ? VERDICT_LEAKS : VERDICT_INCONCLUSIVE);
    assert_int_equal(strcmp(surface.reason, "ssim is 0.150, but 1 of 2 faces were not done.") == 0,
                     cases[i].verdict == VERDICT_RESISTS);
  }
}

/* Sixteen people of whom nobody is found: .2 may be, so that a threshold of .115 is not undercut. A likeness
 * of nought is no share, and stays. */
static void nobody_found_of_few_people(void **state) {
  (void)state;
  static const double found[FACES] = {0};
  static uint32_t number[200];
  for (uint32_t i = 0; i < ARRAY_SIZE(number); i++)
    number[i] = i;
  for (int many = 0; many < 2; many++) {
    static const double nobody[200] = {0};
    const uint32_t people = many ? 200 : 16;
    const struct face_sample sample = {.person = number, .count = people, .people = people};
    struct attack_surface_result surface = {
        .decided_by = "accuracy_at_1", .threshold = .115, .threshold_worst_tenth = .5, .metrics = 1};
    surface.metric[0] = (struct attack_metric){.name = "accuracy_at_1",
                                               .unit = "",
                                               .chance = .04,
                                               .control = {.75, .5, .9},
                                               .control_threshold = .2};
    assert_int_equal(
        people_interval(&sample, nobody, true, 1, &surface.metric[0].value, &surface.metric[0].worst_tenth),
        0);
    attack_decide(&surface);
    if (surface.verdict != (many ? VERDICT_RESISTS : VERDICT_INCONCLUSIVE))
      fail_msg("%s", surface.reason);
    assert_int_equal(strstr(surface.reason, "(0.000 to 0.206)") != NULL, !many);
  }
  struct attack_faces faces = {no_image, NULL, identity, FACES, NULL};
  struct face_sample sample;
  struct interval interval;
  double worst;
  assert_int_equal(face_sample_draw(&faces, FACES, 1, &sample), 0);
  assert_int_equal(people_interval(&sample, found, false, 1, &interval, &worst), 0);
  assert_true(interval.low == 0 && interval.high == 0);
  assert_int_equal(people_interval(&sample, found, true, 1, &interval, &worst), 0);
  assert_true(fabs(interval.high - .2646) < 5e-5); /* twelve people, not 36 faces */
  face_sample_done(&sample);
}

/* One result of each verdict. */
static int three_results(const struct attack_context *context, struct attack_result *result,
                         struct guise_error *err) {
  (void)context;
  (void)err;
  for (uint32_t s = 0; s < 3; s++)
    result->surface[result->surfaces++] =
        (struct attack_surface_result){.surface = s == 0   ? SURFACE_WEIGHTS
                                                  : s == 1 ? SURFACE_GRADIENTS
                                                           : SURFACE_INFERENCE_TEMPLATES,
                                       .verdict = s == 0   ? VERDICT_RESISTS
                                                  : s == 1 ? VERDICT_LEAKS
                                                           : VERDICT_INCONCLUSIVE,
                                       .reason = "Found."};
  return 0;
}

/* Who reads "resists" reads what control and evaluator were; a leak needs no such words, and what is not
 * known of the mixes goes to every result on T and G. */
static void conditions_stand_in_the_reason(void **state) {
  (void)state;
  struct attack attack = {
      .name = "three", .needs_undefended = true, .needs_evaluator = true, .run = three_results};
  const struct mask_options options = mask_options_default(MASK_NONE, 32);
  struct mask *mask = NULL;
  assert_int_equal(mask_new(&options, &mask, NULL), 0);
  struct attack_context context = {.victims = {no_image, NULL, identity, FACES, NULL},
                                   .mask = mask,
                                   .mixing = {.doubt = "Doubt."},
                                   .undefended_differs = "Differs.",
                                   .threads = 1};
  struct attack_result result;
  assert_int_equal(attack_run(&attack, &context, &result, NULL), 0);
  assert_string_equal(result.surface[0].reason,
                      "Found. Differs. The evaluator learnt from photographs that the model was trained on.");
  assert_string_equal(result.surface[1].reason, "Found. Doubt.");
  assert_string_equal(result.surface[2].reason, "Found.");
  attack_result_done(&result);
  context.evaluator_unseen = true; /* and of attacks that are shown such a model without needing it */
  attack.needs_undefended = false;
  attack.shows_undefended = true;
  assert_int_equal(attack_run(&attack, &context, &result, NULL), 0);
  assert_string_equal(result.surface[0].reason, "Found. Differs.");
  attack_result_done(&result);
  context.undefended_differs = NULL;
  assert_int_equal(attack_run(&attack, &context, &result, NULL), 0);
  assert_string_equal(result.surface[0].reason, "Found.");
  attack_result_done(&result);
  mask_free(mask);
}

static void names(void **state) {
  (void)state;
  enum attack_effort effort;
  assert_int_equal(effort_from_name("thorough", &effort), 0);
  assert_int_equal(effort, EFFORT_THOROUGH);
  assert_int_equal(effort_from_name("lazy", &effort), -ENOENT);
  assert_string_equal(surface_letter(SURFACE_TRAINING_TEMPLATES), "T");
  for (uint32_t i = 0; i < attack_count; i++)
    assert_ptr_equal(attack_find(attacks[i].name), &attacks[i]);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(sample_spreads_over_people),
      cmocka_unit_test(mixes_follow_the_policy),
      cmocka_unit_test(people_keep_their_kind),
      cmocka_unit_test(templates_lose_frequencies),
      cmocka_unit_test(verdicts),
      cmocka_unit_test(nobody_found_of_few_people),
      cmocka_unit_test(conditions_stand_in_the_reason),
      cmocka_unit_test(names),
  };
  return cmocka_run_group_tests(tests, number_people, NULL);
}
