/* The parts of generators, U-Nets and discriminators against plain loops in double. Gradients are held
 * against central differences of those loops, so that no second derivation can share a mistake with the
 * first. */
#include "parts_check.h"

/* ---- the parts ---- */

static void activations(void **state) {
  (void)state;
  static const enum kind kinds[] = {LEAKY_RELU, SIGMOID, TANH};
  for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
    CHECK(3, TOLERANCE, {INPUT, .c = 21, .h = 3, .w = 5}, {kinds[i], .slope = 0.2f});
    CHECK(1, TOLERANCE, {INPUT, .c = 16, .h = 4, .w = 4}, {kinds[i], .a = 0});
    CHECK(3, TOLERANCE, {INPUT, .c = 5, .h = 2, .w = 2}, {LINEAR, .c = 19},
          {kinds[i], .a = 1, .slope = 0.1f});
    CHECK(2, TOLERANCE, {INPUT, .c = 5, .h = 4, .w = 4},
          {CONV, .c = 7, .kernel = 3, .stride = 1, .padding = 1, .bias = true},
          {kinds[i], .a = 1, .slope = 0.2f}, {CONV, .a = 2, .c = 3, .kernel = 1, .stride = 1});
  }
}

static void pools(void **state) {
  (void)state;
  static const enum kind kinds[] = {MAX_POOL, AVERAGE_POOL};
  for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
    CHECK(3, TOLERANCE, {INPUT, .c = 21, .h = 6, .w = 5}, {kinds[i], .kernel = 2, .stride = 2});
    CHECK(1, TOLERANCE, {INPUT, .c = 16, .h = 7, .w = 8}, {kinds[i], .kernel = 3, .stride = 2, .padding = 1});
    CHECK(2, TOLERANCE, {INPUT, .c = 3, .h = 5, .w = 4}, {kinds[i], .kernel = 3, .stride = 1, .padding = 1});
    CHECK(2, TOLERANCE, {INPUT, .c = 3, .h = 8, .w = 7}, {kinds[i], .kernel = 2, .stride = 3, .padding = 1});
  }
  CHECK(3, TOLERANCE, {INPUT, .c = 21, .h = 5, .w = 3}, {GLOBAL_POOL, .a = 0});
  CHECK(2, TOLERANCE, {INPUT, .c = 4, .h = 5, .w = 5},
        {CONV, .c = 18, .kernel = 3, .stride = 1, .padding = 1}, {GLOBAL_POOL, .a = 1},
        {LINEAR, .a = 2, .c = 3, .bias = true});
}

static void upsampling(void **state) {
  (void)state;
  for (int bilinear = 0; bilinear < 2; bilinear++) {
    CHECK(3, TOLERANCE, {INPUT, .c = 21, .h = 3, .w = 4}, {UPSAMPLE, .count = 2, .bilinear = bilinear});
    CHECK(1, TOLERANCE, {INPUT, .c = 16, .h = 3, .w = 2}, {UPSAMPLE, .count = 3, .bilinear = bilinear});
    CHECK(2, TOLERANCE, {INPUT, .c = 3, .h = 1, .w = 2}, {UPSAMPLE, .count = 4, .bilinear = bilinear},
          {CONV, .a = 1, .c = 5, .kernel = 3, .stride = 1, .padding = 1});
  }
}

static void concatenation(void **state) {
  (void)state;
  static const uint32_t channels[][2] = {{16, 16}, {5, 7}, {16, 3}, {21, 14}, {3, 32}, {8, 8}, {13, 3}};
  for (size_t i = 0; i < ARRAY_SIZE(channels); i++)
    CHECK(1 + (uint32_t)i % 3, TOLERANCE, {INPUT, .c = 3, .h = 3, .w = 2},
          {CONV, .c = channels[i][0], .kernel = 1, .stride = 1, .bias = true},
          {CONV, .c = channels[i][1], .kernel = 3, .stride = 1, .padding = 1}, {CONCAT, .a = 1, .b = 2},
          {TANH, .a = 3});
  CHECK(2, TOLERANCE, {INPUT, .c = 5, .h = 3, .w = 3}, {CONCAT, .a = 0, .b = 0}, {CONCAT, .a = 1, .b = 0});
  CHECK(3, TOLERANCE, {INPUT, .c = 5, .h = 1, .w = 1}, {LINEAR, .c = 9, .bias = true}, {LINEAR, .c = 12},
        {CONCAT, .a = 1, .b = 2}, {LINEAR, .a = 3, .c = 4});
}

