/* Whole jobs on small synthetic faces: files and metrics at the end, suspend and resume to the bit, cancel,
 * clear errors. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/base/file.h"
#include "core/image/ingest.h"
#include "core/image/tar_write.h"
#include "core/train/job.h"

static char root[] = "/tmp/guise-job-XXXXXX";
static char pack_path[256];

/* What the daemon would keep: the rows of committed checkpoints and the last checkpoint. */
struct record {
  struct metric_row rows[512];
  uint32_t count, checkpoints;
  char checkpoint[4096];
  uint64_t steps_asked, stop_after; /* stop at the n-th question; 0 = never */
  enum job_stop stop;
};

static void on_phase(void *context, const char *phase) {
  (void)context;
  assert_non_null(phase);
}
static void on_progress(void *context, const struct job_progress *progress) {
  (void)context;
  assert_true(progress->fraction >= 0 && progress->fraction <= 1);
}
static void on_log(void *context, const char *level, const char *text) {
  (void)context;
  assert_true(*level && *text);
}
static int on_checkpoint(void *context, const char *path, uint32_t epochs_done, uint64_t step,
                         const struct metric_row *rows, uint32_t count) {
  struct record *record = context;
  (void)epochs_done;
  (void)step;
  assert_true(record->count + count <= 512);
  assert_int_equal(access(path, R_OK), 0);
  memcpy(record->rows + record->count, rows, count * sizeof(*rows));
  record->count += count;
  record->checkpoints++;
  (void)snprintf(record->checkpoint, sizeof(record->checkpoint), "%s", path);
  return 0;
}
static enum job_stop on_should_stop(void *context) {
  struct record *record = context;
  return record->stop_after && ++record->steps_asked >= record->stop_after ? record->stop : JOB_CONTINUE;
}

static int run(const char *body, const char *name, const char *resume, struct record *record,
               struct job_outcome *outcome, struct guise_error *err) {
  static char work[300], output[300];
  struct job_spec spec;
  struct spec_problems problems = {0};
  json_t *json = json_loads(body, JSON_REJECT_DUPLICATES, NULL);
  assert_non_null(json);
  assert_int_equal(job_spec_parse(json, &spec, &problems), 0);
  json_decref(json);
  (void)snprintf(work, sizeof(work), "%s/work-%s", root, name);
  (void)snprintf(output, sizeof(output), "%s/out-%s", root, name);
  assert_int_equal(directory_make(work, NULL), 0);
  assert_int_equal(directory_make(output, NULL), 0);
  struct job_inputs inputs = {.job_id = "job_test",
                              .dataset_pack = pack_path,
                              .dataset_name = "synthetic",
                              .dataset_sha256 = "0",
                              .work_directory = work,
                              .resume = resume,
                              .output_directory = output,
                              .threads = 1};
  struct job_callbacks callbacks = {record, on_phase, on_progress, on_log, on_checkpoint, on_should_stop};
  int r = job_run(&spec, &inputs, &callbacks, outcome, err);
  job_spec_free(&spec);
  return r;
}

