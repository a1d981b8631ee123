/* Masks with a generated face: what a template of generative and of hybrid is made of, how strengths blend,
 * the public inverse, and where such masks are refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <string.h>

#include "core/freq/dct.h"
#include "core/mask/unet.h"
#include "unit/mask/weights.h"

enum { SIDE = 64, GRID = SIDE / 8, CELLS = GRID * GRID, ELEMENTS = 192 * CELLS, FACES = 8 };

#include "unit/mask/drawn_faces.h"

/* hybrid's strengths: eyes, nose, mouth, rest; of generative they are taken as 0. */
static struct mask *fitted(enum mask_method method, double eyes, double others) {
  struct mask_options options = mask_options_default(method, SIDE);
  struct mask *mask = NULL;
  if (method == MASK_HYBRID)
    for (uint32_t i = 0; i < 4; i++)
      options.parameter[GENERATOR_PARAMETER_COUNT + i] = i ? others : eyes;
  assert_int_equal(mask_new(&options, &mask, NULL), 0);
  assert_int_equal(mask_fit(mask, face, NULL, FACES, NULL), -EINVAL); /* has learnt nothing */
  assert_int_equal(give_weights(mask, NULL), 0);
  assert_int_equal(mask_fit(mask, face, NULL, FACES, NULL), 0);
  return mask;
}

static void make(const struct mask *mask, const uint8_t *rgb, uint32_t draw, float *ret_template) {
  float *scratch = calloc(mask_scratch(mask), sizeof(float));
  struct rng rng;
  rng_init(&rng, 1, RNG_MASK, draw, 0);
  mask_template(mask, rgb, false, &rng, scratch, ret_template);
  free(scratch);
}

/* What the generator draws of a face, by hand, coefficients. */
static void drawn_by_hand(const struct mask *mask, const uint8_t *rgb, uint32_t draw,
                          float *ret_coefficients) {
  const float *weights = mask_weights(mask), *deviation = weights + GENERATOR_DEVIATION;
  static float planar[3 * SIDE * SIDE], input[(192 + GENERATOR_NOISE) * CELLS];
  struct block_dct *dct = NULL;
  struct unet *unet = NULL;
  struct rng rng;
  float *scratch = calloc(unet_scratch(GENERATOR_NOISE, GRID), sizeof(float));
  assert_int_equal(block_dct_new(SIDE, &dct, NULL), 0);
  assert_int_equal(unet_new(weights + GENERATOR_NETWORK, GENERATOR_NOISE, GRID, &unet), 0);
  rgb_to_ycbcr(rgb, SIDE, false, planar);
  block_dct_forward(dct, planar, input);
  for (size_t i = 0; i < ELEMENTS; i++)
    input[i] = (input[i] - weights[GENERATOR_MEAN + i / CELLS]) / deviation[i / CELLS];
  rng_init(&rng, 1, RNG_MASK, draw, 0);
  for (size_t i = ELEMENTS; i < (192 + GENERATOR_NOISE) * (size_t)CELLS; i++)
    input[i] = rng_normal(&rng);
  unet_run(unet, input, scratch, ret_coefficients);
  for (size_t i = 0; i < ELEMENTS; i++)
    ret_coefficients[i] = weights[GENERATOR_MEAN + i / CELLS] + deviation[i / CELLS] * ret_coefficients[i];
  free(scratch);
  unet_free(unet);
  block_dct_free(dct);
}

/* Nothing of the face but what the generator draws, another face for each draw. */
static void templates_are_what_is_drawn(void **state) {
  (void)state;
  static float want[ELEMENTS], got[ELEMENTS], other[ELEMENTS];
  struct mask *mask = fitted(MASK_GENERATIVE, 0, 0);
  const struct mask_constants *k = mask_constants(mask);
  double noise = 0;
  assert_false(mask_is_exportable(mask));
  assert_false(mask_is_linear(mask));
  drawn_by_hand(mask, faces[2], 3, want);
  make(mask, faces[2], 3, got);
  make(mask, faces[2], 4, other);
  for (size_t i = 0; i < ELEMENTS; i++) {
    const float standardised = (want[i] - k->mean[i / CELLS]) / k->deviation[i / CELLS];
    assert_true(fabsf(standardised - got[i]) < 1e-3f * fmaxf(1, fabsf(standardised)));
    noise += fabs((double)got[i] - (double)other[i]) / ELEMENTS;
  }
  assert_true(noise > 0.05);
  mask_free(mask);
}

/* At strength 0 hybrid leaves the face as ahm does; at 1 the block is the generator's alone; between them it
 * is the blend with regional's noise, whose size is known. */
