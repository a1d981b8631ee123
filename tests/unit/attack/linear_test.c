/* The linear attack on real masks and drawn faces: what it must recover, what it must not, and that a broken
 * attacker is not taken for a private mask. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
// cmocka needs the four headers above
#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "core/attack/attack.h"
#include "core/attack/faces.h"
#include "core/attack/solver.h"
#include "core/base/philox.h"
#include "core/freq/dct.h"
#include "core/image/synth.h"
#include "core/metric/quality.h"
#include "schema.h"

#define SIZE 64
#define PEOPLE 12
#define IMAGES 3
#define FACES (PEOPLE * IMAGES)
#define PIXELS ((size_t)SIZE * SIZE * 3)

static uint8_t pixels[FACES][PIXELS];
static uint32_t identity[FACES];

static const uint8_t *test_image(void *context, uint32_t i) {
  (void)context;
  return pixels[i];
}

static const uint8_t *only_image(void *rgb, uint32_t i) {
  (void)i;
  return rgb;
}

static int draw_faces(void **state) {
  (void)state;
  for (uint32_t p = 0; p < PEOPLE; p++)
    for (uint32_t i = 0; i < IMAGES; i++) {
      identity[p * IMAGES + i] = 100 + 7 * p; /* any numbering */
      synth_face(5, p, i, SIZE, pixels[p * IMAGES + i]);
    }
  return 0;
}

static struct mask *fitted_mask(enum mask_method method, uint32_t drop_low) {
  struct mask *mask = NULL;
  struct guise_error err = {0};
  struct mask_options options = mask_options_default(method, SIZE);
  options.drop_low = drop_low;
  if (mask_new(&options, &mask, &err) != 0 || mask_fit(mask, test_image, NULL, FACES, &err) != 0)
    fail_msg("%s", err.text);
  return mask;
}

static struct attack_context context_of(const struct mask *mask, uint32_t k) {
  struct attack_context context = {.victims = {test_image, NULL, identity, FACES, NULL},
                                   .mask = mask,
                                   .effort = EFFORT_QUICK,
                                   .seed = 3,
                                   .threads = 2};
  if (k > 1)
    context.mixing.probability[k] = 1;
  else
    context.mixing.unmixed = 1;
  return context;
}

static struct attack_result run(const struct attack_context *context) {
  struct attack_result result;
  struct guise_error err = {0};
  if (attack_run(attack_find("linear"), context, &result, &err) != 0)
    fail_msg("%s", err.text);
  return result;
}

static const struct attack_surface_result *surface_of(const struct attack_result *result,
                                                      enum attack_surface which) {
  for (uint32_t s = 0; s < result->surfaces; s++)
    if (result->surface[s].surface == which)
      return &result->surface[s];
  fail_msg("the surface is missing");
  return NULL;
}

static const struct attack_metric *metric_of(const struct attack_result *result, enum attack_surface which,
                                             const char *name) {
  const struct attack_surface_result *surface = surface_of(result, which);
  for (uint32_t i = 0; i < surface->metrics; i++)
    if (strcmp(surface->metric[i].name, name) == 0)
      return &surface->metric[i];
  fail_msg("the metric %s is missing", name);
  return NULL;
}

static double ssim_of(enum mask_method method, uint32_t drop_low) {
  struct mask *mask = fitted_mask(method, drop_low);
  struct attack_context context = context_of(mask, 1);
  struct attack_result result = run(&context);
  double ssim = metric_of(&result, SURFACE_INFERENCE_TEMPLATES, "ssim")->value.mean;
  attack_result_done(&result);
  mask_free(mask);
  return ssim;
}

static void undefended_faces_come_back(void **state) {
  (void)state;
  struct mask *mask = fitted_mask(MASK_NONE, 0);
  struct attack_context context = context_of(mask, 1);
  struct attack_result result = run(&context);
  const struct attack_surface_result *surface = surface_of(&result, SURFACE_INFERENCE_TEMPLATES);
  const struct attack_metric *psnr = metric_of(&result, SURFACE_INFERENCE_TEMPLATES, "psnr");
  assert_true(psnr->value.mean >= 50 && psnr->control.mean >= 50);
  assert_true(metric_of(&result, SURFACE_INFERENCE_TEMPLATES, "ssim")->value.low > .99);
  assert_int_equal(surface->verdict, VERDICT_LEAKS);
  assert_int_equal(result.faces, FACES);
  assert_int_equal(result.people, PEOPLE);
  assert_in_range(result.steps, 1, 5);
  /* nothing mixes, so the training templates leak as much */
  assert_int_equal(surface_of(&result, SURFACE_TRAINING_TEMPLATES)->verdict, VERDICT_LEAKS);
  assert_true(surface_of(&result, SURFACE_TRAINING_TEMPLATES)->mean_k == 1);
  attack_result_done(&result);
  mask_free(mask);
}

