#include "daemon/networks.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "daemon/backup_internal.h"
#include "daemon/log.h"

/* The faces are its owner's: nobody else's job finds the network, whatever faces it has. */
static void own_key(const struct networks *networks, const char *key, char ret_key[SHA256_HEX]) {
  char text[STORE_NAME + SHA256_HEX + 2];
  const int length = snprintf(text, sizeof(text), "%s\n%s", networks->slot->row.owner, key);
  sha256_data(text, (size_t)length, ret_key);
}

/* ---- taking ---- */

/* It is trained again, and kept anew. One that was erased or gave way to others since it was found is no
 * damage. */
static void forget(struct service *service, const char *own, const char *sha256, bool missing) {
  char blob[1][SHA256_HEX], now[SHA256_HEX], path[PATH_MAX];
  memcpy(blob[0], sha256, SHA256_HEX);
  service_blob_path(service, sha256, path);
  (void)pthread_mutex_lock(&service->blob_lock);
  if (store_network_get(service->store, own, now) == 0 && strcmp(now, sha256) == 0 &&
      !(missing && access(path, F_OK) == 0) /* it was kept again */) {
    log_warning("a network that was kept for later jobs is damaged or missing: it is trained again");
    if (store_network_remove(service->store, sha256) == 0)
      blob_remove(service, blob, 1);
  }
  (void)pthread_mutex_unlock(&service->blob_lock);
}

static int take(struct service *service, const char *own, const char *sha256, const char *path) {
  char blob[PATH_MAX], temp[PATH_MAX], found[SHA256_HEX];
  struct guise_error err;
  uint64_t bytes;
  service_blob_path(service, sha256, blob);
  if (snprintf(temp, sizeof(temp), "%s.taken", path) >= (int)sizeof(temp))
    return -ENAMETOOLONG;
  (void)unlink(temp);
  int r = copy_file(blob, temp, found, &bytes, &err);
  if (r < 0 && access(blob, F_OK) == 0)
    return r; /* the disk is full, or the like */
  if (r < 0 || strcmp(found, sha256) != 0) {
    (void)unlink(temp);
    forget(service, own, sha256, r < 0);
    return -ENOENT;
  }
  if (rename(temp, path) == 0)
    return 0;
  r = -errno;
  (void)unlink(temp);
  return r;
}

static int on_fetch(void *context, const char *key, const char *path) {
  const struct networks *networks = context;
  struct service *service = networks->service;
  char own[SHA256_HEX], sha256[SHA256_HEX];
  own_key(networks, key, own);
  int r = store_network_get(service->store, own, sha256);
  if (r == 0)
    r = take(service, own, sha256, path);
  if (r == 0)
    (void)store_network_used(service->store, own, time_now_ms());
  return r;
}

/* ---- keeping ---- */

static int publish(struct service *service, const char *temp, const struct network_row *row,
                   struct guise_error *err) {
  _cleanup_(freep) char(*blobs)[SHA256_HEX] = NULL;
  char own[1][SHA256_HEX];
  uint32_t count = 0;
  memcpy(own[0], row->sha256, SHA256_HEX);
  (void)pthread_mutex_lock(&service->blob_lock);
  int r = blob_publish(service, temp, row->sha256, err);
  if (r == 0) {
    r = store_network_put(service->store, row, NETWORKS_BYTES, &blobs, &count);
    blob_remove(service, blobs, count);
  }
  if (r < 0)
    blob_remove(service, own, 1); /* published, perhaps but for the sync of its folder */
  (void)pthread_mutex_unlock(&service->blob_lock);
  return r;
}

/* Beside one of the same size the disk must have room for what matters more. */
static bool has_room(struct service *service, const char *path) {
  struct stat st;
  return stat(path, &st) == 0 && reserve_fits(service, (uint64_t)st.st_size);
}

static const char *source(unsigned sources, enum cache_source which, const char *id) {
  return sources & which ? id : NULL;
}

