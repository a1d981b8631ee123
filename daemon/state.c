/* The state directory: one daemon at a time, blobs named by their content, nothing left behind by a killed
 * daemon. */
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "core/base/file.h"
#include "core/base/json.h"
#include "daemon/log.h"
#include "daemon/service_internal.h"
#include "daemon/state_files.h"
#include "daemon/store_internal.h"

int state_path(char ret_path[PATH_MAX], const struct service *service, const char *format, ...) {
  va_list args;
  int used = snprintf(ret_path, PATH_MAX, "%s/", service->config.state);
  if (used < 0 || used >= PATH_MAX)
    return -ENAMETOOLONG;
  va_start(args, format);
  int more = vsnprintf(ret_path + used, PATH_MAX - (size_t)used, format, args);
  va_end(args);
  return more < 0 || more >= PATH_MAX - used ? -ENAMETOOLONG : 0;
}

int state_open(const char *path, int *ret_lock_fd, struct guise_error *err) {
  static const char *const directories[] = {"blobs", "work", "uploads"};
  char entry[PATH_MAX];
  int r = directory_make(path, err);
  for (size_t i = 0; i < ARRAY_SIZE(directories) && r == 0; i++) {
    if (snprintf(entry, sizeof(entry), "%s/%s", path, directories[i]) >= (int)sizeof(entry))
      return error_set(err, -ENAMETOOLONG, "the path of the state directory is too long");
    r = directory_make(entry, err);
  }
  if (r < 0)
    return r;
  if (snprintf(entry, sizeof(entry), "%s/lock", path) >= (int)sizeof(entry))
    return error_set(err, -ENAMETOOLONG, "the path of the state directory is too long");
  _cleanup_(closep) int fd = open(entry, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
  if (fd < 0)
    return error_set(err, -errno, "cannot write the state directory %s: %s; choose another with --state",
                     path, strerror(errno));
  if (flock(fd, LOCK_EX | LOCK_NB) < 0)
    return errno == EWOULDBLOCK
               ? error_set(
                     err, -EBUSY,
                     "another guised uses the state directory %s: stop it or choose another with --state",
                     path)
               : error_set(err, -errno, "cannot lock the state directory %s: %s", path, strerror(errno));
  *ret_lock_fd = fd;
  fd = -1;
  return 0;
}

/* ---- blobs ---- */

void service_blob_path(struct service *service, const char *sha256, char ret_path[PATH_MAX]) {
  if (!is_sha256(sha256) || state_path(ret_path, service, "blobs/%.2s/%s", sha256, sha256) < 0)
    ret_path[0] = 0;
}

int service_blob_open(struct service *service, const char *sha256) {
  char path[PATH_MAX];
  service_blob_path(service, sha256, path);
  int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
  return fd < 0 ? -errno : fd;
}

/* The directory of a blob, with its own entry durable. */
static int make_prefix(const char *directory, const char *parent, struct guise_error *err) {
  if (mkdir(directory, 0700) < 0)
    return errno == EEXIST ? 0 : error_set(err, -errno, "cannot create %s: %s", directory, strerror(errno));
  int r = file_sync_directory(parent);
  if (r < 0)
    (void)rmdir(directory); /* the next one tries again */
  return r < 0 ? error_set(err, r, "cannot write the directory %s to disk: %s", parent, strerror(-r)) : 0;
}

static int publish_blob(struct service *service, const char *temp, const char *sha256,
                        struct guise_error *err) {
  char directory[PATH_MAX], parent[PATH_MAX], path[PATH_MAX];
  service_blob_path(service, sha256, path);
  if (!path[0] || state_path(parent, service, "blobs") < 0 ||
      state_path(directory, service, "blobs/%.2s", sha256) < 0)
    return error_set(err, -ENAMETOOLONG, "the path of the state directory is too long");
  if (access(path, F_OK) == 0) {            /* the same content, whole: blobs appear by rename */
    int r = file_sync_directory(directory); /* whoever renamed it may have failed in this */
    if (r == 0)
      (void)unlink(temp);
    return r < 0 ? error_set(err, r, "cannot write the directory %s to disk: %s", directory, strerror(-r))
                 : 0;
  }
  int r = make_prefix(directory, parent, err);
  return r < 0 ? r : file_publish(temp, path, err);
}

int blob_publish(struct service *service, const char *temp, const char *sha256, struct guise_error *err) {
  int r = publish_blob(service, temp, sha256, err);
  storage_note(service, r);
  return r;
}

/* 0; -EEXIST: something refers to it. *ret_bytes: what the file had. */
static int unlink_blob(struct service *service, const char *sha256, uint64_t *ret_bytes) {
  char path[PATH_MAX];
  bool referenced = true;
  struct stat st;
  service_blob_path(service, sha256, path);
  int r = store_blob_referenced(service->store, sha256, &referenced);
  if (r < 0 || referenced)
    return r < 0 ? r : -EEXIST;
  *ret_bytes = lstat(path, &st) == 0 ? (uint64_t)st.st_size : 0;
  if (unlink(path) == 0 || errno == ENOENT)
    return 0;
  r = -errno;
  log_warning("cannot remove the file of something deleted: %s; the next start tries again", strerror(-r));
  storage_note(service, r);
  return r;
}

void blob_remove(struct service *service, char (*blobs)[SHA256_HEX], uint32_t count) {
  uint64_t bytes;
  for (uint32_t i = 0; i < count; i++)
    (void)unlink_blob(service, blobs[i], &bytes);
}

json_t *blob_erase(struct service *service, char (*blobs)[SHA256_HEX], uint32_t count, json_t *files) {
  char directory[PATH_MAX];
  for (uint32_t i = 0; i < count; i++) {
    uint64_t bytes = 0;
    int r = unlink_blob(service, blobs[i], &bytes);
    if (r == -EEXIST)
      continue;
    if (r == 0)
      r = state_path(directory, service, "blobs/%.2s", blobs[i]);
    if (r == 0) {
      r = file_sync_directory(directory);
      storage_note(service, r);
    }
    files = json_append(files, json_pack("{s:s, s:I, s:b}", "sha256", blobs[i], "bytes", (json_int_t)bytes,
                                         "erased", (int)(r == 0)));
  }
  return files;
}

int blob_publish_files(struct service *service, const char *directory, const struct model_row *model,
                       struct guise_error *err) {
  char path[PATH_MAX];
  int r = 0;
  for (uint32_t i = 0; i < model->file_count && r == 0; i++) {
    if (snprintf(path, sizeof(path), "%s/%s", directory, model->files[i].name) >= (int)sizeof(path))
      return error_set(err, -ENAMETOOLONG, "the path of the state directory is too long");
    r = blob_publish(service, path, model->files[i].sha256, err);
  }
  return r;
}

void blob_remove_files(struct service *service, const struct model_row *model) {
  for (uint32_t i = 0; i < model->file_count; i++) {
    char blob[1][SHA256_HEX];
    memcpy(blob[0], model->files[i].sha256, SHA256_HEX);
    blob_remove(service, blob, 1);
  }
}

/* ---- orphans ---- */

static int sweep_file(void *context, enum state_file kind, const char *path, const char *name) {
  struct service *service = context;
  char full[PATH_MAX];
  bool owned = false;
  sqlite3 *db = store_read_begin(service->store);
  int r = state_file_owned(db, kind, name, &owned);
  store_read_end(service->store, db);
  if (r < 0 || owned)
    return r;
  r = state_path(full, service, "%s", path);
  return r < 0 ? r : directory_remove(full);
}

int state_sweep(struct service *service, struct guise_error *err) {
  return state_each_file(service->config.state, sweep_file, service, err);
}

/* ---- what is missing ---- */

struct verification {
  struct service *service;
  uint32_t missing;
};

static int verify_reference(void *context, const struct state_reference *reference) {
  struct verification *v = context;
  char path[PATH_MAX];
  struct stat st;
  int r = state_path(path, v->service, "%s", reference->path);
  if (r == 0 && (lstat(path, &st) < 0 || st.st_size != reference->bytes)) {
    log_error("%s: its file %s is missing or was changed", reference->owner, reference->path);
    v->missing++;
  }
  return r;
}

int state_verify(struct service *service, struct guise_error *err) {
  struct verification v = {service, 0};
  sqlite3 *db = store_read_begin(service->store);
  int r = state_each_reference(db, verify_reference, &v);
  store_read_end(service->store, db);
  if (v.missing > 0)
    log_error("%u files that the database refers to are missing or were changed: guised --check-state tells "
              "more; what needs them will fail, restore them from a backup",
              v.missing);
  return r < 0 ? error_set(err, r, "the files of the state directory cannot be looked at: %s", strerror(-r))
               : 0;
}
