/* What passes through a graph do: dropout, statistics passes, copies for other batches, gradients and the
 * step along them. */
#include "tiny.h"

/* ---- dropout ---- */

static struct graph *dropout_graph(uint32_t threads, uint64_t seed) {
  const struct graph_config config = {
      .batch = 3, .threads = threads, .training = true, .input_gradient = true, .seed = seed};
  struct graph *graph = NULL;
  assert_int_equal(graph_new(&config, &graph, NULL), 0);
  int x = graph_input(graph, 19, 7, 5);
  x = graph_dropout(graph, graph_prelu(graph, x, "prelu"), 0.3f);
  (void)graph_output(graph, x);
  assert_int_equal(graph_build(graph, NULL), 0);
  for (size_t i = 0; i < 3 * 19 * 35; i++)
    graph_input_data(graph)[i] = 2;
  return graph;
}

static void dropout_masks(void **state) {
  (void)state;
  const size_t count = 3 * 19 * 35;
  float first[3 * 19 * 35];
  struct graph *graph = dropout_graph(1, 5);
  assert_int_equal(graph_forward(graph, GRAPH_TRAIN, 12, NULL), 0);
  memcpy(first, graph_output_data(graph), sizeof(first));
  size_t kept = 0, differ = 0;
  for (size_t i = 0; i < count; i++) {
    assert_true(first[i] == 0 || fabsf(first[i] - 2 / 0.7f) < 1e-5f);
    kept += first[i] != 0;
  }
  const double share = (double)kept / (double)count;
  assert_in_range((int)(1000 * share), 660, 740);
  assert_memory_not_equal(first, first + 19 * 35,
                          19 * 35 * sizeof(float)); /* images have masks of their own */
  for (size_t i = 0; i < count; i++)
    graph_output_gradient(graph)[i] = 1;
  assert_int_equal(graph_backward(graph, NULL), 0);
  for (size_t i = 0; i < count; i++)
    assert_true(fabsf(graph_input_gradient(graph)[i] - first[i] / 2) < 1e-6f);
  assert_int_equal(graph_forward(graph, GRAPH_TRAIN, 13, NULL), 0);
  for (size_t i = 0; i < count; i++)
    differ += (graph_output_data(graph)[i] != 0) != (first[i] != 0);
  assert_true(differ > count / 4);
  assert_int_equal(graph_forward(graph, GRAPH_EVAL, 12, NULL), 0);
  for (size_t i = 0; i < count; i++)
    assert_true(graph_output_data(graph)[i] == 2);
  graph_free(graph);
  static const char *const sets[] = {"avx512", "avx2", "portable"};
  for (size_t k = 0; k < ARRAY_SIZE(sets); k++) { /* nor do threads or layouts matter */
    setenv("GUISE_KERNELS", sets[k], 1);
    graph = dropout_graph(THREADS, 5);
    assert_int_equal(graph_forward(graph, GRAPH_TRAIN, 12, NULL), 0);
    assert_memory_equal(first, graph_output_data(graph), sizeof(first));
    graph_free(graph);
  }
  unsetenv("GUISE_KERNELS");
}

/* ---- statistics passes ---- */

