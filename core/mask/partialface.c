/* PartialFace (Mi et al., ICCV 2023): the ten coefficients of each colour that hold most of the looks are
 * pruned; the other 54 fall into 6 disjoint subsets of 9, and a template shows one subset, its 27 channels in
 * the order of one of 3 fixed permutations. Both are drawn for each image: 18 layouts.
 *
 * Subsets and permutations come from the seed and are part of the mask, so that whoever knows the mask must
 * only find which of the 18 a template has:
 *
 * - Up-sampled, a block's coefficients come from 3x3 pixels that it shares with its neighbours, and 9
 *   channels say more than the pixels can: the layout is the one whose channels fit pixels best, by least
 *   squares over a patch in the middle of the picture. Exact, so a wrong layout stands out.
 * - Native blocks share nothing and every layout fits exactly. Right pictures are smoother across the borders
 *   of blocks than inside them, compared with wrong ones; a guess, which the high frequencies support little.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/freq/upsampled.h"
#include "core/mask/methods.h"

enum {
  SUBSETS = 6,
  SUBSET = 9,
  KEPT = SUBSETS * SUBSET, /* of each colour */
  PERMUTATIONS = 3,
  CHANNELS = 3 * SUBSET,
  LAYOUTS = SUBSETS * PERMUTATIONS,
  PATCH = 6,          /* blocks of a side */
  AROUND = PATCH + 2, /* source pixels of a side that they see */
  UNKNOWN = AROUND * AROUND,
};

static const uint8_t pruned[] = {0, 1, 2, 3, 8, 9, 10, 16, 17, 24}; /* u * 8 + v */

/* Least squares on the patch, one subset. */
struct fit {
  uint32_t first;                 /* row and column of the patch's first block */
  float row[DCT_BLOCK][PATCH][3]; /* 1-d: coefficient u of block first + i from pixels first + i - 1 .. + 1 */
  double factor[SUBSETS][UNKNOWN * UNKNOWN]; /* Cholesky's L of the normal equations */
};

struct shares {
  uint32_t member[KEPT]; /* ranks among the kept of a colour; subset s: 9 s .. */
  uint32_t permutation[PERMUTATIONS][CHANNELS];
  struct fit *fit; /* NULL on the native transform */
};

static void layout(const struct mask *mask, uint32_t number, uint16_t *ret_index) {
  const struct shares *shares = mask->state;
  const uint32_t *member = shares->member + number / PERMUTATIONS * SUBSET;
  const uint32_t *permutation = shares->permutation[number % PERMUTATIONS];
  for (uint32_t i = 0; i < CHANNELS; i++)
    ret_index[i] = (uint16_t)(permutation[i] / SUBSET * KEPT + member[permutation[i] % SUBSET]);
}

/* ---- least squares on a patch ---- */

/* The 9 nonzero entries of the equation of coefficient `k` of block (i, j): entry (s, t) is of the unknown at
 * (i + s, j + t). */
static void equation(const struct fit *fit, uint32_t k, uint32_t i, uint32_t j, double ret_entry[3][3]) {
  for (int s = 0; s < 3; s++)
    for (int t = 0; t < 3; t++)
      ret_entry[s][t] = (double)fit->row[k / DCT_BLOCK][i][s] * (double)fit->row[k % DCT_BLOCK][j][t];
}

static uint32_t unknown_at(uint32_t i, uint32_t j, int nine) {
  return (i + (uint32_t)nine / 3) * AROUND + j + (uint32_t)nine % 3;
}

static void add_equation(const double entry[3][3], uint32_t i, uint32_t j, double *normal) {
  for (int a = 0; a < 9; a++)
    for (int b = 0; b < 9; b++)
      normal[unknown_at(i, j, a) * UNKNOWN + unknown_at(i, j, b)] +=
          entry[a / 3][a % 3] * entry[b / 3][b % 3];
}

/* In place, lower triangle. A little is added to the diagonal: some patterns of pixels are invisible to a
 * subset. */
static void factorise(double *matrix) {
  double trace = 0;
  for (size_t i = 0; i < UNKNOWN; i++)
    trace += matrix[i * UNKNOWN + i];
  for (size_t i = 0; i < UNKNOWN; i++)
    for (size_t j = 0; j <= i; j++) {
      double sum = matrix[i * UNKNOWN + j] + (i == j ? 1e-9 * trace / UNKNOWN : 0);
      for (size_t k = 0; k < j; k++)
        sum -= matrix[i * UNKNOWN + k] * matrix[j * UNKNOWN + k];
      matrix[i * UNKNOWN + j] = i == j ? sqrt(sum) : sum / matrix[j * UNKNOWN + j];
    }
}

static void prepare_fit(const struct mask *mask, const struct shares *shares, struct fit *fit) {
  const struct upsampled_dct *dct = mask_transform_upsampled(mask->transform);
  fit->first = (mask->grid - PATCH) / 2;
  for (uint32_t u = 0; u < DCT_BLOCK; u++)
    for (uint32_t i = 0; i < PATCH; i++)
      for (uint32_t t = 0; t < 3; t++)
        fit->row[u][i][t] = upsampled_dct_tap(dct, fit->first + i, u, t);
  for (uint32_t s = 0; s < SUBSETS; s++) {
    for (uint32_t r = 0; r < SUBSET; r++)
      for (uint32_t i = 0; i < PATCH; i++)
        for (uint32_t j = 0; j < PATCH; j++) {
          double entry[3][3];
          equation(fit, mask->constants.channel[shares->member[s * SUBSET + r]], i, j, entry);
          add_equation(entry, i, j, fit->factor[s]);
        }
    factorise(fit->factor[s]);
  }
}

