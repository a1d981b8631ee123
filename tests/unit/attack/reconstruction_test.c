/* The reconstruction attack on drawn faces: what it must draw, whom a recogniser must see in it, and that a
 * weak attacker is not taken for a private mask. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
// cmocka needs the four headers above
#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "core/attack/painter.h"
#include "core/attack/reconstruction.h"
#include "core/metric/quality.h"
#include "schema.h"
#include "unit/attack/teacher.h"
#include "unit/attack/units.h"

static const struct reconstruction_budget small = {.victims = 60, .pairs = 256, .passes = 3, .width = 1},
                                          brief = {.victims = 60, .pairs = 256, .passes = 2, .width = 1},
                                          tiny = {.victims = 20, .pairs = 40, .passes = 1, .width = 1};

static struct attack_result run(const struct attack_context *context,
                                const struct reconstruction_budget *budget) {
  struct attack_result result = {
      .name = "reconstruction", .summary = "", .effort = context->effort, .size = SIZE};
  struct guise_error err = {0};
  if (reconstruction_run(context, budget, &result, &err) != 0)
    fail_msg("%s", err.text);
  return result;
}

/* How well it draws, and that the seed decides, takes minutes to find out under a sanitizer, which sees the
 * same code in the short tests. */
static void skip_when_slow(void) {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  print_message("SKIPPED: how well faces are drawn, and by whose seed, is tested without a sanitizer\n");
  skip();
#endif
}

static void print(const struct attack_surface_result *surface) {
  for (uint32_t i = 0; i < surface->metrics; i++)
    print_message("%s %s %.3f (chance %.3f, control %.3f, ceiling %.3f)\n", surface_letter(surface->surface),
                  surface->metric[i].name, surface->metric[i].value.mean, surface->metric[i].chance,
                  surface->metric[i].control.mean, surface->metric[i].ceiling);
}

static void undefended_faces_are_drawn(void **state) {
  (void)state;
  skip_when_slow();
  struct mask *mask = fitted_mask(MASK_NONE, 0, 0);
  struct attack_context context = context_of(mask, 1);
  struct attack_result result = run(&context, &small);
  assert_int_equal(result.surfaces, 2);
  assert_int_equal(result.faces, 60);
  assert_int_equal(result.people, 20);
  assert_int_equal(result.public_faces, 248); /* eight are shown and not learnt from */
  assert_int_equal(result.steps, 3 * (248 / LESSON_BATCH));
  assert_true(result.parameters > 10000);
  for (uint32_t s = 0; s < 2; s++) {
    const struct attack_surface_result *surface = &result.surface[s];
    const struct attack_metric *tar = metric_of(surface, "tar_at_far_1e-2"),
                               *ssim = metric_of(surface, "ssim"), *psnr = metric_of(surface, "psnr");
    print(surface);
    if (surface->verdict != VERDICT_LEAKS)
      fail_msg("%s", surface->reason);
    assert_string_equal(surface->decided_by, "tar_at_far_1e-2");
    assert_true(ssim->value.mean > .72 && ssim->value.mean > ssim->chance + .3);
    assert_true(psnr->value.mean > 18 && psnr->value.mean > psnr->chance + 5);
    assert_true(ssim->value.low <= ssim->value.mean && ssim->value.mean <= ssim->value.high);
    assert_true(ssim->worst_tenth >= ssim->value.mean);
    assert_true(tar->value.mean > .5 * tar->ceiling && tar->chance < .03);
    assert_true(metric_of(surface, "tar_at_far_1e-2_same_image")->value.mean > .8);
    /* the template shows the very face, and the paper's scores say so; S3 is the other side of ssim */
    assert_true(surface->on_paper && surface->paper[0] < .02 && surface->paper[1] < .05);
    assert_true(fabs(surface->paper[2] - (1 - ssim->value.mean)) < 1e-9);
    assert_true(surface->paper[3] > surface->paper[1] && surface->paper[3] < .8);
  }
  attack_result_done(&result);
  mask_free(mask);
}

