/* What lies in a state directory beside the database, and which row each file belongs to: uploads/DATASET,
 * work/JOB/, blobs/aa/SHA256. The sweep at start, the check and the backup agree through this. */
#pragma once

#include <sqlite3.h>

#include "core/base/base.h"
#include "core/base/file.h"
#include "daemon/store.h"

enum state_file { STATE_UPLOAD, STATE_WORK, STATE_BLOB };

/* Calls visit() for each entry: its kind and its path below the state directory, whose last part names it.
 * Directories of blobs are walked through; one whose name is no prefix of a sha256 is visited as a whole. */
int state_each_file(const char *state,
                    int (*visit)(void *context, enum state_file kind, const char *path, const char *name),
                    void *context, struct guise_error *err);

/* Whether a row needs the file: an upload a data set in the making, a work directory a job that has not
 * ended, a blob any reference to it. */
int state_file_owned(sqlite3 *db, enum state_file kind, const char *name, bool *ret_owned);

bool is_sha256(const char *name);

/* A file that a row names. */
struct state_reference {
  char path[STORE_NAME]; /* below the state directory */
  char sha256[SHA256_HEX];
  int64_t bytes;
  char owner[64]; /* "data set ds_...", "model mdl_..." */
};
/* All of them: blobs, and uploads that wait for their ingest. Calls visit() for each; its negative result
 * ends the walk and is returned. The rows are read before, so that visit() may take its time and look at the
 * database as it is then. */
int state_each_reference(sqlite3 *db, int (*visit)(void *context, const struct state_reference *reference),
                         void *context);
