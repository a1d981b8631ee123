/* Decisions of verification pairs: read from the service's list, written, read again; and what is damaged. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
// cmocka needs the four headers above
#include <cmocka.h>
#include <string.h>

#include "cli/study_decisions.h"
#include "core/base/base.h"

#define HEAD "pair,fold,same,similarity,accepted\n"

static void a_list_survives_the_file(void **state) {
  (void)state;
  static const char csv[] =
      HEAD "0,0,1,0.9,1\n1,0,1,0.1,0\n2,0,0,0.2,0\n3,1,1,0.8,1\n4,1,0,0.7,1\n5,1,0,-0.1,0\n";
  static const uint8_t kind[] = {1, 1, 0, 3, 2, 2};
  static const int8_t right[] = {1, 0, 1, 1, 0, 1};
  struct decisions read, again;
  assert_true(decisions_from_scores(csv, &read));
  json_t *json = decisions_json(&read);
  char *text = json_dumps(json, JSON_COMPACT);
  assert_string_equal(text, "{\"runs\":[[0,1,2],[0,0,1],[1,1,1],[1,0,2]],\"right\":\"b4\"}");
  assert_true(decisions_from_json(json, &again));
  const struct decisions *both[] = {&read, &again};
  for (size_t i = 0; i < ARRAY_SIZE(both); i++) {
    assert_int_equal(both[i]->pairs, 6);
    assert_memory_equal(both[i]->kind, kind, 6);
    assert_memory_equal(both[i]->right, right, 6);
  }
  free(text);
  json_decref(json);
  decisions_free(&read);
  decisions_free(&again);
}

static void damaged_lists_are_refused(void **state) {
  (void)state;
  static const char *const lists[] = {"",
                                      HEAD,
                                      "pair,fold\n0,0,1,0.9,1\n",
                                      HEAD "1,0,1,0.9,1\n",
                                      HEAD "0,0,1,0.9,1\n0,0,1,0.9,1\n",
                                      HEAD "0,0,1,0.9",
                                      HEAD "0,0,one,0.9,1\n"};
  struct decisions d;
  for (size_t i = 0; i < ARRAY_SIZE(lists); i++)
    if (decisions_from_scores(lists[i], &d))
      fail_msg("list %zu was read", i);
}

static void damaged_files_are_refused(void **state) {
  (void)state;
  static const char *const files[] = {
      "[]",
      "{\"right\":\"f\"}",
      "{\"runs\":[],\"right\":\"\"}",
      "{\"runs\":[[0,1,4]]}",
      "{\"runs\":[[0,1,4]],\"right\":\"ff\"}",
      "{\"runs\":[[0,1,4]],\"right\":\"g\"}",
      "{\"runs\":[[0,2,4]],\"right\":\"f\"}",
      "{\"runs\":[[-1,1,4]],\"right\":\"f\"}",
      "{\"runs\":[[200,1,4]],\"right\":\"f\"}",
      "{\"runs\":[[0,1,0],[0,1,4]],\"right\":\"f\"}",
      "{\"runs\":[[0,1,9007199254740991],[0,1,4]],\"right\":\"f\"}",
      "{\"runs\":[[0,1,4],3],\"right\":\"f\"}",
  };
  struct decisions d;
  assert_false(decisions_from_json(NULL, &d));
  for (size_t i = 0; i < ARRAY_SIZE(files); i++) {
    json_t *json = json_loads(files[i], 0, NULL);
    assert_non_null(json);
    if (decisions_from_json(json, &d))
      fail_msg("%s was read", files[i]);
    json_decref(json);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(a_list_survives_the_file),
                                     cmocka_unit_test(damaged_lists_are_refused),
                                     cmocka_unit_test(damaged_files_are_refused)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
