/* MinusFace: the generator's own forward pass against the engine's, what a template is made of, its inverse,
 * and where the method is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <string.h>

#include "core/freq/dct.h"
#include "core/mask/minusface.h"
#include "core/mask/unet.h"
#include "unit/mask/weights.h"

enum { SIDE = 64, GRID = SIDE / 8, CELLS = GRID * GRID, ELEMENTS = 192 * CELLS, FACES = 8 };

#include "unit/mask/drawn_faces.h"

/* Weights as they stand in a graph, run by both, on grids whose halves are even and odd. */
static void the_generator_is_the_graphs(void **state) {
  (void)state;
  static const struct { uint32_t noise, grid; } shapes[] = {{0, 2}, {0, 6}, {0, 14}, {16, 6}};
  for (size_t g = 0; g < sizeof(shapes) / sizeof(shapes[0]); g++) {
    const uint32_t grid = shapes[g].grid, noise = shapes[g].noise;
    const size_t elements = (size_t)192 * grid * grid, inputs = (size_t)(192 + noise) * grid * grid;
    const struct graph_config config = {.batch = 2, .threads = 1, .seed = 9};
    struct graph *graph = NULL;
    struct unet *unet = NULL;
    struct rng rng;
    assert_int_equal(graph_new(&config, &graph, NULL), 0);
    (void)unet_describe(graph, noise, grid);
    assert_int_equal(graph_build(graph, NULL), 0);
    rng_init(&rng, 2, RNG_INIT, grid, 0);
    for (uint32_t i = 0; i < graph_parameters(graph); i++) { /* biases, too */
      struct graph_parameter *p = graph_parameter(graph, i);
      for (size_t k = 0; k < p->count; k++)
        p->value[k] = 0.05f * rng_normal(&rng);
    }
    graph_parameters_changed(graph);
    for (size_t i = 0; i < 2 * inputs; i++)
      graph_input_data(graph)[i] = rng_normal(&rng);
    float *weights = calloc(unet_weights(noise), sizeof(float)),
          *scratch = calloc(unet_scratch(noise, grid), sizeof(float)), *y = calloc(inputs, sizeof(float));
    assert_true(weights && scratch && y);
    size_t count = 0;
    for (uint32_t i = 0; i < graph_parameters(graph); i++)
      count += graph_parameter(graph, i)->count;
    assert_int_equal(count, unet_weights(noise));
    unet_read(graph, weights);
    assert_int_equal(unet_new(weights, noise, grid, &unet), 0);
    assert_int_equal(graph_forward(graph, GRAPH_EVAL, 0, NULL), 0);
    for (size_t image = 0; image < 2; image++) {
      const float *want = graph_output_data(graph) + image * elements;
      double squares = 0, errors = 0;
      memcpy(y, graph_input_data(graph) + image * inputs, inputs * sizeof(float));
      unet_run(unet, y, scratch, y); /* in place */
      for (size_t i = 0; i < elements; i++) {
        squares += (double)(want[i] * want[i]);
        errors += (double)((y[i] - want[i]) * (y[i] - want[i]));
      }
      assert_true(squares > 1 && errors < 1e-8 * squares);
    }
    free(weights);
    free(scratch);
    free(y);
    unet_free(unet);
    graph_free(graph);
  }
}

static struct mask *fitted(void) {
  const struct mask_options options = mask_options_default(MASK_MINUSFACE, SIDE);
  struct mask *mask = NULL;
  assert_int_equal(mask_new(&options, &mask, NULL), 0);
  assert_int_equal(mask_fit(mask, face, NULL, FACES, NULL), -EINVAL); /* has learnt nothing */
  assert_int_equal(give_weights(mask, NULL), 0);
  assert_int_equal(mask_fit(mask, face, NULL, FACES, NULL), 0);
  return mask;
}

/* The rest of a face, by hand: coefficients minus what the generator gives of the standardised ones. */
static void rest_of(const struct mask *mask, const uint8_t *rgb, float *ret_rest) {
  const float *weights = mask_weights(mask), *mean = weights + MINUSFACE_MEAN,
              *deviation = weights + MINUSFACE_DEVIATION;
  static float planar[3 * SIDE * SIDE], x[ELEMENTS], y[ELEMENTS];
  struct block_dct *dct = NULL;
  struct unet *unet = NULL;
  float *scratch = calloc(unet_scratch(0, GRID), sizeof(float));
  assert_int_equal(block_dct_new(SIDE, &dct, NULL), 0);
  assert_int_equal(unet_new(weights + MINUSFACE_GENERATOR, 0, GRID, &unet), 0);
  rgb_to_ycbcr(rgb, SIDE, false, planar);
  block_dct_forward(dct, planar, ret_rest);
  for (size_t i = 0; i < ELEMENTS; i++)
    x[i] = (ret_rest[i] - mean[i / CELLS]) / deviation[i / CELLS];
  unet_run(unet, x, scratch, y);
  for (size_t i = 0; i < ELEMENTS; i++)
    ret_rest[i] -= mean[i / CELLS] + deviation[i / CELLS] * y[i];
  free(scratch);
  unet_free(unet);
  block_dct_free(dct);
}

