/* Every layer and the fused combinations against plain loops in double, forward and backward, for odd shapes,
 * batches, thread counts and each set of kernels. */
#include "reference.h"

#include "core/nn/dnnl/conv_gradient.h"

#include <omp.h>

#include "core/nn/kernels.h"

#define TOLERANCE 2e-5

static const char *const kernel_sets[] = {"avx512", "avx2", "portable"};

static uint32_t threads_wanted(uint32_t threads) {
#ifdef __SANITIZE_THREAD__
  (void)threads;
  return 1; /* libgomp is invisible to ThreadSanitizer */
#else
  return threads;
#endif
}

static void randomise(struct graph *graph) {
  for (uint32_t i = 0; i < graph_parameters(graph); i++) {
    struct graph_parameter *p = graph_parameter(graph, i);
    const bool variance = strstr(p->name, "running_var") != NULL;
    lcg_fill(p->value, p->count, variance ? 0.5f : 0.7f, variance ? 1.0f : 0.1f);
  }
  graph_parameters_changed(graph);
}

static void check_running(struct reference *r, struct graph *graph, const float *before_mean,
                          uint32_t layer) {
  const struct reference_tensor *t = &r->tensor[layer];
  const double m = (double)t->count / t->c;
  const float *mean = parameter_value(graph, layer, "running_mean");
  for (uint32_t c = 0; c < t->c; c++)
    assert_true(fabs((double)mean[c] - (0.9 * (double)before_mean[c] + 0.1 * r->mean[layer][c])) < 1e-5);
  (void)m;
}

static void compare(struct graph *graph, struct reference *r, bool train, double tolerance) {
  struct guise_error err = {0};
  const struct reference_tensor *out = &r->tensor[r->count - 1];
  if (graph_forward(graph, train ? GRAPH_TRAIN : GRAPH_EVAL, 0, &err) < 0)
    fail_msg("%s", err.text);
  check_close("output", graph_output_data(graph), out->value, out->count, 1e-6, tolerance);
  lcg_fill(graph_output_gradient(graph), out->count, 1, 0.1f);
  reference_backward(r, graph, train);
  if (graph_backward(graph, &err) < 0)
    fail_msg("%s", err.text);
  if (graph_input_gradient(graph))
    check_close("input gradient", graph_input_gradient(graph), r->tensor[0].gradient, r->tensor[0].count,
                1e-6, tolerance * 5);
  double most = 1e-6; /* largest gradient of all */
  for (uint32_t p = 0; p < graph_parameters(graph); p++)
    for (size_t j = 0; j < graph_parameter(graph, p)->count; j++)
      most = fmax(most, fabs(r->gradient[p][j]));
  for (uint32_t p = 0; p < graph_parameters(graph); p++) {
    const struct graph_parameter *parameter = graph_parameter(graph, p);
    if (parameter->gradient)
      check_close(parameter->name, parameter->gradient, r->gradient[p], parameter->count, 0.02 * most,
                  tolerance * 5);
  }
}

static void check_layers_with(const struct layer *layers, uint32_t count, uint32_t batch, uint32_t threads,
                              bool train, bool input_gradient, const struct block_idct_options *idct,
                              double tolerance) {
  const struct graph_config config = {.batch = batch,
                                      .threads = threads_wanted(threads),
                                      .training = true,
                                      .input_gradient = input_gradient,
                                      .winograd = true,
                                      .seed = 3};
  struct graph *graph = reference_graph(layers, count, config, idct);
  struct reference r;
  randomise(graph);
  const size_t values = (size_t)batch * layers[0].c * layers[0].h * layers[0].w;
  for (int pass = 0; pass < 2; pass++) {
    (void)snprintf(check_context, sizeof(check_context), "%s, %u layers, %u images, %u threads, %s, pass %d",
                   kernels_choose()->name, count, batch, threads, train ? "training" : "evaluation", pass);
    /* the second sees an arena with old values in it */
    lcg_fill(graph_input_data(graph), values, 1.3f, 0.2f);
    reference_forward(&r, graph, layers, count, batch, idct, train);
    compare(graph, &r, train, tolerance);
    reference_free(&r);
  }
  graph_free(graph);
}

