/* A study through the real client and daemon: refused as a whole when a cell is wrong, killed in the middle
 * and gone on with, the daemon restarted meanwhile, nothing run twice; then the report, also with the daemon
 * gone. The tests build on each other in the order of main(). */
#include <jansson.h>
#include <math.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/integration/support/server.h"
#include "tests/integration/support/shell.h"

static struct server server;

static const char study[] =
    "{\"name\":\"tiny\",\"base\":{\"dataset\":\"faces\",\"holdout\":{\"identities\":0.5},"
    "\"model\":{\"input\":32,\"embedding\":32,\"width\":0.25},\"train\":{\"epochs\":1,\"batch\":2},"
    "\"resources\":{\"threads\":1},\"audit\":{\"effort\":\"quick\",\"attacks\":[\"linear\"]},\"labels\":{"
    "\"synthetic\":\"true\"}},"
    "\"seeds\":[1,2],\"cells\":[{\"name\":\"none\",\"set\":{\"/mask/method\":\"none\"}},"
    "{\"name\":\"a|b\",\"set\":{\"/mask/method\":\"%s\",\"/mask/policy\":\"uniform\"}}]}";

static void write_study(const char *name, const char *method) {
  char path[256];
  (void)snprintf(path, sizeof(path), "%s/%s", server.root, name);
  FILE *file = fopen(path, "we");
  assert_non_null(file);
  (void)fprintf(file, study, method); /* NOLINT: a constant above */
  assert_int_equal(fclose(file), 0);
}

static int start(void **state) {
  (void)state;
  server_prepare(&server);
  server_start(&server);
  shell_start(&server);
  upload_faces(&server, "faces", 6, 4);
  return 0;
}

static int stop(void **state) {
  (void)state;
  server_clean(&server);
  return 0;
}

static size_t jobs(void) {
  struct reply reply;
  expect(&server, "GET", "/v1/jobs", NULL, 200, &reply);
  size_t count = json_array_size(json_object_get(reply.json, "data"));
  reply_done(&reply);
  return count;
}

static void mistakes_start_nothing(void **state) {
  (void)state;
  write_study("wrong.json", "nonsense");
  struct output *output = shell(1, "\"$G\" study run \"$D/wrong.json\" -o \"$D/wrong\"");
  expect_text(output->err, "/mask/method: method \"nonsense\" is not known");
  expect_text(output->err, "(cell a|b)");
  assert_int_equal(jobs(), 0);
  output = shell(2, "echo '{\"name\":\"x\",\"base\":{},\"cells\":[]}' >\"$D/bad.json\"; "
                    "\"$G\" study run \"$D/bad.json\" -o \"$D/wrong\"");
  expect_text(output->err, "/seeds: ");
  expect_text(output->err, "/cells: ");
  expect_text(shell(2, "\"$G\" study run \"$D/wrong.json\"")->err, "-o DIR");
}

/* The client stands still once the first job has its row, and is killed; then the daemon goes down and comes
 * back, on another port. */
static void goes_on_after_a_kill(void **state) {
  (void)state;
  char results[128], file[128], folder[128];
  write_study("study.json", "ahm");
  (void)snprintf(results, sizeof(results), "%s/study/results.jsonl", server.root);
  (void)snprintf(file, sizeof(file), "%s/study.json", server.root);
  (void)snprintf(folder, sizeof(folder), "%s/study", server.root);
  pid_t pid = fork();
  if (pid == 0) {
    (void)execl(GUISE_BUILD "/guise", "guise", "study", "run", file, "-o", folder, (char *)NULL);
    _exit(127);
  }
  for (int i = 0; i < 6000 && access(results, F_OK) != 0; i++)
    (void)usleep(5000);
  assert_int_equal(kill(pid, SIGSTOP), 0);
  assert_int_equal(access(results, F_OK), 0);
  expect_text(shell(1, "\"$G\" study run \"$D/study.json\" -o \"$D/study\"")->err, "is in use");
  assert_int_equal(kill(pid, SIGKILL), 0);
  assert_int_equal(waitpid(pid, NULL, 0), pid);
  assert_in_range(jobs(), 1, 3); /* one ended, up to two begun since */
  assert_int_equal(server_stop(&server), 0);
  server_start(&server);
  shell_start(&server);
  struct output *output = shell(0, "\"$G\" study run \"$D/study.json\" -o \"$D/study\"");
  expect_text(output->out, "2 of 2");
  assert_int_equal(jobs(), 4);
}

