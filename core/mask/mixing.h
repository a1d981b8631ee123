/* Mixing of templates and of labels (MixUp in the frequency domain): x_mix = sum_j lambda_j z_j. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/base/philox.h"
#include "core/mask/mask.h"

#define MIX_ALPHA 0.4f /* of mixup: lambda ~ Beta(MIX_ALPHA, MIX_ALPHA) */

struct mix_label {
  uint32_t identity;
  float weight; /* lambda, merged over equal identities */
};

/* Where partners come from: the faces of the data set that is trained on, those of a public one, or, partner
 * by partner, either with equal chance. */
enum mix_pool_kind { MIX_POOL_PRIVATE, MIX_POOL_PUBLIC, MIX_POOL_BOTH };

/* Faces are numbered: 0..privates-1 have an identity, privates..privates+publics-1 are public and have none.
 */
struct mix_pool {
  enum mix_pool_kind kind;
  const uint32_t *identities; /* (privates) */
  uint32_t privates, publics;
};

/* What becomes in training of the templates of samples that are not left unmixed, that is of k > 1. */
struct mix_protection {
  uint32_t drop; /* the lowest frequencies of each colour that they lose; 0 = none beside the mask's own */
  bool alone;    /* they are of one face all the same: they lose frequencies and nothing is mixed */
};

/* How one sample of a batch is composed. */
struct mix {
  uint32_t k;               /* faces; 1 = unmixed */
  uint32_t drop;            /* lowest frequencies of each colour that the template loses; 0 = none */
  uint32_t member[MIX_MAX]; /* numbers of faces in the pool; member[0] is the lead */
  float lambda[MIX_MAX];    /* sum 1 */
  uint32_t labels;          /* distinct identities; their weights add up to the share of private faces */
  struct mix_label label[MIX_MAX];
};

/* k independent |N(0,1)| divided by their sum, redrawn while the largest exceeds 0.65 (k >= 2); k = 1 gives
 * {1}. */
void mix_draw_lambdas(struct rng *rng, uint32_t k, float *ret_lambda);
/* The same distribution by common random numbers: from equal states of rng every k sees the same rounds of
 * |N(0,1)|, and uses the first k of the first round that it need not redraw. Two k share a round as often as
 * both accept the same (2 and 6: about every third time), and their weights are then in proportion. */
void mix_draw_common_lambdas(struct rng *rng, uint32_t k, float *ret_lambda);
/* lambda_0 ~ Beta(alpha, alpha), k = 2 (mixup). */
void mix_draw_beta(struct rng *rng, float alpha, float *ret_lambda);

/* The largest k that the pool has partners for, at most MIX_MAX. */
uint32_t mix_pool_most(const struct mix_pool *pool);

/* Composes the private face `lead` with k - 1 partners drawn from the pool without replacement (k <=
 * mix_pool_most); of "both", each partner from either side with equal chance while both have faces left.
 * lambdas as given. Labels are the private identities, merged, largest weight first: a public face is no
 * class, so its share is evidence for nobody, and weights are not scaled up to make up for it. */
void mix_compose_from(struct rng *rng, uint32_t lead, uint32_t k, const float *lambda,
                      const struct mix_pool *pool, struct mix *ret_mix);

/* The same with a batch of `batch` private faces as the pool.
 * Composes sample `lead` of a batch of `batch` with k - 1 partners drawn without replacement from the others
 * (k <= batch); identities[] are those of the batch. lambdas as given. Labels are merged, largest weight
 * first. */
void mix_compose(struct rng *rng, uint32_t lead, uint32_t k, const float *lambda, const uint32_t *identities,
                 uint32_t batch, struct mix *ret_mix);

/* Faces in the template of a sample for which k was chosen, and how many frequencies it loses. */
static inline uint32_t mix_size(const struct mix_protection *protection, uint32_t k) {
  return protection->alone ? 1 : k;
}
static inline uint32_t mix_drop(const struct mix_protection *protection, uint32_t k) {
  return k > 1 ? protection->drop : 0;
}
/* The k that was chosen for it: 2 of one face that has lost frequencies. */
static inline uint32_t mix_choice(const struct mix *mix) {
  return mix->k == 1 && mix->drop > 0 ? 2 : mix->k;
}
/* Whether it is the template of one face as the mask makes it. */
static inline bool mix_is_plain(const struct mix *mix) {
  return mix->k == 1 && mix->drop == 0;
}

/* Sum of the labels' weights: the share of private faces. */
float mix_label_sum(const struct mix *mix);
/* What no plain soft-label cross-entropy with these weights falls below, nats: -sum w log w + W log W, W the
 * weights' sum. */
float mix_label_entropy(const struct mix *mix);

/* out[i] = sum_j lambda_j templates[member_j] for every sample; parallel over samples. elements: floats a
 * template. */
void mix_templates(const struct mix *mixes, uint32_t batch, const float *templates, size_t elements,
                   float *ret_mixed);

/* Sets the `drop` lowest frequencies of each colour, in JPEG's zig-zag order, to their mean, 0. template_
 * (channels, cells); channel: which of the 192 coefficients each is. */
void mix_lower(const uint16_t *channel, uint32_t channels, size_t cells, uint32_t drop, float *template_);