/* All kernels, training and evaluation, two thread counts. */
static void check_layers(const struct layer *layers, uint32_t count, uint32_t batch, double tolerance) {
  for (size_t k = 0; k < ARRAY_SIZE(kernel_sets); k++) {
    setenv("GUISE_KERNELS", kernel_sets[k], 1);
    lcg_state = 17;
    check_layers_with(layers, count, batch, 1, true, true, NULL, tolerance);
    check_layers_with(layers, count, batch, 2, false, true, NULL, tolerance);
    check_layers_with(layers, count, batch, 2, true, false, NULL, tolerance);
  }
  unsetenv("GUISE_KERNELS");
}

static void conv_shapes(void **state) {
  (void)state;
  static const struct {
    uint32_t c, h, w, out, kernel, stride, padding;
    bool bias;
  } cases[] = {
      {3, 9, 7, 16, 3, 2, 1, false},  {3, 8, 8, 20, 3, 1, 1, true},  {16, 7, 7, 32, 3, 1, 1, false},
      {32, 6, 5, 16, 1, 2, 0, false}, {19, 5, 6, 24, 3, 1, 1, true}, {5, 6, 6, 7, 3, 2, 1, true},
      {16, 5, 5, 16, 1, 1, 0, false}, {8, 7, 7, 16, 5, 1, 2, false}, {40, 4, 4, 48, 3, 2, 1, false},
      {1, 8, 8, 20, 8, 1, 0, true},   {1, 4, 4, 1, 4, 1, 0, false},  {32, 2, 2, 21, 3, 1, 1, true},
      {20, 2, 2, 16, 3, 1, 1, false},
  };
  for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
    const struct layer layers[] = {{L_INPUT, .c = cases[i].c, .h = cases[i].h, .w = cases[i].w},
                                   {L_CONV, .a = 0, .c = cases[i].out, .kernel = cases[i].kernel,
                                    .stride = cases[i].stride, .padding = cases[i].padding,
                                    .bias = cases[i].bias}};
    check_layers(layers, ARRAY_SIZE(layers), 1 + (uint32_t)i % 3, TOLERANCE);
  }
}

/* The gradient of the weights where the library has no code for a shape, by the definition. */
static void gradient_in_loops(void **state) {
  (void)state;
  enum { N = 2, IN = 11, OUT = 21, B = 8, H = 5, W = 4, K = 3, OH = 3, OW = 2, IB = 2, OB = 3 };
  const struct conv_shape shape = {.batch = N,
                                   .in_channels = IN,
                                   .in_height = H,
                                   .in_width = W,
                                   .out_channels = OUT,
                                   .out_height = OH,
                                   .out_width = OW,
                                   .kernel = K,
                                   .stride = 2,
                                   .padding = 1,
                                   .groups = 1,
                                   .block = B};
  static float x[N][IB][H][W][B], dy[N][OB][OH][OW][B], weights[OUT][IN][K][K], bias[OUT];
  assert_true(conv_gradient_does(&shape));
  lcg_fill(&x[0][0][0][0][0], sizeof(x) / sizeof(float), 1, 0);
  lcg_fill(&dy[0][0][0][0][0], sizeof(dy) / sizeof(float), 1, 0);
  conv_gradient_run(&shape, &x[0][0][0][0][0], &dy[0][0][0][0][0], &weights[0][0][0][0], bias);
  for (int o = 0; o < OUT; o++) {
    double whole = 0;
    for (int n = 0; n < N; n++)
      for (int i = 0; i < OH * OW; i++)
        whole += (double)dy[n][o / B][i / OW][i % OW][o % B];
    assert_true(fabs(whole - (double)bias[o]) < 1e-5);
    for (int at = 0; at < IN * K * K; at++) {
      const int c = at / (K * K), row = at / K % K, column = at % K;
      double sum = 0;
      for (int n = 0; n < N; n++)
        for (int i = 0; i < OH * OW; i++) {
          const int h = i / OW * 2 + row - 1, w = i % OW * 2 + column - 1;
          if (h >= 0 && h < H && w >= 0 && w < W)
            sum += (double)dy[n][o / B][i / OW][i % OW][o % B] * (double)x[n][c / B][h][w][c % B];
        }
      assert_true(fabs(sum - (double)weights[o][c][row][column]) < 1e-5);
    }
  }
}

