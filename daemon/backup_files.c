/* Files and databases, as backup, restore and check handle them. */
#include <dirent.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <sodium.h>

#include "daemon/backup_internal.h"
#include "daemon/store_internal.h"

#define COPY_BYTES (1u << 20)

int path_join(char ret_path[PATH_MAX], const char *root, const char *path, struct guise_error *err) {
  if (snprintf(ret_path, PATH_MAX, "%s/%s", root, path) >= PATH_MAX)
    return error_set(err, -ENAMETOOLONG, "the path %s is too long", root);
  return 0;
}

/* ---- databases ---- */

int database_open(const char *path, sqlite3 **ret_db, uint32_t *ret_schema, struct guise_error *err) {
  _cleanup_(database_closep) sqlite3 *db = NULL;
  int64_t application = 0, schema = 0;
  uint32_t newest = 0;
  for (const struct schema_migration *m = schema_migrations; m->number; m++)
    newest = MAX(newest, m->number);
  if (access(path, F_OK) < 0)
    return error_set(err, -errno, "there is no database %s: %s", path, strerror(errno));
  int r = sqlite3_open_v2(path, &db, SQLITE_OPEN_READONLY | SQLITE_OPEN_PRIVATECACHE, NULL);
  if (r == SQLITE_OK)
    r = sqlite3_exec(db, "PRAGMA trusted_schema = OFF; PRAGMA busy_timeout = 5000", NULL, NULL, NULL);
  r = r == SQLITE_OK ? store_integer(db, &application, "PRAGMA application_id", "") : store_code(db);
  if (r == 0)
    r = store_integer(db, &schema, "PRAGMA user_version", "");
  if (r < 0)
    return error_set(err, r, "cannot read the database %s: %s", path, sqlite3_errmsg(db));
  if (application != STORE_APPLICATION_ID)
    return error_set(err, -EMEDIUMTYPE, "%s is no database of guise", path);
  if (schema > newest)
    return error_set(err, -EPROTONOSUPPORT,
                     "the database %s has version %lld, this guised knows %u: take the newer guised", path,
                     (long long)schema, newest);
  *ret_schema = (uint32_t)schema;
  *ret_db = TAKE(db);
  return 0;
}

int database_check(sqlite3 *db, void (*problem)(void *context, const char *text), void *context) {
  static const char sql[] =
      "SELECT integrity_check FROM pragma_integrity_check(100) WHERE integrity_check <> 'ok' "
      "UNION ALL SELECT 'row ' || coalesce(rowid, '?') || ' of ' || \"table\" || ' refers to a row of ' || "
      "parent || ' that is not there' FROM pragma_foreign_key_check";
  _statement_ *statement = NULL;
  int r = store_prepare(db, &statement, sql, "");
  while (r == 0 && (r = store_step(statement)) > 0) {
    problem(context, (const char *)sqlite3_column_text(statement, 0));
    r = 0;
  }
  return r;
}

/* ---- files ---- */

static int make_parent(const char *path, struct guise_error *err) {
  char parent[PATH_MAX];
  (void)snprintf(parent, sizeof(parent), "%s", path);
  char *slash = strrchr(parent, '/');
  if (slash && slash != parent)
    *slash = 0;
  return slash && slash != parent ? directory_make(parent, err) : 0;
}

static int copy_bytes(int from, int to, crypto_hash_sha256_state *hash, uint64_t *ret_bytes) {
  _cleanup_(freep) unsigned char *buffer = malloc(COPY_BYTES);
  if (!buffer)
    return -ENOMEM;
  for (;;) {
    ssize_t n = read(from, buffer, COPY_BYTES);
    if (n < 0 && errno == EINTR)
      continue;
    if (n <= 0)
      return n < 0 ? -errno : 0;
    crypto_hash_sha256_update(hash, buffer, (unsigned long long)n);
    for (ssize_t done = 0; done < n;) {
      ssize_t put = write(to, buffer + done, (size_t)(n - done));
      if (put < 0 && errno != EINTR)
        return -errno;
      done += MAX(put, 0);
    }
    *ret_bytes += (uint64_t)n;
  }
}

int copy_file(const char *from, const char *to, char ret_sha256[SHA256_HEX], uint64_t *ret_bytes,
              struct guise_error *err) {
  crypto_hash_sha256_state hash;
  unsigned char digest[crypto_hash_sha256_BYTES];
  uint64_t bytes = 0;
  _cleanup_(closep) int source = open(from, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
  if (source < 0)
    return error_set(err, -errno, "cannot read %s: %s", from, strerror(errno));
  int r = make_parent(to, err);
  if (r < 0)
    return r;
  _cleanup_(closep) int target = open(to, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
  if (target < 0)
    return error_set(err, -errno, "cannot create %s: %s", to, strerror(errno));
  crypto_hash_sha256_init(&hash);
  r = copy_bytes(source, target, &hash, &bytes);
  if (r == 0 && fsync(target) < 0)
    r = -errno;
  if (r < 0) {
    (void)unlink(to);
    return error_set(err, r == -ENOENT ? -EIO : r, "cannot copy %s to %s: %s", from, to, strerror(-r));
  }
  crypto_hash_sha256_final(&hash, digest);
  (void)sodium_bin2hex(ret_sha256, SHA256_HEX, digest, sizeof(digest));
  *ret_bytes = bytes;
  return 0;
}

int directory_must_be_empty(const char *path, struct guise_error *err) {
  DIR *entries = opendir(path);
  if (!entries)
    return errno == ENOENT ? 0 : error_set(err, -errno, "cannot read %s: %s", path, strerror(errno));
  int r = 0;
  for (struct dirent *entry; r == 0 && (entry = readdir(entries));)
    if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
      r = error_set(err, -EEXIST, "%s is not empty: name a new or an empty directory", path);
  (void)closedir(entries);
  return r;
}

static int sync_entry(const char *path, const struct stat *st, int type, struct FTW *ftw) {
  (void)st;
  (void)ftw;
  return type == FTW_DP && file_sync_directory(path) < 0 ? -1 : 0;
}

int sync_tree(const char *path, struct guise_error *err) {
  if (nftw(path, sync_entry, 16, FTW_DEPTH | FTW_PHYS) == 0)
    return 0;
  return error_set(err, errno ? -errno : -EIO, "cannot write the directories of %s to disk: %s", path,
                   strerror(errno));
}
