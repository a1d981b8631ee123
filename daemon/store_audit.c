/* The audit trail: rows are added and, when they are old or very many, forgotten; never changed, but that an
 * erasure's gets its receipt once. */
#include <stdio.h>
#include <string.h>

#include "daemon/store_internal.h"

void audit_rows_free(struct audit_row *rows, uint32_t count) {
  for (uint32_t i = 0; i < count; i++)
    free(rows[i].receipt);
  free(rows);
}

static int insert(sqlite3 *db, const struct audit_row *row, int64_t *ret_seq) {
  int r = store_exec(db,
                     "INSERT INTO audit (at, actor, action, object, status, receipt, file) "
                     "VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
                     "ltttutt", row->at, row->actor, row->action, row->object, row->status, row->receipt,
                     *row->file ? row->file : NULL);
  *ret_seq = sqlite3_last_insert_rowid(db);
  return r;
}

static int forget(sqlite3 *db, int64_t before, int64_t newest) {
  int r = store_exec(db, "DELETE FROM audit WHERE at < ?1", "l", before);
  return r < 0 ? r : store_exec(db, "DELETE FROM audit WHERE seq <= ?1", "l", newest - STORE_AUDIT_ROWS);
}

int store_audit_add(struct store *store, const struct audit_row *row, int64_t keep_ms) {
  sqlite3 *db;
  int64_t seq = 0;
  int r = store_write_begin(store, &db);
  if (r < 0)
    return r;
  r = insert(db, row, &seq);
  if (r == 0)
    r = forget(db, row->at - keep_ms, seq);
  return store_write_end(store, r);
}

/* ---- rows that are part of what they tell of ---- */

static _Thread_local struct audit_row *expected;
static _Thread_local int64_t inserted; /* in the transaction under way; 0 = not */

void store_audit_expect(struct audit_row *row) {
  expected = row;
  inserted = 0;
}

int store_audit_due(sqlite3 *db, const char *object) {
  if (!expected || expected->seq)
    return 0;
  (void)snprintf(expected->object, sizeof(expected->object), "%s", object);
  return insert(db, expected, &inserted);
}

void store_audit_ended(bool committed) {
  if (committed && inserted)
    expected->seq = inserted;
  inserted = 0;
}

int store_audit_complete(struct store *store, const struct audit_row *row, int64_t keep_ms) {
  sqlite3 *db;
  int r = store_write_begin(store, &db);
  if (r < 0)
    return r;
  if (row->receipt)
    r = store_exec(db, "UPDATE audit SET receipt = ?2 WHERE seq = ?1", "lt", row->seq, row->receipt);
  if (r == 0)
    r = forget(db, row->at - keep_ms, row->seq);
  return store_write_end(store, r);
}

/* ---- lists ---- */

static int read_rows(sqlite3_stmt *statement, struct audit_row **rows, uint32_t *count) {
  uint32_t capacity = 0;
  int r;
  while ((r = store_step(statement)) > 0) {
    struct audit_row *row = store_grow(rows, *count, &capacity, sizeof(*row));
    if (!row)
      return -ENOMEM;
    row->seq = sqlite3_column_int64(statement, 0);
    row->at = sqlite3_column_int64(statement, 1);
    store_text(statement, 2, row->actor, sizeof(row->actor));
    store_text(statement, 3, row->action, sizeof(row->action));
    store_text(statement, 4, row->object, sizeof(row->object));
    row->status = store_u32(statement, 5);
    row->receipt = store_text_dup(statement, 6);
    store_text(statement, 7, row->file, sizeof(row->file));
    (*count)++;
    if (!row->receipt && sqlite3_column_type(statement, 6) != SQLITE_NULL)
      return -ENOMEM;
  }
  return r;
}

/* Each with what its index finds: a condition that may be off would read the whole trail. */
const char *store_audit_sql(bool actor, bool object) {
#define ROWS(condition)                                                      \
  "SELECT seq, at, actor, action, object, status, receipt, file FROM audit " \
  "WHERE seq < ?1 " condition "ORDER BY seq DESC LIMIT ?4"
  if (actor && object)
    return ROWS("AND actor = ?2 AND object = ?3 ");
  if (object)
    return ROWS("AND object = ?3 ");
  return actor ? ROWS("AND actor = ?2 ") : ROWS("");
#undef ROWS
}

int store_audit_list(struct store *store, const char *actor, const char *object,
                     const struct store_page *page, struct audit_row **ret_rows, uint32_t *ret_count,
                     int64_t *ret_next) {
  const char *sql = store_audit_sql(actor, object);
  const struct store_page newest_first = {.cursor = page->cursor, .limit = page->limit, .descending = true};
  struct audit_row *rows = NULL;
  uint32_t count = 0, limit = store_page_limit(page);
  sqlite3 *db = store_read_begin(store);
  sqlite3_stmt *statement = NULL;
  int r = store_prepare(db, &statement, sql, "lttu", store_page_cursor(&newest_first), actor, object, limit);
  if (r == 0)
    r = read_rows(statement, &rows, &count);
  store_finish(statement);
  store_read_end(store, db);
  if (r < 0) {
    audit_rows_free(rows, count);
    return r;
  }
  *ret_next = 0;
  if (count == limit) {
    *ret_next = rows[limit - 2].seq;
    free(rows[--count].receipt);
  }
  *ret_count = count;
  *ret_rows = rows;
  return 0;
}
