/* The service with a job that is not training (replaced_core.h), so that every course of a job can be driven
 * to a precise point. */
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

static void start(struct fixture *f) {
  struct guise_error err;
  if (service_open(&f->config, &f->service, &err) < 0 || service_start(f->service, &err) < 0)
    fail_msg("%s", err.text);
}

static int set_up(void **state) {
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
  start(f);
  *state = f;
  return 0;
}

static int tear_down(void **state) {
  struct fixture *f = *state;
  service_free(f->service);
  (void)directory_remove(f->directory);
  free(f);
  return 0;
}

static void restart(struct fixture *f) {
  f->service = service_free(f->service);
  start(f);
}

static const struct client anybody = {.owner = "", .sees = NULL};

static int accept_upload_of(struct service *service, const struct client *client, const char *name,
                            const char *text, struct dataset_row *row, bool *created) {
  struct upload *upload;
  assert_int_equal(service_upload_begin(service, &upload, NULL), 0);
  assert_int_equal(service_upload_write(upload, text, strlen(text), NULL), 0);
  int r = service_dataset_accept(service, client, name, upload, DATASET_FACES, 0, row, created, NULL);
  service_upload_free(upload);
  return r;
}

static int accept_upload(struct service *service, const char *name, const char *text, struct dataset_row *row,
                         bool *created) {
  return accept_upload_of(service, &anybody, name, text, row, created);
}

static void wait_dataset(struct service *service, const char *key, enum dataset_state wanted) {
  struct dataset_row row = {.state = DATASET_INGESTING};
  for (int i = 0; i < 500; i++) {
    assert_int_equal(service_dataset_get(service, key, &row), 0);
    if (row.state == wanted)
      return;
    (void)usleep(10000);
  }
  fail_msg("data set %s is %s", key, dataset_state_name(row.state));
}

static void ready_dataset(struct service *service, const char *name) {
  struct dataset_row row;
  bool created;
  assert_int_equal(accept_upload(service, name, name, &row, &created), 0);
  wait_dataset(service, name, DATASET_READY);
}

