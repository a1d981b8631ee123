/* Models that attacks on weights compare the attacked one with, trained for them. For membership: a control
 * that knows its photographs by heart, and references that never saw them. For attacks that draw people: an
 * undefended control, and an evaluator that says whom a drawing shows. */
#pragma once

#include <limits.h>

#include "core/train/audit.h"

#define COMPARISON_REFERENCES 4u
#define EVALUATOR_IMAGES 4u

struct comparisons {
  struct job_data people; /* whom the controls were trained on: train and unseen; images at the pack's size */
  char overfitted[PATH_MAX], reference[COMPARISON_REFERENCES][PATH_MAX];
  const char *references[COMPARISON_REFERENCES]; /* the teacher, where there is one, then trained ones */
  uint32_t reference_count;
  char undefended[PATH_MAX], evaluator[PATH_MAX];
  char differs[320];     /* how the undefended one differs from the model under attack, a sentence; "": not */
  bool evaluator_unseen; /* it was trained on images that the model under attack was not trained on */
};

#define COMPARISON_CONTROL ARCH_FREQ_IR /* what the job trains where no control is named */

/* Who judges what is drawn out of both networks must be of another architecture than either, as its own kind
 * draws what it likes to see. */
static inline enum arch comparisons_evaluator(enum arch attacked, enum arch control) {
  static const enum arch judges[] = {ARCH_IRESNET18, ARCH_FREQ_IR, ARCH_MOBILEFACENET};
  uint32_t i = 0;
  while (judges[i] == attacked || judges[i] == control) /* two of three at most */
    i++;
  return judges[i];
}

/* Trains what `attack` needs and is missing in directories under the work directory, where a job that
 * continues finds it again, unless an earlier job has left it in the cache of inputs. References beside a
 * given teacher need the audit's public faces: none with quick effort, one with standard, three with
 * thorough. The evaluator learns from images that the model was not trained on where there are
 * EVALUATOR_IMAGES of each person on average, else from all. audit_check has been passed. 0; -ECANCELED;
 * -EINTR; another negative errno with err. */
int comparisons_new(const struct audit_subject *subject, const struct attack *attack,
                    struct comparisons **ret_comparisons, struct guise_error *err);
struct comparisons *comparisons_free(struct comparisons *comparisons);
