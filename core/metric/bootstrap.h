/* Percentile bootstrap (Efron and Tibshirani, 1993), 95 %. Deterministic in the seed. */
#pragma once

#include <stdint.h>

struct interval {
  double mean, low, high; /* 95 % */
};

/* Clustered: whole persons are drawn with replacement, not single images, since a person's images resemble
 * one another. value[i] belongs to cluster[i] in 0..clusters-1 (every cluster non-empty). The mean is over
 * values. All three are NAN when count is 0; low and high are NAN when draws is 0 or memory ran out. */
struct interval bootstrap_mean(const double *value, const uint32_t *cluster, uint32_t count,
                               uint32_t clusters, uint32_t draws, uint64_t seed);

/* The same for `successes` ones among `count` zeros and ones, each a cluster of its own, without writing them
 * out. */
struct interval bootstrap_share(uint32_t successes, uint32_t count, uint32_t draws, uint64_t seed);

/* What redrawing people cannot show. Where none of n people was found, the bootstrap says "0 to 0"; the exact
 * interval (Clopper and Pearson, 1934) ends at 1 - .025^(1/n), .206 of 16 people, and where all were found it
 * begins at .025^(1/n). Where every rate is 0 or 1, the interval is widened to hold the exact one of as many
 * people found, unless it does already. rate: each person's own, of a share (0..1),
 * `people` of them; with any other rate among them the interval stays as it is, and so does a bound that is
 * NAN. */
void bootstrap_widen(const double *rate, uint32_t people, struct interval *interval);

/* Sets low and high from the figure's values in `draws` draws, which it sorts. Draws in which it does not
 * exist (not finite) are left out; without any other the bounds stay as they are. */
void bootstrap_interval(double *values, uint32_t draws, struct interval *interval);
