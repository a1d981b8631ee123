/* Verification: pairs are sorted once by similarity; every figure is then a walk down that list, in which
 * pairs of equal similarity are taken together since no threshold can part them. A pair counts as "same" when
 * its similarity is above the threshold, and thresholds lie midway between neighbouring similarities. */
#include "core/metric/verify.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/metric/bootstrap.h"

#define FOLDS_MAX 1000u
#define BOOTSTRAP_DRAWS 1000u

const struct verification_rate verification_rates[VERIFICATION_RATES] = {
    {1e-1, "1e-1"}, {1e-2, "1e-2"}, {1e-3, "1e-3"}};

struct scored {
  float similarity;
  uint32_t fold;
  bool same;
};

static int by_similarity_falling(const void *a, const void *b) {
  float x = ((const struct scored *)a)->similarity, y = ((const struct scored *)b)->similarity;
  return (x < y) - (x > y);
}

static int check_pairs(const float *similarity, const bool *same, const uint32_t *fold, uint32_t pairs,
                       uint32_t folds, uint32_t *ret_positives, struct guise_error *err) {
  uint32_t positives = 0;
  if (folds < 2 || folds > FOLDS_MAX)
    return error_set(err, -EINVAL, "verification needs 2 to %u folds, not %u", FOLDS_MAX, folds);
  for (uint32_t i = 0; i < pairs; i++) {
    if (!isfinite(similarity[i]))
      return error_set(err, -EINVAL, "the similarity of pair %u is not a number", i);
    if (fold[i] >= folds)
      return error_set(err, -EINVAL, "pair %u is in fold %u of %u", i, fold[i], folds);
    positives += same[i];
  }
  if (positives == 0 || positives == pairs)
    return error_set(err, -EINVAL,
                     "verification needs pairs of the same person and pairs of different people; there are "
                     "%u and %u",
                     positives, pairs - positives);
  *ret_positives = positives;
  return 0;
}

static struct scored *sort_pairs(const float *similarity, const bool *same, const uint32_t *fold,
                                 uint32_t pairs) {
  struct scored *sorted = malloc(pairs * sizeof(*sorted));
  if (!sorted)
    return NULL;
  for (uint32_t i = 0; i < pairs; i++)
    sorted[i] = (struct scored){.similarity = similarity[i], .fold = fold[i], .same = same[i]};
  qsort(sorted, pairs, sizeof(*sorted), by_similarity_falling);
  return sorted;
}

/* How far beyond the outermost similarity the outermost thresholds lie. */
static double margin_beyond(double similarity) {
  return 1e-3 * fmax(1, fabs(similarity));
}

/* The threshold that maximises accuracy over all pairs outside `left_out` (FOLDS_MAX = none). Of equally good
 * ones the highest, which accepts the fewest strangers. */
static double best_threshold(const struct scored *sorted, uint32_t pairs, uint32_t left_out) {
  /* right = pairs decided rightly, up to a constant: each positive taken in is one more, each negative one
   * fewer. */
  int64_t right = 0, best = 0;
  bool any = false;
  double threshold = 0, last = 0;
  for (uint32_t i = 0; i < pairs; i++) {
    if (sorted[i].fold == left_out)
      continue;
    double here = (double)sorted[i].similarity;
    if (!any)
      threshold = here + margin_beyond(here); /* above the highest: nobody is the same */
    else if (here < last && right > best) {
      best = right;
      threshold = (last + here) / 2;
    }
    any = true;
    last = here;
    right += sorted[i].same ? 1 : -1;
  }
  return any && right > best ? last - margin_beyond(last) : threshold;
}

/* Accuracy by folds: each fold is decided with the threshold of the others. Returns the number of right
 * decisions. */
static uint32_t cross_validate(const struct scored *sorted, uint32_t pairs, uint32_t folds,
                               struct verification *verification) {
  double sum = 0, squares = 0;
  uint32_t right_in_all = 0, used = 0;
  for (uint32_t f = 0; f < folds; f++) {
    double threshold = best_threshold(sorted, pairs, f);
    uint32_t right = 0, members = 0;
    for (uint32_t i = 0; i < pairs; i++) {
      if (sorted[i].fold != f)
        continue;
      members++;
      right += ((double)sorted[i].similarity > threshold) == sorted[i].same;
    }
    if (members == 0)
      continue; /* a list too short to fill every fold */
    double accuracy = (double)right / members;
    sum += accuracy;
    squares += accuracy * accuracy;
    right_in_all += right;
    used++;
  }
  verification->accuracy = sum / used;
  verification->accuracy_deviation =
      sqrt(fmax(0, squares / used - verification->accuracy * verification->accuracy));
  return right_in_all;
}

/* Midway between the pair `last` and the next lower one. */
static double threshold_below(const struct scored *sorted, uint32_t pairs, uint32_t last) {
  const double here = (double)sorted[last].similarity;
  return last + 1 < pairs ? (here + (double)sorted[last + 1].similarity) / 2 : here - margin_beyond(here);
}

