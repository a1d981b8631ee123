/* Statements kept for the next time: to prepare one takes SQLite longer than to run most of ours. Each
 * connection keeps its own, as it is used by one thread at a time. Connections that were not announced with
 * store_statements_open (those of backups) keep none. */
#include <stdatomic.h>
#include <string.h>
#include <strings.h>

#include "daemon/store_internal.h"

#define CONNECTIONS 64u
#define KEPT 128u /* of a connection; later ones are finalized */

struct kept {
  uint64_t hash;
  sqlite3_stmt *statement;
  bool used;
};

static struct connection {
  _Atomic(sqlite3 *) db; /* NULL = free */
  struct kept kept[KEPT];
  uint32_t count;
} connections[CONNECTIONS];

static struct connection *find(sqlite3 *db) {
  for (uint32_t i = 0; i < CONNECTIONS; i++)
    if (atomic_load(&connections[i].db) == db)
      return &connections[i];
  return NULL;
}

void store_statements_open(sqlite3 *db) {
  for (uint32_t i = 0; i < CONNECTIONS; i++) {
    sqlite3 *none = NULL;
    if (atomic_compare_exchange_strong(&connections[i].db, &none, db))
      return;
  }
}

void store_statements_close(sqlite3 *db) {
  struct connection *connection = db ? find(db) : NULL;
  if (!connection)
    return;
  for (uint32_t i = 0; i < connection->count; i++)
    (void)sqlite3_finalize(connection->kept[i].statement);
  connection->count = 0;
  atomic_store(&connection->db, NULL);
}

static uint64_t hash_of(const char *text) {
  uint64_t hash = 0xcbf29ce484222325u; /* FNV-1a */
  for (; *text; text++)
    hash = (hash ^ (uint8_t)*text) * 0x100000001b3u;
  return hash;
}

/* Some of these do a part of their work when they are prepared. */
static bool is_special(const char *sql) {
  return strncasecmp(sql, "PRAGMA", 6) == 0 || strncasecmp(sql, "VACUUM", 6) == 0;
}

static sqlite3_stmt *take(struct connection *connection, const char *sql, uint64_t hash) {
  for (uint32_t i = 0; i < connection->count; i++) {
    struct kept *kept = &connection->kept[i];
    if (kept->hash == hash && !kept->used && strcmp(sqlite3_sql(kept->statement), sql) == 0) {
      kept->used = true;
      return kept->statement;
    }
  }
  return NULL;
}

int store_statement(sqlite3 *db, const char *sql, sqlite3_stmt **ret_statement) {
  struct connection *connection = is_special(sql) ? NULL : find(db);
  const uint64_t hash = connection ? hash_of(sql) : 0;
  sqlite3_stmt *statement = connection ? take(connection, sql, hash) : NULL;
  if (!statement) {
    const bool keep = connection && connection->count < KEPT;
    if (sqlite3_prepare_v3(db, sql, -1, keep ? SQLITE_PREPARE_PERSISTENT : 0, &statement, NULL) != SQLITE_OK)
      return store_code(db);
    if (keep)
      connection->kept[connection->count++] = (struct kept){hash, statement, true};
  }
  *ret_statement = statement;
  return 0;
}

void store_finish(sqlite3_stmt *statement) {
  struct connection *connection = statement ? find(sqlite3_db_handle(statement)) : NULL;
  for (uint32_t i = 0; connection && i < connection->count; i++)
    if (connection->kept[i].statement == statement) {
      (void)sqlite3_reset(statement); /* what its last step met stays the connection's error */
      (void)sqlite3_clear_bindings(statement);
      connection->kept[i].used = false;
      return;
    }
  (void)sqlite3_finalize(statement);
}