/* One step: the control fails, so nothing is said about the mask, which here is none. */
static void a_weak_attacker_is_inconclusive(void **state) {
  (void)state;
  const struct reconstruction_budget weak = {.victims = 60, .pairs = 64, .passes = 1, .steps = 1, .width = 1};
  struct mask *mask = fitted_mask(MASK_NONE, 0, 0);
  struct attack_context context = context_of(mask, 1);
  struct attack_result result = run(&context, &weak);
  assert_int_equal(result.steps, 1);
  for (uint32_t s = 0; s < result.surfaces; s++) {
    assert_int_equal(result.surface[s].verdict, VERDICT_INCONCLUSIVE);
    assert_non_null(strstr(result.surface[s].reason, "On its control"));
  }
  attack_result_done(&result);
  mask_free(mask);
}

/* Clipped to nothing: what is drawn is the face that all faces have in common. */
static void a_mask_that_destroys_gives_chance(void **state) {
  (void)state;
  skip_when_slow();
  struct mask *mask = fitted_mask(MASK_NONE, 3, 1e-20f);
  struct attack_context context = context_of(mask, 1);
  struct attack_result result = run(&context, &brief);
  const struct attack_surface_result *surface = surface_of(&result, SURFACE_INFERENCE_TEMPLATES);
  const struct attack_metric *tar = metric_of(surface, "tar_at_far_1e-2"), *ssim = metric_of(surface, "ssim");
  print(surface);
  assert_true(tar->value.mean < .04 && fabs(metric_of(surface, "auroc")->value.mean - .5) < .1);
  assert_true(ssim->value.mean < ssim->chance + .03);
  assert_true(ssim->control.mean > ssim->value.mean + .2);
  assert_true(surface->verdict != VERDICT_LEAKS);
  for (int s = 0; s < PAPER_SCORES; s++)
    print_message("S%d %.3f\n", s + 1, surface->paper[s]);
  assert_true(surface->paper[0] > .5 && surface->paper[1] > .5 && surface->paper[3] > .5);
  attack_result_done(&result);
  mask_free(mask);
}

static void mixes_are_drawn_worse(void **state) {
  (void)state;
  skip_when_slow();
  struct mask *mask = fitted_mask(MASK_AHM, 3, 3);
  struct attack_context context = context_of(mask, 4);
  struct attack_result result = run(&context, &brief);
  const struct attack_surface_result *one = surface_of(&result, SURFACE_INFERENCE_TEMPLATES),
                                     *many = surface_of(&result, SURFACE_TRAINING_TEMPLATES);
  const struct attack_metric *ssim = metric_of(many, "ssim");
  print(one);
  print(many);
  assert_true(one->mean_k == 1 && many->mean_k == 4);
  assert_true(metric_of(one, "ssim")->value.mean > ssim->value.mean + .1);
  assert_true(ssim->value.mean > ssim->chance); /* but not like just anybody */
  assert_int_equal(one->metrics, 7);
  assert_int_equal(many->metrics, 8); /* and anybody in the mix */
  assert_true(metric_of(one, "ssim")->control.mean == ssim->control.mean);
  attack_result_done(&result);
  mask_free(mask);
}

/* ---- properties ---- */

static void the_seed_decides(void **state) {
  (void)state;
  skip_when_slow();
  struct mask *mask = fitted_mask(MASK_AHM, 3, 3);
  json_t *json[3];
  for (uint32_t i = 0; i < 3; i++) {
    struct attack_context context = context_of(mask, 3);
    context.seed = i < 2 ? 3 : 4;
    struct attack_result result = run(&context, &tiny);
    json_t *whole = attack_result_json(&result);
    json[i] = json_incref(json_object_get(whole, "surfaces"));
    json_decref(whole);
    assert_non_null(json[i]);
    attack_result_done(&result);
  }
  assert_true(json_equal(json[0], json[1]));
  assert_false(json_equal(json[0], json[2]));
  for (uint32_t i = 0; i < 3; i++)
    json_decref(json[i]);
  mask_free(mask);
}

