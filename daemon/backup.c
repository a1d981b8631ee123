/* Making a backup of a state directory whose daemon may run. The copy of the database is one moment's. Blobs
 * never change and are there before the row that names them, so that those which the copy names can only be
 * missing because something was erased since: then a newer copy of the database is taken. */
#include "daemon/backup.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "core/base/json.h"
#include "daemon/backup_internal.h"
#include "daemon/store_internal.h"

#define COPIES_MOST 100 /* of the database, while others erase */

struct making {
  const char *state, *directory;
  sqlite3 *source; /* the database of the daemon */
  json_t *files;   /* {"path": {"sha256", "bytes"}} of what is copied */
  json_t *named;   /* {"path": true} of what the latest copy of the database names */
  bool erased;     /* a file of the latest copy of the database has gone */
  bool told;       /* what is wrong with a file is in *err */
  uint32_t schema;
  struct guise_error *err;
};

static int out_of_memory(struct guise_error *err) {
  return error_set(err, -ENOMEM, "out of memory");
}

/* ---- the database ---- */

/* In one step: a single read transaction of the source, beside which its writer goes on. The copy is taken
 * out of WAL mode, so that reading it leaves it as it is. */
static int copy_database(struct making *m) {
  char path[PATH_MAX];
  _cleanup_(database_closep) sqlite3 *copy = NULL;
  int r = path_join(path, m->directory, BACKUP_DATABASE, m->err);
  if (r < 0)
    return r;
  (void)unlink(path);
  int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600); /* whatever the umask says */
  if (fd < 0)
    return error_set(m->err, -errno, "cannot create %s: %s", path, strerror(errno));
  (void)close(fd);
  if (sqlite3_open_v2(path, &copy, SQLITE_OPEN_READWRITE, NULL) != SQLITE_OK)
    return error_set(m->err, -EIO, "cannot create %s", path);
  sqlite3_backup *backup = sqlite3_backup_init(copy, "main", m->source, "main");
  int step = backup ? sqlite3_backup_step(backup, -1) : SQLITE_ERROR;
  int finish = backup ? sqlite3_backup_finish(backup) : SQLITE_ERROR;
  if (step != SQLITE_DONE || finish != SQLITE_OK ||
      sqlite3_exec(copy, "PRAGMA journal_mode = DELETE", NULL, NULL, NULL) != SQLITE_OK) {
    r = store_code(copy);
    return error_set(m->err, r < 0 ? r : -EIO, "cannot copy the database to %s: %s", path,
                     sqlite3_errmsg(copy));
  }
  return 0;
}

/* ---- the files it names ---- */

static int remember(struct making *m, const char *path, const char *sha256, uint64_t bytes) {
  return json_object_set_new(m->files, path,
                             json_pack("{s:s, s:I}", "sha256", sha256, "bytes", (json_int_t)bytes)) < 0
             ? out_of_memory(m->err)
             : 0;
}

/* Whether the daemon's database still names the file, of which there is none. */
static int still_named(struct making *m, const struct state_reference *reference, bool *ret_named) {
  const char *name = strrchr(reference->path, '/') + 1;
  return state_file_owned(m->source, is_sha256(name) ? STATE_BLOB : STATE_UPLOAD, name, ret_named);
}

static int file_is_gone(struct making *m, const struct state_reference *reference) {
  bool named = false;
  int r = still_named(m, reference, &named);
  if (r < 0)
    return error_set(m->err, r, "cannot read the database: %s", strerror(-r));
  if (named)
    return error_set(m->err, -EBADMSG,
                     "%s: its file %s is missing: guised --check-state tells what else is, before you back "
                     "up what is left",
                     reference->owner, reference->path);
  m->erased = true;
  return 0;
}

static int copy_named(struct making *m, const struct state_reference *reference) {
  char from[PATH_MAX], to[PATH_MAX], sha256[SHA256_HEX];
  uint64_t bytes = 0;
  if (json_object_set_new(m->named, reference->path, json_true()) < 0)
    return out_of_memory(m->err);
  if (m->erased || json_object_get(m->files, reference->path))
    return 0;
  int r = path_join(from, m->state, reference->path, m->err);
  if (r == 0)
    r = path_join(to, m->directory, reference->path, m->err);
  if (r == 0)
    r = copy_file(from, to, sha256, &bytes, m->err);
  if (r == -ENOENT)
    return file_is_gone(m, reference);
  if (r < 0)
    return r;
  if (strcmp(sha256, reference->sha256) != 0)
    return error_set(m->err, -EBADMSG,
                     "%s: its file %s was changed, its sha256 is %s: guised --check-state tells what else "
                     "was",
                     reference->owner, reference->path, sha256);
  return remember(m, reference->path, sha256, bytes);
}

