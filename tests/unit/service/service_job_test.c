/* Jobs of the service: from start to model, what they are given, pausing and canceling, several at once. */
#include "tests/unit/service/service_fixture.h"

#include "daemon/store_internal.h"

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

/* Public faces that are masked like the job's own must be of its input; those an embedder learns from need
 * not. */
static void small_public_faces(void **state) {
  struct fixture *f = *state;
  static const char *const masked[] = {
      "\"mask\":{\"pool\":\"both\",\"public_dataset\":\"small\"}",
      "\"mask\":{\"decoys\":8,\"public_dataset\":\"small\"},\"audit\":{\"attacks\":[]}",
      "\"mask\":{\"method\":\"generative\",\"public_dataset\":\"small\"}",
      "\"mask\":{\"public_dataset\":\"small\"},\"defences\":[{\"method\":\"tl_dmi\"}]",
      ("\"mask\":{\"method\":\"none\",\"public_dataset\":\"small\"},"
       "\"defences\":[{\"method\":\"dp_sgd\"}]")};
  struct dataset_row row;
  struct upload *upload;
  char extra[400], job[STORE_ID];
  bool created;
  ready_dataset(f->service, "orl");
  assert_int_equal(service_upload_begin(f->service, &anybody, "small", 0, &upload, NULL), 0);
  assert_int_equal(service_upload_write(upload, "small", 5, NULL), 0);
  assert_int_equal(
      service_dataset_accept(f->service, &anybody, "small", upload, DATASET_FACES, 64, &row, &created, NULL),
      0);
  service_upload_free(upload);
  wait_dataset(f->service, "small", DATASET_READY);
  for (size_t i = 0; i < ARRAY_SIZE(masked); i++) {
    (void)snprintf(extra, sizeof(extra), ",%s", masked[i]);
    expect_problem(f->service, extra, "/mask/public_dataset", "out_of_range");
    (void)snprintf(extra, sizeof(extra), ",\"model\":{\"input\":64},%s", masked[i]);
    submit_job(f->service, extra, job);
  }
  submit_job(f->service, ",\"mask\":{\"public_dataset\":\"small\"}", job); /* the probe's embedder */
  /* another mistake hides none */
  struct spec_problems problems = {0};
  struct job_row job_row;
  (void)snprintf(extra, sizeof(extra), ",\"train\":{\"epochs\":0},\"labels\":{\"a\":\"b\"},%s", masked[0]);
  assert_int_equal(submit(f->service, extra, &job_row, &problems), -EINVAL);
  assert_int_equal(problems.count, 2);
  assert_string_equal(problems.problem[0].pointer, "/train/epochs");
  assert_string_equal(problems.problem[1].pointer, "/mask/public_dataset");
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

static void expect_control(struct service *service, const char *fields, const char *control,
                           const char *wrong) {
  char extra[400], id[STORE_ID];
  (void)snprintf(extra, sizeof(extra), "%s,\"audit\":{\"attacks\":[\"gradient\"],\"control\":\"%s\"}", fields,
                 control);
  if (wrong) {
    struct spec_problems problems = {0};
    struct job_row row;
    assert_int_equal(submit(service, extra, &row, &problems), -EINVAL);
    assert_int_equal(problems.count, 1);
    assert_string_equal(problems.problem[0].pointer, "/audit/control");
    if (!strstr(problems.problem[0].detail, wrong))
      fail_msg("%s", problems.problem[0].detail);
    spec_problems_free(&problems);
    return;
  }
  submit_job(service, extra, id);
  wait_job(service, id, JOB_STATE_SUCCEEDED);
}

/* A control that is named is undefended and knows the same people of the same faces at the same size. */
static void a_control_is_alike(void **state) {
  struct fixture *f = *state;
  char control[STORE_ID], masked[STORE_ID], seeded[STORE_ID], fewer[STORE_ID], small[STORE_ID],
      other[STORE_ID], defended[STORE_ID], attack[200];
  struct model_file_row file;
  ready_dataset(f->service, "orl");
  ready_dataset(f->service, "lfw");
#define NONE ",\"mask\":{\"method\":\"none\"}"
  make_model(f->service, NONE, control);
  make_model(f->service, "", masked);
  make_model(f->service, NONE ",\"train\":{\"seed\":5}", seeded);
  make_model(f->service, NONE ",\"holdout\":{\"images\":0.5}", fewer);
  make_model(f->service, NONE ",\"model\":{\"input\":64}", small);
  make_model(f->service, NONE ",\"dataset\":\"lfw\"", other);
  make_model(f->service, NONE ",\"defences\":[{\"method\":\"negative_ls\"}]", defended);
  (void)snprintf(attack, sizeof(attack), ",\"type\":\"audit\",\"model\":\"%s\"", masked);
  const char *const ways[] = {"", attack}; /* at the end of a training, and in an audit */
  for (size_t i = 0; i < ARRAY_SIZE(ways); i++) {
    expect_control(f->service, ways[i], "mdl_none", "no model");
    expect_control(f->service, ways[i], masked, "\"none\"");
    expect_control(f->service, ways[i], defended, "defence negative_ls");
    expect_control(f->service, ways[i], seeded, "train.seed");
    expect_control(f->service, ways[i], fewer, "holdout.images");
    expect_control(f->service, ways[i], small, "64 pixels");
    expect_control(f->service, ways[i], other, "faces that the data set holds");
    expect_control(f->service, ways[i], control, NULL);
    assert_int_equal(store_model_file(service_store(f->service), control, "model.safetensors", &file), 0);
    (void)pthread_mutex_lock(&last_lock);
    assert_non_null(strstr(last_control, file.sha256));
    assert_true(last_accuracy == 0.9);
    (void)pthread_mutex_unlock(&last_lock);
  }
  /* what is right for a training with another seed */
  expect_control(f->service, ",\"train\":{\"seed\":5}", seeded, NULL);
  expect_control(f->service, ",\"train\":{\"seed\":5}", control, "train.seed");
  /* facts of models of earlier versions do not tell of defences: their jobs do, as long as they are there */
  sqlite3 *db;
  struct store *store = service_store(f->service);
  assert_int_equal(store_write_begin(store, &db), 0);
  assert_int_equal(
      store_write_end(store,
                      store_exec(db, "UPDATE models SET facts = json_remove(facts, '$.defences')", "")),
      0);
  expect_control(f->service, "", defended, "defence negative_ls");
  expect_control(f->service, "", control, NULL);
}

/* Who judges what is drawn is of another architecture than the model and its control, and there is always
 * one. */
static void every_control_leaves_a_judge(void **state) {
  struct fixture *f = *state;
  char control[STORE_ID], id[STORE_ID], extra[300];
  ready_dataset(f->service, "orl");
  make_model(f->service, NONE ",\"model\":{\"arch\":\"iresnet18\"}", control);
  static const char *const archs[] = {"freq_ir", "iresnet18", "mobilefacenet"};
  for (size_t i = 0; i < ARRAY_SIZE(archs); i++) {
    (void)snprintf(extra, sizeof(extra),
                   ",\"model\":{\"arch\":\"%s\"},\"audit\":{\"attacks\":[\"mi_face\"],\"control\":\"%s\"}",
                   archs[i], control);
    submit_job(f->service, extra, id);
  }
}
#undef NONE

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
  assert_non_null(strstr(row.error, "\"type\":\"urn:guise:problem:job_failed\""));
  job_row_clear(&row);
  atomic_store(&target_epochs, 0);
  submit_job(f->service, ",\"resources\":{\"max_runtime_s\":1}", slow);
  wait_job(f->service, slow, JOB_STATE_FAILED);
  assert_int_equal(service_job_get(f->service, slow, &row), 0);
  assert_non_null(strstr(row.error, "max_runtime_s"));
  assert_non_null(strstr(row.error, "\"type\":\"urn:guise:problem:max_runtime\""));
  assert_true(row.runtime_s >= 1);
  job_row_clear(&row);
  assert_int_equal(service_job_cancel(f->service, slow, NULL, NULL), -EBUSY);
  assert_int_equal(service_job_pause(f->service, slow, NULL, NULL), -EBUSY);
  assert_int_equal(service_job_resume(f->service, slow, NULL, NULL), -EBUSY);
  assert_int_equal(service_job_cancel(f->service, "job_none", NULL, NULL), -ENOENT);
}

