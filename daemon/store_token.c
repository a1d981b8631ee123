/* Bearer tokens: rows without secrets. */
#include <string.h>

#include "daemon/access.h"
#include "daemon/store_internal.h"

#define COLUMNS "SELECT seq, id, name, owner, scopes, created_at, expires_at, revoked_at, hash FROM tokens "

static void read_token(sqlite3_stmt *statement, struct token_row *row) {
  char scopes[SCOPES_TEXT];
  memset(row, 0, sizeof(*row));
  row->seq = sqlite3_column_int64(statement, 0);
  store_text(statement, 1, row->id, sizeof(row->id));
  store_text(statement, 2, row->name, sizeof(row->name));
  store_text(statement, 3, row->owner, sizeof(row->owner));
  store_text(statement, 4, scopes, sizeof(scopes));
  row->scopes = scopes_parse(scopes);
  row->created_at = sqlite3_column_int64(statement, 5);
  row->expires_at = sqlite3_column_int64(statement, 6);
  row->revoked_at = sqlite3_column_int64(statement, 7);
}

int store_token_insert(struct store *store, const struct token_row *row, const char hash[TOKEN_HASH]) {
  static const char sql[] = "INSERT INTO tokens (id, name, owner, hash, scopes, created_at, expires_at) "
                            "VALUES (?1, ?2, ?3, ?4, ?5, ?6, nullif(?7, 0))";
  char scopes[SCOPES_TEXT];
  sqlite3 *db;
  scopes_text(row->scopes, scopes);
  int r = store_write_begin(store, &db);
  if (r < 0)
    return r;
  r = store_exec(db, sql, "tttttll", row->id, row->name, row->owner, hash, scopes, row->created_at,
                 row->expires_at);
  if (r == 0)
    r = store_audit_due(db, row->id);
  return store_write_end(store, r);
}

int store_token_get(struct store *store, const char *id, struct token_row *ret_row,
                    char ret_hash[TOKEN_HASH]) {
  sqlite3 *db = store_read_begin(store);
  sqlite3_stmt *statement = NULL;
  int r = store_prepare(db, &statement, COLUMNS "WHERE id = ?1", "t", id);
  if (r == 0)
    r = store_step(statement);
  if (r > 0) {
    read_token(statement, ret_row);
    store_text(statement, 8, ret_hash, TOKEN_HASH);
  }
  store_finish(statement);
  store_read_end(store, db);
  return r > 0 ? 0 : r < 0 ? r : -ENOENT;
}

static int read_tokens(sqlite3_stmt *statement, struct token_row **rows, uint32_t *count) {
  uint32_t capacity = 0;
  int r;
  while ((r = store_step(statement)) > 0) {
    struct token_row *row = store_grow(rows, *count, &capacity, sizeof(*row));
    if (!row)
      return -ENOMEM;
    read_token(statement, row);
    (*count)++;
  }
  return r;
}

int store_token_list(struct store *store, const struct store_page *page, struct token_row **ret_rows,
                     uint32_t *ret_count, int64_t *ret_next) {
  _cleanup_(freep) struct token_row *rows = NULL;
  uint32_t count = 0, limit = store_page_limit(page);
  sqlite3 *db = store_read_begin(store);
  sqlite3_stmt *statement = NULL;
  int r = store_prepare(db, &statement, COLUMNS "WHERE seq > ?1 ORDER BY seq LIMIT ?2", "lu",
                        store_page_cursor(page), limit);
  if (r == 0)
    r = read_tokens(statement, &rows, &count);
  store_finish(statement);
  store_read_end(store, db);
  if (r < 0)
    return r;
  *ret_next = count == limit ? rows[limit - 2].seq : 0;
  *ret_count = MIN(count, limit - 1);
  *ret_rows = TAKE(rows);
  return 0;
}

int store_token_revoke(struct store *store, const char *id, int64_t now_ms) {
  sqlite3 *db;
  int r = store_write_begin(store, &db);
  if (r < 0)
    return r;
  r = store_exec(db, "UPDATE tokens SET revoked_at = coalesce(revoked_at, ?2) WHERE id = ?1", "tl", id,
                 now_ms);
  if (r == 0 && sqlite3_changes(db) == 0)
    r = -ENOENT;
  if (r == 0)
    r = store_audit_due(db, id);
  return store_write_end(store, r);
}

int store_token_any(struct store *store, int64_t now_ms, bool *ret_any) {
  int64_t any = 0;
  sqlite3 *db = store_read_begin(store);
  int r = store_integer(db, &any,
                        "SELECT EXISTS (SELECT 1 FROM tokens WHERE revoked_at IS NULL AND (expires_at IS "
                        "NULL OR expires_at > ?1))",
                        "l", now_ms);
  store_read_end(store, db);
  if (r == 0)
    *ret_any = any != 0;
  return r;
}
