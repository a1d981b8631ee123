/* Putting a backup back. Nothing is believed: every file is hashed on its way, and the database is checked
 * before it gets the name under which guised looks for it. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "daemon/backup_internal.h"
#include "daemon/service_internal.h"
#include "daemon/store_internal.h"

#define MANIFEST_BYTES_MOST ((size_t)1 << 30)
#define UNCHECKED BACKUP_DATABASE ".restoring"

struct restoring {
  const char *directory, *state;
  json_t *files; /* the manifest's; borrowed */
  struct backup_summary summary;
  struct guise_error *err;
};

/* ---- the list ---- */

/* A manifest names files, and only those that a backup has: nothing outside the state directory. */
static bool path_is_ours(const char *path, const char *sha256) {
  char blob[STORE_NAME];
  if (strcmp(path, BACKUP_DATABASE) == 0)
    return true;
  if (strncmp(path, "uploads/", 8) == 0)
    return strncmp(path + 8, "ds_", 3) == 0 && id_valid(path + 8);
  (void)snprintf(blob, sizeof(blob), "blobs/%.2s/%s", sha256, sha256);
  return is_sha256(sha256) && strcmp(path, blob) == 0;
}

static int read_manifest(const char *directory, json_t **ret_manifest, struct guise_error *err) {
  char path[PATH_MAX];
  _cleanup_(freep) char *text = NULL;
  size_t bytes = 0;
  int r = path_join(path, directory, BACKUP_MANIFEST, err);
  if (r == 0)
    r = file_read(path, MANIFEST_BYTES_MOST, &text, &bytes, err);
  if (r == -ENOENT)
    return error_set(err, -EBADMSG,
                     "%s is no backup, or one that was broken off: there is no " BACKUP_MANIFEST " in it",
                     directory);
  if (r < 0)
    return r;
  json_t *manifest = json_loadb(text, bytes, JSON_REJECT_DUPLICATES, NULL);
  const char *format = json_string_value(json_object_get(manifest, "format"));
  const json_t *files = json_object_get(manifest, "files");
  if (!format || strcmp(format, BACKUP_FORMAT) != 0 || !json_object_get(files, BACKUP_DATABASE)) {
    json_decref(manifest);
    return error_set(err, -EBADMSG, "%s is damaged, or of another version of guised", path);
  }
  *ret_manifest = manifest;
  return 0;
}

/* ---- the files ---- */

static int restore_file(struct restoring *r, const char *path, const json_t *entry) {
  const char *sha256 = json_string_value(json_object_get(entry, "sha256"));
  const bool database = strcmp(path, BACKUP_DATABASE) == 0;
  char from[PATH_MAX], to[PATH_MAX], found[SHA256_HEX];
  uint64_t bytes = 0;
  if (!sha256 || !path_is_ours(path, sha256))
    return error_set(r->err, -EBADMSG,
                     "the backup's " BACKUP_MANIFEST " names %.100s, which is no file of guise", path);
  int result = path_join(from, r->directory, path, r->err);
  if (result == 0)
    result = path_join(to, r->state, database ? UNCHECKED : path, r->err);
  if (result == 0)
    result = copy_file(from, to, found, &bytes, r->err);
  if (result == -ENOENT)
    return error_set(r->err, -EBADMSG, "the backup lacks its file %s", path);
  if (result < 0)
    return result;
  if (strcmp(found, sha256) != 0)
    return error_set(r->err, -EBADMSG,
                     "the backup's file %s was changed: its sha256 is %s, not %s. Take another backup", path,
                     found, sha256);
  r->summary.files++;
  r->summary.bytes += bytes;
  return 0;
}

static void keep_first(void *context, const char *text) {
  struct guise_error *err = context;
  if (err->code == 0)
    error_set(err, -EBADMSG, "the backup's database is damaged: %s. Take another backup", text);
}

static int is_restored(void *context, const struct state_reference *reference) {
  struct restoring *r = context;
  const json_t *entry = json_object_get(r->files, reference->path);
  const char *sha256 = json_string_value(json_object_get(entry, "sha256"));
  if (sha256 && strcmp(sha256, reference->sha256) == 0)
    return 0;
  return error_set(r->err, -EBADMSG, "the backup lacks the file %s of %s", reference->path, reference->owner);
}

static int check_database(struct restoring *r) {
  char path[PATH_MAX];
  struct guise_error damage = {0, ""};
  _cleanup_(database_closep) sqlite3 *db = NULL;
  int result = path_join(path, r->state, UNCHECKED, r->err);
  if (result == 0)
    result = database_open(path, &db, &r->summary.schema, r->err);
  if (result < 0)
    return result;
  result = database_check(db, keep_first, &damage);
  if (result == 0 && damage.code < 0)
    return error_set(r->err, damage.code, "%s", damage.text);
  if (result < 0)
    return error_set(r->err, result, "the backup's database cannot be checked: %s", sqlite3_errmsg(db));
  result = state_each_reference(db, is_restored, r);
  return result < 0 && result != -EBADMSG
             ? error_set(r->err, result, "the backup's database cannot be read: %s", sqlite3_errmsg(db))
             : result;
}

static int restore(struct restoring *r) {
  char unchecked[PATH_MAX], database[PATH_MAX];
  const char *path;
  json_t *entry;
  int result = 0;
  json_object_foreach(r->files, path, entry) {
    result = restore_file(r, path, entry);
    if (result < 0)
      return result;
  }
  result = check_database(r);
  if (result == 0)
    result = sync_tree(r->state, r->err);
  if (result == 0)
    result = path_join(unchecked, r->state, UNCHECKED, r->err);
  if (result == 0)
    result = path_join(database, r->state, BACKUP_DATABASE, r->err);
  return result < 0 ? result : file_publish(unchecked, database, r->err);
}

int backup_restore(const char *directory, const char *state, struct backup_summary *ret_summary,
                   struct guise_error *err) {
  json_t *manifest = NULL;
  _cleanup_(closep) int lock = -1;
  int r = directory_must_be_empty(state, err);
  if (r == 0)
    r = read_manifest(directory, &manifest, err);
  if (r < 0)
    return r;
  struct restoring restoring = {
      .directory = directory, .state = state, .files = json_object_get(manifest, "files"), .err = err};
  r = state_open(state, &lock, err); /* no daemon starts there meanwhile */
  if (r == 0 && (r = restore(&restoring)) < 0)
    (void)directory_remove(state);
  json_decref(manifest);
  if (r == 0)
    *ret_summary = restoring.summary;
  return r;
}
