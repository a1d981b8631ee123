/* Verification against brute-force references (tests/golden/make_metric.py), and its properties. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
// cmocka needs the four headers above
#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "core/base/philox.h"
#include "core/metric/verify.h"
#include "unit/metric/golden.h"

struct pair_set {
  float *similarity;
  bool *same;
  uint32_t *fold;
};

static void pair_set_done(struct pair_set *set) {
  free(set->similarity);
  free(set->same);
  free(set->fold);
}

static struct pair_set pair_set_new(uint32_t pairs) {
  return (struct pair_set){.similarity = calloc(pairs, sizeof(float)),
                           .same = calloc(pairs, sizeof(bool)),
                           .fold = calloc(pairs, sizeof(uint32_t))};
}

static void golden_scores(struct pair_set *set, uint32_t pairs, uint32_t levels, uint32_t seed) {
  for (uint32_t i = 0; i < pairs; i++) {
    set->same[i] = lcg_next(&seed) % 2 == 0;
    set->similarity[i] = (float)(lcg_next(&seed) % levels + (set->same[i] ? levels / 3 : 0)) / 256.0f;
    set->fold[i] = lcg_next(&seed) % 10;
  }
}

/* The mean over ten folds of what verification_decide decides rightly. */
static double accuracy_of_decisions(const struct pair_set *set, uint32_t pairs) {
  double members[10] = {0}, right[10] = {0}, accuracy = 0;
  _cleanup_(freep) bool *accepted = malloc(pairs);
  assert_non_null(accepted);
  assert_int_equal(verification_decide(set->similarity, set->same, set->fold, pairs, 10, accepted, NULL), 0);
  for (uint32_t i = 0; i < pairs; i++) {
    members[set->fold[i]]++;
    right[set->fold[i]] += accepted[i] == set->same[i];
  }
  for (int f = 0; f < 10; f++)
    accuracy += right[f] / members[f] / 10;
  return accuracy;
}

static void golden_values(void **state) {
  (void)state;
  FILE *file = fopen(GUISE_GOLDEN "/metric.txt", "re");
  assert_non_null(file);
  double golden[GOLDEN_NUMBERS];
  int seen = 0;
  while (golden_next(file, "verification", golden)) {
    uint32_t pairs = (uint32_t)golden[0], levels = (uint32_t)golden[1], seed = (uint32_t)golden[2];
    const double *expected = golden + 3;
    _cleanup_(pair_set_done) struct pair_set set = pair_set_new(pairs);
    struct verification v;
    golden_scores(&set, pairs, levels, seed);
    assert_int_equal(verification_evaluate(set.similarity, set.same, set.fold, pairs, 10, 1, &v, NULL), 0);
    assert_true(fabs(v.accuracy - expected[0]) < 1e-10);
    assert_true(fabs(accuracy_of_decisions(&set, pairs) - expected[0]) < 1e-10);
    assert_true(fabs(v.accuracy_deviation - expected[1]) < 1e-8);
    assert_true(fabs(v.threshold - expected[2]) < 1e-10);
    assert_true(fabs(v.eer - expected[3]) < 1e-10);
    assert_true(fabs(v.auroc - expected[4]) < 1e-10);
    assert_int_equal(v.positives + v.negatives, pairs);
    if (v.negatives >= 1000)
      assert_true(fabs(v.tar_at_far_2 - expected[5]) < 1e-10);
    else
      assert_true(isnan(v.tar_at_far_2));
    assert_true(isnan(v.tar_at_far_3)); /* none of the sets has 10,000 negatives */
    assert_true(v.accuracy_low < v.accuracy && v.accuracy < v.accuracy_high);
    seen++;
  }
  (void)fclose(file);
  assert_int_equal(seen, 3);
}