static void reshaping(void **state) {
  (void)state;
  CHECK(3, TOLERANCE, {INPUT, .c = 60, .h = 1, .w = 1}, {RESHAPE, .c = 5, .h = 3, .w = 4});
  CHECK(2, TOLERANCE, {INPUT, .c = 6, .h = 4, .w = 3}, {RESHAPE, .c = 18, .h = 2, .w = 2});
  CHECK(3, TOLERANCE, {INPUT, .c = 7, .h = 1, .w = 1}, {LINEAR, .c = 36, .bias = true},
        {RESHAPE, .a = 1, .c = 9, .h = 2, .w = 2},
        {CONV, .a = 2, .c = 4, .kernel = 3, .stride = 1, .padding = 1});
}

static void transposed_convolution(void **state) {
  (void)state;
  static const struct {
    uint32_t c, h, w, out, kernel, stride, padding;
    bool bias;
  } cases[] = {
      {16, 3, 4, 16, 2, 2, 0, false}, {16, 4, 3, 32, 4, 2, 1, true}, {5, 4, 4, 7, 3, 1, 1, true},
      {3, 3, 3, 16, 4, 2, 1, false},  {21, 2, 3, 3, 3, 2, 1, true},  {8, 1, 1, 12, 4, 1, 0, true},
      {19, 3, 3, 20, 3, 3, 0, false},
  };
  for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
    CHECK(1 + (uint32_t)i % 3, TOLERANCE, {INPUT, .c = cases[i].c, .h = cases[i].h, .w = cases[i].w},
          {CONV_TRANSPOSE, .c = cases[i].out, .kernel = cases[i].kernel, .stride = cases[i].stride,
           .padding = cases[i].padding, .bias = cases[i].bias});
}

static void transposed_profile(void **state) {
  (void)state;
  static const struct part parts[] = {{INPUT, .c = 16, .h = 3, .w = 4},
                                      {CONV_TRANSPOSE, .c = 32, .kernel = 2, .stride = 2}};
  const struct network network = {parts, 2, 2};
  struct graph *graph =
      describe(&network, (struct graph_config){.threads = 1, .training = true, .input_gradient = true});
  uint32_t passes = 0;
  for (uint32_t i = 0; i < graph_profile_rows(graph); i++) {
    const struct graph_profile_row row = graph_profile_row(graph, i);
    if (!row.algorithm)
      continue;
    assert_true(row.flops == 2.0 * 16 * 32 * 4 * 12 * 2);
    passes++;
  }
  assert_int_equal(passes, 3);
  char *algorithms = graph_algorithms(graph);
  assert_non_null(strstr(algorithms, "l1 backward-data"));
  free(algorithms);
  graph_free(graph);
}

static void group_norms(void **state) {
  (void)state;
  CHECK(3, TOLERANCE, {INPUT, .c = 21, .h = 3, .w = 4}, {GROUP_NORM, .count = 3});
  CHECK(1, TOLERANCE, {INPUT, .c = 32, .h = 5, .w = 3}, {GROUP_NORM, .count = 2});
  CHECK(2, TOLERANCE, {INPUT, .c = 6, .h = 4, .w = 4}, {GROUP_NORM, .count = 6});
  CHECK(2, TOLERANCE, {INPUT, .c = 5, .h = 4, .w = 4},
        {CONV, .c = 20, .kernel = 3, .stride = 1, .padding = 1}, {GROUP_NORM, .a = 1, .count = 5},
        {LEAKY_RELU, .a = 2, .slope = 0.2f}, {GROUP_NORM, .a = 3, .count = 1});
  CHECK(3, 1e-4, {INPUT, .c = 5, .h = 2, .w = 2}, {LINEAR, .c = 20}, {GROUP_NORM, .a = 1, .count = 4});
}

