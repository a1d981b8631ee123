/* Learning dctdp's budgets: shares and their gradient against differences, and whether noise moves away from
 * where the identity is known to stand. That whole jobs learn, go on and repeat is in job_test. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <omp.h>
#include <string.h>

#include "core/mask/dctdp.h"
#include "core/train/budget.h"
#include "unit/train/telling.h"

enum { COUNT = 7 };

/* sum_i f(noise_i), noise_i = a_i / share_i, f = sin */
static double loss(const double *rho, const double *a) {
  double sum = 0, all = 0;
  for (int i = 0; i < COUNT; i++)
    all += exp(rho[i]);
  for (int i = 0; i < COUNT; i++)
    sum += sin(a[i] / (COUNT * exp(rho[i]) / all));
  return sum;
}

static void the_gradient_is_that_of_the_shares(void **state) {
  (void)state;
  double rho[COUNT], a[COUNT], slope[COUNT], gradient[COUNT], sum = 0;
  float single[COUNT], shares[COUNT];
  struct rng rng;
  rng_init(&rng, 3, RNG_ATTACK, 0, 0);
  for (int i = 0; i < COUNT; i++) {
    rho[i] = (double)(single[i] = 0.5f * rng_normal(&rng));
    a[i] = (double)rng_normal(&rng);
  }
  budget_shares(single, COUNT, shares);
  for (int i = 0; i < COUNT; i++) {
    sum += (double)shares[i];
    const double noise = a[i] / (double)shares[i];
    slope[i] = cos(noise) * noise;
  }
  assert_true(fabs(sum - COUNT) < 1e-5); /* the mean budget stays */
  budget_gradient(shares, slope, COUNT, gradient);
  for (int i = 0; i < COUNT; i++) {
    const double length = 1e-5, here = rho[i];
    rho[i] = here + length;
    double differences = loss(rho, a);
    rho[i] = here - length;
    differences = (differences - loss(rho, a)) / (2 * length);
    rho[i] = here;
    if (fabs(differences - gradient[i]) > 1e-5)
      fail_msg("%d: %g, %g by differences", i, gradient[i], differences);
  }
}

static int learn(uint32_t epochs, enum job_stop (*should_stop)(void *), float **ret_shares,
                 size_t *ret_count) {
  double progress = 0;
  struct guise_error err = {0};
  struct job_spec spec = {
      .model = {.arch = ARCH_FREQ_IR, .input = SIDE, .embedding = 32, .width = 0.25},
      .mask = {.method = MASK_DCTDP, .drop_low = 1, .clip = 3, .analysis = {epochs, 0.5}},
      .train = {.lr = 0.05, .momentum = 0.9, .weight_decay = 5e-4, .scale = 16, .seed = 1}};
  spec.mask.parameter[DCTDP_EPSILON] = 8;
  spec.mask.parameter[DCTDP_LEARNT] = 1;
  const struct job_callbacks callbacks = {.context = &progress,
                                          .phase = no_phase,
                                          .progress = on_progress,
                                          .log = on_log,
                                          .should_stop = should_stop};
  struct trainer trainer = telling_trainer(&spec, &callbacks, 1);
  const struct mask_options options = job_spec_mask(&spec);
  *ret_count = mask_weight_count(&options);
  *ret_shares = calloc(*ret_count, sizeof(float));
  omp_set_num_threads(1);
  int r = budget_train(&trainer, *ret_shares, &err);
  if (r < 0 && r != -EINTR)
    fail_msg("%s", err.text);
  return r;
}

/* Mean share of the values of the Y coefficients listed; NULL: of Cb and Cr, which tell nothing. */
static double mean_share(const float *shares, const uint8_t *list, size_t count) {
  enum { CELLS = SIDE * SIDE / 64 };
  double sum = 0;
  for (size_t k = 0; k < (list ? count : 126); k++)
    for (size_t i = 0; i < CELLS; i++)
      sum += (double)shares[(list ? list[k] - 1u : 63 + k) * CELLS + i]; /* DC is dropped */
  return sum / ((double)CELLS * (double)(list ? count : 126));
}

/* Takes long under a sanitizer, which sees the same code in the short tests. */
static void budgets_go_where_identity_stands(void **state) {
  (void)state;
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  print_message("SKIPPED: where budgets go is tested without a sanitizer\n");
  skip();
#endif
  float *shares;
  size_t count;
  assert_int_equal(learn(30, never, &shares, &count), 0);
  const double here = mean_share(shares, telling, ARRAY_SIZE(telling)),
               elsewhere = mean_share(shares, NULL, 0);
  print_message("mean share where the identity stands %.3f, elsewhere %.3f\n", here, elsewhere);
  assert_true(here > 1.05 * elsewhere);
  free(shares);
}

static void the_seed_decides(void **state) {
  (void)state;
  float *shares, *again;
  size_t count;
  double sum = 0;
  assert_int_equal(learn(1, never, &shares, &count), 0);
  assert_int_equal(learn(1, never, &again, &count), 0);
  assert_memory_equal(shares, again, count * sizeof(float));
  for (size_t i = 0; i < count; i++)
    sum += (double)shares[i];
  assert_true(fabs(sum / (double)count - 1) < 1e-4); /* the mean budget stays */
  free(shares);
  free(again);
}

static void stops(void **state) {
  (void)state;
  float *shares;
  size_t count;
  assert_int_equal(learn(1, at_once, &shares, &count), -EINTR);
  free(shares);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(the_gradient_is_that_of_the_shares),
                                     cmocka_unit_test(budgets_go_where_identity_stands),
                                     cmocka_unit_test(the_seed_decides), cmocka_unit_test(stops)};
  return cmocka_run_group_tests(tests, draw_faces, NULL);
}
