/* Opening, migrating and sharing the database's connections. See store.h for the design. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "daemon/store_internal.h"

static int sqlite_error(struct guise_error *err, sqlite3 *db, const char *what) {
  int r = store_code(db);
  return error_set(err, r < 0 ? r : -EIO, "%s: %s", what, sqlite3_errmsg(db));
}

/* ---- connections ---- */

int store_connect(const char *path, bool writer, sqlite3 **ret_db, struct guise_error *err) {
  static const char pragmas[] =
      "PRAGMA trusted_schema = OFF; PRAGMA secure_delete = ON; PRAGMA synchronous = FULL;"
      "PRAGMA cache_size = -8192; PRAGMA temp_store = MEMORY;";
  sqlite3 *db = NULL;
  int flags = writer ? SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE : SQLITE_OPEN_READONLY;
  int r = sqlite3_open_v2(path, &db, flags | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_PRIVATECACHE, NULL);
  if (r == SQLITE_OK)
    r = sqlite3_extended_result_codes(db, 1);
  if (r == SQLITE_OK)
    r = sqlite3_busy_timeout(db, 5000);
  if (r == SQLITE_OK)
    r = sqlite3_db_config(db, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
  if (r == SQLITE_OK)
    r = sqlite3_exec(db, pragmas, NULL, NULL, NULL);
  if (r != SQLITE_OK) {
    int code =
        db ? sqlite_error(err, db, "cannot open the database") : error_set(err, -ENOMEM, "out of memory");
    (void)sqlite3_close(db);
    return code;
  }
  store_statements_open(db);
  *ret_db = db;
  return 0;
}

void store_disconnect(sqlite3 *db) {
  store_statements_close(db);
  (void)sqlite3_close(db);
}

int store_health(struct store *store, int r) {
  int before = atomic_load(&store->fault);
  if (r >= 0 && before == -EUCLEAN)
    return r;
  if (r >= 0 || r == -ENOSPC || r == -EIO || r == -EUCLEAN)
    (void)atomic_compare_exchange_strong(&store->fault, &before, MIN(r, 0));
  return r;
}

int store_write_begin(struct store *store, sqlite3 **ret_db) {
  (void)pthread_mutex_lock(&store->write_lock);
  if (store_fault(store) == -EUCLEAN) {
    (void)pthread_mutex_unlock(&store->write_lock);
    return -EUCLEAN;
  }
  if (sqlite3_exec(store->writer, "BEGIN IMMEDIATE", NULL, NULL, NULL) != SQLITE_OK) {
    int r = store_health(store, store_code(store->writer));
    (void)pthread_mutex_unlock(&store->write_lock);
    return r < 0 ? r : -EIO;
  }
  *ret_db = store->writer;
  return 0;
}

int store_write_end(struct store *store, int r) {
  if (r >= 0 && sqlite3_exec(store->writer, "COMMIT", NULL, NULL, NULL) != SQLITE_OK) {
    r = store_code(store->writer);
    r = r < 0 ? r : -EIO;
  }
  if (!sqlite3_get_autocommit(store->writer)) /* a full disk may have rolled back by itself */
    (void)sqlite3_exec(store->writer, "ROLLBACK", NULL, NULL, NULL);
  store_audit_ended(r >= 0);
  (void)store_health(store, r);
  (void)atomic_fetch_add(&store->version, 1); /* behind the commit */
  (void)pthread_mutex_unlock(&store->write_lock);
  return r;
}

sqlite3 *store_read_begin(struct store *store) {
  (void)pthread_mutex_lock(&store->read_lock);
  while (store->reader_count == 0)
    (void)pthread_cond_wait(&store->reader_free, &store->read_lock);
  sqlite3 *db = store->reader[--store->reader_count];
  (void)pthread_mutex_unlock(&store->read_lock);
  return db;
}

void store_read_end(struct store *store, sqlite3 *db) {
  if (store_code(db) == -EUCLEAN)
    (void)store_health(store, -EUCLEAN);
  (void)pthread_mutex_lock(&store->read_lock);
  store->reader[store->reader_count++] = db;
  (void)pthread_cond_signal(&store->reader_free);
  (void)pthread_mutex_unlock(&store->read_lock);
}

/* ---- migrations ---- */

static int pragma_integer(sqlite3 *db, const char *sql, int64_t *ret_value, struct guise_error *err) {
  int r = store_integer(db, ret_value, sql, "");
  return r < 0 ? sqlite_error(err, db, "cannot read the database") : 0;
}

/* A copy of what is about to be migrated, beside the database. */
static int back_up(sqlite3 *db, const char *path, int64_t version, struct guise_error *err) {
  char temp[4096], backup[4096];
  if (snprintf(backup, sizeof(backup), "%s.before-%lld.bak", path, (long long)version + 1) >=
          (int)sizeof(backup) ||
      snprintf(temp, sizeof(temp), "%s.new", backup) >= (int)sizeof(temp))
    return error_set(err, -ENAMETOOLONG, "the path %s is too long", path);
  (void)unlink(temp);
  int r = store_exec(db, "VACUUM INTO ?1", "t", temp);
  if (r < 0)
    return error_set(err, r, "cannot back up the database before migrating it (%s): make room beside %s",
                     sqlite3_errmsg(db), path);
  return file_publish(temp, backup, err);
}

static int migrate_one(sqlite3 *db, const struct schema_migration *migration, struct guise_error *err) {
  char stamp[128];
  int64_t broken = 0;
  (void)snprintf(stamp, sizeof(stamp), "PRAGMA user_version = %u; PRAGMA application_id = %d;",
                 migration->number, STORE_APPLICATION_ID);
  bool ok = sqlite3_exec(db, "BEGIN IMMEDIATE", NULL, NULL, NULL) == SQLITE_OK &&
            sqlite3_exec(db, migration->sql, NULL, NULL, NULL) == SQLITE_OK &&
            sqlite3_exec(db, stamp, NULL, NULL, NULL) == SQLITE_OK;
  int r = ok ? store_integer(db, &broken, "SELECT count(*) FROM pragma_foreign_key_check", "") : -EIO;
  if (r == 0 && broken)
    r = error_set(err, -EIO, "migration %s leaves broken references: restore the backup and report this",
                  migration->name);
  else if (r < 0 || sqlite3_exec(db, "COMMIT", NULL, NULL, NULL) != SQLITE_OK)
    r = error_set(err, store_code(db) < 0 ? store_code(db) : -EIO, "migration %s failed: %s", migration->name,
                  sqlite3_errmsg(db));
  if (!sqlite3_get_autocommit(db))
    (void)sqlite3_exec(db, "ROLLBACK", NULL, NULL, NULL);
  return r;
}

static int check_owner(sqlite3 *db, int64_t newest, int64_t *ret_version, bool *ret_checked,
                       struct guise_error *err) {
  int64_t application = 0, version = 0, tables = 0, damaged = 0;
  int r = pragma_integer(db, "PRAGMA application_id", &application, err);
  if (r == 0)
    r = pragma_integer(db, "PRAGMA user_version", &version, err);
  if (r == 0)
    r = pragma_integer(db, "SELECT count(*) FROM sqlite_schema", &tables, err);
  if (r < 0)
    return r;
  r = store_check_small(db, version < newest, ret_checked, &damaged);
  if (r < 0)
    return sqlite_error(err, db, "cannot read the database");
  if (damaged)
    return error_set(err, -EUCLEAN, "the database is damaged: restore a backup of the state directory");
  if (tables > 0 && application != STORE_APPLICATION_ID)
    return error_set(err, -EMEDIUMTYPE,
                     "the database belongs to another program: choose another state directory");
  if (version > newest)
    return error_set(err, -EPROTONOSUPPORT,
                     "the database has version %lld, this guised knows %lld: start the newer guised, or "
                     "restore the backup "
                     "that it made when it migrated",
                     (long long)version, (long long)newest);
  *ret_version = version;
  return 0;
}

static int migrate(sqlite3 *db, const char *path, const struct schema_migration *migrations,
                   bool *ret_checked, struct guise_error *err) {
  int64_t version = 0, newest = 0;
  for (const struct schema_migration *m = migrations; m->number; m++)
    newest = MAX(newest, (int64_t)m->number);
  int r = check_owner(db, newest, &version, ret_checked, err);
  if (r == 0 && sqlite3_exec(db, "PRAGMA journal_mode = WAL", NULL, NULL, NULL) != SQLITE_OK)
    r = sqlite_error(err, db, "cannot switch the database to WAL");
  if (r == 0 && version > 0 && version < newest)
    r = back_up(db, path, version, err);
  for (const struct schema_migration *m = migrations; r == 0 && m->number; m++)
    if ((int64_t)m->number > version)
      r = migrate_one(db, m, err);
  if (r == 0 && sqlite3_exec(db, "PRAGMA foreign_keys = ON", NULL, NULL, NULL) != SQLITE_OK)
    r = sqlite_error(err, db, "cannot turn foreign keys on");
  return r;
}

/* ---- the handle ---- */

int store_open(const char *path, const struct schema_migration *migrations, struct store **ret_store,
               struct guise_error *err) {
  struct store *store = calloc(1, sizeof(*store));
  if (!store)
    return error_set(err, -ENOMEM, "out of memory");
  (void)pthread_mutex_init(&store->write_lock, NULL);
  (void)pthread_mutex_init(&store->read_lock, NULL);
  (void)pthread_cond_init(&store->reader_free, NULL);
  bool checked = false;
  store->path = strdup(path);
  if (!store->path) {
    store_close(store);
    return error_set(err, -ENOMEM, "out of memory");
  }
  int r = store_connect(path, true, &store->writer, err);
  if (r == 0)
    r = migrate(store->writer, path, migrations ? migrations : schema_migrations, &checked, err);
  atomic_store(&store->checked, checked);
  while (r == 0 && store->reader_count < STORE_READERS) {
    r = store_connect(path, false, &store->reader[store->reader_count], err);
    if (r == 0)
      store->reader_count++;
  }
  if (r < 0) {
    store_close(store);
    return r;
  }
  *ret_store = store;
  return 0;
}

struct store *store_close(struct store *store) {
  if (!store)
    return NULL;
  while (store->reader_count > 0)
    store_disconnect(store->reader[--store->reader_count]);
  store_disconnect(store->writer);
  (void)pthread_cond_destroy(&store->reader_free);
  (void)pthread_mutex_destroy(&store->read_lock);
  (void)pthread_mutex_destroy(&store->write_lock);
  free(store->path);
  free(store);
  return NULL;
}

bool store_alive(struct store *store) {
  int64_t count;
  sqlite3 *db = store_read_begin(store);
  int r = store_integer(db, &count, "SELECT count(*) FROM sqlite_schema", "");
  store_read_end(store, db);
  return r == 0;
}

uint64_t store_version(const struct store *store) {
  return atomic_load(&store->version);
}

int store_fault(struct store *store) {
  return atomic_load(&store->fault);
}

int store_probe(struct store *store) {
  sqlite3 *db;
  int64_t version;
  char sql[64];
  int r = store_write_begin(store, &db);
  if (r < 0)
    return r;
  r = store_integer(db, &version, "PRAGMA user_version", "");
  if (r == 0) {
    (void)snprintf(sql, sizeof(sql), "PRAGMA user_version = %lld",
                   (long long)version); /* dirties the first page */
    r = store_exec(db, sql, "");
  }
  return store_write_end(store, r);
}

void store_set_quota(struct store *store, uint64_t jobs, uint64_t bytes, uint64_t images) {
  atomic_store(&store->owner_jobs, jobs);
  atomic_store(&store->owner_bytes, bytes);
  atomic_store(&store->owner_images, images);
}

bool store_scrub(struct store *store) {
  (void)atomic_fetch_add(&store->scrubs, 1);
  (void)pthread_mutex_lock(&store->write_lock);
  int r = sqlite3_wal_checkpoint_v2(store->writer, NULL, SQLITE_CHECKPOINT_TRUNCATE, NULL, NULL);
  (void)pthread_mutex_unlock(&store->write_lock);
  (void)atomic_fetch_sub(&store->scrubs, 1);
  return r == SQLITE_OK;
}

int store_blob_referenced(struct store *store, const char *sha256, bool *ret_referenced) {
  int64_t uses = 0;
  sqlite3 *db = store_read_begin(store);
  int r = store_integer(db, &uses, "SELECT EXISTS (SELECT 1 FROM blob_references WHERE sha256 = ?1)", "t",
                        sha256);
  store_read_end(store, db);
  if (r == 0)
    *ret_referenced = uses != 0;
  return r;
}
