/* The study file: what it expands to, what is refused and where, jobs and their hashes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "cli/document.h"
#include "cli/study.h"

static json_t *problems;

static int parse(const char *text, struct study *ret_study) {
  json_error_t error;
  json_t *document = json_loads(text, JSON_REJECT_DUPLICATES, &error);
  if (!document)
    fail_msg("line %d: %s", error.line, error.text);
  json_decref(problems);
  problems = json_array();
  int r = study_parse(document, ret_study, problems);
  json_decref(document);
  return r;
}

static bool is_told(const char *pointer) {
  const json_t *problem;
  size_t i;
  json_array_foreach(problems, i, problem) {
    if (strcmp(json_string_value(json_object_get(problem, "pointer")), pointer) == 0)
      return true;
  }
  return false;
}

static json_int_t number_at(const json_t *job, const char *pointer) {
  const json_t *value = pointer_get(job, pointer);
  assert_true(json_is_integer(value));
  return json_integer_value(value);
}

static const char *text_at(const json_t *job, const char *pointer) {
  const char *text = json_string_value(pointer_get(job, pointer));
  assert_non_null(text);
  return text;
}

static void axes_multiply_cells(void **state) {
  (void)state;
  struct study study;
  assert_int_equal(parse("{\"name\":\"s\",\"base\":{\"dataset\":\"d\",\"mask\":{\"clip\":3}},\"seeds\":[7,1],"
                         "\"cells\":[{\"name\":\"a\",\"set\":{\"/mask/method\":\"none\"}},{\"name\":\"b\"}],"
                         "\"axes\":[{\"field\":\"/mask/drop_low\",\"values\":[0,3,10]},"
                         "{\"field\":\"/train/head\",\"values\":[\"cosface\",\"arcface\"]}]}",
                         &study),
                   0);
  static const char *const names[] = {
      "a drop_low=0 head=cosface", "a drop_low=0 head=arcface",  "a drop_low=3 head=cosface",
      "a drop_low=3 head=arcface", "a drop_low=10 head=cosface", "a drop_low=10 head=arcface",
      "b drop_low=0 head=cosface", "b drop_low=0 head=arcface",  "b drop_low=3 head=cosface",
      "b drop_low=3 head=arcface", "b drop_low=10 head=cosface", "b drop_low=10 head=arcface"};
  assert_int_equal(study.cells, 12);
  assert_int_equal(study.seeds, 2);
  for (uint32_t c = 0; c < study.cells; c++)
    assert_string_equal(study.cell[c].name, names[c]);
  json_t *job = study_job(&study, 3, 0, "hash", NULL);
  assert_string_equal(text_at(job, "/type"), "train");
  assert_string_equal(text_at(job, "/mask/method"), "none");
  assert_string_equal(text_at(job, "/train/head"), "arcface");
  assert_int_equal(number_at(job, "/mask/clip"), 3); /* the base's own stays */
  assert_int_equal(number_at(job, "/mask/drop_low"), 3);
  assert_int_equal(number_at(job, "/train/seed"), 7);
  assert_string_equal(text_at(job, "/labels/study"), "s");
  assert_string_equal(text_at(job, "/labels/cell"), names[3]);
  assert_string_equal(text_at(job, "/labels/seed"), "7");
  assert_string_equal(text_at(job, "/labels/study_hash"), "hash");
  json_decref(job);
  job = study_job(&study, 8, 1, "hash", NULL); /* cells do not write into each other */
  assert_null(pointer_get(job, "/mask/method"));
  assert_int_equal(number_at(job, "/train/seed"), 1);
  json_decref(job);
  study_free(&study);
}

static void axes_alone_name_cells(void **state) {
  (void)state;
  struct study study;
  assert_int_equal(parse("{\"name\":\"s\",\"base\":{},\"seeds\":[1],\"axes\":[{\"field\":\"/mask/k\","
                         "\"values\":[[2],[2,3]]}]}",
                         &study),
                   0);
  assert_int_equal(study.cells, 2);
  assert_string_equal(study.cell[0].name, "k=[2]");
  assert_string_equal(study.cell[1].name, "k=[2,3]");
  study_free(&study);
}

