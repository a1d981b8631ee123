/* How well scores tell photographs that were trained on from others of the same people. */
#pragma once

#include "core/attack/faces.h"

enum figure { AUROC, TPR_2, TPR_3, FIGURES };

/* Photographs in the order of people: those asked about first, then those behind the prototypes. */
struct membership_targets {
  const uint8_t **image; /* (count + prototypes) */
  uint32_t *person;      /* (count + prototypes) 0..people-1 */
  uint8_t *member;       /* (count) */
  uint32_t count, prototypes, people;
};

struct membership_figures {
  struct interval value[FIGURES];
  double worst[FIGURES], chance[FIGURES], chance_worst[FIGURES], chance_worst_high;
};

/* scores: (targets->count), higher for members. Intervals redraw people, chance moves the labels about within
 * each person. -ENOMEM. */
int membership_measure(const struct membership_targets *targets, const double *scores, uint64_t seed,
                       struct membership_figures *ret_figures, struct guise_error *err);
