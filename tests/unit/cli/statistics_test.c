/* Intervals against tables and hand-made cases; the bootstrap against the deviation that theory gives. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "cli/statistics.h"
#include "core/base/base.h"

static void expect_near(double value, double expected, double tolerance) {
  if (!(fabs(value - expected) <= tolerance))
    fail_msg("%.9g instead of %.9g", value, expected);
}

/* Percentage points of the t distribution as printed in every table. */
static void t_is_the_table(void **state) {
  (void)state;
  static const struct {
    uint32_t freedom;
    double quantile;
  } table[] = {{1, 12.7062047}, {2, 4.30265273},  {3, 3.18244631},  {4, 2.77644511},  {5, 2.57058184},
               {9, 2.26215716}, {10, 2.22813885}, {29, 2.04522964}, {30, 2.04227246}, {100, 1.98397152}};
  for (size_t i = 0; i < ARRAY_SIZE(table); i++)
    expect_near(t_quantile(table[i].freedom), table[i].quantile, 1e-7);
}

static void means_and_differences(void **state) {
  (void)state;
  const double value[] = {1, NAN, 2, 3, 4, 5}, other[] = {0, 7, 2, NAN, 2, 2};
  struct estimate estimate = estimate_mean(value, 6);
  assert_int_equal(estimate.count, 5);
  expect_near(estimate.mean, 3, 1e-12);
  expect_near(estimate.high - 3, 2.77644511 * sqrt(2.5 / 5), 1e-7);
  expect_near(3 - estimate.low, estimate.high - 3, 1e-12);
  estimate = estimate_difference(value, other, 6); /* 1, 0, 2, 3 */
  assert_int_equal(estimate.count, 4);
  expect_near(estimate.mean, 1.5, 1e-12);
  expect_near(estimate.high - 1.5, 3.18244631 * sqrt((0.25 + 2.25 + 0.25 + 2.25) / 3 / 4), 1e-7);
  estimate = estimate_mean(value, 1);
  assert_int_equal(estimate.count, 1);
  expect_near(estimate.mean, 1, 0);
  assert_true(isnan(estimate.low) && isnan(estimate.high));
  estimate = estimate_mean(value + 1, 1);
  assert_int_equal(estimate.count, 0);
  assert_true(isnan(estimate.mean));
}

/* One seed, a quarter of the pairs better by one, an eighth worse: mean 1/8, variance of a pair 3/8 - 1/64.
 */
static void bootstrap_of_one_seed(void **state) {
  (void)state;
  enum { PAIRS = 1600 };
  int8_t difference[PAIRS];
  for (int i = 0; i < PAIRS; i++)
    difference[i] = (int8_t)(i % 8 < 2 ? 1 : i % 8 == 2 ? -1 : 0);
  const struct paired_decisions seed = {difference, PAIRS};
  struct estimate a = bootstrap_decisions(&seed, 1, true, 4000),
                  b = bootstrap_decisions(&seed, 1, true, 4000);
  double half = 1.959964 * sqrt((3.0 / 8 - 1.0 / 64) / PAIRS);
  expect_near(a.mean, 0.125, 1e-12);
  expect_near(a.high, 0.125 + half, 0.1 * half);
  expect_near(a.low, 0.125 - half, 0.1 * half);
  assert_true(a.mean == b.mean && a.low == b.low && a.high == b.high); /* it repeats */
  a = bootstrap_decisions(&seed, 1, false, 4000);
  expect_near(a.high, 0.125 + half, 0.1 * half);
}

/* Seeds that disagree widen the interval, and pairs that agree over seeds widen it when lists are shared. */
static void bootstrap_of_seeds(void **state) {
  (void)state;
  enum { PAIRS = 400 };
  int8_t better[PAIRS], equal[PAIRS], mixed[PAIRS];
  for (int i = 0; i < PAIRS; i++) {
    better[i] = 1;
    equal[i] = 0;
    mixed[i] = (int8_t)(i % 2);
  }
  const struct paired_decisions apart[] = {{better, PAIRS}, {equal, PAIRS}};
  struct estimate estimate = bootstrap_decisions(apart, 2, true, 1000);
  assert_int_equal(estimate.count, 2);
  expect_near(estimate.mean, 0.5, 1e-12);
  expect_near(estimate.low, 0, 1e-12);
  expect_near(estimate.high, 1, 1e-12);
  const struct paired_decisions alike[] = {{mixed, PAIRS}, {mixed, PAIRS}, {mixed, PAIRS}, {mixed, PAIRS}};
  struct estimate shared = bootstrap_decisions(alike, 4, true, 4000),
                  own = bootstrap_decisions(alike, 4, false, 4000);
  double half = 1.959964 * sqrt(0.25 / PAIRS);
  expect_near(shared.high - shared.low, 2 * half, 0.2 * half);
  expect_near(own.high - own.low, half, 0.1 * half); /* four lists: half of it */
  estimate = bootstrap_decisions(NULL, 0, true, 10);
  assert_true(estimate.count == 0 && isnan(estimate.mean));
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(t_is_the_table),
      cmocka_unit_test(means_and_differences),
      cmocka_unit_test(bootstrap_of_one_seed),
      cmocka_unit_test(bootstrap_of_seeds),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
