/* Runs after all tests that speak HTTP: every operation and every status that schema/openapi.yaml names was
 * answered in one of them (each test notes what it got, support/contract.h). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <dirent.h>
#include <stdio.h>
#include <string.h>

#include "tests/integration/support/contract.h"

static json_t *seen; /* {"getJob 200": true} */

struct missing {
  unsigned count;
  bool silent;
};

static void read_notes(const char *name) {
  char path[512], line[128];
  (void)snprintf(path, sizeof(path), CONTRACT_FOLDER "/%s", name);
  FILE *file = fopen(path, "re");
  assert_non_null(file);
  while (fgets(line, sizeof(line), file)) {
    line[strcspn(line, "\n")] = 0;
    (void)json_object_set_new(seen, line, json_true());
  }
  (void)fclose(file);
}

#define KEY 128

/* As tests note an answer. */
static void key_of(const json_t *operation, const char *status, char ret_key[KEY]) {
  (void)snprintf(ret_key, KEY, "%s %s", json_string_value(json_object_get(operation, "operationId")), status);
}

static void look_for(void *context, const char *method, const char *pattern, const json_t *operation) {
  struct missing *missing = context;
  const char *status;
  json_t *response;
  (void)method;
  (void)pattern;
  json_object_foreach(json_object_get(operation, "responses"), status, response) {
    char key[KEY];
    key_of(operation, status, key);
    if (json_object_get(seen, key))
      continue;
    if (!missing->silent)
      print_error("no test got %s\n", key);
    missing->count++;
  }
}

static unsigned count_missing(bool silent) {
  struct missing missing = {.silent = silent};
  contract_each(look_for, &missing);
  return missing.count;
}

static void every_answer_of_the_document_was_seen(void **state) {
  (void)state;
  print_message("%zu answers were seen\n", json_object_size(seen));
  assert_int_equal(count_missing(false), 0);
}

/* Each operation's every status in turn. */
static void unsee(void *context, const char *method, const char *pattern, const json_t *operation) {
  const unsigned before = *(unsigned *)context;
  const char *status;
  json_t *response;
  (void)method;
  (void)pattern;
  json_object_foreach(json_object_get(operation, "responses"), status, response) {
    char key[KEY];
    key_of(operation, status, key);
    if (json_object_del(seen, key) < 0)
      continue; /* it is missing anyway */
    assert_int_equal(count_missing(true), before + 1);
    (void)json_object_set_new(seen, key, json_true());
  }
}

static void one_that_was_not_is_told(void **state) {
  unsigned missing = count_missing(true);
  (void)state;
  contract_each(unsee, &missing);
}

static int setup(void **state) {
  struct dirent *entry;
  (void)state;
  DIR *folder = opendir(CONTRACT_FOLDER);
  assert_non_null(folder); /* the tests that come before this one write it */
  seen = json_object();
  while ((entry = readdir(folder)))
    if (entry->d_name[0] != '.')
      read_notes(entry->d_name);
  (void)closedir(folder);
  return 0;
}

static int teardown(void **state) {
  (void)state;
  json_decref(seen);
  return 0;
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(every_answer_of_the_document_was_seen),
                                     cmocka_unit_test(one_that_was_not_is_told)};
  return cmocka_run_group_tests(tests, setup, teardown);
}
