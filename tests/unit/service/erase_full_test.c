/* Erasing on a full disk: what is reserved for it is given up, and what it was asked to erase is gone. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "core/base/file.h"
#include "daemon/log.h"
#include "daemon/service_internal.h"
#include "tests/unit/service/faulty_vfs.h"
#include "tests/unit/service/replaced_core.h"

static const struct client anybody = {.owner = "", .sees = NULL};

struct fixture {
  char directory[64], reserve[96], wall[96]; /* wall: a file that no erasure removes */
  struct service *service;
};

static int set_up(void **state) {
  struct fixture *f = calloc(1, sizeof(*f));
  struct config config;
  log_set_level(LOG_LEVEL_ERROR);
  (void)snprintf(f->directory, sizeof(f->directory), "/tmp/guise-erase-XXXXXX");
  if (!mkdtemp(f->directory))
    return -1;
  (void)snprintf(f->reserve, sizeof(f->reserve), "%s/state/%s", f->directory, RESERVE_FILE);
  (void)snprintf(f->wall, sizeof(f->wall), "%s/wall", f->directory);
  config_defaults(&config);
  (void)snprintf(config.state, sizeof(config.state), "%s/state", f->directory);
  config.cores = config.workers = config.threads = config.decoders = 1;
  atomic_store(&target_epochs, 1);
  faulty_arm(0, 0, false, false);
  faulty.full_while = NULL;
  *state = f;
  return service_open(&config, &f->service, NULL) < 0 || service_start(f->service, NULL) < 0 ? -1 : 0;
}

static int tear_down(void **state) {
  struct fixture *f = *state;
  faulty.full_while = NULL;
  service_free(f->service);
  (void)directory_remove(f->directory);
  free(f);
  return 0;
}

static void add_dataset(struct fixture *f, const char *name) {
  struct dataset_row row = {.state = DATASET_INGESTING};
  struct upload *upload;
  bool created;
  assert_int_equal(service_upload_begin(f->service, &anybody, "u", 0, &upload, NULL), 0);
  assert_int_equal(service_upload_write(upload, name, strlen(name), NULL), 0);
  assert_int_equal(
      service_dataset_accept(f->service, &anybody, name, upload, DATASET_FACES, 0, &row, &created, NULL), 0);
  service_upload_free(upload);
  for (int i = 0; i < 3000 && row.state != DATASET_READY; i++) {
    (void)usleep(2000);
    assert_int_equal(service_dataset_get(f->service, name, &row), 0);
  }
  assert_int_equal(row.state, DATASET_READY);
}

/* Trains on "orl"; the job's and its model's ids. */
static void add_job(struct fixture *f, char ret_job[STORE_ID], char ret_model[STORE_ID]) {
  struct spec_problems problems = {0};
  struct job_row row;
  bool replayed;
  json_t *body = json_pack("{s:s, s:s}", "type", "train", "dataset", "orl");
  assert_int_equal(
      service_job_submit(f->service, &anybody, body, false, NULL, &problems, &row, &replayed, NULL), 0);
  json_decref(body);
  memcpy(ret_job, row.id, STORE_ID);
  for (int i = 0; i < 3000 && row.state != JOB_STATE_SUCCEEDED; i++) {
    job_row_clear(&row);
    (void)usleep(2000);
    assert_int_equal(service_job_get(f->service, ret_job, &row), 0);
  }
  assert_int_equal(row.state, JOB_STATE_SUCCEEDED);
  memcpy(ret_model, row.model_id, STORE_ID);
  job_row_clear(&row);
}

/* A full disk with the reserve on it. */
static void fill(struct fixture *f) {
  assert_int_equal(file_write_atomic(f->reserve, "x", 1, NULL), 0);
  faulty.full_while = f->reserve;
}

static void expect_erased(struct fixture *f, int r, json_t **receipt) {
  assert_int_equal(r, 0);
  assert_true(json_is_true(json_object_get(*receipt, "log_emptied")));
  json_decref(*receipt);
  assert_int_equal(access(f->reserve, F_OK), -1);
  faulty.full_while = NULL;
}

static void the_reserve_is_made(void **state) {
  struct fixture *f = *state;
  for (int i = 0; i < 1000 && access(f->reserve, F_OK) < 0; i++)
    (void)usleep(2000);
  assert_int_equal(access(f->reserve, F_OK), 0);
}

/* The daemon ended between making the file and filling it. */
static void a_reserve_without_room_is_filled(void **state) {
  struct fixture *f = *state;
  struct stat st = {0};
  int64_t looked = 0;
  the_reserve_is_made(state);
  assert_int_equal(truncate(f->reserve, 0), 0);
  reserve_keep(f->service, &looked);
  assert_int_equal(stat(f->reserve, &st), 0);
  assert_true(st.st_size > 0 && (int64_t)st.st_blocks * 512 >= (int64_t)st.st_size);
}

static void everything_can_be_erased(void **state) {
  struct fixture *f = *state;
  char job[STORE_ID], model[STORE_ID];
  struct dataset_row dataset;
  struct job_row row;
  struct model_row found;
  json_t *receipt = NULL;
  add_dataset(f, "orl");
  add_dataset(f, "other");
  add_job(f, job, model);
  fill(f);
  struct audit_row note = {
      .at = 1, .actor = "loopback", .action = "deleteModel", .object = "", .status = 204};
  assert_int_equal(store_audit_add(service_store(f->service), &note, 1000), -ENOSPC); /* it is full */
  expect_erased(f, service_model_delete(f->service, model, &receipt, NULL), &receipt);
  assert_int_equal(store_model_get(service_store(f->service), model, &found), -ENOENT);
  fill(f);
  expect_erased(f, service_job_delete(f->service, job, &receipt, NULL), &receipt);
  assert_int_equal(service_job_get(f->service, job, &row), -ENOENT);
  fill(f);
  expect_erased(f, service_dataset_delete(f->service, "orl", &receipt, NULL), &receipt);
  assert_int_equal(service_dataset_get(f->service, "orl", &dataset), -ENOENT);
  assert_int_equal(service_dataset_get(f->service, "other", &dataset), 0);
}

/* Where even that is not enough nothing is half erased. */
static void a_fuller_disk(void **state) {
  struct fixture *f = *state;
  struct dataset_row dataset;
  json_t *receipt = NULL;
  add_dataset(f, "orl");
  assert_int_equal(file_write_atomic(f->wall, "x", 1, NULL), 0);
  faulty.full_while = f->wall;
  assert_int_equal(service_dataset_delete(f->service, "orl", &receipt, NULL), -ENOSPC);
  assert_null(receipt);
  assert_int_equal(service_dataset_get(f->service, "orl", &dataset), 0);
  faulty.full_while = NULL;
  assert_int_equal(service_dataset_delete(f->service, "orl", &receipt, NULL), 0);
  json_decref(receipt);
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
  const struct CMUnitTest tests[] = {TEST(the_reserve_is_made), TEST(a_reserve_without_room_is_filled),
                                     TEST(everything_can_be_erased), TEST(a_fuller_disk)};
  if (faulty_register() != SQLITE_OK)
    return 1;
  return cmocka_run_group_tests(tests, NULL, NULL);
}
