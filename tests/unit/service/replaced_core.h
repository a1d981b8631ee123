/* job_run() and ingest_archive() of the core, replaced by ones that keep their contracts (callbacks, results,
 * files) and do what the test says. */
#pragma once

#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "core/base/file.h"
#include "core/image/ingest.h"
#include "core/train/job.h"

static atomic_uint target_epochs; /* a job stops by itself after so many; 0 = when asked */
static atomic_int job_result;     /* what it returns then */
static atomic_uint jobs_running, most_running, threads_running, most_threads;
static atomic_uint last_resumed; /* epochs that the last started job continued from */
static atomic_uint last_inputs;  /* bits of the files that the last started job found beside its data set */
static atomic_uint killed_at;    /* _exit() in the middle of this epoch */
static atomic_uint keeps;        /* jobs that keep something before they end by themselves */

static void note_most(atomic_uint *most, uint32_t now) {
  uint32_t seen = atomic_load(most);
  while (now > seen && !atomic_compare_exchange_weak(most, &seen, now))
    ;
}

static int write_checkpoint(const struct job_inputs *inputs, const struct job_callbacks *callbacks,
                            uint32_t epoch) {
  char path[4096], text[32];
  struct metric_row row = {
      .name = "loss", .epoch = epoch, .step = epoch * 10, .value = 1.0 / epoch, .per_epoch = true};
  (void)snprintf(path, sizeof(path), "%s/checkpoint-%u", inputs->work_directory, epoch);
  (void)snprintf(text, sizeof(text), "%u", epoch);
  int r = file_write_atomic(path, text, strlen(text), NULL);
  return r < 0 ? r : callbacks->checkpoint(callbacks->context, path, epoch, epoch * 10, &row, epoch ? 1 : 0);
}

static int train(const struct job_inputs *inputs, const struct job_callbacks *callbacks, uint32_t epoch,
                 struct guise_error *err) {
  for (;;) {
    if (atomic_load(&target_epochs) && epoch >= atomic_load(&target_epochs)) {
      int r = atomic_load(&job_result);
      if (atomic_load(&keeps) > 0) {
        (void)atomic_fetch_sub(&keeps, 1);
        callbacks->kept(callbacks->context);
      }
      return r < 0 ? error_set(err, r, "the loss is not finite: lower train.lr") : 0;
    }
    epoch++;
    for (int step = 0; step < 5; step++) {
      struct job_progress progress = {
          .fraction = 0.01 * epoch, .epoch = epoch, .epochs = 100, .step = epoch * 10, .eta_s = 9};
      callbacks->progress(callbacks->context, &progress);
      if (atomic_load(&killed_at) == epoch && step == 3)
        _exit(42);
      enum job_stop stop = callbacks->should_stop(callbacks->context);
      if (stop == JOB_CANCEL)
        return -ECANCELED;
      if (stop == JOB_SUSPEND)
        return epoch > 1 ? -EINTR : (write_checkpoint(inputs, callbacks, 0) < 0 ? -EIO : -EINTR);
      (void)usleep(1000);
    }
    int r = write_checkpoint(inputs, callbacks, epoch);
    if (r < 0)
      return error_set(err, r, "checkpoint refused");
  }
}

static atomic_uint jobs_begun; /* so far */

/* What the last job that began was given; jobs begin side by side. */
static pthread_mutex_t last_lock = PTHREAD_MUTEX_INITIALIZER;
static char last_public[4096], last_teacher[4096], last_control[4096];
static double last_accuracy; /* of the control */

/* What a job does with the networks that are kept; NULL = nothing. */
static void (*use_networks)(const struct job_inputs *inputs);

