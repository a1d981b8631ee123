/* The rows of the table in mask.c, one file each, and what they may hook into. Internal to core/mask.
 *
 *   pixels (3,S,S) -[pixels]-> -DCT-> coefficients (192,G,G) -[coefficients]-> -[gather]-> raw (K,G,G)
 *     -standardise, clip-> (K,G,G) -[pick]-> template (C,G,G) -mixing-> -[after_mix]->
 *
 * Constants are fitted on what gather gives, so that whatever stands before it is inside the moments. A hook
 * that is NULL does nothing: gather then takes the coefficients of constants.channel, pick everything. */
#pragma once

#include "core/mask/mask.h"
#include "core/mask/transform.h"

struct mask_row {
  struct mask_traits traits;
  /* Checks the options, sets mask->constants.channels and .channel (given with drop_low's choice),
   * mask->channels (K at first) and mask->state. */
  int (*setup)(struct mask *mask, struct guise_error *err);
  void (*release)(void *state);
  /* In place. scratch: at least 3 S S floats. */
  void (*pixels)(const struct mask *mask, struct rng *rng, float *planar, float *scratch);
  void (*coefficients)(const struct mask *mask, struct rng *rng, float *coefficients);
  /* Linear; with its transpose, which adds nothing to but overwrites all 192 channels. */
  void (*gather)(const struct mask *mask, const float *coefficients, float *ret_raw);
  void (*scatter)(const struct mask *mask, const float *raw, float *ret_coefficients);
  void (*pick)(const struct mask *mask, struct rng *rng, const float *standardised, float *ret_template);
  void (*after_mix)(const struct mask *mask, struct rng *rng, float *template_, float *scratch);
  /* The best public inverse, where undoing the gather does not give it. */
  void (*invert)(const struct mask *mask, const float *template_, float *scratch, float *ret_planar);
};

struct mask {
  const struct mask_row *row;
  struct mask_options options;
  struct mask_transform *transform;
  uint32_t grid, channels; /* of the template */
  struct mask_constants constants;
  void *state;           /* the method's own */
  struct decoys *decoys; /* NULL = none */
};

extern const struct mask_row mask_none, mask_mixup, mask_ahm;

static inline size_t mask_cells(const struct mask *mask) {
  return (size_t)mask->grid * mask->grid;
}
static inline size_t mask_pixels(const struct mask *mask) {
  return (size_t)3 * mask->options.size * mask->options.size;
}

/* mask.c, for the hooks and for fit.c: */
/* planar := YCbCr after the pixels hook; coefficients: those after the coefficients hook. */
void mask_coefficients(const struct mask *mask, const uint8_t *rgb, bool flip, struct rng *rng, float *planar,
                       float *ret_coefficients);
void mask_gather(const struct mask *mask, const float *coefficients, float *ret_raw);
/* Channel `index` of the constants: (value - mean) / deviation, clipped. */
void mask_standardise(const struct mask *mask, uint32_t index, const float *raw, float *ret_standardised);
