/* Data sets and the files of an upload that could not be used. */
#include <stdio.h>
#include <string.h>

#include "core/base/json.h"
#include "daemon/store_internal.h"

static const char *const state_names[] = {
    [DATASET_INGESTING] = "ingesting", [DATASET_READY] = "ready", [DATASET_FAILED] = "failed"};

const char *dataset_state_name(enum dataset_state state) {
  return state_names[state];
}

static const char *const kind_names[] = {[DATASET_FACES] = "faces", [DATASET_TEMPLATES] = "templates"};

const char *dataset_kind_name(enum dataset_kind kind) {
  return kind_names[kind];
}

#define COLUMNS                                                                                     \
  "SELECT seq, id, name, state, size, identities, images, rejected, bytes, sha256, upload_sha256, " \
  "created_at, error, owner, kind "                                                                 \
  "FROM datasets "

static void read_dataset(sqlite3_stmt *statement, struct dataset_row *row) {
  char state[16], kind[16];
  memset(row, 0, sizeof(*row));
  row->seq = sqlite3_column_int64(statement, 0);
  store_text(statement, 1, row->id, sizeof(row->id));
  store_text(statement, 2, row->name, sizeof(row->name));
  store_text(statement, 3, state, sizeof(state));
  for (uint32_t i = 0; i < ARRAY_SIZE(state_names); i++)
    if (strcmp(state, state_names[i]) == 0)
      row->state = (enum dataset_state)i;
  row->size = store_u32(statement, 4);
  row->identities = store_u32(statement, 5);
  row->images = store_u32(statement, 6);
  row->rejected = store_u32(statement, 7);
  row->bytes = (uint64_t)sqlite3_column_int64(statement, 8);
  store_text(statement, 9, row->sha256, sizeof(row->sha256));
  store_text(statement, 10, row->upload_sha256, sizeof(row->upload_sha256));
  row->created_at = sqlite3_column_int64(statement, 11);
  store_text(statement, 12, row->error, sizeof(row->error));
  store_text(statement, 13, row->owner, sizeof(row->owner));
  store_text(statement, 14, kind, sizeof(kind));
  row->kind = strcmp(kind, kind_names[DATASET_TEMPLATES]) == 0 ? DATASET_TEMPLATES : DATASET_FACES;
}

/* The statement's one row, if it could be prepared (r), and the end of the read. */
static int read_one(struct store *store, sqlite3 *db, sqlite3_stmt *statement, int r,
                    struct dataset_row *ret_row) {
  if (r == 0)
    r = store_step(statement);
  if (r > 0)
    read_dataset(statement, ret_row);
  store_finish(statement);
  store_read_end(store, db);
  return r > 0 ? 0 : r < 0 ? r : -ENOENT;
}

int store_dataset_get(struct store *store, const char *key, struct dataset_row *ret_row) {
  sqlite3 *db = store_read_begin(store);
  sqlite3_stmt *statement = NULL;
  int r = store_prepare(db, &statement, COLUMNS "WHERE id = ?1 OR name = ?1", "t", key);
  return read_one(store, db, statement, r, ret_row);
}

int store_dataset_next_ingest(struct store *store, int64_t after, struct dataset_row *ret_row) {
  sqlite3 *db = store_read_begin(store);
  sqlite3_stmt *statement = NULL;
  int r = store_prepare(db, &statement, COLUMNS "WHERE state = 'ingesting' AND seq > ?1 ORDER BY seq LIMIT 1",
                        "l", after);
  return read_one(store, db, statement, r, ret_row);
}

static int read_datasets(sqlite3_stmt *statement, struct dataset_row **rows, uint32_t *count) {
  uint32_t capacity = 0;
  int r;
  while ((r = store_step(statement)) > 0) {
    struct dataset_row *row = store_grow(rows, *count, &capacity, sizeof(*row));
    if (!row)
      return -ENOMEM;
    read_dataset(statement, row);
    (*count)++;
  }
  return r;
}

int store_dataset_list(struct store *store, const struct store_page *page, struct dataset_row **ret_rows,
                       uint32_t *ret_count, int64_t *ret_next) {
  _cleanup_(freep) struct dataset_row *rows = NULL;
  uint32_t count = 0, limit = store_page_limit(page);
#define OWNED "(?3 IS NULL OR owner = ?3) "
  const char *sql = page->descending ? COLUMNS "WHERE seq < ?1 AND " OWNED "ORDER BY seq DESC LIMIT ?2"
                                     : COLUMNS "WHERE seq > ?1 AND " OWNED "ORDER BY seq LIMIT ?2";
#undef OWNED
  sqlite3 *db = store_read_begin(store);
  sqlite3_stmt *statement = NULL;
  int r = store_prepare(db, &statement, sql, "lut", store_page_cursor(page), limit, page->owner);
  if (r == 0)
    r = read_datasets(statement, &rows, &count);
  store_finish(statement);
  store_read_end(store, db);
  if (r < 0)
    return r;
  *ret_next = count == limit ? rows[limit - 2].seq : 0;
  *ret_count = MIN(count, limit - 1);
  *ret_rows = TAKE(rows);
  return 0;
}