static void strengths_blend(void **state) {
  (void)state;
  static float bare[ELEMENTS], got[ELEMENTS], want[ELEMENTS];
  const struct mask_options ahm = mask_options_default(MASK_AHM, SIDE);
  struct mask *none = fitted(MASK_HYBRID, 0, 0), *plain = NULL, *eyes = fitted(MASK_HYBRID, 1, 0),
              *half = fitted(MASK_HYBRID, 0, 0.5);
  assert_int_equal(mask_new(&ahm, &plain, NULL), 0);
  assert_int_equal(mask_set_constants(plain, mask_constants(none), NULL), 0);
  make(plain, faces[1], 0, bare);
  make(none, faces[1], 0, got);
  for (size_t i = 0; i < mask_elements(none); i++)
    assert_true(fabsf(bare[i] - got[i]) < 1e-3f);
  const struct mask_constants *k = mask_constants(eyes);
  drawn_by_hand(eyes, faces[1], 0, want);
  make(eyes, faces[1], 0, got);
  uint32_t replaced = 0;
  for (uint32_t c = 0; c < mask_channels(eyes); c++) {
    const size_t at = (size_t)c * CELLS + 2 * GRID + 4; /* pixels 32..39, 16..23: between the eyes of 64 */
    const float value = (want[k->channel[c] * CELLS + 2 * GRID + 4] - k->mean[c]) / k->deviation[c];
    replaced += fabsf(fminf(fmaxf(value, -3), 3) - got[at]) < 2e-3f;
  }
  assert_int_equal(replaced, mask_channels(eyes));
  double squares = 0;
  k = mask_constants(half);
  drawn_by_hand(half, faces[1], 0, want);
  make(half, faces[1], 0, got);
  const float *deviation = mask_weights(half) + GENERATOR_DEVIATION;
  static float planar[3 * SIDE * SIDE], coefficients[ELEMENTS];
  struct block_dct *dct = NULL;
  uint32_t counted = 0;
  assert_int_equal(block_dct_new(SIDE, &dct, NULL), 0);
  rgb_to_ycbcr(faces[1], SIDE, false, planar);
  block_dct_forward(dct, planar, coefficients);
  for (uint32_t c = 0; c < mask_channels(half); c++) {
    const size_t at = k->channel[c] * (size_t)CELLS; /* the first block, of the rest */
    const double blend = 0.25 * (double)coefficients[at] + 0.5 * (double)want[at],
                 value = (double)got[(size_t)c * CELLS] * (double)k->deviation[c] + (double)k->mean[c];
    if (fabsf(got[(size_t)c * CELLS]) > 2.99f)
      continue; /* clipped */
    const double noise = (value - blend) / (double)deviation[k->channel[c]];
    squares += noise * noise;
    counted++;
  }
  assert_true(counted > 100);
  assert_true(fabs(squares / counted / 0.0625 - 1) < 5 * sqrt(2.0 / counted)); /* (1 - s) s = .25 */
  block_dct_free(dct);
  mask_free(none);
  mask_free(plain);
  mask_free(eyes);
  mask_free(half);
}

static double squared_error(const float *a, const float *b) {
  double sum = 0;
  for (size_t i = 0; i < (size_t)3 * SIDE * SIDE; i++)
    sum += (double)((a[i] - b[i]) * (a[i] - b[i]));
  return sum;
}

/* Mean and deviation of the faces' coefficients, in the place of made-up ones. */
static void measure_faces(const struct block_dct *dct, float *weights) {
  static float planar[3 * SIDE * SIDE], x[FACES][ELEMENTS];
  for (uint32_t f = 0; f < FACES; f++) {
    rgb_to_ycbcr(faces[f], SIDE, false, planar);
    block_dct_forward(dct, planar, x[f]);
  }
  for (size_t c = 0; c < 192; c++) {
    double sum = 0, squares = 0;
    for (size_t i = 0; i < (size_t)FACES * CELLS; i++) {
      const double value = (double)x[i / CELLS][c * CELLS + i % CELLS];
      sum += value / (FACES * CELLS);
      squares += value * value / (FACES * CELLS);
    }
    weights[GENERATOR_MEAN + c] = (float)sum;
    weights[GENERATOR_DEVIATION + c] = (float)sqrt(fmax(squares - sum * sum, 1e-4));
  }
}

/* With moments that are those of what is drawn, the public inverse is nearer to the face than the picture
 * that the template shows. */
