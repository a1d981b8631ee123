/* Requests that wait for something to happen to a job. Lost wake-ups are prevented by `signaled`: it is
 * cleared before the database is read, so an event that commits after the reading is either read or has set
 * it. */
#include <string.h>

#include "api/server.h"

/* With the lock held. */
static void wake(struct waiter *waiter) {
  waiter->signaled = true;
  if (waiter->suspended) {
    waiter->suspended = false;
    MHD_resume_connection(waiter->connection);
  }
}

void waiter_add(struct http *http, struct waiter *waiter, struct MHD_Connection *connection,
                const char *job) {
  (void)pthread_mutex_lock(&http->lock);
  *waiter = (struct waiter){.connection = connection, .listed = true, .next = http->waiters};
  memcpy(waiter->job, job, strnlen(job, sizeof(waiter->job) - 1));
  if (waiter->next)
    waiter->next->previous = waiter;
  http->waiters = waiter;
  (void)pthread_mutex_unlock(&http->lock);
}

void waiter_remove(struct http *http, struct waiter *waiter) {
  (void)pthread_mutex_lock(&http->lock);
  if (waiter->listed) {
    if (waiter->previous)
      waiter->previous->next = waiter->next;
    else
      http->waiters = waiter->next;
    if (waiter->next)
      waiter->next->previous = waiter->previous;
    waiter->listed = false;
  }
  (void)pthread_mutex_unlock(&http->lock);
}

void waiter_arm(struct http *http, struct waiter *waiter) {
  (void)pthread_mutex_lock(&http->lock);
  waiter->signaled = false;
  (void)pthread_mutex_unlock(&http->lock);
}

bool waiter_suspend(struct http *http, struct waiter *waiter, int64_t wake_ns) {
  (void)pthread_mutex_lock(&http->lock);
  bool suspend = !waiter->signaled && !http->draining && !http->stopping;
  if (suspend) {
    waiter->suspended = true;
    waiter->wake_ns = wake_ns;
    MHD_suspend_connection(waiter->connection);
  }
  (void)pthread_mutex_unlock(&http->lock);
  return suspend;
}

void waiters_wake(struct http *http, const char *job) {
  (void)pthread_mutex_lock(&http->lock);
  for (struct waiter *w = http->waiters; w; w = w->next)
    if (!job || strcmp(w->job, job) == 0)
      wake(w);
  (void)pthread_mutex_unlock(&http->lock);
}

void waiters_expire(struct http *http, int64_t now_ns) {
  (void)pthread_mutex_lock(&http->lock);
  for (struct waiter *w = http->waiters; w; w = w->next)
    if (w->suspended && w->wake_ns <= now_ns)
      wake(w);
  (void)pthread_mutex_unlock(&http->lock);
}
