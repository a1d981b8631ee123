/* What a study's report draws of a strategy: each metric that jobs record has its panel, captioned as what it
 * is, and its line in results.jsonl. */
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

static char root[] = "/tmp/guise-plots-XXXXXX";

static void write_json(const char *name, const json_t *json) {
  char path[256];
  struct guise_error err = {0};
  char *text = json_dumps(json, JSON_COMPACT);
  assert_non_null(text);
  (void)snprintf(path, sizeof(path), "%s/%s", root, name);
  if (file_write_atomic(path, text, strlen(text), &err) < 0)
    fail_msg("%s", err.text);
  free(text);
}

/* Two epochs of a learned policy's metrics, by the names that jobs give them; leak: its name. */
static json_t *metrics_of_a_job(const char *leak) {
  const struct {
    const char *name;
    double value[2];
  } rows[] = {{"accuracy", {.6, .7}},         {"strategy.pi_2", {.5, .75}},
              {"strategy.pi_6", {.5, .25}},   {"strategy.reward", {.1, .2}},
              {"strategy.entropy", {.7, .6}}, {"strategy.mu", {0, .125}},
              {"strategy.tau", {.25, .25}},   {leak, {.3, .1875}},
              {"strategy.cost", {.1, .2}}};
  json_t *metrics = json_array();
  for (int epoch = 0; epoch < 2; epoch++)
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
      assert_int_equal(
          json_array_append_new(metrics, json_pack("{s:s, s:i, s:f}", "name", rows[i].name, "epoch",
                                                   epoch + 1, "value", rows[i].value[epoch])),
          0);
  return metrics;
}

static void add_job(json_t *rows, const char *id, const char *cell, const char *leak) {
  char name[64];
  struct guise_error err = {0};
  json_t *metrics = metrics_of_a_job(leak), *report = json_object();
  json_t *job = json_pack("{s:s, s:s, s:{s:s, s:s, s:s}}", "id", id, "state", "succeeded", "labels", "cell",
                          cell, "seed", "1", "study_hash", "h");
  (void)snprintf(name, sizeof(name), "metrics/%s.json", id);
  write_json(name, metrics);
  if (results_append(root, rows, results_row(job, report, metrics), &err) < 0)
    fail_msg("%s", err.text);
  json_decref(metrics);
  json_decref(report);
  json_decref(job);
}

static int setup(void **state) {
  (void)state;
  char path[256];
  assert_non_null(mkdtemp(root));
  (void)snprintf(path, sizeof(path), "%s/metrics", root);
  assert_int_equal(directory_make(path, NULL), 0);
  json_t *plan =
      json_pack("{s:s, s:s, s:[i], s:[{s:s, s:[s]}, {s:s, s:[s]}]}", "format", STUDY_FORMAT, "name", "plots",
                "seeds", 1, "cells", "name", "learned", "hashes", "h", "name", "earlier", "hashes", "h");
  write_json(STUDY_PLAN, plan);
  json_decref(plan);
  json_t *rows = json_array();
  add_job(rows, "job_1", "learned", "leak");
  add_job(rows, "job_2", "earlier", "strategy.leak"); /* of jobs of earlier versions */
  json_decref(rows);
  return 0;
}

static int teardown(void **state) {
  (void)state;
  return directory_remove(root);
}

/* The whole title, and nothing behind it. */
static void expect_title(const char *svg, const char *title) {
  char text[160];
  (void)snprintf(text, sizeof(text), " class=\"title\">%s</text>", title);
  if (!strstr(svg, text))
    fail_msg("no panel \"%s\"", title);
}

static void every_metric_has_its_panel(void **state) {
  (void)state;
  static const char *const captions[] = {"Reward",
                                         "Leak of the mixes that the policy was updated from",
                                         "What mixing costs: mean dilution of the mixes",
                                         "Bound on that cost (tau)",
                                         "Price of that cost in the reward (mu)",
                                         "Entropy of pi, nats",
                                         "Mean probability of each k (pi) in the last epoch, over seeds"};
  struct study_data data;
  struct guise_error err = {0};
  json_t *names = json_array();
  char path[256];
  size_t size = 0;
  if (study_data_load(root, &data, &err) < 0 || study_plots_write(&data, names, &err) < 0)
    fail_msg("%s", err.text);
  for (int cell = 0; cell < 2; cell++) {
    _cleanup_(freep) char *svg = NULL;
    (void)snprintf(path, sizeof(path), "%s/plots/strategy-0%d-%s.svg", root, cell + 1,
                   cell == 0 ? "learned" : "earlier");
    assert_int_equal(file_read(path, 1 << 20, &svg, &size, &err), 0);
    expect_title(svg, cell == 0 ? "learned: share of each k" : "earlier: share of each k");
    for (size_t i = 0; i < ARRAY_SIZE(captions); i++)
      expect_title(svg, captions[i]);
  }
  json_decref(names);
  study_data_free(&data);
}

static void the_last_values_stand_in_the_results(void **state) {
  (void)state;
  json_t *rows = NULL;
  assert_int_equal(results_load(root, &rows, NULL), 0);
  const json_t *strategy = json_object_get(json_array_get(rows, 0), "strategy");
  assert_true(json_number_value(json_object_get(strategy, "leak")) == .1875);
  assert_true(json_number_value(json_object_get(strategy, "strategy.mu")) == .125);
  assert_null(json_object_get(strategy, "accuracy"));
  json_decref(rows);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(every_metric_has_its_panel),
                                     cmocka_unit_test(the_last_values_stand_in_the_results)};
  return cmocka_run_group_tests(tests, setup, teardown);
}