static bool fits(uint64_t most, int64_t used, uint64_t more) {
  return !most || ((uint64_t)used <= most && more <= most - (uint64_t)used);
}

/* Whether the owner may have this data set beside his others. Before the ingest `images` is 0, so that only a
 * quota that is used up already refuses it. */
static int check_quota(struct store *store, sqlite3 *db, const struct dataset_row *row) {
  const uint64_t bytes = atomic_load(&store->owner_bytes), images = atomic_load(&store->owner_images);
  _statement_ *statement = NULL;
  if ((!bytes && !images) || !row->owner[0])
    return 0;
  int r = store_prepare(db, &statement,
                        "SELECT coalesce(sum(bytes), 0), coalesce(sum(images), 0) FROM datasets "
                        "WHERE owner = ?1 AND id <> ?2",
                        "tt", row->owner, row->id);
  if (r == 0)
    r = store_step(statement);
  if (r < 0)
    return r;
  return fits(bytes, sqlite3_column_int64(statement, 0), row->bytes) &&
                 fits(images, sqlite3_column_int64(statement, 1), MAX(row->images, 1u))
             ? 0
             : -EUSERS;
}

int store_owner_room(struct store *store, const char *owner, const char *name, uint64_t *ret_bytes) {
  const uint64_t bytes = atomic_load(&store->owner_bytes), images = atomic_load(&store->owner_images);
  sqlite3_stmt *statement = NULL;
  *ret_bytes = UINT64_MAX;
  if ((!bytes && !images) || !owner[0])
    return 0;
  sqlite3 *db = store_read_begin(store);
  int r = store_prepare(db, &statement,
                        "SELECT coalesce(sum(bytes), 0), coalesce(sum(images), 0) FROM datasets "
                        "WHERE owner = ?1 AND name <> ?2",
                        "tt", owner, name);
  if (r == 0)
    r = store_step(statement);
  if (r > 0) {
    const uint64_t used = (uint64_t)sqlite3_column_int64(statement, 0);
    if (bytes)
      *ret_bytes = bytes - MIN(used, bytes);
    r = fits(images, sqlite3_column_int64(statement, 1), 1) ? 0 : -EUSERS;
  }
  store_finish(statement);
  store_read_end(store, db);
  return r;
}

int store_dataset_insert(struct store *store, const struct dataset_row *row) {
  sqlite3 *db;
  int r = store_write_begin(store, &db);
  if (r < 0)
    return r;
  r = check_quota(store, db, row);
  if (r == 0)
    r = store_exec(
        db,
        "INSERT INTO datasets (id, name, state, size, bytes, upload_sha256, created_at, owner, kind) "
        "VALUES (?1, ?2, 'ingesting', ?3, ?4, ?5, ?6, nullif(?7, ''), ?8)",
        "ttuLtltt", row->id, row->name, row->size, row->bytes, row->upload_sha256, row->created_at,
        row->owner, kind_names[row->kind]);
  return store_write_end(store, r);
}

int store_dataset_restart(struct store *store, const char *id) {
  sqlite3 *db;
  int r = store_write_begin(store, &db);
  if (r < 0)
    return r;
  r = store_exec(db, "DELETE FROM rejects WHERE dataset = (SELECT seq FROM datasets WHERE id = ?1)", "t", id);
  return store_write_end(store, r);
}

int store_rejects_add(struct store *store, const char *id, const struct reject_row *rows, uint32_t count) {
  sqlite3 *db;
  int64_t seq = 0;
  int r = store_write_begin(store, &db);
  if (r < 0)
    return r;
  r = store_integer(db, &seq, "SELECT seq FROM datasets WHERE id = ?1", "t", id);
  for (uint32_t i = 0; i < count && r == 0; i++)
    r = store_exec(db, "INSERT INTO rejects (dataset, path, code, detail) VALUES (?1, ?2, ?3, ?4)", "lttt",
                   seq, rows[i].path, rows[i].code, rows[i].detail);
  return store_write_end(store, r);
}

static int changed_one(sqlite3 *db, int r) {
  return r == 0 && sqlite3_changes(db) == 0 ? -ENOENT : r;
}

int store_dataset_ready(struct store *store, const struct dataset_row *row) {
  sqlite3 *db;
  int r = store_write_begin(store, &db);
  if (r < 0)
    return r;
  r = check_quota(store, db, row); /* a pack is larger than the upload it was made from */
  if (r == 0)
    r = store_exec(
        db,
        "UPDATE datasets SET state = 'ready', identities = ?2, images = ?3, rejected = ?4, bytes = "
        "?5, sha256 = ?6, size = coalesce(nullif(?7, 0), size) "
        "WHERE id = ?1",
        "tuuuLtu", row->id, row->identities, row->images, row->rejected, row->bytes, row->sha256, row->size);
  return store_write_end(store, changed_one(db, r));
}

/* ---- failing, with the jobs that wait ---- */

