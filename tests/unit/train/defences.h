/* What tests of defences share: small packs of drawn faces, jobs on them, and a trainer whose steps are
 * looked at. */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
// cmocka needs the four headers above
#include <cmocka.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "core/base/file.h"
#include "core/mask/key.h"
#include "core/model/model.h"
#include "core/model/safetensors.h"
#include "core/train/defence_rows.h"
#include "unit/train/pack.h"
#include "unit/train/quiet.h"

#define PEOPLE 9u
#define IMAGES 4u
#define TRAINED 28u /* images: two of nine people are held out */
#define SIZE 40u

static char root[] = "/tmp/guise-defence-XXXXXX";
static char private_pack[256], public_pack[256];

struct record {
  char checkpoint[4096];
  uint64_t asked, stop_after; /* asked in the job's own training; 0 = never */
  bool training;
};

static inline void on_phase(void *context, const char *phase) {
  struct record *record = context;
  record->training |= strcmp(phase, "training") == 0;
}
static inline int on_checkpoint(void *context, const char *path, uint32_t epochs_done, uint64_t step,
                                const struct metric_row *rows, uint32_t count) {
  struct record *record = context;
  (void)epochs_done;
  (void)step;
  (void)rows;
  (void)count;
  (void)snprintf(record->checkpoint, sizeof(record->checkpoint), "%s", path);
  return 0;
}
static inline enum job_stop on_should_stop(void *context) {
  struct record *record = context;
  return record->training && record->stop_after && ++record->asked >= record->stop_after ? JOB_SUSPEND
                                                                                         : JOB_CONTINUE;
}

static inline int setup(void **state) {
  (void)state;
  assert_non_null(mkdtemp(root));
  (void)snprintf(private_pack, sizeof(private_pack), "%s/private", root);
  (void)snprintf(public_pack, sizeof(public_pack), "%s/public", root);
  draw_pack(private_pack, 1, PEOPLE, IMAGES, SIZE);
  draw_pack(public_pack, 77, 5, IMAGES, SIZE);
  return 0;
}

static inline int teardown(void **state) {
  (void)state;
  return directory_remove(root);
}

/* ---- jobs ---- */

#define MIXED "\"method\":\"ahm\",\"policy\":\"uniform\",\"pool\":\"public\",\"public_dataset\":\"p\""
#define SHORT "\"epochs\":2,\"batch\":5"
#define PLAIN "\"method\":\"none\",\"public_dataset\":\"p\""

static inline struct job_spec parse(const char *mask, const char *defences, const char *train) {
  char body[1024];
  struct job_spec spec;
  struct spec_problems problems = {0};
  (void)snprintf(body, sizeof(body),
                 "{\"type\":\"train\",\"dataset\":\"a\",\"mask\":{%s},\"defences\":[%s],"
                 "\"model\":{\"arch\":\"freq_conv\",\"input\":40,\"width\":0.25,\"embedding\":16},"
                 "\"audit\":{\"attacks\":[]},\"train\":{%s}}",
                 mask, defences, train);
  json_t *json = json_loads(body, JSON_REJECT_DUPLICATES, NULL);
  assert_non_null(json);
  if (job_spec_parse(json, &spec, &problems) != 0)
    fail_msg("%s: %s", problems.problem[0].pointer, problems.problem[0].detail);
  json_decref(json);
  return spec;
}

/* Of the next trainings. */
static const char *embedder_path; /* NULL = none */
static uint32_t training_threads = 1;

static inline struct job_inputs inputs_of(const char *name) {
  static char work[300], output[300];
  (void)snprintf(work, sizeof(work), "%s/work-%s", root, name);
  (void)snprintf(output, sizeof(output), "%s/out-%s", root, name);
  assert_int_equal(directory_make(work, NULL), 0);
  assert_int_equal(directory_make(output, NULL), 0);
  return (struct job_inputs){.job_id = "job_test",
                             .dataset_pack = private_pack,
                             .dataset_name = "synthetic",
                             .dataset_sha256 = "0",
                             .public_pack = public_pack,
                             .embedder_model = embedder_path,
                             .work_directory = work,
                             .output_directory = output,
                             .threads = training_threads};
}

static inline int run(const struct job_spec *spec, const char *name, const char *resume,
                      struct record *record, struct guise_error *err) {
  const struct job_callbacks callbacks = {record,         on_phase, quiet_progress, quiet_log, on_checkpoint,
                                          on_should_stop, NULL};
  struct job_inputs inputs = inputs_of(name);
  struct job_outcome outcome = {NULL};
  inputs.resume = resume;
  int r = job_run(spec, &inputs, &callbacks, &outcome, err);
  json_decref(outcome.summary);
  return r;
}

static inline void run_whole(const struct job_spec *spec, const char *name) {
  struct record record = {.stop_after = 0};
  struct guise_error err = {0};
  if (run(spec, name, NULL, &record, &err) < 0)
    fail_msg("%s", err.text);
}

