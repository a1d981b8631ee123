#include "core/mask/mask.h"

#include <math.h>
#include <string.h>

#include "core/freq/dct.h"
#include "core/mask/decoys.h"
#include "core/mask/methods.h"
#include "core/mask/standardise.h"

static const struct mask_row *const table[MASK_METHODS] = {
    [MASK_NONE] = &mask_none,           [MASK_BLUR] = &mask_blur,
    [MASK_MIXUP] = &mask_mixup,         [MASK_INSTAHIDE] = &mask_instahide,
    [MASK_DUETFACE] = &mask_duetface,   [MASK_PARTIALFACE] = &mask_partialface,
    [MASK_DCTDP] = &mask_dctdp,         [MASK_LDP_SLICING] = &mask_ldp_slicing,
    [MASK_REGIONAL] = &mask_regional,   [MASK_PPFR_FD] = &mask_ppfr_fd,
    [MASK_MINUSFACE] = &mask_minusface, [MASK_GENERATIVE] = &mask_generative,
    [MASK_HYBRID] = &mask_hybrid,       [MASK_AHM] = &mask_ahm};

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
                                 .select = traits->default_select,
                                 .clip = traits->default_clip};
  for (uint32_t i = 0; i < traits->parameter_count; i++)
    options.parameter[i] = traits->parameters[i].initial;
  return options;
}

/* ---- construction ---- */

int mask_check_options(const struct mask_options *options, struct guise_error *err) {
  const struct mask_traits *traits = mask_traits(options->method);
  if (options->drop_low > 60)
    return error_set(err, -EINVAL, "drop_low is %u; at most 60 of 64 coefficients may be dropped",
                     options->drop_low);
  if (traits->own_channels && options->drop_low > 0)
    return error_set(err, -EINVAL, "the mask %s chooses its coefficients itself: leave drop_low out",
                     traits->name);
  if (options->select == MASK_SELECT_LEARNT && !traits->selects)
    return error_set(err, -EINVAL, "the mask %s does not let its coefficients be chosen: leave select out",
                     traits->name);
  if (!isfinite(options->clip) || options->clip < 0)
    return error_set(err, -EINVAL, "clip must be 0 (none) or a number of deviations");
  for (uint32_t i = 0; i < traits->parameter_count; i++) {
    const struct mask_parameter *p = &traits->parameters[i];
    if (!(options->parameter[i] >= p->minimum && options->parameter[i] <= p->maximum))
      return error_set(err, -EINVAL, "%s of the mask %s must be from %g to %g", p->name, traits->name,
                       p->minimum, p->maximum);
  }
  return table[options->method]->check ? table[options->method]->check(options, err) : 0;
}

bool mask_guarantee(const struct mask_options *options, const struct mask_constants *constants,
                    const float *weights, struct mask_guarantee *ret_guarantee) {
  const struct mask_row *row = table[options->method];
  return row->guarantee && row->guarantee(options, constants, weights, ret_guarantee);
}

void mask_keep(struct mask *mask, const uint8_t *coefficient, uint32_t count, bool without) {
  struct mask_constants *c = &mask->constants;
  bool listed[DCT_COEFFICIENTS] = {false};
  for (uint32_t i = 0; i < count; i++)
    listed[coefficient[i]] = true;
  c->channels = 0;
  memset(c->channel, 0, sizeof(c->channel));
  for (uint32_t channel = 0; channel < DCT_CHANNELS; channel++)
    if (listed[channel % DCT_COEFFICIENTS] != without)
      c->channel[c->channels++] = (uint16_t)channel;
  mask->channels = c->channels;
}

int mask_new(const struct mask_options *options, struct mask **ret_mask, struct guise_error *err) {
  int r = mask_check_options(options, err);
  if (r < 0)
    return r;
  struct mask *mask = calloc(1, sizeof(*mask));
  if (!mask)
    return error_set(err, -ENOMEM, "out of memory making a mask");
  mask->row = table[options->method];
  mask->options = *options;
  mask->layouts = 1;
  mask_select_channels(options, NULL, &mask->constants); /* as many as when it has learnt */
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
  mask_place_constants(mask);
  *ret_mask = mask;
  return 0;
}