/* The threshold of a fold must not see the fold: a fold whose scores lie elsewhere is decided wrongly. */
static void threshold_comes_from_other_folds(void **state) {
  (void)state;
  _cleanup_(pair_set_done) struct pair_set set = pair_set_new(200);
  for (uint32_t i = 0; i < 200; i++) {
    set.fold[i] = i / 20;
    set.same[i] = i % 2 == 0;
    set.similarity[i] = (set.same[i] ? 0.6f : 0.4f) + (set.fold[i] == 3 ? 1.0f : 0.0f);
  }
  struct verification v;
  assert_int_equal(verification_evaluate(set.similarity, set.same, set.fold, 200, 10, 1, &v, NULL), 0);
  assert_true(fabs(v.accuracy - 0.95) < 1e-12); /* fold 3: all "same", half of them wrong */
  assert_true(fabs(v.threshold - 0.5) < 1e-6);
}

static void perfect_and_useless(void **state) {
  (void)state;
  _cleanup_(pair_set_done) struct pair_set set = pair_set_new(1000);
  struct verification v;
  for (uint32_t i = 0; i < 1000; i++) {
    set.fold[i] = i % 10;
    set.same[i] = (i / 10) % 2 == 0;
    set.similarity[i] = set.same[i] ? 0.9f : -0.2f;
  }
  assert_int_equal(verification_evaluate(set.similarity, set.same, set.fold, 1000, 10, 1, &v, NULL), 0);
  assert_true(v.accuracy == 1 && v.eer == 0 && v.auroc == 1);
  assert_true(v.accuracy_low == 1 && v.accuracy_high == 1);
  for (uint32_t i = 0; i < 1000; i++)
    set.similarity[i] = 0.25f; /* all tied */
  assert_int_equal(verification_evaluate(set.similarity, set.same, set.fold, 1000, 10, 1, &v, NULL), 0);
  assert_true(fabs(v.auroc - 0.5) < 1e-12 && fabs(v.eer - 0.5) < 1e-12 && fabs(v.accuracy - 0.5) < 1e-12);
}

static void tar_needs_enough_negatives(void **state) {
  (void)state;
  const uint32_t pairs = 20000;
  _cleanup_(pair_set_done) struct pair_set set = pair_set_new(pairs);
  struct verification v;
  for (uint32_t i = 0; i < pairs;
       i++) { /* 10,000 negatives at 1, .9999, ...; positives above the tenth negative */
    set.same[i] = i >= 10000;
    set.fold[i] = i % 10;
    set.similarity[i] = set.same[i] ? (i < 17500 ? 0.99905f : -1.0f) : 1.0f - (float)i * 1e-4f;
  }
  assert_int_equal(verification_evaluate(set.similarity, set.same, set.fold, pairs, 10, 1, &v, NULL), 0);
  assert_true(fabs(v.tar_at_far_3 - 0.75) < 1e-12); /* exactly 10 of 10,000 negatives are above */
  /* below the tenth negative and the positives comes the eleventh, .9990 */
  assert_true(v.threshold_at_far[2] > 0.9990 && v.threshold_at_far[2] < 0.99905);
  assert_true(v.threshold_at_far[1] > 0.99 && v.threshold_at_far[1] < 0.9901);
  assert_true(v.threshold_at_far[0] > 0.9 && v.threshold_at_far[0] < 0.9001);
  assert_int_equal(
      verification_evaluate(set.similarity + 1, set.same + 1, set.fold + 1, pairs - 1, 10, 1, &v, NULL), 0);
  assert_true(isnan(v.tar_at_far_3) && !isnan(v.tar_at_far_2));
  assert_true(isnan(v.threshold_at_far[2]) && !isnan(v.threshold_at_far[1]));
}

static uint32_t negatives_above(const struct pair_set *set, uint32_t pairs, double threshold) {
  uint32_t above = 0;
  for (uint32_t i = 0; i < pairs; i++)
    above += !set->same[i] && (double)set->similarity[i] > threshold;
  return above;
}

