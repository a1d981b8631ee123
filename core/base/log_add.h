/* Sums of numbers that are known by their logarithms. */
#pragma once

#include <math.h>

/* log(e^a + e^b); -INFINITY is the logarithm of nothing. */
static inline double log_add(double a, double b) {
  const double high = fmax(a, b), low = fmin(a, b);
  return isinf(low) ? high : high + log1p(exp(low - high));
}
