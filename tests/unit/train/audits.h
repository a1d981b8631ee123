/* What tests of audits share: a model that was trained and audited once, jobs on it, and what they report. */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "core/base/file.h"
#include "core/image/synth.h"
#include "core/model/text.h"
#include "core/train/job.h"
#include "unit/train/pack.h"

#define HASH "1111111111111111111111111111111111111111111111111111111111111111"

static char root[] = "/tmp/guise-audit-XXXXXX";
static bool own_data; /* jobs are given the data set that the model was trained on, whatever its hash */
static char faces[64], others[64], model[128], report[128], key_file[128], onnx[JOB_ONNX_FILES][128];

struct record {
  char checkpoint[4096];
  uint32_t checkpoints, asked, stop_after; /* stop at the n-th question; 0 = never */
  const char *stop_when;                   /* this file is there; NULL = never */
  uint32_t continued, begun_anew;          /* said so, of finished attacks */
  uint32_t left_out;                       /* likewise, of others */
  uint32_t kept;                           /* within attacks and what they are compared with */
  double fraction;
};

static inline void on_log(void *context, const char *level, const char *text) {
  struct record *record = context;
  assert_true(*level && *text);
  record->continued += strcmp(text, "continuing behind 1 finished attacks") == 0;
  record->left_out += strstr(text, " is left out: ") != NULL;
  record->begun_anew += strstr(text, "all are run again") != NULL;
}

static inline void on_phase(void *context, const char *phase) {
  (void)context;
  assert_true(*phase);
}
static inline void on_progress(void *context, const struct job_progress *progress) {
  struct record *record = context;
  record->fraction = progress->fraction;
}
static inline int on_checkpoint(void *context, const char *path, uint32_t epochs_done, uint64_t step,
                                const struct metric_row *rows, uint32_t count) {
  struct record *record = context;
  (void)epochs_done;
  (void)step;
  (void)rows;
  (void)count;
  record->checkpoints++;
  (void)snprintf(record->checkpoint, sizeof(record->checkpoint), "%s", path);
  return 0;
}
static inline void on_kept(void *context) {
  ((struct record *)context)->kept++;
}
static inline enum job_stop on_should_stop(void *context) {
  struct record *record = context;
  if (record->stop_when && access(record->stop_when, F_OK) == 0)
    return JOB_SUSPEND;
  return record->stop_after && ++record->asked >= record->stop_after ? JOB_SUSPEND : JOB_CONTINUE;
}

struct given {
  const char *job, *pack, *sha256, *resume;
  struct record *record;
};

static inline int run(const char *body, const struct given *given, json_t **ret_summary,
                      struct guise_error *err) {
  char work[128], output[128];
  struct job_spec spec;
  struct spec_problems problems = {0};
  struct job_outcome outcome = {NULL};
  json_t *json = json_loads(body, JSON_REJECT_DUPLICATES, NULL);
  assert_int_equal(job_spec_parse(json, &spec, &problems), 0);
  json_decref(json);
  (void)snprintf(work, sizeof(work), "%s/work-%s", root, given->job);
  (void)snprintf(output, sizeof(output), "%s/out-%s", root, given->job);
  assert_int_equal(directory_make(work, NULL), 0);
  assert_int_equal(directory_make(output, NULL), 0);
  const struct job_inputs inputs = {.job_id = given->job,
                                    .dataset_pack = given->pack,
                                    .dataset_name = "synthetic",
                                    .dataset_sha256 = given->sha256,
                                    .audit_public_pack = *spec.audit.public_dataset ? others : NULL,
                                    .teacher_model = *spec.audit.teacher ? model : NULL,
                                    .control_model = *spec.audit.control ? model : NULL,
                                    .audited_model = model,
                                    .audited_report = report,
                                    .audited_onnx = {onnx[0], onnx[1]},
                                    .audited_key = *key_file ? key_file : NULL,
                                    .dataset_own = own_data,
                                    .work_directory = work,
                                    .resume = given->resume,
                                    .output_directory = output,
                                    .threads = 1};
  const struct job_callbacks callbacks = {given->record, on_phase,       on_progress, on_log,
                                          on_checkpoint, on_should_stop, on_kept};
  int r = job_run(&spec, &inputs, &callbacks, &outcome, err);
  job_spec_free(&spec);
  if (ret_summary)
    *ret_summary = outcome.summary;
  else
    json_decref(outcome.summary);
  return r;
}

#define TRAIN                                                                                        \
  "{\"type\":\"train\",\"dataset\":\"a\",\"holdout\":{\"images\":0.2},\"mask\":{\"method\":\"ahm\"," \
  "\"policy\":\"uniform\"},"                                                                         \
  "\"model\":{\"input\":32,\"width\":0.5,\"embedding\":32},\"train\":{\"epochs\":1,\"batch\":8},"    \
  "\"audit\":{\"effort\":\"quick\",\"attacks\":[\"linear\",\"membership\"]}}"

/* What is attacked from now on. */
static inline void attack_model_of(const char *job) {
  (void)snprintf(model, sizeof(model), "%s/out-%s/model.safetensors", root, job);
  (void)snprintf(report, sizeof(report), "%s/out-%s/report.json", root, job);
  (void)snprintf(key_file, sizeof(key_file), "%s/out-%s/key.json", root, job);
  if (access(key_file, F_OK) < 0)
    key_file[0] = 0;
  for (size_t i = 0; i < JOB_ONNX_FILES; i++)
    (void)snprintf(onnx[i], sizeof(onnx[i]), "%s/out-%s/%s", root, job, job_onnx_names[i]);
}

static inline int setup(void **state) {
  (void)state;
  struct record record = {.checkpoints = 0};
  struct guise_error err = {0};
  assert_non_null(mkdtemp(root));
  (void)snprintf(faces, sizeof(faces), "%s/faces", root);
  (void)snprintf(others, sizeof(others), "%s/others", root);
  draw_pack(faces, 1, 10, 4, 40);
  draw_pack(others, 2, 24, 2, 40);
  if (run(TRAIN, &(struct given){"job_train", faces, HASH, NULL, &record}, NULL, &err) < 0)
    fail_msg("%s", err.text);
  attack_model_of("job_train");
  return 0;
}

static inline int teardown(void **state) {
  (void)state;
  return directory_remove(root);
}

static inline json_t *report_of(const char *job) {
  char path[128];
  (void)snprintf(path, sizeof(path), "%s/out-%s/report.json", root, job);
  json_t *json = json_load_file(path, 0, NULL);
  assert_non_null(json);
  return json;
}

/* Apart from the time it took and the job's name. */
static inline void same_attack(json_t *a, json_t *b) {
  static const char *const own[] = {"job", "seconds"};
  for (size_t i = 0; i < ARRAY_SIZE(own); i++) {
    (void)json_object_del(a, own[i]);
    (void)json_object_del(b, own[i]);
  }
  assert_true(json_equal(a, b));
}

#define AUDIT(audit) "{\"type\":\"audit\",\"model\":\"mdl_a\",\"dataset\":\"a\",\"audit\":" audit "}"
