/* Erasing data sets, people, models and jobs, each with a receipt: what went, how much, the sha256 of every
 * file. A receipt is kept in the audit trail, so it names people and data sets by ids and counts only. */
#include <dirent.h>
#include <fnmatch.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/base/file.h"
#include "core/base/json.h"
#include "core/image/ingest.h"
#include "core/image/pack.h"
#include "core/image/pairs.h"
#include "core/template/templates.h"
#include "daemon/log.h"
#include "daemon/networks.h"
#include "daemon/service_internal.h"

#define PAIRS_MAX_BYTES (64u << 20)

DEFINE_CLEANUP(struct pack *, pack_free)

/* ---- receipts ---- */

/* Copies of the database that are older than the erasure, whole or broken off: what it erased is still in
 * them. NULL when they cannot be listed. */
static json_t *list_backups(struct service *service) {
  DIR *directory = opendir(service->config.state);
  struct dirent *entry;
  if (!directory)
    return NULL;
  json_t *names = json_array();
  while ((entry = readdir(directory)))
    if (fnmatch("guise.db.*", entry->d_name, 0) == 0)
      names = json_append(names, json_string(entry->d_name));
  (void)closedir(directory);
  return names;
}

/* Empties the write-ahead log; `files` is stolen. NULL when a part of the receipt is lacking. */
static json_t *make_receipt(struct service *service, const char *kind, const char *object, json_t *files) {
  char at[TIME_TEXT];
  const bool scrubbed = store_scrub(service->store);
  if (!scrubbed)
    log_warning("%s: erased, but a reader or the disk kept the database's log from being emptied; the next "
                "erasure or start does it",
                object);
  time_text(time_now_ms(), at);
  return json_pack("{s:s, s:s, s:s, s:o, s:b, s:o}", "kind", kind, "object", object, "at", at, "files", files,
                   "log_emptied", (int)scrubbed, "backups", list_backups(service));
}

/* The reference to `receipt` is taken and given back, as json_put does. */
static json_t *add_erased(json_t *receipt, const struct store_erased *erased, uint32_t identities,
                          uint32_t images) {
  const struct {
    const char *name;
    uint32_t count;
  } counts[] = {{"identities", identities},
                {"images", images},
                {"rejects", erased->rejects},
                {"pairs", erased->pairs},
                {"private_reports", erased->reports},
                {"public_reports", erased->shown},
                {"kept", erased->kept}};
  json_t *models = json_array();
  for (uint32_t i = 0; i < erased->model_count; i++)
    models = json_append(models, json_string(erased->models[i]));
  for (size_t i = 0; i < ARRAY_SIZE(counts); i++)
    receipt = json_put(receipt, counts[i].name, json_integer(counts[i].count));
  return json_put(receipt, "models", models);
}

static int give_receipt(json_t *receipt, json_t **ret_receipt, struct guise_error *err) {
  if (!ret_receipt || !receipt) {
    json_decref(receipt);
    return !ret_receipt ? 0
                        : error_set(err, -ENOMEM,
                                    "it is erased, but memory or open files are lacking for the receipt");
  }
  *ret_receipt = receipt;
  return 0;
}

bool erase_make_room(struct service *service, int r, json_t **files) {
  return networks_give(service, r, files) || reserve_give(service, r);
}

/* ---- data sets ---- */

/* The uploaded file, while the data set is being ingested. */
static json_t *erase_upload(struct service *service, const struct dataset_row *row, json_t *files) {
  char path[PATH_MAX], directory[PATH_MAX];
  ingest_forget(service, row->id);
  if (state_path(path, service, "uploads/%s", row->id) < 0 || state_path(directory, service, "uploads") < 0)
    return files;
  int r = unlink(path) < 0 ? -errno : file_sync_directory(directory);
  if (r == -ENOENT)
    return files;
  storage_note(service, r);
  return json_append(files, json_pack("{s:s, s:I, s:b}", "sha256", row->upload_sha256, "bytes",
                                      (json_int_t)row->bytes, "erased", (int)(r == 0)));
}

static int refuse_dataset(int r, const char *name, struct guise_error *err) {
  if (r == -ENOENT)
    return error_set(err, r, "there is no data set %s", name);
  if (r == -EBUSY)
    return error_set(err, r, "a job that has not ended uses the data set %s: cancel it or wait for its end",
                     name);
  return error_set(err, r, "the data set could not be deleted: %s", strerror(-r));
}

