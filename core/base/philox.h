/* Counter-based random numbers: Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3",
 * SC'11).
 *
 * A draw is a pure function of (seed, stream, step, sample, index): the order in which threads ask never
 * changes an answer, and a resumed job continues exactly where it was. Each purpose has a stream of its own.
 */
#pragma once

#include <stdint.h>

enum rng_stream {
  RNG_INIT = 1,     /* weights */
  RNG_SPLIT = 2,    /* who is held out */
  RNG_SHUFFLE = 3,  /* order of an epoch */
  RNG_AUGMENT = 4,  /* flips, crops */
  RNG_DROPOUT = 5,  /* dropout masks */
  RNG_MIX = 6,      /* partners and lambdas */
  RNG_STRATEGY = 7, /* actions of the strategy network */
  RNG_PAIRS = 8,    /* verification pairs */
  RNG_ATTACK = 9,   /* attackers */
  RNG_BOOTSTRAP = 10,
  RNG_SYNTH = 11,     /* synthetic faces */
  RNG_MASK = 20,      /* what a masking method draws */
  RNG_AFTER_MIX = 21, /* and what it draws for a mix */
  RNG_POOL = 30,      /* a step's public faces */
  RNG_RECIPE = 31,    /* frozen mixes */
  RNG_DECOY = 32,     /* which decoys a model has, and their weights */
  RNG_DEFENCE = 33,   /* whom a sample is pushed towards */
  RNG_UNMIXED = 34,   /* who stays unmixed */
  RNG_ANALYSIS = 40,  /* order and augmentation of the analysis network's images */
};

struct rng {
  uint32_t key[2];
  uint32_t counter[4];
  uint32_t buffer[4];
  uint32_t left; /* unused words in buffer */
};

/* One block: 4 words of 32 random bits. */
void philox4x32(const uint32_t key[2], const uint32_t counter[4], uint32_t ret_words[4]);

/* A sequence for one (seed, stream, step, sample); steps up to 2^40, samples up to 2^24 share no counter. */
void rng_init(struct rng *rng, uint64_t seed, enum rng_stream stream, uint64_t step, uint32_t sample);
uint32_t rng_u32(struct rng *rng);
float rng_uniform(struct rng *rng);                  /* [0,1) on a grid of 2^-24 */
float rng_normal(struct rng *rng);                   /* N(0,1), Box-Muller */
uint32_t rng_below(struct rng *rng, uint32_t bound); /* [0,bound), unbiased; bound >= 1 */

/* Fisher-Yates over `count` indices; values[] is filled with a permutation of 0..count-1. */
void rng_permutation(struct rng *rng, uint32_t *values, uint32_t count);
