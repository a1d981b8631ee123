/* The store: migrations, the states' guards, one row an epoch, readers beside a writer, a killed process, a
 * full disk. */
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

static int set_up(void **state) {
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

static int tear_down(void **state) {
  struct fixture *f = *state;
  store_close(f->store);
  (void)directory_remove(f->directory);
  free(f);
  return 0;
}

static void reopen(struct fixture *f) {
  store_close(f->store);
  f->store = NULL;
  assert_int_equal(store_open(f->path, NULL, &f->store, NULL), 0);
}

#define SHA_A "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define SHA_B "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
#define SHA_C "cccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc"

static void add_dataset(struct store *store, const char *name, const char *sha256,
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

static void add_job(struct store *store, const struct dataset_row *dataset, int priority,
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

static enum job_state state_of(struct store *store, const char *id) {
  struct job_row row;
  assert_int_equal(store_job_get(store, id, &row), 0);
  enum job_state state = row.state;
  job_row_clear(&row);
  return state;
}

static int64_t integer(struct store *store, const char *sql) {
  int64_t value = -1;
  sqlite3 *db = store_read_begin(store);
  assert_int_equal(store_integer(db, &value, sql, ""), 0);
  store_read_end(store, db);
  return value;
}

#define BIT(state) (1u << JOB_STATE_##state)

static void move(struct store *store, const char *id, enum job_state to) {
  assert_int_equal(
      store_job_move(store, id, 0xff, to, "test", to == JOB_STATE_FAILED ? "{}" : NULL, NULL, NULL), 0);
}

/* ---- migrations ---- */

static void fresh_database(void **state) {
  struct fixture *f = *state;
  uint32_t newest = 0;
  for (const struct schema_migration *m = schema_migrations; m->number; m++)
    newest = MAX(newest, m->number);
  assert_int_equal(integer(f->store, "PRAGMA user_version"), newest);
  assert_int_equal(integer(f->store, "PRAGMA application_id"), STORE_APPLICATION_ID);
  assert_int_equal(integer(f->store, "SELECT count(*) FROM pragma_journal_mode WHERE journal_mode = 'wal'"),
                   1);
  assert_int_equal(integer(f->store,
                           "SELECT count(*) FROM pragma_table_list WHERE type = 'table' AND NOT strict "
                           "AND name NOT LIKE 'sqlite_%'"),
                   0);
  assert_true(store_alive(f->store));
  assert_true(schema_openapi_size > 10);
  assert_memory_equal(schema_openapi, "openapi:", 8);
}

static const struct schema_migration two_steps[] = {{1, "0001-a.sql", "CREATE TABLE a (x INTEGER) STRICT;"},
                                                    {2, "0002-b.sql", "CREATE TABLE b (y INTEGER) STRICT;"},
                                                    {0, NULL, NULL}};
static const struct schema_migration one_step[] = {{1, "0001-a.sql", "CREATE TABLE a (x INTEGER) STRICT;"},
                                                   {0, NULL, NULL}};
static const struct schema_migration broken_step[] = {
    {1, "0001-a.sql", "CREATE TABLE a (x INTEGER) STRICT;"},
    {2, "0002-b.sql", "CREATE TABLE b (y INTEGER) STRICT; INSERT INTO nowhere VALUES (1);"},
    {0, NULL, NULL}};

static void migrating_backs_up_and_refuses_newer(void **state) {
  struct fixture *f = *state;
  struct store *store;
  struct guise_error err;
  char path[96], backup[128];
  (void)snprintf(path, sizeof(path), "%s/other.db", f->directory);
  (void)snprintf(backup, sizeof(backup), "%s.before-2.bak", path);
  assert_int_equal(store_open(path, one_step, &store, &err), 0);
  store_close(store);
  assert_int_not_equal(access(backup, F_OK), 0);

  /* a migration that fails changes nothing */
  assert_true(store_open(path, broken_step, &store, &err) < 0);
  assert_non_null(strstr(err.text, "0002-b.sql"));
  assert_int_equal(store_open(path, one_step, &store, &err), 0);
  assert_int_equal(integer(store, "SELECT count(*) FROM sqlite_schema WHERE name = 'b'"), 0);
  store_close(store);

  assert_int_equal(store_open(path, two_steps, &store, &err), 0);
  assert_int_equal(integer(store, "PRAGMA user_version"), 2);
  store_close(store);
  assert_int_equal(access(backup, F_OK), 0);
  assert_int_equal(store_open(backup, one_step, &store, &err),
                   0); /* the backup is a whole database of the old version */
  store_close(store);

  assert_int_equal(store_open(path, one_step, &store, &err), -EPROTONOSUPPORT);
  assert_non_null(strstr(err.text, "newer"));
}

static void foreign_and_damaged_files_are_refused(void **state) {
  struct fixture *f = *state;
  struct store *store;
  struct guise_error err;
  char path[96];
  sqlite3 *db;
  (void)snprintf(path, sizeof(path), "%s/foreign.db", f->directory);
  assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
  assert_int_equal(sqlite3_exec(db, "CREATE TABLE t (x); PRAGMA user_version = 1;", NULL, NULL, NULL),
                   SQLITE_OK);
  (void)sqlite3_close(db);
  assert_int_equal(store_open(path, NULL, &store, &err), -EMEDIUMTYPE);
  (void)snprintf(path, sizeof(path), "%s/garbage.db", f->directory);
  char garbage[8192];
  memset(garbage, 'x', sizeof(garbage));
  assert_int_equal(file_write_atomic(path, garbage, sizeof(garbage), NULL), 0);
  assert_int_equal(store_open(path, NULL, &store, &err), -EUCLEAN);
}

/* ---- data sets ---- */

static void datasets(void **state) {
  struct fixture *f = *state;
  struct dataset_row first, second, row, *rows;
  struct pairs_row pairs = {.name = "view2", .sha256 = SHA_B, .bytes = 5, .count = 3, .folds = 1};
  uint32_t count;
  int64_t next;
  char unused[SHA256_HEX];
  add_dataset(f->store, "orl", SHA_A, &first);
  add_dataset(f->store, "lfw", NULL, &second);
  row = second;
  id_make("ds_", row.id);
  assert_int_equal(store_dataset_insert(f->store, &row), -EEXIST);
  assert_int_equal(store_dataset_get(f->store, "orl", &row), 0);
  assert_string_equal(row.id, first.id);
  assert_int_equal(row.state, DATASET_READY);
  assert_int_equal(store_dataset_get(f->store, second.id, &row), 0);
  assert_int_equal(store_dataset_get(f->store, "nothing", &row), -ENOENT);
  assert_int_equal(store_dataset_next_ingest(f->store, 0, &row), 0);
  assert_string_equal(row.name, "lfw");
  assert_int_equal(store_dataset_ready(f->store, &first), 0); /* no change of state */

  struct store_page page = {.limit = 1};
  assert_int_equal(store_dataset_list(f->store, &page, &rows, &count, &next), 0);
  assert_int_equal(count, 1);
  assert_string_equal(rows[0].name, "orl");
  free(rows);
  page.cursor = next;
  assert_int_equal(store_dataset_list(f->store, &page, &rows, &count, &next), 0);
  assert_string_equal(rows[0].name, "lfw");
  assert_int_equal(next, 0);
  free(rows);

  struct reject_row reject = {.path = "x/y.jpg", .code = "corrupt", .detail = "cut off"}, *rejects;
  assert_int_equal(store_rejects_add(f->store, second.id, &reject, 1), 0);
  assert_int_equal(store_dataset_restart(f->store, second.id), 0);
  assert_int_equal(store_rejects_add(f->store, second.id, &reject, 1), 0);
  page = (struct store_page){.limit = 10};
  assert_int_equal(store_reject_list(f->store, second.id, &page, &rejects, &count, &next), 0);
  assert_int_equal(count, 1);
  assert_string_equal(rejects[0].code, "corrupt");
  free(rejects);

  assert_int_equal(store_pairs_put(f->store, first.id, &pairs, unused), 0);
  assert_string_equal(unused, "");
  (void)snprintf(pairs.sha256, sizeof(pairs.sha256), SHA_C);
  assert_int_equal(store_pairs_put(f->store, first.id, &pairs, unused), 0);
  assert_string_equal(unused, SHA_B);
  assert_int_equal(store_pairs_get(f->store, first.id, "view2", &pairs), 0);
  assert_int_equal(store_pairs_get(f->store, first.id, "view1", &pairs), -ENOENT);
}

static void deleting_a_dataset(void **state) {
  struct fixture *f = *state;
  struct dataset_row first, twin;
  struct job_row row;
  struct store_erased erased;
  char job[STORE_ID], unused[SHA256_HEX];
  struct pairs_row pairs = {.name = "view2", .sha256 = SHA_B, .bytes = 5, .count = 3, .folds = 1};
  add_dataset(f->store, "orl", SHA_A, &first);
  add_dataset(f->store, "same-content", SHA_A, &twin);
  assert_int_equal(store_pairs_put(f->store, first.id, &pairs, unused), 0);
  add_job(f->store, &first, 0, job);
  assert_int_equal(store_dataset_delete(f->store, first.id, &erased), -EBUSY);
  move(f->store, job, JOB_STATE_CANCELED);
  assert_int_equal(store_dataset_delete(f->store, first.id, &erased), 0);
  assert_int_equal(erased.blob_count, 1);
  assert_int_equal(erased.kept, 1); /* the pack is also the twin's */
  assert_int_equal(erased.pairs, 1);
  assert_string_equal(erased.blobs[0], SHA_B);
  store_erased_clear(&erased);
  assert_int_equal(store_job_get(f->store, job, &row), 0);
  assert_string_equal(row.dataset_id, "");
  job_row_clear(&row);
  assert_int_equal(store_dataset_delete(f->store, twin.id, &erased), 0);
  assert_int_equal(erased.blob_count, 1);
  assert_string_equal(erased.blobs[0], SHA_A);
  store_erased_clear(&erased);
  assert_int_equal(store_dataset_delete(f->store, twin.id, &erased), -ENOENT);
}

static void note_failed(void *context, const char *job, int64_t seq) {
  assert_true(seq > 0);
  (void)snprintf(context, STORE_ID, "%s", job);
}

static void a_failed_dataset_fails_its_jobs(void **state) {
  struct fixture *f = *state;
  struct dataset_row dataset;
  struct job_row row;
  char job[STORE_ID], told[STORE_ID] = "";
  add_dataset(f->store, "orl", NULL, &dataset);
  add_job(f->store, &dataset, 0, job);
  assert_int_equal(store_job_next(f->store, &row), -ENOENT); /* it waits for the data */
  assert_int_equal(store_dataset_fail(f->store, dataset.id, 3, "no image in it", note_failed, told), 0);
  assert_string_equal(told, job);
  assert_int_equal(store_job_get(f->store, job, &row), 0);
  assert_int_equal(row.state, JOB_STATE_FAILED);
  assert_non_null(strstr(row.error, "no image in it"));
  assert_true(row.finished_at > 0);
  job_row_clear(&row);
  assert_int_equal(store_dataset_ready(f->store, &dataset), -EBUSY); /* failed stays failed */
}

/* ---- jobs ---- */

static void only_legal_transitions(void **state) {
  struct fixture *f = *state;
  static const char *const legal[] = {
      "queued>running",  "queued>paused",     "queued>canceled",   "queued>failed",  "running>queued",
      "running>pausing", "running>canceling", "running>succeeded", "running>failed", "pausing>running",
      "pausing>paused",  "pausing>canceling", "pausing>succeeded", "pausing>failed", "paused>queued",
      "paused>canceled", "canceling>canceled"};
  static const enum job_state path[JOB_STATE_COUNT][3] = {
      [JOB_STATE_RUNNING] = {JOB_STATE_RUNNING, JOB_STATE_COUNT},
      [JOB_STATE_QUEUED] = {JOB_STATE_COUNT},
      [JOB_STATE_PAUSING] = {JOB_STATE_RUNNING, JOB_STATE_PAUSING, JOB_STATE_COUNT},
      [JOB_STATE_PAUSED] = {JOB_STATE_PAUSED, JOB_STATE_COUNT},
      [JOB_STATE_CANCELING] = {JOB_STATE_RUNNING, JOB_STATE_CANCELING, JOB_STATE_COUNT},
      [JOB_STATE_CANCELED] = {JOB_STATE_CANCELED, JOB_STATE_COUNT},
      [JOB_STATE_SUCCEEDED] = {JOB_STATE_RUNNING, JOB_STATE_SUCCEEDED, JOB_STATE_COUNT},
      [JOB_STATE_FAILED] = {JOB_STATE_FAILED, JOB_STATE_COUNT},
  };
  struct dataset_row dataset;
  uint32_t allowed = 0;
  add_dataset(f->store, "orl", SHA_A, &dataset);
  for (uint32_t from = 0; from < JOB_STATE_COUNT; from++)
    for (uint32_t to = 0; to < JOB_STATE_COUNT; to++) {
      char job[STORE_ID], name[32];
      bool listed = false;
      if (from == to)
        continue;
      add_job(f->store, &dataset, 0, job);
      for (uint32_t i = 0; i < 3 && path[from][i] != JOB_STATE_COUNT; i++)
        move(f->store, job, path[from][i]);
      assert_int_equal(state_of(f->store, job), from);
      (void)snprintf(name, sizeof(name), "%s>%s", job_state_name((enum job_state)from),
                     job_state_name((enum job_state)to));
      for (size_t i = 0; i < ARRAY_SIZE(legal); i++)
        listed |= strcmp(legal[i], name) == 0;
      int r = store_job_move(f->store, job, 0xff, (enum job_state)to, "test",
                             to == JOB_STATE_FAILED ? "{}" : NULL, NULL, NULL);
      if (r != (listed ? 0 : -EBUSY))
        fail_msg("%s: %d", name, r);
      assert_int_equal(state_of(f->store, job), listed ? to : from);
      allowed += listed;
    }
  assert_int_equal(allowed, ARRAY_SIZE(legal));
}

static void transitions_and_their_events(void **state) {
  struct fixture *f = *state;
  struct dataset_row dataset;
  struct transition_row *rows;
  struct event_row *events;
  uint32_t count;
  enum job_state before;
  int64_t seq = 0;
  char job[STORE_ID];
  add_dataset(f->store, "orl", SHA_A, &dataset);
  add_job(f->store, &dataset, 0, job);
  assert_int_equal(store_job_move(f->store, job, BIT(RUNNING), JOB_STATE_PAUSING, "no", NULL, &before, NULL),
                   -EBUSY);
  assert_int_equal(before, JOB_STATE_QUEUED);
  assert_int_equal(
      store_job_move(f->store, job, BIT(QUEUED), JOB_STATE_CANCELED, "asked", NULL, &before, &seq), 0);
  assert_int_equal(store_job_transitions(f->store, job, &rows, &count), 0);
  assert_int_equal(count, 2);
  assert_int_equal(rows[0].state, JOB_STATE_QUEUED);
  assert_string_equal(rows[1].reason, "asked");
  free(rows);
  assert_int_equal(store_event_list(f->store, job, 0, 100, &events, &count), 0);
  assert_int_equal(count, 3);
  assert_string_equal(events[0].type, "state");
  assert_string_equal(events[1].type, "state");
  assert_string_equal(events[2].type, "end");
  assert_int_equal(events[2].seq, seq);
  assert_non_null(strstr(events[2].data, "\"canceled\""));
  int64_t after = events[0].seq;
  event_rows_free(events, count);
  assert_int_equal(store_event_list(f->store, job, after, 100, &events, &count),
                   0); /* replay after a lost connection */
  assert_int_equal(count, 2);
  event_rows_free(events, count);
  assert_int_equal(store_job_move(f->store, "job_none", 0xff, JOB_STATE_CANCELED, "", NULL, NULL, NULL),
                   -ENOENT);
}

static void priority_then_age(void **state) {
  struct fixture *f = *state;
  struct dataset_row dataset;
  struct job_row row;
  char low[STORE_ID], high[STORE_ID], old[STORE_ID];
  struct store_queue queue;
  add_dataset(f->store, "orl", SHA_A, &dataset);
  add_job(f->store, &dataset, 0, old);
  add_job(f->store, &dataset, -5, low);
  add_job(f->store, &dataset, 9, high);
  assert_int_equal(store_job_next(f->store, &row), 0);
  assert_string_equal(row.id, high);
  job_row_clear(&row);
  assert_int_equal(store_job_queue(f->store, low, &queue), 0);
  assert_int_equal(queue.ahead, 2);
  assert_true(queue.mean_runtime_s < 0 && !queue.ingesting && queue.retry_at == 0);
  move(f->store, high, JOB_STATE_RUNNING);
  assert_int_equal(store_job_next(f->store, &row), 0);
  assert_string_equal(row.id, old);
  job_row_clear(&row);
}

static void lists_filter_and_page(void **state) {
  struct fixture *f = *state;
  struct dataset_row dataset;
  struct job_row row = {.type = "train", .created_at = 1000}, *rows;
  struct job_filter filter = {.states = 0};
  struct store_page page = {.limit = 2, .descending = true};
  char spec[] = "{}", id[STORE_ID], plain[STORE_ID];
  uint32_t count, total = 0;
  int64_t next;
  bool replayed;
  add_dataset(f->store, "orl", SHA_A, &dataset);
  memcpy(row.dataset_id, dataset.id, sizeof(row.dataset_id));
  row.spec = spec;
  json_t *labels = json_pack("{s:s}", "team", "red' OR 1=1");
  for (int i = 0; i < 5; i++) {
    id_make("job_", row.id);
    assert_int_equal(store_job_insert(f->store, &row, labels, NULL, id, &replayed, NULL), 0);
  }
  json_decref(labels);
  add_job(f->store, &dataset, 0, plain);
  move(f->store, plain, JOB_STATE_CANCELED);
  do {
    assert_int_equal(store_job_list(f->store, &filter, &page, &rows, &count, &next), 0);
    if (total == 0)
      assert_string_equal(rows[0].id, plain); /* newest first */
    total += count;
    job_rows_free(rows, count);
    page.cursor = next;
  } while (next);
  assert_int_equal(total, 6);
  page = (struct store_page){.limit = 0};
  filter.states = BIT(CANCELED) | BIT(FAILED);
  assert_int_equal(store_job_list(f->store, &filter, &page, &rows, &count, &next), 0);
  assert_int_equal(count, 1);
  job_rows_free(rows, count);
  filter = (struct job_filter){.label_key = "team", .label_value = "red' OR 1=1"};
  assert_int_equal(store_job_list(f->store, &filter, &page, &rows, &count, &next), 0);
  assert_int_equal(count, 5);
  job_rows_free(rows, count);
  filter = (struct job_filter){.created_after = 1000};
  assert_int_equal(store_job_list(f->store, &filter, &page, &rows, &count, &next), 0);
  assert_int_equal(count, 1);
  job_rows_free(rows, count);
}

static void logs_are_kept_for_a_while(void **state) {
  struct fixture *f = *state;
  struct dataset_row dataset;
  struct store_page page = {.limit = 2};
  struct event_row *rows;
  char job[STORE_ID];
  uint32_t count;
  int64_t next, now;
  add_dataset(f->store, "orl", SHA_A, &dataset);
  add_job(f->store, &dataset, 0, job);
  json_t *line = json_pack("{s:s, s:s}", "level", "info", "text", "hello");
  for (int i = 0; i < 3; i++)
    assert_int_equal(store_event_add(f->store, job, "log", line, NULL), 0);
  json_decref(line);
  assert_int_equal(store_log_list(f->store, job, INT64_MAX, &page, &rows, &count, &next), 0);
  assert_int_equal(count, 2);
  event_rows_free(rows, count);
  page.cursor = next;
  assert_int_equal(store_log_list(f->store, job, INT64_MAX, &page, &rows, &count, &next), 0);
  assert_int_equal(count, 1);
  assert_int_equal(next, 0);
  event_rows_free(rows, count);
  assert_int_equal(store_log_list(f->store, "job_none", 0, &page, &rows, &count, &next), -ENOENT);
  move(f->store, job, JOB_STATE_CANCELED);
  now = time_now_ms();
  assert_int_equal(store_log_list(f->store, job, now + 1000, &page, &rows, &count, &next), -ENODATA);
  assert_int_equal(store_log_prune(f->store, now - 1000), 0); /* not yet */
  assert_int_equal(store_log_list(f->store, job, now - 1000, &page, &rows, &count, &next), 0);
  event_rows_free(rows, count);
  assert_int_equal(store_log_prune(f->store, now + 1000), 0);
  assert_int_equal(store_log_list(f->store, job, 0, &page, &rows, &count, &next), -ENODATA); /* for good */
  assert_int_equal(store_event_list(f->store, job, 0, 100, &rows, &count), 0);
  assert_int_equal(count, 3); /* two states and the end */
  event_rows_free(rows, count);
}

static void idempotency_keys(void **state) {
  struct fixture *f = *state;
  struct dataset_row dataset;
  struct job_row row = {.type = "train", .created_at = time_now_ms()};
  struct store_idempotency key = {"k1", SHA_A}, other = {"k1", SHA_B};
  char spec[] = "{}", first[STORE_ID], again[STORE_ID];
  bool replayed;
  add_dataset(f->store, "orl", SHA_A, &dataset);
  memcpy(row.dataset_id, dataset.id, sizeof(row.dataset_id));
  row.spec = spec;
  id_make("job_", row.id);
  assert_int_equal(store_job_replay(f->store, &key, first), -ENOENT);
  assert_int_equal(store_job_insert(f->store, &row, NULL, &key, first, &replayed, NULL), 0);
  assert_false(replayed);
  id_make("job_", row.id);
  assert_int_equal(store_job_insert(f->store, &row, NULL, &key, again, &replayed, NULL), 0);
  assert_true(replayed);
  assert_string_equal(first, again);
  assert_int_equal(store_job_insert(f->store, &row, NULL, &other, again, &replayed, NULL), -EKEYREJECTED);
  assert_int_equal(store_job_replay(f->store, &other, again), -EKEYREJECTED);
  assert_int_equal(integer(f->store, "SELECT count(*) FROM jobs"), 1);
  (void)snprintf(row.dataset_id, sizeof(row.dataset_id), "ds_gone");
  assert_int_equal(store_job_insert(f->store, &row, NULL, NULL, again, &replayed, NULL), -ENOENT);
}

/* ---- checkpoints and metrics ---- */

static void commit_epoch(struct store *store, const char *job, uint32_t epoch, double loss) {
  struct checkpoint_row checkpoint = {.epochs = epoch, .step = epoch * 10, .at = time_now_ms()};
  struct metric_row rows[3] = {
      {.name = "loss", .epoch = epoch, .step = epoch * 10, .value = loss, .per_epoch = true},
      {.name = "accuracy", .epoch = epoch, .step = epoch * 10, .value = NAN, .per_epoch = true},
      {.name = "loss", .epoch = epoch, .step = epoch * 10 - 5, .value = 9, .per_epoch = false}};
  struct job_progress progress = {
      .fraction = 0.1 * epoch, .epoch = epoch, .epochs = 10, .step = epoch * 10, .loss = loss};
  int64_t seq;
  (void)snprintf(checkpoint.file, sizeof(checkpoint.file), "c-%u", epoch);
  assert_int_equal(store_checkpoint_commit(store, job, &checkpoint, rows, 3, &progress, 1.5, &seq), 0);
  assert_true(seq > 0);
}

static void one_row_an_epoch(void **state) {
  struct fixture *f = *state;
  struct dataset_row dataset;
  struct metric_value *rows;
  struct checkpoint_row *checkpoints;
  struct store_page page = {.limit = 100};
  uint32_t count;
  int64_t next, seq;
  char job[STORE_ID];
  add_dataset(f->store, "orl", SHA_A, &dataset);
  add_job(f->store, &dataset, 0, job);
  assert_int_equal(store_job_claim(f->store, job, NULL, &seq), 0);
  commit_epoch(f->store, job, 1, 3.0);
  commit_epoch(f->store, job, 2, 2.0);
  commit_epoch(f->store, job, 2, 1.9); /* computed again after a crash: replaces */
  assert_int_equal(store_metric_list(f->store, job, "loss", METRIC_EPOCH, &page, &rows, &count, &next), 0);
  assert_int_equal(count, 2);
  assert_true(rows[1].value == 1.9);
  free(rows);
  assert_int_equal(store_metric_list(f->store, job, NULL, METRIC_ALL, &page, &rows, &count, &next), 0);
  assert_int_equal(count, 2 * 2 + 3);
  free(rows);
  assert_int_equal(store_metric_list(f->store, job, "loss", METRIC_STEP, &page, &rows, &count, &next), 0);
  assert_int_equal(count, 3);
  free(rows);
  assert_int_equal(store_metric_latest(f->store, job, &rows, &count), 0);
  assert_int_equal(count, 2);
  assert_string_equal(rows[0].name, "accuracy");
  assert_true(isnan(rows[0].value));
  free(rows);
  assert_int_equal(store_checkpoint_list(f->store, job, &checkpoints, &count), 0);
  assert_int_equal(count, 1);
  assert_string_equal(checkpoints[0].file, "c-2");
  /* the file of epoch 2 is lost: the job goes on from epoch 1, so epoch 2 is going to be written again */
  struct checkpoint_row older = {.file = "c-1", .epochs = 1, .step = 10};
  free(checkpoints);
  move(f->store, job, JOB_STATE_QUEUED);
  assert_int_equal(store_job_claim(f->store, job, &older, &seq), 0);
  assert_int_equal(store_metric_list(f->store, job, NULL, METRIC_ALL, &page, &rows, &count, &next), 0);
  assert_int_equal(count, 3);
  free(rows);
}

static void the_unique_index_refuses_a_second_row(void **state) {
  struct fixture *f = *state;
  struct dataset_row dataset;
  sqlite3 *db;
  char job[STORE_ID];
  static const char sql[] =
      "INSERT INTO metrics (job, name, epoch, step, per_epoch, value) VALUES (1, 'loss', 1, 1, 1, 1.0)";
  add_dataset(f->store, "orl", SHA_A, &dataset);
  add_job(f->store, &dataset, 0, job);
  assert_int_equal(store_write_begin(f->store, &db), 0);
  assert_int_equal(store_exec(db, sql, ""), 0);
  assert_int_equal(store_exec(db, sql, ""), -EEXIST);
  assert_int_equal(
      store_exec(db, "INSERT INTO metrics (job, name, epoch, step, per_epoch) VALUES (99, 'x', 1, 1, 0)", ""),
      -ENOENT);
  assert_int_equal(store_exec(db, "UPDATE jobs SET state = 'sleeping'", ""),
                   -EBUSY); /* not a legal transition either */
  assert_int_equal(store_write_end(f->store, 0), 0);
}

/* ---- crash ---- */

/* A child commits epochs and dies in the middle of a transaction; what was acknowledged is there, nothing of
 * the rest is. */
static void killed_in_a_transaction(void **state) {
  struct fixture *f = *state;
  struct dataset_row dataset;
  uint32_t requeued, failed;
  char job[STORE_ID];
  add_dataset(f->store, "orl", SHA_A, &dataset);
  add_job(f->store, &dataset, 0, job);
  store_close(f->store);
  f->store = NULL;
  pid_t child = fork();
  assert_true(child >= 0);
  if (child == 0) {
    struct store *store;
    sqlite3 *db;
    int64_t seq;
    if (store_open(f->path, NULL, &store, NULL) < 0 || store_job_claim(store, job, NULL, &seq) < 0)
      _exit(1);
    commit_epoch(store, job, 1, 3.0);
    if (store_write_begin(store, &db) < 0 || store_exec(db, "DELETE FROM metrics", "") < 0 ||
        store_exec(db, "UPDATE jobs SET state = 'succeeded', finished_at = 1", "") < 0)
      _exit(2);
    _exit(42);
  }
  int status;
  assert_int_equal(waitpid(child, &status, 0), child);
  assert_int_equal(WEXITSTATUS(status), 42);
  assert_int_equal(store_open(f->path, NULL, &f->store, NULL), 0);
  assert_int_equal(state_of(f->store, job), JOB_STATE_RUNNING);
  assert_int_equal(integer(f->store, "SELECT count(*) FROM metrics"), 3);
  assert_int_equal(store_recover(f->store, &requeued, &failed), 0);
  assert_int_equal(requeued, 1);
  assert_int_equal(state_of(f->store, job), JOB_STATE_QUEUED);
}

static void recovery(void **state) {
  struct fixture *f = *state;
  struct dataset_row dataset;
  struct job_row row;
  uint32_t requeued, failed;
  int64_t seq;
  char running[STORE_ID], pausing[STORE_ID], canceling[STORE_ID];
  add_dataset(f->store, "orl", SHA_A, &dataset);
  add_job(f->store, &dataset, 0, running);
  add_job(f->store, &dataset, 0, pausing);
  add_job(f->store, &dataset, 0, canceling);
  move(f->store, pausing, JOB_STATE_RUNNING);
  move(f->store, pausing, JOB_STATE_PAUSING);
  move(f->store, canceling, JOB_STATE_RUNNING);
  move(f->store, canceling, JOB_STATE_CANCELING);
  /* two restarts without a checkpoint, one checkpoint, then three: still going */
  for (int i = 0; i < 5; i++) {
    assert_int_equal(store_job_claim(f->store, running, NULL, &seq), 0);
    if (i == 2)
      commit_epoch(f->store, running, 1, 1.0);
    reopen(f);
    assert_int_equal(store_recover(f->store, &requeued, &failed), 0);
    assert_int_equal(state_of(f->store, running), JOB_STATE_QUEUED);
  }
  assert_int_equal(state_of(f->store, pausing), JOB_STATE_PAUSED);
  assert_int_equal(state_of(f->store, canceling), JOB_STATE_CANCELED);
  assert_int_equal(store_job_claim(f->store, running, NULL, &seq), 0);
  assert_int_equal(store_recover(f->store, &requeued, &failed), 0);
  assert_int_equal(failed, 1); /* after three restarts in a row that made none */
  assert_int_equal(store_job_get(f->store, running, &row), 0);
  assert_int_equal(row.state, JOB_STATE_FAILED);
  assert_int_equal(row.attempt, 1);
  assert_non_null(strstr(row.error, "four times in a row"));
  job_row_clear(&row);
}

/* ---- readers beside a writer ---- */

struct reading {
  struct store *store;
  char job[STORE_ID];
  atomic_bool stop;
  atomic_uint reads, failures;
};

static void *read_on(void *context) {
  struct reading *reading = context;
  while (!atomic_load(&reading->stop)) {
    struct job_row row;
    if (store_job_get(reading->store, reading->job, &row) < 0)
      atomic_fetch_add(&reading->failures, 1);
    else
      job_row_clear(&row);
    atomic_fetch_add(&reading->reads, 1);
  }
  return NULL;
}

static void readers_do_not_wait_for_the_writer(void **state) {
  struct fixture *f = *state;
  struct dataset_row dataset;
  struct reading reading = {.store = f->store};
  pthread_t threads[6]; /* more than connections */
  sqlite3 *db;
  int64_t seq;
  add_dataset(f->store, "orl", SHA_A, &dataset);
  add_job(f->store, &dataset, 0, reading.job);
  assert_int_equal(store_job_claim(f->store, reading.job, NULL, &seq), 0);
  for (size_t i = 0; i < ARRAY_SIZE(threads); i++)
    assert_int_equal(pthread_create(&threads[i], NULL, read_on, &reading), 0);
  for (uint32_t epoch = 1; epoch <= 20; epoch++)
    commit_epoch(f->store, reading.job, epoch, 1.0);
  assert_int_equal(store_write_begin(f->store, &db), 0); /* an open write transaction ... */
  assert_int_equal(store_exec(db, "UPDATE jobs SET phase = 'x'", ""), 0);
  uint32_t before = atomic_load(&reading.reads);
  for (int i = 0; i < 500 && atomic_load(&reading.reads) < before + 50; i++)
    (void)usleep(10000);
  assert_true(atomic_load(&reading.reads) >= before + 50); /* ... stops no reader */
  assert_int_equal(store_write_end(f->store, -ECANCELED), -ECANCELED);
  atomic_store(&reading.stop, true);
  for (size_t i = 0; i < ARRAY_SIZE(threads); i++)
    (void)pthread_join(threads[i], NULL);
  assert_int_equal(atomic_load(&reading.failures), 0);
}

/* ---- a full disk ---- */

static void full_disk(void **state) {
  struct fixture *f = *state;
  struct dataset_row dataset, row;
  struct reject_row *rejects = calloc(1000, sizeof(*rejects));
  add_dataset(f->store, "orl", NULL, &dataset);
  for (int i = 0; i < 1000; i++)
    memset(rejects[i].path, 'p', 500);
  int64_t pages = integer(f->store, "PRAGMA page_count");
  char sql[64];
  (void)snprintf(sql, sizeof(sql), "PRAGMA max_page_count = %lld", (long long)pages + 4);
  assert_int_equal(sqlite3_exec(f->store->writer, sql, NULL, NULL, NULL), SQLITE_OK);
  assert_int_equal(store_rejects_add(f->store, dataset.id, rejects, 1000), -ENOSPC);
  assert_int_equal(store_fault(f->store), -ENOSPC);
  assert_true(store_alive(f->store));
  assert_int_equal(store_dataset_get(f->store, "orl", &row), 0); /* still readable */
  assert_int_equal(integer(f->store, "SELECT count(*) FROM rejects"), 0);
  assert_int_equal(sqlite3_exec(f->store->writer, "PRAGMA max_page_count = 1000000", NULL, NULL, NULL),
                   SQLITE_OK);
  assert_int_equal(store_probe(f->store), 0);
  assert_int_equal(store_fault(f->store), 0);
  assert_int_equal(store_rejects_add(f->store, dataset.id, rejects, 1000), 0);
  free(rejects);
}

/* ---- models ---- */

static void models(void **state) {
  struct fixture *f = *state;
  struct dataset_row dataset;
  struct model_file_row files[2] = {{"model.safetensors", SHA_A, 10}, {"card.md", SHA_B, 3}}, file;
  char facts[] = "{\"arch\":\"freq_ir\"}", summary[] = "{\"accuracy\":0.9}";
  struct model_row model = {.audited = true,
                            .facts = facts,
                            .summary = summary,
                            .files = files,
                            .file_count = 2},
                   row, *rows;
  struct store_page page = {.limit = 5};
  struct job_row job_row;
  struct event_row *events;
  char job[STORE_ID], (*blobs)[SHA256_HEX];
  uint32_t count;
  int64_t next, seq;
  add_dataset(f->store, "orl", SHA_A, &dataset); /* its pack is one of the files' twins */
  add_job(f->store, &dataset, 0, job);
  id_make("mdl_", model.id);
  memcpy(model.job_id, job, sizeof(model.job_id));
  memcpy(model.dataset_id, dataset.id, sizeof(model.dataset_id));
  model.created_at = time_now_ms();
  assert_int_equal(store_model_insert(f->store, &model, &seq), -EBUSY); /* the job does not run */
  assert_int_equal(store_model_get(f->store, model.id, &row), -ENOENT);
  assert_int_equal(store_job_claim(f->store, job, NULL, &seq), 0);
  assert_int_equal(store_model_insert(f->store, &model, &seq), 0);
  assert_int_equal(store_job_get(f->store, job, &job_row), 0);
  assert_int_equal(job_row.state, JOB_STATE_SUCCEEDED);
  assert_string_equal(job_row.model_id, model.id);
  assert_true(job_row.progress.fraction == 1);
  job_row_clear(&job_row);
  assert_int_equal(store_event_list(f->store, job, seq - 1, 10, &events, &count), 0);
  assert_string_equal(events[0].type, "end");
  assert_non_null(strstr(events[0].data, model.id));
  event_rows_free(events, count);
  assert_int_equal(store_model_get(f->store, model.id, &row), 0);
  assert_int_equal(row.file_count, 2);
  assert_string_equal(row.files[0].name, "card.md");
  assert_true(row.audited);
  model_row_clear(&row);
  assert_int_equal(store_model_file(f->store, model.id, "card.md", &file), 0);
  assert_int_equal(file.size, 3);
  assert_int_equal(store_model_file(f->store, model.id, "../card.md", &file), -ENOENT);
  assert_int_equal(store_model_list(f->store, &page, &rows, &count, &next), 0);
  assert_int_equal(count, 1);
  model_rows_free(rows, count);
  assert_int_equal(store_model_delete(f->store, model.id, &blobs, &count), 0);
  assert_int_equal(count, 1); /* SHA_A stays: the data set refers to it */
  assert_string_equal(blobs[0], SHA_B);
  free(blobs);
  assert_int_equal(store_model_delete(f->store, model.id, &blobs, &count), -ENOENT);
}

/* An audit replaces a model's report, unless another one was faster, and keeps its other files. */
static void auditing_a_model(void **state) {
  struct fixture *f = *state;
  struct dataset_row dataset;
  struct model_file_row files[2] = {{"model.safetensors", SHA_A, 10}, {"report.json", SHA_B, 3}}, file;
  struct model_file_row later[2] = {{"report.html", SHA_A, 5}, {"report.json", SHA_C, 4}};
  char facts[] = "{}", summary[] = "{\"accuracy\":0.9}", audited[] = "{\"accuracy\":0.9,\"audit\":{}}";
  struct model_row model = {.facts = facts, .summary = summary, .files = files, .file_count = 2}, row;
  struct model_row audit = {.summary = audited, .audited = true, .files = later, .file_count = 2};
  struct job_row job_row = {.created_at = time_now_ms(), .type = "audit", .input_count = 1}, ended;
  char job[STORE_ID], review[STORE_ID], spec[] = "{\"type\":\"audit\"}", (*blobs)[SHA256_HEX];
  uint32_t count;
  int64_t seq;
  bool replayed;
  add_dataset(f->store, "orl", SHA_A, &dataset);
  add_job(f->store, &dataset, 0, job);
  id_make("mdl_", model.id);
  memcpy(model.job_id, job, sizeof(model.job_id));
  model.created_at = time_now_ms();
  assert_int_equal(store_job_claim(f->store, job, NULL, &seq), 0);
  assert_int_equal(store_model_insert(f->store, &model, &seq), 0);
  id_make("job_", job_row.id);
  memcpy(job_row.dataset_id, dataset.id, sizeof(dataset.id));
  job_row.spec = spec;
  job_row.inputs[0].pointer = "/model";
  memcpy(job_row.inputs[0].model_id, model.id, sizeof(model.id));
  memcpy(audit.id, model.id, sizeof(model.id));
  assert_int_equal(store_job_insert(f->store, &job_row, NULL, NULL, review, &replayed, NULL), 0);
  assert_int_equal(store_model_audited(f->store, &audit, review, SHA_B, &blobs, &count, &seq), -EBUSY);
  assert_int_equal(store_job_claim(f->store, review, NULL, &seq), 0);
  assert_int_equal(store_model_delete(f->store, model.id, &blobs, &count), -EBUSY);
  assert_int_equal(store_model_audited(f->store, &audit, review, SHA_A, &blobs, &count, &seq), -ESTALE);
  assert_int_equal(state_of(f->store, review), JOB_STATE_RUNNING);
  assert_int_equal(store_model_audited(f->store, &audit, review, SHA_B, &blobs, &count, &seq), 0);
  assert_int_equal(count, 1);
  assert_string_equal(blobs[0], SHA_B);
  free(blobs);
  assert_int_equal(store_model_get(f->store, model.id, &row), 0);
  assert_true(row.audited);
  assert_string_equal(row.summary, audited);
  assert_int_equal(row.file_count, 3);
  model_row_clear(&row);
  assert_int_equal(store_model_file(f->store, model.id, "report.json", &file), 0);
  assert_string_equal(file.sha256, SHA_C);
  assert_int_equal(store_job_get(f->store, review, &ended), 0);
  assert_int_equal(ended.state, JOB_STATE_SUCCEEDED);
  assert_string_equal(ended.model_id, model.id);
  job_row_clear(&ended);
}

/* Deleted text is in none of the database's files. */
static void deleting_leaves_no_trace(void **state) {
  struct fixture *f = *state;
  struct dataset_row dataset;
  struct reject_row reject = {.path = "someone-nobody-should-find/1.jpg", .code = "corrupt", .detail = "x"};
  struct store_erased erased;
  char command[256];
  add_dataset(f->store, "orl", SHA_A, &dataset);
  assert_int_equal(store_rejects_add(f->store, dataset.id, &reject, 1), 0);
  (void)snprintf(command, sizeof(command), "%s-wal", f->path);
  char *data;
  size_t size;
  assert_int_equal(file_read(command, 1 << 24, &data, &size, NULL), 0);
  assert_non_null(memmem(data, size, "nobody-should-find", 18));
  free(data);
  assert_int_equal(store_dataset_delete(f->store, dataset.id, &erased), 0);
  assert_int_equal(erased.rejects, 1);
  store_erased_clear(&erased);
  assert_true(store_scrub(f->store));
  assert_int_equal(file_read(command, 1 << 24, &data, &size, NULL), 0);
  assert_null(memmem(data, size, "nobody-should-find", 18));
  free(data);
  assert_int_equal(file_read(f->path, 1 << 24, &data, &size, NULL), 0);
  assert_null(memmem(data, size, "nobody-should-find", 18));
  free(data);
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
  const struct CMUnitTest tests[] = {
      TEST(fresh_database),
      TEST(migrating_backs_up_and_refuses_newer),
      TEST(foreign_and_damaged_files_are_refused),
      TEST(datasets),
      TEST(deleting_a_dataset),
      TEST(a_failed_dataset_fails_its_jobs),
      TEST(only_legal_transitions),
      TEST(transitions_and_their_events),
      TEST(priority_then_age),
      TEST(lists_filter_and_page),
      TEST(logs_are_kept_for_a_while),
      TEST(idempotency_keys),
      TEST(one_row_an_epoch),
      TEST(the_unique_index_refuses_a_second_row),
      TEST(killed_in_a_transaction),
      TEST(recovery),
      TEST(readers_do_not_wait_for_the_writer),
      TEST(full_disk),
      TEST(models),
      TEST(auditing_a_model),
      TEST(deleting_leaves_no_trace),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