int service_dataset_delete(struct service *service, const char *key, json_t **ret_receipt,
                           struct guise_error *err) {
  struct store_erased erased = {0};
  struct dataset_row row;
  int r = store_dataset_get(service->store, key, &row);
  if (r == 0)
    r = store_dataset_unused(service->store, row.id);
  if (r < 0)
    return refuse_dataset(r, r == -ENOENT ? key : row.name, err);
  json_t *files = json_array();
  uint32_t shown = 0;
  if ((r = erase_public_pictures(service, row.id, &shown, &files, err)) < 0) {
    json_decref(files);
    return r;
  }
  (void)pthread_mutex_lock(&service->blob_lock);
  do
    r = store_dataset_delete(service->store, row.id, &erased);
  while (reserve_give(service, r));
  if (r == 0)
    files = blob_erase(service, erased.blobs, erased.blob_count, files);
  (void)pthread_mutex_unlock(&service->blob_lock);
  if (r < 0) {
    json_decref(files);
    return refuse_dataset(r, row.name, err);
  }
  trials_forget(&service->trials, row.id);
  shown_forget(&service->shown, row.sha256);
  files = erase_upload(service, &row, files);
  json_t *receipt = make_receipt(service, "dataset", row.id, files);
  erased.shown = shown;
  receipt = add_erased(receipt, &erased, row.identities, row.images);
  store_erased_clear(&erased);
  log_info("data set %s: erased", row.id);
  return give_receipt(receipt, ret_receipt, err);
}

/* ---- people ---- */

struct erasure {
  struct service *service;
  struct dataset_row row;
  const char *identity, *image; /* image NULL = the whole person */
  char old[PATH_MAX], fresh[PATH_MAX];
  struct dataset_row to;
  char (*pairs)[STORE_NAME]; /* lists that name the person */
  uint32_t pair_count;
};

static int names_person(const char *text, size_t bytes, const struct pack *pack, uint32_t person,
                        bool *ret_names) {
  _cleanup_(freep) struct pair_entry *entries = NULL;
  uint32_t count = 0, folds;
  int r = pairs_parse(text, bytes, pack, &entries, &count, &folds, NULL);
  bool names = r == -EINVAL; /* it was checked when it came: rather one too many */
  for (uint32_t i = 0; r == 0 && i < count && !names; i++)
    names = pack_identity_of(pack, entries[i].a) == person || pack_identity_of(pack, entries[i].b) == person;
  *ret_names = names;
  return r == -EINVAL ? 0 : r;
}

static int check_pairs(struct erasure *e, const struct pack *pack, uint32_t person,
                       const struct pairs_row *row) {
  _cleanup_(freep) char *text = NULL;
  char path[PATH_MAX];
  size_t bytes = 0;
  bool names = false;
  service_blob_path(e->service, row->sha256, path);
  int r = file_read(path, PAIRS_MAX_BYTES, &text, &bytes, NULL);
  if (r == 0)
    r = names_person(text, bytes, pack, person, &names);
  if (r == 0 && names)
    memcpy(e->pairs[e->pair_count++], row->name, STORE_NAME);
  return r;
}

/* Which of the data set's pairs lists name the person; with blob_lock held, so that none is added. */
static int find_pairs(struct erasure *e, struct guise_error *err) {
  _cleanup_(pack_freep) struct pack *pack = NULL;
  struct store_page page = {.limit = 1000};
  uint32_t person = 0;
  int r = pack_open(e->old, &pack, err);
  if (r == 0)
    r = pack_find_identity(pack, e->identity, &person);
  do {
    _cleanup_(freep) struct pairs_row *rows = NULL;
    uint32_t count = 0;
    if (r == 0)
      r = store_pairs_list(e->service->store, e->row.id, &page, &rows, &count, &page.cursor);
    char(*grown)[STORE_NAME] =
        r == 0 ? reallocarray(e->pairs, e->pair_count + count + 1, sizeof(*grown)) : NULL;
    if (r == 0 && !grown)
      r = -ENOMEM;
    if (grown)
      e->pairs = grown;
    for (uint32_t i = 0; i < count && r == 0; i++)
      r = check_pairs(e, pack, person, &rows[i]);
  } while (r == 0 && page.cursor != 0);
  return r < 0 ? error_set(err, r, "the data set's pairs lists cannot be read: %s", strerror(-r)) : 0;
}