/* With many ties: at the threshold few enough negatives pass, at the next lower similarity too many. */
static void thresholds_keep_their_rates(void **state) {
  (void)state;
  const uint32_t pairs = 3000;
  _cleanup_(pair_set_done) struct pair_set set = pair_set_new(pairs);
  struct verification v;
  golden_scores(&set, pairs, 200, 7);
  assert_int_equal(verification_evaluate(set.similarity, set.same, set.fold, pairs, 10, 1, &v, NULL), 0);
  assert_true(v.negatives >= 1000);
  for (uint32_t k = 0; k < 2; k++) {
    const double most = verification_rates[k].far * v.negatives, threshold = v.threshold_at_far[k];
    double below = -INFINITY; /* the highest similarity that the threshold refuses */
    for (uint32_t i = 0; i < pairs; i++)
      if ((double)set.similarity[i] <= threshold)
        below = fmax(below, (double)set.similarity[i]);
    assert_true(negatives_above(&set, pairs, threshold) <= most);
    assert_true(negatives_above(&set, pairs, below - 1e-6) > most);
  }
  assert_true(isnan(v.threshold_at_far[2]));
}

static void bad_input_is_refused(void **state) {
  (void)state;
  float similarity[4] = {0.1f, 0.2f, 0.3f, 0.4f};
  bool same[4] = {true, false, true, false}, alike[4] = {true, true, true, true};
  uint32_t fold[4] = {0, 1, 0, 1}, wrong[4] = {0, 1, 2, 1};
  struct verification v = {.pairs = 77};
  struct guise_error err = {0};
  assert_int_equal(verification_evaluate(similarity, alike, fold, 4, 2, 1, &v, &err), -EINVAL);
  assert_int_equal(verification_evaluate(similarity, same, wrong, 4, 2, 1, &v, &err), -EINVAL);
  assert_int_equal(verification_evaluate(similarity, same, fold, 4, 1, 1, &v, &err), -EINVAL);
  assert_int_equal(verification_evaluate(similarity, same, fold, 0, 2, 1, &v, &err), -EINVAL);
  similarity[2] = NAN;
  assert_int_equal(verification_evaluate(similarity, same, fold, 4, 2, 1, &v, &err), -EINVAL);
  assert_non_null(strstr(err.text, "pair 2"));
  assert_int_equal(v.pairs, 77); /* untouched on failure */
}

/* ---- pairs ---- */

static void check_pairs(const uint32_t *identity, const struct face_pair *pairs, uint32_t count,
                        uint32_t positives) {
  uint32_t folds[10] = {0};
  for (uint32_t i = 0; i < count; i++) {
    assert_true(pairs[i].a < pairs[i].b);
    assert_int_equal(pairs[i].same, i < positives);
    assert_int_equal(identity[pairs[i].a] == identity[pairs[i].b], pairs[i].same);
    folds[pairs[i].fold]++;
    for (uint32_t j = 0; j < i; j++)
      assert_false(pairs[i].a == pairs[j].a && pairs[i].b == pairs[j].b);
  }
  for (int f = 0; f < 10; f++)
    assert_in_range(folds[f], count / 10, count / 10 + 1);
}

static void all_positive_pairs(void **state) {
  (void)state;
  /* runs of 1..12 images: 286 positive pairs */
  uint32_t identity[78], n = 0;
  for (uint32_t p = 1; p <= 12; p++)
    for (uint32_t i = 0; i < p; i++)
      identity[n++] = p;
  _cleanup_(freep) struct face_pair *pairs = NULL, *again = NULL, *other = NULL, *few = NULL;
  uint32_t count = 0;
  assert_int_equal(verification_pairs(identity, n, 10000, 5, &pairs, &count, NULL), 0);
  assert_int_equal(count, 572);
  check_pairs(identity, pairs, count, 286);
  assert_int_equal(verification_pairs(identity, n, 10000, 5, &again, &count, NULL), 0);
  assert_memory_equal(pairs, again, count * sizeof(*pairs));
  assert_int_equal(verification_pairs(identity, n, 10000, 6, &other, &count, NULL), 0);
  assert_memory_not_equal(pairs, other, count * sizeof(*pairs));
  assert_int_equal(verification_pairs(identity, n, 100, 5, &few, &count, NULL), 0);
  assert_int_equal(count, 200);
  check_pairs(identity, few, count, 100);
}