static void dropping_frequencies_costs_likeness(void **state) {
  (void)state;
  double none = ssim_of(MASK_NONE, 0), three = ssim_of(MASK_AHM, 3), ten = ssim_of(MASK_AHM, 10);
  assert_true(none > three + 0.02);
  assert_true(three > ten + 0.02);
}

/* Faces that the solver takes back from one method, and what the template shows without solving. */
static void solve(enum mask_method method, enum mask_dct dct, uint32_t faces, double *ret_seen,
                  double *ret_solved) {
  struct mask_options options = mask_options_default(method, SIZE);
  struct mask *mask = NULL;
  struct solver solver;
  options.dct = dct;
  assert_int_equal(mask_new(&options, &mask, NULL), 0);
  assert_int_equal(mask_fit(mask, test_image, NULL, FACES, NULL), 0);
  assert_int_equal(solver_init(&solver, mask), 0);
  float *template_ = malloc(mask_elements(mask) * sizeof(float)), *truth = malloc(PIXELS * sizeof(float)),
        *seen = malloc(PIXELS * sizeof(float));
  *ret_seen = *ret_solved = 0;
  for (uint32_t i = 0; i < faces; i++) {
    struct rng rng;
    mask_rng_inference(&rng, i);
    rgb_to_ycbcr(test_image(NULL, i), SIZE, false, truth);
    mask_template(mask, test_image(NULL, i), false, &rng, solver.scratch, template_);
    mask_invert(mask, template_, solver.scratch, seen);
    (void)solver_run(&solver, template_);
    for (size_t p = 0; p < PIXELS; p++) { /* as bytes would be */
      truth[p] += 128;
      seen[p] += 128;
      solver.x[p] += 128;
    }
    *ret_seen += quality_ssim(truth, seen, 3, SIZE) / faces;
    *ret_solved += quality_ssim(truth, solver.x, 3, SIZE) / faces;
  }
  free(template_);
  free(truth);
  free(seen);
  solver_done(&solver);
  mask_free(mask);
}

/* A blur is undone in part, and 27 up-sampled channels whose layout must be found first give back more than
 * they show. */
static void solving_takes_masks_back(void **state) {
  (void)state;
  double seen, solved;
  solve(MASK_BLUR, MASK_DCT_NATIVE, FACES, &seen, &solved);
  if (solved < seen + 0.05)
    fail_msg("blur: %g seen, %g solved", seen, solved);
  solve(MASK_PARTIALFACE, MASK_DCT_UPSAMPLED, 4, &seen, &solved);
  if (solved < seen + 0.1)
    fail_msg("partialface: %g seen, %g solved", seen, solved);
}

/* Of bytes whose bits were flipped the guess is solved for: by both, since nothing else is lost. */
static void flipped_bits_are_guessed(void **state) {
  (void)state;
  for (int dct = 0; dct < MASK_DCTS; dct++) {
    double seen, solved;
    solve(MASK_LDP_SLICING, (enum mask_dct)dct, dct == MASK_DCT_NATIVE ? FACES : 4, &seen, &solved);
    print_message("ldp_slicing, %s: %.3f\n", mask_dct_name((enum mask_dct)dct), solved);
    if (solved < .5 || fabs(solved - seen) > .01)
      fail_msg("ldp_slicing: %g seen, %g solved", seen, solved);
  }
}

/* Each channel rounded to 256 even steps between its least and its largest value. */
static void round_to_bytes(float *template_, uint32_t channels, size_t cells) {
  for (uint32_t c = 0; c < channels; c++) {
    float *channel = template_ + c * cells, low = channel[0], high = channel[0];
    for (size_t i = 1; i < cells; i++) {
      low = fminf(low, channel[i]);
      high = fmaxf(high, channel[i]);
    }
    const float step = (high - low) / 255;
    for (size_t i = 0; i < cells && step > 0; i++)
      channel[i] = low + step * roundf((channel[i] - low) / step);
  }
}

