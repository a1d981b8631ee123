/* Events: what happened to a job, numbered so that a reader who lost the connection misses nothing. */
#include <string.h>

#include "core/base/json.h"
#include "daemon/store_internal.h"

int store_event_in(sqlite3 *db, int64_t job, const char *type, json_t *data, int64_t *ret_seq) {
  _cleanup_(freep) char *text = data ? json_print(data, JSON_COMPACT) : NULL;
  json_decref(data);
  if (!text)
    return -ENOMEM;
  int r = store_exec(db, "INSERT INTO events (job, type, at, data) VALUES (?1, ?2, ?3, ?4)", "ltlt", job,
                     type, time_now_ms(), text);
  if (r == 0 && ret_seq)
    *ret_seq = sqlite3_last_insert_rowid(db);
  return r;
}

int store_event_add(struct store *store, const char *job, const char *type, const json_t *data,
                    int64_t *ret_seq) {
  sqlite3 *db;
  int64_t seq, number = 0;
  int r = store_write_begin(store, &db);
  if (r < 0)
    return r;
  r = store_job_seq(db, job, &seq);
  if (r == 0)
    r = store_event_in(db, seq, type, json_incref((json_t *)data), &number);
  r = store_write_end(store, r);
  if (r == 0 && ret_seq)
    *ret_seq = number;
  return r;
}

void event_rows_free(struct event_row *rows, uint32_t count) {
  for (uint32_t i = 0; i < count; i++)
    free(rows[i].data);
  free(rows);
}

static int read_events(sqlite3_stmt *statement, struct event_row **rows, uint32_t *count) {
  uint32_t capacity = 0;
  int r;
  while ((r = store_step(statement)) > 0) {
    struct event_row *row = store_grow(rows, *count, &capacity, sizeof(*row));
    if (!row)
      return -ENOMEM;
    row->seq = sqlite3_column_int64(statement, 0);
    store_text(statement, 1, row->type, sizeof(row->type));
    row->at = sqlite3_column_int64(statement, 2);
    row->data = store_text_dup(statement, 3);
    (*count)++;
    if (!row->data)
      return -ENOMEM;
  }
  return r;
}

/* The rows that the statement gives. */
static int list_events(struct store *store, sqlite3 *db, sqlite3_stmt *statement, int r,
                       struct event_row **ret_rows, uint32_t *ret_count) {
  struct event_row *rows = NULL;
  uint32_t count = 0;
  if (r == 0)
    r = read_events(statement, &rows, &count);
  store_finish(statement);
  store_read_end(store, db);
  if (r < 0) {
    event_rows_free(rows, count);
    return r;
  }
  *ret_rows = rows;
  *ret_count = count;
  return 0;
}

int store_event_list(struct store *store, const char *job, int64_t after, uint32_t limit,
                     struct event_row **ret_rows, uint32_t *ret_count) {
  static const char sql[] =
      "SELECT seq, type, at, data FROM events "
      "WHERE job = (SELECT seq FROM jobs WHERE id = ?1) AND seq > ?2 ORDER BY seq LIMIT ?3";
  sqlite3 *db = store_read_begin(store);
  sqlite3_stmt *statement = NULL;
  int r = store_prepare(db, &statement, sql, "tlu", job, after, limit);
  return list_events(store, db, statement, r, ret_rows, ret_count);
}

/* ---- the log ---- */

int store_log_list(struct store *store, const char *job, int64_t ended_before, const struct store_page *page,
                   struct event_row **ret_rows, uint32_t *ret_count, int64_t *ret_next) {
  static const char gone[] = "SELECT log_pruned OR coalesce(finished_at < ?2, 0) FROM jobs WHERE id = ?1";
  static const char sql[] = "SELECT seq, type, at, data FROM events WHERE job = (SELECT seq FROM jobs "
                            "WHERE id = ?1) AND type = 'log' AND seq > ?2 ORDER BY seq LIMIT ?3";
  const uint32_t limit = store_page_limit(page);
  int64_t is_gone = 0;
  sqlite3 *db = store_read_begin(store);
  sqlite3_stmt *statement = NULL;
  int r = store_integer(db, &is_gone, gone, "tl", job, ended_before);
  if (r == 0 && is_gone)
    r = -ENODATA;
  if (r == 0)
    r = store_prepare(db, &statement, sql, "tlu", job, page->cursor, limit);
  r = list_events(store, db, statement, r, ret_rows, ret_count);
  if (r < 0)
    return r;
  *ret_next = 0;
  if (*ret_count == limit) {
    *ret_next = (*ret_rows)[limit - 2].seq;
    free((*ret_rows)[--*ret_count].data);
  }
  return 0;
}

int store_log_prune(struct store *store, int64_t ended_before) {
#define ENDED "log_pruned = 0 AND finished_at < ?1" /* as the index jobs_log has it */
  int64_t any = 0;
  sqlite3 *db = store_read_begin(store);
  int r = store_integer(db, &any, "SELECT EXISTS (SELECT 1 FROM jobs WHERE " ENDED ")", "l", ended_before);
  store_read_end(store, db);
  if (r < 0 || !any)
    return r;
  r = store_write_begin(store, &db);
  if (r < 0)
    return r;
  r = store_exec(db,
                 "DELETE FROM events WHERE type = 'log' AND job IN (SELECT seq FROM jobs WHERE " ENDED ")",
                 "l", ended_before);
  if (r == 0)
    r = store_exec(db, "UPDATE jobs SET log_pruned = 1 WHERE " ENDED, "l", ended_before);
#undef ENDED
  return store_write_end(store, r);
}
