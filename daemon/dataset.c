/* Data sets after their upload: reading, people, pairs lists. */
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "core/base/file.h"
#include "core/image/pack.h"
#include "core/image/pairs.h"
#include "core/template/templates.h"
#include "daemon/log.h"
#include "daemon/service_internal.h"

DEFINE_CLEANUP(struct pack *, pack_free)

int service_dataset_get(struct service *service, const char *key, struct dataset_row *ret_row) {
  int r = store_dataset_get(service->store, key, ret_row);
  if (r == 0)
    ingest_overlay(service, ret_row);
  return r;
}

/* A file that is not there, or is none, is damage, not a mistake of whoever asks, and its path is not for
 * him. */
static int tell_damage(const struct dataset_row *row, int r, struct guise_error *err) {
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
  return tell_damage(row, pack_open(path, ret_pack, err), err);
}

/* ---- people ---- */

/* People in the order of the cursor: by number, of templates with gaps where somebody was erased. */
struct people {
  const struct pack *pack; /* or NULL and: */
  const struct templates *templates;
  const uint32_t *shown; /* templates of each number */
  uint32_t count;        /* with the erased */
};

/* Whether there is one. */
static bool get_person(const struct people *people, uint32_t i, struct person_row *ret_row) {
  uint32_t first;
  if (people->pack) {
    pack_identity_range(people->pack, i, &first, &ret_row->images);
    (void)snprintf(ret_row->name, sizeof(ret_row->name), "%s", pack_identity_name(people->pack, i));
    return true;
  }
  ret_row->images = people->shown[i];
  (void)snprintf(ret_row->name, sizeof(ret_row->name), "%" PRIu32, i);
  return !templates_is_erased(people->templates, i);
}

static int list_people(const struct people *people, const struct store_page *page,
                       struct person_row **ret_rows, uint32_t *ret_count, int64_t *ret_next) {
  const uint32_t limit = page->limit ? page->limit : 100u;
  uint32_t i = (uint32_t)MIN(page->cursor, (int64_t)people->count), count = 0;
  struct person_row *rows = calloc(MIN(limit, people->count - i) + 1, sizeof(*rows));
  if (!rows)
    return -ENOMEM;
  for (; i < people->count && count < limit; i++)
    count += get_person(people, i, &rows[count]);
  *ret_rows = rows;
  *ret_count = count;
  *ret_next = i < people->count ? i : 0;
  return 0;
}

static int list_templates(struct service *service, const struct dataset_row *row,
                          const struct store_page *page, struct person_row **ret_rows, uint32_t *ret_count,
                          int64_t *ret_next, struct guise_error *err) {
  _cleanup_(templates_freep) struct templates *templates = NULL;
  char path[PATH_MAX];
  service_blob_path(service, row->sha256, path);
  int r = tell_damage(row, templates_open(path, &templates, err), err);
  if (r < 0)
    return r;
  const uint32_t numbers = templates_numbers(templates);
  _cleanup_(freep) uint32_t *shown = malloc(numbers * sizeof(*shown));
  if (!shown)
    return -ENOMEM;
  templates_count_shown(templates, shown);
  const struct people people = {.templates = templates, .shown = shown, .count = numbers};
  return list_people(&people, page, ret_rows, ret_count, ret_next);
}

static int list_faces(struct service *service, const struct dataset_row *row, const struct store_page *page,
                      struct person_row **ret_rows, uint32_t *ret_count, int64_t *ret_next,
                      struct guise_error *err) {
  _cleanup_(pack_freep) struct pack *pack = NULL;
  int r = open_pack(service, row, &pack, err);
  if (r < 0)
    return r;
  const struct people people = {.pack = pack, .count = pack_identities(pack)};
  return list_people(&people, page, ret_rows, ret_count, ret_next);
}

static int find_ready(struct service *service, const char *key, struct dataset_row *ret_row,
                      struct guise_error *err) {
  struct dataset_row row;
  int r = store_dataset_get(service->store, key, &row);
  if (r == 0 && row.state != DATASET_READY)
    return error_set(err, -EBUSY, "the data set %s is %s: its people are known once it is ready", row.name,
                     dataset_state_name(row.state));
  if (r < 0)
    return error_set(err, r, r == -ENOENT ? "there is no data set %s" : "the data set %s cannot be read",
                     key);
  *ret_row = row;
  return 0;
}

int service_people_list(struct service *service, const char *key, const struct store_page *page,
                        struct person_row **ret_rows, uint32_t *ret_count, int64_t *ret_next,
                        struct guise_error *err) {
  char before[SHA256_HEX] = "";
  for (;;) {
    struct dataset_row row;
    int r = find_ready(service, key, &row, err);
    if (r < 0)
      return r;
    r = (row.kind == DATASET_TEMPLATES ? list_templates : list_faces)(service, &row, page, ret_rows,
                                                                      ret_count, ret_next, err);
    /* an erasure may put another file in its place between the two */
    if (r != -EIO || strcmp(before, row.sha256) == 0)
      return r;
    memcpy(before, row.sha256, sizeof(before));
  }
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
