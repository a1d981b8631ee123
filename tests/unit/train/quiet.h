/* Callbacks of a training that nobody watches: it never stops, and what it tells goes nowhere. */
#pragma once

#include "core/train/job.h"

static inline void quiet_phase(void *context, const char *phase) {
  (void)context;
  (void)phase;
}
static inline void quiet_progress(void *context, const struct job_progress *progress) {
  (void)context;
  (void)progress;
}
static inline void quiet_log(void *context, const char *level, const char *text) {
  (void)context;
  (void)level;
  (void)text;
}
static inline int quiet_checkpoint(void *context, const char *path, uint32_t epochs_done, uint64_t step,
                                   const struct metric_row *rows, uint32_t count) {
  (void)context;
  (void)path;
  (void)epochs_done;
  (void)step;
  (void)rows;
  (void)count;
  return 0;
}
static inline enum job_stop quiet_stop(void *context) {
  (void)context;
  return JOB_CONTINUE;
}
