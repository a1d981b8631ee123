/* Decoys: fixed public faces that are mixed into every template at inference, where nothing else would be
 * mixed (k = 1). They are constants of the mask, stored in the model. A template becomes `mixes` templates
 *
 *   x_t = lambda_0 z + sum_d w_d z_d,   lambda_0 ~ U(.5,.65),   w_d ~ |N(0,1)| scaled to the sum 1 -
 * lambda_0,
 *
 * with min(count, MIX_MAX - 1) different decoys each, and the face's embedding is the mean of their
 * normalised embeddings.
 *
 * The draws are seeded by a hash of the image, so that an image always gives the same templates: asking again
 * shows nothing new, and the answer depends neither on a batch nor on an index. Who holds the model knows the
 * decoys and can subtract them (core/attack/subtract.c). */
#pragma once

#include <stdint.h>

#include "core/base/base.h"
#include "core/mask/mixing.h"

#define DECOYS_MAX 16
#define DECOY_MIXES 4      /* T of new models */
#define DECOY_MIXES_MAX 16 /* T that a file may ask for */
#define DECOY_LAMBDA_LEAST 0.5f
#define DECOY_LAMBDA_MOST 0.65f

/* Immutable. */
struct decoys {
  uint32_t count, mixes; /* 1..DECOYS_MAX, 1..DECOY_MIXES_MAX */
  size_t elements;       /* floats a template */
  float *templates;      /* (count, elements) */
};

/* Copies the templates. -EINVAL when counts are out of range or a value is not finite; -ENOMEM. */
int decoys_new(uint32_t count, uint32_t mixes, size_t elements, const float *templates,
               struct decoys **ret_decoys, struct guise_error *err);
struct decoys *decoys_free(struct decoys *decoys);

/* Which `count` different people's images become decoys: `ret_image` gets indices into a list of `images`
 * images whose people are identity[] (numbered from 0 to people - 1, ascending); seeded by RNG_DECOY. -EINVAL
 * when there are fewer people. */
int decoys_choose(uint64_t seed, const uint32_t *identity, uint32_t images, uint32_t people, uint32_t count,
                  uint32_t *ret_image, struct guise_error *err);

/* A hash (FNV-1a over words) of an image of `bytes` bytes, a multiple of 8. */
uint64_t decoys_seed(const uint8_t *rgb, size_t bytes);

/* How mix `t` of the image with this seed is composed: lambda[0] is the face's share, member[j] the decoy of
 * lambda[j], j >= 1. No labels. */
void decoys_draw(const struct decoys *decoys, uint64_t seed, bool flip, uint32_t t, struct mix *ret_mix);

/* template_ := its mix `t`. */
void decoys_apply(const struct decoys *decoys, uint64_t seed, bool flip, uint32_t t, float *template_);
