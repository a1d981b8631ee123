/* The studies that are shipped: what they ask for are jobs. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <dirent.h>
#include <stdio.h>
#include <string.h>

#include "core/train/spec.h"

/* Sets what a JSON pointer through objects names. */
static void set_at(json_t *object, const char *pointer, json_t *value) {
  char key[64];
  const char *next = strchr(pointer + 1, '/');
  (void)snprintf(key, sizeof(key), "%.*s", next ? (int)(next - pointer - 1) : 63, pointer + 1);
  if (!next) {
    assert_int_equal(json_object_set(object, key, value), 0);
    return;
  }
  if (!json_object_get(object, key))
    assert_int_equal(json_object_set_new(object, key, json_object()), 0);
  set_at(json_object_get(object, key), next, value);
}

/* Studies whose jobs are held against the cell "none" of their own. */
static bool is_bounded(const char *file) {
  static const char *const bounded[] = {"masks200.json", "ablations200.json", "hardening200.json",
                                        "store757.json"};
  for (size_t i = 0; i < ARRAY_SIZE(bounded); i++)
    if (strcmp(file, bounded[i]) == 0)
      return true;
  return false;
}

static void check_cell(const char *file, const json_t *base, const json_t *cell) {
  json_t *body = json_deep_copy(base), *value;
  const char *pointer;
  struct job_spec spec;
  struct spec_problems problems = {0};
  json_object_foreach(json_object_get(cell, "set"), pointer, value) {
    const bool model = json_object_get(value, "cell") != NULL; /* of another cell: there is none yet */
    json_t *id = json_string("mdl_of_another_cell");
    set_at(body, pointer, model ? id : value);
    json_decref(id);
  }
  if (job_spec_parse(body, &spec, &problems) < 0)
    fail_msg("%s, %s: %s: %s", file, json_string_value(json_object_get(cell, "name")),
             problems.problem[0].pointer, problems.problem[0].detail);
  if (is_bounded(file) && strcmp(json_string_value(json_object_get(cell, "name")), "none") == 0)
    assert_true(spec.train.epochs / spec.holdout.every >= 10); /* a reference tells how its accuracy grew */
  job_spec_free(&spec);
  json_decref(body);
}

/* Without a reference nothing bounds the loss of accuracy, but that most people stay unmixed. */
static void check_reference(const char *file, const json_t *cell) {
  const json_t *set = json_object_get(cell, "set"), *policy = json_object_get(set, "/mask/policy"),
               *reward = json_object_get(set, "/mask/reward");
  const char *method = json_string_value(json_object_get(set, "/mask/method"));
  const bool probe = (!method || strcmp(method, "ahm") == 0) && !policy &&
                     (!reward || strcmp(json_string_value(reward), "probe") == 0);
  const json_t *reference = json_object_get(json_object_get(set, "/mask/reference"), "cell");
  const bool bounded_alone = json_number_value(json_object_get(set, "/mask/unmixed")) >= 0.5;
  if (probe && is_bounded(file) && !bounded_alone &&
      (!reference || strcmp(json_string_value(reference), "none") != 0))
    fail_msg("%s, %s: no reference", file, json_string_value(json_object_get(cell, "name")));
}

/* The studies that the docs' tables are made by: every cell is a job. */
static void studies_are_jobs(void **state) {
  (void)state;
  static const char directory[] = GUISE_GOLDEN "/../bench/studies";
  DIR *files = opendir(directory);
  const struct dirent *entry;
  uint32_t studies = 0;
  assert_non_null(files);
  while ((entry = readdir(files))) {
    char path[512];
    size_t i;
    json_t *cell;
    if (!strstr(entry->d_name, ".json"))
      continue;
    (void)snprintf(path, sizeof(path), "%s/%s", directory, entry->d_name);
    json_t *study = json_load_file(path, JSON_REJECT_DUPLICATES, NULL),
           *cells = json_object_get(study, "cells");
    assert_true(json_array_size(cells) > 1);
    assert_null(json_object_get(study, "axes")); /* else they were not all checked */
    json_array_foreach(cells, i, cell) {
      check_cell(entry->d_name, json_object_get(study, "base"), cell);
      check_reference(entry->d_name, cell);
    }
    json_decref(study);
    studies++;
  }
  (void)closedir(files);
  assert_true(studies >= 9);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(studies_are_jobs),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
