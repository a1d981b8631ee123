/* Every earlier version of the database, with rows in all its tables, becomes the present one: no row is lost
 * or changed, and the schema is that of a new database. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "core/base/file.h"
#include "daemon/store_internal.h"

#define VERSIONS_MOST 64
#define SHA "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

struct fixture {
  char directory[64];
  struct schema_migration migrations[VERSIONS_MOST + 1]; /* a list that can be cut */
  uint32_t newest;
};

static int set_up(void **state) {
  struct fixture *f = calloc(1, sizeof(*f));
  (void)snprintf(f->directory, sizeof(f->directory), "/tmp/guise-migration-XXXXXX");
  if (!mkdtemp(f->directory))
    return -1;
  while (schema_migrations[f->newest].number) {
    f->migrations[f->newest] = schema_migrations[f->newest];
    f->newest++;
  }
  *state = f;
  return 0;
}

static int tear_down(void **state) {
  struct fixture *f = *state;
  (void)directory_remove(f->directory);
  free(f);
  return 0;
}

/* Rows that the tables of version `since` first could hold. */
static const struct {
  uint32_t since;
  const char *sql;
} rows[] = {
    {1,
     "INSERT INTO datasets (id, name, state, size, identities, images, bytes, sha256, upload_sha256, "
     "created_at)"
     " VALUES ('ds_a', 'orl', 'ready', 112, 4, 40, 9000, '" SHA "', '" SHA "', 1000);"
     "INSERT INTO datasets (id, name, state, size, bytes, upload_sha256, created_at)"
     " VALUES ('ds_b', 'lfw', 'ingesting', 64, 77, '" SHA "', 1001);"
     "INSERT INTO datasets (id, name, state, size, bytes, upload_sha256, error, created_at)"
     " VALUES ('ds_c', 'bad', 'failed', 64, 78, '" SHA "', 'no image', 1002);"
     "INSERT INTO rejects (dataset, path, code, detail) VALUES (2, 'x/y.jpg', 'corrupt', 'cut off');"
     "INSERT INTO pairs (dataset, name, sha256, bytes, count, folds) VALUES (1, 'view2', '" SHA "', 5, 3, 1);"
     "INSERT INTO jobs (id, type, state, priority, threads, max_runtime_s, dataset, pairs_dataset, "
     "pairs_name,"
     " spec, created_at, loss) VALUES ('job_a', 'train', 'queued', 1, 2, 3, 'ds_a', 'ds_a', 'view2', '{}', "
     "1003,"
     " 0.25), ('job_b', 'train', 'queued', -1, 0, 0, 'ds_a', NULL, NULL, '{\"x\":1}', 1004, NULL);"
     "UPDATE jobs SET state = 'running' WHERE id = 'job_b';"
     "INSERT INTO transitions (job, number, state, at, reason) VALUES (1, 1, 'queued', 1003, 'submitted');"
     "INSERT INTO labels (job, key, value) VALUES (1, 'who', 'me');"
     "INSERT INTO idempotency (key, body_sha256, job, created_at) VALUES ('k', '" SHA "', 1, 1003);"
     "INSERT INTO checkpoints (job, file, epochs, step, at) VALUES (2, 'checkpoint-3', 3, 30, 1005);"
     "INSERT INTO metrics (job, name, epoch, step, per_epoch, value) VALUES (2, 'loss', 3, 30, 1, 0.5),"
     " (2, 'loss', 3, 29, 0, NULL);"
     "INSERT INTO events (job, type, at, data) VALUES (1, 'state', 1003, '{}');"
     "INSERT INTO models (id, job, dataset, audited, facts, summary, created_at)"
     " VALUES ('mdl_a', 1, 'ds_a', 1, '{}', '{}', 1006);"
     "INSERT INTO model_files (model, name, sha256, size) VALUES (1, 'model.safetensors', '" SHA "', 123);"},
    {2, "INSERT INTO job_inputs (job, pointer, dataset, model) VALUES (1, '/mask/reference', NULL, 'mdl_a'),"
        " (1, '/mask/public_dataset', 'ds_b', NULL);"},
    {3, "INSERT INTO tokens (id, name, owner, hash, scopes, created_at, expires_at)"
        " VALUES ('tok_a', 'root', 'alice', '" SHA "', 'admin', 1007, 2000);"},
    {4, "UPDATE datasets SET owner = 'alice' WHERE id = 'ds_a'; UPDATE jobs SET owner = 'alice';"
        "UPDATE models SET owner = 'alice';"},
    {5, "INSERT INTO audit (at, actor, action, object, status)"
        " VALUES (1008, 'tok_a', 'deleteDataset', 'ds_x', 204);"},
    {8,
     "INSERT INTO audit (at, actor, action, object, status) VALUES (1009, 'tok_a', 'getModelFile', 'mdl_a', "
     "200);"},
    {9, "INSERT INTO networks (key, sha256, bytes, dataset, public_dataset, model, used_at)"
        " VALUES ('" SHA "', '" SHA "', 9, 'ds_a', 'ds_b', 'mdl_a', 1009);"},
};