static void capped_draw_is_uniform(void **state) {
  (void)state;
  /* 5 images of one person and 1 of another: each of the 10 positive pairs should come up in 3 of 10 draws */
  const uint32_t identity[6] = {4, 4, 4, 4, 4, 9};
  uint32_t hits[6][6] = {0};
  for (uint64_t seed = 0; seed < 2000; seed++) {
    _cleanup_(freep) struct face_pair *pairs = NULL;
    uint32_t count = 0;
    assert_int_equal(verification_pairs(identity, 6, 3, seed, &pairs, &count, NULL), 0);
    for (uint32_t i = 0; i < 3; i++)
      hits[pairs[i].a][pairs[i].b]++;
  }
  for (uint32_t a = 0; a < 5; a++)
    for (uint32_t b = a + 1; b < 5; b++)
      assert_in_range(hits[a][b], 500, 700); /* 600 expected, deviation 20 */
}

static void few_negatives_are_enough(void **state) {
  (void)state;
  uint32_t identity[21];
  for (uint32_t i = 0; i < 21; i++)
    identity[i] = i < 20 ? 0 : 1; /* 190 positive pairs, 20 negative ones */
  _cleanup_(freep) struct face_pair *pairs = NULL;
  uint32_t count = 0;
  assert_int_equal(verification_pairs(identity, 21, 1000, 1, &pairs, &count, NULL), 0);
  assert_int_equal(count, 210);
  check_pairs(identity, pairs, count, 190);
}

static void impossible_pairs_are_refused(void **state) {
  (void)state;
  const uint32_t one[3] = {7, 7, 7}, single[3] = {1, 2, 3};
  struct face_pair *pairs = NULL;
  uint32_t count = 0;
  struct guise_error err;
  assert_int_equal(verification_pairs(one, 3, 10, 1, &pairs, &count, &err), -EINVAL);
  assert_int_equal(verification_pairs(single, 3, 10, 1, &pairs, &count, &err), -EINVAL);
  assert_int_equal(verification_pairs(single, 0, 10, 1, &pairs, &count, &err), -EINVAL);
  assert_null(pairs);
}

/* 100,000 images of 2 people: nothing quadratic may be written out (5e9 pairs exist). */
static void large_sets(void **state) {
  (void)state;
  const uint32_t count = 100000;
  _cleanup_(freep) uint32_t *identity = calloc(count, sizeof(*identity));
  _cleanup_(freep) struct face_pair *pairs = NULL;
  uint32_t n = 0;
  for (uint32_t i = count / 2; i < count; i++)
    identity[i] = 1;
  assert_int_equal(verification_pairs(identity, count, 50000, 1, &pairs, &n, NULL), 0);
  assert_int_equal(n, 100000);
  _cleanup_(pair_set_done) struct pair_set set = pair_set_new(n);
  struct rng rng;
  rng_init(&rng, 1, RNG_ATTACK, 0, 0);
  for (uint32_t i = 0; i < n; i++) {
    set.same[i] = pairs[i].same;
    set.fold[i] = pairs[i].fold;
    set.similarity[i] = rng_normal(&rng) + (pairs[i].same ? 2.0f : 0.0f);
  }
  struct verification v;
  assert_int_equal(verification_evaluate(set.similarity, set.same, set.fold, n, 10, 1, &v, NULL), 0);
  /* two unit normals two apart: accuracy Phi(1) = .8413, AUROC Phi(sqrt 2) = .9214, interval +-.0023 */
  assert_true(fabs(v.accuracy - 0.8413) < 0.006 && fabs(v.eer - 0.1587) < 0.006 &&
              fabs(v.auroc - 0.9214) < 0.005);
  assert_true(fabs(v.accuracy_high - v.accuracy_low - 0.00453) < 0.0006);
}

