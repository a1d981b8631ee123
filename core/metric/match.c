/* The matrix is sorted once; a measurement lists the pairs that count in that order and walks the list, once
 * as it is and once a bootstrap draw with the people's weights. Pairs of equal similarity are taken together,
 * since no threshold can part them. */
#include "core/metric/match.h"

#include <math.h>
#include <omp.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/philox.h"

static const double far_limit[] = {[MATCH_TAR_2] = 1e-2, [MATCH_TAR_3] = 1e-3};
static const uint32_t far_least[] = {[MATCH_TAR_2] = 1000, [MATCH_TAR_3] = 10000}; /* pairs: 10/FAR */

struct sorted {
  float similarity;
  uint32_t pair; /* row * columns + column */
};

struct match {
  const float *similarity;
  uint32_t rows, columns;
  struct sorted *sorted; /* falling */
};

static int falling(const void *a, const void *b) {
  const struct sorted *x = a, *y = b;
  if (x->similarity != y->similarity)
    return x->similarity < y->similarity ? 1 : -1;
  return (x->pair > y->pair) - (x->pair < y->pair);
}

int match_new(const float *similarity, uint32_t rows, uint32_t columns, struct match **ret_match) {
  uint64_t pairs = (uint64_t)rows * columns;
  if (pairs == 0 || pairs > UINT32_MAX)
    return -EINVAL;
  for (uint64_t i = 0; i < pairs; i++)
    if (!isfinite(similarity[i]))
      return -EINVAL;
  struct match *match = calloc(1, sizeof(*match));
  if (!match)
    return -ENOMEM;
  *match = (struct match){.similarity = similarity, .rows = rows, .columns = columns};
  match->sorted = malloc(pairs * sizeof(*match->sorted));
  if (!match->sorted) {
    match_free(match);
    return -ENOMEM;
  }
  for (uint32_t i = 0; i < (uint32_t)pairs; i++)
    match->sorted[i] = (struct sorted){similarity[i], i};
  qsort(match->sorted, pairs, sizeof(*match->sorted), falling);
  *ret_match = match;
  return 0;
}

struct match *match_free(struct match *match) {
  if (match) {
    free(match->sorted);
    free(match);
  }
  return NULL;
}

/* ---- one measurement ---- */

struct step { /* a pair that counts, in falling order */
  uint32_t row_owner, column_owner;
  bool same;
  bool last; /* of the pairs with this similarity */
};

struct measure {
  const struct match_labels *labels;
  struct step *step;
  uint32_t steps;
  uint8_t *hit; /* (rows) 1 found, 0 missed, 2 has nobody to find */
  uint32_t rows;
};

static void list_steps(const struct match *match, const struct match_labels *labels, struct measure *measure,
                       struct match_result *result) {
  uint32_t pairs = match->rows * match->columns;
  float similarity = 0;
  for (uint32_t i = 0; i < pairs; i++) {
    const struct sorted *sorted = &match->sorted[i];
    uint8_t kind = labels->kind[sorted->pair];
    if (kind == MATCH_IGNORED)
      continue;
    if (measure->steps > 0 && sorted->similarity != similarity)
      measure->step[measure->steps - 1].last = true;
    similarity = sorted->similarity;
    measure->step[measure->steps++] =
        (struct step){.row_owner = labels->row_owner[sorted->pair / match->columns],
                      .column_owner = labels->column_owner[sorted->pair % match->columns],
                      .same = kind == MATCH_SAME};
    *(kind == MATCH_SAME ? &result->same : &result->different) += 1;
  }
  if (measure->steps > 0)
    measure->step[measure->steps - 1].last = true;
}

static void find_hits(const struct match *match, const struct match_labels *labels, uint8_t *hit) {
  for (uint32_t row = 0; row < match->rows; row++) {
    const float *similarity = match->similarity + (size_t)row * match->columns;
    const uint8_t *kind = labels->kind + (size_t)row * match->columns;
    float same = -INFINITY, different = -INFINITY;
    for (uint32_t c = 0; c < match->columns; c++) {
      float *best = kind[c] == MATCH_SAME ? &same : &different;
      if (kind[c] != MATCH_IGNORED && similarity[c] > *best)
        *best = similarity[c];
    }
    hit[row] = isinf(same) ? 2 : same > different;
  }
}