static void all_mistakes_are_told(void **state) {
  (void)state;
  struct study study;
  assert_int_equal(
      parse(
          "{\"name\":\"a b\",\"base\":{\"train\":{\"seed\":1},\"labels\":{\"cell\":\"x\"},\"mask\":\"ahm\"},"
          "\"seeds\":[1,-2,1,1.5],\"colour\":1,"
          "\"cells\":[{\"name\":\"\"},{\"name\":\"b\",\"set\":{\"/mask/method\":\"none\",\"train\":1}},"
          "{\"name\":\"b\",\"sets\":{}},{\"name\":\"c\",\"set\":{\"/train/seed\":3,\"/model/width\":1}}],"
          "\"axes\":[{\"field\":\"/model/width\",\"values\":[1,1]},{\"values\":[1]}]}",
          &study),
      -EINVAL);
  static const char *const expected[] = {"/name",
                                         "/base/train/seed",
                                         "/base/labels/cell",
                                         "/seeds/1",
                                         "/seeds/2",
                                         "/seeds/3",
                                         "/colour",
                                         "/cells/0/name",
                                         "/cells/1/set/~1mask~1method",
                                         "/cells/1/set/train",
                                         "/cells/2/name",
                                         "/cells/2/sets",
                                         "/cells/3/set/~1train~1seed",
                                         "/axes/0/values",
                                         "/axes/0/field",
                                         "/axes/1/field"};
  for (size_t i = 0; i < ARRAY_SIZE(expected); i++)
    if (!is_told(expected[i]))
      fail_msg("%s is not told", expected[i]);
  assert_int_equal(json_array_size(problems), ARRAY_SIZE(expected));
  assert_int_equal(parse("{}", &study), -EINVAL);
  assert_true(is_told("/name") && is_told("/base") && is_told("/seeds") && is_told("/cells"));
}

static void too_many_jobs_are_refused(void **state) {
  (void)state;
  struct study study;
  char text[20000] = "{\"name\":\"s\",\"base\":{},\"seeds\":[1,2,3],\"axes\":[";
  for (int axis = 0; axis < 2; axis++) {
    char *end = text + strlen(text);
    end += sprintf(end, "%s{\"field\":\"/x%d\",\"values\":[0", axis ? "," : "", axis);
    for (int v = 1; v < 70; v++)
      end += sprintf(end, ",%d", v);
    (void)sprintf(end, "]}");
  }
  (void)strcat(text, "]}");
  assert_int_equal(parse(text, &study), -EINVAL); /* 4,900 cells times 3 */
  assert_true(is_told("/seeds"));
}

/* A hash changes with what makes another result, and with nothing else. */
static void hashes_tell_jobs_apart(void **state) {
  (void)state;
  json_t *spec = json_loads(
      "{\"a\":1,\"holdout\":{},\"train\":{\"seed\":1,\"lr\":0.1},\"resources\":{\"threads\":2}}", 0, NULL);
  json_t *same = json_loads("{\"resources\":{\"max_runtime_s\":5,\"threads\":2},\"labels\":{\"x\":\"y\"},"
                            "\"priority\":3,\"holdout\":{},\"train\":{\"lr\":0.1,\"seed\":9},\"a\":1}",
                            0, NULL);
  char one[SHA256_HEX], two[SHA256_HEX];
  assert_int_equal(study_hash(spec, 4, NULL, one), 0);
  assert_int_equal(study_hash(same, 4, NULL, two), 0);
  assert_string_equal(one, two);
  assert_int_equal(study_hash(spec, 5, NULL, two), 0);
  assert_string_not_equal(one, two);
  json_t *models = json_pack("{s:s}", "/mask/reference", one); /* of another cell, by its hash */
  assert_int_equal(study_hash(spec, 5, models, one), 0);
  assert_string_not_equal(one, two);
  json_decref(models);
  models = json_object();
  assert_int_equal(study_hash(spec, 5, models, one), 0);
  assert_string_equal(one, two);
  json_decref(models);
  assert_int_equal(pointer_set(spec, "/train/lr", json_real(0.2)), 0);
  assert_int_equal(study_hash(spec, 4, NULL, two), 0);
  assert_string_not_equal(one, two);
  json_decref(spec);
  json_decref(same);
}