static void the_inverse_beats_the_picture(void **state) {
  (void)state;
  static const enum mask_method methods[] = {MASK_GENERATIVE, MASK_HYBRID};
  for (size_t m = 0; m < ARRAY_SIZE(methods); m++) {
    struct mask *mask = fitted(methods[m], 0.75, 0.5);
    const size_t count = mask_weight_count(mask_options(mask));
    const struct mask_constants *k = mask_constants(mask);
    float *weights = malloc(count * sizeof(float)), *scratch = calloc(mask_scratch(mask), sizeof(float));
    static float drawn[ELEMENTS], truth[3 * SIDE * SIDE], z[ELEMENTS], template_[ELEMENTS],
        shown[3 * SIDE * SIDE], inverse[3 * SIDE * SIDE];
    struct block_dct *dct = NULL;
    double with = 0, without = 0;
    assert_int_equal(block_dct_new(SIDE, &dct, NULL), 0);
    memcpy(weights, mask_weights(mask), count * sizeof(float));
    memset(weights + GENERATOR_POWER, 0, 2 * 192 * sizeof(float));
    measure_faces(dct, weights);
    assert_int_equal(mask_set_weights(mask, weights, count, NULL), 0);
    assert_int_equal(mask_fit(mask, face, NULL, FACES, NULL), 0);
    for (uint32_t f = 0; f < FACES; f++) {
      drawn_by_hand(mask, faces[f], f, drawn);
      rgb_to_ycbcr(faces[f], SIDE, false, truth);
      block_dct_forward(dct, truth, z);
      for (size_t i = 0; i < ELEMENTS; i++) {
        const float mean = weights[GENERATOR_MEAN + i / CELLS],
                    deviation = weights[GENERATOR_DEVIATION + i / CELLS], u = (drawn[i] - mean) / deviation;
        weights[GENERATOR_POWER + i / CELLS] += u * u / (FACES * CELLS);
        weights[GENERATOR_ECHO + i / CELLS] += u * (z[i] - mean) / deviation / (FACES * CELLS);
      }
    }
    assert_int_equal(mask_set_weights(mask, weights, count, NULL), 0);
    for (uint32_t f = 0; f < FACES; f++) {
      make(mask, faces[f], f, template_);
      mask_invert(mask, template_, scratch, inverse);
      memset(z, 0, sizeof(z));
      for (uint32_t c = 0; c < k->channels; c++)
        for (size_t i = 0; i < CELLS; i++)
          z[k->channel[c] * (size_t)CELLS + i] = template_[c * CELLS + i] * k->deviation[c] + k->mean[c];
      block_dct_inverse(dct, z, shown);
      rgb_to_ycbcr(faces[f], SIDE, false, truth);
      with += squared_error(inverse, truth);
      without += squared_error(shown, truth);
    }
    print_message("%s: %.3f of the picture's error\n", mask_traits(methods[m])->name, with / without);
    assert_true(with < 0.9 * without);
    free(weights);
    free(scratch);
    block_dct_free(dct);
    mask_free(mask);
  }
}

static void refusals(void **state) {
  (void)state;
  static const enum mask_method methods[] = {MASK_GENERATIVE, MASK_HYBRID};
  for (size_t m = 0; m < ARRAY_SIZE(methods); m++) {
    struct guise_error err = {0};
    struct mask_options options = mask_options_default(methods[m], 40);
    assert_int_equal(mask_check_options(&options, &err), -EINVAL);
    assert_non_null(strstr(err.text, "multiple of 16"));
    options.size = SIDE;
    options.dct = MASK_DCT_UPSAMPLED;
    assert_int_equal(mask_check_options(&options, &err), -EINVAL);
    assert_non_null(strstr(err.text, "native"));
    struct mask *mask = fitted(methods[m], 0.5, 0.5);
    const size_t count = mask_weight_count(mask_options(mask));
    float *weights = malloc(count * sizeof(float));
    memcpy(weights, mask_weights(mask), count * sizeof(float));
    assert_int_equal(mask_set_weights(mask, weights, count - 1, NULL), -EINVAL);
    weights[GENERATOR_POWER + 3] = -1;
    assert_int_equal(mask_set_weights(mask, weights, count, NULL), -EINVAL);
    weights[GENERATOR_POWER + 3] = 1;
    weights[GENERATOR_DEVIATION + 3] = 0;
    assert_int_equal(mask_set_weights(mask, weights, count, NULL), -EINVAL);
    weights[GENERATOR_DEVIATION + 3] = 1;
    weights[count - 1] = NAN;
    assert_int_equal(mask_set_weights(mask, weights, count, NULL), -EINVAL);
    assert_true(isfinite(mask_weights(mask)[count - 1]) != 0); /* the old ones stay */
    free(weights);
    mask_free(mask);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(templates_are_what_is_drawn),
      cmocka_unit_test(strengths_blend),
      cmocka_unit_test(the_inverse_beats_the_picture),
      cmocka_unit_test(refusals),
  };
  return cmocka_run_group_tests(tests, draw_faces, NULL);
}
