/* Quantiles of sorted numbers. */
#pragma once

#include <stdint.h>

/* For qsort. */
static inline int quantile_order(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

/* Linear interpolation between order statistics (the default of numpy.quantile). */
static inline double quantile(const double *sorted, uint32_t count, double q) {
  double position = q * (double)(count - 1);
  uint32_t below = (uint32_t)position;
  if (below + 1 >= count)
    return sorted[count - 1];
  return sorted[below] + (position - (double)below) * (sorted[below + 1] - sorted[below]);
}