/* Peak signal-to-noise ratio of what is solved for from the up-sampled template of one face without its
 * lowest coefficient, after the best constant a colour. */
static double upsampled_psnr(uint32_t size, bool eight_bits, uint32_t *ret_steps) {
  const size_t area = (size_t)size * size;
  struct mask_options options = mask_options_default(MASK_NONE, size);
  struct mask *mask = NULL;
  struct solver solver;
  uint8_t *rgb = malloc(3 * area);
  options.dct = MASK_DCT_UPSAMPLED;
  options.drop_low = 1;
  synth_face(5, 1, 1, size, rgb);
  assert_int_equal(mask_new(&options, &mask, NULL), 0);
  assert_int_equal(mask_fit(mask, only_image, rgb, 1, NULL), 0);
  assert_int_equal(solver_init(&solver, mask), 0);
  float *template_ = malloc(mask_elements(mask) * sizeof(float)), *truth = malloc(3 * area * sizeof(float));
  rgb_to_ycbcr(rgb, size, false, truth);
  mask_template(mask, rgb, false, NULL, solver.scratch, template_);
  if (eight_bits)
    round_to_bytes(template_, mask_channels(mask), mask_elements(mask) / mask_channels(mask));
  *ret_steps = solver_run(&solver, template_);
  for (uint32_t c = 0; c < 3; c++) {
    double sum = 0;
    for (size_t i = c * area; i < (c + 1) * area; i++)
      sum += (double)truth[i] - (double)solver.x[i];
    for (size_t i = c * area; i < (c + 1) * area; i++)
      solver.x[i] += (float)(sum / (double)area);
  }
  const double psnr = quality_psnr(truth, solver.x, 3, size);
  solver_done(&solver);
  mask_free(mask);
  free(template_);
  free(truth);
  free(rgb);
  return psnr;
}

/* Rounding to bytes is all that protects a template which only lacks its means. */
static void upsampled_faces_come_back(void **state) {
  (void)state;
  uint32_t steps;
  double psnr = upsampled_psnr(48, false, &steps);
  if (!(psnr > 90 && steps > 64))
    fail_msg("%g dB in %u steps", psnr, steps);
  psnr = upsampled_psnr(112, true, &steps);
  print_message("112 pixels, 8 bits: %g dB in %u steps\n", psnr, steps);
  if (!(psnr >= 55))
    fail_msg("%g dB in %u steps from 8 bits", psnr, steps);
}

static void mixing_costs_likeness(void **state) {
  (void)state;
  struct mask *mask = fitted_mask(MASK_AHM, 3);
  double ssim[7] = {0};
  for (uint32_t k = 1; k <= 6; k += 5) {
    struct attack_context context = context_of(mask, k);
    struct attack_result result = run(&context);
    const struct attack_surface_result *surface = surface_of(&result, SURFACE_TRAINING_TEMPLATES);
    const struct attack_metric *best = metric_of(&result, SURFACE_TRAINING_TEMPLATES, "ssim_best");
    const struct attack_metric *lead = metric_of(&result, SURFACE_TRAINING_TEMPLATES, "ssim_lead");
    assert_true(surface->mean_k == k);
    assert_true(best->value.mean >= lead->value.mean);
    assert_true(best->chance >= lead->chance);
    assert_true(best->worst_tenth >= best->value.mean);
    assert_true(best->value.low <= best->value.mean && best->value.mean <= best->value.high);
    ssim[k] = lead->value.mean;
    attack_result_done(&result);
  }
  assert_true(ssim[1] > ssim[6] + 0.05);
  mask_free(mask);
}

/* The control runs on a mask that gives nothing away: the attack has not shown that it works, so it must not
 * say "resists". */
static void broken_attacker_is_inconclusive(void **state) {
  (void)state;
  struct mask *mask = fitted_mask(MASK_AHM, 10), *broken = fitted_mask(MASK_AHM, 40);
  struct attack_context context = context_of(mask, 6);
  context.control = broken;
  struct attack_result result = run(&context);
  for (uint32_t s = 0; s < result.surfaces; s++) {
    assert_int_equal(result.surface[s].verdict, VERDICT_INCONCLUSIVE);
    assert_non_null(strstr(result.surface[s].reason, "On its control"));
  }
  attack_result_done(&result);
  mask_free(mask);
  mask_free(broken);
}