/* All four, and nothing that only looks like one. */
static void data_sets_are_found(void **state) {
  (void)state;
  json_t *spec =
      json_loads("{\"dataset\":\"a\",\"holdout\":{\"pairs\":{\"dataset\":\"b\",\"name\":\"view2\"}},"
                 "\"mask\":{\"public_dataset\":\"c\"},\"audit\":{\"public_dataset\":\"d\",\"teacher\":null},"
                 "\"labels\":{\"dataset\":\"e\"}}",
                 0, NULL);
  json_t *expected = json_pack("{s:s,s:s,s:s,s:s}", "/dataset", "a", "/holdout/pairs/dataset", "b",
                               "/mask/public_dataset", "c", "/audit/public_dataset", "d");
  json_t *datasets = study_datasets(spec);
  assert_true(json_equal(datasets, expected));
  json_decref(datasets);
  assert_int_equal(pointer_set(spec, "/mask/public_dataset", json_null()), 0);
  assert_int_equal(pointer_set(spec, "/audit/public_dataset", json_null()), 0);
  datasets = study_datasets(spec);
  assert_int_equal(json_object_size(datasets), 2);
  json_decref(datasets);
  json_decref(expected);
  json_decref(spec);
}

/* {"cell": "none"} stands for the id of that cell's model, wherever it stands. */
static void cells_take_models_of_other_cells(void **state) {
  (void)state;
  struct study study;
  assert_int_equal(
      parse("{\"name\":\"s\",\"base\":{\"audit\":{\"teacher\":{\"cell\":\"t\"}}},\"seeds\":[7],\"cells\":["
            "{\"name\":\"a\",\"set\":{\"/mask/reference\":{\"cell\":\"none\"}}},"
            "{\"name\":\"none\",\"set\":{\"/mask/method\":\"none\"}},"
            "{\"name\":\"t\",\"set\":{\"/audit/teacher\":null}},"
            "{\"name\":\"d\",\"set\":{\"/defences\":[{\"method\":\"tl_dmi\",\"model\":{\"cell\":\"t\"}}]}}]}",
            &study),
      0);
  static const uint32_t order[] = {2, 1, 0, 3};
  for (uint32_t c = 0; c < study.cells; c++)
    assert_int_equal(study.order[c], order[c]);
  assert_int_equal(json_object_size(study.cell[2].models), 0);
  assert_string_equal(json_string_value(json_object_get(study.cell[0].models, "/mask/reference")), "none");
  assert_string_equal(json_string_value(json_object_get(study.cell[3].models, "/defences/0/model")), "t");
  json_t *ids = json_pack("{s:s,s:s}", "none", "mdl_n", "t", "mdl_t");
  json_t *job = study_job(&study, 0, 0, "hash", ids);
  assert_string_equal(text_at(job, "/mask/reference"), "mdl_n");
  assert_string_equal(text_at(job, "/audit/teacher"), "mdl_t");
  json_decref(job);
  job = study_job(&study, 0, 0, "hash", NULL); /* before there are models */
  assert_null(pointer_get(job, "/mask/reference"));
  assert_null(pointer_get(job, "/audit/teacher"));
  json_decref(job);
  job = study_job(&study, 3, 0, "hash", ids);
  assert_string_equal(
      json_string_value(json_object_get(json_array_get(json_object_get(job, "defences"), 0), "model")),
      "mdl_t");
  json_decref(job);
  json_decref(ids);
  study_free(&study);
}

static bool is_detailed(const char *part) {
  const json_t *problem;
  size_t i;
  json_array_foreach(problems, i, problem) {
    if (strstr(json_string_value(json_object_get(problem, "detail")), part))
      return true;
  }
  return false;
}

