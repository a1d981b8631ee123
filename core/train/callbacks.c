/* What a job asks its callbacks in the middle of things: apart from job.c, so that who trains steps does not
 * drag in whole jobs. */
#include "core/train/job.h"

int job_stop_code(const struct job_callbacks *callbacks) {
  switch (callbacks->should_stop(callbacks->context)) {
  case JOB_CONTINUE:
    return 0;
  case JOB_CANCEL:
    return -ECANCELED;
  case JOB_SUSPEND:
    break;
  }
  return -EINTR;
}

void job_kept(const struct job_callbacks *callbacks) {
  if (callbacks->kept)
    callbacks->kept(callbacks->context);
}
