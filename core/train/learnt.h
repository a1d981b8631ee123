/* What a mask learns before the training: kept in the work directory and in every checkpoint, so that a job
 * that goes on neither learns it again nor gets another. */
#pragma once

#include "core/train/trainer.h"

/* One thing that is learnt: `count` numbers, the tensor `name` in checkpoints and in `file` (under the work
 * directory, in JOB_ANALYSIS_DIRECTORY). */
struct learnt {
  const char *name, *file;
  float *values; /* filled */
  uint64_t count;
  bool (*is_sound)(const float *values, uint64_t count);
  int (*train)(struct trainer *trainer, float *ret_values, struct guise_error *err);
};

/* Taken from the checkpoint that the job continues from, else from the file if it is this job's, else trained
 * and written there: the same numbers each way. -ECANCELED, -EINTR when asked to stop while training: then
 * what was trained is lost. */
int learnt_fetch(struct trainer *trainer, const struct job_inputs *inputs, const struct learnt *learnt,
                 struct guise_error *err);