static int run_briefly(const struct attack_context *context, struct attack_result *ret_result,
                       struct guise_error *err) {
  return reconstruction_run(context, &tiny, ret_result, err);
}

/* Drawings and the pictures of the report; the control has none of these. */
static void drawings_are_kept(void **state) {
  (void)state;
  skip_when_slow();
  struct mask *mask = fitted_mask(MASK_AHM, 3, 3);
  const struct attack_context context = context_of(mask, 3);
  check_units(run_briefly, &context, 3, "reconstruction-training", 1);
  mask_free(mask);
}

/* The report shows public faces that were not learnt from; the victims' drawings are for the private page. */
static void pictures_and_schema(void **state) {
  (void)state;
  json_error_t problem;
  json_t *schema =
      json_load_file(GUISE_GOLDEN "/../../schema/report.schema.json", JSON_REJECT_DUPLICATES, &problem);
  struct mask *mask = fitted_mask(MASK_AHM, 3, 3);
  struct attack_context context = context_of(mask, 2);
  struct attack_result result = run(&context, &tiny);
  json_t *json = attack_result_json(&result), *private = attack_result_private(&result);
  struct schema_check check = {.root = schema};
  if (!schema_valid(&check, json_object_get(json_object_get(schema, "$defs"), "attack"), json, ""))
    fail_msg("%s", check.problem);
  for (uint32_t s = 0; s < 2; s++) {
    const json_t *public = json_object_get(json_array_get(json_object_get(json, "surfaces"), s), "pictures"),
                 *own = json_object_get(json_array_get(json_object_get(private, "surfaces"), s), "pictures");
    assert_int_equal(json_array_size(public), ATTACK_PICTURES_MAX);
    assert_int_equal(json_array_size(own), ATTACK_PICTURES_MAX);
    for (size_t i = 0; i < ATTACK_PICTURES_MAX; i++) {
      assert_string_equal(json_string_value(json_object_get(json_array_get(public, i), "source")), "public");
      assert_string_equal(json_string_value(json_object_get(json_array_get(own, i), "source")), "victims");
    }
  }
  /* a public picture begins with a public face */
  const struct attack_picture *picture = &result.surface[0].picture[0];
  bool found = false;
  assert_true(picture->open && !picture->victim);
  for (uint32_t i = 0; i < open.count && !found; i++) {
    found = true;
    for (uint32_t y = 0; y < SIZE && found; y++)
      found = memcmp(picture->rgb + (size_t)y * 9 * SIZE, crowd_image(&open, i) + (size_t)y * 3 * SIZE,
                     (size_t)3 * SIZE) == 0;
  }
  assert_true(found);
  json_decref(json);
  json_decref(private);
  json_decref(schema);
  attack_result_done(&result);
  mask_free(mask);
}

static void stops_when_asked(void **state) {
  (void)state;
  expect_stop("reconstruction", 5);
}

static void impossible_contexts_are_refused(void **state) {
  (void)state;
  expect_refusals("reconstruction");
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(undefended_faces_are_drawn),
      cmocka_unit_test(a_weak_attacker_is_inconclusive),
      cmocka_unit_test(a_mask_that_destroys_gives_chance),
      cmocka_unit_test(mixes_are_drawn_worse),
      cmocka_unit_test(drawings_are_kept),
      cmocka_unit_test(the_seed_decides),
      cmocka_unit_test(pictures_and_schema),
      cmocka_unit_test(stops_when_asked),
      cmocka_unit_test(impossible_contexts_are_refused),
  };
  return cmocka_run_group_tests(tests, train_teacher, forget_teacher);
}
