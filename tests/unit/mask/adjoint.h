/* The linear operator of a mask and its transpose. */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <stdlib.h>

#include "core/base/philox.h"
#include "core/mask/mask.h"

static inline double dot(const float *a, const float *b, size_t n) {
  double sum = 0;
  for (size_t i = 0; i < n; i++)
    sum += (double)a[i] * (double)b[i];
  return sum;
}

/* <A x, y> = <x, A^T y> of random x and y. */
static inline void check_adjoint(const struct mask *mask, uint32_t layout) {
  const size_t pixels = (size_t)3 * mask_size(mask) * mask_size(mask), elements = mask_elements(mask);
  float *x = calloc(pixels, sizeof(float)), *y = calloc(elements, sizeof(float)),
        *ax = calloc(elements, sizeof(float)), *aty = calloc(pixels, sizeof(float)),
        *scratch = calloc(mask_scratch(mask), sizeof(float));
  struct rng rng;
  assert_true(x && y && ax && aty && scratch);
  rng_init(&rng, 3, RNG_ATTACK, layout, 0);
  for (size_t i = 0; i < pixels; i++)
    x[i] = rng_normal(&rng);
  for (size_t i = 0; i < elements; i++)
    y[i] = rng_normal(&rng);
  mask_linear_forward(mask, layout, x, scratch, ax);
  mask_linear_adjoint(mask, layout, y, scratch, aty);
  const double left = dot(ax, y, elements), right = dot(x, aty, pixels);
  const double size = sqrt(dot(ax, ax, elements) * dot(y, y, elements));
  if (!(size > 0 && fabs(left - right) <= 1e-5 * size))
    fail_msg("%s: %g and %g", mask_traits(mask_method(mask))->name, left, right);
  free(x);
  free(y);
  free(ax);
  free(aty);
  free(scratch);
}
