#include "core/attack/membership_figures.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/philox.h"

#define BOOTSTRAP_DRAWS 1000u
#define CHANCE_DRAWS 50u
#define DRAW_LABELS ((1ull << 36) + 3) /* sequence of RNG_ATTACK, beyond those of membership.c */

#define OTHERS_LEAST 10 /* false ones that a share of them must mean */

const double membership_rates[MEMBERSHIP_RATES] = {2e-3, 5e-3, 2e-2, 5e-2, 1e-1};

/* Of a measurement: shares of false ones, [AUROC] unused. */
struct rates {
  double share[FIGURES];
};

static uint32_t count_others(const struct membership_targets *targets) {
  uint32_t others = 0;
  for (uint32_t i = 0; i < targets->count; i++)
    others += !targets->member[i];
  return others;
}

double membership_least_rate(const struct membership_targets *targets) {
  const double least = OTHERS_LEAST / (double)MAX(count_others(targets), 1u);
  for (size_t i = 0; i < MEMBERSHIP_RATES; i++) {
    if (least <= 1e-3 || (membership_rates[i] > 1e-2 && least <= 1e-2))
      return NAN; /* the fixed one is the smallest */
    if (least <= membership_rates[i])
      return membership_rates[i];
  }
  return NAN;
}

static struct rates rates_of(const struct membership_targets *targets) {
  return (struct rates){{[TPR_2] = 1e-2, [TPR_3] = 1e-3, [TPR_LEAST] = membership_least_rate(targets)}};
}

struct ranked {
  double score;
  uint32_t person;
  bool member;
};

static int falling_score(const void *a, const void *b) {
  const struct ranked *x = a, *y = b;
  return (x->score < y->score) - (x->score > y->score);
}

/* Where a run of equal scores ends. */
static uint32_t run_end(const struct ranked *ranked, uint32_t count, uint32_t i) {
  const double score = ranked[i].score;
  while (i < count && ranked[i].score == score)
    i++;
  return i;
}

/* Each person counted weight times (NULL: once). Equal scores are taken together. */
static void figures_of(const struct ranked *ranked, uint32_t count, const struct rates *rates,
                       const uint32_t *weight, double ret_value[FIGURES]) {
  double members = 0, others = 0, found = 0, wrong = 0, area = 0, tpr[FIGURES] = {0};
  for (uint32_t i = 0; i < count; i++)
    *(ranked[i].member ? &members : &others) += weight ? weight[ranked[i].person] : 1;
  for (uint32_t i = 0, end; i < count; i = end) {
    double more_found = 0, more_wrong = 0;
    end = run_end(ranked, count, i);
    for (uint32_t k = i; k < end; k++)
      *(ranked[k].member ? &more_found : &more_wrong) += weight ? weight[ranked[k].person] : 1;
    area += more_wrong * (found + more_found / 2);
    found += more_found;
    wrong += more_wrong;
    for (int f = TPR_2; f <= TPR_LEAST; f++)
      if (wrong <= rates->share[f] * others)
        tpr[f] = found / members;
  }
  ret_value[AUROC] = area / (members * others);
  for (int f = TPR_2; f <= TPR_LEAST; f++)
    ret_value[f] = weight || others >= OTHERS_LEAST / rates->share[f] ? tpr[f] : (double)NAN;
}

