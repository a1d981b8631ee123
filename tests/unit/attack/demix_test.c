/* The demixing attack on drawn faces: several mixes of an image must show more of it than one, and no mask is
 * said to resist when the attacker is broken. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
// cmocka needs the four headers above
#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "core/attack/demix_store.h"
#include "schema.h"
#include "unit/attack/crowd.h"

static int draw_faces(void **state) {
  (void)state;
  open = crowd_of(1000, 16, 2);
  victims = crowd_of(2000, 30, 1);
  return 0;
}

static int forget_faces(void **state) {
  (void)state;
  crowd_done(&open);
  crowd_done(&victims);
  return 0;
}

static struct attack_context context_of(const struct mask *mask, uint32_t k) {
  struct attack_context context = {
      .victims = faces_of(&victims), .mask = mask, .effort = EFFORT_QUICK, .seed = 3, .threads = 1};
  context.mixing.probability[k] = 1;
  return context;
}

/* For what does not need many people. */
static struct attack_context few_people(const struct mask *mask, uint32_t k) {
  struct attack_context context = context_of(mask, k);
  context.victims.count = 10;
  return context;
}

static struct attack_result run(const char *name, const struct attack_context *context) {
  struct attack_result result;
  struct guise_error err = {0};
  if (attack_run(attack_find(name), context, &result, &err) != 0)
    fail_msg("%s", err.text);
  return result;
}

static double figure(const struct attack_result *result, const char *name) {
  return metric_of(surface_of(result, SURFACE_TRAINING_TEMPLATES), name)->value.mean;
}

static void print(const struct attack_result *result) {
  const struct attack_surface_result *surface = surface_of(result, SURFACE_TRAINING_TEMPLATES);
  for (uint32_t i = 0; i < surface->metrics; i++)
    print_message("%s %.3f (chance %.3f, control %.3f)\n", surface->metric[i].name,
                  surface->metric[i].value.mean, surface->metric[i].chance, surface->metric[i].control.mean);
}

/* The more mixes, the more of the face, beyond what A1 gets out of one and near to what it gets out of an
 * unmixed template. */
static void leakage_grows_with_mixes(void **state) {
  (void)state;
  struct mask *mask = fitted_mask(MASK_AHM, 3, 3);
  struct attack_context context = context_of(mask, 4);
  struct attack_result result = run("demix", &context), linear = run("linear", &context);
  const struct attack_surface_result *surface = &result.surface[0];
  print(&result);
  assert_int_equal(result.surfaces, 1);
  assert_int_equal(result.faces, 30);
  assert_true(surface->mean_k == 4);
  assert_string_equal(surface->decided_by, "ssim_16");
  assert_int_equal(surface->verdict, VERDICT_LEAKS);
  assert_true(figure(&result, "ssim_4") > figure(&result, "ssim_1") + .05);
  assert_true(figure(&result, "ssim_8") > figure(&result, "ssim_4"));
  assert_true(figure(&result, "ssim_16") > figure(&result, "ssim_8"));
  const double one = figure(&linear, "ssim_best"),
               unmixed = metric_of(surface_of(&linear, SURFACE_INFERENCE_TEMPLATES), "ssim")->value.mean;
  print_message("linear: %.3f of a mix, %.3f unmixed\n", one, unmixed);
  assert_true(figure(&result, "ssim_16") > one + .03);
  assert_true(figure(&result, "ssim_16") > .75 * unmixed && figure(&result, "ssim_16") < unmixed + .02);
  attack_result_done(&result);
  attack_result_done(&linear);
  mask_free(mask);
}

/* Mixes of the same faces find each other in the store. */
static void mixes_betray_whose_they_are(void **state) {
  (void)state;
  struct mask *mask = fitted_mask(MASK_AHM, 3, 3);
  struct attack_context context = context_of(mask, 2);
  struct attack_result result = run("demix", &context);
  const struct attack_metric *found = metric_of(&result.surface[0], "found");
  print(&result);
  assert_true(found->value.mean > .3 && found->value.mean > 4 * found->chance);
  assert_true(figure(&result, "ssim_similar") > figure(&result, "ssim_1") + .1);
  attack_result_done(&result);
  mask_free(mask);
}

