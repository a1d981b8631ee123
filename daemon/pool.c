#include <string.h>

#include "daemon/service_internal.h"

void condition_init(pthread_cond_t *condition) {
  pthread_condattr_t attributes;
  (void)pthread_condattr_init(&attributes);
  (void)pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
  (void)pthread_cond_init(condition, &attributes);
  (void)pthread_condattr_destroy(&attributes);
}

bool condition_wait(pthread_cond_t *condition, pthread_mutex_t *lock, int64_t deadline_ns) {
  struct timespec until = {.tv_sec = (time_t)(deadline_ns / 1000000000),
                           .tv_nsec = (long)(deadline_ns % 1000000000)};
  return pthread_cond_timedwait(condition, lock, &until) != ETIMEDOUT;
}

static void *pool_main(void *context) {
  struct pool *pool = context;
  (void)pthread_mutex_lock(&pool->lock);
  while (pool->first || !pool->stopping) {
    struct pool_work *work = pool->first;
    if (!work) {
      (void)pthread_cond_wait(&pool->changed, &pool->lock);
      continue;
    }
    pool->first = work->next;
    if (!pool->first)
      pool->last = NULL;
    pool->waiting--;
    (void)pthread_mutex_unlock(&pool->lock);
    work->work(work->context);
    free(work);
    (void)pthread_mutex_lock(&pool->lock);
  }
  (void)pthread_mutex_unlock(&pool->lock);
  return NULL;
}

void pool_init(struct pool *pool) {
  (void)pthread_mutex_init(&pool->lock, NULL);
  (void)pthread_cond_init(&pool->changed, NULL);
}

void pool_done(struct pool *pool) {
  (void)pthread_cond_destroy(&pool->changed);
  (void)pthread_mutex_destroy(&pool->lock);
}

int pool_start(struct pool *pool, uint32_t threads, uint32_t most_waiting, struct guise_error *err) {
  pool->most_waiting = most_waiting;
  for (; pool->threads < MIN(threads, POOL_THREADS_MAX); pool->threads++) {
    int r = pthread_create(&pool->thread[pool->threads], NULL, pool_main, pool);
    if (r != 0)
      return error_set(err, -r, "cannot start a thread: %s", strerror(r));
  }
  return 0;
}

int pool_add(struct pool *pool, void (*work)(void *context), void *context) {
  struct pool_work *entry = malloc(sizeof(*entry));
  int r = entry ? 0 : -ENOMEM;
  (void)pthread_mutex_lock(&pool->lock);
  if (r == 0 && (pool->stopping || pool->threads == 0))
    r = -ESHUTDOWN;
  else if (r == 0 && pool->waiting >= pool->most_waiting)
    r = -EAGAIN;
  if (r == 0) {
    *entry = (struct pool_work){.work = work, .context = context};
    if (pool->last)
      pool->last->next = entry;
    else
      pool->first = entry;
    pool->last = TAKE(entry);
    pool->waiting++;
    (void)pthread_cond_signal(&pool->changed);
  }
  (void)pthread_mutex_unlock(&pool->lock);
  free(entry);
  return r;
}

void pool_stop(struct pool *pool) {
  (void)pthread_mutex_lock(&pool->lock);
  pool->stopping = true;
  (void)pthread_cond_broadcast(&pool->changed);
  (void)pthread_mutex_unlock(&pool->lock);
  while (pool->threads > 0)
    (void)pthread_join(pool->thread[--pool->threads], NULL);
}
