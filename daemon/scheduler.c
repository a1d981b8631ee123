/* The scheduler: one thread that claims queued jobs (priority, then age) and gives each a thread of its own,
 * as long as there is a free worker and the job's threads fit into the cores. The first job in line is never
 * overtaken by a smaller one, so that a large job does not starve. What a running job tells about itself
 * stays in its slot; status polls read it there. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "daemon/log.h"
#include "daemon/service_internal.h"

#define TICK_NS 1000000000LL
#define ALIVE_NS (30 * 1000000000LL)
#define PRUNE_NS (60 * 1000000000LL)

/* ---- slots ---- */

static struct slot *free_slot(struct scheduler *scheduler) {
  for (uint32_t i = 0; i < scheduler->slots; i++)
    if (!scheduler->slot[i].used)
      return &scheduler->slot[i];
  return NULL;
}

static struct slot *find_slot(struct scheduler *scheduler, const char *job) {
  for (uint32_t i = 0; i < scheduler->slots; i++)
    if (scheduler->slot[i].used && strcmp(scheduler->slot[i].row.id, job) == 0)
      return &scheduler->slot[i];
  return NULL;
}

static void release_slot(struct scheduler *scheduler, struct slot *slot) {
  scheduler->threads_used -= slot->threads;
  job_row_clear(&slot->row);
  slot->used = false;
}

/* Joins the threads of ended jobs; with the lock held, which is given up meanwhile. */
static void reap(struct scheduler *scheduler) {
  for (uint32_t i = 0; i < scheduler->slots; i++) {
    struct slot *slot = &scheduler->slot[i];
    if (!slot->used || !slot->done)
      continue;
    (void)pthread_mutex_unlock(&scheduler->lock);
    (void)pthread_join(slot->thread, NULL);
    (void)pthread_mutex_lock(&scheduler->lock);
    release_slot(scheduler, slot);
  }
}

/* ---- claiming ---- */

/* The newest checkpoint whose file is there: 0, or -ENOENT when there is none. Whatever else goes wrong must
 * not pass for none: the job would begin anew, and its metrics and files be thrown away. */
static int find_checkpoint(struct service *service, const char *job, struct checkpoint_row *ret_checkpoint) {
  _cleanup_(freep) struct checkpoint_row *rows = NULL;
  uint32_t count = 0;
  char path[PATH_MAX];
  int r = store_checkpoint_list(service->store, job, &rows, &count);
  for (uint32_t i = 0; i < count; i++) {
    r = state_path(path, service, "work/%s/%s", job, rows[i].file);
    if (r == 0 && access(path, R_OK) < 0)
      r = -errno;
    if (r == 0)
      *ret_checkpoint = rows[i];
    if (r != -ENOENT)
      return r;
  }
  return r < 0 ? r : -ENOENT;
}

uint32_t scheduler_threads(const struct service *service, const struct job_row *row) {
  return row->threads ? MIN(row->threads, (uint32_t)service->config.cores)
                      : (uint32_t)service->config.threads;
}

/* Fills a slot for `row` and takes it over. False when worker or threads are lacking; the row is then the
 * caller's. */
static bool reserve(struct service *service, struct job_row *row, struct slot **ret_slot) {
  struct scheduler *scheduler = &service->scheduler;
  uint32_t cores = (uint32_t)service->config.cores, threads = scheduler_threads(service, row);
  (void)pthread_mutex_lock(&scheduler->lock);
  struct slot *slot = free_slot(scheduler);
  /* a job that was paused and resumed this instant waits until its last thread has ended */
  bool fits = slot && !find_slot(scheduler, row->id) && scheduler->threads_used + threads <= cores;
  if (fits) {
    memset(slot, 0, sizeof(*slot));
    slot->service = service;
    slot->row = *row;
    slot->threads = threads;
    slot->live = row->progress;
    slot->used = true;
    (void)snprintf(slot->phase, sizeof(slot->phase), "%s", row->phase);
    scheduler->threads_used += threads;
  }
  (void)pthread_mutex_unlock(&scheduler->lock);
  *ret_slot = slot;
  return fits;
}

/* The claimed job goes back as one that the machine failed, or as a cancel or pause of this instant wants it.
 */
static void give_back(struct service *service, const struct slot *slot) {
  static const char problem[] =
      "{\"type\":\"" JOB_PROBLEM_TYPE "out_of_memory\",\"title\":\"The job failed\",\"status\":500,"
      "\"code\":\"out_of_memory\","
      "\"detail\":\"no thread could be started for the job: give guised more memory or tasks\"}";
  struct config config;
  int64_t seq;
  service_config_now(service, &config);
  int r = store_job_retry(service->store, slot->row.id, problem, (int64_t)config.retry_delay_s * 1000, NULL,
                          &seq);
  if (r < 0)
    log_error("%s: that it did not start cannot be recorded: %s; the next start of guised takes it up",
              slot->row.id, strerror(-r));
  else
    bus_emit(service, slot->row.id, seq);
}