static const char *public_source(const struct networks *networks, unsigned sources) {
  return sources & CACHE_MASK_PUBLIC ? networks->mask.dataset
                                     : source(sources, CACHE_PUBLIC, networks->audit.dataset);
}

static void on_keep(void *context, const char *key, const char *path, unsigned sources) {
  const struct networks *networks = context;
  struct service *service = networks->service;
  struct network_row row = {.dataset = source(sources, CACHE_PEOPLE, networks->dataset),
                            .public_dataset = public_source(networks, sources),
                            .model = source(sources, CACHE_MODEL, networks->model),
                            .used_at = time_now_ms()};
  struct guise_error err;
  char temp[PATH_MAX];
  const bool nameless = (row.dataset && !*row.dataset) || (row.public_dataset && !*row.public_dataset) ||
                        (row.model && !*row.model); /* nothing could be erased with it */
  if (nameless || atomic_load(&networks->slot->watch.failed) /* it learnt from zeros */ ||
      state_path(temp, service, "uploads/network-%s", networks->slot->row.id) < 0)
    return;
  own_key(networks, key, row.key);
  (void)unlink(temp);
  if (!has_room(service, path)) {
    log_debug("%s: a network is not kept for later jobs: there is little room on the disk",
              networks->slot->row.id);
    return;
  }
  int r = copy_file(path, temp, row.sha256, &row.bytes, &err);
  if (r == 0)
    r = publish(service, temp, &row, &err);
  (void)unlink(temp); /* when it did not become a blob */
  if (r < 0)
    log_debug("%s: a network is not kept for later jobs: %s", networks->slot->row.id, strerror(-r));
}

/* ---- giving way ---- */

bool networks_give(struct service *service, int r, json_t **files) {
  _cleanup_(freep) char(*blobs)[SHA256_HEX] = NULL;
  uint64_t bytes = 0;
  uint32_t count = 0;
  if (!lacks_room(r) || store_network_bytes(service->store, &bytes) < 0 || bytes == 0)
    return false;
  (void)pthread_mutex_lock(&service->blob_lock);
  r = store_network_clear(service->store, &blobs, &count);
  if (r == 0 && files)
    *files = blob_erase(service, blobs, count, *files);
  else if (r == 0)
    blob_remove(service, blobs, count);
  (void)pthread_mutex_unlock(&service->blob_lock);
  if (r < 0 || count == 0)
    return false;
  log_info("the disk is full: %u networks that were kept for later jobs made room", count);
  return true;
}

/* ---- beginning ---- */

/* The data set that the job names there, as it is now; its hash, NULL = none. */
static const char *find_public(struct service *service, const char *job, const char *pointer,
                               struct public_faces *ret_faces) {
  struct job_input input;
  struct dataset_row row;
  if (store_job_input(service->store, job, pointer, &input) < 0 ||
      store_dataset_get(service->store, input.dataset_id, &row) < 0)
    return NULL;
  memcpy(ret_faces->dataset, row.id, sizeof(ret_faces->dataset));
  memcpy(ret_faces->sha256, row.sha256, sizeof(ret_faces->sha256));
  return ret_faces->sha256;
}

void networks_begin(struct service *service, struct slot *slot, const char *dataset, const char *model,
                    struct networks *networks, struct job_inputs *inputs) {
  *networks = (struct networks){.service = service, .slot = slot, .cache = {networks, on_fetch, on_keep}};
  (void)snprintf(networks->dataset, sizeof(networks->dataset), "%s", dataset);
  (void)snprintf(networks->model, sizeof(networks->model), "%s", model);
  inputs->audit_public_sha256 = find_public(service, slot->row.id, "/audit/public_dataset", &networks->audit);
  inputs->public_sha256 = find_public(service, slot->row.id, "/mask/public_dataset", &networks->mask);
  inputs->cache = &networks->cache;
}
