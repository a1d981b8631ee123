/* Matching figures against brute-force references (tests/golden/make_metric.py) and matrices small enough to
 * check by hand. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
// cmocka needs the four headers above
#include <cmocka.h>
#include <math.h>
#include <omp.h>
#include <stdio.h>
#include <string.h>

#include "core/base/philox.h"
#include "core/metric/match.h"
#include "unit/metric/golden.h"

static struct match_result result_of(const float *similarity, uint32_t rows, uint32_t columns,
                                     const struct match_labels *labels, uint32_t draws) {
  _cleanup_(match_freep) struct match *match = NULL;
  struct match_result result;
  assert_int_equal(match_new(similarity, rows, columns, &match), 0);
  assert_int_equal(match_measure(match, labels, &(struct match_options){.draws = draws, .seed = 5}, &result),
                   0);
  return result;
}

static void assert_near(double a, double b) {
  if (isnan(a) != isnan(b) || fabs(a - b) > 1e-10)
    fail_msg("%.12g is not %.12g", a, b);
}

static void golden_matrices(void **state) {
  (void)state;
  FILE *file = fopen(GUISE_GOLDEN "/metric.txt", "re");
  assert_non_null(file);
  double golden[GOLDEN_NUMBERS];
  int seen = 0;
  while (golden_next(file, "match", golden)) {
    uint32_t rows = (uint32_t)golden[0], columns = (uint32_t)golden[1], people = (uint32_t)golden[2],
             levels = (uint32_t)golden[3], seed = (uint32_t)golden[4];
    uint32_t row_owner[128], column_owner[128];
    float *similarity = calloc((size_t)rows * columns, sizeof(float));
    uint8_t *kind = calloc((size_t)rows * columns, 1);
    assert_true(rows <= 128 && columns <= 128);
    for (uint32_t r = 0; r < rows; r++)
      row_owner[r] = lcg_next(&seed) % people;
    for (uint32_t c = 0; c < columns; c++)
      column_owner[c] = lcg_next(&seed) % people;
    for (uint32_t i = 0; i < rows * columns; i++) {
      bool same = row_owner[i / columns] == column_owner[i % columns], ignored = lcg_next(&seed) % 16 == 0;
      similarity[i] = (float)(lcg_next(&seed) % levels + (same ? levels / 3 : 0)) / 256.0f;
      kind[i] = ignored ? MATCH_IGNORED : same ? MATCH_SAME : MATCH_DIFFERENT;
    }
    struct match_labels labels = {kind, row_owner, column_owner, people};
    struct match_result result = result_of(similarity, rows, columns, &labels, 0);
    for (int f = 0; f < MATCH_FIGURES; f++) {
      assert_near(result.value[f].mean, golden[5 + f]);
      assert_near(result.worst_tenth[f], golden[5 + MATCH_FIGURES + f]);
      assert_true(isnan(result.value[f].low)); /* nothing was drawn */
    }
    free(similarity);
    free(kind);
    seen++;
  }
  (void)fclose(file);
  assert_int_equal(seen, 3);
}

