/* A streamed upload: bytes go into a temporary file and a running hash, so that accepting it needs no second
 * reading. */
#include <fcntl.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "core/base/file.h"
#include "daemon/log.h"
#include "daemon/service_internal.h"

struct upload {
  struct upload *next; /* service->uploads; under its lock, like counted */
  struct service *service;
  char owner[STORE_NAME], name[STORE_NAME];
  uint64_t counted;    /* against the owner's quota: those announced, or those that came */
  char path[PATH_MAX]; /* "" once accepted */
  int fd;
  uint64_t bytes, limit;
  bool closed;
  crypto_hash_sha256_state hash;
  char sha256[SHA256_HEX];
};

/* ---- quotas: what is on its way counts like what is there, or many uploads at once would fill the disk ----
 */

static int refuse_quota(int r, const char *owner, struct guise_error *err) {
  if (r == -EUSERS)
    return error_set(
        err, r,
        "with this data set %s would have more than the options owner_bytes and owner_images allow: erase "
        "another one first",
        owner);
  return error_set(err, r, "the owner's data sets cannot be counted: %s", strerror(-r));
}

/* Counts so many bytes more for the upload, if the owner has room for them. */
static int count_bytes(struct upload *upload, uint64_t bytes, struct guise_error *err) {
  struct service *service = upload->service;
  uint64_t room = 0;
  if (!upload->owner[0])
    return 0;
  (void)pthread_mutex_lock(&service->uploads.lock);
  int r = store_owner_room(service->store, upload->owner, upload->name, &room);
  for (const struct upload *u = service->uploads.first; r == 0 && u; u = u->next)
    if (strcmp(u->owner, upload->owner) == 0 && room != UINT64_MAX)
      room -= MIN(room, u->counted);
  if (r == 0 && bytes > room)
    r = -EUSERS;
  if (r == 0)
    upload->counted += bytes;
  (void)pthread_mutex_unlock(&service->uploads.lock);
  return r < 0 ? refuse_quota(r, upload->owner, err) : 0;
}

static void list(struct upload *upload) {
  struct uploads *uploads = &upload->service->uploads;
  (void)pthread_mutex_lock(&uploads->lock);
  upload->next = uploads->first;
  uploads->first = upload;
  (void)pthread_mutex_unlock(&uploads->lock);
}

static void unlist(struct upload *upload) {
  struct uploads *uploads = &upload->service->uploads;
  (void)pthread_mutex_lock(&uploads->lock);
  for (struct upload **at = &uploads->first; *at; at = &(*at)->next)
    if (*at == upload) {
      *at = upload->next;
      break;
    }
  (void)pthread_mutex_unlock(&uploads->lock);
}

/* Its bytes are those of a data set now. */
static void settle(struct upload *upload) {
  (void)pthread_mutex_lock(&upload->service->uploads.lock);
  upload->counted = 0;
  (void)pthread_mutex_unlock(&upload->service->uploads.lock);
}

/* ---- the file ---- */

static int open_file(struct upload *upload, struct guise_error *err) {
  struct service *service = upload->service;
  int r = state_path(upload->path, service, "uploads/upload-XXXXXX");
  if (r == 0) {
    upload->fd = mkostemp(upload->path, O_CLOEXEC);
    r = upload->fd < 0 ? -errno : 0;
  }
  if (r == 0)
    return 0;
  upload->path[0] = 0;
  storage_note(service, r);
  return error_set(err, r, "cannot store an upload: %s", strerror(-r));
}

static int check_name(const char *name, struct guise_error *err) {
  if (name_valid(name))
    return 0;
  return error_set(err, -EINVAL,
                   "a data set's name is 1 to 100 letters, digits, dots, hyphens and underscores, starts "
                   "with a letter or "
                   "digit, and is not like an id (ds_, job_, mdl_, tok_)");
}

/* The data set of that name, -ENOENT when there is none, -EEXIST when it is somebody else's. */
static int find_own(struct service *service, const struct client *client, const char *name,
                    struct dataset_row *ret_row, struct guise_error *err) {
  int r = service_dataset_get(service, name, ret_row);
  if (r == 0 && !owner_sees(client->sees, ret_row->owner))
    return error_set(err, -EEXIST, "the name %s is taken: choose another one", name);
  return r;
}

