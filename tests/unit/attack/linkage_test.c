/* The linkage attack on drawn faces: what it must link, what it must not, and that a weak attacker is not
 * taken for a private mask. The teacher is a small network trained here. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
// cmocka needs the four headers above
#include <cmocka.h>
#include <math.h>
#include <omp.h>
#include <stdio.h>
#include <string.h>

#include "core/attack/identify.h"
#include "core/attack/linkage.h"
#include "core/attack/student.h"
#include "core/mask/decoys.h"
#include "schema.h"
#include "unit/attack/teacher.h"
#include "unit/attack/units.h"

/* ---- running ---- */

static const struct linkage_budget small = {.victims = 60, .pairs = 256, .passes = 4};

static struct attack_result run(const struct attack_context *context, const struct linkage_budget *budget) {
  struct attack_result result = {.name = "linkage", .summary = "", .effort = context->effort, .size = SIZE};
  struct guise_error err = {0};
  if (linkage_run(context, budget, &result, &err) != 0)
    fail_msg("%s", err.text);
  return result;
}

/* How well it links, and that the seed decides, takes a minute to find out under a sanitizer, which sees the
 * same code in the short tests. */
static void skip_when_slow(void) {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  print_message("SKIPPED: how well templates are linked, and by whose seed, is tested without a sanitizer\n");
  skip();
#endif
}

static void undefended_templates_are_linked(void **state) {
  (void)state;
  skip_when_slow();
  struct mask *mask = fitted_mask(MASK_NONE, 0, 0);
  struct attack_context context = context_of(mask, 1);
  struct attack_result result = run(&context, &small);
  assert_int_equal(result.surfaces, 2);
  assert_int_equal(result.faces, 60);
  assert_int_equal(result.people, 20);
  assert_int_equal(result.public_faces, 256);
  assert_int_equal(result.steps, 4 * 256 / LESSON_BATCH);
  assert_true(result.parameters > 10000);
  for (uint32_t s = 0; s < 2; s++) {
    const struct attack_surface_result *surface = &result.surface[s];
    const struct attack_metric *tar = metric_of(surface, "tar_at_far_1e-2"),
                               *auroc = metric_of(surface, "auroc"),
                               *same = metric_of(surface, "tar_at_far_1e-2_same_image");
    if (surface->verdict != VERDICT_LEAKS)
      fail_msg("%s", surface->reason);
    assert_string_equal(surface->decided_by, "tar_at_far_1e-2");
    /* the teacher tells drawn people apart, and the student comes near it */
    assert_true(tar->ceiling > .2 && auroc->ceiling > .8);
    assert_true(tar->value.mean > .8 * tar->ceiling && auroc->value.mean > auroc->ceiling - .05);
    assert_true(tar->control.mean >= tar->control_threshold);
    assert_true(same->value.mean > .9 && same->ceiling == 1);
    /* somebody else's templates are linked as often as the false links allow */
    assert_true(tar->chance < .03 && fabs(auroc->chance - .5) < .05);
    assert_true(tar->value.low <= tar->value.mean && tar->value.mean <= tar->value.high);
    assert_true(tar->worst_tenth >= tar->value.mean);
    assert_true(isnan(metric_of(surface, "tar_at_far_1e-3")->value.mean)); /* 3,420 pairs of strangers */
    assert_int_equal(surface->metrics, 8);                                 /* nothing is mixed */
    assert_int_equal(surface->pictures, 0);
  }
  attack_result_done(&result);
  mask_free(mask);
}