static int submit(struct service *service, const char *extra, struct job_row *ret_row,
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

static void submit_job(struct service *service, const char *extra, char ret_id[STORE_ID]) {
  struct spec_problems problems = {0};
  struct job_row row;
  int r = submit(service, extra, &row, &problems);
  if (r < 0)
    fail_msg("%d: %s %s", r, problems.count ? problems.problem[0].pointer : "",
             problems.count ? problems.problem[0].detail : "");
  memcpy(ret_id, row.id, STORE_ID);
  job_row_clear(&row);
}

static enum job_state state_now(struct service *service, const char *id) {
  struct job_row row;
  assert_int_equal(service_job_get(service, id, &row), 0);
  job_row_clear(&row);
  return row.state;
}

static void wait_job(struct service *service, const char *id, enum job_state wanted) {
  for (int i = 0; i < 1000 && state_now(service, id) != wanted; i++)
    (void)usleep(10000);
  if (state_now(service, id) != wanted)
    fail_msg("%s is %s, not %s", id, job_state_name(state_now(service, id)), job_state_name(wanted));
}

static void wait_epoch(struct service *service, const char *id, uint32_t epoch) {
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
static void expect_metrics(struct service *service, const char *id, uint32_t epochs) {
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

static uint32_t entries(struct fixture *f, const char *directory) {
  char command[256], line[32] = "";
  (void)snprintf(command, sizeof(command), "find %s/state/%s -mindepth 1 -type f | wc -l", f->directory,
                 directory);
  FILE *pipe = popen(command, "re"); /* NOLINT(cert-env33-c): a fixed command on a fixed path */
  assert_non_null(pipe);
  assert_non_null(fgets(line, sizeof(line), pipe));
  (void)pclose(pipe);
  return (uint32_t)strtoul(line, NULL, 10);
}

/* ---- data sets ---- */

static void uploading(void **state) {
  struct fixture *f = *state;
  struct dataset_row row, again;
  struct reject_row *rejects;
  struct store_page page = {.limit = 1000};
  struct guise_error err;
  struct upload *upload;
  uint32_t count;
  int64_t next;
  bool created;
  assert_int_equal(accept_upload(f->service, "orl", "faces", &row, &created), 0);
  assert_true(created);
  wait_dataset(f->service, row.id, DATASET_READY);
  assert_int_equal(accept_upload(f->service, "orl", "faces", &again, &created), 0);
  assert_false(created);
  assert_string_equal(again.id, row.id);
  assert_int_equal(accept_upload(f->service, "orl", "other", &again, &created), -EEXIST);
  assert_int_equal(accept_upload(f->service, "job_1", "other", &again, &created), -EINVAL);
  assert_int_equal(store_reject_list(service_store(f->service), row.id, &page, &rejects, &count, &next), 0);
  assert_int_equal(count, 300);
  free(rejects);
  assert_int_equal(entries(f, "uploads"), 0);
  assert_int_equal(entries(f, "blobs"), 1);
  assert_int_equal(service_dataset_get(f->service, "orl", &again), 0);
  int fd = service_blob_open(f->service, again.sha256);
  assert_true(fd >= 0);
  (void)close(fd);
  assert_int_equal(service_blob_open(f->service, "../../guise.db"), -ENOENT);

  char big[1001] = {0};
  assert_int_equal(service_upload_begin(f->service, &upload, NULL), 0);
  assert_int_equal(service_upload_write(upload, big, 1000, NULL), 0);
  assert_int_equal(service_upload_write(upload, big, 1, &err), -EFBIG);
  service_upload_free(upload);
  assert_int_equal(entries(f, "uploads"), 0);

  assert_int_equal(service_dataset_delete(f->service, "orl", NULL, &err), 0);
  assert_int_equal(entries(f, "blobs"), 0);
  assert_int_equal(service_dataset_delete(f->service, "orl", NULL, &err), -ENOENT);
}

static void a_bad_archive(void **state) {
  struct fixture *f = *state;
  struct dataset_row row;
  struct spec_problems problems = {0};
  struct job_row job;
  bool created;
  assert_int_equal(accept_upload(f->service, "orl", "bad", &row, &created), 0);
  wait_dataset(f->service, "orl", DATASET_FAILED);
  assert_int_equal(service_dataset_get(f->service, "orl", &row), 0);
  assert_non_null(strstr(row.error, "no archive"));
  assert_int_equal(row.rejected, 300);
  assert_int_equal(submit(f->service, "", &job, &problems), -EINVAL);
  assert_string_equal(problems.problem[0].pointer, "/dataset");
  spec_problems_free(&problems);
}

static void an_ingest_is_stopped_by_delete_and_by_restart(void **state) {
  struct fixture *f = *state;
  struct dataset_row row;
  char job[STORE_ID];
  bool created;
  atomic_store(&ingest_hangs, true);
  assert_int_equal(accept_upload(f->service, "gone", "faces", &row, &created), 0);
  for (int i = 0; i < 500 && row.images != 3; i++) {
    (void)usleep(5000);
    assert_int_equal(service_dataset_get(f->service, "gone", &row), 0);
  }
  assert_int_equal(row.images, 3); /* of the running ingest */
  assert_int_equal(service_dataset_delete(f->service, "gone", NULL, NULL), 0);
  assert_int_equal(accept_upload(f->service, "orl", "orl", &row, &created), 0);
  submit_job(f->service, "", job); /* accepted, waits for its data */
  (void)usleep(50000);
  assert_int_equal(state_now(f->service, job), JOB_STATE_QUEUED);
  assert_int_equal(service_dataset_delete(f->service, "orl", NULL, NULL), -EBUSY);
  f->service = service_free(f->service);
  assert_int_equal(entries(f, "uploads"), 1);
  atomic_store(&ingest_hangs, false);
  start(f);
  wait_dataset(f->service, "orl", DATASET_READY);
  wait_job(f->service, job, JOB_STATE_SUCCEEDED);
  assert_int_equal(entries(f, "uploads"), 0);
}

/* ---- jobs ---- */

struct heard {
  atomic_uint events;
  atomic_llong last;
};
static void hear(void *context, const char *job, int64_t seq) {
  struct heard *heard = context;
  assert_memory_equal(job, "job_", 4);
  (void)atomic_fetch_add(&heard->events, 1);
  atomic_store(&heard->last, seq);
}

static void a_job_from_start_to_model(void **state) {
  struct fixture *f = *state;
  struct heard heard = {.events = 0};
  struct listener *listener;
  struct job_row row;
  struct model_row model;
  struct event_row *events;
  uint32_t count, metrics = 0, logs = 0;
  char id[STORE_ID];
  ready_dataset(f->service, "orl");
  assert_int_equal(service_listen(f->service, hear, &heard, &listener), 0);
  submit_job(f->service, "", id);
  wait_job(f->service, id, JOB_STATE_SUCCEEDED);
  assert_int_equal(store_event_list(service_store(f->service), id, 0, 1000, &events, &count), 0);
  for (uint32_t i = 0; i < count; i++) {
    metrics += strcmp(events[i].type, "metric") == 0;
    logs += strcmp(events[i].type, "log") == 0;
    assert_true(i == 0 || events[i].seq > events[i - 1].seq);
  }
  assert_int_equal(metrics, 3);
  assert_int_equal(logs, 2); /* that it starts, and what it says itself */
  assert_string_equal(events[count - 1].type, "end");
  for (int i = 0; i < 500 && atomic_load(&heard.last) < events[count - 1].seq; i++)
    (void)usleep(2000);
  assert_int_equal(atomic_load(&heard.last), events[count - 1].seq);
  assert_true(atomic_load(&heard.events) >= 6);
  event_rows_free(events, count);
  service_unlisten(f->service, listener);
  expect_metrics(f->service, id, 3);
  assert_int_equal(service_job_get(f->service, id, &row), 0);
  assert_int_equal(store_model_get(service_store(f->service), row.model_id, &model), 0);
  job_row_clear(&row);
  assert_true(model.audited);
  assert_int_equal(model.file_count, 3);
  assert_non_null(strstr(model.facts, "\"dataset\":\"orl\""));
  int fd = service_blob_open(f->service, model.files[0].sha256);
  assert_true(fd >= 0);
  (void)close(fd);
  for (int i = 0; i < 200 && entries(f, "work") > 0; i++)
    (void)usleep(10000);
  assert_int_equal(entries(f, "work"), 0);
  assert_int_equal(entries(f, "blobs"), 4);
  assert_int_equal(service_model_delete(f->service, model.id, NULL, NULL), 0);
  assert_int_equal(entries(f, "blobs"), 1);
  model_row_clear(&model);
}

static void mistakes_are_told_together(void **state) {
  struct fixture *f = *state;
  struct spec_problems problems = {0};
  struct job_row row;
  bool size = false, threads = false, epochs = false, pairs = false;
  ready_dataset(f->service, "orl");
  assert_int_equal(
      submit(f->service,
             ",\"model\":{\"input\":224},\"resources\":{\"threads\":5},\"train\":{\"epochs\":-1},"
             "\"holdout\":{\"pairs\":{\"dataset\":\"orl\",\"name\":\"none\"}}",
             &row, &problems),
      -EINVAL);
  for (uint32_t i = 0; i < problems.count; i++) {
    size |= strcmp(problems.problem[i].pointer, "/model/input") == 0;
    threads |= strcmp(problems.problem[i].pointer, "/resources/threads") == 0;
    epochs |= strcmp(problems.problem[i].pointer, "/train/epochs") == 0;
    pairs |= strcmp(problems.problem[i].pointer, "/holdout/pairs/name") == 0;
  }
  assert_true(size && threads && epochs && pairs);
  spec_problems_free(&problems);
}

/* A model that a finished job left. */
static void make_model(struct service *service, const char *extra, char ret_id[STORE_ID]) {
  struct job_row row;
  char job[STORE_ID];
  submit_job(service, extra, job);
  wait_job(service, job, JOB_STATE_SUCCEEDED);
  assert_int_equal(service_job_get(service, job, &row), 0);
  memcpy(ret_id, row.model_id, STORE_ID);
  job_row_clear(&row);
}

static void expect_problem(struct service *service, const char *extra, const char *pointer,
                           const char *code) {
  struct spec_problems problems = {0};
  struct job_row row;
  assert_int_equal(submit(service, extra, &row, &problems), -EINVAL);
  assert_int_equal(problems.count, 1);
  assert_string_equal(problems.problem[0].pointer, pointer);
  assert_string_equal(problems.problem[0].code, code);
  spec_problems_free(&problems);
}

static void models_and_public_faces_of_a_job(void **state) {
  struct fixture *f = *state;
  struct dataset_row own;
  char none[STORE_ID], mixed[STORE_ID], job[STORE_ID], extra[400];
  ready_dataset(f->service, "orl");
  assert_int_equal(service_dataset_get(f->service, "orl", &own), 0);
  ready_dataset(f->service, "faces");
  make_model(f->service, ",\"mask\":{\"method\":\"none\"}", none);
  make_model(f->service, "", mixed);
  expect_problem(f->service, ",\"mask\":{\"public_dataset\":\"nobody\"}", "/mask/public_dataset",
                 "unknown_value");
  expect_problem(f->service, ",\"mask\":{\"embedder\":\"mdl_a\"}", "/mask/embedder", "unknown_value");
  expect_problem(f->service, ",\"mask\":{\"reference\":\"mdl_a\"}", "/mask/reference", "unknown_value");
  (void)snprintf(extra, sizeof(extra), ",\"mask\":{\"reference\":\"%s\"}", mixed);
  expect_problem(f->service, extra, "/mask/reference", "conflict");
  (void)snprintf(extra, sizeof(extra),
                 ",\"model\":{\"input\":64},\"mask\":{\"method\":\"generative\",\"embedder\":\"%s\","
                 "\"public_dataset\":\"faces\"}",
                 none);
  expect_problem(f->service, extra, "/mask/embedder", "conflict");
  expect_problem(f->service,
                 ",\"defences\":[{\"method\":\"negative_ls\"},{\"method\":\"tl_dmi\",\"model\":\"mdl_a\"}]",
                 "/defences/1/model", "unknown_value");
  (void)snprintf(extra, sizeof(extra), ",\"defences\":[{\"method\":\"tl_dmi\",\"model\":\"%s\"}]", mixed);
  expect_problem(f->service, extra, "/defences/0/model", "conflict"); /* it knows these people */
  (void)snprintf(extra, sizeof(extra),
                 ",\"mask\":{\"method\":\"none\",\"public_dataset\":\"%s\"},"
                 "\"defences\":[{\"method\":\"dp_sgd\"}]",
                 own.id);
  expect_problem(f->service, extra, "/mask/public_dataset", "conflict"); /* its own under another name */
  atomic_store(&target_epochs, 0);
  (void)snprintf(extra, sizeof(extra),
                 ",\"mask\":{\"reference\":\"%s\",\"embedder\":\"%s\",\"public_dataset\":\"faces\"}", none,
                 mixed);
  submit_job(f->service, extra, job);
  wait_epoch(f->service, job, 1);
  assert_true(atomic_load(&last_inputs) == 7); /* all three files were there */
  assert_int_equal(service_dataset_delete(f->service, "faces", NULL, NULL), -EBUSY);
  assert_int_equal(service_model_delete(f->service, none, NULL, NULL), -EBUSY);
  assert_int_equal(service_model_delete(f->service, mixed, NULL, NULL), -EBUSY);
  assert_int_equal(service_job_cancel(f->service, job, NULL, NULL), 0);
  wait_job(f->service, job, JOB_STATE_CANCELED);
  assert_int_equal(service_dataset_delete(f->service, "faces", NULL, NULL), 0);
  assert_int_equal(service_model_delete(f->service, none, NULL, NULL), 0);
  assert_int_equal(service_model_delete(f->service, mixed, NULL, NULL), 0);
}

/* A job waits for public faces as for its own, and fails with them. */
static void public_faces_are_waited_for(void **state) {
  struct fixture *f = *state;
  struct dataset_row row;
  char waits[STORE_ID], fails[STORE_ID];
  bool created;
  ready_dataset(f->service, "orl");
  atomic_store(&ingest_hangs, true);
  assert_int_equal(accept_upload(f->service, "faces", "faces", &row, &created), 0);
  submit_job(f->service, ",\"mask\":{\"public_dataset\":\"faces\"}", waits);
  (void)usleep(50000);
  assert_int_equal(state_now(f->service, waits), JOB_STATE_QUEUED);
  atomic_store(&ingest_hangs, false);
  wait_job(f->service, waits, JOB_STATE_SUCCEEDED);
  atomic_store(&ingest_hangs, true);
  assert_int_equal(accept_upload(f->service, "broken", "bad", &row, &created), 0);
  submit_job(f->service, ",\"mask\":{\"public_dataset\":\"broken\"}", fails);
  atomic_store(&ingest_hangs, false);
  wait_job(f->service, fails, JOB_STATE_FAILED);
}

static void last_given(char ret_public[4096], char ret_teacher[4096]) {
  (void)pthread_mutex_lock(&last_lock);
  memcpy(ret_public, last_public, sizeof(last_public));
  memcpy(ret_teacher, last_teacher, sizeof(last_teacher));
  (void)pthread_mutex_unlock(&last_lock);
}

/* Public faces and a teacher of other people: named, found, kept while they are needed. */
static void what_attackers_learn_from(void **state) {
  struct fixture *f = *state;
  char own[STORE_ID], teacher[STORE_ID], id[STORE_ID], extra[300];
  struct model_file_row file;
  ready_dataset(f->service, "orl");
  ready_dataset(f->service, "lfw");
  expect_problem(f->service, ",\"audit\":{\"public_dataset\":\"none\"}", "/audit/public_dataset",
                 "unknown_value");
  expect_problem(f->service, ",\"audit\":{\"public_dataset\":\"orl\"}", "/audit/public_dataset", "conflict");
  expect_problem(f->service, ",\"audit\":{\"public_dataset\":\"lfw\",\"teacher\":\"mdl_none\"}",
                 "/audit/teacher", "unknown_value");
  make_model(f->service, ",\"train\":{\"epochs\":1}", own);
  char public[4096], given[4096];
  last_given(public, given);
  assert_string_equal(public, "");
  (void)snprintf(extra, sizeof(extra), ",\"audit\":{\"public_dataset\":\"lfw\",\"teacher\":\"%s\"}", own);
  expect_problem(f->service, extra, "/audit/teacher", "conflict");

  make_model(f->service, ",\"train\":{\"epochs\":1},\"dataset\":\"lfw\"", teacher);
  assert_int_equal(store_model_file(service_store(f->service), teacher, "model.safetensors", &file), 0);
  (void)snprintf(extra, sizeof(extra),
                 ",\"train\":{\"epochs\":500},\"audit\":{\"public_dataset\":\"lfw\",\"teacher\":\"%s\"}",
                 teacher);
  submit_job(f->service, extra, id);
  wait_epoch(f->service, id, 1);
  last_given(public, given);
  assert_non_null(strstr(given, file.sha256));
  assert_int_equal(access(given, R_OK), 0);
  assert_int_equal(access(public, R_OK), 0);
  assert_int_equal(service_dataset_delete(f->service, "lfw", NULL, NULL), -EBUSY);
  assert_int_equal(service_model_delete(f->service, teacher, NULL, NULL), -EBUSY);
  assert_int_equal(service_job_cancel(f->service, id, NULL, NULL), 0);
  wait_job(f->service, id, JOB_STATE_CANCELED);
  assert_int_equal(service_model_delete(f->service, teacher, NULL, NULL), 0);
  assert_int_equal(service_dataset_delete(f->service, "lfw", NULL, NULL), 0);
}

/* Bob's faces do not come into the private report of somebody else's model, whoever asks for the audit. */
static void victims_are_the_model_owners(void **state) {
  struct fixture *f = *state;
  const struct client bob = {.owner = "bob", .sees = "bob"};
  char model[STORE_ID], extra[200];
  struct dataset_row row;
  bool created;
  ready_dataset(f->service, "orl");
  ready_dataset(f->service, "more");
  make_model(f->service, ",\"train\":{\"epochs\":1}", model);
  assert_int_equal(accept_upload_of(f->service, &bob, "bobs", "bobs", &row, &created), 0);
  wait_dataset(f->service, "bobs", DATASET_READY);
  (void)snprintf(extra, sizeof(extra), ",\"type\":\"audit\",\"model\":\"%s\",\"dataset\":\"bobs\"", model);
  expect_problem(f->service, extra, "/dataset", "conflict");
  char id[STORE_ID];
  (void)snprintf(extra, sizeof(extra), ",\"type\":\"audit\",\"model\":\"%s\",\"dataset\":\"more\"", model);
  submit_job(f->service, extra, id);
}

static void failing_and_timing_out(void **state) {
  struct fixture *f = *state;
  struct job_row row;
  char id[STORE_ID], slow[STORE_ID];
  ready_dataset(f->service, "orl");
  atomic_store(&job_result, -EDOM);
  submit_job(f->service, "", id);
  wait_job(f->service, id, JOB_STATE_FAILED);
  assert_int_equal(service_job_get(f->service, id, &row), 0);
  assert_non_null(strstr(row.error, "lower train.lr"));
  job_row_clear(&row);
  atomic_store(&target_epochs, 0);
  submit_job(f->service, ",\"resources\":{\"max_runtime_s\":1}", slow);
  wait_job(f->service, slow, JOB_STATE_FAILED);
  assert_int_equal(service_job_get(f->service, slow, &row), 0);
  assert_non_null(strstr(row.error, "max_runtime_s"));
  assert_true(row.runtime_s >= 1);
  job_row_clear(&row);
  assert_int_equal(service_job_cancel(f->service, slow, NULL, NULL), -EBUSY);
  assert_int_equal(service_job_pause(f->service, slow, NULL, NULL), -EBUSY);
  assert_int_equal(service_job_resume(f->service, slow, NULL, NULL), -EBUSY);
  assert_int_equal(service_job_cancel(f->service, "job_none", NULL, NULL), -ENOENT);
}

/* No memory: from the last checkpoint again, at most three times in a row without a new one. */
static void what_the_machine_fails_is_tried_again(void **state) {
  struct fixture *f = *state;
  struct job_row row;
  char id[STORE_ID], waiting[STORE_ID];
  f->service = service_free(f->service);
  f->config.retry_delay_s = 0;
  start(f);
  ready_dataset(f->service, "orl");
  atomic_store(&target_epochs, 3); /* it gets so far in its first run, then no further */
  atomic_store(&job_result, -ENOMEM);
  submit_job(f->service, "", id);
  wait_job(f->service, id, JOB_STATE_FAILED);
  assert_int_equal(service_job_get(f->service, id, &row), 0);
  assert_int_equal(row.attempt, 4);
  assert_non_null(strstr(row.error, "out_of_memory"));
  assert_int_equal(atomic_load(&last_resumed), 3);
  job_row_clear(&row);
  f->service = service_free(f->service);
  f->config.retry_delay_s = 1;
  start(f);
  submit_job(f->service, "", waiting);
  for (int i = 0; i < 1000 && state_now(f->service, waiting) != JOB_STATE_QUEUED; i++)
    (void)usleep(2000);
  struct job_queue queue = {.reason = ""};
  for (int i = 0; i < 1000 && strcmp(queue.reason, "retry") != 0; i++) {
    (void)usleep(2000);
    assert_int_equal(service_job_get(f->service, waiting, &row), 0);
    assert_int_equal(service_job_queue(f->service, &row, &queue), 0);
    job_row_clear(&row);
  }
  assert_string_equal(queue.reason, "retry");
  atomic_store(&job_result, 0);
  wait_job(f->service, waiting, JOB_STATE_SUCCEEDED);
  assert_int_equal(service_job_get(f->service, waiting, &row), 0);
  assert_int_equal(row.attempt, 2);
  job_row_clear(&row);
}

static void canceling(void **state) {
  struct fixture *f = *state;
  struct job_row row;
  char id[STORE_ID], queued[STORE_ID];
  ready_dataset(f->service, "orl");
  atomic_store(&target_epochs, 0);
  submit_job(f->service, ",\"resources\":{\"threads\":4}", id);
  wait_epoch(f->service, id, 2);
  submit_job(f->service, "", queued); /* the first one holds all cores */
  assert_int_equal(service_job_cancel(f->service, queued, &row, NULL), 0);
  assert_int_equal(row.state, JOB_STATE_CANCELED);
  job_row_clear(&row);
  assert_int_equal(service_job_cancel(f->service, id, &row, NULL), 0);
  assert_true(row.state == JOB_STATE_CANCELING || row.state == JOB_STATE_CANCELED);
  job_row_clear(&row);
  assert_int_equal(service_job_cancel(f->service, id, NULL, NULL), 0);
  wait_job(f->service, id, JOB_STATE_CANCELED);
  assert_int_equal(service_job_cancel(f->service, id, NULL, NULL), 0);
  assert_int_equal(service_job_pause(f->service, id, NULL, NULL), -EBUSY);
  for (int i = 0; i < 200 && entries(f, "work") > 0; i++)
    (void)usleep(10000);
  assert_int_equal(entries(f, "work"), 0);
}

static void pausing_and_resuming(void **state) {
  struct fixture *f = *state;
  char id[STORE_ID];
  ready_dataset(f->service, "orl");
  atomic_store(&target_epochs, 0);
  submit_job(f->service, "", id);
  wait_epoch(f->service, id, 3);
  assert_int_equal(service_job_resume(f->service, id, NULL, NULL), 0); /* running: nothing to do */
  assert_int_equal(service_job_pause(f->service, id, NULL, NULL), 0);
  wait_job(f->service, id, JOB_STATE_PAUSED);
  assert_int_equal(service_job_pause(f->service, id, NULL, NULL), 0);
  restart(f); /* stays paused */
  assert_int_equal(state_now(f->service, id), JOB_STATE_PAUSED);
  atomic_store(&target_epochs, 6);
  assert_int_equal(service_job_resume(f->service, id, NULL, NULL), 0);
  wait_job(f->service, id, JOB_STATE_SUCCEEDED);
  assert_true(atomic_load(&last_resumed) >= 2);
  expect_metrics(f->service, id, 6);
}

static void pause_and_resume_at_once(void **state) {
  struct fixture *f = *state;
  char id[STORE_ID];
  ready_dataset(f->service, "orl");
  atomic_store(&target_epochs, 0);
  submit_job(f->service, "", id);
  wait_epoch(f->service, id, 2);
  for (int i = 0; i < 20; i++) {
    assert_int_equal(service_job_pause(f->service, id, NULL, NULL), 0);
    assert_int_equal(service_job_resume(f->service, id, NULL, NULL), 0);
    (void)usleep(1000u * (unsigned)(i % 4));
  }
  wait_job(f->service, id, JOB_STATE_RUNNING);
  uint32_t epochs = 60;
  atomic_store(&target_epochs, epochs);
  wait_job(f->service, id, JOB_STATE_SUCCEEDED);
  expect_metrics(f->service, id, epochs);
}

struct clicker {
  struct service *service;
  const char *id;
  uint32_t seed;
};

static void *click(void *context) {
  struct clicker *clicker = context;
  for (uint32_t i = 0; i < 60; i++) {
    clicker->seed = clicker->seed * 1664525u + 1013904223u;
    bool pause = clicker->seed >> 31;
    int r = pause ? service_job_pause(clicker->service, clicker->id, NULL, NULL)
                  : service_job_resume(clicker->service, clicker->id, NULL, NULL);
    if (r < 0)
      return (void *)clicker->id;
    (void)usleep(clicker->seed >> 20 & 0x7ff);
  }
  return NULL;
}

/* Whatever three clients ask in whatever order, the job listens to the last word. */
static void three_clients_pause_and_resume(void **state) {
  struct fixture *f = *state;
  pthread_t thread[3];
  struct clicker clicker[3];
  char id[STORE_ID];
  ready_dataset(f->service, "orl");
  atomic_store(&target_epochs, 0);
  submit_job(f->service, "", id);
  wait_epoch(f->service, id, 2);
  for (uint32_t i = 0; i < 3; i++) {
    clicker[i] = (struct clicker){f->service, id, 7 * i + 1};
    assert_int_equal(pthread_create(&thread[i], NULL, click, &clicker[i]), 0);
  }
  for (uint32_t i = 0; i < 3; i++) {
    void *failed;
    assert_int_equal(pthread_join(thread[i], &failed), 0);
    assert_null(failed);
  }
  assert_int_equal(service_job_pause(f->service, id, NULL, NULL), 0);
  wait_job(f->service, id, JOB_STATE_PAUSED);
  assert_int_equal(service_job_resume(f->service, id, NULL, NULL), 0);
  wait_job(f->service, id, JOB_STATE_RUNNING);
  atomic_store(&target_epochs, 100);
  wait_job(f->service, id, JOB_STATE_SUCCEEDED);
  expect_metrics(f->service, id, 100);
}

static void two_jobs_within_the_cores(void **state) {
  struct fixture *f = *state;
  char ids[4][STORE_ID], wide[STORE_ID];
  ready_dataset(f->service, "orl");
  atomic_store(&target_epochs, 20);
  for (int i = 0; i < 4; i++)
    submit_job(f->service, "", ids[i]);
  submit_job(f->service, ",\"resources\":{\"threads\":3}", wide);
  for (int i = 0; i < 4; i++)
    wait_job(f->service, ids[i], JOB_STATE_SUCCEEDED);
  wait_job(f->service, wide, JOB_STATE_SUCCEEDED);
  assert_int_equal(atomic_load(&most_running), 2);
  assert_true(atomic_load(&most_threads) <= 4);
}

/* ---- a full disk ---- */

static void wait_phase(struct service *service, const char *id, const char *phase) {
  struct job_row row = {.phase = ""};
  for (int i = 0; i < 6000 && strcmp(row.phase, phase) != 0; i++) {
    assert_int_equal(service_job_get(service, id, &row), 0);
    job_row_clear(&row);
    (void)usleep(5000);
  }
  assert_string_equal(row.phase, phase);
  assert_int_equal(row.state, JOB_STATE_RUNNING);
}

/* Until there is room the job keeps its checkpoint; then it goes on from there and no metric is doubled. */
static void a_job_waits_for_room(void **state) {
  struct fixture *f = *state;
  struct job_row row;
  char id[STORE_ID], paused[STORE_ID];
  ready_dataset(f->service, "orl");
  atomic_store(&job_result, -ENOSPC);
  submit_job(f->service, "", id);
  submit_job(f->service, ",\"resources\":{\"max_runtime_s\":1}", paused);
  wait_phase(f->service, id, "waiting for storage");
  wait_phase(f->service, paused, "waiting for storage");
  assert_int_equal(service_job_pause(f->service, paused, NULL, NULL), 0); /* it can be paused and canceled */
  wait_job(f->service, paused, JOB_STATE_PAUSED);
  (void)usleep(1200000);
  assert_int_equal(state_now(f->service, id), JOB_STATE_RUNNING);
  atomic_store(&job_result, 0);
  wait_job(f->service, id, JOB_STATE_SUCCEEDED);
  assert_int_equal(atomic_load(&last_resumed), 3);
  expect_metrics(f->service, id, 3);
  assert_int_equal(service_job_get(f->service, paused, &row), 0);
  assert_true(row.runtime_s < 1); /* waiting is no run time */
  job_row_clear(&row);
  assert_int_equal(service_job_resume(f->service, paused, NULL, NULL), 0);
  wait_job(f->service, paused, JOB_STATE_SUCCEEDED);
  assert_int_equal(service_storage(f->service), 0);
}

static void wait_reason(struct service *service, const char *id, const char *reason) {
  struct job_queue queue = {.reason = ""};
  for (int i = 0; i < 5000 && strcmp(queue.reason, reason) != 0; i++) {
    struct job_row row;
    (void)usleep(2000);
    assert_int_equal(service_job_get(service, id, &row), 0);
    assert_int_equal(service_job_queue(service, &row, &queue), 0);
    job_row_clear(&row);
  }
  assert_string_equal(queue.reason, reason);
}

/* What was accepted is not lost because its pack did not fit at once. */
static void an_ingest_waits_for_room(void **state) {
  struct fixture *f = *state;
  struct dataset_row row;
  char id[STORE_ID];
  bool created;
  atomic_store(&ingest_result, -ENOSPC);
  assert_int_equal(accept_upload(f->service, "orl", "faces", &row, &created), 0);
  for (int i = 0; i < 500 && service_storage(f->service) == 0; i++)
    (void)usleep(5000);
  assert_int_equal(service_storage(f->service), -ENOSPC);
  (void)usleep(100000);
  assert_int_equal(service_dataset_get(f->service, "orl", &row), 0);
  assert_int_equal(row.state, DATASET_INGESTING);
  submit_job(f->service, "", id);
  wait_reason(f->service, id, "storage"); /* until the disk was tried, once a second */
  wait_reason(f->service, id, "data_set");
  atomic_store(&ingest_result, 0);
  wait_dataset(f->service, "orl", DATASET_READY);
  wait_job(f->service, id, JOB_STATE_SUCCEEDED);
  for (int i = 0; i < 500 && service_storage(f->service) < 0; i++)
    (void)usleep(5000);
  assert_int_equal(service_storage(f->service), 0);
}

/* A checkpoint that cannot be looked at is none that is missing. */
static void a_checkpoint_out_of_reach_is_waited_for(void **state) {
  struct fixture *f = *state;
  char id[STORE_ID], work[160], hidden[160];
  ready_dataset(f->service, "orl");
  atomic_store(&target_epochs, 0);
  submit_job(f->service, "", id);
  wait_epoch(f->service, id, 3);
  assert_int_equal(service_job_pause(f->service, id, NULL, NULL), 0);
  wait_job(f->service, id, JOB_STATE_PAUSED);
  (void)snprintf(work, sizeof(work), "%s/state/work/%s", f->directory, id);
  (void)snprintf(hidden, sizeof(hidden), "%s/hidden", f->directory);
  assert_int_equal(rename(work, hidden), 0);
  assert_int_equal(symlink(work, work), 0); /* looking there fails with ELOOP */
  assert_int_equal(service_job_resume(f->service, id, NULL, NULL), 0);
  (void)usleep(300000);
  assert_int_equal(state_now(f->service, id), JOB_STATE_QUEUED);
  assert_int_equal(unlink(work), 0);
  assert_int_equal(rename(hidden, work), 0);
  atomic_store(&target_epochs, 7);
  wait_job(f->service, id, JOB_STATE_SUCCEEDED);
  assert_true(atomic_load(&last_resumed) >= 2);
  expect_metrics(f->service, id, 7);
}

static void stopping_the_daemon(void **state) {
  struct fixture *f = *state;
  struct transition_row *rows;
  uint32_t late = 99, count;
  char id[STORE_ID];
  ready_dataset(f->service, "orl");
  atomic_store(&target_epochs, 0);
  submit_job(f->service, "", id);
  wait_epoch(f->service, id, 3);
  assert_true(service_ready(f->service));
  assert_true(service_alive(f->service));
  service_drain(f->service);
  assert_false(service_ready(f->service));
  service_stop_jobs(f->service, &late);
  assert_int_equal(late, 0);
  assert_int_equal(state_now(f->service, id), JOB_STATE_QUEUED);
  atomic_store(&target_epochs, 7);
  restart(f);
  wait_job(f->service, id, JOB_STATE_SUCCEEDED);
  assert_true(atomic_load(&last_resumed) >= 2);
  expect_metrics(f->service, id, 7);
  assert_int_equal(store_job_transitions(service_store(f->service), id, &rows, &count), 0);
  assert_string_equal(rows[2].reason, "daemon stops");
  free(rows);
}

/* The daemon dies three times in the middle of an epoch, by _exit() in a child: no metric is lost or doubled.
 */
static void killed_three_times(void **state) {
  struct fixture *f = *state;
  char id[STORE_ID];
  ready_dataset(f->service, "orl");
  atomic_store(&target_epochs, 8);
  service_drain(f->service); /* the child is to run it */
  struct spec_problems problems = {0};
  struct job_row row;
  assert_int_equal(submit(f->service, "", &row, &problems), -ESHUTDOWN);
  f->service = service_free(f->service);
  for (uint32_t kill = 0; kill < 3; kill++) {
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
      atomic_store(&killed_at, 2 + 2 * kill);
      start(f);
      if (kill == 0)
        submit_job(f->service, "", id);
      (void)sleep(20);
      _exit(1);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(WEXITSTATUS(status), 42);
  }
  start(f);
  struct job_filter filter = {.states = 0};
  struct store_page page = {.limit = 10};
  struct job_row *jobs;
  uint32_t count;
  int64_t next;
  assert_int_equal(store_job_list(service_store(f->service), &filter, &page, &jobs, &count, &next), 0);
  assert_int_equal(count, 1);
  memcpy(id, jobs[0].id, STORE_ID);
  assert_int_equal(jobs[0].attempt, 1);
  job_rows_free(jobs, count);
  wait_job(f->service, id, JOB_STATE_SUCCEEDED);
  assert_int_equal(atomic_load(&last_resumed), 5); /* epoch 6 was being computed */
  expect_metrics(f->service, id, 8);
}

/* ---- the directory ---- */

static void one_daemon_a_directory(void **state) {
  struct fixture *f = *state;
  struct service *second;
  struct guise_error err;
  assert_int_equal(service_open(&f->config, &second, &err), -EBUSY);
  assert_non_null(strstr(err.text, "--state"));
}

static void orphans_are_swept(void **state) {
  struct fixture *f = *state;
  static const char *const orphans[] = {
      "uploads/upload-abc", "uploads/ds_gone", "work/job_gone/checkpoint-1",
      "blobs/aa/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "blobs/aa/part.Xy12"};
  char path[256], id[STORE_ID];
  ready_dataset(f->service, "orl");
  atomic_store(&target_epochs, 0);
  submit_job(f->service, "", id);
  wait_epoch(f->service, id, 2);
  assert_int_equal(service_job_pause(f->service, id, NULL, NULL), 0);
  wait_job(f->service, id, JOB_STATE_PAUSED);
  f->service = service_free(f->service);
  for (size_t i = 0; i < ARRAY_SIZE(orphans); i++) {
    (void)snprintf(path, sizeof(path), "%s/state/%s", f->directory, orphans[i]);
    *strrchr(path, '/') = 0;
    assert_int_equal(directory_make(path, NULL), 0);
    path[strlen(path)] = '/';
    assert_int_equal(file_write_atomic(path, "x", 1, NULL), 0);
  }
  start(f);
  for (size_t i = 0; i < ARRAY_SIZE(orphans); i++) {
    (void)snprintf(path, sizeof(path), "%s/state/%s", f->directory, orphans[i]);
    if (access(path, F_OK) == 0)
      fail_msg("%s is still there", orphans[i]);
  }
  assert_int_equal(entries(f, "blobs"), 1); /* the pack stays, and so does the paused job's checkpoint */
  assert_int_equal(entries(f, "work"), 1);
}

/* ---- work for the API ---- */

static void count_work(void *context) {
  (void)atomic_fetch_add((atomic_uint *)context, 1);
}

static void blocking_work(void **state) {
  struct fixture *f = *state;
  static atomic_uint done;
  atomic_store(&done, 0);
  for (int i = 0; i < 100; i++)
    assert_int_equal(service_run(f->service, count_work, &done), 0);
  f->service = service_free(f->service); /* runs what waits */
  assert_int_equal(atomic_load(&done), 100);
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
  const struct CMUnitTest tests[] = {
      TEST(uploading),
      TEST(a_bad_archive),
      TEST(an_ingest_is_stopped_by_delete_and_by_restart),
      TEST(a_job_from_start_to_model),
      TEST(mistakes_are_told_together),
      TEST(models_and_public_faces_of_a_job),
      TEST(public_faces_are_waited_for),
      TEST(what_attackers_learn_from),
      TEST(failing_and_timing_out),
      TEST(what_the_machine_fails_is_tried_again),
      TEST(canceling),
      TEST(pausing_and_resuming),
      TEST(pause_and_resume_at_once),
      TEST(three_clients_pause_and_resume),
      TEST(victims_are_the_model_owners),
      TEST(two_jobs_within_the_cores),
      TEST(a_job_waits_for_room),
      TEST(an_ingest_waits_for_room),
      TEST(a_checkpoint_out_of_reach_is_waited_for),
      TEST(stopping_the_daemon),
      TEST(killed_three_times),
      TEST(one_daemon_a_directory),
      TEST(orphans_are_swept),
      TEST(blocking_work),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