/* Frozen mixes are all there is to see. */
static void recipes_bound_what_is_seen(void **state) {
  (void)state;
  struct mask *mask = fitted_mask(MASK_AHM, 3, 3);
  struct attack_context context = few_people(mask, 3);
  struct attack_result fresh = run("demix", &context);
  for (uint32_t recipes = 1; recipes <= 4; recipes *= 2) {
    context.mixing.recipes = recipes;
    struct attack_result result = run("demix", &context);
    char last[16];
    (void)snprintf(last, sizeof(last), "ssim_%u", recipes);
    assert_string_equal(result.surface[0].decided_by, last);
    assert_true(figure(&result, last) < figure(&fresh, "ssim_16"));
    assert_int_equal(result.surface[0].metrics, recipes == 1 ? 2 : recipes == 2 ? 5 : 6);
    attack_result_done(&result);
  }
  attack_result_done(&fresh);
  mask_free(mask);
}

/* Of a recipe whose k is chosen anew each time there is a mix for each k: all of them are seen, each once. */
static void recipes_of_a_learned_policy_are_all_seen(void **state) {
  (void)state;
  struct mask *mask = fitted_mask(MASK_AHM, 3, 3);
  struct attack_context context = few_people(mask, 3);
  context.mixing.recipes = 2;
  struct attack_result frozen = run("demix", &context);
  context.mixing.probability[2] = context.mixing.probability[5] = 1;
  context.mixing.uses = 1000;
  struct attack_result result = run("demix", &context);
  print(&result);
  assert_string_equal(result.surface[0].decided_by, "ssim_all");
  assert_true(result.surface[0].mean_k > 3.33 &&
              result.surface[0].mean_k < 3.34); /* 2, 3 and 5, each twice */
  assert_true(figure(&result, "ssim_all") > figure(&frozen, "ssim_2") + .02);
  attack_result_done(&result);
  context.mixing.uses = 1.5; /* 2 (3 - 3 (2/3)^1.5) = 2.7 of six have come up */
  result = run("demix", &context);
  assert_string_equal(result.surface[0].decided_by, "ssim_all");
  assert_non_null(metric_of(&result.surface[0], "ssim_2"));
  attack_result_done(&result);
  context.mixing.uses = 0;
  result = run("demix", &context);
  assert_string_equal(result.surface[0].decided_by, "ssim_2");
  attack_result_done(&result);
  attack_result_done(&frozen);
  mask_free(mask);
}

/* The images of a store whose recipe, of two, mixes with 2, 3 and 5 faces or not at all. */
static uint32_t check_recipe(const struct demix_store *store, uint32_t face, uint32_t recipe) {
  struct mix first, mix;
  uint32_t used = 0;
  demix_store_mix(store, face * store->turns + recipe, &first);
  for (uint32_t turn = recipe; turn < store->turns; turn += 2) {
    const uint32_t number = face * store->turns + turn;
    demix_store_mix(store, number, &mix);
    assert_int_equal(demix_store_repeats(store, number), first.k == 1 && turn > 0); /* in both recipes */
    if (first.k == 1) { /* nothing but the image, for ever */
      assert_int_equal(mix.k, 1);
      assert_int_equal(mix.member[0], face);
      assert_true(mix.lambda[0] == 1);
    } else {
      assert_true(mix.k > 1 && !(used >> mix.k & 1));
      used |= 1u << mix.k;
    }
  }
  return first.k == 1 ? recipe == 0 : 3;
}

