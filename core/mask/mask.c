#include "core/mask/mask.h"

#include <math.h>
#include <string.h>

#include "core/freq/dct.h"
#include "core/mask/methods.h"

static const struct mask_row *const table[MASK_METHODS] = {
    [MASK_NONE] = &mask_none, [MASK_MIXUP] = &mask_mixup, [MASK_AHM] = &mask_ahm};

const struct mask_traits *mask_traits(enum mask_method method) {
  return &table[method]->traits;
}

int mask_method_from_name(const char *name, enum mask_method *ret_method) {
  for (int i = 0; i < MASK_METHODS; i++)
    if (strcmp(table[i]->traits.name, name) == 0) {
      *ret_method = (enum mask_method)i;
      return 0;
    }
  return -ENOENT;
}

static const char *const dct_names[MASK_DCTS] = {"native", "upsampled"};

const char *mask_dct_name(enum mask_dct dct) {
  return dct_names[dct];
}

int mask_dct_from_name(const char *name, enum mask_dct *ret_dct) {
  for (int i = 0; i < MASK_DCTS; i++)
    if (strcmp(dct_names[i], name) == 0) {
      *ret_dct = (enum mask_dct)i;
      return 0;
    }
  return -ENOENT;
}

struct mask_options mask_options_default(enum mask_method method, uint32_t size) {
  const struct mask_traits *traits = mask_traits(method);
  struct mask_options options = {.method = method,
                                 .dct = MASK_DCT_NATIVE,
                                 .size = size,
                                 .drop_low = traits->default_drop_low,
                                 .clip = traits->default_clip};
  for (uint32_t i = 0; i < traits->parameter_count; i++)
    options.parameter[i] = traits->parameters[i].initial;
  return options;
}

/* ---- construction ---- */

static int check_options(const struct mask_options *options, struct guise_error *err) {
  const struct mask_traits *traits = mask_traits(options->method);
  if (options->drop_low > 60)
    return error_set(err, -EINVAL, "drop_low is %u; at most 60 of 64 coefficients may be dropped",
                     options->drop_low);
  if (!isfinite(options->clip) || options->clip < 0)
    return error_set(err, -EINVAL, "clip must be 0 (none) or a number of deviations");
  for (uint32_t i = 0; i < traits->parameter_count; i++) {
    const struct mask_parameter *p = &traits->parameters[i];
    if (!(options->parameter[i] >= p->minimum && options->parameter[i] <= p->maximum))
      return error_set(err, -EINVAL, "%s of the mask %s must be from %g to %g", p->name, traits->name,
                       p->minimum, p->maximum);
  }
  return 0;
}

static void choose_channels(struct mask *mask) {
  struct mask_constants *c = &mask->constants;
  bool dropped[DCT_COEFFICIENTS] = {false};
  for (uint32_t rank = 0; rank < mask->options.drop_low; rank++)
    dropped[zigzag8[rank]] = true;
  for (uint32_t channel = 0; channel < DCT_CHANNELS; channel++)
    if (!dropped[channel % DCT_COEFFICIENTS])
      c->channel[c->channels++] = (uint16_t)channel;
}

int mask_new(const struct mask_options *options, struct mask **ret_mask, struct guise_error *err) {
  int r = check_options(options, err);
  if (r < 0)
    return r;
  struct mask *mask = calloc(1, sizeof(*mask));
  if (!mask)
    return error_set(err, -ENOMEM, "out of memory making a mask");
  mask->row = table[options->method];
  mask->options = *options;
  choose_channels(mask);
  mask->channels = mask->constants.channels;
  r = mask_transform_new(options->dct, options->size, &mask->transform, err);
  if (r == 0) {
    mask->grid = mask_transform_grid(mask->transform);
    r = mask->row->setup ? mask->row->setup(mask, err) : 0;
  }
  if (r < 0) {
    mask_free(mask);
    return r;
  }
  for (uint32_t c = 0; c < mask->constants.channels; c++)
    mask->constants.deviation[c] = 1;
  mask->constants.clip = options->clip;
  mask->constants.pixel_scale = 1;
  *ret_mask = mask;
  return 0;
}

