/* The rows of the table in mask.c, one file each, and what they may hook into. Internal to core/mask.
 *
 *   pixels (3,S,S) -[filter]-[pixels]-> -DCT-> coefficients (192,G,G) -[coefficients]-> -[gather]-> raw
 *     (K,G,G) -[layout]-> (C,G,G) -standardise, clip-> -[perturb]-> template (C,G,G) -mixing-> -[after_mix]->
 *
 * Constants are fitted on what gather gives, so that whatever stands before it is inside the moments. A hook
 * that is NULL does nothing: gather then takes the coefficients of constants.channel, and C = K. */
#pragma once

#include "core/mask/mask.h"
#include "core/mask/transform.h"

struct mask_row {
  struct mask_traits traits;
  bool measures_reach; /* the fit sets constants.reach */
  /* What mask_check_options says beyond the ranges. */
  int (*check)(const struct mask_options *options, struct guise_error *err);
  /* Sets mask->constants.channels and .channel (given with drop_low's choice), mask->channels (C; K at
   * first), mask->layouts (1 at first) and mask->state. */
  int (*setup)(struct mask *mask, struct guise_error *err);
  void (*release)(void *state);
  /* How many weights the mask learns before it is fitted, and what becomes of them; finite ones are given. */
  size_t (*weights)(const struct mask_options *options);
  int (*accept_weights)(struct mask *mask, const float *weights, struct guise_error *err);
  /* What constants from a file must fulfil beyond being numbers. */
  int (*accept)(const struct mask *mask, const struct mask_constants *constants, struct guise_error *err);
  /* In place; scratch: at least 3 S S floats. filter is linear and its own transpose. */
  void (*filter)(const struct mask *mask, float *planar, float *scratch);
  /* The symmetric M (S,S) of a filter that makes of each plane P M P M; NULL: it is none of these. */
  void (*filter_matrix)(const struct mask *mask, float *ret_matrix);
  void (*pixels)(const struct mask *mask, struct rng *rng, float *planar, float *scratch);
  void (*coefficients)(const struct mask *mask, struct rng *rng, float *coefficients, float *scratch);
  /* Floats of scratch of its own, of the hook coefficients alone. */
  size_t (*scratch)(const struct mask *mask);
  /* Linear; with its transpose, which adds nothing to but overwrites all 192 channels. */
  void (*gather)(const struct mask *mask, const float *coefficients, float *ret_raw);
  void (*scatter)(const struct mask *mask, const float *raw, float *ret_coefficients);
  /* The matrix (K,192) of a gather that does the same in every cell; NULL: it does not. */
  void (*gather_matrix)(const struct mask *mask, float *ret_matrix);
  /* The least-squares inverse of gather, of least norm; NULL where its transpose is that. */
  void (*undo)(const struct mask *mask, const float *raw, float *ret_coefficients);
  /* Of methods that draw a layout an image: see mask_layout and mask_find_layout. */
  void (*layout)(const struct mask *mask, uint32_t layout, uint16_t *ret_index);
  uint32_t (*find_layout)(const struct mask *mask, const float *template_, float *scratch);
  /* In place on a template: the guess of what it was before `pixels` drew. Linear is what is left to undo.
   * Only of methods with one layout. */
  void (*denoise)(const struct mask *mask, float *template_, float *scratch);
  /* In place on a standardised, clipped template: what is lost on purpose; restore: the best guess of what
   * it was. Only of methods with one layout. */
  void (*perturb)(const struct mask *mask, struct rng *rng, float *template_);
  void (*restore)(const struct mask *mask, float *template_);
  void (*after_mix)(const struct mask *mask, struct rng *rng, float *template_, float *scratch);
  /* The best public inverse, where undoing the steps above does not give it. */
  void (*invert)(const struct mask *mask, const float *template_, float *scratch, float *ret_planar);
  bool (*guarantee)(const struct mask_options *options, const struct mask_constants *constants,
                    const float *weights, struct mask_guarantee *ret_guarantee);
};

struct mask {
  const struct mask_row *row;
  struct mask_options options;
  struct mask_transform *transform;
  uint32_t grid, channels; /* of the template */
  uint32_t layouts;
  struct mask_constants constants;
  bool ordered; /* by `order` */
  struct mask_order order;
  char key_id[MASK_KEY_ID];     /* "" = no key */
  struct mask_constants placed; /* constants by the template's places, of masks with one layout */
  float *weights;               /* mask_weight_count() of them; NULL = not there yet */
  void *state;                  /* the method's own */
  struct decoys *decoys;        /* NULL = none */
};

extern const struct mask_row mask_none, mask_blur, mask_mixup, mask_instahide, mask_duetface,
    mask_partialface, mask_dctdp, mask_ldp_slicing, mask_regional, mask_ppfr_fd, mask_minusface,
    mask_generative, mask_hybrid, mask_ahm;

static inline size_t mask_cells(const struct mask *mask) {
  return (size_t)mask->grid * mask->grid;
}
/* Of the place c of a template. */
static inline float mask_sign(const struct mask *mask, uint32_t c) {
  return mask->ordered && mask->order.negative[c] ? -1.0f : 1.0f;
}
static inline size_t mask_pixels(const struct mask *mask) {
  return (size_t)3 * mask->options.size * mask->options.size;
}

/* select.c: */
/* Fills channels and channel. gates (192), or NULL: zig-zag order. */
void mask_select_channels(const struct mask_options *options, const float *gates,
                          struct mask_constants *constants);
/* -EINVAL when constants from a file lack what the mask has to have learnt, or do not follow from it. */
int mask_check_learnt(const struct mask *mask, const struct mask_constants *constants,
                      struct guise_error *err);

/* order.c: */
/* After the constants or the order have changed. */
void mask_place_constants(struct mask *mask);

/* mask.c, for the hooks and for fit.c: */
/* planar := YCbCr after the pixels hook; coefficients: those after the coefficients hook. planar must be the
 * beginning of mask_scratch() floats. */
void mask_coefficients(const struct mask *mask, const uint8_t *rgb, bool flip, struct rng *rng, float *planar,
                       float *ret_coefficients);
void mask_gather(const struct mask *mask, const float *coefficients, float *ret_raw);
/* Channel `index` of the constants: (value - mean) / deviation, clipped. */
void mask_standardise(const struct mask *mask, uint32_t index, const float *raw, float *ret_standardised);
/* The template of one layout as coefficients: standardisation undone, zero what it does not hold; transpose:
 * divided by the deviations instead. */
void mask_spread(const struct mask *mask, uint32_t layout, const float *template_, bool transpose, float *raw,
                 float *ret_coefficients);
/* Keeps of each colour the `count` coefficients of this list (u * 8 + v) or, `without`, all others. */
void mask_keep(struct mask *mask, const uint8_t *coefficient, uint32_t count, bool without);
