/* Metrics: an epoch's values (one row for each job, name and epoch) and values of single steps. */
#include <string.h>

#include "daemon/store_internal.h"

static int read_metrics(sqlite3_stmt *statement, struct metric_value **rows, uint32_t *count) {
  uint32_t capacity = 0;
  int r;
  while ((r = store_step(statement)) > 0) {
    struct metric_value *row = store_grow(rows, *count, &capacity, sizeof(*row));
    if (!row)
      return -ENOMEM;
    row->seq = sqlite3_column_int64(statement, 0);
    store_text(statement, 1, row->name, sizeof(row->name));
    row->epoch = store_u32(statement, 2);
    row->step = (uint64_t)sqlite3_column_int64(statement, 3);
    row->value = store_double(statement, 4);
    (*count)++;
  }
  return r;
}

static const char *list_sql(bool named, bool descending) {
#define COLUMNS \
  "SELECT seq, name, epoch, step, value FROM metrics WHERE job = (SELECT seq FROM jobs WHERE id = ?1) "
#define KIND "AND (?5 < 0 OR per_epoch = ?5) "
#define NAMED "AND name = ?2 "
#define ANY "AND ?2 IS NULL "
  static const char *const sql[2][2] = {
      {COLUMNS ANY KIND "AND seq > ?3 ORDER BY seq LIMIT ?4",
       COLUMNS ANY KIND "AND seq < ?3 ORDER BY seq DESC LIMIT ?4"},
      {COLUMNS NAMED KIND "AND seq > ?3 ORDER BY seq LIMIT ?4",
       COLUMNS NAMED KIND "AND seq < ?3 ORDER BY seq DESC LIMIT ?4"},
  };
#undef COLUMNS
#undef KIND
#undef NAMED
#undef ANY
  return sql[named][descending];
}

int store_metric_list(struct store *store, const char *job, const char *name,
                      enum metric_resolution resolution, const struct store_page *page,
                      struct metric_value **ret_rows, uint32_t *ret_count, int64_t *ret_next) {
  static const int kind[] = {[METRIC_ALL] = -1, [METRIC_EPOCH] = 1, [METRIC_STEP] = 0};
  _cleanup_(freep) struct metric_value *rows = NULL;
  uint32_t count = 0, limit = store_page_limit(page);
  sqlite3 *db = store_read_begin(store);
  sqlite3_stmt *statement = NULL;
  int r = store_prepare(db, &statement, list_sql(name != NULL, page->descending), "ttlui", job, name,
                        store_page_cursor(page), limit, kind[resolution]);
  if (r == 0)
    r = read_metrics(statement, &rows, &count);
  store_finish(statement);
  store_read_end(store, db);
  if (r < 0)
    return r;
  *ret_next = count == limit ? rows[limit - 2].seq : 0;
  *ret_count = MIN(count, limit - 1);
  *ret_rows = TAKE(rows);
  return 0;
}

int store_metric_latest(struct store *store, const char *job, struct metric_value **ret_rows,
                        uint32_t *ret_count) {
  /* walks the index from name to name instead of over all rows */
  static const char sql[] =
      "WITH RECURSIVE j(seq) AS (SELECT seq FROM jobs WHERE id = ?1), n(name) AS ("
      "  SELECT min(name) FROM metrics WHERE job = (SELECT seq FROM j)"
      "  UNION ALL"
      "  SELECT (SELECT min(name) FROM metrics WHERE job = (SELECT seq FROM j) AND name > n.name) FROM n"
      "  WHERE n.name IS NOT NULL) "
      "SELECT m.seq, m.name, m.epoch, m.step, m.value FROM n JOIN metrics m ON m.seq ="
      "  (SELECT max(seq) FROM metrics WHERE job = (SELECT seq FROM j) AND name = n.name) WHERE n.name IS "
      "NOT NULL";
  _cleanup_(freep) struct metric_value *rows = NULL;
  uint32_t count = 0;
  sqlite3 *db = store_read_begin(store);
  sqlite3_stmt *statement = NULL;
  int r = store_prepare(db, &statement, sql, "t", job);
  if (r == 0)
    r = read_metrics(statement, &rows, &count);
  store_finish(statement);
  store_read_end(store, db);
  if (r < 0)
    return r;
  *ret_rows = TAKE(rows);
  *ret_count = count;
  return 0;
}