int job_run(const struct job_spec *spec, const struct job_inputs *inputs,
            const struct job_callbacks *callbacks, struct job_outcome *ret_outcome, struct guise_error *err) {
  uint32_t epoch = 0;
  (void)spec;
  (void)atomic_fetch_add(&jobs_begun, 1);
  note_most(&most_running, atomic_fetch_add(&jobs_running, 1) + 1);
  note_most(&most_threads, atomic_fetch_add(&threads_running, inputs->threads) + inputs->threads);
  callbacks->phase(callbacks->context, "training");
  callbacks->log(callbacks->context, "info", "hello");
  if (inputs->resume) {
    _cleanup_(freep) char *text = NULL;
    size_t size;
    if (file_read(inputs->resume, 100, &text, &size, NULL) == 0)
      epoch = (uint32_t)strtoul(text, NULL, 10);
  }
  atomic_store(&last_resumed, epoch);
  const char *files[] = {inputs->public_pack, inputs->embedder_model, inputs->reference_model};
  uint32_t found = 0;
  for (uint32_t i = 0; i < ARRAY_SIZE(files); i++)
    found |= files[i] && access(files[i], R_OK) == 0 ? 1u << i : 0;
  atomic_store(&last_inputs, found);
  (void)pthread_mutex_lock(&last_lock);
  (void)snprintf(last_public, sizeof(last_public), "%s",
                 inputs->audit_public_pack ? inputs->audit_public_pack : "");
  (void)snprintf(last_teacher, sizeof(last_teacher), "%s",
                 inputs->teacher_model ? inputs->teacher_model : "");
  (void)snprintf(last_control, sizeof(last_control), "%s",
                 inputs->control_model ? inputs->control_model : "");
  last_accuracy = inputs->control_accuracy;
  (void)pthread_mutex_unlock(&last_lock);
  if (use_networks)
    use_networks(inputs);
  int r = access(inputs->dataset_pack, R_OK) == 0 ? train(inputs, callbacks, epoch, err) : -ENOENT;
  if (r == 0) {
    char path[4096];
    (void)snprintf(path, sizeof(path), "%s/model.safetensors", inputs->output_directory);
    r = file_write_atomic(path, inputs->job_id, strlen(inputs->job_id), NULL);
    (void)snprintf(path, sizeof(path), "%s/card.md", inputs->output_directory);
    if (r == 0)
      r = file_write_atomic(path, "card", 4, NULL);
    (void)snprintf(path, sizeof(path), "%s/report.json", inputs->output_directory);
    if (r == 0)
      r = file_write_atomic(path, "{}", 2, NULL);
    ret_outcome->summary = json_pack("{s:f, s:{s:b}}", "accuracy", 0.9, "audit", "complete", 1);
  }
  (void)atomic_fetch_sub(&threads_running, inputs->threads);
  (void)atomic_fetch_sub(&jobs_running, 1);
  return r;
}

static atomic_bool ingest_hangs;
static atomic_int ingest_result; /* what it returns before it writes anything */
static atomic_uint ingest_tries; /* so far */
static atomic_uint ingest_fails; /* tries that return it; 0 = all */

int ingest_archive(const char *archive, const char *pack_path, uint32_t size, const char *decoder,
                   uint32_t decoders, const struct ingest_limits *limits,
                   const struct ingest_callbacks *callbacks, struct ingest_result *ret_result,
                   struct guise_error *err) {
  _cleanup_(freep) char *text = NULL;
  size_t bytes;
  (void)size;
  (void)decoder;
  (void)decoders;
  (void)limits;
  int r = file_read(archive, 1 << 20, &text, &bytes, err);
  if (r < 0)
    return r;
  (void)atomic_fetch_add(&ingest_tries, 1);
  callbacks->progress(callbacks->context, 3, bytes);
  while (atomic_load(&ingest_hangs)) {
    if (callbacks->should_stop(callbacks->context))
      return -ECANCELED;
    (void)usleep(1000);
  }
  if (atomic_load(&ingest_result) < 0 &&
      (atomic_load(&ingest_fails) == 0 || atomic_load(&ingest_tries) <= atomic_load(&ingest_fails)))
    return error_set(err, atomic_load(&ingest_result), "cannot write decoded images");
  for (int i = 0; i < 300; i++) /* more than a batch */
    callbacks->reject(callbacks->context, "a/b.txt", "unsupported_type", "no picture");
  if (strncmp(text, "bad", 3) == 0)
    return error_set(err, -EBADMSG, "this is no archive: send tar or zip");
  r = file_write_atomic(pack_path, text, bytes, err);
  *ret_result = (struct ingest_result){.identities = 2, .images = 40, .rejected = 300, .bytes = bytes};
  sha256_data(text, bytes, ret_result->sha256);
  return r;
}
