/* Model inversion on networks that have learnt people of plain patterns: what the weights remember must be
 * drawn so that another network recognises it, weights that remember nothing give chance, and a search that
 * fails on its control says nothing. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
// cmocka needs the four headers above
#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "core/attack/evaluator.h"
#include "core/attack/mi_face.h"
#include "core/attack/student.h"
#include "unit/attack/known.h"
#include "unit/attack/units.h"

static struct attack_result run(const struct attack_context *context, uint32_t steps) {
  const struct mi_face_budget budget = {.people = PEOPLE, .known = victims.count, .steps = steps};
  struct attack_result result = {.name = "mi_face", .summary = "", .effort = context->effort, .size = SIZE};
  struct guise_error err = {0};
  if (mi_face_run(context, &budget, &result, &err) != 0)
    fail_msg("%s", err.text);
  print_result(&result);
  return result;
}

/* The attacked network is its own control here: what is drawn out of one is drawn out of the other. */
static void remembered_patterns_are_drawn(void **state) {
  (void)state;
  const struct attack_context context = context_of(attacked);
  struct attack_result result = run(&context, 60);
  const struct attack_surface_result *surface = surface_of(&result, SURFACE_WEIGHTS);
  const struct attack_metric *first = metric_of(surface, "accuracy_at_1"),
                             *distance = metric_of(surface, "knn_distance");
  assert_int_equal(result.people, PEOPLE);
  assert_int_equal(surface->verdict, VERDICT_LEAKS);
  assert_true(first->value.mean > .4 && first->value.mean > first->chance + .3);
  assert_true(first->control.mean == first->value.mean);
  assert_true(metric_of(surface, "accuracy_at_5")->value.mean >= first->value.mean);
  assert_true(distance->value.mean < distance->chance);
  assert_true(distance->value.low <= distance->value.mean && distance->value.mean <= distance->value.high);
  assert_int_equal(surface->pictures, ATTACK_PICTURES_MAX);
  check_schema(&result);
  attack_result_done(&result);
}

/* Photographs nearer to the mean of the others of their person than to any other mean, one by one. */
static double left_out_accuracy(const struct face_sample *sample, const float *e, uint32_t n) {
  uint32_t right = 0;
  for (uint32_t i = 0; i < sample->count; i++) {
    double best = -INFINITY;
    uint32_t nearest = sample->people;
    for (uint32_t c = 0; c < sample->people; c++) {
      double mean[256] = {0}, square = 0, product = 0;
      for (uint32_t k = 0; k < sample->count; k++)
        for (uint32_t d = 0; d < n && k != i && sample->person[k] == c; d++)
          mean[d] += (double)e[k * n + d];
      for (uint32_t d = 0; d < n; d++) {
        square += mean[d] * mean[d];
        product += mean[d] * (double)e[i * n + d];
      }
      if (product / sqrt(square) > best) {
        best = product / sqrt(square);
        nearest = c;
      }
    }
    right += nearest == sample->person[i];
  }
  return (double)right / sample->count;
}

/* What the report says of who judges: its architecture, what it learnt from, and how well it knows
 * photographs. */
static void the_report_tells_who_judges(void **state) {
  (void)state;
  const char *const judges[] = {evaluator, ignorant};
  double accuracy[2];
  uint32_t mixed_up[PEOPLE * IMAGES];
  for (uint32_t i = 0; i < victims.count; i++) /* a photograph of each person is said to be the next one's */
    mixed_up[i] = (victims.identity[i] + (i % IMAGES == 0)) % PEOPLE;
  for (int j = 0; j < 2; j++) {
    struct attack_context context = context_of(attacked);
    context.evaluator = judges[j];
    context.members.identity = j ? mixed_up : victims.identity;
    context.evaluator_unseen = j == 1;
    struct attack_result result = run(&context, 1);
    const struct attack_evaluator *told = &result.evaluator;
    _cleanup_(model_freep) struct model *model = NULL;
    struct face_sample sample;
    const struct lessons_options options = {.threads = 1};
    assert_int_equal(model_load(judges[j], BATCH, 1, &model, NULL), 0);
    assert_int_equal(face_sample_draw(&context.members, victims.count, context.seed, &sample), 0);
    const uint32_t n = model->info.embedding;
    float *e = calloc((size_t)sample.count * n, sizeof(float));
    assert_true(e && n <= 256);
    assert_int_equal(teacher_embed(model, &sample, SIZE, false, &options, e, NULL), 0);
    assert_string_equal(told->arch, j ? "freq_ir" : "iresnet18");
    assert_int_equal(told->unseen, j == 1);
    assert_true(fabs(told->accuracy - left_out_accuracy(&sample, e, n)) < 1e-9);
    accuracy[j] = told->accuracy;
    check_schema(&result);
    json_t *json = attack_result_json(&result);
    const json_t *entry = json_object_get(json, "evaluator");
    assert_true(json_is_true(json_object_get(entry, "unseen")) == (j == 1));
    assert_true(json_is_null(json_object_get(entry, "images"))); /* these models do not tell */
    json_decref(json);
    free(e);
    face_sample_done(&sample);
    attack_result_done(&result);
  }
  print_message("photographs recognised: %.3f, when some are of others %.3f\n", accuracy[0], accuracy[1]);
  assert_true(accuracy[0] > .8 && accuracy[1] > .3 && accuracy[1] < .95);
}