/* Figures with each person counted weight[person] times (NULL: once). */
static double pair_weight(const struct step *step, const uint32_t *weight) {
  if (!weight)
    return 1;
  return step->same ? weight[step->row_owner]
                    : (double)weight[step->row_owner] * (double)weight[step->column_owner];
}

static void walk(const struct measure *measure, const uint32_t *weight, double ret_value[MATCH_FIGURES]) {
  double same = 0, different = 0, accepted = 0, intruders = 0, area = 0, hits = 0, probes = 0;
  double tar[] = {[MATCH_TAR_2] = 0, [MATCH_TAR_3] = 0};
  for (uint32_t i = 0; i < measure->steps; i++)
    *(measure->step[i].same ? &same : &different) += pair_weight(&measure->step[i], weight);
  for (uint32_t i = 0; i < measure->steps;) {
    double more_same = 0, more_different = 0;
    bool last = false;
    for (; !last; i++) {
      *(measure->step[i].same ? &more_same : &more_different) += pair_weight(&measure->step[i], weight);
      last = measure->step[i].last;
    }
    area += more_different * (accepted + more_same / 2);
    accepted += more_same;
    intruders += more_different;
    for (int f = MATCH_TAR_2; f <= MATCH_TAR_3; f++)
      if (intruders <= far_limit[f] * different)
        tar[f] = accepted / same;
  }
  for (uint32_t row = 0; row < measure->rows; row++) {
    double w = weight ? weight[measure->labels->row_owner[row]] : 1;
    hits += measure->hit[row] == 1 ? w : 0;
    probes += measure->hit[row] < 2 ? w : 0;
  }
  bool told = same > 0 && different > 0;
  ret_value[MATCH_TAR_2] = told ? tar[MATCH_TAR_2] : NAN;
  ret_value[MATCH_TAR_3] = told ? tar[MATCH_TAR_3] : NAN;
  ret_value[MATCH_RANK_1] = probes > 0 && different > 0 ? hits / probes : NAN;
  ret_value[MATCH_AUROC] = told ? area / (same * different) : NAN;
}

/* ---- by person ---- */

struct share {
  double sum, count;
};