static void conv_groups(void **state) {
  (void)state;
  static const struct {
    uint32_t c, h, w, groups, kernel, stride, padding;
    bool bias;
  } cases[] = {
      {32, 7, 6, 32, 3, 1, 1, false}, {16, 9, 9, 16, 3, 2, 1, true}, {20, 5, 5, 20, 3, 1, 1, false},
      {48, 7, 7, 48, 7, 1, 0, false}, {32, 6, 6, 2, 3, 1, 1, true},  {21, 4, 4, 21, 4, 1, 0, true},
      {60, 5, 5, 3, 3, 1, 1, false},
  };
  for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
    const struct layer layers[] = {{L_INPUT, .c = cases[i].c, .h = cases[i].h, .w = cases[i].w},
                                   {L_CONV, .a = 0, .c = cases[i].c, .kernel = cases[i].kernel,
                                    .stride = cases[i].stride, .padding = cases[i].padding,
                                    .bias = cases[i].bias, .groups = cases[i].groups}};
    check_layers(layers, ARRAY_SIZE(layers), 1 + (uint32_t)i % 3, TOLERANCE);
  }
}

/* bfloat16 keeps 8 bits: values within 2 % of the largest, gradients within 10 %. Vectors after a linear
 * layer stay float. */
static void bfloat16_network(void **state) {
  (void)state;
  if (!graph_bfloat16_supported()) {
    print_message("skipped: no AVX512_BF16 here\n");
    skip();
  }
  static const struct layer layers[] = {
      {L_INPUT, .c = 16, .h = 12, .w = 12},
      {L_CONV, .a = 0, .c = 32, .kernel = 3, .stride = 1, .padding = 1},
      {L_NORM, .a = 1},
      {L_PRELU, .a = 2},
      {L_CONV, .a = 3, .c = 32, .kernel = 3, .stride = 1, .padding = 1, .groups = 32},
      {L_NORM, .a = 4},
      {L_ADD, .a = 5, .b = 3},
      {L_CONV, .a = 6, .c = 48, .kernel = 1, .stride = 2, .bias = true},
      {L_PRELU, .a = 7},
      {L_LINEAR, .a = 8, .c = 20, .bias = true},
      {L_NORM, .a = 9},
  };
  struct graph_config config = {
      .batch = 6, .threads = threads_wanted(2), .training = true, .input_gradient = true, .winograd = true};
  for (int half = 0; half < 2; half++) {
    config.bfloat16 = half == 1;
    lcg_state = 29;
    struct graph *graph = reference_graph(layers, ARRAY_SIZE(layers), config, NULL);
    struct reference r;
    randomise(graph);
    lcg_fill(graph_input_data(graph), 6 * 16 * 144, 1, 0);
    (void)snprintf(check_context, sizeof(check_context), "%s", half ? "bfloat16" : "float32");
    reference_forward(&r, graph, layers, ARRAY_SIZE(layers), 6, NULL, true);
    compare(graph, &r, true, half ? 2e-2 : TOLERANCE);
    reference_free(&r);
    graph_free(graph);
  }
}

