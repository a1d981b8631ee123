/* The accountant against published values, against the integral it stands for, and where it must be exact. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
// cmocka needs the four headers above
#include <cmocka.h>
#include <math.h>

#include "core/train/accountant.h"

static void near(double got, double wanted, double tolerance, const char *what) {
  if (!(fabs(got - wanted) <= tolerance * fabs(wanted)))
    fail_msg("%s: %.9g, %.9g expected", what, got, wanted);
}

/* TensorFlow Privacy's rdp_accountant_test: compute_rdp(q, noise multiplier, steps, orders). */
static void published_rdp(void **state) {
  (void)state;
  static const struct {
    double q, sigma, steps, alpha, rdp;
  } rows[] = {{0.1, 2, 10, 5, 0.07737},
              {0.01, 2.5, 50, 1.5, 0.00065},
              {0.01, 2.5, 50, 2.5, 0.001085},
              {0.01, 2.5, 50, 5, 0.00218075},
              {0.01, 2.5, 50, 50, 0.023846},
              {0.01, 2.5, 50, 100, 167.416307},
              {1, 10, 1, 20, 0.1}};
  for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
    near(rows[i].steps * accountant_rdp(rows[i].q, rows[i].sigma, rows[i].alpha), rows[i].rdp, 0.005, "rdp");
}

/* The older conversion, r - log(delta) / (alpha - 1), which those values were published with. */
static double old_epsilon(double q, double sigma, double steps, double delta) {
  double best = INFINITY;
  for (int i = 11; i < 640; i++)
    best = fmin(best, steps * accountant_rdp(q, sigma, i / 10.0) - log(delta) / (i / 10.0 - 1));
  return best;
}

/* compute_dp_sgd_privacy: n, batch, noise multiplier, epochs, delta. Its test gives the newer conversion's
 * epsilon and the order it is reached at; earlier versions of that test the older conversion's, as does the
 * README of the MNIST tutorial (eps = 3.01). */
static void published_epsilon(void **state) {
  (void)state;
  static const struct {
    double n, batch, sigma, epochs, delta, old, epsilon, order;
  } rows[] = {{60000, 150, 1.3, 15, 1e-5, 0.941870567, 0.7242234026109595, 19},
              {100000, 100, 1.0, 30, 1e-7, 1.70928734, 1.4154988495444845, 13},
              {60000, 256, 1.1, 60, 1e-5, 3.01, NAN, NAN}};
  for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
    const double steps = ceil(rows[i].epochs * rows[i].n / rows[i].batch), q = rows[i].batch / rows[i].n;
    double order;
    const double epsilon = accountant_epsilon(q, rows[i].sigma, (uint64_t)steps, rows[i].delta, &order);
    near(old_epsilon(q, rows[i].sigma, steps, rows[i].delta), rows[i].old, 0.01, "older epsilon");
    assert_true(epsilon < rows[i].old); /* the newer conversion is tighter */
    if (isnan(rows[i].epsilon))
      continue;
    near(epsilon, rows[i].epsilon, 1e-6, "epsilon");
    near(order, rows[i].order, 0, "order");
  }
}

/* A = E ((1 - q) + q e^((2 z - 1) / 2 sigma^2))^alpha by the trapezoidal rule. */
static double integral(double q, double sigma, double alpha) {
  const double step = sigma / 400, reach = 12 * sigma + alpha;
  double sum = 0;
  for (double z = -reach; z <= reach; z += step) {
    const double ratio = log((1 - q) + q * exp((2 * z - 1) / (2 * sigma * sigma)));
    sum += exp(alpha * ratio - z * z / (2 * sigma * sigma)) / (sigma * sqrt(2 * M_PI)) * step;
  }
  return log(sum) / (alpha - 1);
}

static void the_integral(void **state) {
  (void)state;
  static const double qs[] = {0.001, 0.05, 0.4}, sigmas[] = {0.7, 1.5, 4},
                      alphas[] = {1.1, 1.7, 2, 3.3, 8, 8.5};
  for (int q = 0; q < 3; q++)
    for (int s = 0; s < 3; s++)
      for (int a = 0; a < 6; a++)
        near(accountant_rdp(qs[q], sigmas[s], alphas[a]), integral(qs[q], sigmas[s], alphas[a]), 1e-5,
             "integral");
}

static void edges(void **state) {
  (void)state;
  double order = 0;
  assert_true(accountant_rdp(0, 1, 5) == 0);
  assert_true(isinf(accountant_rdp(0.1, 0, 5)));
  assert_true(isinf(accountant_epsilon(0.1, 0, 10, 1e-5, NULL)));
  assert_true(isinf(accountant_epsilon(0.1, 1e-300, 10, 1e-5, NULL))); /* its square is 0 */
  assert_true(isinf(accountant_epsilon(0.1, 1e-160, 10, 1e-5, NULL)));
  assert_true(accountant_epsilon(0.1, 1e-90, 10, 1e-5, NULL) > 1e100);
  assert_true(accountant_epsilon(0.1, 1, 0, 1e-5, NULL) < 0.02); /* no step was made */
  /* more steps, a larger sample, less noise and a smaller delta cost more */
  const double plain = accountant_epsilon(0.05, 1, 500, 1e-5, &order);
  assert_true(order > 1 && isfinite(plain));
  assert_true(accountant_epsilon(0.05, 1, 1000, 1e-5, NULL) > plain);
  assert_true(accountant_epsilon(0.1, 1, 500, 1e-5, NULL) > plain);
  assert_true(accountant_epsilon(0.05, 0.8, 500, 1e-5, NULL) > plain);
  assert_true(accountant_epsilon(0.05, 1, 500, 1e-7, NULL) > plain);
  /* a whole sample each step is the Gaussian mechanism: order 1 + sqrt(2 log(1/delta)) sigma is near the best
   */
  const double gaussian = accountant_epsilon(1, 10, 1, 1e-5, &order);
  assert_true(gaussian > 0.3 && gaussian < 0.5 && order > 30);
  assert_true(isfinite(accountant_epsilon(0.01, 0.05, 100, 1e-5, NULL)));
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(published_rdp),
      cmocka_unit_test(published_epsilon),
      cmocka_unit_test(the_integral),
      cmocka_unit_test(edges),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