static int rewrite_faces(struct erasure *e, struct guise_error *err) {
  struct ingest_result result = {0};
  int r = pack_without(e->old, e->identity, e->image, e->fresh, &result, err);
  e->to.identities = result.identities;
  e->to.images = result.images;
  e->to.bytes = result.bytes;
  memcpy(e->to.sha256, result.sha256, sizeof(result.sha256));
  return r;
}

/* As the list of people prints them: no sign, no zeros in front. */
static bool parse_number(const char *text, uint32_t *ret_number) {
  char again[16];
  *ret_number = (uint32_t)strtoul(text, NULL, 10);
  (void)snprintf(again, sizeof(again), "%" PRIu32, *ret_number);
  return strcmp(text, again) == 0;
}

/* People of templates are numbers, and no template is one person's image. */
static int rewrite_templates(struct erasure *e, struct guise_error *err) {
  struct templates_rest rest = {0};
  uint32_t number = 0;
  if (e->image)
    return error_set(err, -ENOENT,
                     "the data set %s holds templates, which have no names: erase the person instead",
                     e->row.name);
  if (!parse_number(e->identity, &number))
    return error_set(
        err, -ENOENT,
        "people of the data set %s, which holds templates, are numbers; whoever masked them knows "
        "which is whose (guise mask --names)",
        e->row.name);
  int r = templates_without(e->old, number, e->fresh, &rest, err);
  e->to.identities = rest.people;
  e->to.images = rest.templates;
  e->to.bytes = rest.bytes;
  memcpy(e->to.sha256, rest.sha256, sizeof(rest.sha256));
  return r;
}

/* Room is made before another try: of what the last one wrote, then of what is kept for convenience, then of
 * the reserve, then, when there was no room even to note that they go, of the former again. No more often:
 * what is given may be made anew meanwhile. */
static bool make_room(struct erasure *e, int r, uint32_t *tries, json_t **files) {
  if (r < 0)
    (void)unlink(e->fresh);
  return ++*tries <= 3 && erase_make_room(e->service, r, files);
}

static int rewrite(struct erasure *e, json_t **files, struct guise_error *err) {
  uint32_t tries = 0;
  service_blob_path(e->service, e->row.sha256, e->old);
  int r = state_path(e->fresh, e->service, "uploads/erasing-%s", e->row.id);
  if (r < 0)
    return error_set(err, r, "the path of the state directory is too long");
  do {
    e->to = e->row;
    r = (e->row.kind == DATASET_TEMPLATES ? rewrite_templates : rewrite_faces)(e, err);
  } while (make_room(e, r, &tries, files));
  const bool missing = r == -ENOENT && access(e->old, F_OK) < 0; /* else it is the person that is not there */
  if (missing || r == -EBADMSG)
    return error_set(err, -EIO,
                     "the faces of the data set %s are %s: erase the whole data set, or restore a backup",
                     e->row.name, missing ? "missing from the state directory" : "damaged");
  if (r < 0) {
    r = r == -ENODATA ? -EBUSY : write_error(-r); /* ENODATA: the last one */
    storage_note(e->service, r);
  }
  return r;
}

/* With blob_lock held. */
static int swap(struct erasure *e, json_t **files, struct store_erased *ret_erased, struct guise_error *err) {
  char blob[1][SHA256_HEX];
  int r = e->row.kind == DATASET_TEMPLATES ? 0 : find_pairs(e, err); /* templates have none */
  if (r == 0)
    do
      r = blob_publish(e->service, e->fresh, e->to.sha256, err);
    while (reserve_give(e->service, r));
  memcpy(blob[0], e->to.sha256, SHA256_HEX);
  if (r < 0) {
    blob_remove(e->service, blob, 1); /* published, perhaps but for the sync of its folder */
    return r;
  }
  const struct store_rewrite rewrite = {.dataset = e->row.id,
                                        .old_sha256 = e->row.sha256,
                                        .to = &e->to,
                                        .identity = e->identity,
                                        .image = e->image,
                                        .pairs = (const char(*)[STORE_NAME])e->pairs,
                                        .pair_count = e->pair_count};
  do
    r = store_dataset_rewrite(e->service->store, &rewrite, ret_erased);
  while (reserve_give(e->service, r));
  if (r == 0) {
    *files = blob_erase(e->service, ret_erased->blobs, ret_erased->blob_count, *files);
    shown_forget(&e->service->shown, e->row.sha256);
    return 0;
  }
  blob_remove(e->service, blob, 1);
  return refuse_dataset(r == -ESTALE ? -ENOENT : r, e->row.name, err);
}