static void an_unmixed_recipe_has_one_template(void **state) {
  (void)state;
  struct mask *mask = fitted_mask(MASK_AHM, 3, 3);
  struct attack_context context = context_of(mask, 3);
  struct face_sample sample;
  uint32_t all = 0;
  context.mixing.probability[2] = context.mixing.probability[5] = 1;
  context.mixing.recipes = 2;
  context.mixing.uses = 1000;
  context.mixing.unmixed = .5;
  assert_int_equal(face_sample_draw(&context.victims, 30, context.seed, &sample), 0);
  const struct demix_store store = {
      .context = &context, .sample = &sample, .mask = mask, .mixing = &context.mixing, .turns = 6};
  for (uint32_t face = 0; face < sample.count; face++) {
    uint32_t mixes[DEMIX_TURNS], there_are = check_recipe(&store, face, 0) + check_recipe(&store, face, 1);
    assert_int_equal(demix_store_mixes(&store, face, mixes), there_are);
    for (uint32_t t = 0; t < there_are; t++)
      assert_true(mixes[t] / store.turns == face && !demix_store_repeats(&store, mixes[t]));
    all += there_are;
  }
  print_message("%u mixes of %u images\n", all, sample.count);
  assert_in_range(all, 90, 120); /* of 30 images half have one template and half six */
  face_sample_done(&sample);
  mask_free(mask);
}

/* An attack on unmixed recipes finds what it finds in recipes of one use, and counts no template twice. */
static void unmixed_recipes_are_counted_once(void **state) {
  (void)state;
  struct mask *mask = fitted_mask(MASK_AHM, 3, 3);
  struct attack_context context = few_people(mask, 3);
  context.mixing.recipes = 2;
  context.mixing.unmixed = 1;
  struct attack_result once = run("demix", &context);
  context.mixing.probability[2] = context.mixing.probability[5] = 1;
  context.mixing.uses = 1000;
  struct attack_result often = run("demix", &context);
  assert_string_equal(often.surface[0].decided_by, "ssim_all");
  assert_true(once.surface[0].mean_k == 1 && often.surface[0].mean_k == 1);
  assert_true(fabs(figure(&often, "ssim_all") - figure(&once, "ssim_2")) < 1e-6);
  assert_true(fabs(figure(&often, "ssim_4") - figure(&once, "ssim_2")) < 1e-6);
  attack_result_done(&often);
  context.mixing.unmixed = .5; /* 2 and 3 and 5 where it is mixed, else 1: 11 faces in four mixes */
  often = run("demix", &context);
  print(&often);
  assert_true(often.surface[0].mean_k > 2.75 - .4 && often.surface[0].mean_k < 2.75 + .4);
  for (uint32_t i = 0; i < often.surface[0].metrics; i++)
    assert_true(isfinite(often.surface[0].metric[i].value.mean));
  attack_result_done(&often);
  attack_result_done(&once);
  mask_free(mask);
}

static void undefended_faces_come_back(void **state) {
  (void)state;
  struct mask *mask = fitted_mask(MASK_NONE, 0, 0);
  struct attack_context context = few_people(mask, 2);
  struct attack_result result = run("demix", &context);
  assert_string_equal(result.surface[0].decided_by, "ssim_1"); /* nothing is mixed, nothing drawn */
  assert_true(figure(&result, "ssim_1") > .99 && result.surface[0].mean_k == 1);
  assert_int_equal(result.surface[0].verdict, VERDICT_LEAKS);
  attack_result_done(&result);
  mask_free(mask);
}

/* Noise that is drawn anew is averaged away, too. */
static void noise_is_averaged_away(void **state) {
  (void)state;
  struct mask *mask = fitted_mask(MASK_REGIONAL, 0, 0);
  struct attack_context context = few_people(mask, 2);
  struct attack_result result = run("demix", &context);
  print(&result);
  assert_true(result.surface[0].mean_k == 1);
  assert_true(figure(&result, "ssim_16") > figure(&result, "ssim_1") + .15);
  attack_result_done(&result);
  mask_free(mask);
}

