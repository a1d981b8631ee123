/* Ingests that end in vain, on a replaced core: an accepted upload is not lost for what is the machine's
 * fault, and one that failed comes in when it is sent again. */
#include "daemon/service_internal.h"
#include "tests/unit/service/service_fixture.h"

static void dataset_of(struct fixture *f, const char *key, enum dataset_state wanted,
                       struct dataset_row *ret_row) {
  assert_int_equal(service_dataset_get(f->service, key, ret_row), 0);
  assert_int_equal(ret_row->state, wanted);
}

/* Until it tells why the first try was in vain. */
static void wait_in_vain(struct fixture *f, const char *name) {
  struct dataset_row row;
  for (int i = 0; i < 3000; i++) {
    dataset_of(f, name, DATASET_INGESTING, &row);
    if (row.error[0])
      break;
    (void)usleep(1000);
  }
  assert_string_equal(row.error, "cannot write decoded images"); /* what the replaced core says */
}

static void what_the_machine_lacks_is_waited_for(void **state) {
  struct fixture *f = *state;
  static const int results[] = {-EPERM, -ENOENT, -EACCES, -ENOEXEC};
  struct dataset_row row;
  bool created;
  for (size_t i = 0; i < ARRAY_SIZE(results); i++) {
    char name[16];
    (void)snprintf(name, sizeof(name), "set%zu", i);
    atomic_store(&ingest_result, results[i]);
    assert_int_equal(accept_upload(f->service, name, name, &row, &created), 0);
    wait_in_vain(f, name);
    assert_int_equal(entries(f, "uploads"), 1);
    assert_false(trials_due(&f->service->trials, row.id));
    assert_int_equal(accept_upload(f->service, name, name, &row, &created), 0); /* changes nothing */
    assert_false(created);
    assert_int_equal(row.state, DATASET_INGESTING);
    atomic_store(&ingest_result, 0);
    wait_dataset(f->service, name, DATASET_READY);
    dataset_of(f, name, DATASET_READY, &row);
    assert_string_equal(row.error, "");
    assert_int_equal(entries(f, "uploads"), 0);
  }
}

static void a_restart_tries_again(void **state) {
  struct fixture *f = *state;
  struct dataset_row row;
  bool created;
  atomic_store(&ingest_result, -EPERM);
  assert_int_equal(accept_upload(f->service, "orl", "faces", &row, &created), 0);
  wait_in_vain(f, "orl");
  f->service = service_free(f->service);
  atomic_store(&ingest_result, 0);
  start(f);
  wait_dataset(f->service, "orl", DATASET_READY);
}

static void the_same_bytes_again(void **state) {
  struct fixture *f = *state;
  struct dataset_row row, again;
  struct store_page page = {.limit = 1000};
  struct reject_row *rejects;
  uint32_t count;
  int64_t next;
  bool created;
  atomic_store(&ingest_result, -EFBIG);
  assert_int_equal(accept_upload(f->service, "orl", "faces", &row, &created), 0);
  wait_dataset(f->service, "orl", DATASET_FAILED);
  assert_int_equal(entries(f, "uploads"), 0);
  assert_int_equal(accept_upload(f->service, "orl", "other", &again, &created), -EEXIST);
  dataset_of(f, "orl", DATASET_FAILED, &again);
  atomic_store(&ingest_result, 0);
  atomic_store(&ingest_hangs, true);
  assert_int_equal(accept_upload(f->service, "orl", "faces", &again, &created), 0);
  assert_false(created);
  assert_string_equal(again.id, row.id);
  assert_int_equal(again.state, DATASET_INGESTING);
  assert_string_equal(again.error, "");
  assert_int_equal(entries(f, "uploads"), 1);
  atomic_store(&ingest_hangs, false);
  wait_dataset(f->service, "orl", DATASET_READY);
  assert_int_equal(entries(f, "uploads"), 0);
  assert_int_equal(store_reject_list(service_store(f->service), row.id, &page, &rejects, &count, &next), 0);
  assert_int_equal(count, 300);
  free(rejects);
  assert_int_equal(accept_upload(f->service, "orl", "faces", &again, &created), 0);
  assert_int_equal(again.state, DATASET_READY);
}

/* What is no archive fails each time, whenever it comes. */
static void a_bad_archive_again(void **state) {
  struct fixture *f = *state;
  struct dataset_row row;
  bool created;
  for (int i = 0; i < 50; i++) { /* one after the other's end, or into it */
    assert_int_equal(accept_upload(f->service, "orl", "bad", &row, &created), 0);
    assert_int_equal(created, i == 0);
    wait_dataset(f->service, "orl", DATASET_FAILED);
    dataset_of(f, "orl", DATASET_FAILED, &row);
    assert_non_null(strstr(row.error, "no archive"));
  }
  assert_int_equal(entries(f, "uploads"), 0);
}

/* An upload that somebody took away is not waited for. */
static void an_upload_that_is_gone(void **state) {
  struct fixture *f = *state;
  struct dataset_row row;
  char path[PATH_MAX];
  bool created;
  atomic_store(&ingest_result, -EPERM);
  assert_int_equal(accept_upload(f->service, "orl", "faces", &row, &created), 0);
  wait_in_vain(f, "orl");
  assert_int_equal(state_path(path, f->service, "uploads/%s", row.id), 0);
  assert_int_equal(unlink(path), 0);
  atomic_store(&ingest_result, 0);
  wait_dataset(f->service, "orl", DATASET_FAILED);
  dataset_of(f, "orl", DATASET_FAILED, &row);
  assert_non_null(strstr(row.error, "upload it again"));
  assert_int_equal(accept_upload(f->service, "orl", "faces", &row, &created), 0);
  wait_dataset(f->service, "orl", DATASET_READY);
}

#define TEST(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(what_the_machine_lacks_is_waited_for),
      TEST(a_restart_tries_again),
      TEST(the_same_bytes_again),
      TEST(a_bad_archive_again),
      TEST(an_upload_that_is_gone),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
