/* The bootstrap draws of one call are independent sequences of the counter-based generator, keyed by the
 * number of the draw, so that nothing depends on the order in which they are made. */
#include "core/metric/bootstrap.h"

#include <math.h>
#include <stdlib.h>

#include "core/base/base.h"
#include "core/base/philox.h"
#include "core/base/quantile.h"

#define ROUNDING 1e-9 /* of a rate that is a sum of parts */

void bootstrap_interval(double *values, uint32_t draws, struct interval *interval) {
  uint32_t finite = 0;
  for (uint32_t i = 0; i < draws; i++)
    if (isfinite(values[i]))
      values[finite++] = values[i];
  if (finite == 0)
    return;
  qsort(values, finite, sizeof(*values), quantile_order);
  interval->low = quantile(values, finite, 0.025);
  interval->high = quantile(values, finite, 0.975);
}

/* Probability of at most `found` of n when each is found with probability p, 0 < p < 1. */
static double at_most(uint32_t found, uint32_t n, double p) {
  double sum = 0;
  for (uint32_t k = 0; k <= found; k++)
    sum += exp(lgamma(n + 1.0) - lgamma(k + 1.0) - lgamma(n - k + 1.0) + k * log(p) + (n - k) * log1p(-p));
  return sum;
}

/* The p at which at most `found` of n has this probability, which falls as p grows. */
static double solve_at_most(uint32_t found, uint32_t n, double probability) {
  double low = 0, high = 1;
  for (int i = 0; i < 60; i++) {
    const double p = (low + high) / 2;
    if (at_most(found, n, p) > probability)
      low = p;
    else
      high = p;
  }
  return (low + high) / 2;
}

void bootstrap_widen(const double *rate, uint32_t people, struct interval *interval) {
  uint32_t found = 0;
  for (uint32_t i = 0; i < people; i++) {
    if (!(fabs(rate[i] - round(rate[i])) <= ROUNDING))
      return;
    found += rate[i] > 0.5;
  }
  if (people == 0)
    return;
  const double low = found == 0 ? 0 : solve_at_most(found - 1, people, 0.975),
               high = found == people ? 1 : solve_at_most(found, people, 0.025);
  if (interval->low > low)
    interval->low = low;
  if (interval->high < high)
    interval->high = high;
}

static double draw_clusters(const double *sum, const uint32_t *size, uint32_t clusters, uint32_t draw,
                            uint64_t seed) {
  struct rng rng;
  double total = 0;
  uint64_t members = 0;
  rng_init(&rng, seed, RNG_BOOTSTRAP, 0, draw);
  for (uint32_t c = 0; c < clusters; c++) {
    uint32_t picked = rng_below(&rng, clusters);
    total += sum[picked];
    members += size[picked];
  }
  return members ? total / (double)members : NAN;
}

struct interval bootstrap_mean(const double *value, const uint32_t *cluster, uint32_t count,
                               uint32_t clusters, uint32_t draws, uint64_t seed) {
  struct interval interval = {NAN, NAN, NAN};
  if (count == 0 || clusters == 0)
    return interval;
  double total = 0;
  for (uint32_t i = 0; i < count; i++)
    total += value[i];
  interval.mean = total / (double)count;

  _cleanup_(freep) double *sum = calloc(clusters, sizeof(*sum));
  _cleanup_(freep) uint32_t *size = calloc(clusters, sizeof(*size));
  _cleanup_(freep) double *means = calloc(MAX(draws, 1u), sizeof(*means));
  if (!sum || !size || !means || draws == 0)
    return interval;
  for (uint32_t i = 0; i < count; i++) {
    sum[cluster[i]] += value[i];
    size[cluster[i]]++;
  }
  for (uint32_t d = 0; d < draws; d++)
    means[d] = draw_clusters(sum, size, clusters, d, seed);
  bootstrap_interval(means, draws, &interval);
  return interval;
}

struct interval bootstrap_share(uint32_t successes, uint32_t count, uint32_t draws, uint64_t seed) {
  struct interval interval = {NAN, NAN, NAN};
  if (count == 0)
    return interval;
  interval.mean = (double)successes / (double)count;
  _cleanup_(freep) double *means = calloc(MAX(draws, 1u), sizeof(*means));
  if (!means || draws == 0)
    return interval;
#pragma omp parallel for schedule(static)
  for (uint32_t d = 0; d < draws; d++) {
    struct rng rng;
    uint32_t hits = 0;
    rng_init(&rng, seed, RNG_BOOTSTRAP, 1, d);
    for (uint32_t i = 0; i < count; i++)
      hits += rng_below(&rng, count) < successes;
    means[d] = (double)hits / (double)count;
  }
  bootstrap_interval(means, draws, &interval);
  return interval;
}
