/* Masking methods: a face in, a template out. One file a method, one row each in the table of mask.c.
 *
 * A template is (C, G, G) floats, G = size/8: the selected block-DCT channels, standardised by fixed
 * constants and clipped. The constants are fitted once on the training set and are part of the model. A
 * struct mask is immutable after mask_fit or mask_set_constants and may be used by many threads. */
#pragma once

#include <stdint.h>

#include "core/base/base.h"

#define MASK_CHANNELS_MAX 192
#define MIX_MAX 6 /* largest k */

enum mask_method { MASK_NONE, MASK_MIXUP, MASK_AHM, MASK_METHODS };

/* What a method is; the rest of guise asks the table and never compares methods. */
struct mask_traits {
  const char *name;    /* as in the API */
  const char *summary; /* one line for the documentation */
  bool mixes;          /* templates are mixed during training */
  bool has_strategy;   /* k may be chosen by the strategy network */
  uint32_t default_drop_low;
  float default_clip; /* of the standardised coefficient; 0 = none */
};
const struct mask_traits *mask_traits(enum mask_method method);
int mask_method_from_name(const char *name, enum mask_method *ret_method); /* 0 or -ENOENT */

/* What a model stores of its mask. */
struct mask_constants {
  uint32_t channels;                   /* C */
  uint16_t channel[MASK_CHANNELS_MAX]; /* kept channels of the 192, ascending */
  float mean[MASK_CHANNELS_MAX];       /* of the kept channels, coefficient units */
  float deviation[MASK_CHANNELS_MAX];  /* > 0 */
  float clip;                          /* 0 = none */
  float pixel_scale; /* deviation of the pixels after the inverse DCT: the network's first layer
                        divides by it */
};

struct mask;

/* size: pixels of an image's side, a multiple of 8. drop_low: lowest zig-zag coefficients of each colour that
 * are dropped, 0..60. clip: deviations, 0 = none (the method's own: its traits). The mask is not usable
 * before its constants are set. */
int mask_new(enum mask_method method, uint32_t size, uint32_t drop_low, float clip, struct mask **ret_mask,
             struct guise_error *err);
struct mask *mask_free(struct mask *mask);

/* Fits mean, deviation and pixel_scale over `count` images given by image(context, i) -> (size,size,3) RGB
 * bytes. Deterministic for any number of threads. */
int mask_fit(struct mask *mask, const uint8_t *(*image)(void *context, uint32_t i), void *context,
             uint32_t count, struct guise_error *err);
int mask_set_constants(struct mask *mask, const struct mask_constants *constants, struct guise_error *err);
const struct mask_constants *mask_constants(const struct mask *mask);

enum mask_method mask_method(const struct mask *mask);
uint32_t mask_size(const struct mask *mask);     /* pixels of a side */
uint32_t mask_grid(const struct mask *mask);     /* G = size/8 */
uint32_t mask_channels(const struct mask *mask); /* C */
size_t mask_elements(const struct mask *mask);   /* C*G*G, floats of a template */
size_t mask_scratch(const struct mask *mask);    /* floats of scratch that mask_template needs */

/* rgb (size,size,3) -> template (C,G,G). scratch: mask_scratch() floats, one a thread. */
void mask_template(const struct mask *mask, const uint8_t *rgb, bool flip, float *scratch,
                   float *ret_template);

/* The mask as a linear operator between planar YCbCr pixels (3,size,size) and templates, without clip, mean
 * removed: for attacks and for the network's first layer. adjoint is the exact transpose of forward. */
void mask_linear_forward(const struct mask *mask, const float *planar, float *scratch, float *ret_template);
void mask_linear_adjoint(const struct mask *mask, const float *template_, float *scratch, float *ret_planar);

/* The best public inverse of one unmixed template: undo the standardisation, zero what was dropped, inverse
 * DCT. planar YCbCr minus 128. */
void mask_invert(const struct mask *mask, const float *template_, float *scratch, float *ret_planar);