static void conditional_norms(void **state) {
  (void)state;
  CHECK(3, TOLERANCE, {INPUT, .c = 21, .h = 3, .w = 4}, {CONDITIONAL_NORM, .count = 3});
  CHECK(5, TOLERANCE, {INPUT, .c = 16, .h = 3, .w = 3}, {CONDITIONAL_NORM, .count = 4});
  /* statistics from the pass that writes the input; a norm on a norm */
  CHECK(4, 1e-4, {INPUT, .c = 5, .h = 4, .w = 4}, {CONV, .c = 20, .kernel = 3, .stride = 1, .padding = 1},
        {PRELU, .a = 1}, {CONDITIONAL_NORM, .a = 2, .count = 3}, {LEAKY_RELU, .a = 3, .slope = 0.2f},
        {CONDITIONAL_NORM, .a = 4, .count = 3}, {ADD, .a = 5, .b = 2}, {BATCH_NORM, .a = 6});
}

static void spectral_norms(void **state) {
  (void)state;
  CHECK(2, TOLERANCE, {INPUT, .c = 5, .h = 4, .w = 4},
        {CONV, .c = 7, .kernel = 3, .stride = 1, .padding = 1, .bias = true, .spectral = true});
  CHECK(1, TOLERANCE, {INPUT, .c = 3, .h = 6, .w = 6},
        {CONV, .c = 16, .kernel = 4, .stride = 2, .padding = 1, .spectral = true},
        {LEAKY_RELU, .a = 1, .slope = 0.1f},
        {CONV, .a = 2, .c = 32, .kernel = 3, .stride = 1, .padding = 1, .spectral = true});
  CHECK(3, TOLERANCE, {INPUT, .c = 9, .h = 2, .w = 2}, {LINEAR, .c = 19, .bias = true, .spectral = true});
  CHECK(4, TOLERANCE, {INPUT, .c = 19, .h = 1, .w = 1}, {LINEAR, .c = 6, .spectral = true}, {TANH, .a = 1},
        {LINEAR, .a = 2, .c = 3, .spectral = true});
}

/* A small U-Net: everything that is read twice, across levels. */
static void u_net(void **state) {
  (void)state;
  CHECK(3, 1e-4, {INPUT, .c = 3, .h = 4, .w = 4},
        {CONV, .c = 6, .kernel = 3, .stride = 1, .padding = 1, .bias = true},
        {GROUP_NORM, .a = 1, .count = 2}, {LEAKY_RELU, .a = 2, .slope = 0.2f},
        {AVERAGE_POOL, .a = 3, .kernel = 2, .stride = 2},
        {CONV, .a = 4, .c = 9, .kernel = 3, .stride = 1, .padding = 1}, {TANH, .a = 5},
        {CONV_TRANSPOSE, .a = 6, .c = 5, .kernel = 2, .stride = 2, .bias = true},
        {UPSAMPLE, .a = 6, .count = 2, .bilinear = true}, {CONCAT, .a = 7, .b = 3}, {CONCAT, .a = 9, .b = 8},
        {CONV, .a = 10, .c = 3, .kernel = 1, .stride = 1, .spectral = true}, {ADD, .a = 11, .b = 0},
        {SIGMOID, .a = 12});
}

/* ---- what is not a pass ---- */

static void pooled_statistics(void **state) {
  (void)state;
  static const struct part parts[] = {{INPUT, .c = 5, .h = 3, .w = 2}, {CONDITIONAL_NORM, .count = 3}};
  const struct network network = {parts, 2, 4};
  struct graph *graph = describe(&network, (struct graph_config){.threads = 1, .training = true});
  double sum[5] = {0}, square[5] = {0};
  graph_statistics_reset(graph);
  for (int pass = 0; pass < 2; pass++) {
    lcg_fill(graph_input_data(graph), 4 * 30, 1, 0.5f);
    for (size_t j = 0; j < 4 * 30; j++) {
      const double x = (double)graph_input_data(graph)[j];
      sum[j / 6 % 5] += x;
      square[j / 6 % 5] += x * x;
    }
    assert_int_equal(graph_forward(graph, GRAPH_STATISTICS, 0, NULL), 0);
  }
  graph_statistics_finish(graph);
  for (uint32_t c = 0; c < 5; c++) {
    const double mean = sum[c] / 48, variance = (square[c] - 48 * mean * mean) / 47;
    assert_true(fabs((double)parameter_value(graph, 1, "running_mean")[c] - mean) < 1e-5);
    assert_true(fabs((double)parameter_value(graph, 1, "running_var")[c] - variance) < 1e-5);
  }
  graph_classes(graph)[2] = 3;
  struct guise_error err = {0};
  assert_int_equal(graph_forward(graph, GRAPH_EVAL, 0, &err), -EINVAL);
  assert_non_null(strstr(err.text, "class 3"));
  graph_free(graph);
}