static char *text_of(sqlite3 *db, const char *sql) {
  _statement_ *statement = NULL;
  assert_int_equal(store_prepare(db, &statement, sql, ""), 0);
  assert_int_equal(store_step(statement), 1);
  char *text = store_text_dup(statement, 0);
  assert_non_null(text);
  return text;
}

/* For each table of the database a query that gives all its rows as one text, with the columns it has now. */
static char *row_queries(sqlite3 *db) {
  return text_of(
      db, "SELECT group_concat(query, char(10)) FROM (SELECT 'SELECT ''' || t.name || ': '' || "
          "coalesce(group_concat(row, char(10)), '''') FROM (SELECT ' || group_concat('quote(\"' || "
          "c.name || '\")', ' || '','' || ') || ' AS row FROM \"' || t.name || '\" ORDER BY 1)' AS query "
          "FROM pragma_table_list t JOIN pragma_table_info(t.name) c WHERE t.schema = 'main' AND t.type = "
          "'table' AND t.name NOT LIKE 'sqlite_%' GROUP BY t.name ORDER BY t.name)");
}

static char *rows_of(sqlite3 *db, const char *queries) {
  char *text = NULL, *line = NULL, *rest = NULL;
  size_t bytes = 0;
  FILE *out = open_memstream(&text, &bytes);
  _cleanup_(freep) char *copy = strdup(queries);
  for (line = strtok_r(copy, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest)) {
    _cleanup_(freep) char *rows_text = text_of(db, line);
    (void)fprintf(out, "%s\n", rows_text);
  }
  (void)fclose(out);
  return text;
}

static char *schema_of(sqlite3 *db) {
  return text_of(db,
                 "SELECT group_concat(type || ' ' || name || ' ' || tbl_name || ' ' || coalesce(sql, ''), "
                 "char(10)) FROM (SELECT * FROM sqlite_schema ORDER BY type, name)");
}

/* The database of version `version` with rows in it; their text and the queries that gave it. */
static void build(struct fixture *f, const char *path, uint32_t version, char **ret_queries,
                  char **ret_rows) {
  struct schema_migration older[VERSIONS_MOST + 1] = {{0, NULL, NULL}};
  struct guise_error err = {0, ""};
  struct store *store;
  memcpy(older, f->migrations, version * sizeof(*older));
  assert_int_equal(older[version - 1].number, version);
  if (store_open(path, older, &store, &err) < 0)
    fail_msg("version %u: %s", version, err.text);
  for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
    if (rows[i].since <= version && sqlite3_exec(store->writer, rows[i].sql, NULL, NULL, NULL) != SQLITE_OK)
      fail_msg("version %u: %s", version, sqlite3_errmsg(store->writer));
  *ret_queries = row_queries(store->writer);
  *ret_rows = rows_of(store->writer, *ret_queries);
  store_close(store);
}

