/* Copies of a state directory, made and put back by the operator with guised's own flags, on the machine
 * itself. Not over HTTP: a copy holds every face, the keys of keyed models and the hashes of all tokens. Who
 * can read the state directory has all of that anyway, so that these flags give nobody anything new; a route
 * would hand it to whoever gets hold of an admin's token. They also work when the daemon does not.
 *
 * A backup is a directory:
 *   guise.db                   a consistent copy of the database, by SQLite's backup interface
 *   blobs/aa/SHA256            every blob that this copy refers to
 *   uploads/DATASET            uploads that wait for their ingest
 *   guise-backup.json          sizes and sha256 of all these files; written last: without it, it is no backup
 * Work directories are left out: a job that ran begins anew, under its id, when it is put back. */
#pragma once

#include <stdio.h>

#include "core/base/base.h"

struct backup_summary {
  uint32_t files;
  uint64_t bytes;
  uint32_t schema; /* number of the database's last migration */
};

/* Copies the state directory `state`, of a daemon that may run, into `directory`, which is new or empty. When
 * something is erased meanwhile it is not in the copy. -EEXIST: the directory is not empty; -EBADMSG: a file
 * is missing or was changed; -EPROTONOSUPPORT: a newer guised wrote the database. What was made is removed on
 * failure. */
int backup_make(const char *state, const char *directory, struct backup_summary *ret_summary,
                struct guise_error *err);

/* Puts a backup back into the state directory `state`, which is new or empty, and compares each file with its
 * sha256 on the way; the database appears last. -EEXIST, -EBADMSG, -EPROTONOSUPPORT as above. What was made
 * is removed on failure. */
int backup_restore(const char *directory, const char *state, struct backup_summary *ret_summary,
                   struct guise_error *err);