struct mask *mask_free(struct mask *mask) {
  if (mask) {
    if (mask->row->release)
      mask->row->release(mask->state);
    mask_transform_free(mask->transform);
    free(mask);
  }
  return NULL;
}

const struct mask_constants *mask_constants(const struct mask *mask) {
  return &mask->constants;
}
const struct mask_options *mask_options(const struct mask *mask) {
  return &mask->options;
}
enum mask_method mask_method(const struct mask *mask) {
  return mask->options.method;
}
uint32_t mask_size(const struct mask *mask) {
  return mask->options.size;
}
uint32_t mask_grid(const struct mask *mask) {
  return mask->grid;
}
uint32_t mask_channels(const struct mask *mask) {
  return mask->channels;
}
size_t mask_elements(const struct mask *mask) {
  return mask->channels * mask_cells(mask);
}
bool mask_inverts_to_pixels(const struct mask *mask) {
  return mask->row->traits.located && mask->options.dct == MASK_DCT_NATIVE;
}
bool mask_is_linear(const struct mask *mask) {
  return !mask->row->pick && !mask->row->invert;
}
bool mask_has_after_mix(const struct mask *mask) {
  return mask->row->after_mix != NULL;
}
bool mask_is_exportable(const struct mask *mask) {
  const struct mask_row *row = mask->row;
  return !row->traits.random && !row->pixels && !row->coefficients && !row->gather && !row->pick &&
         !row->after_mix;
}

/* planar pixels; all 192 coefficients; what gather gives, where it is not made on the way */
size_t mask_scratch(const struct mask *mask) {
  return mask_pixels(mask) + 2 * DCT_CHANNELS * mask_cells(mask);
}

void mask_rng_inference(struct rng *rng, uint32_t index) {
  rng_init(rng, 0, RNG_MASK, 0, index);
}

int mask_set_constants(struct mask *mask, const struct mask_constants *constants, struct guise_error *err) {
  const bool located = mask->row->traits.located;
  if (constants->channels != mask->constants.channels || !isfinite(constants->clip) || constants->clip < 0 ||
      !isfinite(constants->pixel_scale) || constants->pixel_scale <= 0 ||
      constants->learnt_count > MASK_CHANNELS_MAX)
    return error_set(err, -EINVAL,
                     "the mask's constants are not those of this mask (%u channels, %u expected)",
                     constants->channels, mask->constants.channels);
  for (uint32_t c = 0; c < constants->channels; c++)
    if (constants->channel[c] >= DCT_CHANNELS ||
        (located && c > 0 && constants->channel[c] <= constants->channel[c - 1]) ||
        !isfinite(constants->mean[c]) || !isfinite(constants->deviation[c]) || constants->deviation[c] <= 0)
      return error_set(err, -EINVAL, "channel %u of the mask's constants is damaged", c);
  for (uint32_t i = 0; i < constants->learnt_count; i++)
    if (!isfinite(constants->learnt[i]))
      return error_set(err, -EINVAL, "what the mask has learnt is damaged");
  mask->constants = *constants;
  return 0;
}

/* ---- templates ---- */

/* Comparisons that are one instruction each, unlike fminf and fmaxf with their care for NaN. */
static void standardise_and_clip(const float *from, size_t n, float mean, float inverse, float clip,
                                 float *to) {
  for (size_t i = 0; i < n; i++) {
    const float value = (from[i] - mean) * inverse;
    const float raised = value > -clip ? value : -clip;
    to[i] = raised < clip ? raised : clip;
  }
}

void mask_standardise(const struct mask *mask, uint32_t index, const float *raw, float *ret_standardised) {
  const struct mask_constants *k = &mask->constants;
  const float mean = k->mean[index], inverse = 1 / k->deviation[index];
  const size_t n = mask_cells(mask);
  if (k->clip > 0)
    standardise_and_clip(raw, n, mean, inverse, k->clip, ret_standardised);
  else
    for (size_t i = 0; i < n; i++)
      ret_standardised[i] = (raw[i] - mean) * inverse;
}

