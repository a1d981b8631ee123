/* What the core calls back from a job's thread: phase, progress, log, checkpoints, and whether to stop. */
#include <dirent.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/mask/key.h"
#include "daemon/log.h"
#include "daemon/runner_internal.h"

void runner_phase(void *context, const char *phase) {
  struct slot *slot = context;
  struct service *service = slot->service;
  int64_t seq = 0;
  (void)pthread_mutex_lock(&service->scheduler.lock);
  (void)snprintf(slot->phase, sizeof(slot->phase), "%s", phase);
  (void)pthread_mutex_unlock(&service->scheduler.lock);
  if (store_job_phase(service->store, slot->row.id, phase, &seq) == 0)
    bus_emit(service, slot->row.id, seq);
}

static void on_progress(void *context, const struct job_progress *progress) {
  struct slot *slot = context;
  struct service *service = slot->service;
  struct config config;
  int64_t now = clock_ns();
  (void)pthread_mutex_lock(&service->scheduler.lock);
  slot->live = *progress;
  (void)pthread_mutex_unlock(&service->scheduler.lock);
  service_config_now(service, &config);
  if (now - slot->persisted_ns < (int64_t)config.progress_interval_s * 1000000000)
    return;
  slot->persisted_ns = now;
  (void)store_job_progress(service->store, slot->row.id, progress,
                           slot_runtime(slot)); /* the next one tries again */
}

/* A line of the job's own log, which its owner reads. */
static void add_line(struct slot *slot, const char *level, const char *text) {
  json_t *data = json_pack("{s:s, s:s}", "level", level, "text", text);
  int64_t seq = 0;
  if (data && store_event_add(slot->service->store, slot->row.id, "log", data, &seq) == 0)
    bus_emit(slot->service, slot->row.id, seq);
  json_decref(data);
}

void runner_log(void *context, const char *level, const char *text) {
  struct slot *slot = context;
  if (strcmp(level, "warning") == 0)
    log_warning("%s: %s", slot->row.id, text);
  else
    log_debug("%s: %s", slot->row.id, text);
  add_line(slot, level, text);
}

void runner_say(struct slot *slot, const char *level, const char *format, ...) {
  char text[640];
  va_list args;
  va_start(args, format);
  (void)vsnprintf(text, sizeof(text), format, args);
  va_end(args);
  add_line(slot, level, text);
}

void runner_clean(const char *work, const char *keep) {
  char path[PATH_MAX];
  DIR *directory = opendir(work);
  struct dirent *entry;
  while (directory && (entry = readdir(directory))) {
    struct stat st;
    if ((keep && strcmp(entry->d_name, keep) == 0) || strcmp(entry->d_name, MASK_KEY_FILE) == 0 ||
        snprintf(path, sizeof(path), "%s/%s", work, entry->d_name) >= (int)sizeof(path))
      continue;
    if (lstat(path, &st) == 0 && !S_ISDIR(st.st_mode))
      (void)unlink(path);
  }
  if (directory)
    (void)closedir(directory);
}

static int on_checkpoint(void *context, const char *path, uint32_t epochs_done, uint64_t step,
                         const struct metric_row *rows, uint32_t count) {
  struct slot *slot = context;
  struct service *service = slot->service;
  struct checkpoint_row row = {.epochs = epochs_done, .step = step, .at = time_now_ms()};
  struct job_progress progress;
  char work[PATH_MAX];
  int64_t seq = 0;
  const char *slash = strrchr(path, '/');
  int r = state_path(work, service, "work/%s", slot->row.id);
  if (r == 0 && snprintf(row.file, sizeof(row.file), "%s", slash ? slash + 1 : path) >= (int)sizeof(row.file))
    r = -ENAMETOOLONG;
  if (r < 0)
    return r;
  if (atomic_load(&slot->watch.failed)) /* it learnt from zeros */
    return -EIO;
  (void)pthread_mutex_lock(&service->scheduler.lock);
  progress = slot->live;
  (void)pthread_mutex_unlock(&service->scheduler.lock);
  r = store_checkpoint_commit(service->store, slot->row.id, &row, rows, count, &progress, slot_runtime(slot),
                              &seq);
  if (r < 0)
    return r;
  bus_emit(service, slot->row.id, seq);
  slot->checkpoints++;
  runner_clean(work, row.file);
  return 0;
}

/* Where it cannot be recorded, the next one is. */
static void on_kept(void *context) {
  struct slot *slot = context;
  if (!atomic_load(&slot->watch.failed))
    (void)store_job_kept(slot->service->store, slot->row.id);
}

enum job_stop runner_should_stop(void *context) {
  struct slot *slot = context;
  if (slot->row.max_runtime_s && slot_runtime(slot) > slot->row.max_runtime_s)
    atomic_store(&slot->timed_out, true);
  if (atomic_load(&slot->cancel) || atomic_load(&slot->timed_out) || atomic_load(&slot->watch.failed))
    return JOB_CANCEL;
  return atomic_load(&slot->pause) || atomic_load(&slot->service->scheduler.stopping) ? JOB_SUSPEND
                                                                                      : JOB_CONTINUE;
}

struct job_callbacks runner_callbacks(struct slot *slot) {
  return (struct job_callbacks){slot,          runner_phase,       on_progress, runner_log,
                                on_checkpoint, runner_should_stop, on_kept};
}
