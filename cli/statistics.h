/* What a study's report computes: means over seeds with t intervals, and a paired bootstrap over verification
 * pairs and seeds. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct estimate {
  uint32_t count;         /* values it is made of */
  double mean, low, high; /* 95 %; NAN where it cannot be said: low and high of a single value, all of none */
};

/* The two-sided 95 % quantile of Student's t with `freedom` >= 1 degrees of freedom: P(|t| <= result) = .95.
 */
double t_quantile(uint32_t freedom);

/* Mean of the values that are numbers (others are left out) and its 95 % interval: mean +- t s / sqrt(n), s
 * the sample deviation. */
struct estimate estimate_mean(const double *value, uint32_t count);
/* The same of a[i] - b[i] where both are numbers. NAN throughout when out of memory. */
struct estimate estimate_difference(const double *a, const double *b, uint32_t count);

/* Differences of two models' decisions under one seed. */
struct paired_decisions {
  const int8_t *difference; /* of each pair: right here minus right there, -1, 0 or 1 */
  uint32_t pairs;           /* > 0 */
};

/* Percentile bootstrap (Efron and Tibshirani, 1993) of the mean over seeds of the mean difference of
 * decisions: each draw takes seeds with replacement and pairs with replacement. `shared`: every seed has the
 * same list of pairs (all of one length), so that one draw of pairs serves all of its seeds; otherwise pairs
 * are drawn anew for each. Deterministic. count = seeds. */
struct estimate bootstrap_decisions(const struct paired_decisions *seed, uint32_t seeds, bool shared,
                                    uint32_t draws);