/* Large enough for the rule to choose Winograd in all three passes. */
static void conv_winograd(void **state) {
  (void)state;
  const struct layer layers[] = {{L_INPUT, .c = 32, .h = 14, .w = 13},
                                 {L_CONV, .a = 0, .c = 48, .kernel = 3, .stride = 1, .padding = 1}};
  check_layers_with(layers, 2, 4, 2, true, true, NULL, 1e-4);
  const struct graph_config config = {
      .batch = 4, .threads = 1, .training = true, .input_gradient = true, .winograd = true};
  struct graph *graph = reference_graph(layers, 2, config, NULL);
  char *algorithms = graph_algorithms(graph);
  if (strcmp(kernels_choose()->name, "portable") != 0)
    assert_string_equal(algorithms,
                        "l1 forward winograd\nl1 backward-data winograd\nl1 backward-weights winograd\n");
  free(algorithms);
  graph_free(graph);
  struct graph_config direct = config;
  direct.winograd = false;
  graph = reference_graph(layers, 2, direct, NULL);
  algorithms = graph_algorithms(graph);
  assert_null(strstr(algorithms, "winograd"));
  free(algorithms);
  graph_free(graph);
}

static void norm_alone(void **state) {
  (void)state;
  static const uint32_t shapes[][4] = {{2, 16, 5, 3}, {3, 5, 4, 4}, {4, 24, 1, 1}, {2, 33, 17, 19}};
  for (size_t i = 0; i < ARRAY_SIZE(shapes); i++) {
    const struct layer layers[] = {{L_INPUT, .c = shapes[i][1], .h = shapes[i][2], .w = shapes[i][3]},
                                   {L_NORM, .a = 0}};
    check_layers(layers, 2, shapes[i][0], TOLERANCE);
  }
}

static void prelu_alone(void **state) {
  (void)state;
  const struct layer layers[] = {{L_INPUT, .c = 21, .h = 5, .w = 3}, {L_PRELU, .a = 0}};
  check_layers(layers, 2, 3, TOLERANCE);
}

static void norm_then_prelu(void **state) {
  (void)state;
  const struct layer layers[] = {{L_INPUT, .c = 21, .h = 5, .w = 9}, {L_NORM, .a = 0}, {L_PRELU, .a = 1}};
  check_layers(layers, 3, 3, TOLERANCE);
}

/* A batch norm that two layers read cannot be fused away. */
static void norm_read_twice(void **state) {
  (void)state;
  const struct layer layers[] = {
      {L_INPUT, .c = 16, .h = 4, .w = 4}, {L_NORM, .a = 0}, {L_PRELU, .a = 1}, {L_ADD, .a = 1, .b = 2}};
  check_layers(layers, 4, 3, TOLERANCE);
}

static void add_combinations(void **state) {
  (void)state;
  const struct layer twice[] = {
      {L_INPUT, .c = 9, .h = 3, .w = 3}, {L_ADD, .a = 0, .b = 0}, {L_ADD, .a = 1, .b = 0}};
  check_layers(twice, 3, 2, TOLERANCE);
  const struct layer residual[] = {{L_INPUT, .c = 16, .h = 4, .w = 4},
                                   {L_NORM, .a = 0},
                                   {L_ADD, .a = 0, .b = 1},
                                   {L_PRELU, .a = 2},
                                   {L_NORM, .a = 3}};
  check_layers(residual, 5, 3, TOLERANCE);
  const struct layer both[] = {{L_INPUT, .c = 24, .h = 4, .w = 4},
                               {L_CONV, .a = 0, .c = 16, .kernel = 1, .stride = 1},
                               {L_NORM, .a = 0},
                               {L_CONV, .a = 2, .c = 16, .kernel = 3, .stride = 1, .padding = 1},
                               {L_NORM, .a = 3},
                               {L_NORM, .a = 1},
                               {L_ADD, .a = 4, .b = 5},
                               {L_PRELU, .a = 6}};
  check_layers(both, 8, 4, TOLERANCE);
  /* Many readers of one tensor, of every kind: gradients add up from aliases, convolutions and groups. */
  const struct layer many[] = {{L_INPUT, .c = 16, .h = 4, .w = 4},
                               {L_PRELU, .a = 0},
                               {L_CONV, .a = 1, .c = 16, .kernel = 3, .stride = 1, .padding = 1},
                               {L_CONV, .a = 1, .c = 16, .kernel = 1, .stride = 1},
                               {L_ADD, .a = 2, .b = 1},
                               {L_ADD, .a = 1, .b = 3},
                               {L_NORM, .a = 1},
                               {L_ADD, .a = 4, .b = 5},
                               {L_ADD, .a = 7, .b = 6},
                               {L_ADD, .a = 8, .b = 7},
                               {L_CONV, .a = 9, .c = 5, .kernel = 3, .stride = 2, .padding = 1}};
  check_layers(many, 11, 3, TOLERANCE);
}

