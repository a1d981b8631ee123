/* DCTDP (Ji et al., ECCV 2022): the DC coefficients are dropped and every other value gets Laplace noise of
 * scale sensitivity / budget. The published budgets are learnt, one a value with a given mean; here one a
 * channel: weights in constants.learnt (192, by coefficient) share out epsilon, equal ones without.
 *
 * What a value may reach is bounded, else there is no guarantee: by the clip (+-clip deviations), or, with
 * `measured` 1, by the range seen in the fit, to which later values are clamped. The mechanism is then
 * epsilon-differentially private for one coefficient of one block; for a whole picture the budgets of all its
 * values add up. */
#include <float.h>
#include <math.h>
#include <stdio.h>

#include "core/freq/dct.h"
#include "core/mask/methods.h"

enum { EPSILON, MEASURED };

static bool measured(const struct mask_options *options) {
  return options->parameter[MEASURED] >= 0.5;
}

/* Largest |value| of channel c of the constants, deviations. */
static float bound(const struct mask_options *options, const struct mask_constants *k, uint32_t c) {
  if (!measured(options))
    return k->clip;
  return k->clip > 0 ? fminf(k->clip, k->reach[c]) : k->reach[c];
}

/* Budget of one value of channel c; their mean over the channels is epsilon. */
static double budget(const struct mask_options *options, const struct mask_constants *k, uint32_t c) {
  double sum = 0;
  if (k->learnt_count != DCT_CHANNELS)
    return options->parameter[EPSILON];
  for (uint32_t i = 0; i < k->channels; i++)
    sum += (double)k->learnt[k->channel[i]];
  return options->parameter[EPSILON] * k->channels * (double)k->learnt[k->channel[c]] / sum;
}

static float noise_scale(const struct mask *mask, uint32_t c) {
  const struct mask_constants *k = &mask->constants;
  return (float)(2 * (double)bound(&mask->options, k, c) / budget(&mask->options, k, c));
}

static int check(const struct mask_options *options, struct guise_error *err) {
  const double value = options->parameter[MEASURED];
  if (value > 0 && value < 1)
    return error_set(err, -EINVAL, "measured of the mask dctdp must be 0 or 1");
  if (!measured(options) && !(options->clip > 0))
    return error_set(err, -EINVAL,
                     "the noise of dctdp is scaled by the clip: give clip above 0, or the parameter "
                     "\"measured\": 1");
  return 0;
}

static int accept(const struct mask *mask, const struct mask_constants *k, struct guise_error *err) {
  if (k->learnt_count != 0 && k->learnt_count != DCT_CHANNELS)
    return error_set(err, -EINVAL, "the budgets of dctdp are 192 weights, not %u", k->learnt_count);
  bool any = !measured(&mask->options);
  for (uint32_t c = 0; c < k->channels; c++) {
    any |= k->reach[c] > 0;
    if (k->learnt_count && !(k->learnt[k->channel[c]] > 0))
      return error_set(err, -EINVAL, "the budget of channel %u is not above 0", c);
    const double scale = 2 * (double)bound(&mask->options, k, c) / budget(&mask->options, k, c);
    if (!(scale >= 0 && scale < (double)FLT_MAX / 1e6) || (!measured(&mask->options) && !(k->clip > 0)))
      return error_set(err, -EINVAL, "the noise of channel %u has no finite scale", c);
  }
  if (!any)
    return error_set(err, -EINVAL, "the range of the channels, which the noise is scaled by, is missing");
  return 0;
}

/* Laplace(0, 1) from one word: a sign and an exponential on a grid of 2^-31. */
static float draw_laplace(struct rng *rng) {
  const uint32_t word = rng_u32(rng);
  const float magnitude = -logf(((float)(word >> 1) + 1) * 0x1p-31f);
  return word & 1 ? -magnitude : magnitude;
}

static void perturb(const struct mask *mask, struct rng *rng, float *template_) {
  const size_t n = mask_cells(mask);
  for (uint32_t c = 0; c < mask->channels; c++) {
    const float scale = noise_scale(mask, c), most = bound(&mask->options, &mask->constants, c);
    for (size_t i = 0; i < n; i++) {
      float *value = &template_[c * n + i];
      *value = fminf(fmaxf(*value, -most), most) + scale * draw_laplace(rng);
    }
  }
}

/* The linear estimate of least mean square error: variance 1 behind noise of variance 2 scale^2. */
static void restore(const struct mask *mask, float *template_) {
  const size_t n = mask_cells(mask);
  for (uint32_t c = 0; c < mask->channels; c++) {
    const float scale = noise_scale(mask, c), gain = 1 / (1 + 2 * scale * scale);
    for (size_t i = 0; i < n; i++)
      template_[c * n + i] *= gain;
  }
}

static bool guarantee(const struct mask_options *options, const struct mask_constants *k,
                      struct mask_guarantee *ret_guarantee) {
  const double side = options->dct == MASK_DCT_UPSAMPLED ? options->size : options->size / DCT_BLOCK;
  double most = 0;
  for (uint32_t c = 0; c < k->channels; c++)
    most = fmax(most, budget(options, k, c));
  *ret_guarantee = (struct mask_guarantee){.epsilon = most};
  (void)snprintf(ret_guarantee->unit, sizeof(ret_guarantee->unit), "one coefficient of one block");
  (void)snprintf(
      ret_guarantee->text, sizeof(ret_guarantee->text),
      "%.4g-local differential privacy of one coefficient of one block of a template (Laplace "
      "mechanism, values bounded by %s), given the mask's constants and secret draws; those of this "
      "job came from its seed. All coefficients of a picture together: epsilon %.4g, which promises "
      "nothing for a face",
      most, measured(options) ? "the range seen in training" : "the clip",
      options->parameter[EPSILON] * k->channels * side * side);
  return true;
}

static const struct mask_parameter parameters[] = {
    [EPSILON] = {"epsilon", "mean budget of one value", 0.0078125, 1024, 1},
    [MEASURED] = {"measured", "1: noise for the range seen in the fit instead of the clip", 0, 1, 0}};

const struct mask_row mask_dctdp = {.traits = {.name = "dctdp",
                                               .summary = "DC dropped, Laplace noise on every coefficient",
                                               .random = true,
                                               .located = true,
                                               .default_drop_low = 1,
                                               .default_clip = 3,
                                               .parameters = parameters,
                                               .parameter_count = ARRAY_SIZE(parameters)},
                                    .measures_reach = true,
                                    .check = check,
                                    .accept = accept,
                                    .perturb = perturb,
                                    .restore = restore,
                                    .guarantee = guarantee};
