#include "cli/statistics.h"

#include <math.h>
#include <stdlib.h>

#include "core/base/base.h"
#include "core/base/philox.h"
#include "core/base/quantile.h"

/* P(|t| <= x) by the finite series of Abramowitz and Stegun, 26.7.3 and 26.7.4, with theta = atan(x /
 * sqrt(n)): odd n:  2/pi (theta + sin (cos + 2/3 cos^3 + ... + (2 4 .. (n-3)) / (3 5 .. (n-2)) cos^(n-2)))
 * even n: sin (1 + 1/2 cos^2 + ... + (1 3 .. (n-3)) / (2 4 .. (n-2)) cos^(n-2)) */
static double t_within(double x, uint32_t freedom) {
  double theta = atan(x / sqrt(freedom)), sine = sin(theta), cosine = cos(theta);
  bool odd = freedom % 2 == 1;
  double term = odd ? cosine : 1, sum = freedom == 1 ? 0 : term;
  for (uint32_t power = odd ? 3 : 2; power + 2 <= freedom; power += 2) {
    term *= cosine * cosine * (power - 1) / power;
    sum += term;
  }
  return odd ? 2 / M_PI * (theta + sine * sum) : sine * sum;
}

double t_quantile(uint32_t freedom) {
  double low = 0, high = 13; /* the largest, of one degree of freedom, is 12.7062 */
  for (int i = 0; i < 60; i++) {
    double middle = (low + high) / 2;
    *(t_within(middle, freedom) < 0.95 ? &low : &high) = middle;
  }
  return (low + high) / 2;
}

struct estimate estimate_mean(const double *value, uint32_t count) {
  struct estimate estimate = {0, NAN, NAN, NAN};
  double sum = 0, squares = 0;
  uint32_t n = 0;
  for (uint32_t i = 0; i < count; i++)
    if (isfinite(value[i])) {
      sum += value[i];
      n++;
    }
  estimate.count = n;
  if (n == 0)
    return estimate;
  estimate.mean = sum / n;
  if (n == 1)
    return estimate;
  for (uint32_t i = 0; i < count; i++)
    if (isfinite(value[i]))
      squares += (value[i] - estimate.mean) * (value[i] - estimate.mean);
  double half = t_quantile(n - 1) * sqrt(squares / (n - 1) / n);
  estimate.low = estimate.mean - half;
  estimate.high = estimate.mean + half;
  return estimate;
}

struct estimate estimate_difference(const double *a, const double *b, uint32_t count) {
  _cleanup_(freep) double *difference = malloc(sizeof(double) * MAX(count, 1u));
  if (!difference)
    return (struct estimate){0, NAN, NAN, NAN};
  for (uint32_t i = 0; i < count; i++)
    difference[i] = a[i] - b[i];
  return estimate_mean(difference, count);
}

/* ---- bootstrap ---- */

static double mean_decision(const struct paired_decisions *seed) {
  int64_t sum = 0;
  for (uint32_t i = 0; i < seed->pairs; i++)
    sum += seed->difference[i];
  return (double)sum / seed->pairs;
}

static double resample_apart(const struct paired_decisions *seed, uint32_t seeds, struct rng *rng) {
  double mean = 0;
  for (uint32_t s = 0; s < seeds; s++) {
    const struct paired_decisions *picked = &seed[rng_below(rng, seeds)];
    int64_t sum = 0;
    for (uint32_t i = 0; i < picked->pairs; i++)
      sum += picked->difference[rng_below(rng, picked->pairs)];
    mean += (double)sum / picked->pairs;
  }
  return mean / seeds;
}

/* times: scratch, one count a seed. */
static double resample_shared(const struct paired_decisions *seed, uint32_t seeds, struct rng *rng,
                              uint32_t *times) {
  int64_t sum = 0;
  for (uint32_t s = 0; s < seeds; s++)
    times[s] = 0;
  for (uint32_t s = 0; s < seeds; s++)
    times[rng_below(rng, seeds)]++;
  for (uint32_t i = 0; i < seed[0].pairs; i++) {
    uint32_t pair = rng_below(rng, seed[0].pairs);
    for (uint32_t s = 0; s < seeds; s++)
      sum += (int64_t)times[s] * seed[s].difference[pair];
  }
  return (double)sum / ((double)seeds * seed[0].pairs);
}

struct estimate bootstrap_decisions(const struct paired_decisions *seed, uint32_t seeds, bool shared,
                                    uint32_t draws) {
  struct estimate estimate = {seeds, NAN, NAN, NAN};
  if (seeds == 0)
    return estimate;
  estimate.mean = 0;
  for (uint32_t s = 0; s < seeds; s++)
    estimate.mean += mean_decision(&seed[s]) / seeds;
  _cleanup_(freep) double *mean = malloc(sizeof(double) * MAX(draws, 1u));
  _cleanup_(freep) uint32_t *times = malloc(sizeof(uint32_t) * seeds);
  if (!mean || !times || draws == 0)
    return estimate;
  for (uint32_t d = 0; d < draws; d++) {
    struct rng rng;
    rng_init(&rng, 1, RNG_BOOTSTRAP, 0, d);
    mean[d] = shared ? resample_shared(seed, seeds, &rng, times) : resample_apart(seed, seeds, &rng);
  }
  qsort(mean, draws, sizeof(*mean), quantile_order);
  estimate.low = quantile(mean, draws, 0.025);
  estimate.high = quantile(mean, draws, 0.975);
  return estimate;
}
