/* Embeddings of single faces: one thread beside the jobs' own, with a bounded queue before it and the models
 * it used last in memory. Images are decoded in `guise-decode`, a process for each image, so that a file that
 * takes over the decoder sees nobody else's face. Inference uses one core whatever the jobs do. */
#include <stdio.h>
#include <string.h>

#include "core/image/ingest.h"
#include "core/mask/key.h"
#include "core/model/model.h"
#include "daemon/service_internal.h"

struct loaded {
  struct loaded *next; /* most recently used first */
  char sha256[SHA256_HEX];
  struct model *model;
  size_t bytes;
};

/* ---- the models in memory; with the lock held ---- */

static void drop(struct inference *inference, struct loaded **at) {
  struct loaded *entry = *at;
  *at = entry->next;
  inference->bytes -= entry->bytes;
  inference->models--;
  (void)model_free(entry->model);
  free(entry);
}

/* Drops what was used longest ago until the bound holds or `keep` models are left. */
static void shrink(struct inference *inference, uint64_t most, uint32_t keep) {
  while (inference->bytes > most && inference->models > keep) {
    struct loaded **last = &inference->first;
    while ((*last)->next)
      last = &(*last)->next;
    drop(inference, last);
  }
}

static struct loaded *find(struct inference *inference, const char *sha256) {
  for (struct loaded **at = &inference->first; *at; at = &(*at)->next)
    if (strcmp((*at)->sha256, sha256) == 0) {
      struct loaded *entry = *at;
      *at = entry->next;
      entry->next = inference->first;
      inference->first = entry;
      return entry;
    }
  return NULL;
}

static int load_model(struct service *service, const char *sha256, const char *key_sha256,
                      struct model **ret_model, struct guise_error *err) {
  char path[PATH_MAX];
  struct mask_key key;
  if (key_sha256) {
    service_blob_path(service, key_sha256, path);
    int r = mask_key_read(path, &key, err);
    if (r < 0)
      return r;
  }
  service_blob_path(service, sha256, path);
  int r = model_load_keyed(path, key_sha256 ? &key : NULL, 1, 1, ret_model, err);
  mask_key_erase(&key);
  return r;
}

static int load(struct service *service, const char *sha256, const char *key, struct loaded **ret_entry,
                struct guise_error *err) {
  struct inference *inference = &service->inference;
  struct loaded *entry = calloc(1, sizeof(*entry));
  if (!entry)
    return error_set(err, -ENOMEM, "out of memory loading the model");
  int r = load_model(service, sha256, key, &entry->model, err);
  if (r < 0) {
    free(entry);
    return error_set(err, r == -ENOENT || r == -ENOMEM ? r : -EIO,
                     r == -ENOENT ? "a file of the model is missing" : "the model cannot be loaded");
  }
  (void)snprintf(entry->sha256, sizeof(entry->sha256), "%s", sha256);
  entry->bytes = graph_arena_bytes(entry->model->graph);
  entry->next = inference->first;
  inference->first = entry;
  inference->bytes += entry->bytes;
  inference->models++;
  inference->loads++;
  *ret_entry = entry;
  return 0;
}

static uint64_t memory_bound(struct service *service) {
  struct config config;
  service_config_now(service, &config);
  return config.inference_memory_bytes;
}

/* ---- embedding ---- */

static int embed_one(struct service *service, struct model *model, const struct service_image *image,
                     float *ret_embedding, struct guise_error *err) {
  const uint32_t input = model->info.input;
  const uint8_t *decoded = image->data;
  if (image->decoded && image->bytes != (size_t)3 * input * input)
    return error_set(err, -EINVAL, "the model takes images of %u x %u pixels", input, input);
  if (image->decoded)
    return model_embed(model, &decoded, 1, false, ret_embedding, err);
  _cleanup_(freep) uint8_t *rgb = malloc((size_t)3 * input * input);
  if (!rgb)
    return error_set(err, -ENOMEM, "out of memory for an image");
  int r = decode_image(service->config.decoder, image->data, image->bytes, input, rgb, err);
  if (r == -EBADMSG)
    atomic_fetch_add(&service->stats.inference_refused, 1);
  return r < 0 ? r : model_embed(model, (const uint8_t *const[]){rgb}, 1, false, ret_embedding, err);
}

static int embed_all(struct service *service, struct model *model, const struct service_image *images,
                     uint32_t count, float **ret_embeddings, uint32_t *ret_dimension, uint32_t *ret_bad,
                     struct guise_error *err) {
  const uint32_t dimension = model->info.embedding;
  _cleanup_(freep) float *embeddings = calloc((size_t)count * dimension, sizeof(float));
  if (!embeddings)
    return error_set(err, -ENOMEM, "out of memory for embeddings");
  for (uint32_t i = 0; i < count; i++) {
    *ret_bad = i;
    int r = embed_one(service, model, &images[i], embeddings + (size_t)i * dimension, err);
    if (r < 0)
      return r;
  }
  *ret_embeddings = TAKE(embeddings);
  *ret_dimension = dimension;
  return 0;
}

int service_embed(struct service *service, const char *sha256, const char *key,
                  const struct service_image *images, uint32_t count, float **ret_embeddings,
                  uint32_t *ret_dimension, uint32_t *ret_bad, struct guise_error *err) {
  struct inference *inference = &service->inference;
  int r = 0;
  (void)pthread_mutex_lock(&inference->lock);
  const uint64_t most = memory_bound(service);
  struct loaded *entry = find(inference, sha256);
  if (!entry)
    r = load(service, sha256, key, &entry, err);
  if (r == 0) {
    shrink(inference, most, 1); /* the first is the one in use */
    r = embed_all(service, entry->model, images, count, ret_embeddings, ret_dimension, ret_bad, err);
    shrink(inference, most, 0);
  }
  (void)pthread_mutex_unlock(&inference->lock);
  return r;
}

int service_infer(struct service *service, void (*work)(void *context), void *context) {
  return pool_add(&service->inference.pool, work, context);
}

bool service_infer_room(struct service *service) {
  struct pool *pool = &service->inference.pool;
  (void)pthread_mutex_lock(&pool->lock);
  const bool room = pool->waiting < pool->most_waiting;
  (void)pthread_mutex_unlock(&pool->lock);
  return room;
}

void inference_forget(struct service *service, const char *sha256) {
  struct inference *inference = &service->inference;
  (void)pthread_mutex_lock(&inference->lock);
  if (find(inference, sha256))
    drop(inference, &inference->first);
  (void)pthread_mutex_unlock(&inference->lock);
}

/* ---- start and stop ---- */

void inference_init(struct inference *inference) {
  (void)pthread_mutex_init(&inference->lock, NULL);
  pool_init(&inference->pool);
}

int inference_start(struct service *service, struct guise_error *err) {
  return pool_start(&service->inference.pool, 1, (uint32_t)service->config.inference_queue, err);
}

void inference_stop(struct service *service) {
  pool_stop(&service->inference.pool);
  shrink(&service->inference, 0, 0);
}

void inference_done(struct inference *inference) {
  pool_done(&inference->pool);
  (void)pthread_mutex_destroy(&inference->lock);
}
