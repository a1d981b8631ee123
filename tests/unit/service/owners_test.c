/* Whose things are: lists show an owner what is his, and quotas are counted for each owner. */
#include "tests/unit/service/access_fixture.h"

/* Whoever it is for sees `count` data sets. */
static void expect_datasets(struct store *store, const char *owner, bool descending, uint32_t count) {
  struct store_page page = {.limit = 10, .owner = owner, .descending = descending};
  struct dataset_row *rows = NULL;
  uint32_t found = 0;
  int64_t next = 0;
  assert_int_equal(store_dataset_list(store, &page, &rows, &found, &next), 0);
  assert_int_equal(found, count);
  for (uint32_t i = 0; i < found; i++)
    assert_true(owner_sees(owner, rows[i].owner));
  free(rows);
}

static void lists_show_what_is_the_owners(void **state) {
  struct fixture *f = *state;
  struct job_row job = {.id = "job_a",
                        .type = "train",
                        .created_at = 1,
                        .spec = (char[]){"{}"},
                        .owner = "alice"},
                 *jobs;
  struct store_page page = {.limit = 10, .owner = "bob"};
  struct job_filter filter = {0};
  char id[STORE_ID];
  bool replayed;
  uint32_t count = 0;
  int64_t next = 0;
  add_owned(f->store, "a", "alice");
  add_owned(f->store, "b", "bob");
  add_owned(f->store, "c", "alice");
  add_owned(f->store, "d", "");
  for (int descending = 0; descending < 2; descending++) {
    expect_datasets(f->store, NULL, descending, 4);
    expect_datasets(f->store, "alice", descending, 2);
    expect_datasets(f->store, "bob", descending, 1);
    expect_datasets(f->store, "carol", descending, 0);
  }
  (void)snprintf(job.dataset_id, sizeof(job.dataset_id), "ds_a");
  assert_int_equal(store_job_insert(f->store, &job, NULL, NULL, id, &replayed, NULL), 0);
  assert_int_equal(store_job_list(f->store, &filter, &page, &jobs, &count, &next), 0);
  assert_int_equal(count, 0);
  job_rows_free(jobs, count);
  page.owner = "alice";
  assert_int_equal(store_job_list(f->store, &filter, &page, &jobs, &count, &next), 0);
  assert_int_equal(count, 1);
  assert_string_equal(jobs[0].owner, "alice");
  job_rows_free(jobs, count);
}

static int insert_dataset(struct store *store, const char *name, const char *owner, uint64_t bytes) {
  struct dataset_row row = {.size = 112, .bytes = bytes, .created_at = 1};
  id_make("ds_", row.id);
  (void)snprintf(row.name, sizeof(row.name), "%s", name);
  (void)snprintf(row.owner, sizeof(row.owner), "%s", owner);
  memset(row.upload_sha256, 'c', 64);
  return store_dataset_insert(store, &row);
}

static void quotas_are_an_owners(void **state) {
  struct fixture *f = *state;
  struct job_filter filter = {0};
  struct store_page page = {.limit = 1, .owner = "alice"};
  struct job_row *rows;
  uint32_t count;
  int64_t next;
  add_owned(f->store, "a", "alice"); /* 10 bytes */
  store_set_quota(f->store, 2, 100, 0);
  assert_int_equal(insert_job(f->store, "alice"), 0);
  assert_int_equal(insert_job(f->store, "alice"), 0);
  assert_int_equal(insert_job(f->store, "alice"), -EUSERS);
  assert_int_equal(insert_job(f->store, "bob"), 0);
  for (int i = 0; i < 3; i++)
    assert_int_equal(insert_job(f->store, ""), 0);
  assert_int_equal(store_job_list(f->store, &filter, &page, &rows, &count, &next), 0);
  assert_int_equal(store_job_move(f->store, rows[0].id, 0xff, JOB_STATE_CANCELED, "test", NULL, NULL, NULL),
                   0);
  job_rows_free(rows, count);
  assert_int_equal(insert_job(f->store, "alice"), 0);
  assert_int_equal(insert_dataset(f->store, "b", "alice", 91), -EUSERS);
  assert_int_equal(insert_dataset(f->store, "b", "alice", UINT64_C(1) << 62), -EUSERS);
  assert_int_equal(insert_dataset(f->store, "b", "alice", 90), 0);
  assert_int_equal(insert_dataset(f->store, "c", "alice", 1), -EUSERS);
  assert_int_equal(insert_dataset(f->store, "d", "bob", 100), 0);
  assert_int_equal(insert_dataset(f->store, "e", "", 1000), 0);
  store_set_quota(f->store, 0, 0, 5);
  struct dataset_row images = {
      .id = "ds_images", .name = "images", .size = 112, .created_at = 1, .owner = "erin"};
  memset(images.upload_sha256, 'd', 64);
  memset(images.sha256, 'e', 64);
  assert_int_equal(store_dataset_insert(f->store, &images), 0);
  images.images = 6;
  assert_int_equal(store_dataset_ready(f->store, &images), -EUSERS);
  images.images = 5;
  assert_int_equal(store_dataset_ready(f->store, &images), 0);
  assert_int_equal(insert_dataset(f->store, "more", "erin", 1), -EUSERS); /* it would have one at least */
  store_set_quota(f->store, 0, 0, 0);
  assert_int_equal(insert_job(f->store, "alice"), 0);
  assert_int_equal(insert_dataset(f->store, "c", "alice", 1000), 0);
}

static void a_model_is_its_jobs_owners(void **state) {
  struct fixture *f = *state;
  struct job_row job = {
      .id = "job_a", .type = "train", .created_at = 1, .spec = (char[]){"{}"}, .owner = "alice"};
  struct model_row row = {
      .id = "mdl_a", .job_id = "job_a", .facts = (char[]){"{}"}, .summary = (char[]){"{}"}};
  struct model_row *models;
  struct store_page page = {.limit = 10, .owner = "alice"};
  char id[STORE_ID];
  bool replayed;
  uint32_t count = 0;
  int64_t seq = 0, next = 0;
  add_owned(f->store, "a", "alice");
  (void)snprintf(job.dataset_id, sizeof(job.dataset_id), "ds_a");
  assert_int_equal(store_job_insert(f->store, &job, NULL, NULL, id, &replayed, NULL), 0);
  assert_int_equal(store_job_claim(f->store, id, NULL, &seq), 0);
  assert_int_equal(store_model_insert(f->store, &row, &seq), 0);
  assert_int_equal(store_model_list(f->store, &page, &models, &count, &next), 0);
  assert_int_equal(count, 1);
  assert_string_equal(models[0].owner, "alice");
  model_rows_free(models, count);
  page.owner = "bob";
  assert_int_equal(store_model_list(f->store, &page, &models, &count, &next), 0);
  assert_int_equal(count, 0);
  model_rows_free(models, count);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(lists_show_what_is_the_owners),
      TEST(a_model_is_its_jobs_owners),
      TEST(quotas_are_an_owners),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
