#include "core/mask/mixing.h"

#include <math.h>
#include <string.h>

#define LAMBDA_MAX 0.65f

void mix_draw_lambdas(struct rng *rng, uint32_t k, float *ret_lambda) {
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
    if (sum > 0 && largest <= LAMBDA_MAX * sum) {
      for (uint32_t j = 0; j < k; j++)
        ret_lambda[j] /= sum;
      return;
    }
  }
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

static void merge_labels(struct mix *mix, const uint32_t *identities) {
  mix->labels = 0;
  for (uint32_t j = 0; j < mix->k; j++) {
    uint32_t identity = identities[mix->member[j]], at = 0;
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

void mix_compose(struct rng *rng, uint32_t lead, uint32_t k, const float *lambda, const uint32_t *identities,
                 uint32_t batch, struct mix *ret_mix) {
  memset(ret_mix, 0, sizeof(*ret_mix));
  ret_mix->k = k;
  ret_mix->member[0] = lead;
  for (uint32_t j = 1; j < k; j++) {
    bool taken = true;
    while (taken) {
      ret_mix->member[j] = rng_below(rng, batch);
      taken = false;
      for (uint32_t i = 0; i < j; i++)
        taken |= ret_mix->member[i] == ret_mix->member[j];
    }
  }
  memcpy(ret_mix->lambda, lambda, k * sizeof(*lambda));
  merge_labels(ret_mix, identities);
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