struct mask *mask_free(struct mask *mask) {
  if (mask) {
    if (mask->row->release)
      mask->row->release(mask->state);
    decoys_free(mask->decoys);
    free(mask->weights);
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
  return !mask->row->restore && !mask->row->invert;
}
bool mask_has_after_mix(const struct mask *mask) {
  return mask->row->after_mix != NULL;
}
const char *mask_not_exportable(const struct mask *mask) {
  const struct mask_row *row = mask->row;
  if (mask->ordered)
    return "has its channels in the order of a secret key, which a graph from the image on would need and "
           "give away";
  if (mask->decoys)
    return "is mixed with decoys, which a hash of the image chooses";
  if (row->traits.random)
    return "is drawn anew for each image";
  if ((row->filter && !row->filter_matrix) || (row->gather && !row->gather_matrix) || row->pixels ||
      row->coefficients || row->layout || row->perturb || row->after_mix)
    return "has steps that are not written for ONNX";
  return NULL;
}
bool mask_is_exportable(const struct mask *mask) {
  return !mask_not_exportable(mask);
}
bool mask_filters(const struct mask *mask) {
  return mask->row->filter != NULL;
}
void mask_filter_matrix(const struct mask *mask, float *ret_matrix) {
  mask->row->filter_matrix(mask, ret_matrix);
}
bool mask_gathers(const struct mask *mask) {
  return mask->row->gather != NULL;
}
void mask_gather_matrix(const struct mask *mask, float *ret_matrix) {
  mask->row->gather_matrix(mask, ret_matrix);
}

/* planar pixels; all 192 coefficients; what gather gives, where it is not made on the way */
static size_t scratch_of_all(const struct mask *mask) {
  return mask_pixels(mask) + 2 * DCT_CHANNELS * mask_cells(mask);
}

size_t mask_scratch(const struct mask *mask) {
  return scratch_of_all(mask) + (mask->row->scratch ? mask->row->scratch(mask) : 0);
}

/* ---- learnt weights ---- */

size_t mask_weight_count(const struct mask_options *options) {
  const struct mask_row *row = table[options->method];
  return row->weights ? row->weights(options) : 0;
}

int mask_set_weights(struct mask *mask, const float *weights, size_t count, struct guise_error *err) {
  if (count == 0 || count != mask_weight_count(&mask->options))
    return error_set(err, -EINVAL, "this mask cannot use %zu weights", count);
  for (size_t i = 0; i < count; i++)
    if (!isfinite(weights[i]))
      return error_set(err, -EINVAL, "weights of the mask are not numbers");
  float *copy = malloc(count * sizeof(*copy));
  if (!copy)
    return error_set(err, -ENOMEM, "out of memory for the weights of a mask");
  memcpy(copy, weights, count * sizeof(*copy));
  int r = mask->row->accept_weights(mask, copy, err);
  if (r < 0) {
    free(copy);
    return r;
  }
  free(mask->weights);
  mask->weights = copy;
  return 0;
}

const float *mask_weights(const struct mask *mask) {
  return mask->weights;
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
        (mask->row->traits.own_channels && constants->channel[c] != mask->constants.channel[c]) ||
        (located && c > 0 && constants->channel[c] <= constants->channel[c - 1]) ||
        !isfinite(constants->mean[c]) || !isfinite(constants->reach[c]) || constants->reach[c] < 0 ||
        !isfinite(constants->deviation[c]) || constants->deviation[c] <= 0)
      return error_set(err, -EINVAL, "channel %u of the mask's constants is damaged", c);
  for (uint32_t i = 0; i < constants->learnt_count; i++)
    if (!isfinite(constants->learnt[i]))
      return error_set(err, -EINVAL, "what the mask has learnt is damaged");
  int r = mask_check_learnt(mask, constants, err);
  if (r == 0 && mask->row->accept)
    r = mask->row->accept(mask, constants, err);
  if (r == 0) {
    mask->constants = *constants;
    mask_place_constants(mask);
  }
  return r;
}