static void nothing_runs_twice(void **state) {
  (void)state;
  (void)shell(
      0,
      "cp \"$D/study/results.jsonl\" \"$D/before\" && \"$G\" study run \"$D/study.json\" -o \"$D/study\" && "
      "cmp \"$D/before\" \"$D/study/results.jsonl\"");
  assert_int_equal(jobs(), 4);
  /* results that were lost are collected again from the daemon */
  (void)shell(0, "rm \"$D/study/results.jsonl\" && \"$G\" study run \"$D/study.json\" -o \"$D/study\"");
  assert_int_equal(jobs(), 4);
  struct output *output = shell(0, "sort \"$D/study/results.jsonl\" | cut -d, -f1 | uniq | wc -l");
  assert_int_equal(strtol(output->out, NULL, 10), 4);
  json_t *row = json_loads(shell(0, "head -n 1 \"$D/study/results.jsonl\"")->out, 0, NULL);
  assert_string_equal(json_string_value(json_object_get(row, "state")), "succeeded");
  assert_true(json_is_number(json_object_get(row, "accuracy")));
  assert_string_equal(json_string_value(json_object_get(row, "version")), GUISE_VERSION);
  assert_true(json_array_size(json_object_get(row, "attacks")) > 0);
  json_decref(row);
}

/* One file a job of how its pairs were decided, which gives the accuracy of the report: rightly decided pairs
 * by fold. */
static void decisions_are_those_of_the_report(void **state) {
  (void)state;
  char command[512];
  assert_string_equal(shell(0, "ls \"$D/study/decisions\" | wc -l")->out, "4\n");
  json_t *row = json_loads(shell(0, "head -n 1 \"$D/study/results.jsonl\"")->out, 0, NULL);
  const double accuracy = json_real_value(json_object_get(row, "accuracy"));
  (void)snprintf(command, sizeof(command), "cat \"$D/study/decisions/%s.json\"",
                 json_string_value(json_object_get(row, "job")));
  json_decref(row);
  json_t *json = json_loads(shell(0, command)->out, 0, NULL);
  const char *digits = json_string_value(json_object_get(json, "right"));
  const json_t *run;
  double sum = 0, right[16] = {0}, pairs[16] = {0};
  size_t i, pair = 0;
  json_array_foreach(json_object_get(json, "runs"), i, run) {
    const json_int_t fold = json_integer_value(json_array_get(run, 0));
    assert_true(fold >= 0 && fold < 10);
    for (json_int_t k = json_integer_value(json_array_get(run, 2)); k > 0; k--, pair++) {
      const char digit[] = {digits[pair / 4], 0};
      right[fold] += (double)(strtoul(digit, NULL, 16) >> (3 - pair % 4) & 1);
      pairs[fold]++;
    }
  }
  assert_int_equal(strlen(digits), (pair + 3) / 4);
  json_decref(json);
  for (int fold = 0; fold < 10; fold++)
    sum += right[fold] / pairs[fold];
  assert_true(fabs(sum / 10 - accuracy) < 2e-6);
}

static void a_changed_cell_runs_anew(void **state) {
  (void)state;
  write_study("changed.json", "mixup");
  (void)shell(0, "sed -i 's/\\[1,2\\]/[1]/' \"$D/changed.json\" && "
                 "\"$G\" study run \"$D/changed.json\" -o \"$D/study\"");
  assert_int_equal(jobs(), 5); /* that of the cell that stayed is not run again */
  expect_text(shell(0, "wc -l <\"$D/study/results.jsonl\"")->out, "5");
  (void)shell(0, "\"$G\" study run \"$D/study.json\" -o \"$D/study\""); /* and back: everything is there */
  assert_int_equal(jobs(), 5);
}