static void pooled_statistics(void **state) {
  (void)state;
  const struct layer layers[] = {
      {L_INPUT, .c = 5, .h = 3, .w = 2}, {L_NORM, .a = 0}, {L_PRELU, .a = 1}, {L_NORM, .a = 2}};
  struct graph *graph = reference_graph(
      layers, 4, (struct graph_config){.batch = 4, .threads = THREADS, .training = false}, NULL);
  double sum[5] = {0}, square[5] = {0};
  lcg_state = 77;
  graph_statistics_reset(graph);
  graph_statistics_finish(graph); /* nothing seen: nothing changes */
  assert_true(parameter_value(graph, 1, "running_var")[0] == 1);
  for (int round = 0; round < 2; round++) { /* the second shows that reset forgets the first */
    graph_statistics_reset(graph);
    memset(sum, 0, sizeof(sum));
    memset(square, 0, sizeof(square));
    for (int pass = 0; pass < 3; pass++) {
      float *x = graph_input_data(graph);
      lcg_fill(x, 4 * 30, 2, (float)pass + 3);
      for (int i = 0; i < 4 * 30; i++) {
        sum[i / 6 % 5] += (double)x[i];
        square[i / 6 % 5] += (double)x[i] * (double)x[i];
      }
      assert_int_equal(graph_forward(graph, GRAPH_STATISTICS, 0, NULL), 0);
    }
    graph_statistics_finish(graph);
    const double m = 3 * 24;
    for (int c = 0; c < 5; c++) {
      const double mean = sum[c] / m, variance = (square[c] / m - mean * mean) * m / (m - 1);
      assert_true(fabs((double)parameter_value(graph, 1, "running_mean")[c] - mean) < 1e-5 * mean);
      assert_true(fabs((double)parameter_value(graph, 1, "running_var")[c] - variance) < 1e-5 * variance);
    }
  }
  graph_free(graph);
}

/* Every image is in a pass when the passes hold as many as there are, and each pass has all people in it
 * though they are listed one after the other. */
static void passes_hold_many_people(void **state) {
  (void)state;
  const struct {
    uint32_t people, each, batch, passes;
  } row[] = {{40, 8, 32, 10}, {200, 32, 64, 100}, {3, 5, 4, 4}, {757, 31, 64, 64}, {2, 1, 8, 1}};
  for (size_t r = 0; r < ARRAY_SIZE(row); r++) {
    const uint32_t count = row[r].people * row[r].each, seats = row[r].passes * row[r].batch;
    uint8_t *seen = calloc(count, 1);
    uint32_t images = 0;
    for (uint32_t pass = 0; pass < row[r].passes; pass++) {
      uint32_t people = 0, last = UINT32_MAX;
      for (uint32_t i = 0; i < row[r].batch; i++) {
        const uint32_t at = graph_statistics_image(pass, row[r].passes, row[r].batch, i, count);
        assert_true(at < count);
        people += at / row[r].each != last;
        last = at / row[r].each;
        images += !seen[at];
        seen[at] = 1;
      }
      assert_int_equal(people, MIN(row[r].people, row[r].batch));
    }
    assert_int_equal(images, MIN(count, seats));
    free(seen);
  }
}

/* ---- copies, other batches ---- */

static void copies_between_batches(void **state) {
  (void)state;
  struct graph *trained = tiny(6, THREADS, true, 1), *small = tiny(1, 1, false, 99);
  train(trained, 6, THREADS, 3, NULL, NULL);
  assert_int_equal(graph_forward(trained, GRAPH_EVAL, 0, NULL), 0);
  assert_int_equal(graph_copy_parameters(small, trained, NULL), 0);
  for (uint32_t i = 0; i < 6; i++) {
    memcpy(graph_input_data(small), graph_input_data(trained) + (size_t)i * 24, 24 * sizeof(float));
    assert_int_equal(graph_forward(small, GRAPH_EVAL, 0, NULL), 0);
    for (int d = 0; d < 24; d++) {
      float want = graph_output_data(trained)[i * 24 + (uint32_t)d];
      assert_true(fabsf(graph_output_data(small)[d] - want) < 1e-5f * (1 + fabsf(want)));
    }
  }
  graph_free(small);
  const struct layer layers[] = {{L_INPUT, .c = 3, .h = 4, .w = 4}, {L_PRELU, .a = 0}};
  struct graph *different = reference_graph(layers, 2, (struct graph_config){.batch = 1, .threads = 1}, NULL);
  struct guise_error err;
  assert_int_equal(graph_copy_parameters(different, trained, &err), -EINVAL);
  assert_non_null(strstr(err.text, "differ"));
  graph_free(different);
  graph_free(trained);
}

/* ---- gradients ---- the loss along the gradient: (L(w + e g) - L(w - e g)) / (2 e |g|^2) = 1 */

static double weighted_output(struct graph *graph, const float *weights, size_t count) {
  double sum = 0;
  assert_int_equal(graph_forward(graph, GRAPH_TRAIN, 0, NULL), 0);
  for (size_t i = 0; i < count; i++)
    sum += (double)graph_output_data(graph)[i] * (double)weights[i];
  return sum;
}