/* Three people, two photographs each, a template of each: one is linked to both, one to one, one to none. */
static void a_matrix_by_hand(void **state) {
  (void)state;
  static const float similarity[3 * 6] = {
      .9f, .8f, .1f, .1f, .1f, .1f, /* both photographs above all others */
      .2f, .3f, .7f, .1f, .2f, .2f, /* .7 and .1 */
      .6f, .2f, .3f, .2f, .1f, .0f, /* somebody else's is the most similar */
  };
  static const uint32_t rows[3] = {0, 1, 2}, columns[6] = {0, 0, 1, 1, 2, 2};
  uint8_t kind[18];
  for (uint32_t i = 0; i < 18; i++)
    kind[i] = rows[i / 6] == columns[i % 6] ? MATCH_SAME : MATCH_DIFFERENT;
  struct match_labels labels = {kind, rows, columns, 3};
  struct match_result result = result_of(similarity, 3, 6, &labels, 100);
  assert_int_equal(result.same, 6);
  assert_int_equal(result.different, 12);
  assert_true(isnan(result.value[MATCH_TAR_2].mean)); /* 12 pairs do not tell a hundredth */
  assert_true(isnan(result.worst_tenth[MATCH_TAR_2]));
  assert_near(result.value[MATCH_RANK_1].mean, 2.0 / 3);
  assert_near(result.worst_tenth[MATCH_RANK_1], 1);
  /* of the 12 different ones, .6 .3 .3 .2 .2 .2 .2 .2 .1 .1 .1 .1, below .9: 12, .8: 12, .7: 12, .1: 4/2
   * twice, .0: 0 */
  assert_near(result.value[MATCH_AUROC].mean, (12 + 12 + 12 + 2 + 2 + 0) / 72.0);
  assert_near(result.worst_tenth[MATCH_AUROC], 1);
  kind[12] = MATCH_IGNORED; /* without that photograph .3 is the most similar, still somebody else's */
  result = result_of(similarity, 3, 6, &labels, 0);
  assert_int_equal(result.different, 11);
  assert_near(result.value[MATCH_RANK_1].mean, 2.0 / 3);
  memset(kind, MATCH_IGNORED, sizeof(kind));
  result = result_of(similarity, 3, 6, &labels, 10);
  for (int f = 0; f < MATCH_FIGURES; f++)
    assert_true(isnan(result.value[f].mean) && isnan(result.worst_tenth[f]));
}

#define PEOPLE 40u
#define IMAGES 4u
#define FACES (PEOPLE * IMAGES)

struct crowd {
  float similarity[FACES * FACES];
  uint8_t kind[FACES * FACES];
  uint32_t owner[FACES];
};

/* Every person's pairs share a shift of their own, so that images of one person tell less than their number.
 */
static struct crowd *crowd_new(float together) {
  struct crowd *crowd = calloc(1, sizeof(*crowd));
  struct rng rng;
  float shift[PEOPLE];
  assert_non_null(crowd);
  rng_init(&rng, 9, RNG_ATTACK, 0, 0);
  for (uint32_t p = 0; p < PEOPLE; p++)
    shift[p] = together + rng_normal(&rng);
  for (uint32_t i = 0; i < FACES; i++)
    crowd->owner[i] = i / IMAGES;
  for (uint32_t i = 0; i < FACES * FACES; i++) {
    uint32_t a = crowd->owner[i / FACES], b = crowd->owner[i % FACES];
    crowd->similarity[i] = rng_normal(&rng) + (a == b ? shift[a] : 0);
    crowd->kind[i] = a == b ? MATCH_SAME : MATCH_DIFFERENT;
  }
  return crowd;
}

static void intervals_hold_the_figure_and_people_count(void **state) {
  (void)state;
  struct crowd *crowd = crowd_new(1.5f);
  struct match_labels labels = {crowd->kind, crowd->owner, crowd->owner, PEOPLE};
  struct match_result result = result_of(crowd->similarity, FACES, FACES, &labels, 400);
  for (int f = 0; f < MATCH_FIGURES; f++) {
    const struct interval *value = &result.value[f];
    assert_true(value->low < value->mean && value->mean < value->high);
    assert_true(result.worst_tenth[f] >= value->mean);
  }
  /* pairs drawn one by one would give +-1.96 sqrt(p (1 - p) / pairs); whole people vary more */
  double p = result.value[MATCH_TAR_2].mean, naive = 2 * 1.96 * sqrt(p * (1 - p) / result.same);
  assert_true(result.value[MATCH_TAR_2].high - result.value[MATCH_TAR_2].low > 1.3 * naive);
  struct match_result again = result_of(crowd->similarity, FACES, FACES, &labels, 400);
  assert_memory_equal(&again, &result, sizeof(result));
  omp_set_num_threads(1);
  again = result_of(crowd->similarity, FACES, FACES, &labels, 400);
  assert_memory_equal(&again, &result, sizeof(result));
  free(crowd);
}

