/* Training minusface's generator: the gradient against differences of the loss. That whole jobs learn, go on
 * and repeat is in job_test. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>

#include "core/base/philox.h"
#include "core/train/subtraction.h"

enum { SIDE = 16, CELLS = 4, ELEMENTS = 192 * CELLS };

static float x[ELEMENTS], given[ELEMENTS], recognition[ELEMENTS], deviation[192];
static struct block_dct *dct;

/* unit * sum |idct(deviation (x - y))| + <recognition, x - y>, in double but for the transform */
static double loss(const float *y, double unit) {
  static float coefficients[ELEMENTS], pixels[ELEMENTS];
  double sum = 0;
  for (size_t i = 0; i < ELEMENTS; i++) {
    coefficients[i] = deviation[i / CELLS] * (x[i] - y[i]);
    sum += (double)recognition[i] * ((double)x[i] - (double)y[i]);
  }
  block_dct_inverse(dct, coefficients, pixels);
  for (size_t i = 0; i < ELEMENTS; i++)
    sum += unit * fabs((double)pixels[i]);
  return sum;
}

static void the_gradient_is_that_of_the_loss(void **state) {
  (void)state;
  static float rest[ELEMENTS], scratch[2 * ELEMENTS], gradient[ELEMENTS], moved[ELEMENTS];
  const double unit = 0.01, length = 1e-3;
  struct rng rng;
  rng_init(&rng, 1, RNG_ATTACK, 0, 0);
  assert_int_equal(block_dct_new(SIDE, &dct, NULL), 0);
  for (uint32_t c = 0; c < 192; c++)
    deviation[c] = 100.0f / (float)(1 + c % 64);
  for (size_t i = 0; i < ELEMENTS; i++) {
    x[i] = rng_normal(&rng);
    given[i] = rng_normal(&rng);
    recognition[i] = 0.1f * rng_normal(&rng);
    rest[i] = x[i] - given[i];
  }
  const double seen = subtraction_gradient(dct, deviation, CELLS, unit, rest, recognition, scratch, gradient);
  double at = loss(given, unit);
  for (size_t i = 0; i < ELEMENTS; i++)
    at -= (double)recognition[i] * (double)rest[i];
  assert_true(fabs(unit * seen / at - 1) < 1e-5);
  for (uint32_t round = 0; round < 20; round++) { /* along directions */
    double along = 0, differences;
    float direction[ELEMENTS];
    for (size_t i = 0; i < ELEMENTS; i++) {
      direction[i] = rng_normal(&rng);
      along += (double)direction[i] * (double)gradient[i];
      moved[i] = given[i] + (float)length * direction[i];
    }
    differences = loss(moved, unit);
    for (size_t i = 0; i < ELEMENTS; i++)
      moved[i] = given[i] - (float)length * direction[i];
    differences = (differences - loss(moved, unit)) / (2 * length);
    if (fabs(differences - along) > 0.02 * fabs(along) + 0.1)
      fail_msg("%g, %g by differences", along, differences);
  }
  block_dct_free(dct);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(the_gradient_is_that_of_the_loss)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
