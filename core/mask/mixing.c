#include "core/mask/mixing.h"

#include <math.h>
#include <string.h>

#include "core/freq/dct.h"

#define LAMBDA_MAX 0.65f

/* Rounds of `draws` >= k normals, of which the first k count. */
static void draw_rounds(struct rng *rng, uint32_t k, uint32_t draws, float *ret_lambda) {
  if (k <= 1) {
    ret_lambda[0] = 1;
    return;
  }
  for (;;) {
    float sum = 0, largest = 0;
    for (uint32_t j = 0; j < k; j++) {
      ret_lambda[j] = fabsf(rng_normal(rng));
      sum += ret_lambda[j];
      largest = fmaxf(largest, ret_lambda[j]);
    }
    for (uint32_t j = k; j < draws; j++)
      (void)rng_normal(rng);
    if (sum > 0 && largest <= LAMBDA_MAX * sum) {
      for (uint32_t j = 0; j < k; j++)
        ret_lambda[j] /= sum;
      return;
    }
  }
}

void mix_draw_lambdas(struct rng *rng, uint32_t k, float *ret_lambda) {
  draw_rounds(rng, k, k, ret_lambda);
}

void mix_draw_common_lambdas(struct rng *rng, uint32_t k, float *ret_lambda) {
  draw_rounds(rng, k, MIX_MAX, ret_lambda);
}

/* Jöhnk's method: u^(1/alpha), v^(1/alpha) given that their sum is at most 1; in logarithms, since small
 * alpha underflows. */
void mix_draw_beta(struct rng *rng, float alpha, float *ret_lambda) {
  for (;;) {
    double x = log((double)rng_uniform(rng) + 0x1p-25) / (double)alpha,
           y = log((double)rng_uniform(rng) + 0x1p-25) / (double)alpha;
    double larger = fmax(x, y), sum = larger + log(exp(x - larger) + exp(y - larger));
    if (sum > 0)
      continue;
    ret_lambda[0] = (float)exp(x - sum);
    ret_lambda[1] = 1 - ret_lambda[0];
    return;
  }
}

static void merge_labels(struct mix *mix, const struct mix_pool *pool) {
  mix->labels = 0;
  for (uint32_t j = 0; j < mix->k; j++) {
    if (mix->member[j] >= pool->privates)
      continue;
    uint32_t identity = pool->identities[mix->member[j]], at = 0;
    while (at < mix->labels && mix->label[at].identity != identity)
      at++;
    if (at == mix->labels)
      mix->label[mix->labels++] = (struct mix_label){identity, 0};
    mix->label[at].weight += mix->lambda[j];
  }
  for (uint32_t i = 1; i < mix->labels; i++) /* insertion sort, stable: largest weight first */
    for (uint32_t j = i; j > 0 && mix->label[j].weight > mix->label[j - 1].weight; j--) {
      struct mix_label swap = mix->label[j];
      mix->label[j] = mix->label[j - 1];
      mix->label[j - 1] = swap;
    }
}

uint32_t mix_pool_most(const struct mix_pool *pool) {
  const uint32_t own = pool->kind == MIX_POOL_PUBLIC ? 1 : MIN(pool->privates, MIX_MAX);
  return MIN(own + (pool->kind == MIX_POOL_PRIVATE ? 0 : MIN(pool->publics, MIX_MAX)), MIX_MAX);
}

static bool is_taken(const struct mix *mix, uint32_t count, uint32_t face) {
  for (uint32_t i = 0; i < count; i++)
    if (mix->member[i] == face)
      return true;
  return false;
}

/* Whether the next partner is public. */
static bool draw_side(struct rng *rng, const struct mix_pool *pool, uint32_t privates_taken,
                      uint32_t publics_taken) {
  if (pool->kind != MIX_POOL_BOTH)
    return pool->kind == MIX_POOL_PUBLIC;
  const bool public = rng_u32(rng) & 1;
  if (public)
    return publics_taken < pool->publics;
  return privates_taken >= pool->privates;
}

void mix_compose_from(struct rng *rng, uint32_t lead, uint32_t k, const float *lambda,
                      const struct mix_pool *pool, struct mix *ret_mix) {
  uint32_t taken[2] = {1, 0}; /* private (the lead), public */
  memset(ret_mix, 0, sizeof(*ret_mix));
  ret_mix->k = k;
  ret_mix->member[0] = lead;
  for (uint32_t j = 1; j < k; j++) {
    const bool public = draw_side(rng, pool, taken[0], taken[1]);
    do
      ret_mix->member[j] =
          public ? pool->privates + rng_below(rng, pool->publics) : rng_below(rng, pool->privates);
    while (is_taken(ret_mix, j, ret_mix->member[j]));
    taken[public]++;
  }
  memcpy(ret_mix->lambda, lambda, k * sizeof(*lambda));
  merge_labels(ret_mix, pool);
}

void mix_compose(struct rng *rng, uint32_t lead, uint32_t k, const float *lambda, const uint32_t *identities,
                 uint32_t batch, struct mix *ret_mix) {
  const struct mix_pool pool = {.kind = MIX_POOL_PRIVATE, .identities = identities, .privates = batch};
  mix_compose_from(rng, lead, k, lambda, &pool, ret_mix);
}

float mix_label_sum(const struct mix *mix) {
  float sum = 0;
  for (uint32_t j = 0; j < mix->labels; j++)
    sum += mix->label[j].weight;
  return sum;
}

float mix_label_entropy(const struct mix *mix) {
  const float sum = mix_label_sum(mix);
  float entropy = sum > 0 ? sum * logf(sum) : 0;
  for (uint32_t j = 0; j < mix->labels; j++)
    if (mix->label[j].weight > 0)
      entropy -= mix->label[j].weight * logf(mix->label[j].weight);
  return entropy;
}

void mix_templates(const struct mix *mixes, uint32_t batch, const float *templates, size_t elements,
                   float *ret_mixed) {
#pragma omp parallel for schedule(static)
  for (uint32_t i = 0; i < batch; i++) {
    const struct mix *mix = &mixes[i];
    float *restrict out = ret_mixed + i * elements;
    const float *first = templates + mix->member[0] * elements;
    for (size_t e = 0; e < elements; e++)
      out[e] = mix->lambda[0] * first[e];
    for (uint32_t j = 1; j < mix->k; j++) {
      const float *member = templates + mix->member[j] * elements;
      float lambda = mix->lambda[j];
      for (size_t e = 0; e < elements; e++)
        out[e] += lambda * member[e];
    }
  }
}

void mix_lower(const uint16_t *channel, uint32_t channels, size_t cells, uint32_t drop, float *template_) {
  bool low[DCT_COEFFICIENTS] = {false};
  for (uint32_t rank = 0; rank < MIN(drop, DCT_COEFFICIENTS); rank++)
    low[zigzag8[rank]] = true;
  for (uint32_t c = 0; c < channels; c++)
    if (low[channel[c] % DCT_COEFFICIENTS])
      memset(template_ + c * cells, 0, cells * sizeof(float));
}
