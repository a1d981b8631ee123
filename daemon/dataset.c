/* Data sets after their upload: reading, pairs lists. */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "core/base/file.h"
#include "core/image/pack.h"
#include "core/image/pairs.h"
#include "daemon/log.h"
#include "daemon/service_internal.h"

DEFINE_CLEANUP(struct pack *, pack_free)

int service_dataset_get(struct service *service, const char *key, struct dataset_row *ret_row) {
  int r = store_dataset_get(service->store, key, ret_row);
  if (r == 0)
    ingest_overlay(service, ret_row);
  return r;
}

int dataset_find_ready(struct service *service, const char *key, const char *what,
                       struct dataset_row *ret_row, struct guise_error *err) {
  int r = store_dataset_get(service->store, key, ret_row);
  if (r < 0)
    return error_set(err, r, r == -ENOENT ? "there is no data set %s" : "the data set %s cannot be read",
                     key);
  if (ret_row->state != DATASET_READY)
    return error_set(err, -EBUSY, "the data set %s is %s: %s once it is ready", ret_row->name,
                     dataset_state_name(ret_row->state), what);
  return 0;
}

int dataset_damage(const struct dataset_row *row, int r, struct guise_error *err) {
  if (r != -ENOENT && r != -EBADMSG)
    return r;
  return error_set(err, -EIO,
                   "the faces of the data set %s are %s: restore a backup, or delete the data set and upload "
                   "it again",
                   row->name, r == -ENOENT ? "missing from the state directory" : "damaged");
}

static int open_pack(struct service *service, const struct dataset_row *row, struct pack **ret_pack,
                     struct guise_error *err) {
  char path[PATH_MAX];
  if (row->kind == DATASET_TEMPLATES)
    return error_set(
        err, -EBUSY,
        "the data set %s holds templates, and a list of pairs names pictures: verify on a data set of faces",
        row->name);
  service_blob_path(service, row->sha256, path);
  return dataset_damage(row, pack_open(path, ret_pack, err), err);
}

/* ---- pairs ---- */

static int count_pairs(struct service *service, const struct dataset_row *dataset, const char *text,
                       size_t bytes, struct pairs_row *row, struct guise_error *err) {
  _cleanup_(pack_freep) struct pack *pack = NULL;
  _cleanup_(freep) struct pair_entry *entries = NULL;
  int r = open_pack(service, dataset, &pack, err);
  if (r == 0) {
    r = pairs_parse(text, bytes, pack, &entries, &row->count, &row->folds, err);
    if (r < 0 && r != -ENOMEM)
      r = -EINVAL;
  }
  return r;
}

static int write_temporary(struct service *service, const char *text, size_t bytes, char ret_path[PATH_MAX],
                           struct guise_error *err) {
  int r = state_path(ret_path, service, "uploads/pairs-XXXXXX");
  if (r < 0)
    return error_set(err, r, "the path of the state directory is too long");
  _cleanup_(closep) int fd = mkostemp(ret_path, O_CLOEXEC);
  if (fd < 0) {
    r = write_error(errno);
    storage_note(service, r);
    return error_set(err, r, "cannot store the pairs list: %s", strerror(-r));
  }
  while (bytes > 0) {
    ssize_t n = write(fd, text, bytes);
    if (n < 0 && errno == EINTR)
      continue;
    if (n < 0) {
      r = write_error(errno);
      (void)unlink(ret_path);
      storage_note(service, r);
      return error_set(err, r, "cannot store the pairs list: %s", strerror(-r));
    }
    text += n;
    bytes -= (size_t)n;
  }
  return 0;
}

/* -ESTALE: somebody was erased from the data set since the list was checked, who may be in it. An erasure
 * looks for lists with blob_lock held, and those that come later are kept out here. */
static int publish_pairs(struct service *service, const struct dataset_row *dataset, const char *temp,
                         const struct pairs_row *row, struct guise_error *err) {
  char blobs[2][SHA256_HEX] = {"", ""};
  struct dataset_row now;
  memcpy(blobs[1], row->sha256, SHA256_HEX);
  (void)pthread_mutex_lock(&service->blob_lock);
  int r = store_dataset_get(service->store, dataset->id, &now);
  if (r == 0 && strcmp(now.sha256, dataset->sha256) != 0)
    r = -ESTALE;
  else if (r == 0)
    r = blob_publish(service, temp, row->sha256, err);
  else
    error_set(err, r, r == -ENOENT ? "the data set was deleted meanwhile" : "the data set cannot be read");
  if (r == 0) {
    r = store_pairs_put(service->store, dataset->id, row, blobs[0]);
    if (r == 0 && blobs[0][0])
      blob_remove(service, &blobs[0], 1);
    if (r < 0)
      error_set(err, r,
                r == -ENOENT ? "the data set was deleted meanwhile"
                             : "the pairs list could not be recorded: %s",
                strerror(-r));
  }
  if (r < 0)
    blob_remove(service, &blobs[1], 1); /* published, perhaps but for the sync of its folder */
  (void)pthread_mutex_unlock(&service->blob_lock);
  if (r < 0)
    (void)unlink(temp);
  return r;
}

/* Whether the data set is another by now, or gone. */
static bool has_changed(struct service *service, const struct dataset_row *dataset) {
  struct dataset_row now;
  const int r = store_dataset_get(service->store, dataset->id, &now);
  return r == -ENOENT || (r == 0 && strcmp(now.sha256, dataset->sha256) != 0);
}

/* -ESTALE: the data set's file is another by now, or both are gone. */
static int put_pairs(struct service *service, const struct dataset_row *dataset, const char *text,
                     size_t bytes, struct pairs_row *row, bool *ret_created, struct guise_error *err) {
  struct pairs_row old;
  char temp[PATH_MAX];
  int r = count_pairs(service, dataset, text, bytes, row, err);
  if (r == -EIO && has_changed(service, dataset))
    return -ESTALE;
  if (r < 0)
    return r;
  *ret_created = store_pairs_get(service->store, dataset->id, row->name, &old) == -ENOENT;
  r = write_temporary(service, text, bytes, temp, err);
  return r < 0 ? r : publish_pairs(service, dataset, temp, row, err);
}

int service_pairs_put(struct service *service, const char *key, const char *name, const char *text,
                      size_t bytes, struct pairs_row *ret_row, bool *ret_created, struct guise_error *err) {
  struct pairs_row row = {.bytes = bytes};
  struct dataset_row dataset;
  bool created = false;
  int r;
  if (!name_valid(name))
    return error_set(err, -EINVAL,
                     "a pairs list's name is 1 to 100 letters, digits, dots, hyphens and underscores");
  (void)snprintf(row.name, sizeof(row.name), "%s", name);
  sha256_data(text, bytes, row.sha256);
  do {
    r = dataset_find_ready(service, key, "pairs can be added", &dataset, err);
    if (r == 0)
      r = put_pairs(service, &dataset, text, bytes, &row, &created, err);
  } while (r == -ESTALE); /* as often as somebody is erased; once, when all are */
  if (r < 0)
    return r;
  *ret_row = row;
  *ret_created = created;
  return 0;
}