static int copy_reference(void *context, const struct state_reference *reference) {
  struct making *m = context;
  int r = copy_named(m, reference);
  m->told = r < 0;
  return r;
}

static int copy_files(struct making *m) {
  char path[PATH_MAX];
  _cleanup_(database_closep) sqlite3 *copy = NULL;
  int r = path_join(path, m->directory, BACKUP_DATABASE, m->err);
  if (r == 0)
    r = database_open(path, &copy, &m->schema, m->err);
  if (r < 0)
    return r;
  m->erased = false;
  (void)json_object_clear(m->named);
  r = state_each_reference(copy, copy_reference, m);
  if (r < 0 && !m->told) /* the database, not a file */
    error_set(m->err, r, "cannot read the copy of the database: %s", sqlite3_errmsg(copy));
  return r;
}

/* What was copied for an earlier copy of the database and has been erased since. */
static int remove_unnamed(struct making *m) {
  const char *key;
  json_t *value;
  void *next;
  json_object_foreach_safe(m->files, next, key, value) {
    char path[PATH_MAX];
    if (json_object_get(m->named, key))
      continue;
    int r = path_join(path, m->directory, key, m->err);
    if (r < 0)
      return r;
    if (unlink(path) < 0)
      return error_set(m->err, -errno, "cannot remove %s, which was erased: %s", path, strerror(errno));
    (void)json_object_del(m->files, key);
  }
  return 0;
}

static int copy_state(struct making *m) {
  int r = 0;
  m->erased = true;
  for (int i = 0; r == 0 && m->erased; i++) {
    if (i == COPIES_MOST)
      return error_set(m->err, -EAGAIN, "too much is being erased meanwhile: try again later");
    r = copy_database(m);
    if (r == 0)
      r = copy_files(m);
  }
  return r < 0 ? r : remove_unnamed(m);
}

/* ---- the list ---- */

static int write_manifest(struct making *m, struct backup_summary *ret_summary) {
  char path[PATH_MAX], sha256[SHA256_HEX], at[TIME_TEXT];
  uint64_t bytes = 0;
  int r = path_join(path, m->directory, BACKUP_DATABASE, m->err);
  if (r == 0 && (r = sha256_file(path, sha256, &bytes)) < 0)
    return error_set(m->err, r, "cannot read %s: %s", path, strerror(-r));
  if (r == 0)
    r = remember(m, BACKUP_DATABASE, sha256, bytes);
  if (r < 0)
    return r;
  time_text(time_now_ms(), at);
  json_t *manifest = json_pack("{s:s, s:s, s:s, s:i, s:O}", "format", BACKUP_FORMAT, "created_at", at,
                               "guised", GUISE_VERSION, "schema", (int)m->schema, "files", m->files);
  _cleanup_(freep) char *text = manifest ? json_print(manifest, JSON_INDENT(1)) : NULL;
  json_decref(manifest);
  if (!text)
    return out_of_memory(m->err);
  const char *key;
  json_t *value;
  *ret_summary = (struct backup_summary){.schema = m->schema};
  json_object_foreach(m->files, key, value) {
    ret_summary->files++;
    ret_summary->bytes += (uint64_t)json_integer_value(json_object_get(value, "bytes"));
  }
  r = sync_tree(m->directory, m->err);
  if (r == 0)
    r = path_join(path, m->directory, BACKUP_MANIFEST, m->err);
  return r < 0 ? r : file_write_atomic(path, text, strlen(text), m->err);
}

static int make(struct making *m, struct backup_summary *ret_summary) {
  char path[PATH_MAX];
  if (!m->files || !m->named)
    return out_of_memory(m->err);
  int r = path_join(path, m->state, BACKUP_DATABASE, m->err);
  if (r == 0)
    r = database_open(path, &m->source, &m->schema, m->err);
  if (r == 0)
    r = copy_state(m);
  return r < 0 ? r : write_manifest(m, ret_summary);
}

int backup_make(const char *state, const char *directory, struct backup_summary *ret_summary,
                struct guise_error *err) {
  struct making m = {
      .state = state, .directory = directory, .files = json_object(), .named = json_object(), .err = err};
  int r = directory_must_be_empty(directory, err);
  if (r == 0)
    r = directory_make(directory, err);
  if (r == 0 && (r = make(&m, ret_summary)) < 0)
    (void)directory_remove(directory);
  (void)sqlite3_close(m.source);
  json_decref(m.files);
  json_decref(m.named);
  return r;
}