static int erase_person(struct erasure *e, json_t **files, struct store_erased *ret_erased,
                        struct guise_error *err) {
  uint32_t shown = 0;
  int r = rewrite(e, files, err);
  if (r == 0)
    r = erase_public_pictures(e->service, e->row.id, &shown, files, err);
  if (r == 0) {
    (void)pthread_mutex_lock(&e->service->blob_lock);
    r = swap(e, files, ret_erased, err);
    (void)pthread_mutex_unlock(&e->service->blob_lock);
    ret_erased->shown = shown;
  }
  (void)unlink(e->fresh); /* when it did not become a blob */
  free(e->pairs);
  return r;
}

/* What can be told before the file is written anew. */
static int begin(struct erasure *e, const char *key, struct guise_error *err) {
  int r = store_dataset_get(e->service->store, key, &e->row);
  if (r == 0 && e->row.state != DATASET_READY)
    return error_set(err, -EBUSY, "the data set %s is %s: people can be erased once it is ready", e->row.name,
                     dataset_state_name(e->row.state));
  if (r == 0)
    r = store_dataset_unused(e->service->store, e->row.id);
  return r < 0 ? refuse_dataset(r, r == -ENOENT ? key : e->row.name, err) : 0;
}

int service_person_erase(struct service *service, const char *key, const char *identity, const char *image,
                         json_t **ret_receipt, struct guise_error *err) {
  _cleanup_(freep) struct erasure *e = calloc(1, sizeof(*e)); /* paths are too large for a stack */
  struct store_erased erased = {0};
  json_t *files = json_array();
  if (!e) {
    json_decref(files);
    return error_set(err, -ENOMEM, "out of memory");
  }
  e->service = service;
  e->identity = identity;
  e->image = image;
  (void)pthread_mutex_lock(&service->erase_lock);
  int r = begin(e, key, err);
  if (r == 0)
    r = erase_person(e, &files, &erased, err);
  (void)pthread_mutex_unlock(&service->erase_lock);
  if (r < 0) {
    json_decref(files);
    return r;
  }
  json_t *receipt = make_receipt(service, image ? "image" : "identity", e->row.id, files);
  receipt = add_erased(receipt, &erased, e->row.identities - e->to.identities, e->row.images - e->to.images);
  store_erased_clear(&erased);
  log_info("data set %s: %s erased", e->row.id, image ? "an image" : "a person");
  return give_receipt(receipt, ret_receipt, err);
}

/* ---- models and jobs ---- */

int service_model_delete(struct service *service, const char *id, json_t **ret_receipt,
                         struct guise_error *err) {
  _cleanup_(freep) char(*blobs)[SHA256_HEX] = NULL;
  uint32_t count = 0;
  json_t *files = json_array();
  (void)pthread_mutex_lock(&service->blob_lock);
  int r;
  do
    r = store_model_delete(service->store, id, &blobs, &count);
  while (reserve_give(service, r));
  if (r == 0)
    files = blob_erase(service, blobs, count, files);
  (void)pthread_mutex_unlock(&service->blob_lock);
  for (uint32_t i = 0; r == 0 && i < count; i++)
    inference_forget(service, blobs[i]);
  if (r < 0)
    json_decref(files);
  if (r == -ENOENT)
    return error_set(err, r, "there is no model %s", id);
  if (r == -EBUSY)
    return error_set(err, r, "a job that has not ended uses the model %s: cancel it or wait for its end", id);
  if (r < 0)
    return error_set(err, r, "the model could not be deleted: %s", strerror(-r));
  log_info("model %s: erased", id);
  return give_receipt(make_receipt(service, "model", id, files), ret_receipt, err);
}

int service_job_delete(struct service *service, const char *id, json_t **ret_receipt,
                       struct guise_error *err) {
  int r;
  do
    r = store_job_delete(service->store, id);
  while (reserve_give(service, r));
  if (r == -ENOENT)
    return error_set(err, r, "there is no job %s", id);
  if (r == -EBUSY)
    return error_set(err, r,
                     "the job %s has not ended, or its model is still there: cancel it, or erase the model "
                     "first",
                     id);
  if (r < 0)
    return error_set(err, r, "the job could not be erased: %s", strerror(-r));
  trials_forget(&service->trials, id);
  log_info("%s: erased", id);
  return give_receipt(make_receipt(service, "job", id, json_array()), ret_receipt, err);
}
