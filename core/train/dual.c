#include "core/train/dual.h"

#include <math.h>

#include "core/base/base.h"
#include "core/mask/mixing.h"

#define TRAVEL 6.0         /* of nu over all updates at most */
#define VIOLATION_MOST 2.0 /* of the bound, in one update */
#define PROPORTION 1.0
#define AVERAGE 0.1 /* weight of the newest value */
#define MU_MOST 5.0
#define TAU_LEAST 0.05
#define TAU_MOST 0.75
#define TAU_FALL 0.5 /* of its logarithm in an epoch, at most */
#define TAU_RISE 0.1

void dual_start(struct dual *dual, double updates) {
  *dual = (struct dual){.tau = DUAL_TAU_START, .rate = TRAVEL / VIOLATION_MOST / MAX(updates, 1.0)};
}

void dual_bind(struct dual *dual, double accuracy, double tar, double least, bool priced) {
  dual->known = 1;
  dual->reference_accuracy = accuracy;
  dual->reference_tar = tar;
  dual->tau = MAX(DUAL_TAU_BOUND, least);
  dual->mu = dual->nu = priced ? DUAL_MU_BOUND : 0;
}

static void average(double *value, double now, bool first) {
  *value = first ? now : *value + AVERAGE * (now - *value);
}

double dual_dilution(uint32_t k) {
  static const double mean[MIX_MAX + 1] = {0, 0, 0.485, 0.588, 0.657, 0.712, 0.754};
  return mean[MIN(k, (uint32_t)MIX_MAX)];
}

void dual_step(struct dual *dual, double cost, bool priced) {
  average(&dual->cost, cost, dual->updates <= 0);
  dual->updates++;
  if (!priced)
    return;
  const double beyond = dual->cost - dual->tau;
  const double violation = MIN(MAX(beyond / dual->tau, -VIOLATION_MOST), VIOLATION_MOST);
  dual->nu = MIN(MAX(0.0, dual->nu + dual->rate * violation), MU_MOST);
  dual->mu = MIN(MAX(0.0, dual->nu + PROPORTION * beyond), MU_MOST);
}

double dual_reference_at(const struct dual *dual, double done) {
  const double behind = curve_at(dual->curve, 1) - curve_at(dual->curve, done);
  return dual->reference_accuracy - (isfinite(behind) ? behind : 0);
}

void dual_epoch(struct dual *dual, double accuracy, double done, double max_drop) {
  const double slack = (accuracy - dual_reference_at(dual, done) + max_drop) / max_drop;
  const double step = MIN(MAX(0.5 * slack, -TAU_FALL), TAU_RISE);
  dual->tau = MIN(MAX(dual->tau * exp(step), TAU_LEAST), TAU_MOST);
}
