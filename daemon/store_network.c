/* Networks that jobs trained on the way and that are kept for later ones. */
#include "daemon/store_internal.h"

int store_network_get(struct store *store, const char *key, char ret_sha256[SHA256_HEX]) {
  sqlite3 *db = store_read_begin(store);
  sqlite3_stmt *statement = NULL;
  int r = store_prepare(db, &statement, "SELECT sha256 FROM networks WHERE key = ?1", "t", key);
  if (r == 0)
    r = store_step(statement);
  if (r > 0)
    store_text(statement, 0, ret_sha256, SHA256_HEX);
  store_finish(statement);
  store_read_end(store, db);
  return r > 0 ? 0 : r < 0 ? r : -ENOENT;
}

int store_network_used(struct store *store, const char *key, int64_t at) {
  sqlite3 *db;
  int r = store_write_begin(store, &db);
  return r < 0 ? r
               : store_write_end(
                     store, store_exec(db, "UPDATE networks SET used_at = ?2 WHERE key = ?1", "tl", key, at));
}

int store_network_remove(struct store *store, const char *sha256) {
  sqlite3 *db;
  int r = store_write_begin(store, &db);
  return r < 0
             ? r
             : store_write_end(store, store_exec(db, "DELETE FROM networks WHERE sha256 = ?1", "t", sha256));
}

static int put(sqlite3 *db, const struct network_row *row, char (**blobs)[SHA256_HEX], uint32_t *count) {
  int r = store_append_texts(db, blobs, count, SHA256_HEX, "SELECT sha256 FROM networks WHERE key = ?1", "t",
                             row->key);
  if (r == 0)
    r = store_exec(db, "DELETE FROM networks WHERE key = ?1", "t", row->key);
  return r < 0 ? r
               : store_exec(db,
                            "INSERT INTO networks (key, sha256, bytes, dataset, public_dataset, model, "
                            "used_at) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
                            "ttLtttl", row->key, row->sha256, row->bytes, row->dataset, row->public_dataset,
                            row->model, row->used_at);
}

int store_network_bytes(struct store *store, uint64_t *ret_bytes) {
  int64_t bytes = 0;
  sqlite3 *db = store_read_begin(store);
  int r = store_integer(db, &bytes, "SELECT coalesce(sum(bytes), 0) FROM networks", "");
  store_read_end(store, db);
  if (r == 0)
    *ret_bytes = (uint64_t)bytes;
  return r;
}

/* Those that were used longest ago, until the others have most_bytes at most. */
static int make_room(sqlite3 *db, uint64_t most_bytes, char (**blobs)[SHA256_HEX], uint32_t *count) {
#define TOO_MANY                                                                                         \
  "FROM (SELECT seq, sha256, sum(bytes) OVER (ORDER BY used_at DESC, seq DESC) AS total FROM networks) " \
  "WHERE total > ?1"
  int r = store_append_texts(db, blobs, count, SHA256_HEX, "SELECT sha256 " TOO_MANY, "L", most_bytes);
  return r < 0
             ? r
             : store_exec(db, "DELETE FROM networks WHERE seq IN (SELECT seq " TOO_MANY ")", "L", most_bytes);
#undef TOO_MANY
}

int store_network_put(struct store *store, const struct network_row *row, uint64_t most_bytes,
                      char (**ret_blobs)[SHA256_HEX], uint32_t *ret_count) {
  sqlite3 *db;
  char(*blobs)[SHA256_HEX] = NULL;
  uint32_t count = 0;
  int r = store_write_begin(store, &db);
  if (r < 0)
    return r;
  r = put(db, row, &blobs, &count);
  if (r == 0)
    r = make_room(db, most_bytes, &blobs, &count);
  return store_write_end_blobs(store, db, r, blobs, count, ret_blobs, ret_count);
}

int store_network_clear(struct store *store, char (**ret_blobs)[SHA256_HEX], uint32_t *ret_count) {
  sqlite3 *db;
  char(*blobs)[SHA256_HEX] = NULL;
  uint32_t count = 0;
  int64_t any = 0;
  *ret_blobs = NULL;
  *ret_count = 0;
  db = store_read_begin(store);
  int r = store_integer(db, &any, "SELECT EXISTS (SELECT 1 FROM networks)", "");
  store_read_end(store, db);
  if (r < 0 || !any)
    return r;
  r = store_write_begin(store, &db);
  if (r < 0)
    return r;
  r = store_append_texts(db, &blobs, &count, SHA256_HEX, "SELECT sha256 FROM networks", "");
  if (r == 0)
    r = store_exec(db, "DELETE FROM networks", "");
  return store_write_end_blobs(store, db, r, blobs, count, ret_blobs, ret_count);
}
