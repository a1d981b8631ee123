/* Identification among a gallery: of all people with one picture each, who is it? */
#include <math.h>

#include "core/base/philox.h"
#include "core/metric/verify.h"

static float similarity(const float *a, const float *b, uint32_t dimension) {
  float sum = 0;
  for (uint32_t d = 0; d < dimension; d++)
    sum += a[d] * b[d];
  return sum;
}

/* Draws the image that stands for each person. Returns how many people there are. */
static uint32_t draw_gallery(const uint32_t *identity, uint32_t count, uint64_t seed, uint32_t *ret_gallery) {
  uint32_t people = 0;
  struct rng rng;
  rng_init(&rng, seed, RNG_PAIRS, 1, 0);
  for (uint32_t first = 0, end; first < count; first = end) {
    for (end = first; end < count && identity[end] == identity[first];)
      end++;
    ret_gallery[people++] = first + rng_below(&rng, end - first);
  }
  return people;
}

/* Whether the person's own picture is more similar than everybody else's; a tie is a miss. */
static bool is_found(const float *embeddings, uint32_t dimension, const uint32_t *gallery, uint32_t people,
                     uint32_t probe, uint32_t own) {
  const float *at = embeddings + (size_t)probe * dimension,
              right = similarity(at, embeddings + (size_t)gallery[own] * dimension, dimension);
  for (uint32_t p = 0; p < people; p++)
    if (p != own && similarity(at, embeddings + (size_t)gallery[p] * dimension, dimension) >= right)
      return false;
  return true;
}

int verification_rank_1(const float *embeddings, uint32_t dimension, const uint32_t *identity, uint32_t count,
                        uint64_t seed, double *ret_rank_1) {
  _cleanup_(freep) uint32_t *gallery = calloc(count + 1u, sizeof(*gallery));
  _cleanup_(freep) uint32_t *person = calloc(count + 1u, sizeof(*person));
  uint32_t probes = 0, found = 0;
  if (!gallery || !person)
    return -ENOMEM;
  const uint32_t people = draw_gallery(identity, count, seed, gallery);
  for (uint32_t i = 1; i < count; i++)
    person[i] = person[i - 1] + (identity[i] != identity[i - 1]);
#pragma omp parallel for schedule(static) reduction(+ : probes, found)
  for (uint32_t i = 0; i < count; i++)
    if (i != gallery[person[i]]) {
      probes++;
      found += is_found(embeddings, dimension, gallery, people, i, person[i]);
    }
  *ret_rank_1 = people >= 2 && probes > 0 ? (double)found / probes : (double)NAN;
  return 0;
}