/* A job that was canceled is told as such, left alone the next time, and run again when asked. */
static void tries_again_when_asked(void **state) {
  (void)state;
  static const char cancel[] =
      "J=; while [ -z \"$J\" ]; do sleep .2; J=$(\"$G\" ls --state queued --state running | "
      "sed -n 's/^\\(job_[^ ]*\\).*/\\1/p'); done; \"$G\" cancel $J; wait $P";
  char command[1024];
  (void)shell(
      0, "sed 's/tiny/long/; s/\"epochs\":1,/\"epochs\":1000,/; s/\\[1,2\\]/[3]/; s/,{\"name\":\"a|b.*$/]}/' "
         "\"$D/study.json\" >\"$D/long.json\"");
  (void)snprintf(command, sizeof(command), "\"$G\" study run \"$D/long.json\" -o \"$D/long\" & P=$!; %s",
                 cancel);
  expect_text(shell(1, command)->err, "(cell none, seed 3) canceled");
  assert_int_equal(jobs(), 6);
  (void)shell(1, "\"$G\" study run \"$D/long.json\" -o \"$D/long\"");
  assert_int_equal(jobs(), 6);
  (void)snprintf(command, sizeof(command),
                 "\"$G\" study run --retry \"$D/long.json\" -o \"$D/long\" & P=$!; %s", cancel);
  (void)shell(1, command);
  assert_int_equal(jobs(), 7);
  expect_text(shell(0, "wc -l <\"$D/long/results.jsonl\"")->out, "2");
}

/* What a mask learns from the same public faces is learnt once for all cells of a seed, and goes with the
 * faces, whose content makes another job of the same cell. */
static void cells_share_an_embedder(void **state) {
  (void)state;
  static const char *const said[] = {"embedder: trained;", "embedder: taken over from an earlier job",
                                     "embedder: trained;"};
  static const int cell[] = {1, 2, 2};
  const size_t before = jobs();
  upload_faces(&server, "public", 40, 2);
  for (size_t i = 0; i < sizeof(said) / sizeof(said[0]); i++) {
    char command[700];
    if (i == 2)
      expect(&server, "DELETE", "/v1/datasets/public/identities/person-001", NULL, 200, NULL);
    (void)snprintf(command, sizeof(command),
                   "sed 's/tiny/judged/; s/\\[1,2\\]/[1]/; "
                   "s|\"cells\":.*$|\"cells\":[{\"name\":\"%d\",\"set\":{\"/mask/method\":\"ahm\","
                   "\"/mask/public_dataset\":\"public\",\"/mask/unmixed\":0.%d}}]}|' "
                   "\"$D/study.json\" >\"$D/judged.json\" && "
                   "\"$G\" study run \"$D/judged.json\" -o \"$D/judged-%d\" >&2 && "
                   "\"$G\" log $(sed -n 's/.*\"job\": *\"\\(job_[^\"]*\\)\".*/\\1/p' "
                   "\"$D/judged-%d/results.jsonl\" | tail -n 1)",
                   cell[i], cell[i], cell[i], cell[i]);
    struct output *output = shell(0, command);
    expect_text(output->out, said[i]);
    assert_null(strstr(output->out, said[i == 1 ? 0 : 1]));
  }
  assert_int_equal(jobs(), before + 3);
}

/* Epochs between have no accuracy, at the daemon and in the study, and the line in the plot goes on over
 * them. */
static void seldom_verified(void **state) {
  (void)state;
  (void)shell(0, "sed 's/tiny/seldom/; s/\\[1,2\\]/[1]/; s/\"epochs\":1,/\"epochs\":5,/; "
                 "s/\"identities\":0.5/\"identities\":0.5,\"every\":2/; s/,{\"name\":\"a|b.*$/]}/' "
                 "\"$D/study.json\" >\"$D/seldom.json\" && "
                 "\"$G\" study run \"$D/seldom.json\" -o \"$D/seldom\" && "
                 "\"$G\" study report \"$D/seldom\"");
  json_t *rows = json_loads(shell(0, "cat \"$D\"/seldom/metrics/*.json")->out, 0, NULL), *row;
  unsigned verified = 0, trained = 0;
  size_t i;
  json_array_foreach(rows, i, row) {
    const unsigned epoch = 1u << json_integer_value(json_object_get(row, "epoch"));
    verified |= strcmp(json_string_value(json_object_get(row, "name")), "accuracy") == 0 ? epoch : 0;
    trained |= strcmp(json_string_value(json_object_get(row, "name")), "loss") == 0 ? epoch : 0;
  }
  json_decref(rows);
  assert_int_equal(trained, 0x3e);
  assert_int_equal(verified, 1 << 2 | 1 << 4 | 1 << 5);
  expect_text(shell(0, "grep -c '\"M[0-9. ]*L[0-9. ]*L[0-9. ]*\"' \"$D/seldom/plots/accuracy.svg\"")->out,
              "1");
  expect_text(shell(1, "sed 's/\"every\":2/\"every\":0/' \"$D/seldom.json\" >\"$D/never.json\"; "
                       "\"$G\" study run \"$D/never.json\" -o \"$D/never\"")
                  ->err,
              "/holdout/every");
}

