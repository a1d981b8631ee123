/* Masking methods: a face in, a template out. One file a method, one row each in the table of mask.c.
 *
 * A template is (C, G, G) floats. The way there: RGB -> YCbCr pixels -> block DCT, native (G = size/8, one
 * 8x8 block a cell) or up-sampled (G = size, one block a pixel) -> channels chosen by the method ->
 * standardised by fixed constants and clipped -> (in training) mixed. A method is a row of hooks into that
 * way, see methods.h. The constants are fitted once on the training set and are part of the model. A struct
 * mask is immutable after mask_fit or mask_set_constants and may be used by many threads. */
#pragma once

#include <stdint.h>

#include "core/base/base.h"
#include "core/base/philox.h"

#define MASK_CHANNELS_MAX 192
#define MASK_PARAMETERS_MAX 8
#define MIX_MAX 6      /* largest k */
#define MASK_KEY_ID 17 /* of a key's id, with NUL */

enum mask_method {
  MASK_NONE,
  MASK_BLUR,
  MASK_MIXUP,
  MASK_INSTAHIDE,
  MASK_DUETFACE,
  MASK_PARTIALFACE,
  MASK_DCTDP,
  MASK_LDP_SLICING,
  MASK_REGIONAL,
  MASK_PPFR_FD,
  MASK_MINUSFACE,
  MASK_GENERATIVE,
  MASK_HYBRID,
  MASK_AHM,
  MASK_METHODS
};
enum mask_dct { MASK_DCT_NATIVE, MASK_DCT_UPSAMPLED, MASK_DCTS };

const char *mask_dct_name(enum mask_dct dct);                     /* "native", "upsampled" */
int mask_dct_from_name(const char *name, enum mask_dct *ret_dct); /* 0 or -ENOENT */

/* Which drop_low coefficients of each colour are dropped: the first of JPEG's zig-zag order, or the ones that
 * an analysis network before the training finds most visible and least useful. */
enum mask_select { MASK_SELECT_ZIGZAG, MASK_SELECT_LEARNT, MASK_SELECTS };

const char *mask_select_name(enum mask_select select);                     /* "zigzag", "learnt" */
int mask_select_from_name(const char *name, enum mask_select *ret_select); /* 0 or -ENOENT */

/* Which training gives a mask weights of its own (core/train/weights.h), when it has some. */
enum mask_weights { MASK_WEIGHTS_SUBTRACTION, MASK_WEIGHTS_GENERATION, MASK_WEIGHTS_BUDGETS, MASK_WEIGHTS };

/* A number that one method has and the others have not. */
struct mask_parameter {
  const char *name; /* as in the API */
  const char *summary;
  double minimum, maximum, initial;
};

/* What a method is; the rest of guise asks the table and never compares methods. */
struct mask_traits {
  const char *name;    /* as in the API */
  const char *summary; /* one line for the documentation */
  bool mixes;          /* templates are mixed during training */
  bool chooses_k;      /* how many faces a mix has is the job's choice, with |N(0,1)| weights; else Beta, 2 */
  bool has_strategy;   /* and k may be chosen by the strategy network */
  uint32_t default_k;  /* of methods that choose it; 0 = all of 2..6 */
  /* Templates are drawn: mask_template and mask_after_mix need random numbers, in use as in training. */
  bool random;
  /* Each channel is one coefficient of known frequency, so that a network may begin with the inverse DCT. */
  bool located;
  bool own_channels; /* the method says which coefficients it keeps: drop_low must be 0 */
  bool selects;      /* drop_low's coefficients may be learnt ones */
  bool keyable;      /* a template is linear but for the clip: its channels may be put in a secret order */
  enum mask_weights weights; /* of methods with mask_weight_count() above 0 */
  bool needs_public; /* its weights are learnt from public faces, and an embedder says who they show */
  enum mask_select default_select;
  uint32_t default_drop_low;
  float default_clip; /* of the standardised coefficient; 0 = none */
  const struct mask_parameter *parameters;
  uint32_t parameter_count;
};
const struct mask_traits *mask_traits(enum mask_method method);
int mask_method_from_name(const char *name, enum mask_method *ret_method); /* 0 or -ENOENT */

/* What a user chooses. */
struct mask_options {
  enum mask_method method;
  enum mask_dct dct;
  uint32_t size;                         /* pixels of an image's side, a multiple of 8 */
  uint32_t drop_low;                     /* coefficients of each colour that are dropped, 0..60 */
  enum mask_select select;               /* which */
  float clip;                            /* deviations; 0 = none */
  uint64_t seed;                         /* of what is drawn once for the whole mask: permutations, subsets */
  double parameter[MASK_PARAMETERS_MAX]; /* in the order of the method's table */
};
/* The method's own values, native, seed 0. */
struct mask_options mask_options_default(enum mask_method method, uint32_t size);

