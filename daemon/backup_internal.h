/* What making a backup, putting it back, and checking a state directory share. */
#pragma once

#include <jansson.h>
#include <limits.h>

#include "daemon/backup.h"
#include "daemon/state_files.h"

#define BACKUP_DATABASE "guise.db"
#define BACKUP_MANIFEST "guise-backup.json"
#define BACKUP_FORMAT "guise-backup-1"

/* Opens a database of guise for reading and tells its schema's number. -EMEDIUMTYPE: it is none;
 * -EPROTONOSUPPORT: it is newer than this program. */
int database_open(const char *path, sqlite3 **ret_db, uint32_t *ret_schema, struct guise_error *err);
/* PRAGMA integrity_check and foreign_key_check: calls problem() with a sentence for each finding. */
int database_check(sqlite3 *db, void (*problem)(void *context, const char *text), void *context);

static inline void database_closep(sqlite3 **db) {
  (void)sqlite3_close(*db);
}

/* "ROOT/PATH". */
int path_join(char ret_path[PATH_MAX], const char *root, const char *path, struct guise_error *err);

/* Copies a file to a new one of mode 0600 in a directory that is made when it is missing, and syncs it. The
 * hash is of what was read. -ENOENT: there is no such file. */
int copy_file(const char *from, const char *to, char ret_sha256[SHA256_HEX], uint64_t *ret_bytes,
              struct guise_error *err);

/* 0 when the directory is missing or empty, -EEXIST with err when there is something in it. */
int directory_must_be_empty(const char *path, struct guise_error *err);
/* Syncs the directories of a tree, so that the names in it are durable. */
int sync_tree(const char *path, struct guise_error *err);