/* From the highest similarity down, as long as few enough negatives are above. */
static void find_thresholds(const struct scored *sorted, uint32_t pairs, struct verification *verification) {
  const double negatives = verification->negatives, top = (double)sorted[0].similarity;
  for (uint32_t k = 0; k < VERIFICATION_RATES; k++) {
    const double far = verification_rates[k].far;
    double threshold = top + margin_beyond(top), intruders = 0;
    for (uint32_t i = 0; i < pairs; i++) {
      intruders += !sorted[i].same;
      if (intruders / negatives > far)
        break;
      if (i + 1 == pairs || sorted[i + 1].similarity < sorted[i].similarity)
        threshold = threshold_below(sorted, pairs, i);
    }
    verification->threshold_at_far[k] = negatives * far >= 10 ? threshold : NAN;
  }
}

/* EER, AUROC and TAR@FAR in one walk over groups of equal similarity. */
static void walk_roc(const struct scored *sorted, uint32_t pairs, struct verification *verification) {
  const double positives = verification->positives, negatives = verification->negatives;
  double accepted = 0, intruders = 0, far = 0, frr = 1;
  double area = 0, tar_2 = 0, tar_3 = 0, eer = NAN;
  for (uint32_t i = 0; i < pairs;) {
    uint32_t end = i;
    double more_positives = 0, more_negatives = 0;
    for (; end < pairs && sorted[end].similarity == sorted[i].similarity; end++)
      *(sorted[end].same ? &more_positives : &more_negatives) += 1;
    area += more_negatives * (accepted + more_positives / 2);
    accepted += more_positives;
    intruders += more_negatives;
    double next_far = intruders / negatives, next_frr = 1 - accepted / positives;
    if (isnan(eer) && next_far >= next_frr) {
      /* far rises and frr falls along the segment: where they meet */
      double gap = frr - far, next_gap = next_frr - next_far;
      double t = gap / (gap - next_gap);
      eer = far + t * (next_far - far);
    }
    if (next_far <= 1e-2)
      tar_2 = accepted / positives;
    if (next_far <= 1e-3)
      tar_3 = accepted / positives;
    far = next_far;
    frr = next_frr;
    i = end;
  }
  verification->eer = eer;
  verification->auroc = area / (positives * negatives);
  verification->tar_at_far_2 = negatives >= 1000 ? tar_2 : NAN;
  verification->tar_at_far_3 = negatives >= 10000 ? tar_3 : NAN;
}

int verification_evaluate(const float *similarity, const bool *same, const uint32_t *fold, uint32_t pairs,
                          uint32_t folds, uint64_t seed, struct verification *ret_verification,
                          struct guise_error *err) {
  struct verification verification = {.pairs = pairs, .rank_1 = NAN};
  int r = check_pairs(similarity, same, fold, pairs, folds, &verification.positives, err);
  if (r < 0)
    return r;
  verification.negatives = pairs - verification.positives;
  _cleanup_(freep) struct scored *sorted = sort_pairs(similarity, same, fold, pairs);
  if (!sorted)
    return error_set(err, -ENOMEM, "out of memory for %u verification pairs", pairs);

  uint32_t right = cross_validate(sorted, pairs, folds, &verification);
  struct interval interval = bootstrap_share(right, pairs, BOOTSTRAP_DRAWS, seed);
  if (isnan(interval.low))
    return error_set(err, -ENOMEM, "out of memory for %u bootstrap draws", BOOTSTRAP_DRAWS);
  verification.accuracy_low = interval.low;
  verification.accuracy_high = interval.high;
  verification.threshold = best_threshold(sorted, pairs, FOLDS_MAX);
  walk_roc(sorted, pairs, &verification);
  find_thresholds(sorted, pairs, &verification);
  *ret_verification = verification;
  return 0;
}

int verification_decide(const float *similarity, const bool *same, const uint32_t *fold, uint32_t pairs,
                        uint32_t folds, bool *ret_accepted, struct guise_error *err) {
  uint32_t positives;
  int r = check_pairs(similarity, same, fold, pairs, folds, &positives, err);
  if (r < 0)
    return r;
  _cleanup_(freep) struct scored *sorted = sort_pairs(similarity, same, fold, pairs);
  _cleanup_(freep) double *threshold = malloc(folds * sizeof(*threshold));
  if (!sorted || !threshold)
    return error_set(err, -ENOMEM, "out of memory for %u verification pairs", pairs);
  for (uint32_t f = 0; f < folds; f++)
    threshold[f] = best_threshold(sorted, pairs, f);
  for (uint32_t i = 0; i < pairs; i++)
    ret_accepted[i] = (double)similarity[i] > threshold[fold[i]];
  return 0;
}