static int rising(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

/* Mean over the tenth of people whose members are found most often, against everybody's others. sums: (2,
 * people), spent; the first half are the people's own figures. */
static double worst_tenth(const struct ranked *ranked, uint32_t count, uint32_t people,
                          const struct rates *rates, enum figure figure, double *sums) {
  double others = 0, wrong = 0, sum = 0, *images = sums + people;
  const uint32_t tenth = (people + 9) / 10;
  memset(sums, 0, 2 * people * sizeof(*sums));
  for (uint32_t i = 0; i < count; i++)
    others += !ranked[i].member;
  for (uint32_t i = 0, end; i < count; i = end) {
    double more = 0;
    end = run_end(ranked, count, i);
    for (uint32_t k = i; k < end; k++)
      more += !ranked[k].member;
    for (uint32_t k = i; k < end; k++)
      if (ranked[k].member) {
        sums[ranked[k].person] += figure == AUROC ? (others - wrong - more / 2) / others
                                                  : wrong + more <= rates->share[figure] * others;
        images[ranked[k].person]++;
      }
    wrong += more;
  }
  for (uint32_t p = 0; p < people; p++)
    sums[p] /= images[p]; /* everybody has one */
  qsort(sums, people, sizeof(*sums), rising);
  for (uint32_t p = people - tenth; p < people; p++)
    sum += sums[p];
  return sum / tenth;
}

static void rank(const struct membership_targets *targets, const double *scores, const uint8_t *member,
                 struct ranked *ret_ranked) {
  for (uint32_t i = 0; i < targets->count; i++)
    ret_ranked[i] = (struct ranked){scores[i], targets->person[i], member[i]};
  qsort(ret_ranked, targets->count, sizeof(*ret_ranked), falling_score);
}

static void bootstrap(const struct membership_targets *targets, const struct ranked *ranked,
                      const struct rates *rates, uint64_t seed,
                      double *draws /* (FIGURES, BOOTSTRAP_DRAWS) */, uint32_t *weight,
                      struct membership_figures *figures) {
  for (uint32_t d = 0; d < BOOTSTRAP_DRAWS; d++) {
    double value[FIGURES];
    struct rng rng;
    memset(weight, 0, targets->people * sizeof(*weight));
    rng_init(&rng, seed, RNG_BOOTSTRAP, 3, d);
    for (uint32_t p = 0; p < targets->people; p++)
      weight[rng_below(&rng, targets->people)]++;
    figures_of(ranked, targets->count, rates, weight, value);
    for (uint32_t f = 0; f < FIGURES; f++)
      draws[(size_t)f * BOOTSTRAP_DRAWS + d] = value[f];
  }
  for (uint32_t f = 0; f < FIGURES; f++)
    if (isfinite(figures->value[f].mean))
      bootstrap_interval(draws + (size_t)f * BOOTSTRAP_DRAWS, BOOTSTRAP_DRAWS, &figures->value[f]);
}

/* Chance: each person's photographs change places, members with others. */
static void measure_chance(const struct membership_targets *targets, const double *scores,
                           const struct rates *rates, uint64_t seed, struct ranked *ranked, uint8_t *member,
                           double *sums, struct membership_figures *figures) {
  double worst[CHANCE_DRAWS], value[FIGURES];
  struct interval interval = {NAN, NAN, NAN};
  for (uint32_t d = 0; d < CHANCE_DRAWS; d++) {
    struct rng rng;
    rng_init(&rng, seed, RNG_ATTACK, DRAW_LABELS, d);
    memcpy(member, targets->member, targets->count);
    for (uint32_t i = 0, end; i < targets->count; i = end) {
      for (end = i; end < targets->count && targets->person[end] == targets->person[i];)
        end++;
      for (uint32_t k = end - 1; k > i; k--) { /* Fisher-Yates */
        const uint32_t other = i + rng_below(&rng, k - i + 1);
        const uint8_t swapped = member[k];
        member[k] = member[other];
        member[other] = swapped;
      }
    }
    rank(targets, scores, member, ranked);
    figures_of(ranked, targets->count, rates, NULL, value);
    for (uint32_t f = 0; f < FIGURES; f++) {
      const double tenth = worst_tenth(ranked, targets->count, targets->people, rates, (enum figure)f, sums);
      figures->chance[f] += value[f] / CHANCE_DRAWS;
      figures->chance_worst[f] += tenth / CHANCE_DRAWS;
      worst[d] = f == AUROC ? tenth : worst[d];
    }
  }
  bootstrap_interval(worst, CHANCE_DRAWS, &interval);
  figures->chance_worst_high = interval.high;
}

int membership_measure(const struct membership_targets *targets, const double *scores, uint64_t seed,
                       struct membership_figures *ret_figures, struct guise_error *err) {
  _cleanup_(freep) struct ranked *ranked = calloc(targets->count, sizeof(*ranked));
  _cleanup_(freep) double *draws = calloc((size_t)FIGURES * BOOTSTRAP_DRAWS, sizeof(*draws));
  _cleanup_(freep) double *sums = calloc((size_t)2 * targets->people, sizeof(*sums));
  _cleanup_(freep) uint32_t *weight = calloc(targets->people, sizeof(*weight));
  _cleanup_(freep) uint8_t *member = calloc(targets->count, 1);
  struct membership_figures figures = {.chance_worst_high = 0};
  const struct rates rates = rates_of(targets);
  double value[FIGURES];
  if (!ranked || !draws || !sums || !weight || !member)
    return error_set(err, -ENOMEM, "out of memory for the figures of %u images", targets->count);
  measure_chance(targets, scores, &rates, seed, ranked, member, sums, &figures);
  rank(targets, scores, targets->member, ranked);
  figures_of(ranked, targets->count, &rates, NULL, value);
  for (uint32_t f = 0; f < FIGURES; f++) {
    figures.value[f] = (struct interval){value[f], NAN, NAN};
    figures.worst[f] = NAN;
  }
  bootstrap(targets, ranked, &rates, seed, draws, weight, &figures);
  for (uint32_t f = 0; f < FIGURES; f++) {
    if (!isfinite(value[f]))
      continue;
    figures.worst[f] = worst_tenth(ranked, targets->count, targets->people, &rates, (enum figure)f, sums);
    bootstrap_widen(sums, targets->people, &figures.value[f]);
  }
  *ret_figures = figures;
  return 0;
}