int service_upload_begin(struct service *service, const struct client *client, const char *name,
                         uint64_t bytes, struct upload **ret_upload, struct guise_error *err) {
  struct config config;
  struct dataset_row row;
  int r = service_storage(service);
  if (r < 0)
    return error_set(err, r, "%s", storage_reason(r));
  r = check_name(name, err);
  if (r == 0)
    r = find_own(service, client, name, &row, err);
  if (r < 0 && r != -ENOENT)
    return r;
  struct upload *upload = calloc(1, sizeof(*upload));
  if (!upload)
    return error_set(err, -ENOMEM, "out of memory for an upload");
  service_config_now(service, &config);
  upload->service = service;
  upload->limit = config.upload_max_bytes;
  upload->fd = -1;
  (void)snprintf(upload->owner, sizeof(upload->owner), "%s", client->owner);
  (void)snprintf(upload->name, sizeof(upload->name), "%s", name);
  crypto_hash_sha256_init(&upload->hash);
  list(upload);
  r = count_bytes(upload, bytes, err);
  if (r == 0)
    r = open_file(upload, err);
  if (r < 0) {
    service_upload_free(upload);
    return r;
  }
  *ret_upload = upload;
  return 0;
}

/* Whether so many bytes more are within what may be stored. */
static int pass_limits(struct upload *upload, size_t size, struct guise_error *err) {
  if (size > upload->limit - upload->bytes)
    return error_set(err, -EFBIG, "the upload is larger than %llu bytes: split it, or raise upload_max_bytes",
                     (unsigned long long)upload->limit);
  if (upload->bytes + size <= upload->counted) /* no other thread writes this upload's */
    return 0;
  return count_bytes(upload, upload->bytes + size - upload->counted, err);
}

int service_upload_write(struct upload *upload, const void *data, size_t size, struct guise_error *err) {
  if (upload->closed)
    return error_set(err, -EINVAL, "the upload is complete");
  int r = pass_limits(upload, size, err);
  if (r < 0)
    return r;
  crypto_hash_sha256_update(&upload->hash, data, size);
  for (const char *p = data; size > 0;) {
    ssize_t n = write(upload->fd, p, size);
    if (n < 0 && errno == EINTR)
      continue;
    if (n < 0) {
      r = write_error(errno);
      storage_note(upload->service, r);
      return error_set(err, r, "cannot store the upload: %s", strerror(-r));
    }
    p += n;
    size -= (size_t)n;
    upload->bytes += (uint64_t)n;
  }
  return 0;
}

void service_upload_digest(struct upload *upload, char ret_sha256[SHA256_HEX]) {
  if (!upload->closed) {
    unsigned char digest[crypto_hash_sha256_BYTES];
    crypto_hash_sha256_final(&upload->hash, digest);
    (void)sodium_bin2hex(upload->sha256, sizeof(upload->sha256), digest, sizeof(digest));
    upload->closed = true;
  }
  memcpy(ret_sha256, upload->sha256, SHA256_HEX);
}

struct upload *service_upload_free(struct upload *upload) {
  if (!upload)
    return NULL;
  unlist(upload);
  closep(&upload->fd);
  if (upload->path[0])
    (void)unlink(upload->path);
  free(upload);
  return NULL;
}

/* A second PUT of a name: fine when it is the same thing. */
static int compare_existing(struct service *service, const struct client *client, const char *name,
                            const struct dataset_row *wanted, struct dataset_row *ret_row,
                            struct guise_error *err) {
  struct dataset_row row;
  int r = find_own(service, client, name, &row, err);
  if (r < 0)
    return r;
  if (strcmp(row.upload_sha256, wanted->upload_sha256) != 0)
    return error_set(err, -EEXIST,
                     "a data set %s with other content exists: choose another name or delete it first", name);
  if (row.kind != wanted->kind)
    return error_set(err, -EEXIST,
                     "the data set %s exists and was uploaded as %s: choose another name or delete it first",
                     name, dataset_kind_name(row.kind));
  if (row.kind == DATASET_FACES && row.size != wanted->size)
    return error_set(
        err, -EEXIST,
        "the data set %s exists with images of %u pixels: choose another name or delete it first", name,
        row.size);
  *ret_row = row;
  return 0;
}