static void circles_and_unknown_cells_are_told(void **state) {
  (void)state;
  struct study study;
  static const char cells[] =
      "{\"name\":\"s\",\"base\":{\"mask\":{\"embedder\":%s}},\"seeds\":[1],\"cells\":["
      "{\"name\":\"a\",\"set\":{\"/mask/reference\":{\"cell\":\"b\"}}},"
      "{\"name\":\"b\",\"set\":{\"/mask/reference\":{\"cell\":\"%s\"}}},{\"name\":\"c\"}]}";
  char text[sizeof(cells) + 64];
  (void)snprintf(text, sizeof(text), cells, "null", "c");
  assert_int_equal(parse(text, &study), 0);
  study_free(&study);
  (void)snprintf(text, sizeof(text), cells, "null", "a");
  assert_int_equal(parse(text, &study), -EINVAL);
  assert_true(is_detailed("the cell 'b' takes the model of 'a', which in the end waits for it"));
  (void)snprintf(text, sizeof(text), cells, "{\"cell\":\"c\"}", "c"); /* of the base, so c its own */
  assert_int_equal(parse(text, &study), -EINVAL);
  assert_true(is_detailed("the cell 'c' takes the model of 'c'"));
  (void)snprintf(text, sizeof(text), cells, "null", "d");
  assert_int_equal(parse(text, &study), -EINVAL);
  assert_true(is_detailed("of 'd', and the study has no such cell"));
}

static void pointers_follow_rfc_6901(void **state) {
  (void)state;
  json_t *root = json_pack("{s:{s:i},s:i}", "a/b", "c~d", 1, "x", 2);
  assert_int_equal(json_integer_value(pointer_get(root, "/a~1b/c~0d")), 1);
  assert_null(pointer_get(root, "/x/y"));
  assert_null(pointer_get(root, "x"));
  char *longer = pointer_append("/a", "b/c~d");
  assert_string_equal(longer, "/a/b~1c~0d");
  free(longer);
  assert_int_equal(pointer_set(root, "/a~1b/new/deep", json_integer(7)), 0);
  assert_int_equal(json_integer_value(pointer_get(root, "/a~1b/new/deep")), 7);
  assert_int_equal(pointer_set(root, "/x/y", json_integer(1)), -EINVAL);
  assert_int_equal(pointer_set(root, "x", json_integer(1)), -EINVAL);
  json_decref(root);
}

static void studies_of_the_benchmarks_are_right(void **state) {
  (void)state;
  static const struct {
    const char *file;
    uint32_t cells, seeds;
  } files[] = {{"masks200.json", 22, 3}, {"drop-low.json", 12, 3},    {"ablations200.json", 21, 3},
               {"full757.json", 2, 3},   {"frontier200.json", 19, 1}, {"upsampled64.json", 7, 1},
               {"levels200.json", 5, 1}, {"mixing200.json", 19, 1},   {"hardening200.json", 9, 1},
               {"store757.json", 22, 3}, {"inversion200.json", 7, 1}};
  for (size_t i = 0; i < ARRAY_SIZE(files); i++) {
    char path[512];
    json_t *document = NULL;
    struct study study;
    struct guise_error err = {0};
    (void)snprintf(path, sizeof(path), GUISE_GOLDEN "/../bench/studies/%s", files[i].file);
    if (document_load(path, &document, &err) < 0)
      fail_msg("%s", err.text);
    json_decref(problems);
    problems = json_array();
    assert_int_equal(study_parse(document, &study, problems), 0);
    assert_int_equal(study.cells, files[i].cells);
    assert_int_equal(study.seeds, files[i].seeds);
    study_free(&study);
    json_decref(document);
  }
}

static int done(void **state) {
  (void)state;
  json_decref(problems);
  return 0;
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(axes_multiply_cells),
      cmocka_unit_test(axes_alone_name_cells),
      cmocka_unit_test(all_mistakes_are_told),
      cmocka_unit_test(too_many_jobs_are_refused),
      cmocka_unit_test(hashes_tell_jobs_apart),
      cmocka_unit_test(data_sets_are_found),
      cmocka_unit_test(cells_take_models_of_other_cells),
      cmocka_unit_test(circles_and_unknown_cells_are_told),
      cmocka_unit_test(pointers_follow_rfc_6901),
      cmocka_unit_test(studies_of_the_benchmarks_are_right),
  };
  return cmocka_run_group_tests(tests, NULL, done);
}
