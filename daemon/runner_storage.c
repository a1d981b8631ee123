/* A job whose disk is full or fails waits, or gives its worker to others. */
#include <string.h>
#include <unistd.h>

#include "daemon/runner_internal.h"

int runner_wait_for_storage(struct slot *slot, int r, bool shortest) {
  struct service *service = slot->service;
  const int64_t until = shortest ? clock_ns() + trials_wait(&service->trials, slot->row.id) : 0;
  char phase[sizeof(slot->phase)];
  memcpy(phase, slot->phase, sizeof(phase)); /* this thread alone writes it */
  runner_phase(slot, STORE_PHASE_WAITS);
  runner_log(slot, "warning", storage_reason(r));
  for (int64_t now = clock_ns(); now < until || service_storage(service) < 0;) {
    const enum job_stop stop = runner_should_stop(slot);
    if (stop != JOB_CONTINUE)
      return stop == JOB_CANCEL ? -ECANCELED : -EINTR;
    (void)usleep(50000);
    int64_t passed = clock_ns() - now;
    now += passed;
    (void)pthread_mutex_lock(&service->scheduler.lock);
    slot->started_ns += passed;
    (void)pthread_mutex_unlock(&service->scheduler.lock);
  }
  runner_log(slot, "info",
             shortest ? "the state directory takes writes again: going on"
                      : "the state directory takes writes again: queued until the next try");
  if (shortest)
    runner_phase(slot, phase);
  return 0;
}

int runner_give_way(struct slot *slot, int r) {
  struct service *service = slot->service;
  int64_t seq = 0;
  if (slot->checkpoints > 0)
    trials_forget(&service->trials, slot->row.id);
  const int64_t delay_ns = trials_wait(&service->trials, slot->row.id);
  do {
    r = runner_wait_for_storage(slot, r, false);
    if (r < 0)
      return r;
    (void)store_job_progress(service->store, slot->row.id, &slot->live, slot_runtime(slot));
    r = store_job_wait(service->store, slot->row.id, delay_ns / 1000000, &seq);
  } while (storage_stops(service, r));
  if (r == 0)
    bus_emit(service, slot->row.id, seq);
  return r;
}