static int rising(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

/* Of those who have one; how many these are. */
static uint32_t own_figures(const struct share *share, uint32_t people, double *ret_own) {
  uint32_t counted = 0;
  for (uint32_t p = 0; p < people; p++)
    if (share[p].count > 0)
      ret_own[counted++] = share[p].sum / share[p].count;
  return counted;
}

/* Mean of the highest tenth of the people's own figures, which are sorted. */
static double highest_tenth(double *own, uint32_t counted) {
  double sum = 0;
  if (counted == 0)
    return NAN;
  qsort(own, counted, sizeof(*own), rising);
  uint32_t tenth = (counted + 9) / 10;
  for (uint32_t i = counted - tenth; i < counted; i++)
    sum += own[i];
  return sum / tenth;
}

/* Adds what each pair of the same person contributes to its owner's figures. */
static void add_pairs(const struct measure *measure, double different,
                      struct share *const share[MATCH_FIGURES]) {
  double intruders = 0;
  for (uint32_t i = 0; i < measure->steps;) {
    uint32_t begin = i;
    double more = 0;
    bool last = false;
    for (; !last; i++) {
      more += !measure->step[i].same;
      last = measure->step[i].last;
    }
    for (uint32_t k = begin; k < i; k++) {
      const struct step *step = &measure->step[k];
      const double value[] = {
          [MATCH_TAR_2] = intruders + more <= far_limit[MATCH_TAR_2] * different,
          [MATCH_TAR_3] = intruders + more <= far_limit[MATCH_TAR_3] * different,
          [MATCH_RANK_1] = 0,
          [MATCH_AUROC] = (different - intruders - more / 2) / different,
      };
      for (int f = 0; f < MATCH_FIGURES && step->same; f++) {
        share[f][step->row_owner].sum += value[f];
        share[f][step->row_owner].count += 1;
      }
    }
    intruders += more;
  }
}

/* After the bootstrap: also widens intervals of people who are all alike. */
static int measure_people(const struct measure *measure, struct match_result *result) {
  uint32_t people = measure->labels->people;
  _cleanup_(freep) struct share *shares = calloc((size_t)MATCH_FIGURES * people + 1, sizeof(*shares));
  _cleanup_(freep) double *own = calloc(people + 1u, sizeof(*own));
  struct share *share[MATCH_FIGURES];
  if (!shares || !own)
    return -ENOMEM;
  for (int f = 0; f < MATCH_FIGURES; f++)
    share[f] = shares + (size_t)f * people;
  add_pairs(measure, result->different, share);
  memset(share[MATCH_RANK_1], 0, people * sizeof(struct share));
  for (uint32_t row = 0; row < measure->rows; row++)
    if (measure->hit[row] < 2) {
      share[MATCH_RANK_1][measure->labels->row_owner[row]].sum += measure->hit[row];
      share[MATCH_RANK_1][measure->labels->row_owner[row]].count += 1;
    }
  for (int f = 0; f < MATCH_FIGURES; f++) {
    const uint32_t counted = own_figures(share[f], people, own);
    result->worst_tenth[f] = isfinite(result->value[f].mean) ? highest_tenth(own, counted) : (double)NAN;
    bootstrap_widen(own, counted, &result->value[f]);
  }
  return 0;
}

/* ---- the bootstrap ---- */

static bool is_stopped(const struct match_options *options) {
  return options->should_stop && options->should_stop(options->stop_context);
}

static int bootstrap(const struct measure *measure, const struct match_options *options,
                     struct match_result *result) {
  const uint32_t people = measure->labels->people, draws = options->draws;
  _cleanup_(freep) double *values = calloc((size_t)MATCH_FIGURES * draws + 1, sizeof(*values));
  atomic_int failed = 0;
  if (!values)
    return -ENOMEM;
#pragma omp parallel
  {
    uint32_t *weight = calloc(people + 1u, sizeof(*weight));
    if (!weight)
      atomic_store(&failed, -ENOMEM);
#pragma omp for schedule(dynamic)
    for (uint32_t d = 0; d < draws; d++) {
      struct rng rng;
      double value[MATCH_FIGURES];
      if (omp_get_thread_num() == 0 && !atomic_load(&failed) && is_stopped(options))
        atomic_store(&failed, -ECANCELED);
      if (atomic_load(&failed))
        continue;
      memset(weight, 0, people * sizeof(*weight));
      rng_init(&rng, options->seed, RNG_BOOTSTRAP, 2, d);
      for (uint32_t p = 0; p < people; p++)
        weight[rng_below(&rng, people)]++;
      walk(measure, weight, value);
      for (uint32_t f = 0; f < MATCH_FIGURES; f++)
        values[(size_t)f * draws + d] = value[f];
    }
    free(weight);
  }
  if (atomic_load(&failed))
    return atomic_load(&failed);
  for (int f = 0; f < MATCH_FIGURES; f++)
    if (isfinite(result->value[f].mean))
      bootstrap_interval(values + (size_t)f * draws, draws, &result->value[f]);
  return 0;
}

int match_measure(const struct match *match, const struct match_labels *labels,
                  const struct match_options *options, struct match_result *ret_result) {
  for (uint32_t row = 0; row < match->rows; row++)
    if (labels->row_owner[row] >= labels->people)
      return -EINVAL;
  for (uint32_t column = 0; column < match->columns; column++)
    if (labels->column_owner[column] >= labels->people)
      return -EINVAL;
  if (is_stopped(options))
    return -ECANCELED;
  size_t pairs = (size_t)match->rows * match->columns;
  _cleanup_(freep) struct step *step = malloc(pairs * sizeof(*step));
  _cleanup_(freep) uint8_t *hit = malloc(match->rows);
  struct measure measure = {.labels = labels, .step = step, .hit = hit, .rows = match->rows};
  struct match_result result = {.same = 0};
  double value[MATCH_FIGURES];
  if (!step || !hit)
    return -ENOMEM;
  list_steps(match, labels, &measure, &result);
  find_hits(match, labels, hit);
  walk(&measure, NULL, value);
  for (int f = 0; f < MATCH_FIGURES; f++) {
    bool few = f <= MATCH_TAR_3 && result.different < far_least[f];
    result.value[f] = (struct interval){few ? (double)NAN : value[f], NAN, NAN};
  }
  int r = options->draws > 0 ? bootstrap(&measure, options, &result) : 0;
  if (r == 0)
    r = measure_people(&measure, &result);
  if (r == 0)
    *ret_result = result;
  return r;
}