static const char referring[] =
    "{\"name\":\"refer\",\"base\":{\"dataset\":\"faces\",\"holdout\":{\"identities\":0.5},"
    "\"model\":{\"input\":32,\"embedding\":32,\"width\":0.25},\"train\":{\"epochs\":%s,\"batch\":2},"
    "\"resources\":{\"threads\":1},\"audit\":{\"attacks\":[]},\"labels\":{\"synthetic\":\"true\"}},\"seeds\":"
    "[1],"
    "\"cells\":[{\"name\":\"ahm\",\"set\":{\"/mask/reference\":{\"cell\":\"%s\"},\"/mask/"
    "max_accuracy_drop\":%s}},"
    "{\"name\":\"plain\",\"set\":{\"/mask/method\":\"none\"}}]}";

static void write_referring(const char *epochs, const char *cell, const char *drop) {
  char path[256];
  (void)snprintf(path, sizeof(path), "%s/refer.json", server.root);
  FILE *file = fopen(path, "we");
  assert_non_null(file);
  (void)fprintf(file, referring, epochs, cell, drop); /* NOLINT: a constant above */
  assert_int_equal(fclose(file), 0);
}

static struct output *run_referring(int status) {
  return shell(status, "\"$G\" study run \"$D/refer.json\" -o \"$D/refer\"");
}

/* The newest job of the cell: its model or its mask's reference, "" = none. */
static void of_cell(const char *cell, bool reference, char ret_id[64]) {
  struct reply reply;
  char path[128];
  (void)snprintf(path, sizeof(path), "/v1/jobs?sort=-created_at&label=cell%%3A%s", cell);
  expect(&server, "GET", path, NULL, 200, &reply);
  const json_t *job = json_array_get(json_object_get(reply.json, "data"), 0);
  assert_non_null(job);
  (void)snprintf(path, sizeof(path), "/v1/jobs/%s", json_string_value(json_object_get(job, "id")));
  reply_done(&reply);
  expect(&server, "GET", path, NULL, 200, &reply);
  const json_t *mask = json_object_get(json_object_get(reply.json, "spec"), "mask");
  const char *id = json_string_value(reference ? json_object_get(mask, "reference")
                                               : json_object_get(reply.json, "model"));
  (void)snprintf(ret_id, 64, "%s", id ? id : "");
  reply_done(&reply);
}

/* A cell that takes the model of another one waits for it, whatever their order in the file. A model that was
 * deleted since is made again when a job needs it, and has still one line in the results. */
static void a_cell_takes_the_model_of_another(void **state) {
  (void)state;
  const size_t before = jobs();
  char model[64], reference[64], again[64], path[128];
  struct reply reply;
  write_referring("1", "nobody", "0.01");
  expect_text(run_referring(2)->err, "of 'nobody', and the study has no such cell");
  write_referring("1", "ahm", "0.01");
  expect_text(run_referring(2)->err, "which in the end waits for it itself");
  assert_int_equal(jobs(), before);
  write_referring("1", "plain", "0.01");
  expect_text(run_referring(0)->out, "guise study report");
  assert_int_equal(jobs(), before + 2);
  of_cell("plain", false, model);
  of_cell("ahm", true, reference);
  assert_string_equal(reference, model);

  (void)snprintf(path, sizeof(path), "/v1/models/%s", model);
  expect(&server, "DELETE", path, NULL, 200, &reply);
  reply_done(&reply);
  (void)run_referring(0); /* nobody needs it */
  assert_int_equal(jobs(), before + 2);
  write_referring("1", "plain", "0.02");
  (void)run_referring(0);
  assert_int_equal(jobs(), before + 4);
  of_cell("plain", false, again);
  of_cell("ahm", true, reference);
  assert_string_not_equal(again, model);
  assert_string_equal(reference, again);
  expect_text(shell(0, "grep -c '\"cell\":\"plain\"' \"$D/refer/results.jsonl\"; "
                       "wc -l <\"$D/refer/results.jsonl\"")
                  ->out,
              "1\n3");
  write_referring("1", "plain", "0.03"); /* the model made again is found */
  (void)run_referring(0);
  assert_int_equal(jobs(), before + 5);
  of_cell("ahm", true, reference);
  assert_string_equal(reference, again);
  write_referring("1", "plain", "0.01"); /* another id of the same model makes no other job */
  (void)run_referring(0);
  assert_int_equal(jobs(), before + 5);
}

