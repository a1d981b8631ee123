#include "core/base/philox.h"

#include <math.h>

void philox4x32(const uint32_t key[2], const uint32_t counter[4], uint32_t ret_words[4]) {
  uint32_t k0 = key[0], k1 = key[1];
  uint32_t c0 = counter[0], c1 = counter[1], c2 = counter[2], c3 = counter[3];
  for (int round = 0; round < 10; round++) {
    uint64_t p0 = (uint64_t)0xD2511F53u * c0;
    uint64_t p1 = (uint64_t)0xCD9E8D57u * c2;
    uint32_t n0 = (uint32_t)(p1 >> 32) ^ c1 ^ k0;
    uint32_t n2 = (uint32_t)(p0 >> 32) ^ c3 ^ k1;
    c0 = n0;
    c1 = (uint32_t)p1;
    c2 = n2;
    c3 = (uint32_t)p0;
    k0 += 0x9E3779B9u;
    k1 += 0xBB67AE85u;
  }
  ret_words[0] = c0;
  ret_words[1] = c1;
  ret_words[2] = c2;
  ret_words[3] = c3;
}

void rng_init(struct rng *rng, uint64_t seed, enum rng_stream stream, uint64_t step, uint32_t sample) {
  rng->key[0] = (uint32_t)seed;
  rng->key[1] = (uint32_t)(seed >> 32);
  rng->counter[0] = 0; /* index within the sequence */
  rng->counter[1] = sample;
  rng->counter[2] = (uint32_t)step;
  rng->counter[3] = ((uint32_t)stream << 24) | ((uint32_t)(step >> 32) & 0xffffffu);
  rng->left = 0;
}

uint32_t rng_u32(struct rng *rng) {
  if (rng->left == 0) {
    philox4x32(rng->key, rng->counter, rng->buffer);
    rng->counter[0]++;
    rng->left = 4;
  }
  return rng->buffer[--rng->left];
}

float rng_uniform(struct rng *rng) {
  return (float)(rng_u32(rng) >> 8) * 0x1p-24f;
}

float rng_normal(struct rng *rng) {
  float u = ((float)(rng_u32(rng) >> 8) + 1.0f) * 0x1p-24f; /* (0,1]: the logarithm stays finite */
  float v = rng_uniform(rng);
  return sqrtf(-2.0f * logf(u)) * cosf(6.28318530717958647692f * v);
}

uint32_t rng_below(struct rng *rng, uint32_t bound) {
  /* Lemire's multiplication with rejection of the biased low part. */
  uint64_t product = (uint64_t)rng_u32(rng) * bound;
  uint32_t low = (uint32_t)product;
  if (low < bound) {
    uint32_t threshold = (uint32_t)-bound % bound;
    while (low < threshold) {
      product = (uint64_t)rng_u32(rng) * bound;
      low = (uint32_t)product;
    }
  }
  return (uint32_t)(product >> 32);
}

void rng_permutation(struct rng *rng, uint32_t *values, uint32_t count) {
  for (uint32_t i = 0; i < count; i++)
    values[i] = i;
  for (uint32_t i = count; i > 1; i--) {
    uint32_t j = rng_below(rng, i);
    uint32_t swap = values[i - 1];
    values[i - 1] = values[j];
    values[j] = swap;
  }
}
