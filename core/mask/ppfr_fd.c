/* PPFR-FD (Wang et al., "Privacy-preserving face recognition in the frequency domain", AAAI 2022): of each
 * colour the 36 coefficients that the analysis network values most are kept, then their channels are
 * permuted, each is added to its neighbour and the sums are permuted again. Both permutations are drawn once,
 * from options.seed, and are public with the model: the scheme has no key.
 *
 *   s_j = x_p(j) + x_p(j+1 mod C),   t_i = s_q(i)
 *
 * Reconstructed: the neighbour of the last channel is the first. With an even C (the 108 of the default) the
 * sums then lose exactly one direction, the alternating sum of the permuted channels of a cell, and C - 1 of
 * C numbers are left; without the last sum it would be the same C - 1. With an odd C nothing is lost. */
#include <string.h>

#include "core/mask/methods.h"

struct order {
  uint16_t channel[MASK_CHANNELS_MAX]; /* p: place in the ring -> index into constants.channel */
  uint16_t place[MASK_CHANNELS_MAX];   /* q: template channel -> place whose sum it is */
};

static int setup(struct mask *mask, struct guise_error *err) {
  const uint32_t count = mask->constants.channels;
  uint32_t permutation[2][MASK_CHANNELS_MAX];
  struct order *order = calloc(1, sizeof(*order));
  if (!order)
    return error_set(err, -ENOMEM, "out of memory making a mask");
  for (uint32_t i = 0; i < 2; i++) {
    struct rng rng;
    rng_init(&rng, mask->options.seed, RNG_MASK, 0, i);
    rng_permutation(&rng, permutation[i], count);
  }
  for (uint32_t i = 0; i < count; i++) {
    order->channel[i] = (uint16_t)permutation[0][i];
    order->place[i] = (uint16_t)permutation[1][i];
  }
  mask->state = order;
  return 0;
}

/* The coefficients of a place of the ring, which is closed: count is place 0. */
static size_t coefficient_at(const struct mask *mask, uint32_t place) {
  const struct order *order = mask->state;
  return mask->constants.channel[order->channel[place % mask->constants.channels]];
}

static void gather(const struct mask *mask, const float *coefficients, float *ret_raw) {
  const struct order *order = mask->state;
  const size_t n = mask_cells(mask);
  for (uint32_t i = 0; i < mask->constants.channels; i++) {
    const float *a = coefficients + coefficient_at(mask, order->place[i]) * n,
                *b = coefficients + coefficient_at(mask, order->place[i] + 1u) * n;
    float *to = ret_raw + i * n;
    for (size_t k = 0; k < n; k++)
      to[k] = a[k] + b[k];
  }
}

static void scatter(const struct mask *mask, const float *raw, float *ret_coefficients) {
  const struct order *order = mask->state;
  const size_t n = mask_cells(mask);
  memset(ret_coefficients, 0, MASK_CHANNELS_MAX * n * sizeof(float));
  for (uint32_t i = 0; i < mask->constants.channels; i++) {
    const float *from = raw + i * n;
    float *a = ret_coefficients + coefficient_at(mask, order->place[i]) * n,
          *b = ret_coefficients + coefficient_at(mask, order->place[i] + 1u) * n;
    for (size_t k = 0; k < n; k++) {
      a[k] += from[k];
      b[k] += from[k];
    }
  }
}

static void gather_matrix(const struct mask *mask, float *ret_matrix) {
  const struct order *order = mask->state;
  memset(ret_matrix, 0, (size_t)mask->constants.channels * MASK_CHANNELS_MAX * sizeof(float));
  for (uint32_t i = 0; i < mask->constants.channels; i++)
    for (uint32_t next = 0; next < 2; next++)
      ret_matrix[i * MASK_CHANNELS_MAX + coefficient_at(mask, order->place[i] + next)] += 1;
}

/* Takes away what of x lies along (1, -1, 1, ...). */
static void remove_alternating(double *x, uint32_t count) {
  double along = 0;
  for (uint32_t j = 0; j < count; j++)
    along += j % 2 ? -x[j] : x[j];
  along /= count;
  for (uint32_t j = 0; j < count; j++)
    x[j] -= j % 2 ? -along : along;
}

/* The least-squares solution of least norm of x_j + x_(j+1) = s_j on the ring. An even ring's kernel and what
 * its sums cannot reach are the same line; an odd ring has a single solution. */
static void solve_ring(double *sums, uint32_t count, double *ret_x) {
  const bool even = count % 2 == 0;
  ret_x[0] = 0;
  if (even)
    remove_alternating(sums, count);
  else
    for (uint32_t j = 0; j < count; j++)
      ret_x[0] += (j % 2 ? -sums[j] : sums[j]) / 2;
  for (uint32_t j = 0; j + 1 < count; j++)
    ret_x[j + 1] = sums[j] - ret_x[j];
  if (even)
    remove_alternating(ret_x, count);
}

static void undo(const struct mask *mask, const float *raw, float *ret_coefficients) {
  const struct order *order = mask->state;
  const uint32_t count = mask->constants.channels;
  const size_t n = mask_cells(mask);
  double sums[MASK_CHANNELS_MAX], x[MASK_CHANNELS_MAX];
  memset(ret_coefficients, 0, MASK_CHANNELS_MAX * n * sizeof(float));
  for (size_t k = 0; k < n; k++) {
    for (uint32_t i = 0; i < count; i++)
      sums[order->place[i]] = (double)raw[i * n + k];
    solve_ring(sums, count, x);
    for (uint32_t j = 0; j < count; j++)
      ret_coefficients[coefficient_at(mask, j) * n + k] = (float)x[j];
  }
}

const struct mask_row mask_ppfr_fd = {
    .traits = {.name = "ppfr_fd",
               .summary = "learnt choice of coefficients, sums of neighbouring channels, permuted",
               .keyable = true,
               .selects = true,
               .default_select = MASK_SELECT_LEARNT,
               .default_drop_low = 28},
    .setup = setup,
    .release = free,
    .gather = gather,
    .scatter = scatter,
    .undo = undo,
    .gather_matrix = gather_matrix};
