#include "core/mask/generator.h"

#include <string.h>

#include "core/freq/dct.h"
#include "core/mask/methods.h"
#include "core/mask/unet.h"

struct generator {
  struct unet *unet; /* NULL until the weights are there */
  float *strength;   /* (cells) */
};

/* ---- construction ---- */

int generator_check(const struct mask_options *options, struct guise_error *err) {
  const char *name = mask_traits(options->method)->name;
  if (options->dct != MASK_DCT_NATIVE)
    return error_set(err, -EINVAL,
                     "%s works on the native transform alone: its generator draws whole blocks: set dct to "
                     "\"native\"",
                     name);
  return options->size % 16 ? error_set(err, -EINVAL,
                                        "%s halves the grid of blocks: the input must be a multiple of 16 "
                                        "pixels, not %u",
                                        name, options->size)
                            : 0;
}

int generator_setup(struct mask *mask, const float *strength, struct guise_error *err) {
  const size_t n = mask_cells(mask);
  struct generator *generator = calloc(1, sizeof(*generator));
  mask->state = generator;
  if (generator)
    generator->strength = calloc(n, sizeof(*generator->strength));
  if (!generator || !generator->strength)
    return error_set(err, -ENOMEM, "out of memory making a mask");
  for (size_t i = 0; i < n; i++)
    generator->strength[i] = strength ? strength[i] : 1;
  return 0;
}

void generator_release(void *state) {
  struct generator *generator = state;
  if (!generator)
    return;
  unet_free(generator->unet);
  free(generator->strength);
  free(generator);
}

size_t generator_weights(const struct mask_options *options) {
  (void)options;
  return GENERATOR_NETWORK + unet_weights(GENERATOR_NOISE);
}

int generator_accept_weights(struct mask *mask, const float *values, struct guise_error *err) {
  struct generator *generator = mask->state;
  struct unet *unet = NULL;
  for (uint32_t c = 0; c < DCT_CHANNELS; c++)
    if (!(values[GENERATOR_DEVIATION + c] > 0) || !(values[GENERATOR_POWER + c] >= 0))
      return error_set(err, -EINVAL, "the constants of the mask's generator are damaged");
  if (unet_new(values + GENERATOR_NETWORK, GENERATOR_NOISE, mask->grid, &unet) < 0)
    return error_set(err, -ENOMEM, "out of memory for the mask's generator");
  unet_free(generator->unet);
  generator->unet = unet;
  return 0;
}

size_t generator_scratch(const struct mask *mask) {
  return (DCT_CHANNELS + GENERATOR_NOISE) * mask_cells(mask) + unet_scratch(GENERATOR_NOISE, mask->grid);
}

/* ---- a face ---- */

void generator_draw(const struct unet *unet, size_t cells, struct rng *rng, float *input, float *scratch,
                    float *ret_drawn) {
  for (size_t i = DCT_CHANNELS * cells; i < (DCT_CHANNELS + GENERATOR_NOISE) * cells; i++)
    input[i] = rng_normal(rng);
  unet_run(unet, input, scratch, ret_drawn);
}

/* What regional makes of a value; a block that is replaced altogether draws no noise. */
static float covered(float z, float strength, struct rng *rng) {
  return strength > 0 && strength < 1 ? (1 - strength) * z + strength * rng_normal(rng) : z;
}

void generator_coefficients(const struct mask *mask, struct rng *rng, float *coefficients, float *scratch) {
  const struct generator *generator = mask->state;
  const size_t n = mask_cells(mask);
  const float *mean = mask->weights + GENERATOR_MEAN, *deviation = mask->weights + GENERATOR_DEVIATION;
  float *drawn = scratch, *rest = scratch + (DCT_CHANNELS + GENERATOR_NOISE) * n;
  for (size_t c = 0; c < DCT_CHANNELS; c++)
    for (size_t i = c * n; i < (c + 1) * n; i++)
      coefficients[i] = drawn[i] = (coefficients[i] - mean[c]) / deviation[c];
  generator_draw(generator->unet, n, rng, drawn, rest, drawn);
  for (size_t c = 0; c < DCT_CHANNELS; c++)
    for (size_t i = 0; i < n; i++) {
      const float s = generator->strength[i];
      float *value = &coefficients[c * n + i];
      *value = (1 - s) * covered(*value, s, rng) + s * drawn[c * n + i];
      *value = deviation[c] * *value + mean[c];
    }
}

/* ---- what is public ---- */

/* Of z, of variance 1, from (1 - s)^2 z + (1 - s) s e + s u. */
static float gain(float strength, float power, float echo) {
  const float s = strength, direct = (1 - s) * (1 - s), noise = (1 - s) * s;
  const float seen = direct * direct + noise * noise + s * s * power + 2 * direct * s * echo;
  return seen > 0 ? (direct + s * echo) / seen : 0;
}

/* Dropped channels are as good as their mean. */
void generator_invert(const struct mask *mask, const float *template_, float *scratch, float *ret_planar) {
  const struct generator *generator = mask->state;
  const struct mask_constants *k = &mask->constants;
  const size_t n = mask_cells(mask);
  const float *weights = mask->weights;
  bool kept[DCT_CHANNELS] = {false};
  mask_spread(mask, 0, template_, false, NULL, scratch);
  for (uint32_t c = 0; c < k->channels; c++)
    kept[k->channel[c]] = true;
  for (size_t c = 0; c < DCT_CHANNELS; c++)
    for (size_t i = 0; i < n; i++) {
      const float mean = weights[GENERATOR_MEAN + c],
                  factor =
                      gain(generator->strength[i], weights[GENERATOR_POWER + c], weights[GENERATOR_ECHO + c]);
      float *value = &scratch[c * n + i];
      *value = kept[c] ? mean + factor * (*value - mean) : mean;
    }
  mask_transform_inverse(mask->transform, scratch, ret_planar);
}
