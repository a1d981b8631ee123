/* What tests of whole jobs share: small packs of drawn faces, a job run on them, what the daemon would keep
 * of it. */
#pragma once

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
#include "core/image/synth.h"
#include "core/mask/key.h"
#include "core/model/model.h"
#include "core/train/dual.h"
#include "core/train/job.h"
#include "unit/train/kept.h"
#include "unit/train/pack.h"

static char root[] = "/tmp/guise-job-XXXXXX";
static char pack_path[256], few_path[256], audit_path[256];
static bool of_few; /* the next jobs are of few faces: what they cost is in the attacks on those held out */
static const char *public_pack, *embedder_model, *reference_model; /* inputs of the next jobs */
static const struct model_cache *public_cache;                     /* of what learns from public_pack */
static const char *teacher_path; /* with public faces for the audit; NULL = without */

/* What the daemon would keep: the rows of committed checkpoints and the last checkpoint. */
struct record {
  struct metric_row rows[512];
  uint32_t count, checkpoints;
  char checkpoint[4096];
  uint64_t steps_asked, stop_after; /* stop at the n-th question; 0 = never */
  enum job_stop stop;
  bool only_training; /* questions count only once the job's own training has begun */
  bool training;
  bool embedder_continued, embedder_taken; /* said so */
  bool other_kernels;                      /* likewise: the checkpoint's are not this processor's */
  char embedder_accuracy[64];
  uint32_t analyses; /* analysis networks, generators and budgets that were trained */
};

static inline void on_phase(void *context, const char *phase) {
  struct record *record = context;
  assert_non_null(phase);
  record->training |= strcmp(phase, "training") == 0;
}
static inline void on_progress(void *context, const struct job_progress *progress) {
  (void)context;
  assert_true(progress->fraction >= 0 && progress->fraction <= 1);
}
static inline void on_log(void *context, const char *level, const char *text) {
  struct record *record = context;
  assert_true(*level && *text);
  record->embedder_continued |= strncmp(text, "embedder: continuing at step", 28) == 0;
  record->embedder_taken |= strncmp(text, "embedder: taken over", 20) == 0;
  const char *told = strncmp(text, "embedder: t", 11) == 0 ? strstr(text, "; ") : NULL;
  if (told)
    (void)snprintf(record->embedder_accuracy, sizeof(record->embedder_accuracy), "%s", told);
  record->other_kernels |= strncmp(text, "this processor uses other kernels", 33) == 0;
  record->analyses += strncmp(text, "analysis network:", 17) == 0 || strncmp(text, "generator:", 10) == 0 ||
                      strncmp(text, "budgets:", 8) == 0;
}
static inline int on_checkpoint(void *context, const char *path, uint32_t epochs_done, uint64_t step,
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
static inline enum job_stop on_should_stop(void *context) {
  struct record *record = context;
  if (record->only_training && !record->training)
    return JOB_CONTINUE;
  return record->stop_after && ++record->steps_asked >= record->stop_after ? record->stop : JOB_CONTINUE;
}

/* Whole jobs take minutes under a sanitizer, which sees their parts in the other tests. */
static inline void skip_when_slow(void) {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  print_message("SKIPPED: this combination of parts is tested without a sanitizer\n");
  skip();
#endif
}

static inline int run(const char *body, const char *name, const char *resume, struct record *record,
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
                              .dataset_pack = of_few ? few_path : pack_path,
                              .dataset_name = "synthetic",
                              .dataset_sha256 = "0",
                              .public_pack = public_pack,
                              .public_sha256 = "aa",
                              .embedder_model = embedder_model,
                              .reference_model = reference_model,
                              .audit_public_pack = teacher_path ? audit_path : NULL,
                              .teacher_model = teacher_path,
                              .work_directory = work,
                              .resume = resume,
                              .output_directory = output,
                              .threads = 1,
                              .cache = public_cache};
  struct job_callbacks callbacks = {record,        on_phase,       on_progress, on_log,
                                    on_checkpoint, on_should_stop, NULL};
  int r = job_run(&spec, &inputs, &callbacks, outcome, err);
  job_spec_free(&spec);
  return r;
}

static inline int setup(void **state) {
  (void)state;
  assert_non_null(mkdtemp(root));
  (void)snprintf(pack_path, sizeof(pack_path), "%s/pack", root);
  (void)snprintf(few_path, sizeof(few_path), "%s/few", root);
  (void)snprintf(audit_path, sizeof(audit_path), "%s/audit", root);
  draw_pack(pack_path, 1, 10, 6, 40);
  draw_pack(few_path, 1, 10, 2, 40);
  draw_pack(audit_path, 2, 20, 2, 40); /* other people */
  return 0;
}

static inline int teardown(void **state) {
  (void)state;
  return directory_remove(root);
}

/* Exactly one row for each (name, epoch), epochs 1..epochs. */
static inline double epoch_value(const struct record *record, const char *name, uint32_t epoch) {
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

static inline void output_hash(const char *name, const char *file, char ret_hex[SHA256_HEX]) {
  char path[512];
  (void)snprintf(path, sizeof(path), "%s/out-%s/%s", root, name, file);
  assert_int_equal(sha256_file(path, ret_hex, NULL), 0);
}

#define SMALL "\"model\":{\"input\":32,\"width\":0.5,\"embedding\":32},\"audit\":{\"effort\":\"quick\"}"

#define NARROW "\"width\":0.25,\"embedding\":32},\"audit\":{\"effort\":\"quick\",\"attacks\":[]}"
#define AHM                                                                                             \
  "{\"type\":\"train\",\"dataset\":\"a\",\"mask\":{\"method\":\"ahm\",\"policy\":\"%s\"%s},\"model\":{" \
  "\"input\":"                                                                                          \
  "32," NARROW ",\"train\":{\"epochs\":4,\"batch\":8,\"shift\":2}}"

static inline void compare(const struct record *a, const struct record *b) {
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

static inline void run_through(const char *body, const char *name, const char *resume,
                               struct record *record) {
  struct job_outcome outcome = {NULL};
  struct guise_error err = {0};
  if (run(body, name, resume, record, &outcome, &err) < 0)
    fail_msg("%s", err.text);
  json_decref(outcome.summary);
}

static inline void same_model(const char *a, const char *b) {
  char one[SHA256_HEX], other[SHA256_HEX];
  output_hash(a, "model.safetensors", one);
  output_hash(b, "model.safetensors", other);
  assert_string_equal(one, other);
}

static inline json_t *report_of(const char *name) {
  char path[512];
  (void)snprintf(path, sizeof(path), "%s/out-%s/report.json", root, name);
  json_t *report = json_load_file(path, 0, NULL);
  assert_non_null(report);
  return report;
}
