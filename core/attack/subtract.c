/* Least squares on the decoys splits each mix into a part e_t outside their span and coefficients a_t in it:
 *
 *   e_t = lambda_t P z,   a_t = lambda_t b + w_t,   P z + sum_d b_d z_d = z.
 *
 * Outside the span nothing is hidden: P z is known up to scale, and so are all ratios r_t = lambda_t /
 * lambda_0 = |e_t| / |e_0|. Inside it, a_td / r_t = lambda_0 (b_d + w_td / lambda_t) differs between mixes by
 * the decoy alone, which is never negative: the least of them over t is lambda_0 b_d plus the least of T
 * draws, whose mean is known and small. The scale follows from lambda_t = 1 - sum_d w_td. */
#include "core/attack/subtract.h"

#include <math.h>
#include <string.h>

#define REFINEMENTS 4
#define DRAWS 400

static double dot(const float *a, const float *b, size_t n) {
  double sum = 0;
  for (size_t i = 0; i < n; i++)
    sum += (double)a[i] * (double)b[i];
  return sum;
}

/* Cholesky factor of the decoys' products, in place; a decoy that the others span gets a unit row and thus a
 * coefficient of nearly 0. */
static void factorise(uint32_t n, double matrix[DECOYS_MAX][DECOYS_MAX]) {
  for (uint32_t i = 0; i < n; i++)
    for (uint32_t j = 0; j <= i; j++) {
      double sum = matrix[i][j];
      for (uint32_t k = 0; k < j; k++)
        sum -= matrix[i][k] * matrix[j][k];
      if (i == j)
        matrix[i][i] = sqrt(sum > 1e-9 * matrix[i][i] ? sum : fmax(matrix[i][i], 1));
      else
        matrix[i][j] = sum / matrix[j][j];
    }
}

static void solve(uint32_t n, double factor[DECOYS_MAX][DECOYS_MAX], double *x) {
  for (uint32_t i = 0; i < n; i++) {
    for (uint32_t k = 0; k < i; k++)
      x[i] -= factor[i][k] * x[k];
    x[i] /= factor[i][i];
  }
  for (uint32_t i = n; i-- > 0;) {
    for (uint32_t k = i + 1; k < n; k++)
      x[i] -= factor[k][i] * x[k];
    x[i] /= factor[i][i];
  }
}

/* coefficient[t] := a_t, mixes := e_t. */
static void split(const struct decoys *decoys, float *mixes, double coefficient[][DECOYS_MAX]) {
  const uint32_t n = decoys->count;
  const size_t elements = decoys->elements;
  double factor[DECOYS_MAX][DECOYS_MAX];
  for (uint32_t i = 0; i < n; i++)
    for (uint32_t j = 0; j <= i; j++)
      factor[i][j] = dot(decoys->templates + i * elements, decoys->templates + j * elements, elements);
  factorise(n, factor);
  for (uint32_t t = 0; t < decoys->mixes; t++) {
    float *mix = mixes + t * elements;
    for (uint32_t d = 0; d < n; d++)
      coefficient[t][d] = dot(mix, decoys->templates + d * elements, elements);
    solve(n, factor, coefficient[t]);
    for (uint32_t d = 0; d < n; d++) {
      const float *decoy = decoys->templates + d * elements, share = (float)coefficient[t][d];
      for (size_t e = 0; e < elements; e++)
        mix[e] -= share * decoy[e];
    }
  }
}

/* The mean of min_t w_td / lambda_t over decoys and over draws like those of the mask, which are public. */
static double mean_least(const struct decoys *decoys) {
  double sum = 0;
  for (uint64_t draw = 0; draw < DRAWS; draw++) {
    double least[DECOYS_MAX];
    for (uint32_t d = 0; d < decoys->count; d++)
      least[d] = INFINITY;
    for (uint32_t t = 0; t < decoys->mixes; t++) {
      double weight[DECOYS_MAX] = {0};
      struct mix mix;
      decoys_draw(decoys, draw, false, t, &mix);
      for (uint32_t j = 1; j < mix.k; j++)
        weight[mix.member[j]] = (double)mix.lambda[j] / (double)mix.lambda[0];
      for (uint32_t d = 0; d < decoys->count; d++)
        least[d] = fmin(least[d], weight[d]);
    }
    for (uint32_t d = 0; d < decoys->count; d++)
      sum += least[d] / (DRAWS * decoys->count);
  }
  return sum;
}

double subtract_decoys(const struct decoys *decoys, float *mixes, float *ret_template) {
  const uint32_t n = decoys->count, count = decoys->mixes;
  const size_t elements = decoys->elements;
  double coefficient[DECOY_MIXES_MAX][DECOYS_MAX], ratio[DECOY_MIXES_MAX], least[DECOYS_MAX];
  const double drawn = mean_least(decoys);
  split(decoys, mixes, coefficient);
  const double first = sqrt(dot(mixes, mixes, elements));
  for (uint32_t t = 0; t < count; t++)
    ratio[t] = first > 0 ? sqrt(dot(mixes + t * elements, mixes + t * elements, elements)) / first
                         : (double)(t == 0);
  double lambda = (DECOY_LAMBDA_LEAST + DECOY_LAMBDA_MOST) / 2.0, own = 0;
  for (uint32_t d = 0; d < n; d++) {
    least[d] = INFINITY;
    for (uint32_t t = 0; t < count; t++)
      if (ratio[t] > 0)
        least[d] = fmin(least[d], coefficient[t][d] / ratio[t]);
  }
  /* lambda_0 = (1 - sum a_t) / r_t + sum of lambda_0 b, mean over t */
  for (int i = 0; i < REFINEMENTS; i++) {
    double sum = 0;
    own = 0;
    for (uint32_t d = 0; d < n; d++)
      own += least[d] - lambda * drawn;
    for (uint32_t t = 0; t < count; t++) {
      double shares = 0;
      for (uint32_t d = 0; d < n; d++)
        shares += coefficient[t][d];
      sum += ratio[t] > 0 ? (1 - shares) / ratio[t] : 0;
    }
    lambda = fmin(fmax(sum / count + own, (double)DECOY_LAMBDA_LEAST), (double)DECOY_LAMBDA_MOST);
  }
  for (size_t e = 0; e < elements; e++)
    ret_template[e] = (float)((double)mixes[e] / lambda);
  for (uint32_t d = 0; d < n; d++) {
    const float *decoy = decoys->templates + d * elements, share = (float)(least[d] / lambda - drawn);
    for (size_t e = 0; e < elements; e++)
      ret_template[e] += share * decoy[e];
  }
  return lambda;
}