/* The upload gets its place under the id, durable. */
static int publish_upload(struct service *service, struct upload *upload, const char *id,
                          struct guise_error *err) {
  char path[PATH_MAX];
  if (state_path(path, service, "uploads/%s", id) < 0)
    return error_set(err, -ENAMETOOLONG, "the path of the state directory is too long");
  int r = file_publish(upload->path, path, err);
  if (r < 0) {
    (void)unlink(path); /* it may have got that far */
    storage_note(service, r);
    return r;
  }
  (void)snprintf(upload->path, sizeof(upload->path), "%s", path);
  return 0;
}

/* Then the row: a crash in between leaves a file that the sweep removes. */
static int accept_new(struct service *service, struct upload *upload, const struct dataset_row *row,
                      struct guise_error *err) {
  int r = publish_upload(service, upload, row->id, err);
  if (r < 0)
    return r;
  r = store_dataset_insert(service->store, row);
  if (r == -EUSERS)
    return refuse_quota(r, row->owner, err);
  if (r < 0)
    return error_set(err, r, "the data set could not be recorded: %s", strerror(-r));
  upload->path[0] = 0;
  settle(upload);
  return 0;
}

/* The same bytes once more, whose ingest failed: what failed it may have been put right since. Nothing when
 * another request was faster; -ENOENT when it was deleted meanwhile. */
static int accept_again(struct service *service, struct upload *upload, struct dataset_row *row,
                        struct guise_error *err) {
  char id[STORE_ID];
  memcpy(id, row->id, sizeof(id));
  (void)pthread_mutex_lock(&service->blob_lock); /* against the end of an ingest, and deletion */
  int r = store_dataset_get(service->store, id, row);
  const bool failed = r == 0 && row->state == DATASET_FAILED;
  if (failed)
    r = publish_upload(service, upload, id, err);
  if (r == 0 && failed) {
    r = store_dataset_again(service->store, id);
    if (r == 0)
      upload->path[0] = 0;
    else
      error_set(err, r, "the data set could not be recorded: %s", strerror(-r));
  }
  (void)pthread_mutex_unlock(&service->blob_lock);
  if (r < 0 || !failed)
    return r;
  settle(upload);
  log_info("data set %s: %llu bytes accepted again", id, (unsigned long long)upload->bytes);
  ingest_kick(service);
  row->state = DATASET_INGESTING;
  row->rejected = 0;
  row->error[0] = 0;
  return 0;
}

int service_dataset_accept(struct service *service, const struct client *client, const char *name,
                           struct upload *upload, enum dataset_kind kind, uint32_t size,
                           struct dataset_row *ret_row, bool *ret_created, struct guise_error *err) {
  struct dataset_row row = {
      .kind = kind, .size = size ? size : 112, .bytes = upload->bytes, .created_at = time_now_ms()};
  int r = check_name(name, err);
  if (r < 0)
    return r;
  if (row.size < 16 || row.size > 224 || row.size % 8)
    return error_set(err, -EINVAL, "size must be 16 to 224 pixels, a multiple of 8");
  service_upload_digest(upload, row.upload_sha256);
  r = compare_existing(service, client, name, &row, ret_row, err);
  if (r == 0 && ret_row->state == DATASET_FAILED)
    r = accept_again(service, upload, ret_row, err);
  if (r == 0)
    *ret_created = false;
  if (r != -ENOENT)
    return r;
  id_make("ds_", row.id);
  (void)snprintf(row.name, sizeof(row.name), "%s", name);
  (void)snprintf(row.owner, sizeof(row.owner), "%s", client->owner);
  r = accept_new(service, upload, &row, err);
  if (r == -EEXIST && (r = compare_existing(service, client, name, &row, ret_row, err)) ==
                          0) { /* another request was faster */
    *ret_created = false;
    return 0;
  }
  if (r < 0)
    return r;
  log_info("data set %s: %llu bytes accepted", row.id, (unsigned long long)row.bytes);
  ingest_kick(service);
  *ret_row = row;
  *ret_created = true;
  return 0;
}