/* ---- layouts ---- */

uint32_t mask_layouts(const struct mask *mask) {
  return mask->layouts;
}

void mask_layout(const struct mask *mask, uint32_t layout, uint16_t *ret_index) {
  if (mask->row->layout)
    mask->row->layout(mask, layout, ret_index);
  else
    for (uint32_t c = 0; c < mask->channels; c++)
      ret_index[c] = mask->ordered ? mask->order.channel[c] : (uint16_t)c;
}

uint32_t mask_find_layout(const struct mask *mask, const float *template_, float *scratch) {
  return mask->row->find_layout ? mask->row->find_layout(mask, template_, scratch) : 0;
}

int mask_set_decoys(struct mask *mask, struct decoys *decoys, struct guise_error *err) {
  if (decoys && mask->ordered)
    return error_set(err, -EINVAL, "a mask has decoys or a key: templates of decoys would give the key away");
  if (decoys && decoys->elements != mask_elements(mask))
    return error_set(err, -EINVAL, "decoys of %zu values do not fit templates of %zu", decoys->elements,
                     mask_elements(mask));
  decoys_free(mask->decoys);
  mask->decoys = decoys;
  return 0;
}
const struct decoys *mask_decoys(const struct mask *mask) {
  return mask->decoys;
}
uint32_t mask_inference_mixes(const struct mask *mask) {
  return mask->decoys ? mask->decoys->mixes : 1;
}

/* ---- templates ---- */

void mask_standardise(const struct mask *mask, uint32_t index, const float *raw, float *ret_standardised) {
  const struct mask_constants *k = &mask->constants;
  standardise(raw, mask_cells(mask), k->mean[index], 1 / k->deviation[index], k->clip, ret_standardised);
}

void mask_coefficients(const struct mask *mask, const uint8_t *rgb, bool flip, struct rng *rng, float *planar,
                       float *ret_coefficients) {
  rgb_to_ycbcr(rgb, mask->options.size, flip, planar);
  if (mask->row->filter)
    mask->row->filter(mask, planar, ret_coefficients);
  if (mask->row->pixels)
    mask->row->pixels(mask, rng, planar, ret_coefficients);
  mask_transform_forward(mask->transform, planar, ret_coefficients);
  if (mask->row->coefficients)
    mask->row->coefficients(mask, rng, ret_coefficients, planar + scratch_of_all(mask));
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
  uint16_t index[MASK_CHANNELS_MAX];
  mask_coefficients(mask, rgb, flip, rng, scratch, coefficients);
  if (mask->row->gather)
    mask_gather(mask, coefficients, raw);
  mask_layout(mask, mask->layouts > 1 ? rng_below(rng, mask->layouts) : 0, index);
  for (uint32_t c = 0; c < mask->channels; c++) {
    mask_standardise(mask, index[c],
                     mask->row->gather ? raw + index[c] * n : coefficients + k->channel[index[c]] * n,
                     ret_template + c * n);
    if (mask_sign(mask, c) < 0)
      for (size_t i = 0; i < n; i++)
        ret_template[c * n + i] = -ret_template[c * n + i];
  }
  if (mask->row->perturb)
    mask->row->perturb(mask, rng, ret_template);
}

void mask_lower(const struct mask *mask, uint32_t drop, float *template_) {
  const struct mask_constants *placed = &mask->placed;
  mix_lower(placed->channel, placed->channels, mask_cells(mask), drop, template_);
}

void mask_after_mix(const struct mask *mask, struct rng *rng, float *scratch, float *template_) {
  if (mask->row->after_mix)
    mask->row->after_mix(mask, rng, template_, scratch);
}

void mask_inference_template(const struct mask *mask, const uint8_t *rgb, bool flip, uint32_t t,
                             struct rng *rng, float *scratch, float *ret_template) {
  mask_template(mask, rgb, flip, rng, scratch, ret_template);
  if (mask->decoys)
    decoys_apply(mask->decoys, decoys_seed(rgb, mask_pixels(mask)), flip, t, ret_template);
  mask_after_mix(mask, rng, scratch, ret_template);
}