static void adam(void **state) {
  (void)state;
  static const struct part parts[] = {{INPUT, .c = 5, .h = 3, .w = 3},
                                      {CONV, .c = 7, .kernel = 3, .stride = 1, .bias = true},
                                      {CONDITIONAL_NORM, .a = 1, .count = 3},
                                      {LINEAR, .a = 2, .c = 3, .bias = true}};
  const struct network network = {parts, 4, 4};
  for (uint32_t threads = 1; threads <= 2; threads++)
    for (int decoupled = 0; decoupled < 2; decoupled++) {
      struct graph *graph = describe(&network, (struct graph_config){.threads = threads_wanted(threads),
                                                                     .training = true,
                                                                     .optimizer = GRAPH_ADAM,
                                                                     .seed = 5});
      const struct adam_options options = {1e-2f, 0.5f, 0.99f, 1e-8f, 0.1f, decoupled == 1};
      double *w[PARAMETERS_MAX], *m[PARAMETERS_MAX], *s[PARAMETERS_MAX];
      for (uint32_t k = 0; k < graph_parameters(graph); k++) {
        const struct graph_parameter *p = graph_parameter(graph, k);
        w[k] = doubles(p->value, p->count);
        m[k] = calloc(p->count, sizeof(double));
        s[k] = calloc(p->count, sizeof(double));
        assert_int_equal(p->square != NULL, p->gradient != NULL);
        assert_int_equal(p->decay, p->rank > 1 && strncmp(p->name, "l2", 2) != 0);
      }
      for (uint64_t step = 1; step <= 4; step++) {
        for (uint32_t k = 0; k < graph_parameters(graph); k++) {
          const struct graph_parameter *p = graph_parameter(graph, k);
          for (size_t j = 0; p->gradient && j < p->count; j++) {
            p->gradient[j] = lcg();
            double g = (double)p->gradient[j];
            const double decay = p->decay ? 0.1 : 0;
            if (decoupled)
              w[k][j] -= 1e-2 * decay * w[k][j];
            else
              g += decay * w[k][j];
            m[k][j] = 0.5 * m[k][j] + 0.5 * g;
            s[k][j] = 0.99 * s[k][j] + 0.01 * g * g;
            w[k][j] -= 1e-2 / (1 - pow(0.5, (double)step)) * m[k][j] /
                       (sqrt(s[k][j] / (1 - pow(0.99, (double)step))) + 1e-8);
          }
        }
        assert_int_equal(graph_adam(graph, &options, step, NULL), 0);
      }
      (void)snprintf(check_context, sizeof(check_context), "Adam, %u threads, decoupled %d", threads,
                     decoupled);
      for (uint32_t k = 0; k < graph_parameters(graph); k++) {
        const struct graph_parameter *p = graph_parameter(graph, k);
        check_close(p->name, p->value, w[k], p->count, 1e-3, 1e-5);
        if (p->gradient) {
          check_close("first moment", p->momentum, m[k], p->count, 1e-3, 1e-5);
          check_close("second moment", p->square, s[k], p->count, 1e-3, 1e-5);
        }
        free(w[k]);
        free(m[k]);
        free(s[k]);
      }
      graph_free(graph);
    }
  struct graph *graph = describe(&network, (struct graph_config){.threads = 1, .training = true});
  assert_null(graph_parameter(graph, 0)->square);
  assert_int_equal(graph_adam(graph, &(struct adam_options){.rate = 1}, 1, NULL), -EINVAL);
  graph_free(graph);
}

/* Unit vectors to begin with, one iteration a training pass, none in evaluation, copied with the parameters.
 */