/* One step from nothing: the control fails, so nothing is said about the mask, which here is none. */
static void a_weak_attacker_is_inconclusive(void **state) {
  (void)state;
  const struct linkage_budget weak = {
      .victims = 60, .pairs = 64, .passes = 1, .steps = 1, .from_scratch = true};
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

/* Where a template is no picture the student cannot begin as the teacher, and no more can its control: that
 * fails as well, although the teacher would pass. There are lessons of their own for such students. */
static void a_student_from_nothing_has_such_a_control(void **state) {
  (void)state;
  const struct linkage_budget weak = {
      .victims = 60, .pairs = 64, .passes = 9, .steps = 2, .scratch_pairs = 96, .scratch_passes = 1};
  struct mask *mask = fitted_mask(MASK_PARTIALFACE, 0, 0);
  struct attack_context context = context_of(mask, 1);
  struct attack_result result = run(&context, &weak);
  assert_int_equal(result.public_faces, 96);
  assert_int_equal(result.steps, 2);
  for (uint32_t s = 0; s < result.surfaces; s++) {
    const struct attack_metric *tar = metric_of(&result.surface[s], "tar_at_far_1e-2");
    assert_true(tar->control.mean < tar->control_threshold);
    assert_int_equal(result.surface[s].verdict, VERDICT_INCONCLUSIVE);
  }
  attack_result_done(&result);
  mask_free(mask);
}

/* Clipped to nothing, a template holds no more than a network's rounding loses. Where that links nobody at
 * all, twenty people are too few to say that it links fewer than the threshold. */
static void a_mask_that_destroys_gives_chance(void **state) {
  (void)state;
  struct mask *mask = fitted_mask(MASK_AHM, 3, 1e-20f);
  struct attack_context context = context_of(mask, 1);
  struct attack_result result = run(&context, &small);
  const struct attack_surface_result *surface = surface_of(&result, SURFACE_INFERENCE_TEMPLATES);
  const struct attack_metric *tar = metric_of(surface, "tar_at_far_1e-2"),
                             *auroc = metric_of(surface, "auroc");
  assert_true(tar->value.mean < .04 && fabs(auroc->value.mean - .5) < .08);
  assert_true(tar->control.mean >= tar->control_threshold);
  if (surface->verdict != VERDICT_RESISTS &&
      !(surface->verdict == VERDICT_INCONCLUSIVE && tar->value.mean <= 0 &&
        strstr(surface->reason, "more people would tell")))
    fail_msg("%s", surface->reason);
  attack_result_done(&result);
  mask_free(mask);
}

static void mixes_are_linked_less(void **state) {
  (void)state;
  skip_when_slow();
  struct mask *mask = fitted_mask(MASK_AHM, 3, 3);
  struct attack_context context = context_of(mask, 4);
  struct attack_result result = run(&context, &small);
  const struct attack_surface_result *one = surface_of(&result, SURFACE_INFERENCE_TEMPLATES),
                                     *many = surface_of(&result, SURFACE_TRAINING_TEMPLATES);
  assert_true(one->mean_k == 1 && many->mean_k == 4);
  assert_true(metric_of(one, "auroc")->value.mean > metric_of(many, "auroc")->value.mean + .05);
  assert_true(metric_of(many, "auroc")->value.mean > .55); /* but linked all the same */
  /* a mix of four shows four people: by luck, too, one of them is found more often */
  assert_true(metric_of(many, "rank_1_anyone")->chance > 2 * metric_of(many, "rank_1")->chance);
  assert_true(metric_of(many, "rank_1_anyone")->value.mean > metric_of(many, "rank_1")->value.mean);
  assert_int_equal(many->metrics, 10);
  /* both are held against the same control */
  assert_true(metric_of(one, "auroc")->control.mean == metric_of(many, "auroc")->control.mean);
  attack_result_done(&result);
  mask_free(mask);
}

/* Public partners are in the mixes of victims and of the student's lessons; they are nobody to be linked. */
static void public_partners_are_nobody(void **state) {
  (void)state;
  const struct linkage_budget tiny = {.victims = 60, .pairs = 64, .passes = 2};
  struct crowd partners = crowd_of(5000, 30, 1);
  struct mask *mask = fitted_mask(MASK_AHM, 3, 3);
  struct attack_context context = context_of(mask, 2);
  context.mixing.pool = MIX_POOL_PUBLIC;
  context.mixing.partners = faces_of(&partners);
  struct attack_result result = run(&context, &tiny);
  const struct attack_surface_result *many = surface_of(&result, SURFACE_TRAINING_TEMPLATES);
  assert_true(many->mean_k == 2);
  /* one of the two is public: "anyone" is the one victim, and the figures are the same */
  assert_true(metric_of(many, "rank_1_anyone")->value.mean == metric_of(many, "rank_1")->value.mean);
  assert_true(metric_of(many, "auroc")->value.mean > .55);
  attack_result_done(&result);
  crowd_done(&partners);
  mask_free(mask);
}

/* Known decoys are taken out: they hide next to nothing of what is sent, and are not in training templates.
 */
static void decoys_do_not_stop_linkage(void **state) {
  (void)state;
  skip_when_slow();
  const struct linkage_budget tiny = {.victims = 60, .pairs = 128, .passes = 4};
  const uint32_t count = 3;
  struct crowd crowd = crowd_of(6000, count, 1);
  struct mask *mask = fitted_mask(MASK_AHM, 3, 3);
  struct decoys *decoys = NULL;
  size_t elements = mask_elements(mask);
  float *templates = calloc(count * elements, sizeof(float)),
        *scratch = calloc(mask_scratch(mask), sizeof(float));
  double auroc[2];
  for (uint32_t d = 0; d < count; d++)
    mask_template(mask, crowd_image(&crowd, d), false, NULL, scratch, templates + d * elements);
  assert_int_equal(decoys_new(count, 4, elements, templates, &decoys, NULL), 0);
  for (uint32_t with = 0; with < 2; with++) {
    assert_int_equal(mask_set_decoys(mask, with ? decoys : NULL, NULL), 0);
    struct attack_context context = context_of(mask, 1);
    struct attack_result result = run(&context, &tiny);
    auroc[with] = metric_of(surface_of(&result, SURFACE_INFERENCE_TEMPLATES), "auroc")->value.mean;
    attack_result_done(&result);
  }
  assert_true(auroc[1] > .65 && auroc[1] > auroc[0] - .1);
  free(templates);
  free(scratch);
  mask_free(mask);
  crowd_done(&crowd);
}

/* Of a mask whose bits are flipped students are taught what the bytes were, not what they became. */
static void students_see_guesses(void **state) {
  (void)state;
  struct mask *mask = fitted_mask(MASK_LDP_SLICING, 0, 0);
  const size_t elements = mask_elements(mask), all = LESSON_BATCH * elements;
  struct face_sample faces;
  const struct attack_faces from = faces_of(&open);
  float *seen[2], *scratch = calloc(mask_scratch(mask), sizeof(float));
  struct mix mixes[64];
  assert_int_equal(face_sample_draw(&from, 64, 1, &faces), 0);
  (void)face_sample_compose(&faces, NULL, 1, mixes);
  for (int denoised = 0; denoised < 2; denoised++) {
    const struct lessons_options options = {.mask = mask, .denoised = denoised, .seed = 1, .threads = 1};
    struct lessons *lessons = NULL;
    seen[denoised] = calloc(2 * all, sizeof(float));
    assert_int_equal(lessons_new(&options, &faces, &lessons, NULL), 0);
    (void)lessons_draw(lessons, 0, seen[denoised]);
    lessons_templates(lessons, &faces, mixes, 0, seen[denoised] + all);
    lessons_free(lessons);
  }
  for (uint32_t i = 0; i < 2 * LESSON_BATCH; i++)
    mask_denoise(mask, seen[0] + i * elements, scratch);
  assert_memory_equal(seen[0], seen[1], 2 * all * sizeof(float));
  free(seen[0]);
  free(seen[1]);
  free(scratch);
  face_sample_done(&faces);
  mask_free(mask);
}

/* Where a training lowers templates instead of mixing them so do the lessons, as often. */
static void lessons_lose_frequencies(void **state) {
  (void)state;
  struct mask *mask = fitted_mask(MASK_AHM, 1, 3);
  const size_t elements = mask_elements(mask);
  const struct attack_mixing mixing = {
      .unmixed = 0.5, .probability = {[2] = 1}, .protection = {.drop = 9, .alone = true}};
  const struct lessons_options options = {.mask = mask, .mixing = &mixing, .seed = 1, .threads = 1};
  const struct attack_faces from = faces_of(&open);
  _cleanup_(freep) float *seen = calloc(LESSON_BATCH * elements, sizeof(float)),
                         *lower = calloc(elements, sizeof(float));
  struct lessons *lessons = NULL;
  struct face_sample faces;
  uint32_t lost = 0;
  assert_int_equal(face_sample_draw(&from, 64, 1, &faces), 0);
  assert_int_equal(lessons_new(&options, &faces, &lessons, NULL), 0);
  const struct lesson *lesson = lessons_draw(lessons, 0, seen);
  for (uint32_t i = 0; i < LESSON_BATCH; i++) {
    memcpy(lower, seen + i * elements, elements * sizeof(float));
    mask_lower(mask, 9, lower);
    const bool has_lost = memcmp(lower, seen + i * elements, elements * sizeof(float)) == 0;
    assert_true(lesson->mix[i].k == 1 && lesson->target[i] == i);
    assert_int_equal(has_lost, lesson->mix[i].drop == 9);
    lost += has_lost;
  }
  assert_in_range(lost, LESSON_BATCH / 5, LESSON_BATCH * 4 / 5);
  lessons_free(lessons);
  face_sample_done(&faces);
  mask_free(mask);
}

static void flipped_bits_are_linked(void **state) {
  (void)state;
  skip_when_slow();
  struct mask *mask = fitted_mask(MASK_LDP_SLICING, 0, 0);
  struct attack_context context = context_of(mask, 1);
  struct attack_result result = run(&context, &small);
  const double auroc = metric_of(surface_of(&result, SURFACE_INFERENCE_TEMPLATES), "auroc")->value.mean;
  print_message("auroc %.3f\n", auroc);
  assert_true(auroc > .6); /* of bits as they are seen: chance */
  attack_result_done(&result);
  mask_free(mask);
}

/* ---- properties ---- */

static void the_seed_decides(void **state) {
  (void)state;
  skip_when_slow();
  const struct linkage_budget tiny = {.victims = 40, .pairs = 64, .passes = 2};
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
  const struct linkage_budget brief = {.victims = 40, .pairs = 64, .passes = 1};
  return linkage_run(context, &brief, ret_result, err);
}

/* The control's, and one for each surface. */
static void what_students_say_is_kept(void **state) {
  (void)state;
  struct mask *mask = fitted_mask(MASK_AHM, 3, 3);
  const struct attack_context context = context_of(mask, 3);
  check_units(run_briefly, &context, 3, "linkage-inference", 1);
  mask_free(mask);
}

/* The same seed, another mixing, mask or public face: nothing is taken that depends on it. */
static void other_students_are_not_taken(void **state) {
  (void)state;
  char directory[] = "/tmp/guise-units-XXXXXX";
  struct mask *mask = fitted_mask(MASK_AHM, 3, 3), *other = fitted_mask(MASK_AHM, 4, 3);
  struct attack_context context = context_of(mask, 3);
  json_t *found = NULL;
  assert_non_null(mkdtemp(directory));
  context.work_directory = directory;
  assert_int_equal(finish_units(run_briefly, &context, &found), 3);
  json_decref(found);
  context.mixing.probability[2] = context.mixing.probability[3];
  context.mixing.probability[3] = 0;
  assert_int_equal(finish_units(run_briefly, &context, &found), 1); /* stored templates alone are mixed */
  json_decref(found);
  context.mask = other;
  assert_int_equal(finish_units(run_briefly, &context, &found), 2); /* the control is the same */
  json_decref(found);
  for (uint32_t i = 0; i < open.count * PIXELS; i += PIXELS)
    open.pixels[i] ^= 1;
  assert_int_equal(finish_units(run_briefly, &context, &found), 3);
  json_decref(found);
  for (uint32_t i = 0; i < open.count * PIXELS; i += PIXELS)
    open.pixels[i] ^= 1;
  assert_int_equal(directory_remove(directory), 0);
  mask_free(mask);
  mask_free(other);
}

static void json_fits_the_schema(void **state) {
  (void)state;
  const struct linkage_budget tiny = {.victims = 40, .pairs = 32, .passes = 1};
  json_error_t problem;
  json_t *schema =
      json_load_file(GUISE_GOLDEN "/../../schema/report.schema.json", JSON_REJECT_DUPLICATES, &problem);
  struct mask *mask = fitted_mask(MASK_AHM, 3, 3);
  struct attack_context context = context_of(mask, 2);
  struct attack_result result = run(&context, &tiny);
  json_t *json = attack_result_json(&result);
  struct schema_check check = {.root = schema};
  if (!schema_valid(&check, json_object_get(json_object_get(schema, "$defs"), "attack"), json, ""))
    fail_msg("%s", check.problem);
  json_decref(json);
  json_decref(schema);
  attack_result_done(&result);
  mask_free(mask);
}

/* With one photograph each, nobody can be linked to another one: the own photograph decides. */
static void single_photographs_decide_by_themselves(void **state) {
  (void)state;
  const struct linkage_budget tiny = {.victims = 48, .pairs = 32, .passes = 1};
  struct crowd singles = crowd_of(3000, 48, 1);
  struct mask *mask = fitted_mask(MASK_NONE, 0, 0);
  struct attack_context context = context_of(mask, 1);
  context.victims = faces_of(&singles);
  struct attack_result result = run(&context, &tiny);
  const struct attack_surface_result *surface = surface_of(&result, SURFACE_INFERENCE_TEMPLATES);
  assert_int_equal(result.people, 48);
  assert_string_equal(surface->decided_by, "tar_at_far_1e-2_same_image");
  assert_true(isnan(metric_of(surface, "tar_at_far_1e-2")->value.mean));
  assert_int_equal(surface->verdict, VERDICT_LEAKS);
  attack_result_done(&result);
  crowd_done(&singles);
  mask_free(mask);
}

/* Of two people nobody is left to stand in for them, so that chance has no pairs: what links everybody must
 * not be said to resist. */
static void two_people_are_too_few(void **state) {
  (void)state;
  const struct linkage_budget tiny = {.victims = 46, .pairs = 32, .passes = 1};
  struct crowd two = crowd_of(7000, 2, 23);
  struct mask *mask = fitted_mask(MASK_NONE, 0, 0);
  struct attack_context context = context_of(mask, 1);
  context.victims = faces_of(&two);
  struct attack_result result = run(&context, &tiny);
  assert_int_equal(result.people, 2);
  for (uint32_t s = 0; s < 2; s++) {
    const struct attack_surface_result *surface = &result.surface[s];
    const struct attack_metric *tar = metric_of(surface, "tar_at_far_1e-2");
    assert_true(tar->value.mean > .1 && isnan(tar->chance) && isnan(surface->threshold));
    if (surface->verdict != VERDICT_INCONCLUSIVE || !strstr(surface->reason, "holdout.identities"))
      fail_msg("%s", surface->reason);
  }
  attack_result_done(&result);
  crowd_done(&two);
  mask_free(mask);
}

/* Those with one photograph are left out where others have more, and few victims are many people. */
static void victims_have_two_photographs(void **state) {
  (void)state;
  const struct linkage_budget tiny = {.victims = 20, .pairs = 32, .passes = 1};
  struct crowd mixed = crowd_of(4000, 20, 3);
  for (uint32_t i = 0; i < 30; i++) /* the first ten people fall apart into thirty */
    mixed.identity[i] = 9000 + i;
  struct mask *mask = fitted_mask(MASK_NONE, 0, 0);
  struct attack_context context = context_of(mask, 1);
  context.victims = faces_of(&mixed);
  struct attack_result result = run(&context, &tiny);
  assert_int_equal(result.people, 10);
  assert_int_equal(result.faces, 20);
  attack_result_done(&result);
  crowd_done(&mixed);
  mask_free(mask);
}

static void stops_when_asked(void **state) {
  (void)state;
  expect_stop("linkage", 30);
}

/* Thousands of draws over all pairs follow the last template, and each of them may be the last. */
static void comparisons_stop_when_asked(void **state) {
  (void)state;
  enum { FACES = 20, NUMBERS = 4 };
  struct attack_faces faces = faces_of(&victims);
  struct patience patience = {0, UINT32_MAX};
  const struct attack_context context = {
      .seed = 1, .should_stop = out_of_patience, .stop_context = &patience};
  struct face_sample sample;
  struct mix mixes[FACES];
  struct figures *figures = calloc(RELATIONS, sizeof(*figures));
  float made[FACES * NUMBERS];
  assert_int_equal(face_sample_draw(&faces, FACES, 1, &sample), 0);
  (void)face_sample_compose(&sample, NULL, 1, mixes);
  for (uint32_t i = 0; i < FACES * NUMBERS; i++)
    made[i] = (float)((i * 2654435761u >> 8) % 1000) / 1000.0f - .5f;
  const struct identify_input input = {&sample, mixes, made, made, NUMBERS, &context, true};
  const int threads = omp_get_max_threads();
  omp_set_num_threads(1); /* each draw asks, not those of the calling thread alone */
  assert_int_equal(identify(&input, figures, NULL), 0);
  const uint32_t all = patience.asked, steps = all / 7;
  assert_true(all >= RELATIONS * 1000);
  for (uint32_t most = 0; most < all; most += steps) {
    struct guise_error err = {0};
    patience = (struct patience){0, most};
    assert_int_equal(identify(&input, figures, &err), -ECANCELED);
    assert_string_equal(err.text, "the attack was stopped");
    assert_int_equal(patience.asked, most + 1);
  }
  omp_set_num_threads(threads);
  free(figures);
  face_sample_done(&sample);
}

static void impossible_contexts_are_refused(void **state) {
  (void)state;
  expect_refusals("linkage");
}

/* ---- the student ---- */

/* A mask of another size cannot begin with the teacher's weights, and does without; photographs are enlarged
 * for the teacher. */
static void a_student_from_nothing_learns(void **state) {
  (void)state;
  skip_when_slow();
  _cleanup_(model_freep) struct model *model = NULL;
  struct attack_faces faces = faces_of(&open);
  struct face_sample sample;
  struct mask *mask = fitted_mask(MASK_NONE, 0, 0), *larger = NULL;
  assert_int_equal(model_load(teacher, LESSON_BATCH, 1, &model, NULL), 0);
  const struct mask_options wide = mask_options_default(MASK_NONE, 64);
  assert_int_equal(mask_new(&wide, &larger, NULL), 0);
  assert_true(student_fits(model, mask));
  assert_false(student_fits(model, larger));
  assert_int_equal(face_sample_draw(&faces, 256, 1, &sample), 0);
  float *targets = calloc((size_t)2 * 256 * EMBEDDING, sizeof(float)),
        *said = calloc((size_t)256 * EMBEDDING, sizeof(float));
  struct mix *mixes = calloc(256, sizeof(*mixes));
  struct student_options options = {.lessons = {.mask = mask, .seed = 1, .threads = 1}, .from_scratch = true};
  for (uint32_t i = 0; i < 2; i++)
    assert_int_equal(teacher_embed(model, &sample, SIZE, i == 1, &options.lessons,
                                   targets + (size_t)i * 256 * EMBEDDING, NULL),
                     0);
  for (uint32_t i = 0; i < 256; i++)
    mix_single(i, &mixes[i]);
  double cosine[2] = {0, 0};
  for (uint32_t i = 0; i < 2; i++) {
    _cleanup_(student_freep) struct student *student = NULL;
    options.steps = i ? 40 : 1;
    assert_int_equal(student_train(model, &options, &sample, targets, &student, NULL), 0);
    assert_int_equal(student_embed(student, &sample, mixes, said, NULL), 0);
    for (uint32_t e = 0; e < 256 * EMBEDDING; e++)
      cosine[i] += (double)(said[e] * targets[e]) / 256;
  }
  /* what all faces have in common is learnt at once, what tells them apart is not */
  print_message("cosine %g after 1 step, %g after 40\n", cosine[0], cosine[1]);
  assert_true(cosine[1] > .7 && cosine[1] > cosine[0] + .2);
  free(targets);
  free(said);
  free(mixes);
  face_sample_done(&sample);
  mask_free(mask);
  mask_free(larger);
}

/* What is mirrored beside the teacher is mirrored to the student, too. */
static void teacher_sees_the_mirror_image(void **state) {
  (void)state;
  _cleanup_(model_freep) struct model *model = NULL;
  struct attack_faces faces = faces_of(&victims), turned = faces;
  struct crowd mirrored = crowd_of(2000, 20, 3);
  struct face_sample sample, other;
  struct lessons_options options = {.threads = 1};
  turned.context = &mirrored;
  for (uint32_t i = 0; i < mirrored.count; i++)
    for (uint32_t y = 0; y < SIZE; y++)
      for (uint32_t x = 0; x < SIZE; x++)
        memcpy(mirrored.pixels + i * PIXELS + (y * SIZE + x) * 3,
               victims.pixels + i * PIXELS + (y * SIZE + SIZE - 1 - x) * 3, 3);
  assert_int_equal(model_load(teacher, 16, 1, &model, NULL), 0);
  assert_int_equal(face_sample_draw(&faces, 60, 1, &sample), 0);
  assert_int_equal(face_sample_draw(&turned, 60, 1, &other), 0);
  float a[60 * EMBEDDING], b[60 * EMBEDDING];
  assert_int_equal(teacher_embed(model, &sample, SIZE, true, &options, a, NULL), 0);
  assert_int_equal(teacher_embed(model, &other, SIZE, false, &options, b, NULL), 0);
  assert_memory_equal(a, b, sizeof(a));
  assert_int_equal(teacher_embed(model, &sample, SIZE, false, &options, b, NULL), 0);
  assert_memory_not_equal(a, b, sizeof(a));
  face_sample_done(&sample);
  face_sample_done(&other);
  crowd_done(&mirrored);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(undefended_templates_are_linked),
      cmocka_unit_test(a_weak_attacker_is_inconclusive),
      cmocka_unit_test(a_student_from_nothing_has_such_a_control),
      cmocka_unit_test(a_mask_that_destroys_gives_chance),
      cmocka_unit_test(mixes_are_linked_less),
      cmocka_unit_test(public_partners_are_nobody),
      cmocka_unit_test(decoys_do_not_stop_linkage),
      cmocka_unit_test(students_see_guesses),
      cmocka_unit_test(flipped_bits_are_linked),
      cmocka_unit_test(lessons_lose_frequencies),
      cmocka_unit_test(what_students_say_is_kept),
      cmocka_unit_test(other_students_are_not_taken),
      cmocka_unit_test(the_seed_decides),
      cmocka_unit_test(json_fits_the_schema),
      cmocka_unit_test(single_photographs_decide_by_themselves),
      cmocka_unit_test(two_people_are_too_few),
      cmocka_unit_test(victims_have_two_photographs),
      cmocka_unit_test(stops_when_asked),
      cmocka_unit_test(comparisons_stop_when_asked),
      cmocka_unit_test(impossible_contexts_are_refused),
      cmocka_unit_test(a_student_from_nothing_learns),
      cmocka_unit_test(teacher_sees_the_mirror_image),
  };
  return cmocka_run_group_tests(tests, train_teacher, forget_teacher);
}
