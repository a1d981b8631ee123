/* The service with a job that is not training (replaced_core.h), so that every course of a job can be driven
 * to a precise point. */
#include "daemon/service_internal.h"
#include "tests/unit/service/service_fixture.h"

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
  assert_int_equal(service_upload_begin(f->service, &anybody, "job_1", 0, &upload, NULL), -EINVAL);
  const struct client bob = {.owner = "bob", .sees = "bob"};
  assert_int_equal(service_upload_begin(f->service, &bob, "orl", 0, &upload, NULL), -EEXIST);
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
  assert_int_equal(service_upload_begin(f->service, &anybody, "u", 0, &upload, NULL), 0);
  assert_int_equal(service_upload_write(upload, big, 1000, NULL), 0);
  assert_int_equal(service_upload_write(upload, big, 1, &err), -EFBIG);
  service_upload_free(upload);
  assert_int_equal(entries(f, "uploads"), 0);

  assert_int_equal(service_dataset_delete(f->service, "orl", NULL, &err), 0);
  assert_int_equal(entries(f, "blobs"), 0);
  assert_int_equal(service_dataset_delete(f->service, "orl", NULL, &err), -ENOENT);
}

/* What is on its way counts against the quota, announced or not, and no longer once it is given up or stored.
 */
static void uploads_count_together(void **state) {
  struct fixture *f = *state;
  static const struct client alice = {.owner = "alice", .sees = "alice"},
                             bob = {.owner = "bob", .sees = "bob"};
  struct upload *first, *second, *third;
  struct dataset_row row;
  struct guise_error err = {0};
  bool created;
  store_set_quota(service_store(f->service), 0, 100, 0);
  assert_int_equal(service_upload_begin(f->service, &alice, "a", 101, &first, &err), -EUSERS);
  assert_non_null(strstr(err.text, "owner_bytes"));
  assert_int_equal(service_upload_begin(f->service, &alice, "a", 60, &first, NULL), 0);
  assert_int_equal(service_upload_begin(f->service, &alice, "b", 41, &second, NULL), -EUSERS);
  assert_int_equal(service_upload_begin(f->service, &bob, "b", 100, &second, NULL), 0);
  service_upload_free(second);
  assert_int_equal(service_upload_begin(f->service, &alice, "b", 0, &second, NULL), 0);
  assert_int_equal(service_upload_write(second, "0123456789012345678901234567890123456789", 40, NULL), 0);
  assert_int_equal(service_upload_write(second, "0", 1, NULL), -EUSERS);
  assert_int_equal(service_upload_begin(f->service, &alice, "c", 1, &third, NULL), -EUSERS);
  assert_int_equal(service_upload_write(first, "faces", 5, NULL), 0);
  service_upload_free(first);
  assert_int_equal(service_upload_write(second, "0", 1, NULL), 0);
  assert_int_equal(
      service_dataset_accept(f->service, &alice, "b", second, DATASET_FACES, 0, &row, &created, NULL), 0);
  assert_int_equal(service_upload_begin(f->service, &alice, "c", 60, &third, NULL), -EUSERS);
  assert_int_equal(service_upload_begin(f->service, &alice, "c", 59, &third, NULL),
                   0); /* 41 are counted once */
  service_upload_free(third);
  service_upload_free(second);
  assert_int_equal(service_upload_begin(f->service, &alice, "b", 100, &third, NULL), 0); /* in b's place */
  service_upload_free(third);
  store_set_quota(service_store(f->service), 0, 0, 0);
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

/* ---- a full disk ---- */

static void wait_phase(struct service *service, const char *id, const char *phase) {
  struct job_row row = {.phase = ""};
  for (int i = 0; i < 6000 && strcmp(row.phase, phase) != 0; i++) {
    assert_int_equal(service_job_get(service, id, &row), 0);
    job_row_clear(&row);
    (void)usleep(5000);
  }
  assert_string_equal(row.phase, phase);
}

static void wait_reason(struct service *service, const char *id, const char *reason) {
  struct job_queue queue = {.reason = ""};
  for (int i = 0; i < 5000 && strcmp(queue.reason, reason) != 0; i++) {
    struct job_row row;
    (void)usleep(2000);
    assert_int_equal(service_job_get(service, id, &row), 0);
    if (row.state == JOB_STATE_QUEUED)
      assert_int_equal(service_job_queue(service, &row, &queue), 0);
    job_row_clear(&row);
  }
  assert_string_equal(queue.reason, reason);
}

/* A job that needs more room than there is holds no worker while it waits: others run, one after the other if
 * there is one worker. */
static void a_job_without_room_gives_way(void **state) {
  struct fixture *f = *state;
  char id[STORE_ID], other[STORE_ID];
  struct transition_row *rows;
  uint32_t count;
  bool told = false;
  f->service = service_free(f->service);
  f->config.workers = 1;
  start(f);
  ready_dataset(f->service, "orl");
  atomic_store(&job_result, -ENOSPC);
  submit_job(f->service, "", id);
  wait_reason(f->service, id, "storage");
  const uint32_t begun = atomic_load(&jobs_begun);
  atomic_store(&job_result, -ENOSPC); /* once more: the next try waits longer */
  for (int i = 0; i < 5000 && atomic_load(&jobs_begun) == begun; i++)
    (void)usleep(2000);
  wait_job(f->service, id, JOB_STATE_QUEUED);
  atomic_store(&job_result, 0);
  submit_job(f->service, "", other);
  wait_job(f->service, other, JOB_STATE_SUCCEEDED);
  assert_int_equal(state_now(f->service, id), JOB_STATE_QUEUED);
  wait_job(f->service, id, JOB_STATE_SUCCEEDED);
  assert_int_equal(atomic_load(&last_resumed), 3); /* from its checkpoint */
  expect_metrics(f->service, id, 3);
  assert_int_equal(store_job_transitions(service_store(f->service), id, &rows, &count), 0);
  for (uint32_t i = 0; i < count; i++)
    told |= strcmp(rows[i].reason, "waiting for disk space") == 0;
  assert_true(told);
  free(rows);
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
  wait_reason(f->service, id, "storage"); /* and it holds no worker meanwhile */
  assert_int_equal(service_job_pause(f->service, paused, NULL, NULL), 0); /* it can be paused and canceled */
  wait_job(f->service, paused, JOB_STATE_PAUSED);
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

static void upload_and_wait(struct fixture *f, const char *name, int result, uint32_t fails,
                            enum dataset_state wanted) {
  struct dataset_row row;
  bool created;
  atomic_store(&ingest_tries, 0);
  atomic_store(&ingest_fails, fails);
  atomic_store(&ingest_result, result);
  assert_int_equal(accept_upload(f->service, name, name, &row, &created), 0);
  wait_dataset(f->service, name, wanted);
}

/* What the machine fails is not the upload's fault; but not for ever. Others pass it meanwhile. */
static void an_ingest_that_the_machine_fails(void **state) {
  struct fixture *f = *state;
  struct dataset_row row;
  bool created;
  f->service = service_free(f->service);
  f->config.retry_delay_s = 0;
  start(f);
  upload_and_wait(f, "memory", -ENOMEM, 3, DATASET_READY);
  upload_and_wait(f, "disk", -EIO, 1, DATASET_READY);
  upload_and_wait(f, "files", -EMFILE, 2, DATASET_READY);
  upload_and_wait(f, "never", -ENOMEM, 4, DATASET_FAILED);
  assert_int_equal(atomic_load(&ingest_tries), 4);
  f->service = service_free(f->service);
  f->config.retry_delay_s = 1;
  start(f);
  atomic_store(&ingest_tries, 0);
  atomic_store(&ingest_fails, 1);
  assert_int_equal(accept_upload(f->service, "first", "first", &row, &created), 0);
  for (int i = 0; i < 3000 && atomic_load(&ingest_tries) < 1; i++)
    (void)usleep(1000);
  ready_dataset(f->service, "second");
  assert_int_equal(service_dataset_get(f->service, "first", &row), 0);
  assert_int_equal(row.state, DATASET_INGESTING);
  wait_dataset(f->service, "first", DATASET_READY);
  assert_int_equal(atomic_load(&ingest_tries), 3);
}

/* What is erased while it waits for its next try is not waited for. */
static void nothing_is_kept_of_what_is_erased(void **state) {
  struct fixture *f = *state;
  struct dataset_row row;
  char id[STORE_ID];
  bool created;
  ready_dataset(f->service, "orl");
  atomic_store(&job_result, -ENOSPC);
  submit_job(f->service, "", id);
  wait_reason(f->service, id, "storage");
  assert_int_equal(service_job_cancel(f->service, id, NULL, NULL), 0);
  wait_job(f->service, id, JOB_STATE_CANCELED);
  assert_int_equal(service_job_delete(f->service, id, NULL, NULL), 0);
  for (int i = 0; i < 3000 && f->service->trials.first; i++) /* its runner may still end */
    (void)usleep(1000);
  assert_null(f->service->trials.first);
  f->service = service_free(f->service);
  f->config.retry_delay_s = 60;
  start(f);
  atomic_store(&ingest_tries, 0);
  atomic_store(&ingest_fails, 1);
  atomic_store(&ingest_result, -EIO);
  assert_int_equal(accept_upload(f->service, "waits", "waits", &row, &created), 0);
  for (int i = 0; i < 3000 && trials_due(&f->service->trials, row.id); i++)
    (void)usleep(1000);
  assert_false(trials_due(&f->service->trials, row.id));
  assert_int_equal(service_dataset_delete(f->service, "waits", NULL, NULL), 0);
  assert_null(f->service->trials.first);
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
      TEST(uploads_count_together),
      TEST(a_bad_archive),
      TEST(an_ingest_is_stopped_by_delete_and_by_restart),
      TEST(a_job_waits_for_room),
      TEST(a_job_without_room_gives_way),
      TEST(an_ingest_waits_for_room),
      TEST(an_ingest_that_the_machine_fails),
      TEST(nothing_is_kept_of_what_is_erased),
      TEST(a_checkpoint_out_of_reach_is_waited_for),
      TEST(stopping_the_daemon),
      TEST(killed_three_times),
      TEST(one_daemon_a_directory),
      TEST(orphans_are_swept),
      TEST(blocking_work),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