static void linear_shapes(void **state) {
  (void)state;
  static const uint32_t shapes[][4] = {
      {5, 3, 2, 17}, {16, 3, 3, 32}, {33, 1, 1, 12}, {16, 1, 1, 16}, {7, 2, 5, 1}};
  for (size_t i = 0; i < ARRAY_SIZE(shapes); i++) {
    const struct layer layers[] = {{L_INPUT, .c = shapes[i][0], .h = shapes[i][1], .w = shapes[i][2]},
                                   {L_LINEAR, .a = 0, .c = shapes[i][3], .bias = i % 2 == 0}};
    check_layers(layers, 2, 1 + (uint32_t)i, TOLERANCE);
  }
}

static void linear_then_norm(void **state) {
  (void)state;
  const struct layer layers[] = {{L_INPUT, .c = 20, .h = 2, .w = 3},
                                 {L_LINEAR, .a = 0, .c = 19}, /* a bias before a norm has no gradient */
                                 {L_NORM, .a = 1},
                                 {L_PRELU, .a = 2},
                                 {L_LINEAR, .a = 3, .c = 8}};
  check_layers(layers, 5, 7, TOLERANCE);
}

static void residual_network(void **state) {
  (void)state;
  const struct layer layers[] = {
      {L_INPUT, .c = 3, .h = 11, .w = 9},
      {L_CONV, .a = 0, .c = 16, .kernel = 3, .stride = 1, .padding = 1},
      {L_NORM, .a = 1},
      {L_PRELU, .a = 2},
      {L_NORM, .a = 3},
      {L_CONV, .a = 4, .c = 24, .kernel = 3, .stride = 1, .padding = 1},
      {L_NORM, .a = 5},
      {L_PRELU, .a = 6},
      {L_CONV, .a = 7, .c = 24, .kernel = 3, .stride = 2, .padding = 1},
      {L_NORM, .a = 8},
      {L_CONV, .a = 3, .c = 24, .kernel = 1, .stride = 2},
      {L_NORM, .a = 10},
      {L_ADD, .a = 9, .b = 11},
      {L_NORM, .a = 12},
      {L_CONV, .a = 13, .c = 24, .kernel = 3, .stride = 1, .padding = 1},
      {L_NORM, .a = 14},
      {L_ADD, .a = 15, .b = 12},
      {L_NORM, .a = 16},
      {L_LINEAR, .a = 17, .c = 10, .bias = true},
  };
  check_layers(layers, ARRAY_SIZE(layers), 4, 1e-4);
}

