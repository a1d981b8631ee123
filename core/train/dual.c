#include "core/train/dual.h"

#include <math.h>

#include "core/base/base.h"

#define RATE 0.005
#define VIOLATION_MOST 2.0 /* of the bound, in one update */
#define PROPORTION 1.0
#define AVERAGE 0.1 /* weight of the newest value */
#define MU_MOST 5.0
#define TAU_LEAST 0.02
#define TAU_MOST 2.0
#define TAU_STEP 0.5 /* of its logarithm in an epoch */

void dual_start(struct dual *dual) {
  *dual = (struct dual){.tau = DUAL_TAU_START};
}

static void average(double *value, double now, bool first) {
  *value = first ? now : *value + AVERAGE * (now - *value);
}

double dual_missed(double kl, double entropy, double people) {
  return kl / MAX(log(people) - entropy, log(2));
}

void dual_step(struct dual *dual, double cost, double leak, bool priced) {
  average(&dual->cost, cost, dual->updates <= 0);
  average(&dual->leak, leak, dual->updates <= 0);
  dual->updates++;
  if (!priced)
    return;
  const double beyond = dual->cost - dual->tau;
  const double violation = MIN(MAX(beyond / dual->tau, -VIOLATION_MOST), VIOLATION_MOST);
  dual->nu = MIN(MAX(0.0, dual->nu + RATE * violation), MU_MOST);
  dual->mu = MIN(MAX(0.0, dual->nu + PROPORTION * beyond), MU_MOST);
}

double dual_reference_at(const struct dual *dual, double done) {
  const double behind = curve_at(dual->curve, 1) - curve_at(dual->curve, done);
  return dual->reference_accuracy - (isfinite(behind) ? behind : 0);
}

void dual_epoch(struct dual *dual, double accuracy, double done, double max_drop) {
  const double slack = (accuracy - dual_reference_at(dual, done) + max_drop) / max_drop;
  const double step = MIN(MAX(0.5 * slack, -TAU_STEP), TAU_STEP);
  dual->tau = MIN(MAX(dual->tau * exp(step), TAU_LEAST), TAU_MOST);
}
