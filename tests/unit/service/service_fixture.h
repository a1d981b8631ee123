/* What tests of the service share: a service in a directory of its own, on a replaced core. */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>
#include <pthread.h>
#include <stdatomic.h>

#include "core/base/file.h"
#include "daemon/log.h"
#include "daemon/service.h"
#include "tests/unit/service/replaced_core.h"

/* ---- fixture ---- */

struct fixture {
  char directory[64];
  struct config config;
  struct service *service;
};

static inline void start(struct fixture *f) {
  struct guise_error err;
  if (service_open(&f->config, &f->service, &err) < 0 || service_start(f->service, &err) < 0)
    fail_msg("%s", err.text);
}

static inline int set_up(void **state) {
  struct fixture *f = calloc(1, sizeof(*f));
  log_set_level(LOG_LEVEL_ERROR);
  (void)snprintf(f->directory, sizeof(f->directory), "/tmp/guise-service-XXXXXX");
  if (!mkdtemp(f->directory))
    return -1;
  config_defaults(&f->config);
  (void)snprintf(f->config.state, sizeof(f->config.state), "%s/state", f->directory);
  f->config.cores = 4;
  f->config.workers = 2;
  f->config.threads = 2;
  f->config.decoders = 1;
  f->config.upload_max_bytes = 1000;
  atomic_store(&target_epochs, 3);
  atomic_store(&job_result, 0);
  atomic_store(&most_running, 0);
  atomic_store(&most_threads, 0);
  atomic_store(&killed_at, 0);
  atomic_store(&ingest_hangs, false);
  atomic_store(&ingest_result, 0);
  atomic_store(&ingest_fails, 0);
  start(f);
  *state = f;
  return 0;
}

static inline int tear_down(void **state) {
  struct fixture *f = *state;
  service_free(f->service);
  (void)directory_remove(f->directory);
  free(f);
  return 0;
}

static inline void restart(struct fixture *f) {
  f->service = service_free(f->service);
  start(f);
}

static const struct client anybody = {.owner = "", .sees = NULL};

static inline int accept_upload_of(struct service *service, const struct client *client, const char *name,
                                   const char *text, struct dataset_row *row, bool *created) {
  struct upload *upload;
  int r = service_upload_begin(service, client, name, 0, &upload, NULL);
  if (r < 0)
    return r;
  assert_int_equal(service_upload_write(upload, text, strlen(text), NULL), 0);
  r = service_dataset_accept(service, client, name, upload, DATASET_FACES, 0, row, created, NULL);
  service_upload_free(upload);
  return r;
}

static inline int accept_upload(struct service *service, const char *name, const char *text,
                                struct dataset_row *row, bool *created) {
  return accept_upload_of(service, &anybody, name, text, row, created);
}

static inline void wait_dataset(struct service *service, const char *key, enum dataset_state wanted) {
  struct dataset_row row = {.state = DATASET_INGESTING};
  for (int i = 0; i < 500; i++) {
    assert_int_equal(service_dataset_get(service, key, &row), 0);
    if (row.state == wanted)
      return;
    (void)usleep(10000);
  }
  fail_msg("data set %s is %s", key, dataset_state_name(row.state));
}

static inline void ready_dataset(struct service *service, const char *name) {
  struct dataset_row row;
  bool created;
  assert_int_equal(accept_upload(service, name, name, &row, &created), 0);
  wait_dataset(service, name, DATASET_READY);
}

static inline int submit(struct service *service, const char *extra, struct job_row *ret_row,
                         struct spec_problems *problems) {
  char text[512];
  bool replayed;
  struct guise_error err;
  (void)snprintf(text, sizeof(text), "{\"type\":\"train\",\"dataset\":\"orl\"%s}", extra);
  json_t *body = json_loads(text, 0, NULL);
  assert_non_null(body);
  int r = service_job_submit(service, &anybody, body, false, NULL, problems, ret_row, &replayed, &err);
  json_decref(body);
  return r;
}

static inline void submit_job(struct service *service, const char *extra, char ret_id[STORE_ID]) {
  struct spec_problems problems = {0};
  struct job_row row;
  int r = submit(service, extra, &row, &problems);
  if (r < 0)
    fail_msg("%d: %s %s", r, problems.count ? problems.problem[0].pointer : "",
             problems.count ? problems.problem[0].detail : "");
  memcpy(ret_id, row.id, STORE_ID);
  job_row_clear(&row);
}

static inline enum job_state state_now(struct service *service, const char *id) {
  struct job_row row;
  assert_int_equal(service_job_get(service, id, &row), 0);
  job_row_clear(&row);
  return row.state;
}

static inline void wait_job(struct service *service, const char *id, enum job_state wanted) {
  for (int i = 0; i < 1000 && state_now(service, id) != wanted; i++)
    (void)usleep(10000);
  if (state_now(service, id) != wanted)
    fail_msg("%s is %s, not %s", id, job_state_name(state_now(service, id)), job_state_name(wanted));
}

static inline void wait_epoch(struct service *service, const char *id, uint32_t epoch) {
  struct job_row row = {.progress = {.epoch = 0}};
  for (int i = 0; i < 1000; i++) {
    assert_int_equal(service_job_get(service, id, &row), 0);
    job_row_clear(&row);
    if (row.progress.epoch >= epoch)
      return;
    (void)usleep(5000);
  }
  fail_msg("%s stays at epoch %u", id, row.progress.epoch);
}

/* Exactly one row for each epoch 1..epochs. */
static inline void expect_metrics(struct service *service, const char *id, uint32_t epochs) {
  struct store_page page = {.limit = 1000};
  struct metric_value *rows;
  uint32_t count;
  int64_t next;
  assert_int_equal(
      store_metric_list(service_store(service), id, "loss", METRIC_EPOCH, &page, &rows, &count, &next), 0);
  assert_int_equal(count, epochs);
  for (uint32_t i = 0; i < count; i++)
    assert_int_equal(rows[i].epoch, i + 1);
  free(rows);
}

static inline uint32_t entries(struct fixture *f, const char *directory) {
  char command[256], line[32] = "";
  (void)snprintf(command, sizeof(command), "find %s/state/%s -mindepth 1 -type f | wc -l", f->directory,
                 directory);
  FILE *pipe = popen(command, "re"); /* NOLINT(cert-env33-c): a fixed command on a fixed path */
  assert_non_null(pipe);
  assert_non_null(fgets(line, sizeof(line), pipe));
  (void)pclose(pipe);
  return (uint32_t)strtoul(line, NULL, 10);
}