static void move(struct graph *graph, float *const *saved, float *const *direction, double scale) {
  for (uint32_t p = 0; p < graph_parameters(graph); p++) {
    struct graph_parameter *parameter = graph_parameter(graph, p);
    for (size_t i = 0; parameter->gradient && i < parameter->count; i++)
      parameter->value[i] = (float)((double)saved[p][i] + scale * (double)direction[p][i]);
  }
  graph_parameters_changed(graph);
}

static void directional_derivative(void **state) {
  (void)state;
  struct graph *graph = tiny(8, THREADS, true, 21);
  float weights[8 * 24], *saved[256], *direction[256];
  lcg_state = 5;
  lcg_fill(graph_input_data(graph), 8 * 24, 1, 0);
  lcg_fill(weights, 8 * 24, 1, 0);
  assert_true(graph_parameters(graph) <= 256);
  (void)weighted_output(graph, weights, 8 * 24);
  memcpy(graph_output_gradient(graph), weights, sizeof(weights));
  assert_int_equal(graph_backward(graph, NULL), 0);
  double square = 0, best = 1;
  for (uint32_t p = 0; p < graph_parameters(graph); p++) {
    const struct graph_parameter *parameter = graph_parameter(graph, p);
    saved[p] = calloc(parameter->count, sizeof(float));
    direction[p] = calloc(parameter->count, sizeof(float));
    memcpy(saved[p], parameter->value, parameter->count * sizeof(float));
    if (parameter->gradient)
      memcpy(direction[p], parameter->gradient, parameter->count * sizeof(float));
    for (size_t i = 0; i < parameter->count; i++)
      square += (double)direction[p][i] * (double)direction[p][i];
  }
  assert_true(square > 0);
  for (double change = 1e-1; change > 1e-4; change /= 2) { /* of the loss */
    const double e = change / square;
    move(graph, saved, direction, e);
    const double up = weighted_output(graph, weights, 8 * 24);
    move(graph, saved, direction, -e);
    const double down = weighted_output(graph, weights, 8 * 24);
    best = fmin(best, fabs((up - down) / (2 * e * square) - 1));
  }
  for (uint32_t p = 0; p < graph_parameters(graph); p++) {
    free(saved[p]);
    free(direction[p]);
  }
  if (best > 1e-3)
    fail_msg("derivative along the gradient is off by %g", best);
  graph_free(graph);
}

/* PyTorch's rule, by hand. */
static void gradient_steps(void **state) {
  (void)state;
  const struct layer layers[] = {{L_INPUT, .c = 3, .h = 1, .w = 1}, {L_LINEAR, .a = 0, .c = 5, .bias = true}};
  struct graph *graph =
      reference_graph(layers, 2, (struct graph_config){.batch = 1, .threads = 1, .training = true}, NULL);
  struct graph_parameter *weight = graph_parameter(graph, 0), *bias = graph_parameter(graph, 1);
  double w = (double)weight->value[7], b = (double)bias->value[2], v = 0, u = 0;
  for (int step = 0; step < 3; step++) {
    weight->gradient[7] = 0.5f;
    bias->gradient[2] = 0.25f;
    graph_sgd(graph, 0.1f, 0.9f, 0.01f);
    v = 0.9 * v + 0.5 + 0.01 * w;
    w -= 0.1 * v;
    u = 0.9 * u + 0.25; /* biases do not decay */
    b -= 0.1 * u;
  }
  assert_true(fabs((double)weight->value[7] - w) < 1e-6 && fabs((double)bias->value[2] - b) < 1e-6);
  assert_true(fabs((double)weight->momentum[7] - v) < 1e-6);
  graph_free(graph);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(dropout_masks),           cmocka_unit_test(pooled_statistics),
      cmocka_unit_test(passes_hold_many_people), cmocka_unit_test(copies_between_batches),
      cmocka_unit_test(directional_derivative),  cmocka_unit_test(gradient_steps),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
