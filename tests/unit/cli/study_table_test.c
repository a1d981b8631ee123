/* The table of a study: whose interval stands beside a figure, and by which versions the figures were made.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "cli/study.h"
#include "cli/study_data.h"

static char root[64];

static int setup(void **state) {
  (void)state;
  (void)snprintf(root, sizeof(root), "/tmp/guise-table-XXXXXX");
  assert_non_null(mkdtemp(root));
  return 0;
}

static int teardown(void **state) {
  (void)state;
  return directory_remove(root);
}

static void write_plan(void) {
  char path[256];
  struct guise_error err = {0};
  static const char plan[] =
      "{\"format\":\"" STUDY_FORMAT "\",\"name\":\"table\",\"seeds\":[1,2],\"cells\":["
      "{\"name\":\"one\",\"hashes\":[\"h\",\"h\"]},{\"name\":\"two\",\"hashes\":[\"h\",\"h\"]}]}";
  (void)snprintf(path, sizeof(path), "%s/%s", root, STUDY_PLAN);
  assert_int_equal(file_write_atomic(path, plan, strlen(plan), &err), 0);
}

/* A job whose attack got `ssim`, .1 more or less over the people attacked. NULL: not told. */
static void add_taught_job(json_t *rows, const char *cell, const char *seed, double ssim, const char *version,
                           const char *teacher) {
  char id[64];
  struct guise_error err = {0};
  (void)snprintf(id, sizeof(id), "job_%s_%s", cell, seed);
  json_t *job = json_pack("{s:s, s:s, s:{s:s, s:s, s:s}}", "id", id, "state", "succeeded", "labels", "cell",
                          cell, "seed", seed, "study_hash", "h");
  json_t *report =
      json_pack("{s:s*, s:[{s:s, s:s*}, {s:s, s:s}], s:[{s:{s:f}}], s:[{s:s, s:[{s:s, s:s, s:[{s:s, s:{s:f, "
                "s:f, s:f}}]}]}]}",
                "guise_version", version, "audits", "job", id, "teacher_sha256", teacher, "job", "job_later",
                "teacher_sha256", "00", "utility", "accuracy", "mean", .75, "attacks", "attack", "linear",
                "surfaces", "surface", "I", "decided_by", "ssim", "metrics", "name", "ssim", "value", "mean",
                ssim, "low", ssim - .1, "high", ssim + .1);
  assert_non_null(report);
  (void)json_object_set_new(report, "mask", json_pack("{s:{s:f}}", "mixing", "unmixed", .25));
  json_t *row = results_row(job, report, NULL);
  assert_true(json_number_value(json_object_get(json_object_get(row, "mixing"), "unmixed")) == .25);
  json_decref(row);
  if (results_append(root, rows, results_row(job, report, NULL), &err) < 0)
    fail_msg("%s", err.text);
  json_decref(job);
  json_decref(report);
}

static void add_job(json_t *rows, const char *cell, const char *seed, double ssim, const char *version) {
  add_taught_job(rows, cell, seed, ssim, version, NULL);
}

/* table.md, or the file that is named; free it. */
static char *report(const char *name) {
  struct study_data data;
  struct guise_error err = {0};
  char path[256], *text = NULL;
  size_t size = 0;
  if (study_data_load(root, &data, &err) < 0 || study_table_write(&data, UINT32_MAX, NULL, &err) < 0)
    fail_msg("%s", err.text);
  study_data_free(&data);
  (void)snprintf(path, sizeof(path), "%s/%s", root, name);
  assert_int_equal(file_read(path, 1 << 20, &text, &size, &err), 0);
  return text;
}

static void expect(const char *text, const char *part) {
  if (!strstr(text, part))
    fail_msg("no \"%s\" in\n%s", part, text);
}

/* Over people where there is one seed, and said to be so; over seeds where there are two. */
static void a_single_seed_has_its_own_interval(void **state) {
  (void)state;
  json_t *rows = json_array();
  write_plan();
  add_job(rows, "one", "2", .5, "1.0.0");
  add_job(rows, "two", "1", .3, "1.0.0");
  add_job(rows, "two", "2", .3, "1.0.0");
  json_decref(rows);
  _cleanup_(freep) char *page = report("table.md"), *csv = report("table.csv");
  expect(page, "| one | 1 | 75.0 [-] | 0.5 [people: 0.4, 0.6] |");
  expect(page, "| two | 2 | 75.0 [75.0, 75.0] | 0.3 [0.3, 0.3] |");
  expect(page, "[people: low, high] is then the job's own 95 % interval");
  expect(csv, "\"one\",linear/I/ssim,1,0.5,,,,0,,,,,,,0.4,0.6\n");
  expect(csv, "\"two\",linear/I/ssim,2,0.3,0.3,0.3,,0,,,,,,,,\n");
}

static void versions_that_differ_are_told(void **state) {
  (void)state;
  json_t *rows = json_array();
  write_plan();
  add_job(rows, "one", "1", .5, "1.0.0");
  add_job(rows, "one", "2", .5, NULL); /* a line of before versions were kept */
  add_job(rows, "two", "1", .5, "1.0.0");
  _cleanup_(freep) char *same = report("table.md");
  assert_null(strstr(same, "versions"));
  add_job(rows, "two", "2", .5, "1.1.0");
  json_decref(rows);
  _cleanup_(freep) char *page = report("table.md");
  expect(page, "Run by different versions of guised, compare with care: 1.0.0 (2 jobs), unknown (1 job), "
               "1.1.0 (1 job).");
}

static void teachers_that_differ_are_told(void **state) {
  (void)state;
  json_t *rows = json_array();
  write_plan();
  add_taught_job(rows, "one", "1", .5, "1.0.0", "0123456789abcdef");
  add_taught_job(rows, "one", "2", .5, "1.0.0", NULL);
  add_taught_job(rows, "two", "1", .5, "1.0.0", "0123456789abcdef");
  _cleanup_(freep) char *same = report("table.md");
  assert_null(strstr(same, "different networks"));
  add_taught_job(rows, "two", "2", .5, "1.0.0", "fedcba9876543210");
  json_decref(rows);
  _cleanup_(freep) char *page = report("table.md");
  expect(page, "In these jobs attackers learnt from different networks");
  expect(page, "with care: 01234567 (2 jobs), unknown (1 job), fedcba98 (1 job).");
  assert_null(strstr(page, "versions of guised"));
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(a_single_seed_has_its_own_interval, setup, teardown),
      cmocka_unit_test_setup_teardown(versions_that_differ_are_told, setup, teardown),
      cmocka_unit_test_setup_teardown(teachers_that_differ_are_told, setup, teardown)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