struct waiting_job {
  char id[STORE_ID];
  int64_t seq;
};

static int waiting_jobs(sqlite3 *db, const char *id, struct waiting_job **rows, uint32_t *count) {
  uint32_t capacity = 0;
  _statement_ *statement = NULL;
  int r = store_prepare(db, &statement,
                        "SELECT id FROM jobs WHERE (dataset = ?1 OR pairs_dataset = ?1 OR seq IN "
                        "(SELECT job FROM job_inputs WHERE dataset = ?1)) AND state = 'queued'",
                        "t", id);
  while (r == 0 && (r = store_step(statement)) > 0) {
    struct waiting_job *row = store_grow(rows, *count, &capacity, sizeof(*row));
    if (!row)
      return -ENOMEM;
    store_text(statement, 0, row->id, sizeof(row->id));
    (*count)++;
    r = 0;
  }
  return r;
}

static int fail_waiting(sqlite3 *db, struct waiting_job *jobs, uint32_t count, const char *error) {
  json_t *problem = json_pack("{s:s, s:s, s:i, s:s, s:s+}", "type", JOB_PROBLEM_TYPE "dataset_failed",
                              "title", "The data set failed", "status", 422, "code", "dataset_failed",
                              "detail", "its data set could not be read: ", error);
  _cleanup_(freep) char *text = problem ? json_print(problem, JSON_COMPACT) : NULL;
  json_decref(problem);
  if (!text)
    return -ENOMEM;
  int r = 0;
  for (uint32_t i = 0; i < count && r == 0; i++)
    r = store_job_move_in(db, jobs[i].id, 1u << JOB_STATE_QUEUED, JOB_STATE_FAILED,
                          "its data set could not be read", text, NULL, &jobs[i].seq);
  return r;
}

int store_dataset_fail(struct store *store, const char *id, uint32_t rejected, const char *error,
                       void (*failed)(void *context, const char *job, int64_t seq), void *context) {
  sqlite3 *db;
  _cleanup_(freep) struct waiting_job *jobs = NULL;
  uint32_t count = 0;
  int r = store_write_begin(store, &db);
  if (r < 0)
    return r;
  r = changed_one(
      db, store_exec(db, "UPDATE datasets SET state = 'failed', rejected = ?2, error = ?3 WHERE id = ?1",
                     "tut", id, rejected, error));
  if (r == 0)
    r = waiting_jobs(db, id, &jobs, &count);
  if (r == 0)
    r = fail_waiting(db, jobs, count, error);
  r = store_write_end(store, r);
  for (uint32_t i = 0; i < count && r == 0 && failed; i++)
    failed(context, jobs[i].id, jobs[i].seq);
  return r;
}

int store_dataset_again(struct store *store, const char *id) {
  sqlite3 *db;
  int r = store_write_begin(store, &db);
  if (r < 0)
    return r;
  r = store_exec(db,
                 "UPDATE datasets SET state = 'ingesting', rejected = 0, error = NULL "
                 "WHERE id = ?1 AND state = 'failed'",
                 "t", id);
  return store_write_end(store, changed_one(db, r));
}

/* ---- rejects ---- */

static int read_rejects(sqlite3_stmt *statement, struct reject_row **rows, uint32_t *count) {
  uint32_t capacity = 0;
  int r;
  while ((r = store_step(statement)) > 0) {
    struct reject_row *row = store_grow(rows, *count, &capacity, sizeof(*row));
    if (!row)
      return -ENOMEM;
    row->seq = sqlite3_column_int64(statement, 0);
    store_text(statement, 1, row->path, sizeof(row->path));
    store_text(statement, 2, row->code, sizeof(row->code));
    store_text(statement, 3, row->detail, sizeof(row->detail));
    (*count)++;
  }
  return r;
}

int store_reject_list(struct store *store, const char *dataset_id, const struct store_page *page,
                      struct reject_row **ret_rows, uint32_t *ret_count, int64_t *ret_next) {
#define REJECTS \
  "SELECT seq, path, code, detail FROM rejects WHERE dataset = (SELECT seq FROM datasets WHERE id = ?1) "
  const char *sql = page->descending ? REJECTS "AND seq < ?2 ORDER BY seq DESC LIMIT ?3"
                                     : REJECTS "AND seq > ?2 ORDER BY seq LIMIT ?3";
#undef REJECTS
  _cleanup_(freep) struct reject_row *rows = NULL;
  uint32_t count = 0, limit = store_page_limit(page);
  sqlite3 *db = store_read_begin(store);
  sqlite3_stmt *statement = NULL;
  int r = store_prepare(db, &statement, sql, "tlu", dataset_id, store_page_cursor(page), limit);
  if (r == 0)
    r = read_rejects(statement, &rows, &count);
  store_finish(statement);
  store_read_end(store, db);
  if (r < 0)
    return r;
  *ret_next = count == limit ? rows[limit - 2].seq : 0;
  *ret_count = MIN(count, limit - 1);
  *ret_rows = TAKE(rows);
  return 0;
}