static void block_idct(void **state) {
  (void)state;
  static const uint16_t channel[] = {3, 0, 63, 64, 70, 130, 191};
  static const float mean[] = {0.5f, -1, 2, 0, 0.25f, 1, 3}, deviation[] = {2, 1, 0.5f, 3, 1, 0.1f, 4};
  const struct block_idct_options idct = {7, channel, mean, deviation, 2.5f};
  const struct layer alone[] = {{L_INPUT, .c = 7, .h = 3, .w = 3}, {L_IDCT, .a = 0}};
  const struct layer stem[] = {{L_INPUT, .c = 7, .h = 2, .w = 2},
                               {L_IDCT, .a = 0},
                               {L_CONV, .a = 1, .c = 16, .kernel = 3, .stride = 2, .padding = 1},
                               {L_NORM, .a = 2}};
  const struct layer mixed[] = {{L_INPUT, .c = 7, .h = 2, .w = 2}, {L_IDCT, .a = 0}, {L_NORM, .a = 1}};
  for (size_t k = 0; k < ARRAY_SIZE(kernel_sets); k++) {
    setenv("GUISE_KERNELS", kernel_sets[k], 1);
    for (uint32_t threads = 1; threads <= 3; threads++) {
      check_layers_with(alone, 2, 3, threads, true, true, &idct, TOLERANCE);
      check_layers_with(stem, 4, 2, threads, true, true, &idct, TOLERANCE);
      check_layers_with(stem, 4, 2, threads, false, false, &idct, TOLERANCE);
      check_layers_with(mixed, 3, 2, threads, true, true, &idct, TOLERANCE);
    }
  }
  unsetenv("GUISE_KERNELS");
}

/* Running statistics as in PyTorch: momentum 0.1, unbiased variance; from a pass of their own, as nothing
 * element-wise writes the norm's input, and from the pass of the PReLU before it. */
static void running_statistics(void **state) {
  (void)state;
  static const struct layer alone[] = {{L_INPUT, .c = 5, .h = 3, .w = 4}, {L_NORM, .a = 0}},
                            after[] = {
                                {L_INPUT, .c = 5, .h = 3, .w = 4}, {L_PRELU, .a = 0}, {L_NORM, .a = 1}};
  struct guise_error err;
  for (int source = 0; source < 2; source++) {
    const struct layer *layers = source == 0 ? alone : after;
    const uint32_t count = source == 0 ? ARRAY_SIZE(alone) : ARRAY_SIZE(after), norm = count - 1;
    struct graph *graph = reference_graph(
        layers, count, (struct graph_config){.batch = 2, .threads = 1, .training = true}, NULL);
    struct reference r;
    randomise(graph);
    lcg_fill(graph_input_data(graph), 2 * 60, 1, 40.0f); /* a large mean must not eat the variance */
    float mean[5], variance[5];
    memcpy(mean, parameter_value(graph, norm, "running_mean"), sizeof(mean));
    memcpy(variance, parameter_value(graph, norm, "running_var"), sizeof(variance));
    reference_forward(&r, graph, layers, count, 2, NULL, true);
    assert_int_equal(graph_forward(graph, GRAPH_TRAIN, 0, &err), 0);
    check_running(&r, graph, mean, norm);
    for (uint32_t c = 0; c < 5; c++) {
      const double want = 0.9 * (double)variance[c] + 0.1 * r.variance[norm][c] * 24 / 23;
      assert_true(fabs((double)parameter_value(graph, norm, "running_var")[c] - want) < 1e-4 * want);
    }
    reference_free(&r);
    graph_free(graph);
  }
}

/* A frozen norm has no gradients, and uses its running statistics, also where the PReLU or the addition that
 * reads it is trained. */
static void frozen_norm_before_trained(void **state) {
  (void)state;
  static const struct layer prelu[] = {{L_INPUT, .c = 9, .h = 4, .w = 3},
                                       {L_CONV, .a = 0, .c = 19, .kernel = 3, .stride = 1, .padding = 1},
                                       {L_NORM, .a = 1, .freezes = true},
                                       {L_PRELU, .a = 2}};
  static const struct layer add[] = {{L_INPUT, .c = 9, .h = 4, .w = 3},
                                     {L_CONV, .a = 0, .c = 19, .kernel = 1, .stride = 1},
                                     {L_NORM, .a = 1, .freezes = true},
                                     {L_CONV, .a = 0, .c = 19, .kernel = 3, .stride = 1, .padding = 1},
                                     {L_NORM, .a = 3},
                                     {L_ADD, .a = 2, .b = 4},
                                     {L_PRELU, .a = 5}};
  struct layer turned[ARRAY_SIZE(add)];
  memcpy(turned, add, sizeof(add));
  turned[5].a = 4;
  turned[5].b = 2;
  for (size_t k = 0; k < ARRAY_SIZE(kernel_sets); k++) {
    setenv("GUISE_KERNELS", kernel_sets[k], 1);
    for (int train = 0; train < 2; train++) {
      check_layers_with(prelu, ARRAY_SIZE(prelu), 3, 2, train, false, NULL, TOLERANCE);
      check_layers_with(add, ARRAY_SIZE(add), 3, 2, train, false, NULL, TOLERANCE);
      check_layers_with(turned, ARRAY_SIZE(turned), 3, 2, train, false, NULL, TOLERANCE);
    }
  }
  unsetenv("GUISE_KERNELS");
}

