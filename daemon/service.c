/* The handle: opening with recovery, starting threads, stopping, configuration. See service.h. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <sodium.h>

#include "daemon/log.h"
#include "daemon/service_internal.h"

static void init_locks(struct service *service) {
  (void)pthread_rwlock_init(&service->config_lock, NULL);
  (void)pthread_mutex_init(&service->blob_lock, NULL);
  (void)pthread_mutex_init(&service->control_lock, NULL);
  (void)pthread_mutex_init(&service->erase_lock, NULL);
  pool_init(&service->pool);
  inference_init(&service->inference);
  (void)pthread_mutex_init(&service->uploads.lock, NULL);
  (void)pthread_mutex_init(&service->ingest.lock, NULL);
  condition_init(&service->ingest.changed);
  trials_init(&service->trials);
  shown_init(&service->shown);
  (void)pthread_mutex_init(&service->scheduler.lock, NULL);
  condition_init(&service->scheduler.changed);
  bus_init(&service->bus);
}

static void destroy_locks(struct service *service) {
  bus_done(&service->bus);
  (void)pthread_cond_destroy(&service->scheduler.changed);
  (void)pthread_mutex_destroy(&service->scheduler.lock);
  trials_done(&service->trials);
  shown_done(&service->shown);
  (void)pthread_cond_destroy(&service->ingest.changed);
  (void)pthread_mutex_destroy(&service->ingest.lock);
  (void)pthread_mutex_destroy(&service->uploads.lock);
  inference_done(&service->inference);
  pool_done(&service->pool);
  (void)pthread_mutex_destroy(&service->erase_lock);
  (void)pthread_mutex_destroy(&service->control_lock);
  (void)pthread_mutex_destroy(&service->blob_lock);
  (void)pthread_rwlock_destroy(&service->config_lock);
}

/* What nobody needs goes first: on a full disk that makes room for the rest. */
static int recover(struct service *service, struct guise_error *err) {
  uint32_t requeued = 0, failed = 0;
  int r = state_sweep(service, err);
  if (r < 0)
    return r;
  r = store_recover(service->store, &requeued, &failed);
  if (r < 0)
    return error_set(err, r, "jobs that were running cannot be recovered: %s", strerror(-r));
  if (requeued || failed)
    log_info("recovered: %u jobs queued again, %u given up", requeued, failed);
  r = state_sweep(service, err); /* of jobs that ended just now */
  return r < 0 ? r : state_verify(service, err);
}

int service_open(const struct config *config, struct service **ret_service, struct guise_error *err) {
  char path[PATH_MAX];
  if (sodium_init() < 0)
    return error_set(err, -EIO, "the system gives no random numbers");
  struct service *service = calloc(1, sizeof(*service));
  if (!service)
    return error_set(err, -ENOMEM, "out of memory");
  service->config = *config;
  service->lock_fd = -1;
  init_locks(service);
  (void)mapping_guard(); /* without it a file that cannot be read ends the daemon, not the job */
  int r = state_open(config->state, &service->lock_fd, err);
  if (r == 0 && (r = state_path(path, service, "guise.db")) < 0)
    error_set(err, r, "the path of the state directory is too long");
  if (r == 0)
    r = store_open(path, NULL, &service->store, err);
  if (r == 0)
    store_set_quota(service->store, config->owner_jobs, config->owner_bytes, config->owner_images);
  if (r == 0)
    r = recover(service, err);
  if (r < 0) {
    service_free(service);
    return r;
  }
  *ret_service = service;
  return 0;
}

/* On a thread of the pool. */
static void check_database(void *context) {
  struct service *service = context;
  int r;
  while ((r = store_check(service->store)) == -EINTR && !atomic_load(&service->draining))
    (void)usleep(100000);
  if (r == -EUCLEAN)
    log_error("%s", storage_reason(r));
  else if (r < 0 && r != -EINTR)
    log_warning("the database could not be checked: %s", strerror(-r));
}

int service_start(struct service *service, struct guise_error *err) {
  int r = pool_start(&service->pool, API_THREADS, API_WAITING, err);
  if (r == 0)
    r = inference_start(service, err);
  if (r == 0 && store_unchecked(service->store))
    r = service_run(service, check_database, service);
  if (r == 0)
    r = ingest_start(service, err);
  if (r == 0)
    r = scheduler_start(service, err);
  if (r == 0)
    atomic_store(&service->started, true);
  return r;
}

void service_drain(struct service *service) {
  atomic_store(&service->draining, true);
  if (service->store)
    store_check_stop(service->store);
}

void service_stop_jobs(struct service *service, uint32_t *ret_late) {
  struct config config;
  service_config_now(service, &config);
  int64_t deadline = clock_ns() + (int64_t)config.shutdown_timeout_s * 1000000000;
  service_drain(service);
  ingest_stop(service);
  scheduler_stop(service);
  uint32_t late = scheduler_wait(service, deadline);
  if (!ingest_wait(service, deadline))
    late++;
  *ret_late = late;
}

struct service *service_free(struct service *service) {
  if (!service)
    return NULL;
  service_drain(service);
  ingest_stop(service);
  scheduler_stop(service);
  scheduler_join(service);
  ingest_join(service);
  inference_stop(service);
  pool_stop(&service->pool);
  store_close(service->store);
  closep(&service->lock_fd);
  destroy_locks(service);
  free(service);
  return NULL;
}

struct store *service_store(struct service *service) {
  return service->store;
}
const struct config *service_config(const struct service *service) {
  return &service->config;
}

void service_config_now(struct service *service, struct config *ret_config) {
  (void)pthread_rwlock_rdlock(&service->config_lock);
  *ret_config = service->config;
  (void)pthread_rwlock_unlock(&service->config_lock);
}

static void log_change(void *context, const char *name, bool applied) {
  (void)context;
  if (applied)
    log_info("configuration: %s changed", name);
  else
    log_warning("configuration: %s changed; restart guised to apply it", name);
}

void service_reload(struct service *service, const struct config *fresh) {
  (void)pthread_rwlock_wrlock(&service->config_lock);
  config_reload(&service->config, fresh, log_change, NULL);
  log_set_level(log_level_from_name(service->config.log_level));
  log_set_format(log_format_from_name(service->config.log_format));
  store_set_quota(service->store, service->config.owner_jobs, service->config.owner_bytes,
                  service->config.owner_images);
  (void)pthread_rwlock_unlock(&service->config_lock);
}

int64_t service_logs_end(struct service *service) {
  struct config config;
  service_config_now(service, &config);
  return time_now_ms() - (int64_t)config.log_keep_days * 24 * 3600 * 1000;
}

const struct stats *service_stats(struct service *service) {
  return &service->stats;
}

bool service_ready(struct service *service) {
  return atomic_load(&service->started) && !atomic_load(&service->draining) && store_alive(service->store);
}

int service_run(struct service *service, void (*work)(void *context), void *context) {
  return pool_add(&service->pool, work, context);
}
