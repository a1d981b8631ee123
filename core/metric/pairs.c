/* Verification pairs of held-out people. Nothing quadratic is ever written out: positive pairs are numbered
 * and, when there are too many, drawn by number (Floyd's algorithm), negative pairs are drawn and checked for
 * repeats. */
#include <stdlib.h>
#include <string.h>

#include "core/base/philox.h"
#include "core/metric/verify.h"

#define PAIR_FOLDS 10u
#define EMPTY UINT64_MAX

/* ---- a set of 64-bit numbers, sized once ---- */
struct number_set {
  uint64_t *slot;
  uint64_t mask;
};

static int number_set_init(struct number_set *set, uint64_t members) {
  uint64_t slots = 16;
  while (slots < 2 * members)
    slots *= 2;
  set->slot = malloc(slots * sizeof(*set->slot));
  if (!set->slot)
    return -ENOMEM;
  memset(set->slot, 0xff, slots * sizeof(*set->slot));
  set->mask = slots - 1;
  return 0;
}

static void number_set_done(struct number_set *set) {
  free(set->slot);
}

/* false when it was there already */
static bool number_set_add(struct number_set *set, uint64_t number) {
  uint64_t i = (number * 0x9E3779B97F4A7C15u) >> 20;
  for (;; i++) {
    uint64_t *slot = &set->slot[i & set->mask];
    if (*slot == number)
      return false;
    if (*slot == EMPTY) {
      *slot = number;
      return true;
    }
  }
}

static uint64_t below64(struct rng *rng, uint64_t bound) {
  uint64_t limit = UINT64_MAX - UINT64_MAX % bound;
  for (;;) {
    uint64_t high = rng_u32(rng), value = high << 32 | rng_u32(rng);
    if (value < limit)
      return value % bound;
  }
}

/* ---- people as runs of images ---- */
struct person_run {
  uint32_t first, images;
  uint64_t pairs_before; /* positive pairs of the runs before this one */
};

static int find_runs(const uint32_t *identity, uint32_t count, struct person_run **ret_runs,
                     uint32_t *ret_people, uint64_t *ret_positives) {
  struct person_run *runs = malloc(MAX(count, 1u) * sizeof(*runs));
  uint32_t people = 0;
  uint64_t positives = 0;
  if (!runs)
    return -ENOMEM;
  for (uint32_t i = 0; i < count;) {
    uint32_t end = i;
    while (end < count && identity[end] == identity[i])
      end++;
    uint64_t images = end - i;
    runs[people++] = (struct person_run){.first = i, .images = end - i, .pairs_before = positives};
    positives += images * (images - 1) / 2;
    i = end;
  }
  *ret_runs = runs;
  *ret_people = people;
  *ret_positives = positives;
  return 0;
}

/* The positive pair with this number: runs in order, within a run (0,1), (0,2), (1,2), (0,3) ... */
static struct face_pair positive_pair(const struct person_run *runs, uint32_t people, uint64_t number) {
  uint32_t low = 0, high = people;
  while (high - low > 1) {
    uint32_t middle = low + (high - low) / 2;
    *(runs[middle].pairs_before <= number ? &low : &high) = middle;
  }
  uint64_t within = number - runs[low].pairs_before, lower = 1, upper = runs[low].images;
  while (upper - lower > 1) { /* largest b with b (b - 1) / 2 <= within */
    uint64_t b = lower + (upper - lower) / 2;
    *(b * (b - 1) / 2 <= within ? &lower : &upper) = b;
  }
  return (struct face_pair){.a = runs[low].first + (uint32_t)(within - lower * (lower - 1) / 2),
                            .b = runs[low].first + (uint32_t)lower,
                            .same = true};
}

static int choose_positives(struct rng *rng, const struct person_run *runs, uint32_t people,
                            uint64_t available, uint32_t wanted, struct face_pair *pairs) {
  if (available == wanted) {
    for (uint32_t i = 0; i < wanted; i++)
      pairs[i] = positive_pair(runs, people, i);
    return 0;
  }
  _cleanup_(number_set_done) struct number_set taken = {0};
  if (number_set_init(&taken, wanted) < 0)
    return -ENOMEM;
  for (uint32_t i = 0; i < wanted; i++) { /* Floyd */
    uint64_t last = available - wanted + i, number = below64(rng, last + 1);
    if (!number_set_add(&taken, number)) {
      number = last;
      (void)number_set_add(&taken, number);
    }
    pairs[i] = positive_pair(runs, people, number);
  }
  return 0;
}