static int start(struct service *service, struct slot *slot) {
  int64_t seq;
  int r = find_checkpoint(service, slot->row.id, &slot->checkpoint);
  slot->resumes = r == 0;
  if (r < 0 && r != -ENOENT)
    return r;
  r = store_job_claim(service->store, slot->row.id, slot->resumes ? &slot->checkpoint : NULL, &seq);
  if (r < 0)
    return r;
  bus_emit(service, slot->row.id, seq);
  if (!slot->row.started_at)
    stats_began(&service->stats, time_now_ms() - slot->row.created_at);
  slot->started_ns = slot->persisted_ns = clock_ns();
  r = -pthread_create(&slot->thread, NULL, runner_main, slot);
  if (r < 0)
    give_back(service, slot);
  return r;
}

/* True when a job was started. */
static bool claim(struct service *service) {
  struct scheduler *scheduler = &service->scheduler;
  struct job_row row;
  struct slot *slot;
  int r = store_job_next(service->store, &row);
  if (r < 0) {
    if (r != -ENOENT)
      log_warning("scheduler: cannot read the queue: %s", strerror(-r));
    return false;
  }
  if (!reserve(service, &row, &slot)) {
    job_row_clear(&row);
    return false;
  }
  r = start(service, slot);
  (void)pthread_mutex_lock(&scheduler->lock);
  slot->started = r == 0;
  if (r < 0)
    release_slot(scheduler, slot);
  (void)pthread_mutex_unlock(&scheduler->lock);
  if (r < 0 && r != -EBUSY) /* EBUSY: it was canceled or paused this instant */
    log_warning("scheduler: cannot start a job: %s", strerror(-r));
  return r == 0;
}

/* Once a minute. */
static void prune_logs(struct service *service, int64_t *pruned_ns) {
  if (*pruned_ns && clock_ns() - *pruned_ns < PRUNE_NS)
    return;
  *pruned_ns = clock_ns();
  int r = store_log_prune(service->store, service_logs_end(service));
  if (r < 0)
    log_warning("old logs of jobs cannot be removed: %s; it is tried again", strerror(-r));
}

static bool has_room(struct service *service) {
  return free_slot(&service->scheduler) && service->scheduler.threads_used < service->config.cores;
}

static void *scheduler_main(void *context) {
  struct service *service = context;
  struct scheduler *scheduler = &service->scheduler;
  int64_t probed = 0, pruned = 0, reserved = 0;
  (void)pthread_mutex_lock(&scheduler->lock);
  while (!atomic_load(&scheduler->stopping)) {
    atomic_store(&scheduler->heartbeat_ns, clock_ns());
    reap(scheduler);
    bool look = !atomic_load(&service->draining) && has_room(service) && service_storage(service) == 0;
    scheduler->kicked = false;
    (void)pthread_mutex_unlock(&scheduler->lock);
    bool claimed = look && claim(service);
    storage_tick(service, &probed);
    reserve_keep(service, &reserved);
    prune_logs(service, &pruned);
    (void)pthread_mutex_lock(&scheduler->lock);
    if (!claimed && !scheduler->kicked && !atomic_load(&scheduler->stopping))
      (void)condition_wait(&scheduler->changed, &scheduler->lock, clock_ns() + TICK_NS);
  }
  (void)pthread_mutex_unlock(&scheduler->lock);
  return NULL;
}

/* ---- start and stop ---- */

int scheduler_start(struct service *service, struct guise_error *err) {
  struct scheduler *scheduler = &service->scheduler;
  scheduler->slot = calloc(service->config.workers, sizeof(*scheduler->slot));
  if (!scheduler->slot)
    return error_set(err, -ENOMEM, "out of memory for %llu workers",
                     (unsigned long long)service->config.workers);
  scheduler->slots = (uint32_t)service->config.workers;
  atomic_store(&scheduler->heartbeat_ns, clock_ns());
  int r = pthread_create(&scheduler->thread, NULL, scheduler_main, service);
  if (r != 0)
    return error_set(err, -r, "cannot start a thread: %s", strerror(r));
  scheduler->running = true;
  return 0;
}

void scheduler_kick(struct service *service) {
  (void)pthread_mutex_lock(&service->scheduler.lock);
  service->scheduler.kicked = true;
  (void)pthread_cond_broadcast(&service->scheduler.changed);
  (void)pthread_mutex_unlock(&service->scheduler.lock);
}

void scheduler_stop(struct service *service) {
  atomic_store(&service->scheduler.stopping, true);
  scheduler_kick(service);
}

uint32_t scheduler_wait(struct service *service, int64_t deadline_ns) {
  struct scheduler *scheduler = &service->scheduler;
  uint32_t busy;
  (void)pthread_mutex_lock(&scheduler->lock);
  for (bool in_time = true;; in_time = condition_wait(&scheduler->changed, &scheduler->lock, deadline_ns)) {
    busy = 0;
    for (uint32_t i = 0; i < scheduler->slots; i++)
      busy += scheduler->slot[i].used && !scheduler->slot[i].done;
    if (busy == 0 || !in_time)
      break;
  }
  (void)pthread_mutex_unlock(&scheduler->lock);
  return busy;
}

