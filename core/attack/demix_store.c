#include "core/attack/demix_store.h"

#include <math.h>
#include <omp.h>
#include <string.h>

#include "core/base/memory.h"
#include "core/base/philox.h"

#define SHARE_DRAWS 1024u
#define DRAW_SKETCH ((1ull << 34) + 2) /* sequences of RNG_ATTACK beyond those of victims.c */
#define SEED_TURN 0x9E3779B97F4A7C15ull

int demix_worker_init(struct demix_worker *worker, const struct mask *mask) {
  memset(worker, 0, sizeof(*worker));
  int r = recoverer_init(&worker->recoverer, mask);
  if (r < 0)
    return r;
  worker->part = tensor_alloc(mask_elements(mask) * sizeof(float));
  worker->mixed = tensor_alloc(mask_elements(mask) * sizeof(float));
  worker->views = tensor_alloc(DEMIX_TURNS * worker->recoverer.solver.pixels * sizeof(float));
  return worker->part && worker->mixed && worker->views ? 0 : -ENOMEM;
}

void demix_worker_done(struct demix_worker *worker) {
  recoverer_done(&worker->recoverer);
  tensor_free(worker->part);
  tensor_free(worker->mixed);
  tensor_free(worker->views);
}

/* Frozen mixes whose k is drawn anew each time a recipe is used. */
static bool draws_k_anew(const struct demix_store *store) {
  return store->mixing && store->mixing->recipes > 0 && store->mixing->uses > 1;
}

void demix_store_mix(const struct demix_store *store, uint32_t mix, struct mix *ret_mix) {
  const uint32_t face = mix / store->turns, turn = mix % store->turns;
  if (!store->mixing) {
    mix_single(face, ret_mix);
    return;
  }
  struct attack_mixing mixing = *store->mixing;
  for (uint32_t earlier = turn; draws_k_anew(store) && earlier >= mixing.recipes;) {
    earlier -= mixing.recipes;
    demix_store_mix(store, face * store->turns + earlier, ret_mix);
    /* whoever is unmixed is so each time, and where the policy left a recipe alone further mixes tell no more
     */
    if (ret_mix->k == 1)
      return;
    mixing.probability[ret_mix->k] = 0; /* no recipe's k comes twice */
    mixing.unmixed = 0;
  }
  face_sample_mix(store->sample, &mixing, face, store->context->seed + turn * SEED_TURN, ret_mix);
}

bool demix_store_repeats(const struct demix_store *store, uint32_t number) {
  const uint32_t turn = number % store->turns;
  struct mix mix;
  if (!store->mixing || turn == 0 || mask_traits(mask_method(store->mask))->random)
    return false;
  demix_store_mix(store, number, &mix);
  for (uint32_t earlier = 1; mix.k == 1 && earlier <= turn; earlier++) {
    struct mix before;
    demix_store_mix(store, number - earlier, &before);
    if (before.k == 1 && before.drop <= mix.drop) /* one that has lost less tells more */
      return true;
  }
  return false;
}

uint32_t demix_store_mixes(const struct demix_store *store, uint32_t face, uint32_t ret_mixes[DEMIX_TURNS]) {
  uint32_t count = 0;
  for (uint32_t mix = face * store->turns; mix < (face + 1) * store->turns; mix++)
    if (!demix_store_repeats(store, mix))
      ret_mixes[count++] = mix;
  return count;
}

uint32_t demix_store_picture(struct demix_worker *worker, const struct demix_store *store, uint32_t number) {
  struct mix mix;
  demix_store_mix(store, number, &mix);
  face_sample_template(store->sample, store->mask, &mix, number % store->turns,
                       worker->recoverer.solver.scratch, worker->part, worker->mixed);
  return recover(&worker->recoverer, worker->mixed);
}

/* Inner products of sketches are those of the pictures, but for an error of 1 / sqrt(DEMIX_SKETCH) (Charikar,
 * Chen and Farach-Colton, "Finding frequent items in data streams", 2002). */
static void add_to_sketch(const struct demix_store *store, const float *picture, float sign, float *sketch) {
  for (size_t i = 0; i < store->pixels; i++)
    sketch[store->bucket[i] >> 1] += store->bucket[i] & 1 ? sign * picture[i] : -sign * picture[i];
}

double demix_dot(const float *a, const float *b, size_t n) {
  double sum = 0;
  for (size_t i = 0; i < n; i++)
    sum += (double)a[i] * (double)b[i];
  return sum;
}

bool demix_stop(const struct attack_context *context, atomic_int *status) {
  if (omp_get_thread_num() == 0 && context->should_stop && context->should_stop(context->stop_context))
    atomic_store(status, -ECANCELED);
  return atomic_load(status) < 0;
}

