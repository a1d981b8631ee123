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

#include "core/attack/mi_face.h"
#include "unit/attack/known.h"

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
      cmocka_unit_test(initial_weights_give_less),
      cmocka_unit_test(a_weak_search_is_inconclusive),
      cmocka_unit_test(stops_when_asked),
  };
  return cmocka_run_group_tests(tests, known_setup, known_teardown);
}
