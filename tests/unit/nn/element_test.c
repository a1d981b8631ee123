/* Floats rounded to bfloat16: one by one, and as the vector kernels do it. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/nn/element.h"
#include "core/nn/kernels.h"

static float from_bits(uint32_t bits) {
  float value;
  memcpy(&value, &bits, sizeof(value));
  return value;
}

static void rounding(void **state) {
  (void)state;
  static const struct {
    uint32_t from;
    uint16_t to;
  } cases[] = {
      {0x00000000, 0x0000}, {0x80000000, 0x8000}, /* zeros keep their sign */
      {0x3f800000, 0x3f80}, {0x3f807fff, 0x3f80}, /* the nearer one below */
      {0x3f808001, 0x3f81}, {0xbf80ffff, 0xbf81}, /* and above */
      {0x3f808000, 0x3f80}, {0x3f818000, 0x3f82}, /* ties to even */
      {0xbf808000, 0xbf80}, {0xbf818000, 0xbf82},
      {0x3fffffff, 0x4000}, {0x3fff8000, 0x4000}, /* carries into the exponent */
      {0x7f800000, 0x7f80}, {0xff800000, 0xff80}, /* infinities */
      {0x7f7f7fff, 0x7f7f}, {0x7f7f8000, 0x7f80}, /* the last finite value, and overflow */
      {0x7f7fffff, 0x7f80}, {0xff7fffff, 0xff80},
      {0x7fc00000, 0x7fc0}, {0xffc12345, 0xffc1}, /* NaN stays NaN */
      {0x7f800001, 0x7fc0}, {0xff80ffff, 0xffc0}, /* also with its bits in the lower half alone */
      {0x7fffffff, 0x7fff}, {0xffffffff, 0xffff}, /* and where rounding would carry over */
      {0x00000001, 0x0000}, {0x00018000, 0x0002}, /* denormals */
      {0x007fffff, 0x0080},
  };
  for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
    const uint16_t got = bfloat16_from_float(from_bits(cases[i].from));
    if (got != cases[i].to)
      fail_msg("%08x gives %04x, not %04x", cases[i].from, got, cases[i].to);
  }
  for (uint32_t bits = 0; bits <= UINT16_MAX; bits++) {
    const float value = bfloat16_to_float((uint16_t)bits);
    assert_true(isnan(value) || bfloat16_from_float(value) == bits);
  }
}

/* Of normal numbers: the instruction takes denormals for zero. */
static void vectors_round_the_same(void **state) {
  (void)state;
  static const uint32_t lower[] = {0, 1, 0x7fff, 0x8000, 0x8001, 0xffff};
  enum { BLOCK = 16, UPPER = 1 << 16, VALUES = UPPER * sizeof(lower) / sizeof(lower[0]) };
  const struct kernels *kernels = kernels_bfloat16();
  if (!kernels) {
    print_message("skipped: no AVX512_BF16 here\n");
    skip();
  }
  assert_int_equal(kernels->block, BLOCK);
  float *values = aligned_alloc(64, VALUES * sizeof(float)),
        *zeros = aligned_alloc(64, VALUES * sizeof(float));
  uint16_t *ones = aligned_alloc(64, VALUES * sizeof(uint16_t)),
           *rounded = aligned_alloc(64, VALUES * sizeof(uint16_t));
  assert_true(values && zeros && ones && rounded);
  for (size_t i = 0; i < VALUES; i++) {
    values[i] = from_bits((uint32_t)(i % UPPER) << 16 | lower[i / UPPER]);
    zeros[i] = -0.0f;
    ones[i] = bfloat16_from_float(1);
  }
  /* Channel i of the one pixel is values[i] 1 - 0. */
  const struct forward_pass pass = {
      .shape = {VALUES / BLOCK, 1}, .x1 = ones, .scale1 = values, .shift1 = zeros, .y = rounded};
  double *const sums[2] = {NULL, NULL};
  kernels->forward(&pass, 0, VALUES / BLOCK, sums);
  for (size_t i = 0; i < VALUES; i++)
    if (isnormal(values[i]) && rounded[i] != bfloat16_from_float(values[i]))
      fail_msg("%a gives %04x, not %04x", (double)values[i], rounded[i], bfloat16_from_float(values[i]));
  free(rounded);
  free(ones);
  free(zeros);
  free(values);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(rounding),
      cmocka_unit_test(vectors_round_the_same),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