/* Sketches and sums of all pictures, their number, and the mean of their squares. */
static int look_through(struct demix_store *store, uint32_t *ret_pictures, double *ret_square,
                        uint32_t *ret_steps) {
  const struct attack_context *context = store->context;
  const uint32_t count = store->sample->count;
  _cleanup_(freep) double *squares = calloc(count, sizeof(*squares));
  _cleanup_(freep) uint32_t *steps = calloc(count, sizeof(*steps)), *seen = calloc(count, sizeof(*seen));
  atomic_int status = squares && steps && seen ? 0 : -ENOMEM;
#pragma omp parallel num_threads(context->threads)
  {
    struct demix_worker worker;
    int r = demix_worker_init(&worker, store->mask);
    if (r < 0)
      atomic_store(&status, r);
#pragma omp for schedule(dynamic)
    for (uint32_t i = 0; i < count; i++) {
      if (demix_stop(context, &status))
        continue;
      uint32_t mixes[DEMIX_TURNS];
      seen[i] = demix_store_mixes(store, i, mixes);
      for (uint32_t t = 0; t < seen[i]; t++) {
        const float *x = worker.recoverer.solver.x;
        const uint32_t done = demix_store_picture(&worker, store, mixes[t]);
        steps[i] = MAX(steps[i], done);
        add_to_sketch(store, x, 1, store->sketch + (size_t)mixes[t] * DEMIX_SKETCH);
        squares[i] += demix_dot(x, x, store->pixels);
        for (size_t p = 0; p < store->pixels; p++)
          store->sums[i * store->pixels + p] += x[p];
      }
    }
    demix_worker_done(&worker);
  }
  for (uint32_t i = 0; i < count && atomic_load(&status) == 0; i++)
    *ret_pictures += seen[i];
  for (uint32_t i = 0; i < count && atomic_load(&status) == 0; i++) {
    *ret_square += squares[i] / *ret_pictures;
    *ret_steps = MAX(*ret_steps, steps[i]);
  }
  return atomic_load(&status);
}

static void take_mean_out(struct demix_store *store, uint32_t pictures) {
  const uint32_t mixes = store->sample->count * store->turns;
  for (uint32_t i = 0; i < store->sample->count; i++)
    for (size_t p = 0; p < store->pixels; p++)
      store->mean[p] += store->sums[i * store->pixels + p] / (float)pictures;
#pragma omp parallel for schedule(static) num_threads(store->context->threads)
  for (uint32_t mix = 0; mix < mixes; mix++) {
    float *sketch = store->sketch + (size_t)mix * DEMIX_SKETCH;
    if (demix_store_repeats(store, mix))
      continue;
    add_to_sketch(store, store->mean, -1, sketch);
    const float length = (float)sqrt(demix_dot(sketch, sketch, DEMIX_SKETCH));
    for (uint32_t s = 0; s < DEMIX_SKETCH && length > 0; s++)
      sketch[s] /= length;
  }
}

/* The mean of sum lambda^2 over mixes as the attacker knows them to be drawn: 1 unmixed. */
static double mean_square_share(const struct demix_store *store) {
  const uint32_t turns = draws_k_anew(store) ? store->turns : 1; /* else those of all turns are alike */
  struct attack_context context = *store->context;
  struct demix_store other = *store;
  uint32_t pictures = 0;
  double sum = 0;
  if (!store->mixing)
    return 1;
  other.context = &context;
  for (uint32_t i = 0; i < SHARE_DRAWS; i++) {
    const uint32_t number = i % store->sample->count * store->turns + i % turns;
    struct mix mix;
    context.seed = ~(store->context->seed + (uint64_t)i * turns * SEED_TURN);
    if (demix_store_repeats(&other, number))
      continue;
    demix_store_mix(&other, number, &mix);
    pictures++;
    for (uint32_t j = 0; j < mix.k; j++)
      sum += (double)mix.lambda[j] * (double)mix.lambda[j];
  }
  return sum / pictures;
}

int demix_store_init(struct demix_store *store, uint32_t *ret_steps) {
  const size_t count = store->sample->count;
  double square = 0;
  uint32_t pictures = 0;
  struct rng rng;
  store->pixels = (size_t)3 * mask_size(store->mask) * mask_size(store->mask);
  store->mean = calloc(store->pixels, sizeof(float));
  store->sums = calloc(count * store->pixels, sizeof(float));
  store->sketch = calloc(count * store->turns * DEMIX_SKETCH, sizeof(float));
  store->bucket = calloc(store->pixels, sizeof(*store->bucket));
  if (!store->mean || !store->sums || !store->sketch || !store->bucket)
    return -ENOMEM;
  rng_init(&rng, store->context->seed, RNG_ATTACK, DRAW_SKETCH, 0);
  for (size_t p = 0; p < store->pixels; p++)
    store->bucket[p] = (uint16_t)rng_below(&rng, 2 * DEMIX_SKETCH);
  int r = look_through(store, &pictures, &square, ret_steps);
  if (r < 0)
    return r;
  take_mean_out(store, pictures);
  store->power =
      fmax(square - demix_dot(store->mean, store->mean, store->pixels), 0) / mean_square_share(store);
  return 0;
}

void demix_store_done(struct demix_store *store) {
  free(store->mean);
  free(store->sums);
  free(store->sketch);
  free(store->bucket);
}