/* What fails is not waited for, and what only the daemon can tell once there is a model concerns one job. */
static void a_model_that_does_not_come_is_told(void **state) {
  (void)state;
  const size_t before = jobs();
  write_referring("1000", "plain", "0.01");
  struct output *output = shell(
      1, "\"$G\" study run \"$D/refer.json\" -o \"$D/refer\" & P=$!; J=; while [ -z \"$J\" ]; do sleep .2; "
         "J=$(\"$G\" ls --state queued --state running | sed -n 's/^\\(job_[^ ]*\\).*/\\1/p'); done; "
         "\"$G\" cancel $J; wait $P");
  expect_text(output->err, "(cell plain, seed 1) canceled");
  expect_text(output->err, "the job of cell ahm, seed 1 was not run: it takes the model of the cell plain");
  assert_int_equal(jobs(), before + 1);
  (void)shell(0, "sed -i 's/\"epochs\":1000/\"epochs\":1/; s/max_accuracy_drop\":0.01/policy\":\"uniform\"/' "
                 "\"$D/refer.json\"");
  output = run_referring(1);
  expect_text(output->err, "the daemon refused the job of cell ahm, seed 1");
  expect_text(output->err, "reference belongs to the policy");
  expect_text(output->err, "the job of cell ahm, seed 1 was refused by the daemon");
}

static void reports_without_the_daemon(void **state) {
  (void)state;
  server_kill(&server);
  struct output *output =
      shell(0, "\"$G\" study report \"$D/study\" --baseline none && cat \"$D/study/table.md\"");
  expect_text(output->out, "| none | 2 |");
  expect_text(output->out, "| a\\|b | 2 |");
  expect_text(output->out, "## Differences to none");
  expect_text(output->out, "interval over pairs and seeds");
  expect_text(output->out, "Not counted: 1 lines of results.jsonl");
  expect_text(output->out, "![strategy-02-a-b.svg](plots/strategy-02-a-b.svg)");
  output = shell(
      0,
      "grep -c ',accuracy,2,' \"$D/study/table.csv\"; grep -c '^\"a|b\",linear/T/' \"$D/study/table.csv\"; "
      "cd \"$D/study/plots\" && ls && grep -L '</svg>' *.svg");
  expect_text(output->out, "2\n4\naccuracy.svg\nfrontier-linear-i-ssim.svg\n");
  (void)shell(0, "! command -v xmllint || xmllint --noout \"$D\"/study/plots/*.svg");
  output = shell(2, "\"$G\" study report \"$D/study\" --baseline nobody");
  expect_text(output->err, "  a|b");
  assert_null(strstr(output->err, "versions"));
  output = shell(0, "sed -i '1s/\"version\":\"[^\"]*\"/\"version\":\"0.0.1\"/' \"$D/study/results.jsonl\" && "
                    "\"$G\" study report \"$D/study\"");
  expect_text(output->err, "run by different versions of guised, compare with care: 0.0.1 (1 job)");
  /* metrics that are gone cost the plots over epochs, not the table */
  output = shell(0, "rm -r \"$D/study/metrics\" && \"$G\" study report \"$D/study\"");
  expect_text(output->err, "the metrics of 4 jobs");
  expect_text(shell(0, "cat \"$D/study/table.md\"")->out, "| none | 2 |");
  (void)shell(1, "test -e \"$D/study/plots/accuracy.svg\"");
  (void)shell(1, "\"$G\" study report \"$D\"");
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(mistakes_start_nothing),
      cmocka_unit_test(goes_on_after_a_kill),
      cmocka_unit_test(nothing_runs_twice),
      cmocka_unit_test(decisions_are_those_of_the_report),
      cmocka_unit_test(a_changed_cell_runs_anew),
      cmocka_unit_test(tries_again_when_asked),
      cmocka_unit_test(cells_share_an_embedder),
      cmocka_unit_test(seldom_verified),
      cmocka_unit_test(a_cell_takes_the_model_of_another),
      cmocka_unit_test(a_model_that_does_not_come_is_told),
      cmocka_unit_test(reports_without_the_daemon),
  };
  return cmocka_run_group_tests(tests, start, stop);
}
