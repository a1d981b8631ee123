/* How often a job or an ingest was tried in vain, and when it is worth the next try. In memory alone: on a
 * disk that takes no writes nothing else could hold it; a start of the daemon tries everything anew. */
#include <stdio.h>
#include <string.h>

#include "daemon/service_internal.h"

struct trial {
  struct trial *next;
  char id[STORE_ID];
  uint32_t failures;
  int64_t wait_ns, until_ns; /* the next wait for room; not to be tried before */
  char reason[512];
};

void trials_init(struct trials *trials) {
  (void)pthread_mutex_init(&trials->lock, NULL);
}

void trials_done(struct trials *trials) {
  while (trials->first) {
    struct trial *trial = trials->first;
    trials->first = trial->next;
    free(trial);
  }
  (void)pthread_mutex_destroy(&trials->lock);
}

/* With the lock held. */
static struct trial **find(struct trials *trials, const char *id) {
  struct trial **at = &trials->first;
  while (*at && strcmp((*at)->id, id) != 0)
    at = &(*at)->next;
  return at;
}

static struct trial *find_or_add(struct trials *trials, const char *id) {
  struct trial **at = find(trials, id);
  if (!*at && (*at = calloc(1, sizeof(**at)))) {
    memcpy((*at)->id, id, strnlen(id, STORE_ID - 1));
    (*at)->wait_ns = STORAGE_RETRY_NS;
  }
  return *at;
}

int64_t trials_wait(struct trials *trials, const char *id) {
  int64_t wait = STORAGE_RETRY_NS;
  (void)pthread_mutex_lock(&trials->lock);
  struct trial *trial = find_or_add(trials, id);
  if (trial) {
    wait = trial->wait_ns;
    trial->until_ns = clock_ns() + wait;
    trial->wait_ns = MIN(2 * wait, STORAGE_RETRY_MOST_NS);
  }
  (void)pthread_mutex_unlock(&trials->lock);
  return wait;
}

bool trials_again(struct trials *trials, const char *id, int64_t delay_ns) {
  (void)pthread_mutex_lock(&trials->lock);
  struct trial *trial = find_or_add(trials, id);
  const bool again = trial && trial->failures < FAILURES_IN_A_ROW;
  if (again)
    trial->until_ns = clock_ns() + (delay_ns << (2 * trial->failures++));
  (void)pthread_mutex_unlock(&trials->lock);
  return again;
}

void trials_tell(struct trials *trials, const char *id, const char *reason) {
  (void)pthread_mutex_lock(&trials->lock);
  struct trial *trial = find_or_add(trials, id);
  if (trial)
    (void)snprintf(trial->reason, sizeof(trial->reason), "%s", reason);
  (void)pthread_mutex_unlock(&trials->lock);
}

void trials_reason(struct trials *trials, const char *id, char ret_reason[512]) {
  (void)pthread_mutex_lock(&trials->lock);
  const struct trial *trial = *find(trials, id);
  (void)snprintf(ret_reason, 512, "%s", trial ? trial->reason : "");
  (void)pthread_mutex_unlock(&trials->lock);
}

bool trials_due(struct trials *trials, const char *id) {
  (void)pthread_mutex_lock(&trials->lock);
  const struct trial *trial = *find(trials, id);
  const bool due = !trial || trial->until_ns <= clock_ns();
  (void)pthread_mutex_unlock(&trials->lock);
  return due;
}

void trials_forget(struct trials *trials, const char *id) {
  (void)pthread_mutex_lock(&trials->lock);
  struct trial **at = find(trials, id), *trial = *at;
  if (trial)
    *at = trial->next;
  (void)pthread_mutex_unlock(&trials->lock);
  free(trial);
}
