/* Rows of the store that belong to somebody, and of the audit trail. */
#pragma once

#include "daemon/access.h"
#include "tests/unit/service/store_fixture.h"

static inline void add_owned(struct store *store, const char *id, const char *owner) {
  struct dataset_row row = {.size = 112, .bytes = 10, .created_at = 1};
  (void)snprintf(row.id, sizeof(row.id), "ds_%s", id);
  (void)snprintf(row.name, sizeof(row.name), "%s", id);
  (void)snprintf(row.owner, sizeof(row.owner), "%s", owner);
  memset(row.upload_sha256, 'c', 64);
  assert_int_equal(store_dataset_insert(store, &row), 0);
}

static inline int insert_job(struct store *store, const char *owner) {
  struct job_row job = {.type = "train", .created_at = 1, .spec = (char[]){"{}"}, .dataset_id = "ds_a"};
  char id[STORE_ID];
  bool replayed;
  id_make("job_", job.id);
  (void)snprintf(job.owner, sizeof(job.owner), "%s", owner);
  return store_job_insert(store, &job, NULL, NULL, id, &replayed, NULL);
}

static inline void record(struct store *store, int64_t at, const char *actor, const char *object) {
  struct audit_row row = {.at = at, .action = "getJob", .status = 200};
  (void)snprintf(row.actor, sizeof(row.actor), "%s", actor);
  (void)snprintf(row.object, sizeof(row.object), "%s", object);
  assert_int_equal(store_audit_add(store, &row, 1000), 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
