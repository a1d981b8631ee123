#include "core/train/dual.h"

#include <math.h>

#include "core/base/base.h"

#define RATE 0.01
#define AVERAGE 0.1 /* weight of the newest value */
#define TAU_LEAST 0.05
#define TAU_MOST 3.0

void dual_start(struct dual *dual) {
  *dual = (struct dual){.tau = DUAL_TAU_START};
}

static void average(double *value, double now, bool first) {
  *value = first ? now : *value + AVERAGE * (now - *value);
}

void dual_step(struct dual *dual, double kl, double leak, bool priced) {
  average(&dual->kl, kl, dual->updates <= 0);
  average(&dual->leak, leak, dual->updates <= 0);
  dual->updates++;
  if (priced)
    dual->mu = MAX(0.0, dual->mu + RATE * (dual->kl - dual->tau));
}

void dual_epoch(struct dual *dual, double accuracy, double max_drop) {
  double tau = dual->tau * exp(0.5 * (accuracy - dual->reference_accuracy + max_drop) / max_drop);
  dual->tau = MIN(MAX(tau, TAU_LEAST), TAU_MOST);
}