static void json_fits_the_schema(void **state) {
  (void)state;
  json_error_t problem;
  json_t *schema =
      json_load_file(GUISE_GOLDEN "/../../schema/report.schema.json", JSON_REJECT_DUPLICATES, &problem);
  struct mask *mask = fitted_mask(MASK_AHM, 3);
  struct attack_context context = context_of(mask, 4);
  struct attack_result result = run(&context);
  json_t *json = attack_result_json(&result);
  struct schema_check check = {.root = schema};
  assert_non_null(json);
  if (!schema_valid(&check, json_object_get(json_object_get(schema, "$defs"), "attack"), json, ""))
    fail_msg("%s", check.problem);
  json_decref(json);
  json_decref(schema);
  attack_result_done(&result);
  mask_free(mask);
}

static void same_result_for_any_thread_count(void **state) {
  (void)state;
  struct mask *mask = fitted_mask(MASK_AHM, 3);
  struct attack_context context = context_of(mask, 3);
  json_t *json[2];
  for (uint32_t i = 0; i < 2; i++) {
    context.threads = i + 1;
    struct attack_result result = run(&context);
    json[i] = attack_result_json(&result);
    assert_non_null(json[i]);
    assert_int_equal(json_object_del(json[i], "seconds"), 0);
    attack_result_done(&result);
  }
  assert_true(json_equal(json[0], json[1]));
  json_decref(json[0]);
  json_decref(json[1]);
  mask_free(mask);
}

static const uint8_t *open_image(void *faces, uint32_t i) {
  return (const uint8_t *)faces + i * PIXELS;
}

/* Also where there are public faces, which may have to be erased one day. */
static void drawn_faces_are_shown(void **state) {
  (void)state;
  enum { OPEN = 10 };
  uint8_t *faces = malloc(OPEN * PIXELS);
  for (uint32_t i = 0; i < OPEN; i++)
    synth_face(77, i, 0, SIZE, faces + i * PIXELS);
  struct mask *mask = fitted_mask(MASK_AHM, 3);
  struct attack_context context = context_of(mask, 2);
  context.open = (struct attack_faces){open_image, faces, identity, OPEN, NULL};
  struct attack_result result = run(&context);
  for (uint32_t s = 0; s < result.surfaces; s++)
    for (uint32_t i = 0; i < ATTACK_PICTURES_MAX; i++) {
      const struct attack_picture *picture = &result.surface[s].picture[i];
      for (uint32_t f = 0; f < OPEN; f++)
        assert_memory_not_equal(picture->rgb, faces + f * PIXELS, SIZE * 3); /* the first row's */
      assert_true(!picture->open && !picture->victim);
      assert_non_null(strstr(picture->caption, "A drawn face"));
    }
  json_t *json = attack_result_json(&result);
  char *text = json_dumps(json, 0);
  assert_non_null(strstr(text, "\"synthetic\""));
  assert_null(strstr(text, "\"public\""));
  free(text);
  json_decref(json);
  attack_result_done(&result);
  free(faces);
  mask_free(mask);
}

static void public_pictures_show_nobody(void **state) {
  (void)state;
  struct mask *mask = fitted_mask(MASK_AHM, 3);
  struct attack_context context = context_of(mask, 2);
  struct attack_result result = run(&context);
  uint32_t shown = 0, victims = 0;
  for (uint32_t s = 0; s < result.surfaces; s++)
    for (uint32_t i = 0; i < result.surface[s].pictures; i++) {
      const struct attack_picture *picture = &result.surface[s].picture[i];
      bool known = false;
      for (uint32_t f = 0; f < FACES && !known; f++) {
        known = true;
        for (uint32_t y = 0; y < SIZE && known; y++)
          known =
              memcmp(picture->rgb + (size_t)y * SIZE * 9, pixels[f] + (size_t)y * SIZE * 3, SIZE * 3) == 0;
      }
      assert_int_equal(known, picture->victim);
      *(picture->victim ? &victims : &shown) += 1;
    }
  assert_int_equal(shown, 2 * ATTACK_PICTURES_MAX);
  assert_int_equal(victims, 2 * ATTACK_PICTURES_MAX);
  json_t *public = attack_result_json(&result), *private = attack_result_private(&result);
  char *public_text = json_dumps(public, 0), *private_text = json_dumps(private, 0);
  assert_null(strstr(public_text, "\"victims\""));
  assert_non_null(strstr(private_text, "\"victims\""));
  assert_null(strstr(private_text, "\"synthetic\""));
  free(public_text);
  free(private_text);
  json_decref(public);
  json_decref(private);
  attack_result_done(&result);
  mask_free(mask);
}

