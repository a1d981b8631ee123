/* Pairs lists of a data set. The texts name people, so they are blobs of their own that deleting removes. */
#include <string.h>

#include "daemon/store_internal.h"

#define COLUMNS                                                                                             \
  "SELECT name, sha256, bytes, count, folds FROM pairs WHERE dataset = (SELECT seq FROM datasets WHERE id " \
  "= ?1) "

static void read_pairs(sqlite3_stmt *statement, struct pairs_row *row) {
  memset(row, 0, sizeof(*row));
  store_text(statement, 0, row->name, sizeof(row->name));
  store_text(statement, 1, row->sha256, sizeof(row->sha256));
  row->bytes = (uint64_t)sqlite3_column_int64(statement, 2);
  row->count = store_u32(statement, 3);
  row->folds = store_u32(statement, 4);
}

static int old_blob(sqlite3 *db, int64_t dataset, const char *name, char ret_blob[SHA256_HEX]) {
  _statement_ *statement = NULL;
  int r = store_prepare(db, &statement, "SELECT sha256 FROM pairs WHERE dataset = ?1 AND name = ?2", "lt",
                        dataset, name);
  if (r == 0)
    r = store_step(statement);
  if (r > 0)
    store_text(statement, 0, ret_blob, SHA256_HEX);
  return MIN(r, 0);
}

int store_pairs_put(struct store *store, const char *dataset_id, const struct pairs_row *row,
                    char ret_unused[SHA256_HEX]) {
  static const char sql[] =
      "INSERT INTO pairs (dataset, name, sha256, bytes, count, folds) "
      "VALUES (?1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT (dataset, name) DO UPDATE SET "
      "sha256 = excluded.sha256, bytes = excluded.bytes, count = excluded.count, folds = excluded.folds";
  sqlite3 *db;
  char old[1][SHA256_HEX] = {""};
  int64_t dataset = 0;
  int r = store_write_begin(store, &db);
  if (r < 0)
    return r;
  r = store_integer(db, &dataset, "SELECT seq FROM datasets WHERE id = ?1", "t", dataset_id);
  if (r == 0)
    r = old_blob(db, dataset, row->name, old[0]);
  if (r == 0)
    r = store_exec(db, sql, "lttLuu", dataset, row->name, row->sha256, row->bytes, row->count, row->folds);
  uint32_t count = old[0][0] ? 1 : 0;
  if (r == 0)
    r = store_blobs_unused(db, old, &count);
  r = store_write_end(store, r);
  if (r == 0)
    memcpy(ret_unused, count ? old[0] : "", count ? SHA256_HEX : 1);
  return r;
}

int store_pairs_get(struct store *store, const char *dataset_id, const char *name,
                    struct pairs_row *ret_row) {
  sqlite3 *db = store_read_begin(store);
  sqlite3_stmt *statement = NULL;
  int r = store_prepare(db, &statement, COLUMNS "AND name = ?2", "tt", dataset_id, name);
  if (r == 0)
    r = store_step(statement);
  if (r > 0)
    read_pairs(statement, ret_row);
  store_finish(statement);
  store_read_end(store, db);
  return r > 0 ? 0 : r < 0 ? r : -ENOENT;
}

/* Rows have no number: the cursor is how many come before. */
int store_pairs_list(struct store *store, const char *dataset_id, const struct store_page *page,
                     struct pairs_row **ret_rows, uint32_t *ret_count, int64_t *ret_next) {
  _cleanup_(freep) struct pairs_row *rows = NULL;
  uint32_t count = 0, capacity = 0, limit = store_page_limit(page);
  sqlite3 *db = store_read_begin(store);
  sqlite3_stmt *statement = NULL;
  int r = store_prepare(db, &statement, COLUMNS "ORDER BY name LIMIT ?2 OFFSET ?3", "tul", dataset_id, limit,
                        page->cursor);
  while (r == 0 && (r = store_step(statement)) > 0) {
    struct pairs_row *row = store_grow(&rows, count, &capacity, sizeof(*row));
    r = row ? 0 : -ENOMEM;
    if (!row)
      break;
    read_pairs(statement, row);
    count++;
  }
  store_finish(statement);
  store_read_end(store, db);
  if (r < 0)
    return r;
  *ret_next = count == limit ? page->cursor + limit - 1 : 0;
  *ret_rows = TAKE(rows);
  *ret_count = MIN(count, limit - 1);
  return 0;
}