static int setup(void **state) {
  (void)state;
  char tar[256];
  struct guise_error err = {0};
  struct ingest_result result;
  assert_non_null(mkdtemp(root));
  (void)snprintf(tar, sizeof(tar), "%s/faces.tar", root);
  (void)snprintf(pack_path, sizeof(pack_path), "%s/pack", root);
  int fd = open(tar, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
  assert_true(fd >= 0);
  assert_int_equal(synth_write_tar(fd, 1, 10, 6, 32, &err), 0);
  (void)close(fd);
  int r = ingest_archive(tar, pack_path, 32, GUISE_BUILD "/guise-decode", 1, NULL, NULL, &result, &err);
  if (r < 0)
    fail_msg("%s", err.text);
  assert_int_equal(result.images, 60);
  return 0;
}

static int teardown(void **state) {
  (void)state;
  return directory_remove(root);
}

/* Exactly one row for each (name, epoch), epochs 1..epochs. */
static double epoch_value(const struct record *record, const char *name, uint32_t epoch) {
  double value = NAN;
  int found = 0;
  for (uint32_t i = 0; i < record->count; i++) {
    const struct metric_row *row = &record->rows[i];
    if (row->per_epoch && row->epoch == epoch && strcmp(row->name, name) == 0) {
      value = row->value;
      found++;
    }
  }
  if (found != 1)
    fail_msg("%d rows of %s for epoch %u", found, name, epoch);
  return value;
}

static void output_hash(const char *name, const char *file, char ret_hex[SHA256_HEX]) {
  char path[512];
  (void)snprintf(path, sizeof(path), "%s/out-%s/%s", root, name, file);
  assert_int_equal(sha256_file(path, ret_hex, NULL), 0);
}

/* The files for other runtimes stand in the report with their hashes. */
static void report_lists_onnx(const char *name) {
  char path[512], hex[SHA256_HEX];
  (void)snprintf(path, sizeof(path), "%s/out-%s/report.json", root, name);
  json_t *report = json_load_file(path, 0, NULL), *file;
  json_t *files = json_object_get(json_object_get(report, "model"), "onnx");
  size_t i;
  assert_int_equal(json_array_size(files), 2);
  json_array_foreach(files, i, file) {
    output_hash(name, json_string_value(json_object_get(file, "name")), hex);
    assert_string_equal(json_string_value(json_object_get(file, "sha256")), hex);
    assert_string_equal(json_string_value(json_object_get(file, "start")), i == 0 ? "image" : "template");
  }
  json_decref(report);
}

#define SMALL "\"model\":{\"input\":32,\"width\":0.5,\"embedding\":32},\"audit\":{\"effort\":\"quick\"}"

static void an_undefended_job_learns(void **state) {
  (void)state;
  struct record record = {.count = 0};
  struct job_outcome outcome = {NULL};
  struct guise_error err = {0};
  int r = run("{\"type\":\"train\",\"dataset\":\"a\",\"mask\":{\"method\":\"none\"}," SMALL
              ",\"train\":{\"epochs\":8,\"batch\":8}}",
              "none", NULL, &record, &outcome, &err);
  if (r < 0)
    fail_msg("%s", err.text);
  for (uint32_t epoch = 1; epoch <= 8; epoch++) {
    assert_true(epoch_value(&record, "loss", epoch) > 0);
    assert_true(epoch_value(&record, "lr", epoch) > 0);
    assert_true(epoch_value(&record, "images_per_s", epoch) > 0);
    double accuracy = epoch_value(&record, "accuracy", epoch);
    assert_true(accuracy >= 0.4 && accuracy <= 1);
  }
  assert_true(epoch_value(&record, "loss", 8) < epoch_value(&record, "loss", 2));
  static const char *const files[] = {"model.safetensors", "model.onnx", "model-template.onnx", "report.json",
                                      "report.html",       "card.md",    "scores.csv"};
  for (size_t i = 0; i < ARRAY_SIZE(files); i++) {
    char hex[SHA256_HEX];
    output_hash("none", files[i], hex);
  }
  assert_true(json_is_number(json_object_get(outcome.summary, "accuracy")));
  report_lists_onnx("none");
  json_decref(outcome.summary);
}

#define AHM                                                                                        \
  "{\"type\":\"train\",\"dataset\":\"a\",\"mask\":{\"method\":\"ahm\",\"policy\":\"%s\"%s}," SMALL \
  ",\"train\":{\"epochs\":4,\"batch\":8,\"shift\":2}}"

static void compare(const struct record *a, const struct record *b) {
  assert_int_equal(a->count, b->count);
  for (uint32_t i = 0; i < a->count; i++) {
    assert_string_equal(a->rows[i].name, b->rows[i].name);
    assert_int_equal(a->rows[i].epoch, b->rows[i].epoch);
    assert_int_equal(a->rows[i].step, b->rows[i].step);
    if (strcmp(a->rows[i].name, "images_per_s") != 0 && a->rows[i].value != b->rows[i].value)
      fail_msg("%s of epoch %u: %.17g and %.17g", a->rows[i].name, a->rows[i].epoch, a->rows[i].value,
               b->rows[i].value);
  }
}

static void suspended_and_resumed_to_the_bit(void **state) {
  (void)state;
  static const char *const policies[][2] = {{"learned", ""}, {"fixed", ",\"k\":[3]"}, {"uniform", ""}};
  for (size_t p = 0; p < ARRAY_SIZE(policies); p++) {
    char body[512], whole[SHA256_HEX], parts[SHA256_HEX];
    struct job_outcome outcome = {NULL};
    struct guise_error err = {0};
    struct record straight = {.count = 0}, resumed = {.stop_after = 9, .stop = JOB_SUSPEND};
    (void)snprintf(body, sizeof(body), AHM, policies[p][0], policies[p][1]);
    if (run(body, "straight", NULL, &straight, &outcome, &err) < 0)
      fail_msg("%s", err.text);
    json_decref(outcome.summary);
    assert_true(epoch_value(&straight, "strategy.mean_k", 4) >= 2);
    assert_int_equal(run(body, "resumed", NULL, &resumed, &outcome, &err), -EINTR);
    resumed.stop_after = 0;
    char checkpoint[4096];
    memcpy(checkpoint, resumed.checkpoint, sizeof(checkpoint));
    assert_true(*checkpoint);
    if (run(body, "resumed", checkpoint, &resumed, &outcome, &err) < 0)
      fail_msg("%s", err.text);
    json_decref(outcome.summary);
    compare(&straight, &resumed);
    output_hash("straight", "model.safetensors", whole);
    output_hash("resumed", "model.safetensors", parts);
    assert_string_equal(whole, parts);
  }
}

/* Little memory and bfloat16 train the same network: the losses are near, and the report says what was used.
 */
static void memory_and_precision(void **state) {
  (void)state;
  static const struct {
    const char *name, *options, *note;
    double tolerance;
  } ways[] = {{"normal", "", "float32", 0},
              {"low", ",\"memory\":\"low\"", "float32", 1e-3},
              {"half", ",\"precision\":\"bf16\"", "bfloat16 with float32 weights", 0.1}};
  double first = 0;
  for (size_t i = 0; i < ARRAY_SIZE(ways); i++) {
    char body[512], path[512];
    struct record record = {.count = 0};
    struct job_outcome outcome = {NULL};
    struct guise_error err = {0};
    if (strcmp(ways[i].name, "half") == 0 && !graph_bfloat16_supported())
      continue;
    (void)snprintf(body, sizeof(body),
                   "{\"type\":\"train\",\"dataset\":\"a\",\"mask\":{\"method\":\"none\"}," SMALL
                   ",\"train\":{\"epochs\":2,\"batch\":8%s}}",
                   ways[i].options);
    if (run(body, ways[i].name, NULL, &record, &outcome, &err) < 0)
      fail_msg("%s", err.text);
    json_decref(outcome.summary);
    const double loss = epoch_value(&record, "loss", 2);
    first = i == 0 ? loss : first;
    if (fabs(loss - first) > ways[i].tolerance * first)
      fail_msg("%s: loss %g, %g expected", ways[i].name, loss, first);
    (void)snprintf(path, sizeof(path), "%s/out-%s/report.json", root, ways[i].name);
    json_t *report = json_load_file(path, 0, NULL);
    const char *note = json_string_value(json_array_get(json_object_get(report, "notes"), 0));
    assert_non_null(note);
    assert_non_null(strstr(note, ways[i].note));
    assert_non_null(strstr(note, "passes of convolutions use Winograd"));
    json_decref(report);
  }
}

static void a_learned_policy_reports_itself(void **state) {
  (void)state;
  char body[512];
  struct record record = {.count = 0};
  struct job_outcome outcome = {NULL};
  struct guise_error err = {0};
  (void)snprintf(body, sizeof(body), AHM, "learned", "");
  assert_int_equal(run(body, "learned", NULL, &record, &outcome, &err), 0);
  json_decref(outcome.summary);
  double sum = 0;
  for (int k = 2; k <= 6; k++) {
    char name[40];
    (void)snprintf(name, sizeof(name), "strategy.pi_%d", k);
    double p = epoch_value(&record, name, 4);
    assert_true(p >= 0.0199 && p <= 0.9201); /* the floor .1/5 */
    sum += p;
  }
  assert_true(fabs(sum - 1) < 1e-4);
  assert_true(epoch_value(&record, "strategy.entropy", 4) > 0);
  assert_true(isfinite(epoch_value(&record, "strategy.reward", 4)));
}

static void cancel(void **state) {
  (void)state;
  struct record record = {.stop_after = 4, .stop = JOB_CANCEL};
  struct job_outcome outcome = {NULL};
  struct guise_error err = {0};
  assert_int_equal(run("{\"type\":\"train\",\"dataset\":\"a\"," SMALL
                       ",\"train\":{\"epochs\":2,\"batch\":8}}",
                       "cancel", NULL, &record, &outcome, &err),
                   -ECANCELED);
  assert_int_equal(record.checkpoints, 0);
}

static void errors_say_what_to_do(void **state) {
  (void)state;
  struct record record = {.count = 0};
  struct job_outcome outcome = {NULL};
  struct guise_error err = {0};
  assert_int_equal(run("{\"type\":\"train\",\"dataset\":\"a\",\"model\":{\"input\":64}}", "big", NULL,
                       &record, &outcome, &err),
                   -EINVAL);
  assert_non_null(strstr(err.text, "at most 32"));
  assert_int_equal(
      run("{\"type\":\"train\",\"dataset\":\"a\",\"model\":{\"input\":32},\"holdout\":{\"identities\":0.9}}",
          "few", NULL, &record, &outcome, &err),
      -EINVAL);
  assert_non_null(strstr(err.text, "holdout.identities"));
  assert_int_equal(run("{\"type\":\"train\",\"dataset\":\"a\"," SMALL "}", "lost", "/nonexistent/checkpoint",
                       &record, &outcome, &err),
                   -ENOENT);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(an_undefended_job_learns),
      cmocka_unit_test(suspended_and_resumed_to_the_bit),
      cmocka_unit_test(memory_and_precision),
      cmocka_unit_test(a_learned_policy_reports_itself),
      cmocka_unit_test(cancel),
      cmocka_unit_test(errors_say_what_to_do),
  };
  return cmocka_run_group_tests(tests, setup, teardown);
}