/* Each channel of the rest stands at one place of the template, another one for each draw. */
static void templates_are_the_rest_shuffled(void **state) {
  (void)state;
  static float rest[ELEMENTS], made[ELEMENTS], template_[ELEMENTS];
  struct mask *mask = fitted();
  const struct mask_constants *k = mask_constants(mask);
  float *scratch = calloc(mask_scratch(mask), sizeof(float));
  uint32_t moved = 0, place[2][192];
  rest_of(mask, faces[2], rest);
  minusface_residue(mask, faces[2], scratch, made);
  for (size_t i = 0; i < ELEMENTS; i++)
    assert_true(fabsf(rest[i] - made[i]) < 1e-2f);
  for (uint32_t draw = 0; draw < 2; draw++) {
    struct rng rng;
    bool taken[192] = {false};
    rng_init(&rng, 1, RNG_MASK, draw, 0);
    mask_template(mask, faces[2], false, &rng, scratch, template_);
    for (uint32_t c = 0; c < 192; c++) {
      double least = INFINITY;
      for (uint32_t from = 0; from < 192; from++) {
        double error = 0;
        for (uint32_t i = 0; i < CELLS; i++)
          error += fabs((double)(template_[c * CELLS + i] * k->deviation[c] + k->mean[c]) -
                        (double)made[from * CELLS + i]);
        if (error < least) {
          least = error;
          place[draw][c] = from;
        }
      }
      assert_true(least < 0.05 * CELLS);
      assert_false(taken[place[draw][c]]);
      taken[place[draw][c]] = true;
    }
  }
  for (uint32_t c = 0; c < 192; c++)
    moved += place[0][c] != place[1][c];
  assert_true(moved > 180);
  free(scratch);
  mask_free(mask);
}

/* The public inverse puts the loudest channel where the loudest is expected: with channels of very different
 * magnitudes it finds the rest as it was. */
static void magnitudes_sort_the_rest(void **state) {
  (void)state;
  static float rest[ELEMENTS], template_[ELEMENTS], want[3 * SIDE * SIDE], got[3 * SIDE * SIDE];
  struct mask *mask = fitted();
  const struct mask_constants *k = mask_constants(mask);
  const size_t count = mask_weight_count(mask_options(mask));
  float *scratch = calloc(mask_scratch(mask), sizeof(float)), *weights = malloc(count * sizeof(float));
  struct block_dct *dct = NULL;
  struct rng rng;
  uint32_t order[192];
  memcpy(weights, mask_weights(mask), count * sizeof(float));
  for (uint32_t c = 0; c < 192; c++)
    weights[MINUSFACE_MAGNITUDE + c] = (float)(192 - c);
  assert_int_equal(mask_set_weights(mask, weights, count, NULL), 0);
  rng_init(&rng, 1, RNG_MASK, 7, 0);
  rng_permutation(&rng, order, 192);
  for (uint32_t i = 0; i < ELEMENTS; i++) /* about as loud as the weights say */
    rest[i] = (float)(192 - i / CELLS) * (i % 2 ? 1.0f : -1.0f) + 0.001f * rng_normal(&rng);
  for (uint32_t c = 0; c < 192; c++)
    for (uint32_t i = 0; i < CELLS; i++)
      template_[c * CELLS + i] = (rest[order[c] * CELLS + i] - k->mean[c]) / k->deviation[c];
  mask_invert(mask, template_, scratch, got);
  assert_int_equal(block_dct_new(SIDE, &dct, NULL), 0);
  block_dct_inverse(dct, rest, want);
  for (size_t i = 0; i < sizeof(want) / sizeof(want[0]); i++)
    assert_true(fabsf(want[i] - got[i]) < 0.5f);
  block_dct_free(dct);
  free(scratch);
  free(weights);
  mask_free(mask);
}

static void refusals(void **state) {
  (void)state;
  struct guise_error err = {0};
  struct mask_options options = mask_options_default(MASK_MINUSFACE, 40);
  assert_int_equal(mask_check_options(&options, &err), -EINVAL);
  assert_non_null(strstr(err.text, "multiple of 16"));
  options.size = SIDE;
  options.dct = MASK_DCT_UPSAMPLED;
  assert_int_equal(mask_check_options(&options, &err), -EINVAL);
  assert_non_null(strstr(err.text, "native"));
  struct mask *mask = fitted();
  const size_t count = mask_weight_count(mask_options(mask));
  float *weights = malloc(count * sizeof(float));
  memcpy(weights, mask_weights(mask), count * sizeof(float));
  assert_int_equal(mask_set_weights(mask, weights, count - 1, NULL), -EINVAL);
  weights[MINUSFACE_DEVIATION + 3] = 0;
  assert_int_equal(mask_set_weights(mask, weights, count, NULL), -EINVAL);
  weights[MINUSFACE_DEVIATION + 3] = 1;
  weights[count - 1] = NAN;
  assert_int_equal(mask_set_weights(mask, weights, count, NULL), -EINVAL);
  assert_true(isfinite(mask_weights(mask)[count - 1]) != 0); /* the old ones stay */
  free(weights);
  mask_free(mask);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(the_generator_is_the_graphs),
      cmocka_unit_test(templates_are_the_rest_shuffled),
      cmocka_unit_test(magnitudes_sort_the_rest),
      cmocka_unit_test(refusals),
  };
  return cmocka_run_group_tests(tests, draw_faces, NULL);
}
