#include "core/mask/decoys.h"

#include <math.h>
#include <string.h>

#include "core/base/memory.h"

int decoys_new(uint32_t count, uint32_t mixes, size_t elements, const float *templates,
               struct decoys **ret_decoys, struct guise_error *err) {
  if (count == 0 || count > DECOYS_MAX || mixes == 0 || mixes > DECOY_MIXES_MAX || elements == 0)
    return error_set(err, -EINVAL, "a model has 1 to %d decoys and 1 to %d mixes of them, not %u and %u",
                     DECOYS_MAX, DECOY_MIXES_MAX, count, mixes);
  for (size_t i = 0; i < count * elements; i++)
    if (!isfinite(templates[i]))
      return error_set(err, -EINVAL, "decoy %zu holds values that are not numbers", i / elements);
  struct decoys *decoys = calloc(1, sizeof(*decoys));
  float *copy = tensor_alloc(count * elements * sizeof(float));
  if (!decoys || !copy) {
    free(decoys);
    tensor_free(copy);
    return error_set(err, -ENOMEM, "out of memory for %u decoys", count);
  }
  memcpy(copy, templates, count * elements * sizeof(float));
  *decoys = (struct decoys){count, mixes, elements, copy};
  *ret_decoys = decoys;
  return 0;
}

struct decoys *decoys_free(struct decoys *decoys) {
  if (decoys) {
    tensor_free(decoys->templates);
    free(decoys);
  }
  return NULL;
}

int decoys_choose(uint64_t seed, const uint32_t *identity, uint32_t images, uint32_t people, uint32_t count,
                  uint32_t *ret_image, struct guise_error *err) {
  if (count > people)
    return error_set(err, -EINVAL,
                     "%u decoys need as many public people, but the public data set has %u: lower "
                     "mask.decoys or name a larger mask.public_dataset",
                     count, people);
  _cleanup_(freep) uint32_t *order = malloc(sizeof(*order) * (images + 1u));
  if (!order)
    return error_set(err, -ENOMEM, "out of memory choosing decoys");
  struct rng rng;
  rng_init(&rng, seed, RNG_DECOY, 0, 0);
  rng_permutation(&rng, order, images);
  uint32_t chosen = 0;
  for (uint32_t i = 0; i < images && chosen < count; i++) {
    bool known = false;
    for (uint32_t c = 0; c < chosen; c++)
      known |= identity[ret_image[c]] == identity[order[i]];
    if (!known)
      ret_image[chosen++] = order[i];
  }
  return chosen == count ? 0 : error_set(err, -EINVAL, "the public data set has no %u people", count);
}

uint64_t decoys_seed(const uint8_t *rgb, size_t bytes) {
  uint64_t hash = 0xcbf29ce484222325u;
  for (size_t i = 0; i + 8 <= bytes; i += 8) {
    uint64_t word = 0;
    for (int b = 7; b >= 0; b--)
      word = word << 8 | rgb[i + (size_t)b];
    hash = (hash ^ word) * 0x100000001b3u;
    hash ^= hash >> 32; /* a word's high bytes reach the low half too */
  }
  return hash;
}

void decoys_draw(const struct decoys *decoys, uint64_t seed, bool flip, uint32_t t, struct mix *ret_mix) {
  const uint32_t used = MIN(decoys->count, MIX_MAX - 1u);
  float sum = 0;
  struct rng rng;
  rng_init(&rng, seed, RNG_DECOY, t, flip);
  *ret_mix = (struct mix){.k = used + 1};
  const float lambda = DECOY_LAMBDA_LEAST + (DECOY_LAMBDA_MOST - DECOY_LAMBDA_LEAST) * rng_uniform(&rng);
  for (uint32_t j = 1; j <= used; j++) {
    bool taken = true;
    while (taken) {
      ret_mix->member[j] = rng_below(&rng, decoys->count);
      taken = false;
      for (uint32_t i = 1; i < j; i++)
        taken |= ret_mix->member[i] == ret_mix->member[j];
    }
    ret_mix->lambda[j] = fabsf(rng_normal(&rng)) + 1e-6f; /* so that the sum is never 0 */
    sum += ret_mix->lambda[j];
  }
  ret_mix->lambda[0] = lambda;
  for (uint32_t j = 1; j <= used; j++)
    ret_mix->lambda[j] *= (1 - lambda) / sum;
}

void decoys_apply(const struct decoys *decoys, uint64_t seed, bool flip, uint32_t t, float *template_) {
  struct mix mix;
  decoys_draw(decoys, seed, flip, t, &mix);
  for (size_t e = 0; e < decoys->elements; e++)
    template_[e] *= mix.lambda[0];
  for (uint32_t j = 1; j < mix.k; j++) {
    const float *decoy = decoys->templates + mix.member[j] * decoys->elements, weight = mix.lambda[j];
    for (size_t e = 0; e < decoys->elements; e++)
      template_[e] += weight * decoy[e];
  }
}