/* ---- what is guessed ---- */

bool mask_denoises(const struct mask *mask) {
  return mask->row->denoise != NULL;
}

void mask_denoise(const struct mask *mask, float *template_, float *scratch) {
  if (mask->row->denoise)
    mask->row->denoise(mask, template_, scratch);
}

/* ---- the linear operator ---- */

void mask_linear_forward(const struct mask *mask, uint32_t layout, const float *planar, float *scratch,
                         float *ret_template) {
  const struct mask_constants *k = &mask->constants;
  const size_t n = mask_cells(mask);
  float *coefficients = scratch + mask_pixels(mask), *raw = coefficients + DCT_CHANNELS * n;
  uint16_t index[MASK_CHANNELS_MAX];
  if (mask->row->filter) {
    memcpy(scratch, planar, mask_pixels(mask) * sizeof(float));
    mask->row->filter(mask, scratch, coefficients);
    planar = scratch;
  }
  mask_transform_forward(mask->transform, planar, coefficients);
  if (mask->row->gather)
    mask_gather(mask, coefficients, raw);
  mask_layout(mask, layout, index);
  for (uint32_t c = 0; c < mask->channels; c++) {
    const float *from = mask->row->gather ? raw + index[c] * n : coefficients + k->channel[index[c]] * n;
    const float deviation = mask_sign(mask, c) * k->deviation[index[c]];
    for (size_t i = 0; i < n; i++)
      ret_template[c * n + i] = from[i] / deviation;
  }
}

void mask_spread(const struct mask *mask, uint32_t layout, const float *template_, bool transpose, float *raw,
                 float *ret_coefficients) {
  const struct mask_constants *k = &mask->constants;
  const size_t n = mask_cells(mask);
  float *to = mask->row->scatter ? raw : ret_coefficients;
  uint16_t index[MASK_CHANNELS_MAX];
  mask_layout(mask, layout, index);
  if (!mask->row->scatter)
    memset(ret_coefficients, 0, DCT_CHANNELS * n * sizeof(float));
  else if (mask->channels < k->channels)
    memset(raw, 0, k->channels * n * sizeof(float));
  for (uint32_t c = 0; c < mask->channels; c++) {
    const uint32_t from = index[c];
    const float sign = mask_sign(mask, c),
                gain = sign * (transpose ? 1 / k->deviation[from] : k->deviation[from]),
                offset = transpose ? 0 : k->mean[from];
    float *channel = to + (mask->row->scatter ? from : k->channel[from]) * n;
    for (size_t i = 0; i < n; i++)
      channel[i] = gain * template_[c * n + i] + offset;
  }
  if (!transpose && mask->row->undo)
    mask->row->undo(mask, raw, ret_coefficients);
  else if (mask->row->scatter)
    mask->row->scatter(mask, raw, ret_coefficients);
}

void mask_linear_adjoint(const struct mask *mask, uint32_t layout, const float *template_, float *scratch,
                         float *ret_planar) {
  mask_spread(mask, layout, template_, true, scratch + DCT_CHANNELS * mask_cells(mask), scratch);
  mask_transform_adjoint(mask->transform, scratch, ret_planar);
  if (mask->row->filter)
    mask->row->filter(mask, ret_planar, scratch);
}

void mask_invert(const struct mask *mask, const float *template_, float *scratch, float *ret_planar) {
  float *raw = scratch + mask_pixels(mask) + DCT_CHANNELS * mask_cells(mask);
  if (mask->row->invert) {
    mask->row->invert(mask, template_, scratch, ret_planar);
    return;
  }
  const uint32_t layout = mask_find_layout(mask, template_, scratch);
  if (mask->row->denoise || mask->row->restore) {
    memcpy(raw, template_, mask_elements(mask) * sizeof(float));
    mask_denoise(mask, raw, scratch);
    if (mask->row->restore)
      mask->row->restore(mask, raw);
    template_ = raw;
  }
  mask_spread(mask, layout, template_, false, raw, scratch);
  mask_transform_inverse(mask->transform, scratch, ret_planar);
}
