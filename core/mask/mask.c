#include "core/mask/mask.h"

#include <math.h>
#include <omp.h>
#include <string.h>

#include "core/base/memory.h"
#include "core/freq/dct.h"
#include "core/mask/methods.h"

#define FIT_IMAGES_MAX 8192u  /* evenly spaced; more change the constants by less than their own spread */
#define FIT_BLOCK 64u         /* images a partial sum: the same sums for any number of threads */
#define DEVIATION_FLOOR 1e-3f /* of constant channels, coefficient units */

static const struct mask_traits *const table[MASK_METHODS] = {
    [MASK_NONE] = &mask_none, [MASK_MIXUP] = &mask_mixup, [MASK_AHM] = &mask_ahm};

struct mask {
  enum mask_method method;
  uint32_t size, grid;
  struct block_dct *dct;
  struct mask_constants constants;
};

const struct mask_traits *mask_traits(enum mask_method method) {
  return table[method];
}

int mask_method_from_name(const char *name, enum mask_method *ret_method) {
  for (int i = 0; i < MASK_METHODS; i++)
    if (strcmp(table[i]->name, name) == 0) {
      *ret_method = (enum mask_method)i;
      return 0;
    }
  return -ENOENT;
}

int mask_new(enum mask_method method, uint32_t size, uint32_t drop_low, float clip, struct mask **ret_mask,
             struct guise_error *err) {
  bool dropped[DCT_COEFFICIENTS] = {false};
  if (drop_low > 60)
    return error_set(err, -EINVAL, "drop_low is %u; at most 60 of 64 coefficients may be dropped", drop_low);
  if (!isfinite(clip) || clip < 0)
    return error_set(err, -EINVAL, "clip must be 0 (none) or a number of deviations");
  struct mask *mask = calloc(1, sizeof(*mask));
  if (!mask)
    return error_set(err, -ENOMEM, "out of memory making a mask");
  mask->method = method;
  mask->size = size;
  mask->grid = size / DCT_BLOCK;
  int r = block_dct_new(size, &mask->dct, err);
  if (r < 0) {
    mask_free(mask);
    return r;
  }
  for (uint32_t rank = 0; rank < drop_low; rank++)
    dropped[zigzag8[rank]] = true;
  struct mask_constants *c = &mask->constants;
  for (uint32_t channel = 0; channel < DCT_CHANNELS; channel++) {
    if (dropped[channel % DCT_COEFFICIENTS])
      continue;
    c->channel[c->channels] = (uint16_t)channel;
    c->deviation[c->channels++] = 1;
  }
  c->clip = clip;
  c->pixel_scale = 1;
  *ret_mask = mask;
  return 0;
}

struct mask *mask_free(struct mask *mask) {
  if (mask) {
    block_dct_free(mask->dct);
    free(mask);
  }
  return NULL;
}

const struct mask_constants *mask_constants(const struct mask *mask) {
  return &mask->constants;
}
enum mask_method mask_method(const struct mask *mask) {
  return mask->method;
}
uint32_t mask_size(const struct mask *mask) {
  return mask->size;
}
uint32_t mask_grid(const struct mask *mask) {
  return mask->grid;
}
uint32_t mask_channels(const struct mask *mask) {
  return mask->constants.channels;
}

static size_t cells(const struct mask *mask) {
  return (size_t)mask->grid * mask->grid;
}
static size_t pixels(const struct mask *mask) {
  return (size_t)3 * mask->size * mask->size;
}

size_t mask_elements(const struct mask *mask) {
  return mask->constants.channels * cells(mask);
}
/* planar pixels, then all 192 coefficients (as many floats) */
size_t mask_scratch(const struct mask *mask) {
  return 2 * pixels(mask);
}

int mask_set_constants(struct mask *mask, const struct mask_constants *constants, struct guise_error *err) {
  if (constants->channels != mask->constants.channels || !isfinite(constants->clip) || constants->clip < 0 ||
      !isfinite(constants->pixel_scale) || constants->pixel_scale <= 0)
    return error_set(err, -EINVAL,
                     "the mask's constants are not those of this mask (%u channels, %u expected)",
                     constants->channels, mask->constants.channels);
  for (uint32_t c = 0; c < constants->channels; c++)
    if (constants->channel[c] >= DCT_CHANNELS ||
        (c > 0 && constants->channel[c] <= constants->channel[c - 1]) || !isfinite(constants->mean[c]) ||
        !isfinite(constants->deviation[c]) || constants->deviation[c] <= 0)
      return error_set(err, -EINVAL, "channel %u of the mask's constants is damaged", c);
  mask->constants = *constants;
  return 0;
}

/* ---- templates
 * ----------------------------------------------------------------------------------------------------------
 */

/* Comparisons that are one instruction each, unlike fminf and fmaxf with their care for NaN. */
static void standardise_and_clip(const float *restrict from, size_t n, float mean, float inverse, float clip,
                                 float *restrict to) {
  for (size_t i = 0; i < n; i++) {
    const float value = (from[i] - mean) * inverse;
    const float raised = value > -clip ? value : -clip;
    to[i] = raised < clip ? raised : clip;
  }
}

void mask_template(const struct mask *mask, const uint8_t *rgb, bool flip, float *scratch,
                   float *ret_template) {
  const struct mask_constants *k = &mask->constants;
  float *coefficients = scratch + pixels(mask);
  size_t n = cells(mask);
  rgb_to_ycbcr(rgb, mask->size, flip, scratch);
  block_dct_forward(mask->dct, scratch, coefficients);
  for (uint32_t c = 0; c < k->channels; c++) {
    const float *from = coefficients + k->channel[c] * n;
    float *to = ret_template + c * n, mean = k->mean[c], inverse = 1 / k->deviation[c];
    if (k->clip > 0)
      standardise_and_clip(from, n, mean, inverse, k->clip, to);
    else
      for (size_t i = 0; i < n; i++)
        to[i] = (from[i] - mean) * inverse;
  }
}