/* The control here sees less than the attack must: nothing is said about the mask. */
static void broken_attacker_is_inconclusive(void **state) {
  (void)state;
  struct mask *mask = fitted_mask(MASK_AHM, 10, 3), *broken = fitted_mask(MASK_AHM, 40, 3);
  struct attack_context context = context_of(mask, 6);
  context.control = broken;
  struct attack_result result = run("demix", &context);
  assert_int_equal(result.surface[0].verdict, VERDICT_INCONCLUSIVE);
  assert_non_null(strstr(result.surface[0].reason, "On its control"));
  attack_result_done(&result);
  mask_free(mask);
  mask_free(broken);
}

/* ---- properties ---- */

static void same_result_for_any_thread_count(void **state) {
  (void)state;
  struct mask *mask = fitted_mask(MASK_AHM, 3, 3);
  struct attack_context context = few_people(mask, 3);
  json_t *json[3];
  for (uint32_t i = 0; i < 3; i++) {
    context.threads = i == 1 ? 3 : 1;
    context.seed = i == 2 ? 4 : 3;
    struct attack_result result = run("demix", &context);
    result.seconds = 0;
    json_t *whole = attack_result_json(&result);
    json[i] = json_incref(json_object_get(whole, "surfaces"));
    json_decref(whole);
    attack_result_done(&result);
  }
  assert_true(json_equal(json[0], json[1]));
  assert_false(json_equal(json[0], json[2]));
  for (uint32_t i = 0; i < 3; i++)
    json_decref(json[i]);
  mask_free(mask);
}

static void json_fits_the_schema(void **state) {
  (void)state;
  json_error_t problem;
  json_t *schema =
      json_load_file(GUISE_GOLDEN "/../../schema/report.schema.json", JSON_REJECT_DUPLICATES, &problem);
  struct mask *mask = fitted_mask(MASK_AHM, 3, 3);
  struct attack_context context = few_people(mask, 4);
  struct attack_result result = run("demix", &context);
  json_t *json = attack_result_json(&result);
  struct schema_check check = {.root = schema};
  if (!schema_valid(&check, json_object_get(json_object_get(schema, "$defs"), "attack"), json, ""))
    fail_msg("%s", check.problem);
  const json_t *pictures = json_object_get(json_array_get(json_object_get(json, "surfaces"), 0), "pictures");
  assert_int_equal(json_array_size(pictures), ATTACK_PICTURES_MAX); /* the victims' are elsewhere */
  assert_int_equal(result.surface[0].pictures, 2 * ATTACK_PICTURES_MAX);
  assert_string_equal(json_string_value(json_object_get(json_array_get(pictures, 0), "source")), "synthetic");
  json_decref(json);
  json_decref(schema);
  attack_result_done(&result);
  mask_free(mask);
}

static bool stop_later(void *asked) {
  return ++*(uint32_t *)asked > 3;
}

static void stops_when_asked(void **state) {
  (void)state;
  struct mask *mask = fitted_mask(MASK_AHM, 3, 3);
  struct attack_context context = context_of(mask, 4);
  uint32_t asked = 0;
  context.should_stop = stop_later;
  context.stop_context = &asked;
  struct attack_result result = {.faces = 77};
  struct guise_error err = {0};
  assert_int_equal(attack_run(attack_find("demix"), &context, &result, &err), -ECANCELED);
  assert_int_equal(result.faces, 77);
  assert_string_equal(err.text, "the attack was stopped");
  mask_free(mask);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(leakage_grows_with_mixes),
      cmocka_unit_test(mixes_betray_whose_they_are),
      cmocka_unit_test(recipes_bound_what_is_seen),
      cmocka_unit_test(recipes_of_a_learned_policy_are_all_seen),
      cmocka_unit_test(an_unmixed_recipe_has_one_template),
      cmocka_unit_test(unmixed_recipes_are_counted_once),
      cmocka_unit_test(undefended_faces_come_back),
      cmocka_unit_test(noise_is_averaged_away),
      cmocka_unit_test(broken_attacker_is_inconclusive),
      cmocka_unit_test(same_result_for_any_thread_count),
      cmocka_unit_test(json_fits_the_schema),
      cmocka_unit_test(stops_when_asked),
  };
  return cmocka_run_group_tests(tests, draw_faces, forget_faces);
}
