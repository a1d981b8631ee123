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

static void look_for(void *context, const char *method, const char *pattern, const json_t *operation) {
  const char *status;
  json_t *response;
  (void)method;
  (void)pattern;
  json_object_foreach(json_object_get(operation, "responses"), status, response) {
    char key[128];
    (void)snprintf(key, sizeof(key), "%s %s", json_string_value(json_object_get(operation, "operationId")),
                   status);
    if (json_object_get(seen, key))
      continue;
    print_error("no test got %s\n", key);
    (*(unsigned *)context)++;
  }
}

static void every_answer_of_the_document_was_seen(void **state) {
  unsigned missing = 0;
  struct dirent *entry;
  (void)state;
  DIR *folder = opendir(CONTRACT_FOLDER);
  assert_non_null(folder); /* the tests that come before this one write it */
  seen = json_object();
  while ((entry = readdir(folder)))
    if (entry->d_name[0] != '.')
      read_notes(entry->d_name);
  (void)closedir(folder);
  contract_each(look_for, &missing);
  print_message("%zu answers were seen\n", json_object_size(seen));
  json_decref(seen);
  assert_int_equal(missing, 0);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(every_answer_of_the_document_was_seen)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
