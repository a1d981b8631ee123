/* DCTDP (Ji et al., ECCV 2022): the DC coefficients are dropped and every other value gets Laplace noise of
 * scale sensitivity / budget. The mean budget is epsilon. With `learnt` 1 each value, a coefficient of a
 * block, has a budget of its own, as published: shares in mask->weights (C,G,G), positive, of mean 1 once
 * divided by their mean, learnt with the recognition loss (core/train/budget.h). Without it all are equal.
 *
 * What a value may reach is bounded, else there is no guarantee: by the clip (+-clip deviations), or, with
 * `measured` 1, by the range seen in the fit, to which later values are clamped. The mechanism is then
 * epsilon-differentially private for one coefficient of one block; for a whole picture the budgets of all its
 * values add up. Bounds and budgets are taken as public: that they were measured or learnt on the training
 * faces, without noise, no guarantee covers. */
#include "core/mask/dctdp.h"

#include <float.h>
#include <math.h>
#include <stdio.h>

#include "core/freq/dct.h"
#include "core/mask/methods.h"

static bool is_on(const struct mask_options *options, uint32_t parameter) {
  return options->parameter[parameter] >= 0.5;
}

float dctdp_bound(const struct mask_options *options, const struct mask_constants *k, uint32_t c) {
  if (!is_on(options, DCTDP_MEASURED))
    return k->clip;
  return k->clip > 0 ? fminf(k->clip, k->reach[c]) : k->reach[c];
}

float dctdp_scale(const struct mask_options *options, const struct mask_constants *k, uint32_t c,
                  float share) {
  return (float)(2 * (double)dctdp_bound(options, k, c) /
                 (options->parameter[DCTDP_EPSILON] * (double)share));
}

/* Laplace(0, 1) from one word: a sign and an exponential on a grid of 2^-31. */
float dctdp_draw(struct rng *rng) {
  const uint32_t word = rng_u32(rng);
  const float magnitude = -logf(((float)(word >> 1) + 1) * 0x1p-31f);
  return word & 1 ? -magnitude : magnitude;
}

/* ---- what is accepted ---- */

static int check(const struct mask_options *options, struct guise_error *err) {
  static const char *const switches[] = {[DCTDP_MEASURED] = "measured", [DCTDP_LEARNT] = "learnt"};
  for (uint32_t i = DCTDP_MEASURED; i <= DCTDP_LEARNT; i++)
    if (options->parameter[i] > 0 && options->parameter[i] < 1)
      return error_set(err, -EINVAL, "%s of the mask dctdp must be 0 or 1", switches[i]);
  if (!is_on(options, DCTDP_MEASURED) && !(options->clip > 0))
    return error_set(err, -EINVAL,
                     "the noise of dctdp is scaled by the clip: give clip above 0, or the parameter "
                     "\"measured\": 1");
  return 0;
}

static int accept(const struct mask *mask, const struct mask_constants *k, struct guise_error *err) {
  const struct mask_options *options = &mask->options;
  bool any = !is_on(options, DCTDP_MEASURED);
  if (k->learnt_count != 0)
    return error_set(err, -EINVAL, "dctdp has no use for %u learnt numbers", k->learnt_count);
  for (uint32_t c = 0; c < k->channels; c++) {
    const float scale = dctdp_scale(options, k, c, DCTDP_SHARE_LEAST);
    any |= k->reach[c] > 0;
    if (!(scale >= 0 && scale < FLT_MAX / 1e3f) || (!is_on(options, DCTDP_MEASURED) && !(k->clip > 0)))
      return error_set(err, -EINVAL, "the noise of channel %u has no finite scale", c);
  }
  if (!any)
    return error_set(err, -EINVAL, "the range of the channels, which the noise is scaled by, is missing");
  return 0;
}

static size_t values_of(const struct mask_options *options) {
  const size_t side = options->dct == MASK_DCT_UPSAMPLED ? options->size : options->size / DCT_BLOCK;
  return (size_t)3 * (DCT_COEFFICIENTS - options->drop_low) * side * side;
}

static size_t weights(const struct mask_options *options) {
  return is_on(options, DCTDP_LEARNT) ? values_of(options) : 0;
}