static bool stop_at_once(void *count) {
  return ++*(uint32_t *)count > 3;
}

static void stops_when_asked(void **state) {
  (void)state;
  struct mask *mask = fitted_mask(MASK_AHM, 3);
  struct attack_context context = context_of(mask, 1);
  uint32_t asked = 0;
  context.should_stop = stop_at_once;
  context.stop_context = &asked;
  struct attack_result result = {.faces = 77};
  assert_int_equal(attack_run(attack_find("linear"), &context, &result, NULL), -ECANCELED);
  assert_int_equal(result.faces, 77);
  mask_free(mask);
}

static void impossible_contexts_are_refused(void **state) {
  (void)state;
  struct mask *mask = fitted_mask(MASK_AHM, 3);
  struct attack_context context = context_of(mask, 1);
  struct attack_result result;
  struct guise_error err = {0};
  context.victims.count = IMAGES; /* one person */
  assert_int_equal(attack_run(attack_find("linear"), &context, &result, &err), -EINVAL);
  assert_non_null(strstr(err.text, "two people"));
  context.victims.count = 0;
  assert_int_equal(attack_run(attack_find("linear"), &context, &result, &err), -EINVAL);
  context = context_of(mask, 1);
  context.threads = 0;
  assert_int_equal(attack_run(attack_find("linear"), &context, &result, &err), -EINVAL);
  assert_null(attack_find("nonsense"));
  mask_free(mask);
}

/* ---- the solver ---- */

/* What least squares must satisfy whatever the mask: the recovered picture has the given template, and no
 * part in the null space. */
static void solver_reproduces_the_template(void **state) {
  (void)state;
  struct mask *mask = fitted_mask(MASK_NONE, 10);
  struct solver solver;
  const struct mask_constants *constants = mask_constants(mask);
  size_t n = mask_elements(mask), cells = n / mask_channels(mask);
  float *template_ = calloc(n, sizeof(float)), *again = calloc(n, sizeof(float));
  assert_int_equal(solver_init(&solver, mask), 0);
  mask_template(mask, pixels[0], false, NULL, solver.scratch, template_);
  assert_in_range(solver_run(&solver, template_), 1, 5);
  mask_linear_forward(mask, 0, solver.x, solver.scratch, again);
  for (size_t i = 0; i < n; i++) {
    float wanted = template_[i] + constants->mean[i / cells] / constants->deviation[i / cells];
    assert_true(fabsf(again[i] - wanted) < 2e-3f);
  }
  for (size_t block = 0; block < 4; block++) { /* the constant was dropped: blocks have mean 0 */
    double sum = 0;
    for (size_t y = 0; y < 8; y++)
      for (size_t x = 0; x < 8; x++)
        sum += (double)solver.x[y * SIZE + block * 8 + x];
    assert_true(fabs(sum / 64) < 1e-3);
  }
  solver_done(&solver);
  free(template_);
  free(again);
  mask_free(mask);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(undefended_faces_come_back),
      cmocka_unit_test(dropping_frequencies_costs_likeness),
      cmocka_unit_test(solving_takes_masks_back),
      cmocka_unit_test(flipped_bits_are_guessed),
      cmocka_unit_test(upsampled_faces_come_back),
      cmocka_unit_test(mixing_costs_likeness),
      cmocka_unit_test(broken_attacker_is_inconclusive),
      cmocka_unit_test(json_fits_the_schema),
      cmocka_unit_test(same_result_for_any_thread_count),
      cmocka_unit_test(drawn_faces_are_shown),
      cmocka_unit_test(public_pictures_show_nobody),
      cmocka_unit_test(stops_when_asked),
      cmocka_unit_test(impossible_contexts_are_refused),
      cmocka_unit_test(solver_reproduces_the_template),
  };
  return cmocka_run_group_tests(tests, draw_faces, NULL);
}
