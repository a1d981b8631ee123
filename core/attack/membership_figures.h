/* How well scores tell photographs that were trained on from others of the same people. */
#pragma once

#include "core/attack/faces.h"

enum figure { AUROC, TPR_2, TPR_3, TPR_LEAST, FIGURES };

/* Photographs in the order of people: those asked about first, then those behind the prototypes. */
struct membership_targets {
  const uint8_t **image; /* (count + prototypes) */
  uint32_t *person;      /* (count + prototypes) 0..people-1 */
  uint8_t *member;       /* (count) */
  uint32_t count, prototypes, people;
};

/* The smallest share of false ones between .1 % and 10 % that so many non-members support with ten of them;
 * NAN: none beside 1 % and .1 %. One of membership_rates. */
double membership_least_rate(const struct membership_targets *targets);
#define MEMBERSHIP_RATES 5
extern const double membership_rates[MEMBERSHIP_RATES];

struct membership_figures {
  struct interval value[FIGURES]; /* TPR_LEAST: at membership_least_rate */
  double worst[FIGURES], chance[FIGURES], chance_worst[FIGURES], chance_worst_high;
};

/* scores: (targets->count), higher for members. Intervals redraw people and are
 * widened of people who are all alike (bootstrap_widen), chance moves the labels about within
 * each person. -ENOMEM. */
int membership_measure(const struct membership_targets *targets, const double *scores, uint64_t seed,
                       struct membership_figures *ret_figures, struct guise_error *err);