/* A second set of norms trains when it has been swapped in, and only then; weights are common. */
static void sets_of_norms(void **state) {
  (void)state;
  static const struct layer layers[] = {{L_INPUT, .c = 5, .h = 3, .w = 4},
                                        {L_CONV, .a = 0, .c = 9, .kernel = 3, .stride = 1, .padding = 1},
                                        {L_NORM, .a = 1},
                                        {L_CONV, .a = 2, .c = 6, .kernel = 1, .stride = 1},
                                        {L_NORM, .a = 3}};
  static const char *const vectors[] = {"weight", "bias", "running_mean", "running_var"};
  struct guise_error err;
  struct graph *graph = reference_graph(
      layers, ARRAY_SIZE(layers), (struct graph_config){.batch = 2, .threads = 1, .training = true}, NULL);
  assert_int_equal(graph_norms_size(graph), 6 * (9 + 6)); /* and two momenta */
  float set[6 * 15], before[4][9], after[4][9], conv;
  randomise(graph);
  graph_norms_save(graph, set);
  for (int round = 0; round < 2; round++) {
    for (uint32_t v = 0; v < 4; v++)
      memcpy(before[v], parameter_value(graph, 2, vectors[v]), sizeof(before[v]));
    conv = parameter_value(graph, 1, "weight")[0];
    if (round == 0)
      graph_norms_swap(graph, set);
    lcg_fill(graph_input_data(graph), 2 * 60, 1, 3.0f);
    assert_int_equal(graph_forward(graph, GRAPH_TRAIN, 0, &err), 0);
    lcg_fill(graph_output_gradient(graph), 2 * 72, 1, 0.1f);
    assert_int_equal(graph_backward(graph, &err), 0);
    graph_sgd(graph, 0.5f, 0.9f, 0);
    if (round == 0)
      graph_norms_swap(graph, set);
    assert_true(parameter_value(graph, 1, "weight")[0] != conv);
    for (uint32_t v = 0; v < 4; v++) {
      memcpy(after[v], parameter_value(graph, 2, vectors[v]), sizeof(after[v]));
      assert_int_equal(memcmp(before[v], after[v], sizeof(after[v])) != 0, round == 1);
    }
  }
  assert_true(memcmp(set, after[0], sizeof(after[0])) != 0);
  graph_free(graph);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(conv_shapes),        cmocka_unit_test(gradient_in_loops),
      cmocka_unit_test(conv_groups),        cmocka_unit_test(bfloat16_network),
      cmocka_unit_test(conv_winograd),      cmocka_unit_test(norm_alone),
      cmocka_unit_test(prelu_alone),        cmocka_unit_test(norm_then_prelu),
      cmocka_unit_test(norm_read_twice),    cmocka_unit_test(add_combinations),
      cmocka_unit_test(linear_shapes),      cmocka_unit_test(linear_then_norm),
      cmocka_unit_test(residual_network),   cmocka_unit_test(block_idct),
      cmocka_unit_test(running_statistics), cmocka_unit_test(frozen_norm_before_trained),
      cmocka_unit_test(sets_of_norms),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