static void perfect_and_useless(void **state) {
  (void)state;
  struct crowd *crowd = crowd_new(0);
  struct match_labels labels = {crowd->kind, crowd->owner, crowd->owner, PEOPLE};
  for (uint32_t i = 0; i < FACES * FACES; i++)
    crowd->similarity[i] = crowd->kind[i] == MATCH_SAME ? .5f : -.5f;
  struct match_result result = result_of(crowd->similarity, FACES, FACES, &labels, 50);
  for (int f = 0; f < MATCH_FIGURES; f++)
    assert_true(result.value[f].mean == 1 && result.value[f].high == 1 && result.worst_tenth[f] == 1);
  for (int f = 0; f < MATCH_FIGURES; f++) /* of 40 people; .9119 is the exact bound */
    assert_true(fabs(result.value[f].low - .9119) < 5e-5);
  for (uint32_t i = 0; i < FACES * FACES; i++)
    crowd->similarity[i] = .25f; /* all tied: nobody is told apart */
  result = result_of(crowd->similarity, FACES, FACES, &labels, 50);
  assert_true(result.value[MATCH_TAR_2].mean == 0 && result.value[MATCH_RANK_1].mean == 0);
  assert_true(result.value[MATCH_TAR_2].low == 0 && fabs(result.value[MATCH_TAR_2].high - .0881) < 5e-5);
  assert_near(result.value[MATCH_AUROC].mean, .5);
  for (uint32_t i = 0; i < FACES * FACES; i++) /* ten people have pairs: the others say nothing */
    if (crowd->kind[i] == MATCH_SAME && crowd->owner[i / FACES] >= 10)
      crowd->kind[i] = MATCH_IGNORED;
  result = result_of(crowd->similarity, FACES, FACES, &labels, 50);
  assert_true(fabs(result.value[MATCH_TAR_2].high - .3085) < 5e-5);
  assert_true(fabs(result.value[MATCH_RANK_1].high - .3085) < 5e-5);
  free(crowd);
}

static void bad_input_is_refused(void **state) {
  (void)state;
  float similarity[4] = {.1f, .2f, .3f, .4f};
  uint32_t owner[2] = {0, 1}, wrong[2] = {0, 2};
  uint8_t kind[4] = {MATCH_SAME, MATCH_DIFFERENT, MATCH_DIFFERENT, MATCH_SAME};
  _cleanup_(match_freep) struct match *match = NULL;
  struct match_labels labels = {kind, owner, wrong, 2};
  const struct match_options options = {.seed = 1};
  struct match_result result = {.same = 77};
  assert_int_equal(match_new(similarity, 0, 2, &match), -EINVAL);
  assert_int_equal(match_new(similarity, 2, 2, &match), 0);
  assert_int_equal(match_measure(match, &labels, &options, &result), -EINVAL);
  labels = (struct match_labels){kind, wrong, owner, 2};
  assert_int_equal(match_measure(match, &labels, &options, &result), -EINVAL);
  assert_int_equal(result.same, 77);
  struct match *none = NULL;
  similarity[3] = NAN;
  assert_int_equal(match_new(similarity, 2, 2, &none), -EINVAL);
  assert_null(none);
}

static bool out_of_patience(void *patience) {
  return (*(uint32_t *)patience)-- == 0;
}

/* Before the first figure, and in the midst of a million draws. */
static void stops_when_asked(void **state) {
  (void)state;
  float similarity[4] = {.1f, .2f, .3f, .4f};
  uint32_t owner[2] = {0, 1}, patience;
  uint8_t kind[4] = {MATCH_SAME, MATCH_DIFFERENT, MATCH_DIFFERENT, MATCH_SAME};
  _cleanup_(match_freep) struct match *match = NULL;
  const struct match_labels labels = {kind, owner, owner, 2};
  const struct match_options options = {
      .draws = 1000000, .seed = 1, .should_stop = out_of_patience, .stop_context = &patience};
  struct match_result result = {.same = 77};
  assert_int_equal(match_new(similarity, 2, 2, &match), 0);
  for (uint32_t asked = 0; asked < 3; asked++) {
    patience = asked;
    assert_int_equal(match_measure(match, &labels, &options, &result), -ECANCELED);
    assert_int_equal(patience, UINT32_MAX); /* nobody was asked again */
  }
  assert_int_equal(result.same, 77);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(golden_matrices),
      cmocka_unit_test(a_matrix_by_hand),
      cmocka_unit_test(intervals_hold_the_figure_and_people_count),
      cmocka_unit_test(perfect_and_useless),
      cmocka_unit_test(bad_input_is_refused),
      cmocka_unit_test(stops_when_asked),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