/* The shares, of mean 1, are the mask's state: NULL while all are equal. */
static int accept_weights(struct mask *mask, const float *values, struct guise_error *err) {
  const size_t count = mask_elements(mask);
  double sum = 0;
  for (size_t i = 0; i < count; i++)
    sum += (double)values[i];
  const double mean = sum / (double)count;
  for (size_t i = 0; i < count; i++)
    if (!(mean < (double)FLT_MAX) || !((double)values[i] >= (double)DCTDP_SHARE_LEAST * mean) ||
        !(values[i] > 0))
      return error_set(err, -EINVAL, "the budget of value %zu is less than %g of the mean one", i,
                       (double)DCTDP_SHARE_LEAST);
  float *shares = malloc(count * sizeof(*shares));
  if (!shares)
    return error_set(err, -ENOMEM, "out of memory for the budgets of %zu values", count);
  for (size_t i = 0; i < count; i++)
    shares[i] = (float)((double)values[i] / mean);
  free(mask->state);
  mask->state = shares;
  return 0;
}

/* ---- noise ---- */

static float share_of(const struct mask *mask, size_t value) {
  const float *shares = mask->state;
  return shares ? shares[value] : 1;
}

static void perturb(const struct mask *mask, struct rng *rng, float *template_) {
  const size_t n = mask_cells(mask);
  for (uint32_t c = 0; c < mask->channels; c++) {
    const float scale = dctdp_scale(&mask->options, &mask->constants, c, 1),
                most = dctdp_bound(&mask->options, &mask->constants, c);
    for (size_t i = c * n; i < (c + 1) * n; i++)
      template_[i] = fminf(fmaxf(template_[i], -most), most) + scale / share_of(mask, i) * dctdp_draw(rng);
  }
}

/* The linear estimate of least mean square error: variance 1 behind noise of variance 2 scale^2. */
static void restore(const struct mask *mask, float *template_) {
  const size_t n = mask_cells(mask);
  for (uint32_t c = 0; c < mask->channels; c++) {
    const float equal = dctdp_scale(&mask->options, &mask->constants, c, 1);
    for (size_t i = c * n; i < (c + 1) * n; i++) {
      const float scale = equal / share_of(mask, i);
      template_[i] /= 1 + 2 * scale * scale;
    }
  }
}

/* ---- the guarantee ---- */

/* The largest share of any value. */
static double largest_share(const struct mask_options *options, const float *values) {
  const size_t count = values_of(options);
  double sum = 0, most = 0;
  if (!values)
    return 1;
  for (size_t i = 0; i < count; i++) {
    sum += (double)values[i];
    most = fmax(most, (double)values[i]);
  }
  return most * (double)count / sum;
}

static bool guarantee(const struct mask_options *options, const struct mask_constants *k, const float *values,
                      struct mask_guarantee *ret_guarantee) {
  const double epsilon = options->parameter[DCTDP_EPSILON];
  const bool ranges = is_on(options, DCTDP_MEASURED);
  (void)k;
  *ret_guarantee = (struct mask_guarantee){.epsilon = epsilon * largest_share(options, values)};
  (void)snprintf(ret_guarantee->unit, sizeof(ret_guarantee->unit), "one coefficient of one block");
  (void)snprintf(
      ret_guarantee->text, sizeof(ret_guarantee->text),
      "%.4g-local differential privacy of one coefficient of one block of a template (Laplace "
      "mechanism, values bounded by %s%s), given the mask's constants and secret draws; those of this "
      "job came from its seed.%s All coefficients of a picture together: epsilon %.4g, which promises "
      "nothing for a face",
      ret_guarantee->epsilon, ranges ? "the range seen in training" : "the clip",
      values ? ", each value with a budget of its own, this being the largest" : "",
      ranges || values ? " What was measured or learnt on the training faces is public with the model, and "
                         "what it tells of them is not covered."
                       : "",
      epsilon * (double)values_of(options));
  return true;
}

static const struct mask_parameter parameters[] = {
    [DCTDP_EPSILON] = {"epsilon", "mean budget of one value", 0.0078125, 1024, 1},
    [DCTDP_MEASURED] = {"measured", "1: noise for the range seen in the fit instead of the clip", 0, 1, 0},
    [DCTDP_LEARNT] = {"learnt", "1: budgets learnt with the recognition loss, 0: all equal", 0, 1, 0}};

const struct mask_row mask_dctdp = {.traits = {.name = "dctdp",
                                               .summary = "DC dropped, Laplace noise on every coefficient",
                                               .random = true,
                                               .located = true,
                                               .weights = MASK_WEIGHTS_BUDGETS,
                                               .default_drop_low = 1,
                                               .default_clip = 3,
                                               .parameters = parameters,
                                               .parameter_count = ARRAY_SIZE(parameters)},
                                    .measures_reach = true,
                                    .check = check,
                                    .release = free,
                                    .weights = weights,
                                    .accept_weights = accept_weights,
                                    .accept = accept,
                                    .perturb = perturb,
                                    .restore = restore,
                                    .guarantee = guarantee};