void scheduler_join(struct service *service) {
  struct scheduler *scheduler = &service->scheduler;
  if (scheduler->running)
    (void)pthread_join(scheduler->thread, NULL);
  scheduler->running = false;
  for (uint32_t i = 0; i < scheduler->slots; i++) {
    struct slot *slot = &scheduler->slot[i];
    if (!slot->used)
      continue;
    if (slot->started)
      (void)pthread_join(slot->thread, NULL);
    job_row_clear(&slot->row);
  }
  free(scheduler->slot);
  scheduler->slot = NULL;
  scheduler->slots = 0;
}

/* ---- what others ask ---- */

double slot_runtime(const struct slot *slot) {
  return slot->row.runtime_s + (double)(clock_ns() - slot->started_ns) * 1e-9;
}

void scheduler_overlay(struct service *service, struct job_row *row) {
  struct scheduler *scheduler = &service->scheduler;
  (void)pthread_mutex_lock(&scheduler->lock);
  const struct slot *slot = job_state_terminal(row->state) ? NULL : find_slot(scheduler, row->id);
  if (slot && slot->started && !slot->done) {
    row->progress = slot->live;
    row->runtime_s = slot_runtime(slot);
    memcpy(row->phase, slot->phase, sizeof(row->phase));
  }
  (void)pthread_mutex_unlock(&scheduler->lock);
}

void scheduler_request(struct service *service, const char *job, enum slot_request request) {
  struct scheduler *scheduler = &service->scheduler;
  (void)pthread_mutex_lock(&scheduler->lock);
  struct slot *slot = find_slot(scheduler, job);
  if (slot && request == SLOT_CANCEL)
    atomic_store(&slot->cancel, true);
  else if (slot)
    atomic_store(&slot->pause, request == SLOT_PAUSE);
  (void)pthread_mutex_unlock(&scheduler->lock);
}

/* Threads of the running jobs that are expected to have ended in so many seconds. */
static uint32_t threads_ended(const struct scheduler *scheduler, double seconds) {
  uint32_t threads = 0;
  for (uint32_t i = 0; i < scheduler->slots; i++) {
    const struct slot *slot = &scheduler->slot[i];
    if (slot->used && slot->live.eta_s >= 0 && slot->live.eta_s <= seconds)
      threads += slot->threads;
  }
  return threads;
}

double scheduler_wait_s(struct service *service, uint32_t threads) {
  struct scheduler *scheduler = &service->scheduler;
  double soonest = -1;
  (void)pthread_mutex_lock(&scheduler->lock);
  const uint32_t unused = (uint32_t)service->config.cores - scheduler->threads_used;
  if (free_slot(scheduler) && threads <= unused)
    soonest = 0;
  for (uint32_t i = 0; i < scheduler->slots && soonest != 0; i++) {
    const struct slot *slot = &scheduler->slot[i];
    const double eta = slot->used ? slot->live.eta_s : -1;
    if (eta >= 0 && (soonest < 0 || eta < soonest) && threads <= unused + threads_ended(scheduler, eta))
      soonest = eta;
  }
  (void)pthread_mutex_unlock(&scheduler->lock);
  return soonest;
}

void scheduler_room(struct service *service, const char *job, uint32_t *ret_workers, uint32_t *ret_threads,
                    bool *ret_job) {
  struct scheduler *scheduler = &service->scheduler;
  uint32_t workers = 0;
  (void)pthread_mutex_lock(&scheduler->lock);
  for (uint32_t i = 0; i < scheduler->slots; i++)
    workers += !scheduler->slot[i].used;
  *ret_workers = workers;
  *ret_threads = (uint32_t)service->config.cores - scheduler->threads_used;
  *ret_job = find_slot(scheduler, job) != NULL;
  (void)pthread_mutex_unlock(&scheduler->lock);
}

int service_jobs_running(struct service *service, struct running_job **ret_jobs, uint32_t *ret_count) {
  struct scheduler *scheduler = &service->scheduler;
  struct running_job *jobs = calloc(MAX(scheduler->slots, 1u), sizeof(*jobs));
  uint32_t count = 0;
  if (!jobs)
    return -ENOMEM;
  (void)pthread_mutex_lock(&scheduler->lock);
  for (uint32_t i = 0; i < scheduler->slots; i++) {
    const struct slot *slot = &scheduler->slot[i];
    if (!slot->used || !slot->started || slot->done)
      continue;
    memcpy(jobs[count].id, slot->row.id, sizeof(jobs[count].id));
    jobs[count++].progress = slot->live;
  }
  (void)pthread_mutex_unlock(&scheduler->lock);
  *ret_jobs = jobs;
  *ret_count = count;
  return 0;
}

bool service_alive(struct service *service) {
  bool beating = clock_ns() - atomic_load(&service->scheduler.heartbeat_ns) < ALIVE_NS;
  return beating && store_alive(service->store);
}