/* Of `right` with the normal matrix N = L L': right' N^-1 right = |L^-1 right|^2. In place. */
static double explained(const double *factor, double *right) {
  double sum = 0;
  for (size_t i = 0; i < UNKNOWN; i++) {
    for (size_t k = 0; k < i; k++)
      right[i] -= factor[i * UNKNOWN + k] * right[k];
    right[i] /= factor[i * UNKNOWN + i];
    sum += right[i] * right[i];
  }
  return sum;
}

/* Share of the patch's energy that no pixels explain, were the template of this layout. */
static double misfit(const struct mask *mask, uint32_t number, const float *template_) {
  const struct shares *shares = mask->state;
  const struct mask_constants *constants = &mask->constants;
  const struct fit *fit = shares->fit;
  uint16_t index[CHANNELS];
  double right[3][UNKNOWN] = {{0}}, energy = 0, fitted = 0;
  layout(mask, number, index);
  for (uint32_t c = 0; c < CHANNELS; c++)
    for (uint32_t i = 0; i < PATCH; i++)
      for (uint32_t j = 0; j < PATCH; j++) {
        const size_t cell = (size_t)(fit->first + i) * mask->grid + fit->first + j;
        const double value =
            (double)template_[c * mask_cells(mask) + cell] * (double)constants->deviation[index[c]] +
            (double)constants->mean[index[c]];
        const uint32_t channel = constants->channel[index[c]];
        double entry[3][3];
        equation(fit, channel % DCT_COEFFICIENTS, i, j, entry);
        energy += value * value;
        for (int nine = 0; nine < 9; nine++)
          right[channel / DCT_COEFFICIENTS][unknown_at(i, j, nine)] += value * entry[nine / 3][nine % 3];
      }
  for (uint32_t c = 0; c < 3; c++)
    fitted += explained(fit->factor[number / PERMUTATIONS], right[c]);
  return energy > 0 ? 1 - fitted / energy : 0;
}

/* ---- smoothness across borders ---- */

/* Squared steps across the borders of blocks, as a share of those inside them. */
static double roughness(const struct mask *mask, uint32_t number, const float *template_, float *scratch) {
  float *coefficients = scratch + mask_pixels(mask);
  const size_t size = mask->options.size;
  double across[2] = {0, 0}; /* inside, at a border */
  mask_spread(mask, number, template_, false, NULL, coefficients);
  mask_transform_inverse(mask->transform, coefficients, scratch);
  for (size_t row = 0; row < 3 * size; row++)
    for (size_t x = 0; x < size; x++) {
      const float *at = scratch + row * size + x;
      const size_t y = row % size;
      if (x > 0)
        across[x % DCT_BLOCK == 0] += (double)((at[0] - at[-1]) * (at[0] - at[-1]));
      if (y > 0)
        across[y % DCT_BLOCK == 0] += (double)((at[0] - *(at - size)) * (at[0] - *(at - size)));
    }
  return across[0] > 0 ? across[1] / across[0] : 0;
}

static uint32_t find_layout(const struct mask *mask, const float *template_, float *scratch) {
  const struct shares *shares = mask->state;
  uint32_t best = 0;
  double least = INFINITY;
  for (uint32_t number = 0; number < LAYOUTS; number++) {
    const double value =
        shares->fit ? misfit(mask, number, template_) : roughness(mask, number, template_, scratch);
    if (value < least) {
      least = value;
      best = number;
    }
  }
  return best;
}

/* ---- construction ---- */

static void release(void *state) {
  struct shares *shares = state;
  if (shares)
    free(shares->fit);
  free(shares);
}

static int setup(struct mask *mask, struct guise_error *err) {
  struct shares *shares = calloc(1, sizeof(*shares));
  struct rng rng;
  mask->state = shares;
  if (shares && mask_transform_upsampled(mask->transform))
    shares->fit = calloc(1, sizeof(*shares->fit));
  if (!shares || (mask_transform_upsampled(mask->transform) && !shares->fit))
    return error_set(err, -ENOMEM, "out of memory making a mask");
  mask_keep(mask, pruned, ARRAY_SIZE(pruned), true);
  mask->channels = CHANNELS;
  mask->layouts = LAYOUTS;
  rng_init(&rng, mask->options.seed, RNG_MASK, 2, 0);
  rng_permutation(&rng, shares->member, KEPT);
  for (uint32_t p = 0; p < PERMUTATIONS; p++)
    rng_permutation(&rng, shares->permutation[p], CHANNELS);
  if (shares->fit)
    prepare_fit(mask, shares, shares->fit);
  return 0;
}

const struct mask_row mask_partialface = {
    .traits = {.name = "partialface",
               .summary =
                   "9 of 54 coefficients of each colour in a permuted order, both drawn for each image",
               .random = true,
               .own_channels = true},
    .setup = setup,
    .release = release,
    .layout = layout,
    .find_layout = find_layout};
