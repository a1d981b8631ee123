/* Data sets after their upload: reading, people, pairs lists. */
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

/* A pack that is not there, or is none, is damage, not a mistake of whoever asks, and its path is not for
 * him. */
static int open_pack(struct service *service, const struct dataset_row *row, struct pack **ret_pack,
                     struct guise_error *err) {
  char path[PATH_MAX];
  if (row->kind == DATASET_TEMPLATES)
    return error_set(
        err, -EBUSY,
        "the data set %s holds templates, in which people are numbers and pictures have no names: "
        "ask whoever masked them",
        row->name);
  service_blob_path(service, row->sha256, path);
  int r = pack_open(path, ret_pack, err);
  if (r != -ENOENT && r != -EBADMSG)
    return r;
  return error_set(err, -EIO,
                   "the faces of the data set %s are %s: restore a backup, or delete the data set and upload "
                   "it again",
                   row->name, r == -ENOENT ? "missing from the state directory" : "damaged");
}

/* ---- people ---- */

static int list_people(const struct pack *pack, const struct store_page *page, struct person_row **ret_rows,
                       uint32_t *ret_count, int64_t *ret_next) {
  const uint32_t people = pack_identities(pack), start = (uint32_t)MIN(page->cursor, (int64_t)people);
  const uint32_t count = MIN(page->limit ? page->limit : 100u, people - start);
  struct person_row *rows = calloc(count ? count : 1, sizeof(*rows));
  if (!rows)
    return -ENOMEM;
  for (uint32_t i = 0; i < count; i++) {
    uint32_t first;
    pack_identity_range(pack, start + i, &first, &rows[i].images);
    (void)snprintf(rows[i].name, sizeof(rows[i].name), "%s", pack_identity_name(pack, start + i));
  }
  *ret_rows = rows;
  *ret_count = count;
  *ret_next = start + count < people ? start + count : 0;
  return 0;
}

int service_people_list(struct service *service, const char *key, const struct store_page *page,
                        struct person_row **ret_rows, uint32_t *ret_count, int64_t *ret_next,
                        struct guise_error *err) {
  _cleanup_(pack_freep) struct pack *pack = NULL;
  struct dataset_row row;
  int r = store_dataset_get(service->store, key, &row);
  if (r == 0 && row.state != DATASET_READY)
    return error_set(err, -EBUSY, "the data set %s is %s: its people are known once it is ready", row.name,
                     dataset_state_name(row.state));
  if (r < 0)
    return error_set(err, r, r == -ENOENT ? "there is no data set %s" : "the data set %s cannot be read",
                     key);
  r = open_pack(service, &row, &pack, err);
  return r < 0 ? r : list_people(pack, page, ret_rows, ret_count, ret_next);
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

static int publish_pairs(struct service *service, const char *dataset_id, const char *temp,
                         const struct pairs_row *row, struct guise_error *err) {
  char blobs[2][SHA256_HEX] = {"", ""};
  memcpy(blobs[1], row->sha256, SHA256_HEX);
  (void)pthread_mutex_lock(&service->blob_lock);
  int r = blob_publish(service, temp, row->sha256, err);
  if (r == 0) {
    r = store_pairs_put(service->store, dataset_id, row, blobs[0]);
    if (r == 0 && blobs[0][0])
      blob_remove(service, &blobs[0], 1);
    if (r < 0) {
      error_set(err, r,
                r == -ENOENT ? "the data set was deleted meanwhile"
                             : "the pairs list could not be recorded: %s",
                strerror(-r));
      blob_remove(service, &blobs[1], 1);
    }
  }
  (void)pthread_mutex_unlock(&service->blob_lock);
  if (r < 0)
    (void)unlink(temp);
  return r;
}

int service_pairs_put(struct service *service, const char *key, const char *name, const char *text,
                      size_t bytes, struct pairs_row *ret_row, bool *ret_created, struct guise_error *err) {
  struct pairs_row row = {.bytes = bytes}, old;
  struct dataset_row dataset;
  char temp[PATH_MAX];
  if (!name_valid(name))
    return error_set(err, -EINVAL,
                     "a pairs list's name is 1 to 100 letters, digits, dots, hyphens and underscores");
  int r = store_dataset_get(service->store, key, &dataset);
  if (r < 0)
    return error_set(err, r, r == -ENOENT ? "there is no data set %s" : "the data set %s cannot be read",
                     key);
  if (dataset.state != DATASET_READY)
    return error_set(err, -EBUSY, "the data set %s is %s: pairs can be added once it is ready", dataset.name,
                     dataset_state_name(dataset.state));
  (void)snprintf(row.name, sizeof(row.name), "%s", name);
  sha256_data(text, bytes, row.sha256);
  r = count_pairs(service, &dataset, text, bytes, &row, err);
  if (r < 0)
    return r;
  bool created = store_pairs_get(service->store, dataset.id, name, &old) == -ENOENT;
  r = write_temporary(service, text, bytes, temp, err);
  if (r == 0)
    r = publish_pairs(service, dataset.id, temp, &row, err);
  if (r < 0)
    return r;
  *ret_row = row;
  *ret_created = created;
  return 0;
}