static inline void run_in_two(const struct job_spec *spec, const char *name) {
  struct record record = {.stop_after = 5};
  struct guise_error err = {0};
  char checkpoint[4096];
  assert_int_equal(run(spec, name, NULL, &record, &err), -EINTR);
  memcpy(checkpoint, record.checkpoint, sizeof(checkpoint));
  assert_true(*checkpoint);
  record.stop_after = 0;
  if (run(spec, name, checkpoint, &record, &err) < 0)
    fail_msg("%s", err.text);
}

static inline bool same_model(const char *a, const char *b) {
  char path[512], one[SHA256_HEX], other[SHA256_HEX];
  (void)snprintf(path, sizeof(path), "%s/out-%s/model.safetensors", root, a);
  assert_int_equal(sha256_file(path, one, NULL), 0);
  (void)snprintf(path, sizeof(path), "%s/out-%s/model.safetensors", root, b);
  assert_int_equal(sha256_file(path, other, NULL), 0);
  return strcmp(one, other) == 0;
}

static inline json_t *report_of(const char *name) {
  char path[512];
  (void)snprintf(path, sizeof(path), "%s/out-%s/report.json", root, name);
  json_t *report = json_load_file(path, 0, NULL);
  assert_non_null(report);
  return report;
}

/* Loads, embeds, and is not what it would be without the defence. */
static inline void check_model(const char *name, const char *undefended) {
  char path[512];
  static uint8_t grey[SIZE * SIZE * 3];
  const uint8_t *face = grey;
  float embedding[16];
  struct model *model = NULL;
  struct guise_error err = {0};
  (void)snprintf(path, sizeof(path), "%s/out-%s/model.safetensors", root, name);
  if (model_load(path, 1, 1, &model, &err) < 0)
    fail_msg("%s", err.text);
  memset(grey, 128, sizeof(grey));
  assert_int_equal(model_embed(model, &face, 1, false, embedding, &err), 0);
  assert_true(isfinite(embedding[0]));
  model_free(model);
  assert_false(same_model(name, undefended));
}

/* ---- steps ---- */

struct bench {
  struct job_spec spec;
  struct job_callbacks callbacks;
  struct record record;
  struct trainer t;
};

static inline struct bench *open_bench(const char *mask, const char *defences, const char *train,
                                       const char *name) {
  struct bench *b = calloc(1, sizeof(*b));
  struct guise_error err = {0};
  assert_non_null(b);
  b->spec = parse(mask, defences, train);
  b->callbacks = (struct job_callbacks){&b->record,     on_phase, quiet_progress, quiet_log, on_checkpoint,
                                        on_should_stop, NULL};
  const struct job_inputs inputs = inputs_of(name);
  const struct data_split split = job_spec_split(&b->spec);
  assert_int_equal(job_data_open(private_pack, SIZE, &split, &b->t.data, &err), 0);
  assert_int_equal(b->t.data.train.count, TRAINED);
  if (trainer_init(&b->t, &b->spec, &inputs, &b->callbacks, &err) < 0)
    fail_msg("%s", err.text);
  for (uint32_t i = 0; i < TRAINED; i++)
    b->t.order[i] = i;
  return b;
}

static inline void close_bench(struct bench *b) {
  trainer_done(&b->t);
  job_spec_free(&b->spec);
  free(b);
}

static const struct head_options plain_head = {.scale = 30, .margin = 0.3f};

struct sums {
  double *network, *head;
  uint64_t network_count, head_count;
};

static inline struct sums new_sums(struct trainer *t) {
  struct sums s = {.head_count = (uint64_t)head_classes(t->head) * 16};
  (void)graph_gradients(t->graph, &s.network_count);
  s.network = calloc(s.network_count, sizeof(double));
  s.head = calloc(s.head_count, sizeof(double));
  assert_non_null(s.network);
  assert_non_null(s.head);
  return s;
}

static inline void free_sums(struct sums *s) {
  free(s->network);
  free(s->head);
}

/* The plain way: one image after the other, each clipped, by the definition. */
static inline void add_gradients(struct trainer *t, struct sums *s, double weight) {
  for (uint64_t k = 0; k < s->network_count; k++)
    s->network[k] += weight * (double)graph_gradients(t->graph, NULL)[k];
  for (uint64_t k = 0; k < s->head_count; k++)
    s->head[k] += weight * (double)head_gradient(t->head)[k];
}

static inline double difference(struct trainer *t, const struct sums *s, double divisor, double *ret_length) {
  double sum = 0, length = 0;
  for (uint64_t k = 0; k < s->network_count; k++) {
    const double d = (double)graph_gradients(t->graph, NULL)[k] - s->network[k] / divisor;
    sum += d * d;
    length += s->network[k] / divisor * s->network[k] / divisor;
  }
  for (uint64_t k = 0; k < s->head_count; k++) {
    const double d = (double)head_gradient(t->head)[k] - s->head[k] / divisor;
    sum += d * d;
    length += s->head[k] / divisor * s->head[k] / divisor;
  }
  *ret_length = sqrt(length);
  return sqrt(sum);
}