static void spectral_statistics(void **state) {
  (void)state;
  static const struct part parts[] = {
      {INPUT, .c = 5, .h = 3, .w = 3},
      {CONV, .c = 7, .kernel = 3, .stride = 1, .padding = 1, .spectral = true}};
  const struct network network = {parts, 2, 2};
  struct graph *graph = describe(&network, (struct graph_config){.threads = 1, .training = true, .seed = 1});
  struct graph *copy = describe(&network, (struct graph_config){.threads = 1, .seed = 2});
  const int u = find_parameter(graph, 1, "weight_u"), v = find_parameter(graph, 1, "weight_v");
  assert_true(u >= 0 && v >= 0);
  assert_null(graph_parameter(graph, (uint32_t)u)->gradient);
  double square[2] = {0};
  for (int i = 0; i < 7; i++)
    square[0] += pow((double)graph_parameter(graph, (uint32_t)u)->value[i], 2);
  for (int i = 0; i < 45; i++)
    square[1] += pow((double)graph_parameter(graph, (uint32_t)v)->value[i], 2);
  assert_true(fabs(square[0] - 1) < 1e-5 && fabs(square[1] - 1) < 1e-5);
  lcg_fill(graph_input_data(graph), 90, 1, 0);
  memcpy(graph_input_data(copy), graph_input_data(graph), 90 * sizeof(float));
  for (int i = 0; i < 50; i++)
    assert_int_equal(graph_forward(graph, GRAPH_TRAIN, 0, NULL), 0);
  float before[7];
  memcpy(before, graph_parameter(graph, (uint32_t)u)->value, sizeof(before));
  assert_int_equal(graph_forward(graph, GRAPH_EVAL, 0, NULL), 0);
  assert_memory_equal(before, graph_parameter(graph, (uint32_t)u)->value, sizeof(before));
  assert_int_equal(graph_copy_parameters(copy, graph, NULL), 0);
  assert_int_equal(graph_forward(copy, GRAPH_EVAL, 0, NULL), 0);
  assert_memory_equal(graph_output_data(copy), graph_output_data(graph), 2 * 63 * sizeof(float));
  graph_free(graph);
  graph_free(copy);
}

static int describe_bad(int which, struct graph *graph) {
  const int x = graph_input(graph, 6, 5, 4);
  switch (which) {
  case 0:
    return graph_leaky_relu(graph, x, -0.1f);
  case 1:
    return graph_max_pool(graph, x, 3, 1, 2);
  case 2:
    return graph_average_pool(graph, x, 7, 1, 1);
  case 3:
    return graph_average_pool(graph, x, 2, 0, 0);
  case 4:
    return graph_upsample(graph, x, 0, UPSAMPLE_NEAREST);
  case 5:
    return graph_concat(graph, x, graph_max_pool(graph, x, 2, 2, 0));
  case 6:
    return graph_reshape(graph, x, 6, 5, 5);
  case 7:
    return graph_group_norm(graph, x, "a", 4);
  case 8:
    return graph_conditional_norm(graph, x, "a", 0);
  case 9:
    return graph_conv_transpose(
        graph, x, "a", &(struct conv_options){.out_channels = 6, .kernel = 3, .stride = 1, .groups = 6});
  case 10:
    return graph_conv_transpose(
        graph, graph_global_average_pool(graph, x), "a",
        &(struct conv_options){.out_channels = 6, .kernel = 3, .stride = 1, .padding = 2});
  default:
    return 0;
  }
}

static void impossible_parts(void **state) {
  (void)state;
  for (int which = 0; which <= 10; which++) {
    struct graph *graph = NULL;
    assert_int_equal(graph_new(&(struct graph_config){.batch = 2, .threads = 1}, &graph, NULL), 0);
    if (describe_bad(which, graph) != -EINVAL)
      fail_msg("description %d was taken", which);
    graph_free(graph);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(activations),
      cmocka_unit_test(pools),
      cmocka_unit_test(upsampling),
      cmocka_unit_test(concatenation),
      cmocka_unit_test(reshaping),
      cmocka_unit_test(transposed_convolution),
      cmocka_unit_test(transposed_profile),
      cmocka_unit_test(group_norms),
      cmocka_unit_test(conditional_norms),
      cmocka_unit_test(spectral_norms),
      cmocka_unit_test(u_net),
      cmocka_unit_test(pooled_statistics),
      cmocka_unit_test(adam),
      cmocka_unit_test(spectral_statistics),
      cmocka_unit_test(impossible_parts),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