/* What a model stores of its mask beside its options. */
struct mask_constants {
  uint32_t channels;                   /* that are standardised */
  uint16_t channel[MASK_CHANNELS_MAX]; /* their coefficients among the 192, ascending where located */
  float mean[MASK_CHANNELS_MAX];       /* of the channels, coefficient units */
  float deviation[MASK_CHANNELS_MAX];  /* > 0 */
  float clip;                          /* 0 = none */
  float pixel_scale;              /* deviation of the pixels after the inverse DCT: the network's first layer
                                     divides by it */
  float reach[MASK_CHANNELS_MAX]; /* of methods that measure it, else 0: the largest distance from the mean
                                     among the images of the fit, deviations */
  uint32_t learnt_count; /* what the method learnt before the training, 0..192 numbers; its file says which */
  float learnt[MASK_CHANNELS_MAX];
};

/* A promise that holds whatever an attacker knows beside the template, as far as its draws are secret. */
struct mask_guarantee {
  double epsilon, delta; /* of one unit */
  char unit[160];
  char text[640];
};

/* Another order of a template's channels, and signs: what a key does (core/mask/key.h). */
struct mask_order {
  uint16_t channel[MASK_CHANNELS_MAX]; /* which channel stands at this place: a permutation */
  bool negative[MASK_CHANNELS_MAX];    /* of the place */
};

struct mask;
struct mask_key;
struct decoys; /* core/mask/decoys.h */

/* -EINVAL with err when an option is out of range or the method cannot do it. */
int mask_check_options(const struct mask_options *options, struct guise_error *err);
/* Whether the method gives a formal guarantee with these options, constants and weights, and which. */
bool mask_guarantee(const struct mask_options *options, const struct mask_constants *constants,
                    const float *weights, struct mask_guarantee *ret_guarantee);
/* The mask is not usable before its constants are set. -EINVAL as mask_check_options. */
int mask_new(const struct mask_options *options, struct mask **ret_mask, struct guise_error *err);
struct mask *mask_free(struct mask *mask);

/* Whether a mask with these options must learn something before it can be fitted. */
bool mask_learns(const struct mask_options *options);
/* What was learnt, before mask_fit: the gates of all 192 coefficients, 0..1. -EINVAL when the mask has no use
 * for it. Constants from a file bring it with them. */
int mask_set_learnt(struct mask *mask, const float *learnt, uint32_t count, struct guise_error *err);
/* Weights within the mask that are trained before it is fitted, a network or budgets: how many, 0 of most. */
size_t mask_weight_count(const struct mask_options *options);
/* Before mask_fit, or with constants from a file: copied. -EINVAL when the number is not that of
 * mask_weight_count, or they are no weights of this mask. */
int mask_set_weights(struct mask *mask, const float *weights, size_t count, struct guise_error *err);
const float *mask_weights(const struct mask *mask); /* NULL = none */
/* Fits mean, deviation and pixel_scale over `count` images given by image(context, i) -> (size,size,3) RGB
 * bytes. Deterministic for any number of threads. */
int mask_fit(struct mask *mask, const uint8_t *(*image)(void *context, uint32_t i), void *context,
             uint32_t count, struct guise_error *err);
/* Values from a file are not trusted: -EINVAL when they are not those of a mask with these options. */
int mask_set_constants(struct mask *mask, const struct mask_constants *constants, struct guise_error *err);
const struct mask_constants *mask_constants(const struct mask *mask);
/* Decoys are constants, too: the mask owns them from here on and they are of its template's size (else
 * -EINVAL, and they stay the caller's). NULL takes them away. */
int mask_set_decoys(struct mask *mask, struct decoys *decoys, struct guise_error *err);
const struct decoys *mask_decoys(const struct mask *mask); /* NULL = none */

/* From here on templates have this key; the constants stay those of the channels without it. NULL takes it
 * away. -EINVAL when the method cannot be keyed, or decoys are there, whose templates in the model would give
 * the key away. */
int mask_set_key(struct mask *mask, const struct mask_key *key, struct guise_error *err);
/* The same with an order from elsewhere, an attacker's guess; -EINVAL also when it is no permutation. */
int mask_set_order(struct mask *mask, const struct mask_order *order, struct guise_error *err);
const struct mask_order *mask_order(const struct mask *mask); /* NULL = none */
const char *mask_keyed_by(const struct mask *mask);           /* the key's id; "" = no key */
/* The constants at the template's places: channel (constants.channel), mean, and the deviation with the
 * place's sign. What a network's first layer needs of a mask with one layout; they give the key away. */
