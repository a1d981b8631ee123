/* How a job ends that did not succeed: failed, canceled, paused, queued again, or tried again later. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "core/base/json.h"
#include "daemon/log.h"
#include "daemon/runner_internal.h"

static char *problem_json(const char *code, const char *title, const char *detail) {
  json_t *problem = json_pack("{s:s+, s:s, s:i, s:s, s:s}", "type", JOB_PROBLEM_TYPE, code, "title", title,
                              "status", 500, "code", code, "detail", detail);
  char *text = problem ? json_print(problem, JSON_COMPACT) : NULL;
  json_decref(problem);
  return text;
}

static char *failure_problem(const struct slot *slot, int r, const struct guise_error *err) {
  char detail[160];
  if (atomic_load(&slot->timed_out)) {
    (void)snprintf(detail, sizeof(detail),
                   "The job ran longer than resources.max_runtime_s (%u s): raise it, or train fewer epochs.",
                   slot->row.max_runtime_s);
    return problem_json("max_runtime", "The job took too long", detail);
  }
  const char *code = r == -ENOMEM ? "out_of_memory" : "job_failed";
  return problem_json(code, "The job failed", err->text[0] ? err->text : strerror(-r));
}

#define BIT(state) (1u << JOB_STATE_##state)

/* Which move fits a result depends on what was asked for last. */
static int move_to_end(struct slot *slot, int r, const char *problem, int64_t *ret_seq) {
  const char *late = atomic_load(&slot->timed_out) ? "max_runtime_s exceeded" : "failed";
  const char *again = atomic_load(&slot->service->scheduler.stopping) ? "daemon stops" : "resumed";
  const struct job_move failed[] = {
      {BIT(CANCELING), JOB_STATE_CANCELED, "canceled", NULL},
      {BIT(RUNNING) | BIT(PAUSING), JOB_STATE_FAILED, late, problem},
  };
  const struct job_move suspended[] = {
      {BIT(CANCELING), JOB_STATE_CANCELED, "canceled", NULL},
      {BIT(PAUSING), JOB_STATE_PAUSED, "checkpoint written", NULL},
      {BIT(RUNNING), JOB_STATE_QUEUED, again, NULL},
  };
  const struct job_move *moves = r == -EINTR ? suspended : failed;
  uint32_t count = r == -EINTR ? ARRAY_SIZE(suspended) : ARRAY_SIZE(failed);
  return store_job_move_first(slot->service->store, slot->row.id, moves, count, NULL, ret_seq);
}

/* A disk that takes no writes does not end a job: runner_give_way. */
static bool machine_failed(const struct slot *slot, int r) {
  return !atomic_load(&slot->timed_out) && machine_lacks(r);
}

static int retry(struct slot *slot, const char *problem, bool *ret_retry, int64_t *ret_seq) {
  struct config config;
  service_config_now(slot->service, &config);
  return store_job_retry(slot->service->store, slot->row.id, problem, (int64_t)config.retry_delay_s * 1000,
                         ret_retry, ret_seq);
}

void runner_end(struct slot *slot, int r, const struct guise_error *err) {
  struct service *service = slot->service;
  _cleanup_(freep) char *text = failure_problem(slot, r, err);
  if (r != -EINTR && r != -ECANCELED) /* before the end, behind which nothing is said */
    runner_say(slot, "warning", "failed: %s", err->text[0] ? err->text : strerror(-r));
  const char *problem = text ? text : "{\"title\":\"The job failed\",\"detail\":\"out of memory\"}";
  int64_t seq = 0;
  bool again = false;
  int moved;
  for (;;) {
    (void)store_job_progress(service->store, slot->row.id, &slot->live, slot_runtime(slot));
    moved =
        machine_failed(slot, r) ? retry(slot, problem, &again, &seq) : move_to_end(slot, r, problem, &seq);
    if (moved >= 0 || (moved != -ENOSPC && moved != -EIO && moved != -ENOMEM))
      break;
    log_error("%s: its end cannot be recorded: %s; make room, it is tried again", slot->row.id,
              strerror(-moved));
    for (int i = 0; i < 50 && !atomic_load(&service->scheduler.stopping); i++)
      (void)usleep(100000);
    if (atomic_load(&service->scheduler.stopping))
      break;
  }
  if (moved < 0)
    log_error("%s: its end cannot be recorded: %s", slot->row.id, strerror(-moved));
  else if (r != -EINTR && r != -ECANCELED)
    log_warning("%s: failed%s: %s", slot->row.id, again ? ", is tried again" : "",
                strerror(-r)); /* err may name people: not for the journal */
  bus_emit(service, slot->row.id, seq);
}