static void check_backup(struct fixture *f, const char *path, uint32_t version, const char *queries,
                         const char *before) {
  char backup[192];
  sqlite3 *db;
  int64_t number = 0;
  (void)f;
  (void)snprintf(backup, sizeof(backup), "%s.before-%u.bak", path, version + 1);
  assert_int_equal(sqlite3_open_v2(backup, &db, SQLITE_OPEN_READONLY, NULL), SQLITE_OK);
  assert_int_equal(store_integer(db, &number, "PRAGMA user_version", ""), 0);
  assert_int_equal(number, version);
  _cleanup_(freep) char *there = rows_of(db, queries);
  assert_string_equal(there, before);
  (void)sqlite3_close(db);
}

static void from_every_version(void **state) {
  struct fixture *f = *state;
  struct store *fresh;
  char path[128];
  (void)snprintf(path, sizeof(path), "%s/fresh.db", f->directory);
  assert_int_equal(store_open(path, NULL, &fresh, NULL), 0);
  _cleanup_(freep) char *wanted = schema_of(fresh->writer);
  store_close(fresh);
  assert_true(f->newest >= 5);
  for (uint32_t version = 1; version < f->newest; version++) {
    _cleanup_(freep) char *queries = NULL;
    _cleanup_(freep) char *before = NULL;
    struct guise_error err = {0, ""};
    struct job_row job;
    struct store *store;
    int64_t bad = 0;
    (void)snprintf(path, sizeof(path), "%s/version-%u.db", f->directory, version);
    build(f, path, version, &queries, &before);
    assert_non_null(strstr(before, "checkpoint-3"));
    if (store_open(path, NULL, &store, &err) < 0)
      fail_msg("from version %u: %s", version, err.text);
    _cleanup_(freep) char *schema = schema_of(store->writer);
    _cleanup_(freep) char *after = rows_of(store->writer, queries);
    assert_string_equal(schema, wanted);
    assert_string_equal(after, before);
    assert_int_equal(
        store_integer(store->writer, &bad,
                      "SELECT (SELECT count(*) FROM pragma_foreign_key_check) + (SELECT count(*) "
                      "FROM pragma_integrity_check WHERE integrity_check <> 'ok')",
                      ""),
        0);
    assert_int_equal(bad, 0);
    assert_int_equal(store_job_get(store, "job_a", &job), 0); /* the present program reads it */
    assert_int_equal(job.priority, 1);
    assert_string_equal(job.owner, version >= 4 ? "alice" : "");
    job_row_clear(&job);
    store_close(store);
    check_backup(f, path, version, queries, before);
  }
}

static void a_newer_one_is_refused_and_left_alone(void **state) {
  struct fixture *f = *state;
  struct guise_error err = {0, ""};
  struct store *store;
  char path[128], sql[64], before[SHA256_HEX], after[SHA256_HEX], words[64];
  (void)snprintf(path, sizeof(path), "%s/newer.db", f->directory);
  assert_int_equal(store_open(path, NULL, &store, NULL), 0);
  (void)snprintf(sql, sizeof(sql), "PRAGMA user_version = %u", f->newest + 1);
  assert_int_equal(sqlite3_exec(store->writer, sql, NULL, NULL, NULL), SQLITE_OK);
  store_close(store);
  assert_int_equal(sha256_file(path, before, NULL), 0);
  assert_int_equal(store_open(path, NULL, &store, &err), -EPROTONOSUPPORT);
  (void)snprintf(words, sizeof(words), "version %u, this guised knows %u", f->newest + 1, f->newest);
  assert_non_null(strstr(err.text, words));
  assert_non_null(strstr(err.text, "start the newer guised"));
  assert_int_equal(sha256_file(path, after, NULL), 0);
  assert_string_equal(before, after);
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
  const struct CMUnitTest tests[] = {TEST(from_every_version), TEST(a_newer_one_is_refused_and_left_alone)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