/* No memory: from the last checkpoint again, at most three times in a row without a new one and without
 * anything else that is kept. */
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
  atomic_store(&keeps, 3); /* its first three runs get on, and three more do not */
  submit_job(f->service, "", id);
  wait_job(f->service, id, JOB_STATE_FAILED);
  assert_int_equal(atomic_load(&keeps), 0);
  assert_int_equal(service_job_get(f->service, id, &row), 0);
  assert_int_equal(row.attempt, 6);
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
  submit_job(f->service, "", queued); /* the first one holds all cores, for 9 s more */
  struct job_queue queue;
  assert_int_equal(service_job_get(f->service, queued, &row), 0);
  assert_int_equal(service_job_queue(f->service, &row, &queue), 0);
  assert_string_equal(queue.reason, "threads");
  assert_true(queue.eta_s > 8.9 && queue.eta_s < 9.1);
  job_row_clear(&row);
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

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
  const struct CMUnitTest tests[] = {
      TEST(a_job_from_start_to_model),
      TEST(mistakes_are_told_together),
      TEST(small_public_faces),
      TEST(models_and_public_faces_of_a_job),
      TEST(public_faces_are_waited_for),
      TEST(what_attackers_learn_from),
      TEST(a_control_is_alike),
      TEST(every_control_leaves_a_judge),
      TEST(failing_and_timing_out),
      TEST(what_the_machine_fails_is_tried_again),
      TEST(canceling),
      TEST(pausing_and_resuming),
      TEST(pause_and_resume_at_once),
      TEST(three_clients_pause_and_resume),
      TEST(victims_are_the_model_owners),
      TEST(two_jobs_within_the_cores),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