/* Less, not nothing: the class rows, means of embeddings, tell something of the people by themselves. */
static void initial_weights_give_less(void **state) {
  (void)state;
  const struct attack_context context = context_of(ignorant);
  struct attack_result result = run(&context, 60);
  const struct attack_surface_result *surface = surface_of(&result, SURFACE_WEIGHTS);
  const struct attack_metric *first = metric_of(surface, "accuracy_at_1");
  assert_true(first->value.mean < first->control.mean - .2);
  attack_result_done(&result);
}

static void a_weak_search_is_inconclusive(void **state) {
  (void)state;
  struct attack_context context = context_of(attacked);
  context.undefended = ignorant;
  struct attack_result result = run(&context, 1);
  assert_int_equal(result.surface[0].verdict, VERDICT_INCONCLUSIVE);
  assert_non_null(strstr(result.surface[0].reason, "On its control"));
  attack_result_done(&result);
}

#define PAIRS (PEOPLE * IMAGES / 2) /* three batches */

static int run_briefly(const struct attack_context *context, struct attack_result *ret_result,
                       struct guise_error *err) {
  const struct mi_face_budget budget = {.people = PAIRS, .known = victims.count, .steps = 2};
  return mi_face_run(context, &budget, ret_result, err);
}

/* Of two photographs each, so that there are enough people. */
static struct attack_context context_of_pairs(uint32_t identity[PEOPLE * IMAGES]) {
  struct attack_context context = context_of(ignorant);
  for (uint32_t i = 0; i < PEOPLE * IMAGES; i++)
    identity[i] = i / 2;
  context.members.identity = identity;
  return context;
}

static void finished_people_are_kept(void **state) {
  (void)state;
  uint32_t identity[PEOPLE * IMAGES];
  const struct attack_context context = context_of_pairs(identity);
  check_units(run_briefly, &context, 6, "mi_face-control", 2);
}

/* The network itself, the class rows behind the photographs: with another of them nothing is taken. */
static void drawings_of_other_networks_are_not_taken(void **state) {
  (void)state;
  char directory[] = "/tmp/guise-units-XXXXXX";
  uint32_t identity[PEOPLE * IMAGES];
  struct attack_context context = context_of_pairs(identity);
  json_t *found = NULL;
  assert_non_null(mkdtemp(directory));
  context.work_directory = directory;
  assert_int_equal(finish_units(run_briefly, &context, &found), 6);
  json_decref(found);
  context.model = attacked;
  assert_int_equal(finish_units(run_briefly, &context, &found), 3); /* the control is the same */
  json_decref(found);
  victims.pixels[0] ^= 1;
  assert_int_equal(finish_units(run_briefly, &context, &found), 6);
  json_decref(found);
  victims.pixels[0] ^= 1;
  assert_int_equal(directory_remove(directory), 0);
}

static void stops_when_asked(void **state) {
  (void)state;
  struct attack_context context = context_of(attacked);
  struct attack_result result = {.faces = 77};
  struct guise_error err = {0};
  uint32_t patience = 8;
  context.should_stop = out_of_patience;
  context.stop_context = &patience;
  assert_int_equal(attack_run(attack_find("mi_face"), &context, &result, &err), -ECANCELED);
  assert_int_equal(result.faces, 77);
  context.evaluator = NULL;
  assert_int_equal(attack_run(attack_find("mi_face"), &context, &result, &err), -EINVAL);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(remembered_patterns_are_drawn),
      cmocka_unit_test(the_report_tells_who_judges),
      cmocka_unit_test(initial_weights_give_less),
      cmocka_unit_test(a_weak_search_is_inconclusive),
      cmocka_unit_test(finished_people_are_kept),
      cmocka_unit_test(drawings_of_other_networks_are_not_taken),
      cmocka_unit_test(stops_when_asked),
  };
  return cmocka_run_group_tests(tests, known_setup, known_teardown);
}