const struct mask_constants *mask_placed_constants(const struct mask *mask);

const struct mask_options *mask_options(const struct mask *mask);
enum mask_method mask_method(const struct mask *mask);
uint32_t mask_size(const struct mask *mask);     /* pixels of a side */
uint32_t mask_grid(const struct mask *mask);     /* G */
uint32_t mask_channels(const struct mask *mask); /* C */
size_t mask_elements(const struct mask *mask);   /* C*G*G, floats of a template */
size_t mask_scratch(const struct mask *mask);    /* floats of scratch that the functions below need */
/* Whether a network may begin with the inverse block DCT of the constants (native and located). */
bool mask_inverts_to_pixels(const struct mask *mask);

/* rgb (size,size,3) -> template (C,G,G). rng: the draws of a random method; NULL for the others. scratch:
 * mask_scratch() floats, one a thread. */
void mask_template(const struct mask *mask, const uint8_t *rgb, bool flip, struct rng *rng, float *scratch,
                   float *ret_template);
/* mix_lower of a template of a mask with one layout, keyed or not. */
void mask_lower(const struct mask *mask, uint32_t drop, float *template_);
/* The last step of methods that hide the mix itself; every template passes it, mixed or not. */
void mask_after_mix(const struct mask *mask, struct rng *rng, float *scratch, float *template_);
bool mask_has_after_mix(const struct mask *mask);
/* Whether a template at inference is a fixed map that operators of ONNX can express, so that an exported
 * graph can begin at the image: colour, filter, transform, what is gathered, standardisation and clip. Models
 * of masks that are drawn, keyed or mix decoys in are exported from the template on. */
bool mask_is_exportable(const struct mask *mask);
/* Why not: the end of a sentence that begins with "a template of this mask". NULL when it is. */
const char *mask_not_exportable(const struct mask *mask);
/* Of exportable masks: the filter of the pixels before the transform, which makes M P M of each plane P of
 * YCbCr, M symmetric (size,size); and the matrix (channels,192) that the coefficients of each cell are
 * multiplied with where not just some of them are chosen. The matrices only where there is one. */
bool mask_filters(const struct mask *mask);
void mask_filter_matrix(const struct mask *mask, float *ret_matrix);
bool mask_gathers(const struct mask *mask);
void mask_gather_matrix(const struct mask *mask, float *ret_matrix);
/* The draws of image `index` wherever faces are recognised, verified or attacked: the same each time. */
void mask_rng_inference(struct rng *rng, uint32_t index);

/* What is sent at inference: the template, or with decoys its mix `t` (0..mask_inference_mixes()-1);
 * mask_after_mix is part of it. */
uint32_t mask_inference_mixes(const struct mask *mask); /* 1 without decoys */
void mask_inference_template(const struct mask *mask, const uint8_t *rgb, bool flip, uint32_t t,
                             struct rng *rng, float *scratch, float *ret_template);

/* How a template's channels are laid out: drawn for each image among mask_layouts(); 1 of most methods.
 * ret_index[c] (C): which channel of the constants is the template's channel c. */
uint32_t mask_layouts(const struct mask *mask);
void mask_layout(const struct mask *mask, uint32_t layout, uint16_t *ret_index);
/* The likeliest layout of a template, from nothing but the mask and its constants. */
uint32_t mask_find_layout(const struct mask *mask, const float *template_, float *scratch);

/* In place on an unmixed template: the guess, by the mean square, of what it was before its mask drew, from
 * nothing but the mask. Only of masks whose guess is more than a gain of each value, which solvers and
 * networks find by themselves; others leave the template as it is. */
bool mask_denoises(const struct mask *mask);
void mask_denoise(const struct mask *mask, float *template_, float *scratch);

/* The mask as a linear operator between planar YCbCr pixels (3,size,size) and templates of one layout,
 * without clip, mean removed, noise left out: for attacks and for the network's first layer. adjoint is the
 * exact transpose of forward. Only while mask_is_linear, after mask_denoise. */
bool mask_is_linear(const struct mask *mask);
void mask_linear_forward(const struct mask *mask, uint32_t layout, const float *planar, float *scratch,
                         float *ret_template);
void mask_linear_adjoint(const struct mask *mask, uint32_t layout, const float *template_, float *scratch,
                         float *ret_planar);

/* The public inverse of one unmixed template, from nothing but the mask and its constants: guess what was
 * drawn, find the layout, undo the standardisation, zero what was dropped, inverse DCT; or the method's own.
 * A filter of the pixels stays: of masks that are linear least squares over the whole operator give more
 * (core/attack/solver.h), and undo a blur. planar YCbCr minus 128. */
void mask_invert(const struct mask *mask, const float *template_, float *scratch, float *ret_planar);
