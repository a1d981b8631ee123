/* MinusFace (Mi et al., "Privacy-preserving face recognition using trainable feature subtraction", CVPR
 * 2024): a generator g learns to give the face back so that nothing of it is seen in the rest r = x - g(x),
 * while a recogniser learns to live on that rest; then the channels of r are shuffled, anew for each
 * template, and the recogniser is trained on the inverse transform of what is shuffled.
 *
 * Here on the native transform: g sees coefficients standardised by constants of its own, r is in coefficient
 * units, all 192 channels are shuffled together, as published. The weights (mask_set_weights) are mean and
 * deviation of the 192 channels, the mean magnitude of each channel of r, then g's (core/mask/unet.h).
 *
 * The best public inverse: channels of r have known magnitudes, which tells roughly which is which. */
#include <math.h>
#include <string.h>

#include "core/freq/dct.h"
#include "core/mask/methods.h"
#include "core/mask/minusface.h"
#include "core/mask/unet.h"

static int check(const struct mask_options *options, struct guise_error *err) {
  if (options->dct != MASK_DCT_NATIVE)
    return error_set(
        err, -EINVAL,
        "minusface works on the native transform alone: with a block for each pixel its generator "
        "would need gigabytes: set dct to \"native\"");
  return options->size % 16
             ? error_set(err, -EINVAL,
                         "minusface halves the grid of blocks: the input must be a multiple of "
                         "16 pixels, not %u",
                         options->size)
             : 0;
}

static size_t weights(const struct mask_options *options) {
  (void)options;
  return MINUSFACE_GENERATOR + unet_weights(0);
}

static int accept_weights(struct mask *mask, const float *values, struct guise_error *err) {
  struct unet *unet = NULL;
  for (uint32_t c = 0; c < DCT_CHANNELS; c++)
    if (!(values[MINUSFACE_DEVIATION + c] > 0) || !(values[MINUSFACE_MAGNITUDE + c] >= 0))
      return error_set(err, -EINVAL, "the constants of minusface's generator are damaged");
  if (unet_new(values + MINUSFACE_GENERATOR, 0, mask->grid, &unet) < 0)
    return error_set(err, -ENOMEM, "out of memory for minusface's generator");
  unet_free(mask->state);
  mask->state = unet;
  return 0;
}

static void release(void *state) {
  unet_free(state);
}

static size_t scratch_floats(const struct mask *mask) {
  return DCT_CHANNELS * mask_cells(mask) + unet_scratch(0, mask->grid);
}

/* coefficients := x - g(x) */
static void subtract(const struct mask *mask, float *coefficients, float *scratch) {
  const size_t n = mask_cells(mask);
  const float *mean = mask->weights + MINUSFACE_MEAN, *deviation = mask->weights + MINUSFACE_DEVIATION;
  float *x = scratch;
  for (size_t c = 0; c < DCT_CHANNELS; c++)
    for (size_t i = c * n; i < (c + 1) * n; i++)
      coefficients[i] = x[i] = (coefficients[i] - mean[c]) / deviation[c];
  unet_run(mask->state, x, scratch + DCT_CHANNELS * n, x);
  for (size_t c = 0; c < DCT_CHANNELS; c++)
    for (size_t i = c * n; i < (c + 1) * n; i++)
      coefficients[i] = deviation[c] * (coefficients[i] - x[i]);
}

void minusface_residue(const struct mask *mask, const uint8_t *rgb, float *scratch, float *ret_residue) {
  rgb_to_ycbcr(rgb, mask->options.size, false, scratch);
  mask_transform_forward(mask->transform, scratch, ret_residue);
  subtract(mask, ret_residue, scratch);
}

static void subtract_and_shuffle(const struct mask *mask, struct rng *rng, float *coefficients,
                                 float *scratch) {
  const size_t n = mask_cells(mask);
  uint32_t order[DCT_CHANNELS];
  subtract(mask, coefficients, scratch);
  rng_permutation(rng, order, DCT_CHANNELS);
  memcpy(scratch, coefficients, DCT_CHANNELS * n * sizeof(float));
  for (size_t c = 0; c < DCT_CHANNELS; c++)
    memcpy(coefficients + c * n, scratch + order[c] * n, n * sizeof(float));
}

/* Channels by rising magnitude; equal ones keep their order. */
static void rank(const float *magnitude, uint16_t ret_order[DCT_CHANNELS]) {
  for (uint32_t c = 0; c < DCT_CHANNELS; c++) {
    uint32_t at = c;
    for (; at > 0 && magnitude[ret_order[at - 1]] > magnitude[c]; at--)
      ret_order[at] = ret_order[at - 1];
    ret_order[at] = (uint16_t)c;
  }
}

static void invert(const struct mask *mask, const float *template_, float *scratch, float *ret_planar) {
  const size_t n = mask_cells(mask);
  float *residue = scratch + DCT_CHANNELS * n, magnitude[DCT_CHANNELS];
  uint16_t seen[DCT_CHANNELS], known[DCT_CHANNELS];
  mask_spread(mask, 0, template_, false, NULL, scratch);
  for (size_t c = 0; c < DCT_CHANNELS; c++) {
    magnitude[c] = 0;
    for (size_t i = c * n; i < (c + 1) * n; i++)
      magnitude[c] += fabsf(scratch[i]);
  }
  rank(magnitude, seen);
  rank(mask->weights + MINUSFACE_MAGNITUDE, known);
  for (uint32_t c = 0; c < DCT_CHANNELS; c++)
    memcpy(residue + known[c] * n, scratch + seen[c] * n, n * sizeof(float));
  mask_transform_inverse(mask->transform, residue, ret_planar);
}

static const struct mask_parameter parameters[] = {
    {"visible", "weight of what is seen in the rest, against recognition, while g is trained", 0, 1000, 5}};

const struct mask_row mask_minusface = {
    .traits = {.name = "minusface",
               .summary = "what a trained generator does not give back, channels shuffled",
               .random = true,
               .located = true,
               .own_channels = true,
               .weights = MASK_WEIGHTS_SUBTRACTION,
               .parameters = parameters,
               .parameter_count = ARRAY_SIZE(parameters)},
    .check = check,
    .weights = weights,
    .accept_weights = accept_weights,
    .release = release,
    .scratch = scratch_floats,
    .coefficients = subtract_and_shuffle,
    .invert = invert};