void mask_linear_forward(const struct mask *mask, const float *planar, float *scratch, float *ret_template) {
  const struct mask_constants *k = &mask->constants;
  size_t n = cells(mask);
  block_dct_forward(mask->dct, planar, scratch);
  for (uint32_t c = 0; c < k->channels; c++)
    for (size_t i = 0; i < n; i++)
      ret_template[c * n + i] = scratch[k->channel[c] * n + i] / k->deviation[c];
}

/* Spreads a template over the 192 coefficients as gain * value + offset, the rest 0, and goes back to pixels.
 */
static void expand(const struct mask *mask, const float *template_, bool transpose, float *scratch,
                   float *ret_planar) {
  const struct mask_constants *k = &mask->constants;
  size_t n = cells(mask);
  memset(scratch, 0, pixels(mask) * sizeof(float));
  for (uint32_t c = 0; c < k->channels; c++) {
    float gain = transpose ? 1 / k->deviation[c] : k->deviation[c], offset = transpose ? 0 : k->mean[c];
    for (size_t i = 0; i < n; i++)
      scratch[k->channel[c] * n + i] = gain * template_[c * n + i] + offset;
  }
  block_dct_inverse(mask->dct, scratch, ret_planar); /* orthonormal: the inverse is the transpose */
}

void mask_linear_adjoint(const struct mask *mask, const float *template_, float *scratch, float *ret_planar) {
  expand(mask, template_, true, scratch, ret_planar);
}

void mask_invert(const struct mask *mask, const float *template_, float *scratch, float *ret_planar) {
  expand(mask, template_, false, scratch, ret_planar);
}

/* ---- fitting
 * ------------------------------------------------------------------------------------------------------------
 */

struct partial {
  double sum[DCT_CHANNELS], square[DCT_CHANNELS];
};

static void add_image(const struct mask *mask, const uint8_t *rgb, float *scratch, struct partial *partial) {
  float *coefficients = scratch + pixels(mask);
  size_t n = cells(mask);
  rgb_to_ycbcr(rgb, mask->size, false, scratch);
  block_dct_forward(mask->dct, scratch, coefficients);
  for (size_t c = 0; c < DCT_CHANNELS; c++) {
    double sum = 0, square = 0;
    for (size_t i = 0; i < n; i++) {
      double value = (double)coefficients[c * n + i];
      sum += value;
      square += value * value;
    }
    partial->sum[c] += sum;
    partial->square[c] += square;
  }
}

/* Mean and deviation of every channel, and the deviation of the pixels that the kept channels alone give
 * back: the transform is orthonormal, so the energy of the pixels is that of the kept coefficients, and their
 * mean comes from DC alone. */
static void set_moments(struct mask *mask, const struct partial *total, double values) {
  struct mask_constants *k = &mask->constants;
  double energy = 0, mean_pixel = 0, per_plane = values * DCT_COEFFICIENTS;
  for (uint32_t c = 0; c < k->channels; c++) {
    size_t at = k->channel[c];
    double mean = total->sum[at] / values, variance = total->square[at] / values - mean * mean;
    k->mean[c] = (float)mean;
    k->deviation[c] = fmaxf((float)sqrt(fmax(variance, 0)), DEVIATION_FLOOR);
    energy += total->square[at];
    if (at % DCT_COEFFICIENTS == 0)
      mean_pixel += total->sum[at] * DCT_BLOCK / (3 * per_plane);
  }
  k->pixel_scale =
      (float)fmax(sqrt(fmax(energy / (3 * per_plane) - mean_pixel * mean_pixel, 0)), (double)DEVIATION_FLOOR);
}

int mask_fit(struct mask *mask, const uint8_t *(*image)(void *context, uint32_t i), void *context,
             uint32_t count, struct guise_error *err) {
  if (count == 0)
    return error_set(err, -EINVAL, "a mask's constants need at least one image");
  uint32_t used = MIN(count, FIT_IMAGES_MAX), blocks = (used + FIT_BLOCK - 1) / FIT_BLOCK;
  struct partial *partials = tensor_alloc(sizeof(*partials) * blocks), *total = tensor_alloc(sizeof(*total));
  float *scratch = tensor_alloc(sizeof(float) * mask_scratch(mask) * (size_t)omp_get_max_threads());
  int r = partials && total && scratch ? 0 : error_set(err, -ENOMEM, "out of memory fitting a mask");
  if (r == 0) {
#pragma omp parallel for schedule(dynamic)
    for (uint32_t b = 0; b < blocks; b++)
      for (uint32_t i = b * FIT_BLOCK; i < MIN((b + 1) * FIT_BLOCK, used); i++)
        add_image(mask, image(context, (uint32_t)((uint64_t)i * count / used)),
                  scratch + (size_t)omp_get_thread_num() * mask_scratch(mask), &partials[b]);
    for (uint32_t b = 0; b < blocks; b++)
      for (size_t c = 0; c < DCT_CHANNELS; c++) {
        total->sum[c] += partials[b].sum[c];
        total->square[c] += partials[b].square[c];
      }
    set_moments(mask, total, (double)used * (double)cells(mask));
  }
  tensor_free(partials);
  tensor_free(total);
  tensor_free(scratch);
  return r;
}
