/* Matching templates (rows) with photographs (columns) by their similarity: how often the right person is
 * found. What a pair is, the caller says: its rows may be mixes of several people, and its own photograph may
 * or may not count. */
#pragma once

#include <stdint.h>

#include "core/base/base.h"
#include "core/metric/bootstrap.h"

enum match_kind {
  MATCH_IGNORED,
  MATCH_SAME,      /* accepting the pair is right */
  MATCH_DIFFERENT, /* accepting it is wrong */
};

enum match_figure {
  /* Share of the pairs of the same person above the lowest threshold that at most 1e-2 (1e-3) of the pairs of
   * different people exceed; equal similarities are taken together. NAN with fewer than 10/FAR pairs of
   * different people. */
  MATCH_TAR_2,
  MATCH_TAR_3,
  /* Share of the rows, among those with a pair of the same person, whose most similar photograph is one of
   * these; a tie with somebody else is a miss. */
  MATCH_RANK_1,
  /* Probability that a pair of the same person is more similar than a pair of different people; ties count
   * half. */
  MATCH_AUROC,
  MATCH_FIGURES
};

struct match_result {
  /* Mean over pairs (rows for MATCH_RANK_1). The interval comes from drawing people with replacement: a pair
   * weighs as often as both its people were drawn, and each draw has its own thresholds. Of people whose own
   * figures are all 0 or 1 it is widened (bootstrap_widen). */
  struct interval value[MATCH_FIGURES];
  /* Mean over the tenth of people (at least one) with the highest figure of their own, at everybody's
   * threshold. */
  double worst_tenth[MATCH_FIGURES];
  uint32_t same, different; /* pairs */
};

/* A matrix of similarities in falling order; immutable. */
struct match;

/* similarity: (rows, columns), kept by reference. -EINVAL when it is empty, too large to number its pairs or
 * not finite; -ENOMEM. */
int match_new(const float *similarity, uint32_t rows, uint32_t columns, struct match **ret_match);
struct match *match_free(struct match *match);
DEFINE_CLEANUP(struct match *, match_free)

struct match_labels {
  const uint8_t *kind;       /* (rows, columns) of enum match_kind */
  const uint32_t *row_owner; /* (rows), in 0..people-1: to whom the row counts */
  const uint32_t *column_owner;
  uint32_t people;
};

struct match_options {
  uint32_t draws; /* of the bootstrap; 0: no intervals */
  uint64_t seed;
  bool (*should_stop)(void *stop_context); /* may be NULL; asked in the calling thread */
  void *stop_context;
};

/* All figures; NAN where there is no pair to tell. Deterministic in the seed for any number of threads.
 * O(rows columns draws); it asks whether to stop once before and in each draw. -EINVAL when an owner is out
 * of range; -ECANCELED; -ENOMEM. */
int match_measure(const struct match *match, const struct match_labels *labels,
                  const struct match_options *options, struct match_result *ret_result);
