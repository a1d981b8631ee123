#include "core/train/accountant.h"

#include <math.h>
#include <stdbool.h>
#include <stddef.h>

#include "core/base/base.h"
#include "core/base/log_add.h"

#define TERMS_LEAST (-30.0) /* logarithm of a term that no longer counts */
#define SIGMA_LEAST 1e-100  /* less has no square, and no sum ends */

/* log(e^a - e^b), a >= b but for rounding. */
static double log_subtract(double a, double b) {
  if (isinf(b) && b < 0)
    return a;
  return a > b ? a + log1p(-exp(b - a)) : -INFINITY;
}

/* Where erfc leaves double's range, the first terms of its asymptotic series. */
static double log_erfc(double x) {
  if (x < 25)
    return log(erfc(x));
  const double s = 1 / (x * x);
  return -x * x - log(x) - 0.5 * log(M_PI) + log1p(s * (-0.5 + s * (0.75 - s * 1.875)));
}

/* alpha over i, of any alpha: its logarithm and sign. */
static double log_binomial(double alpha, double i, bool *ret_negative) {
  int sign = 1, unused;
  const double below = lgamma_r(alpha - i + 1, &sign);
  *ret_negative = sign < 0;
  return lgamma_r(alpha + 1, &unused) - lgamma_r(i + 1, &unused) - below;
}

/* sum_k binomial(alpha, k) (1 - q)^(alpha - k) q^k e^((k^2 - k) / 2 sigma^2) */
static double log_a_integer(double q, double sigma, uint32_t alpha) {
  double sum = -INFINITY;
  for (uint32_t k = 0; k <= alpha; k++) {
    bool negative;
    const double i = k;
    sum = log_add(sum, log_binomial(alpha, i, &negative) + i * log(q) + (alpha - i) * log1p(-q) +
                           (i * i - i) / (2 * sigma * sigma));
  }
  return sum;
}

/* The integral is cut at z0, where both parts of the mixture are equal, and each half's binomial series taken
 * term by term (section 3.3). From i > alpha on, terms change their signs. */
static double log_a_fractional(double q, double sigma, double alpha) {
  const double z0 = sigma * sigma * log(1 / q - 1) + 0.5, width = sqrt(2) * sigma;
  double low = -INFINITY, high = -INFINITY;
  for (uint32_t k = 0;; k++) {
    bool negative;
    const double i = k, j = alpha - i, binomial = log_binomial(alpha, i, &negative);
    const double below = binomial + i * log(q) + j * log1p(-q) + (i * i - i) / (2 * sigma * sigma) +
                         log(0.5) + log_erfc((i - z0) / width);
    const double above = binomial + j * log(q) + i * log1p(-q) + (j * j - j) / (2 * sigma * sigma) +
                         log(0.5) + log_erfc((z0 - j) / width);
    low = negative ? log_subtract(low, below) : log_add(low, below);
    high = negative ? log_subtract(high, above) : log_add(high, above);
    if (i > alpha && fmax(below, above) < TERMS_LEAST)
      return log_add(low, high);
  }
}

double accountant_rdp(double q, double sigma, double alpha) {
  if (q <= 0)
    return 0;
  if (!(sigma >= SIGMA_LEAST))
    return INFINITY;
  if (q >= 1)
    return alpha / (2 * sigma * sigma);
  const double log_a =
      alpha == floor(alpha) ? log_a_integer(q, sigma, (uint32_t)alpha) : log_a_fractional(q, sigma, alpha);
  return fmax(log_a, 0) / (alpha - 1);
}

double accountant_epsilon(double q, double sigma, uint64_t steps, double delta, double *ret_order) {
  static const double large[] = {72, 80, 96, 128, 192, 256, 512, 1024};
  double best = INFINITY, best_order = 0;
  for (uint32_t i = 0; i < 153 + ARRAY_SIZE(large); i++) {
    /* 1.1 to 10.9 by tenths, 11 to 64, some large ones */
    const double alpha = i < 99 ? (11 + i) / 10.0 : i < 153 ? 11.0 + (i - 99) : large[i - 153];
    const double r = (double)steps * accountant_rdp(q, sigma, alpha);
    const double epsilon = fmax(r + log1p(-1 / alpha) - log(delta * alpha) / (alpha - 1), 0);
    if (epsilon < best) {
      best = epsilon;
      best_order = alpha;
    }
  }
  if (ret_order)
    *ret_order = best_order;
  return best;
}