void mask_coefficients(const struct mask *mask, const uint8_t *rgb, bool flip, struct rng *rng, float *planar,
                       float *ret_coefficients) {
  rgb_to_ycbcr(rgb, mask->options.size, flip, planar);
  if (mask->row->pixels)
    mask->row->pixels(mask, rng, planar, ret_coefficients);
  mask_transform_forward(mask->transform, planar, ret_coefficients);
  if (mask->row->coefficients)
    mask->row->coefficients(mask, rng, ret_coefficients);
}

void mask_gather(const struct mask *mask, const float *coefficients, float *ret_raw) {
  const size_t n = mask_cells(mask);
  if (mask->row->gather)
    mask->row->gather(mask, coefficients, ret_raw);
  else
    for (uint32_t c = 0; c < mask->constants.channels; c++)
      memcpy(ret_raw + c * n, coefficients + mask->constants.channel[c] * n, n * sizeof(float));
}

void mask_template(const struct mask *mask, const uint8_t *rgb, bool flip, struct rng *rng, float *scratch,
                   float *ret_template) {
  const struct mask_constants *k = &mask->constants;
  const size_t n = mask_cells(mask);
  float *coefficients = scratch + mask_pixels(mask), *raw = coefficients + DCT_CHANNELS * n;
  mask_coefficients(mask, rgb, flip, rng, scratch, coefficients);
  if (mask->row->gather)
    mask_gather(mask, coefficients, raw);
  float *target = mask->row->pick ? raw : ret_template;
  for (uint32_t c = 0; c < k->channels; c++)
    mask_standardise(mask, c, mask->row->gather ? raw + c * n : coefficients + k->channel[c] * n,
                     target + c * n);
  if (mask->row->pick)
    mask->row->pick(mask, rng, raw, ret_template);
}

void mask_after_mix(const struct mask *mask, struct rng *rng, float *scratch, float *template_) {
  if (mask->row->after_mix)
    mask->row->after_mix(mask, rng, template_, scratch);
}

/* ---- the linear operator ---- */

void mask_linear_forward(const struct mask *mask, const float *planar, float *scratch, float *ret_template) {
  const struct mask_constants *k = &mask->constants;
  const size_t n = mask_cells(mask);
  mask_transform_forward(mask->transform, planar, scratch);
  mask_gather(mask, scratch, ret_template);
  for (uint32_t c = 0; c < k->channels; c++)
    for (size_t i = 0; i < n; i++)
      ret_template[c * n + i] /= k->deviation[c];
}

/* raw: gain * value + offset of each channel; coefficients: where they come from, the rest 0. */
static void spread(const struct mask *mask, const float *template_, bool transpose, float *raw,
                   float *ret_coefficients) {
  const struct mask_constants *k = &mask->constants;
  const size_t n = mask_cells(mask);
  float *to = mask->row->scatter ? raw : ret_coefficients;
  if (!mask->row->scatter)
    memset(ret_coefficients, 0, DCT_CHANNELS * n * sizeof(float));
  for (uint32_t c = 0; c < k->channels; c++) {
    const float gain = transpose ? 1 / k->deviation[c] : k->deviation[c], offset = transpose ? 0 : k->mean[c];
    float *channel = to + (mask->row->scatter ? c : k->channel[c]) * n;
    for (size_t i = 0; i < n; i++)
      channel[i] = gain * template_[c * n + i] + offset;
  }
  if (mask->row->scatter)
    mask->row->scatter(mask, raw, ret_coefficients);
}

void mask_linear_adjoint(const struct mask *mask, const float *template_, float *scratch, float *ret_planar) {
  spread(mask, template_, true, scratch + DCT_CHANNELS * mask_cells(mask), scratch);
  mask_transform_adjoint(mask->transform, scratch, ret_planar);
}

void mask_invert(const struct mask *mask, const float *template_, float *scratch, float *ret_planar) {
  if (mask->row->invert) {
    mask->row->invert(mask, template_, scratch, ret_planar);
    return;
  }
  spread(mask, template_, false, scratch + DCT_CHANNELS * mask_cells(mask), scratch);
  mask_transform_inverse(mask->transform, scratch, ret_planar);
}
