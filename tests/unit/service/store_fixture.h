/* What tests of the store share: a database of the test's own, and rows in it. */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>
#include <math.h>
#include <pthread.h>
#include <stdatomic.h>

#include "core/base/file.h"
#include "daemon/store_internal.h"

struct fixture {
  char directory[64], path[96];
  struct store *store;
};

static inline int set_up(void **state) {
  struct fixture *f = calloc(1, sizeof(*f));
  struct guise_error err;
  (void)snprintf(f->directory, sizeof(f->directory), "/tmp/guise-store-XXXXXX");
  if (!mkdtemp(f->directory))
    return -1;
  (void)snprintf(f->path, sizeof(f->path), "%s/guise.db", f->directory);
  if (store_open(f->path, NULL, &f->store, &err) < 0) {
    print_error("%s\n", err.text);
    return -1;
  }
  *state = f;
  return 0;
}

static inline int tear_down(void **state) {
  struct fixture *f = *state;
  store_close(f->store);
  (void)directory_remove(f->directory);
  free(f);
  return 0;
}

static inline void reopen(struct fixture *f) {
  store_close(f->store);
  f->store = NULL;
  assert_int_equal(store_open(f->path, NULL, &f->store, NULL), 0);
}

#define SHA_A "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define SHA_B "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
#define SHA_C "cccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc"

static inline void add_dataset(struct store *store, const char *name, const char *sha256,
                               struct dataset_row *ret_row) {
  struct dataset_row row = {.size = 112, .bytes = 10, .created_at = time_now_ms()};
  id_make("ds_", row.id);
  (void)snprintf(row.name, sizeof(row.name), "%s", name);
  (void)snprintf(row.upload_sha256, sizeof(row.upload_sha256), SHA_C);
  assert_int_equal(store_dataset_insert(store, &row), 0);
  if (sha256) {
    row.images = 20;
    row.identities = 4;
    (void)snprintf(row.sha256, sizeof(row.sha256), "%s", sha256);
    assert_int_equal(store_dataset_ready(store, &row), 0);
  }
  *ret_row = row;
}

static inline void add_job(struct store *store, const struct dataset_row *dataset, int priority,
                           char ret_id[STORE_ID]) {
  struct job_row row = {.priority = priority, .created_at = time_now_ms(), .type = "train"};
  char spec[] = "{\"type\":\"train\"}";
  bool replayed;
  id_make("job_", row.id);
  (void)snprintf(row.dataset_id, sizeof(row.dataset_id), "%s", dataset->id);
  row.spec = spec;
  assert_int_equal(store_job_insert(store, &row, NULL, NULL, ret_id, &replayed, NULL), 0);
  assert_false(replayed);
}

static inline enum job_state state_of(struct store *store, const char *id) {
  struct job_row row;
  assert_int_equal(store_job_get(store, id, &row), 0);
  enum job_state state = row.state;
  job_row_clear(&row);
  return state;
}

static inline int64_t integer(struct store *store, const char *sql) {
  int64_t value = -1;
  sqlite3 *db = store_read_begin(store);
  assert_int_equal(store_integer(db, &value, sql, ""), 0);
  store_read_end(store, db);
  return value;
}

#define BIT(state) (1u << JOB_STATE_##state)

static inline void move(struct store *store, const char *id, enum job_state to) {
  assert_int_equal(
      store_job_move(store, id, 0xff, to, "test", to == JOB_STATE_FAILED ? "{}" : NULL, NULL, NULL), 0);
}
