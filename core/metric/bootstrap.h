/* Percentile bootstrap, clustered: whole persons are drawn with replacement, not single images. */
#pragma once

#include <stdint.h>

struct interval {
  double mean, low, high; /* 95 % */
};

/* value[i] belongs to cluster[i] in 0..clusters-1 (every cluster non-empty). The mean is over values. */
struct interval bootstrap_mean(const double *value, const uint32_t *cluster, uint32_t count, uint32_t clusters,
                               uint32_t draws, uint64_t seed);
