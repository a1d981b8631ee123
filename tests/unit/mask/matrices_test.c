/* Masks as matrices, for networks that are exported with their mask: composed by hand they are the operator.
 */
#include "core/freq/dct.h"
#include "unit/mask/fitted.h"

/* M P M of each plane. */
static void from_both_sides(const float *matrix, float *planar) {
  float *turned = calloc((size_t)3 * SIDE * SIDE, sizeof(float));
  assert_non_null(turned);
  for (int side = 0; side < 2; side++) { /* M P, turned; and once more */
    for (uint32_t i = 0; i < 3 * SIDE * SIDE; i++) {
      const uint32_t plane = i / (SIDE * SIDE), y = i / SIDE % SIDE, x = i % SIDE;
      double sum = 0;
      for (uint32_t k = 0; k < SIDE; k++)
        sum += (double)matrix[y * SIDE + k] * (double)planar[(plane * SIDE + k) * SIDE + x];
      turned[(plane * SIDE + x) * SIDE + y] = (float)sum;
    }
    memcpy(planar, turned, (size_t)3 * SIDE * SIDE * sizeof(float));
  }
  free(turned);
}

/* Filter, transform, gather of a mask without constants, from its matrices. */
static void composed(const struct mask *mask, const float *face_, float *ret_template) {
  const struct mask_options options = mask_options_default(MASK_NONE, SIDE);
  struct mask *none = made(&options);
  struct work work = work_for(none);
  const size_t cells = (size_t)mask_grid(mask) * mask_grid(mask), kept = mask_channels(mask);
  float *matrix = calloc(MAX((size_t)SIDE * SIDE, kept * DCT_CHANNELS), sizeof(float));
  assert_non_null(matrix);
  memcpy(work.planar, face_, (size_t)3 * SIDE * SIDE * sizeof(float));
  if (mask_filters(mask)) {
    mask_filter_matrix(mask, matrix);
    for (uint32_t i = 0; i < SIDE * SIDE; i++)
      assert_true(fabsf(matrix[i] - matrix[i % SIDE * SIDE + i / SIDE]) < 1e-6f);
    from_both_sides(matrix, work.planar);
  }
  mask_linear_forward(none, 0, work.planar, work.scratch, work.template_);
  memset(matrix, 0, kept * DCT_CHANNELS * sizeof(float));
  if (mask_gathers(mask))
    mask_gather_matrix(mask, matrix);
  for (size_t c = 0; c < kept; c++)
    for (size_t i = 0; i < cells; i++) {
      double sum = mask_gathers(mask) ? 0 : (double)work.template_[c * cells + i];
      for (size_t k = 0; k < DCT_CHANNELS; k++)
        sum += (double)matrix[c * DCT_CHANNELS + k] * (double)work.template_[k * cells + i];
      ret_template[c * cells + i] = (float)sum;
    }
  free(matrix);
  work_done(&work);
  mask_free(none);
}

/* What an exported graph computes, also of a kernel that reaches beyond the picture and its mirror image. */
static void matrices_are_the_operator(void **state) {
  (void)state;
  static const struct {
    enum mask_method method;
    double sigma;
    uint32_t drop_low;
  } cases[] = {{MASK_BLUR, 0.5, 0},
               {MASK_BLUR, 2, 0},
               {MASK_BLUR, 16, 0},
               {MASK_PPFR_FD, 0, 28},
               {MASK_PPFR_FD, 0, 5}};
  for (size_t n = 0; n < ARRAY_SIZE(cases); n++) {
    struct mask_options options = mask_options_default(cases[n].method, SIDE);
    if (cases[n].sigma > 0)
      options.parameter[0] = cases[n].sigma;
    options.drop_low = cases[n].drop_low;
    options.select = MASK_SELECT_ZIGZAG;
    options.seed = 3;
    struct mask *mask = made(&options);
    struct work work = work_for(mask);
    float *expected = calloc(mask_elements(mask), sizeof(float));
    assert_non_null(expected);
    for (uint32_t i = 0; i < 3 * SIDE * SIDE; i++)
      work.planar[i] = (float)faces[0][i] - 128;
    composed(mask, work.planar, expected);
    mask_linear_forward(mask, 0, work.planar, work.scratch, work.template_);
    for (size_t i = 0; i < mask_elements(mask); i++)
      if (!(fabsf(work.template_[i] - expected[i]) < 2e-3f))
        fail_msg("%s %g, value %zu: %g, %g expected", mask_traits(cases[n].method)->name, cases[n].sigma, i,
                 (double)work.template_[i], (double)expected[i]);
    assert_true(mask_is_exportable(mask));
    free(expected);
    work_done(&work);
    mask_free(mask);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(matrices_are_the_operator),
  };
  return cmocka_run_group_tests(tests, draw_faces, NULL);
}
