/* Face verification: "same person?" from a similarity. Fractions, not percents. NAN stands for "too few pairs
 * to say"; in JSON it becomes null. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "core/base/base.h"

/* False accept rates at which thresholds are kept; a rate needs 10 / rate negatives. */
#define VERIFICATION_RATES 3
struct verification_rate {
  double far;
  const char *name; /* "1e-2", as in names of metrics */
};
extern const struct verification_rate verification_rates[VERIFICATION_RATES];

struct verification {
  uint32_t pairs, positives, negatives;
  double accuracy;           /* k-fold: the threshold comes from the other folds */
  double accuracy_deviation; /* over folds, divided by their number */
  double accuracy_low;       /* 95 % interval: bootstrap over pairs (seeded) of the k-fold decisions */
  double accuracy_high;
  double eer; /* equal error rate, interpolated between neighbouring thresholds */
  double auroc;
  double tar_at_far_2; /* TAR @ FAR 1e-2; NAN with fewer than 1,000 negatives */
  double tar_at_far_3; /* TAR @ FAR 1e-3; NAN with fewer than 10,000 negatives */
  double threshold;    /* similarity that maximises accuracy over all pairs */
  /* The lowest threshold at which at most that share of the negatives lies above; NAN with too few of them.
   */
  double threshold_at_far[VERIFICATION_RATES];
  double rank_1; /* of people with numbers, verification_rank_1; NAN of a list of pairs */
};

/* similarity[i], same[i], fold[i] in 0..folds-1 for `pairs` pairs; folds >= 2; both kinds of pair must occur
 * (-EINVAL). Thresholds are exact: every midpoint between neighbouring distinct similarities is tried.
 * Accuracy is the mean over folds (empty ones left out), its deviation that of the folds about it. O(n log n
 * + folds n). Thread-safe. */
int verification_evaluate(const float *similarity, const bool *same, const uint32_t *fold, uint32_t pairs,
                          uint32_t folds, uint64_t seed, struct verification *ret_verification,
                          struct guise_error *err);

/* The k-fold decisions behind that accuracy: ret_accepted[i] tells whether pair i counts as "same person".
 * The same arguments and errors. */
int verification_decide(const float *similarity, const bool *same, const uint32_t *fold, uint32_t pairs,
                        uint32_t folds, bool *ret_accepted, struct guise_error *err);

struct face_pair {
  uint32_t a, b; /* image indices */
  bool same;
  uint32_t fold;
};

/* All positive pairs among `count` images with identity[] (ascending runs), capped at `most` by a seeded
 * draw, as many seeded negatives (fewer when there are not so many), dealt into 10 folds. Caller frees
 * *ret_pairs. -EINVAL when no person has two images or there is one person only. */
int verification_pairs(const uint32_t *identity, uint32_t count, uint32_t most, uint64_t seed,
                       struct face_pair **ret_pairs, uint32_t *ret_count, struct guise_error *err);

/* Identification: one image of each person, drawn by the seed, is the gallery, and all others are probes,
 * whose most similar image of the gallery is to be the person's own; a tie with somebody else's is a miss.
 * The share of probes that are found; NAN with fewer than two people and where nobody has two images.
 * embeddings: (count, dimension) of length 1; identity[] in ascending runs. 0 or -ENOMEM. */
int verification_rank_1(const float *embeddings, uint32_t dimension, const uint32_t *identity, uint32_t count,
                        uint64_t seed, double *ret_rank_1);