static void shuffle_pairs(struct rng *rng, struct face_pair *pairs, uint32_t count) {
  for (uint32_t i = count; i > 1; i--) {
    uint32_t j = rng_below(rng, i);
    struct face_pair swap = pairs[i - 1];
    pairs[i - 1] = pairs[j];
    pairs[j] = swap;
  }
}

/* Few people: most draws would repeat, so every negative pair is written out and shuffled. available < 2 *
 * wanted. */
static int list_negatives(struct rng *rng, const uint32_t *identity, uint32_t count, uint64_t available,
                          uint32_t wanted, struct face_pair *pairs) {
  _cleanup_(freep) struct face_pair *all = malloc(available * sizeof(*all));
  uint32_t n = 0;
  if (!all)
    return -ENOMEM;
  for (uint32_t a = 0; a < count; a++)
    for (uint32_t b = a + 1; b < count; b++)
      if (identity[a] != identity[b])
        all[n++] = (struct face_pair){.a = a, .b = b};
  shuffle_pairs(rng, all, n);
  memcpy(pairs, all, wanted * sizeof(*pairs));
  return 0;
}

static int choose_negatives(struct rng *rng, const uint32_t *identity, uint32_t count, uint64_t available,
                            uint32_t wanted, struct face_pair *pairs) {
  if (available < 2 * (uint64_t)wanted)
    return list_negatives(rng, identity, count, available, wanted, pairs);
  _cleanup_(number_set_done) struct number_set taken = {0};
  if (number_set_init(&taken, wanted) < 0)
    return -ENOMEM;
  for (uint32_t n = 0; n < wanted;) {
    uint32_t x = rng_below(rng, count), y = rng_below(rng, count);
    uint32_t a = MIN(x, y), b = MAX(x, y);
    if (identity[a] == identity[b] || !number_set_add(&taken, (uint64_t)a * count + b))
      continue;
    pairs[n++] = (struct face_pair){.a = a, .b = b};
  }
  return 0;
}

int verification_pairs(const uint32_t *identity, uint32_t count, uint32_t most, uint64_t seed,
                       struct face_pair **ret_pairs, uint32_t *ret_count, struct guise_error *err) {
  _cleanup_(freep) struct person_run *runs = NULL;
  uint32_t people = 0;
  uint64_t positives = 0;
  if (find_runs(identity, count, &runs, &people, &positives) < 0)
    return error_set(err, -ENOMEM, "out of memory for verification pairs");
  uint64_t negatives = (uint64_t)count * (count ? count - 1 : 0) / 2 - positives;
  if (positives == 0)
    return error_set(err, -EINVAL, "verification needs a person with two images; hold out more people");
  if (negatives == 0)
    return error_set(err, -EINVAL, "verification needs two people; hold out more people");
  uint32_t wanted = (uint32_t)MIN(MIN(positives, (uint64_t)most), (uint64_t)(UINT32_MAX / 2));
  uint32_t strangers = (uint32_t)MIN(negatives, (uint64_t)wanted);
  if (wanted == 0)
    return error_set(err, -EINVAL, "the limit of verification pairs is zero");

  uint32_t total = wanted + strangers;
  _cleanup_(freep) struct face_pair *pairs = malloc(total * sizeof(*pairs));
  struct rng rng;
  rng_init(&rng, seed, RNG_PAIRS, 0, 0);
  if (!pairs || choose_positives(&rng, runs, people, positives, wanted, pairs) < 0 ||
      choose_negatives(&rng, identity, count, negatives, strangers, pairs + wanted) < 0)
    return error_set(err, -ENOMEM, "out of memory for %u verification pairs", total);
  /* Shuffled before dealing, so that a person's pairs do not fill one fold. */
  shuffle_pairs(&rng, pairs, wanted);
  for (uint32_t i = 0; i < total; i++)
    pairs[i].fold = i % PAIR_FOLDS;
  *ret_pairs = TAKE(pairs);
  *ret_count = total;
  return 0;
}