/* Embeddings on a circle: at whole angles of the person, some pushed nearer to the next person's. */
static void people_are_found_in_a_gallery(void **state) {
  (void)state;
  enum { PEOPLE = 5, IMAGES = 4, COUNT = PEOPLE * IMAGES };
  uint32_t identity[COUNT];
  float embeddings[COUNT * 2];
  double rank_1, by_hand = 0, least = 1;
  for (uint32_t i = 0; i < COUNT; i++) {
    const double angle = i / IMAGES + (i % IMAGES == 3 ? .9 : .01 * (i % IMAGES));
    identity[i] = 10 * (i / IMAGES);
    embeddings[2 * i] = (float)cos(angle);
    embeddings[2 * i + 1] = (float)sin(angle);
  }
  /* Whoever stands for a person: one choice of all there are finds as many. */
  for (uint64_t seed = 0; seed < 50; seed++) {
    assert_int_equal(verification_rank_1(embeddings, 2, identity, COUNT, seed, &rank_1), 0);
    bool possible = false;
    for (uint32_t choice = 0; choice < 1024; choice++) { /* two bits a person */
      uint32_t hits = 0, gallery[PEOPLE];
      for (uint32_t p = 0; p < PEOPLE; p++)
        gallery[p] = p * IMAGES + (choice >> 2 * p & 3);
      for (uint32_t i = 0; i < COUNT; i++) {
        uint32_t nearest = 0;
        float most = -2;
        for (uint32_t p = 0; p < PEOPLE; p++) {
          const float *a = embeddings + 2 * i, *b = embeddings + 2 * gallery[p];
          const float cosine = a[0] * b[0] + a[1] * b[1];
          nearest = cosine > most ? p : nearest;
          most = fmaxf(most, cosine);
        }
        hits += gallery[i / IMAGES] != i && nearest == i / IMAGES;
      }
      by_hand = (double)hits / (COUNT - PEOPLE);
      possible |= rank_1 == by_hand;
    }
    assert_true(possible);
    least = fmin(least, rank_1);
  }
  assert_true(least > 0 && least < .9);
  /* all alike: ties are misses; nobody to look for; nobody to be taken for */
  for (uint32_t i = 0; i < COUNT; i++) {
    embeddings[2 * i] = 1;
    embeddings[2 * i + 1] = 0;
  }
  assert_int_equal(verification_rank_1(embeddings, 2, identity, COUNT, 1, &rank_1), 0);
  assert_true(rank_1 == 0);
  assert_int_equal(verification_rank_1(embeddings, 2, identity, IMAGES, 1, &rank_1), 0);
  assert_true(isnan(rank_1));
  for (uint32_t i = 0; i < COUNT; i++)
    identity[i] = i;
  assert_int_equal(verification_rank_1(embeddings, 2, identity, COUNT, 1, &rank_1), 0);
  assert_true(isnan(rank_1));
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(golden_values),
      cmocka_unit_test(threshold_comes_from_other_folds),
      cmocka_unit_test(perfect_and_useless),
      cmocka_unit_test(tar_needs_enough_negatives),
      cmocka_unit_test(thresholds_keep_their_rates),
      cmocka_unit_test(bad_input_is_refused),
      cmocka_unit_test(all_positive_pairs),
      cmocka_unit_test(capped_draw_is_uniform),
      cmocka_unit_test(few_negatives_are_enough),
      cmocka_unit_test(impossible_pairs_are_refused),
      cmocka_unit_test(large_sets),
      cmocka_unit_test(people_are_found_in_a_gallery),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
