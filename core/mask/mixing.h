/* Mixing of templates and of labels (MixUp in the frequency domain): x_mix = sum_j lambda_j z_j. */
#pragma once

#include <stdint.h>

#include "core/base/philox.h"
#include "core/mask/mask.h"

struct mix_label {
  uint32_t identity;
  float weight; /* lambda, merged over equal identities */
};

/* How one sample of a batch is composed. */
struct mix {
  uint32_t k;               /* 1 = unmixed */
  uint32_t member[MIX_MAX]; /* indices into the batch; member[0] is the lead */
  float lambda[MIX_MAX];    /* sum 1 */
  uint32_t labels;          /* distinct identities */
  struct mix_label label[MIX_MAX];
};

/* k independent |N(0,1)| divided by their sum, redrawn while the largest exceeds 0.65 (k >= 2); k = 1 gives
 * {1}. */
void mix_draw_lambdas(struct rng *rng, uint32_t k, float *ret_lambda);
/* lambda_0 ~ Beta(alpha, alpha), k = 2 (mixup). */
void mix_draw_beta(struct rng *rng, float alpha, float *ret_lambda);

/* Composes sample `lead` of a batch of `batch` with k - 1 partners drawn without replacement from the others
 * (k <= batch); identities[] are those of the batch. lambdas as given. Labels are merged, largest weight
 * first. */
void mix_compose(struct rng *rng, uint32_t lead, uint32_t k, const float *lambda, const uint32_t *identities,
                 uint32_t batch, struct mix *ret_mix);

/* out[i] = sum_j lambda_j templates[member_j] for every sample; parallel over samples. elements: floats a
 * template. */
void mix_templates(const struct mix *mixes, uint32_t batch, const float *templates, size_t elements,
                   float *ret_mixed);
