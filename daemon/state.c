/* The state directory: one daemon at a time, blobs named by their content, nothing left behind by a killed
 * daemon. */
#include <dirent.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "core/base/file.h"
#include "daemon/log.h"
#include "daemon/service_internal.h"

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

static bool is_sha256(const char *name) {
  return strlen(name) == 64 && strspn(name, "0123456789abcdef") == 64;
}

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

int blob_publish(struct service *service, const char *temp, const char *sha256, struct guise_error *err) {
  char directory[PATH_MAX], parent[PATH_MAX], path[PATH_MAX];
  service_blob_path(service, sha256, path);
  if (!path[0] || state_path(parent, service, "blobs") < 0 ||
      state_path(directory, service, "blobs/%.2s", sha256) < 0)
    return error_set(err, -ENAMETOOLONG, "the path of the state directory is too long");
  if (access(path, F_OK) == 0) { /* the same content, whole: blobs appear by rename */
    (void)unlink(temp);
    return 0;
  }
  if (mkdir(directory, 0700) == 0)
    (void)file_sync_directory(parent);
  else if (errno != EEXIST)
    return error_set(err, -errno, "cannot create %s: %s", directory, strerror(errno));
  return file_publish(temp, path, err);
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
  return r;
}

void blob_remove(struct service *service, char (*blobs)[SHA256_HEX], uint32_t count) {
  uint64_t bytes;
  for (uint32_t i = 0; i < count; i++)
    (void)unlink_blob(service, blobs[i], &bytes);
}

void blob_erase(struct service *service, char (*blobs)[SHA256_HEX], uint32_t count, json_t *files) {
  char directory[PATH_MAX];
  for (uint32_t i = 0; i < count; i++) {
    uint64_t bytes = 0;
    int r = unlink_blob(service, blobs[i], &bytes);
    if (r == -EEXIST)
      continue;
    if (r == 0 && state_path(directory, service, "blobs/%.2s", blobs[i]) == 0)
      r = file_sync_directory(directory);
    (void)json_array_append_new(files, json_pack("{s:s, s:I, s:b}", "sha256", blobs[i], "bytes",
                                                 (json_int_t)bytes, "erased", (int)(r == 0)));
  }
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

/* Calls visit(name) for the entries of a directory of the state directory. */
static int each_entry(struct service *service, const char *directory,
                      int (*visit)(struct service *service, const char *directory, const char *name),
                      struct guise_error *err) {
  char path[PATH_MAX];
  int r = state_path(path, service, "%s", directory);
  DIR *entries = r == 0 ? opendir(path) : NULL;
  if (!entries)
    return error_set(err, -errno, "cannot read %s: %s", path, strerror(errno));
  struct dirent *entry;
  while (r == 0 && (entry = readdir(entries)))
    if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
      r = visit(service, directory, entry->d_name);
  (void)closedir(entries);
  return r < 0 ? error_set(err, r, "cannot tidy %s: %s", path, strerror(-r)) : 0;
}

static int remove_entry(struct service *service, const char *directory, const char *name) {
  char path[PATH_MAX];
  int r = state_path(path, service, "%s/%s", directory, name);
  return r < 0 ? r : directory_remove(path);
}

/* uploads/<id> stays while its data set is being ingested; temporary files and packs in the making go. */
static int sweep_upload(struct service *service, const char *directory, const char *name) {
  struct dataset_row row;
  int r = store_dataset_get(service->store, name, &row);
  if (r == 0 && strcmp(row.id, name) == 0 && row.state == DATASET_INGESTING)
    return 0;
  return r < 0 && r != -ENOENT ? r : remove_entry(service, directory, name);
}

static int sweep_work(struct service *service, const char *directory, const char *name) {
  struct job_row row = {.spec = NULL};
  int r = store_job_get(service->store, name, &row);
  bool keep = r == 0 && !job_state_terminal(row.state);
  job_row_clear(&row);
  if (r < 0 && r != -ENOENT)
    return r;
  return keep ? 0 : remove_entry(service, directory, name);
}

static int sweep_blob(struct service *service, const char *directory, const char *name) {
  bool referenced = false;
  int r = is_sha256(name) ? store_blob_referenced(service->store, name, &referenced) : 0;
  return r < 0 || referenced ? r : remove_entry(service, directory, name);
}

static int sweep_blobs(struct service *service, const char *directory, const char *name) {
  char path[64];
  if (strlen(name) != 2)
    return remove_entry(service, directory, name);
  (void)snprintf(path, sizeof(path), "%s/%s", directory, name);
  return each_entry(service, path, sweep_blob, NULL);
}

int state_sweep(struct service *service, struct guise_error *err) {
  int r = each_entry(service, "uploads", sweep_upload, err);
  if (r == 0)
    r = each_entry(service, "work", sweep_work, err);
  if (r == 0)
    r = each_entry(service, "blobs", sweep_blobs, err);
  return r;
}
