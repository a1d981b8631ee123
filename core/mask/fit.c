/* The constants of a mask: moments of each channel over the training images. */
#include <math.h>
#include <omp.h>

#include "core/base/memory.h"
#include "core/freq/dct.h"
#include "core/mask/methods.h"

#define FIT_IMAGES_MAX 8192u  /* evenly spaced; more change the constants by less than their own spread */
#define FIT_BLOCK 64u         /* images a partial sum: the same sums for any number of threads */
#define DEVIATION_FLOOR 1e-3f /* of constant channels, coefficient units */

struct partial {
  double sum[MASK_CHANNELS_MAX], square[MASK_CHANNELS_MAX];
  float least[MASK_CHANNELS_MAX], most[MASK_CHANNELS_MAX];
};

/* Both start at 0: a range that does not hold 0 is taken for one that does. */
static void widen(const float *values, size_t n, float *least, float *most) {
  for (size_t i = 0; i < n; i++) {
    *least = values[i] < *least ? values[i] : *least;
    *most = values[i] > *most ? values[i] : *most;
  }
}

static void add_image(const struct mask *mask, const uint8_t *rgb, uint32_t index, float *scratch,
                      struct partial *partial) {
  const size_t n = mask_cells(mask);
  float *coefficients = scratch + mask_pixels(mask), *raw = coefficients + DCT_CHANNELS * n;
  struct rng rng;
  rng_init(&rng, mask->options.seed, RNG_MASK, 1, index);
  mask_coefficients(mask, rgb, false, &rng, scratch, coefficients);
  mask_gather(mask, coefficients, raw);
  for (size_t c = 0; c < mask->constants.channels; c++) {
    double sum = 0, square = 0;
    for (size_t i = 0; i < n; i++) {
      double value = (double)raw[c * n + i];
      sum += value;
      square += value * value;
    }
    partial->sum[c] += sum;
    partial->square[c] += square;
    if (mask->row->measures_reach)
      widen(raw + c * n, n, &partial->least[c], &partial->most[c]);
  }
}

/* Mean and deviation of every channel. Where the channels are block-DCT coefficients, also the deviation of
 * the pixels that they alone give back: the transform is orthonormal, so the energy of the pixels is that of
 * the kept coefficients, and their mean comes from DC alone. */
static void set_moments(struct mask *mask, const struct partial *total, double values) {
  struct mask_constants *k = &mask->constants;
  double energy = 0, mean_pixel = 0, per_plane = values * DCT_COEFFICIENTS;
  for (uint32_t c = 0; c < k->channels; c++) {
    double mean = total->sum[c] / values, variance = total->square[c] / values - mean * mean;
    k->mean[c] = (float)mean;
    k->deviation[c] = fmaxf((float)sqrt(fmax(variance, 0)), DEVIATION_FLOOR);
    k->reach[c] = 0;
    if (mask->row->measures_reach)
      k->reach[c] = fmaxf(total->most[c] - k->mean[c], k->mean[c] - total->least[c]) / k->deviation[c];
    energy += total->square[c];
    if (k->channel[c] % DCT_COEFFICIENTS == 0)
      mean_pixel += total->sum[c] * DCT_BLOCK / (3 * per_plane);
  }
  if (mask_inverts_to_pixels(mask))
    k->pixel_scale = (float)fmax(sqrt(fmax(energy / (3 * per_plane) - mean_pixel * mean_pixel, 0)),
                                 (double)DEVIATION_FLOOR);
}

int mask_fit(struct mask *mask, const uint8_t *(*image)(void *context, uint32_t i), void *context,
             uint32_t count, struct guise_error *err) {
  if (count == 0)
    return error_set(err, -EINVAL, "a mask's constants need at least one image");
  if (mask_learns(&mask->options) && mask->constants.learnt_count == 0)
    return error_set(err, -EINVAL, "this mask must learn before it is fitted");
  if (mask_weight_count(&mask->options) > 0 && !mask->weights)
    return error_set(err, -EINVAL, "this mask's weights must be learnt before it is fitted");
  uint32_t used = MIN(count, FIT_IMAGES_MAX), blocks = (used + FIT_BLOCK - 1) / FIT_BLOCK;
  struct partial *partials = tensor_alloc(sizeof(*partials) * blocks), *total = tensor_alloc(sizeof(*total));
  float *scratch = tensor_alloc(sizeof(float) * mask_scratch(mask) * (size_t)omp_get_max_threads());
  int r = partials && total && scratch ? 0 : error_set(err, -ENOMEM, "out of memory fitting a mask");
  if (r == 0) {
#pragma omp parallel for schedule(dynamic)
    for (uint32_t b = 0; b < blocks; b++)
      for (uint32_t i = b * FIT_BLOCK; i < MIN((b + 1) * FIT_BLOCK, used); i++)
        add_image(mask, image(context, (uint32_t)((uint64_t)i * count / used)), i,
                  scratch + (size_t)omp_get_thread_num() * mask_scratch(mask), &partials[b]);
    for (uint32_t b = 0; b < blocks; b++)
      for (size_t c = 0; c < mask->constants.channels; c++) {
        total->sum[c] += partials[b].sum[c];
        total->square[c] += partials[b].square[c];
        total->least[c] = fminf(total->least[c], partials[b].least[c]);
        total->most[c] = fmaxf(total->most[c], partials[b].most[c]);
      }
    set_moments(mask, total, (double)used * (double)mask_cells(mask));
    mask_place_constants(mask);
  }
  tensor_free(partials);
  tensor_free(total);
  tensor_free(scratch);
  return r;
}
