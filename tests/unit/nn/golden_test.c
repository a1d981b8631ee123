/* The engine against PyTorch: tests/golden/make_nn.py wrote nn.f32 and says what is in it. */
#include "reference.h"

#include "core/base/file.h"
#include "core/nn/arch.h"
#include "core/nn/head.h"

static char *golden;
static const float *cursor;
static size_t left;

static int open_golden(void **state) {
  (void)state;
  size_t size;
  if (file_read(GUISE_GOLDEN "/nn.f32", 1 << 20, &golden, &size, NULL) < 0)
    return -1;
  cursor = (const float *)(void *)golden;
  left = size / sizeof(float);
  return 0;
}

static int close_golden(void **state) {
  (void)state;
  free(golden);
  return 0;
}

static void expect(const char *what, const float *got, size_t count, double tolerance) {
  assert_true(count <= left);
  double *want = calloc(count, sizeof(double));
  for (size_t i = 0; i < count; i++)
    want[i] = (double)cursor[i];
  cursor += count;
  left -= count;
  const double error = relative_error(got, want, count, 1e-4);
  free(want);
  if (error > tolerance)
    fail_msg("%s: relative error %g exceeds %g (%s)", what, error, tolerance, check_context);
}

/* As fill() in make_nn.py. */
static void fill(struct graph *graph) {
  for (uint32_t i = 0; i < graph_parameters(graph); i++) {
    struct graph_parameter *p = graph_parameter(graph, i);
    const bool bias = strcmp(strrchr(p->name, '.'), ".bias") == 0;
    if (strstr(p->name, "running"))
      continue;
    if (p->rank > 1)
      lcg_fill(p->value, p->count, (float)(1.5 / sqrt((double)(p->count / p->shape[0]))), 0);
    else if (strstr(p->name, "prelu"))
      lcg_fill(p->value, p->count, 0.1f, 0.25f);
    else
      lcg_fill(p->value, p->count, bias ? 0.1f : 0.2f, bias ? 0 : 1);
  }
  graph_parameters_changed(graph);
}

static int block(struct graph *graph, int x, const char *prefix, uint32_t out, uint32_t stride,
                 bool shortcut) {
  char name[8][32];
  static const char *const parts[] = {"norm1", "conv1", "norm2", "prelu", "conv2", "norm3", "convs", "norms"};
  for (int i = 0; i < 8; i++)
    (void)snprintf(name[i], sizeof(name[i]), "%s.%s", prefix, parts[i]);
  int y = graph_batch_norm(graph, x, name[0]);
  y = graph_conv(graph, y, name[1], &(struct conv_options){out, 3, 1, 1, false, 0, false});
  y = graph_prelu(graph, graph_batch_norm(graph, y, name[2]), name[3]);
  y = graph_conv(graph, y, name[4], &(struct conv_options){out, 3, stride, 1, false, 0, false});
  y = graph_batch_norm(graph, y, name[5]);
  if (shortcut) {
    x = graph_conv(graph, x, name[6], &(struct conv_options){out, 1, stride, 0, false, 0, false});
    x = graph_batch_norm(graph, x, name[7]);
  }
  return graph_add(graph, y, x);
}

static struct graph *small_network(void) {
  struct graph *graph = NULL;
  const struct graph_config config = {.batch = 6, .threads = 1, .training = true, .winograd = true};
  assert_int_equal(graph_new(&config, &graph, NULL), 0);
  int x = graph_input(graph, 3, 16, 16);
  x = graph_conv(graph, x, "stem.conv", &(struct conv_options){16, 3, 2, 1, false, 0, false});
  x = graph_prelu(graph, graph_batch_norm(graph, x, "stem.norm"), "stem.prelu");
  x = block(graph, x, "body.0", 16, 1, false);
  x = block(graph, x, "body.1", 32, 2, true);
  x = graph_batch_norm(graph, x, "tail.norm");
  x = graph_linear(graph, x, "tail.linear", 8, true);
  (void)graph_output(graph, graph_batch_norm(graph, x, "tail.embedding_norm"));
  assert_int_equal(graph_build(graph, NULL), 0);
  return graph;
}

static void three_steps_of_training(void **state) {
  (void)state;
  struct graph *graph = small_network();
  struct head *head = NULL;
  lcg_state = 11;
  fill(graph);
  assert_int_equal(head_new(5, 8, 6, 1, HEAD_COSFACE, 1, &head, NULL), 0);
  lcg_fill(head_weights(head), 40, 1, 0);
  lcg_fill(graph_input_data(graph), 6 * 3 * 256, 1, 0);
  const struct head_label labels[] = {{0, 1}, {1, 1}, {2, 1}, {3, 1}, {4, 1}, {0, 1}};
  const uint32_t counts[] = {1, 1, 1, 1, 1, 1};
  const struct head_options options = {10, 0.3f, HEAD_NEGATIVES_OTHERS, HEAD_MARGINS_SCALED, 0};
  for (uint64_t step = 0; step < 3; step++) {
    assert_int_equal(graph_forward(graph, GRAPH_TRAIN, step, NULL), 0);
    const float loss = (float)head_step(head, &options, graph_output_data(graph), 6, labels, 1, counts,
                                        graph_output_gradient(graph), NULL, NULL);
    expect("loss", &loss, 1, 2e-5);
    assert_int_equal(graph_backward(graph, NULL), 0);
    graph_sgd(graph, 0.05f, 0.9f, 5e-4f);
    head_sgd(head, 0.05f, 0.9f, 5e-4f);
  }
  assert_int_equal(graph_forward(graph, GRAPH_EVAL, 3, NULL), 0);
  expect("embeddings after training", graph_output_data(graph), 48, 1e-3);
  for (uint32_t i = 0; i < graph_parameters(graph); i++)
    expect(graph_parameter(graph, i)->name, graph_parameter(graph, i)->value,
           graph_parameter(graph, i)->count, 1e-3);
  head_free(head);
  graph_free(graph);
}

/* A folded copy of the network gives the same embeddings. */
static void check_folded(enum arch arch, const struct arch_options *options, struct graph *graph) {
  for (uint32_t threads = 1; threads <= 2; threads++) {
    const struct graph_config config = {
        .batch = 6, .threads = threads, .winograd = threads == 1, .folded = true};
    struct graph *folded = NULL;
    struct guise_error err = {0};
    assert_int_equal(graph_new(&config, &folded, NULL), 0);
    assert_true(arch_describe(folded, arch, options) >= 0);
    assert_int_equal(graph_build(folded, NULL), 0);
    assert_int_equal(graph_copy_parameters(folded, graph, NULL), 0);
    memcpy(graph_input_data(folded), graph_input_data(graph), 6 * 12 * 16 * sizeof(float));
    assert_int_equal(graph_forward(folded, GRAPH_EVAL, 0, NULL), 0);
    const float *got = graph_output_data(folded), *want = graph_output_data(graph);
    double worst = 0, most = 0;
    for (uint32_t i = 0; i < 6 * options->embedding; i++) {
      worst = fmax(worst, fabs((double)got[i] - (double)want[i]));
      most = fmax(most, fabs((double)want[i]));
    }
    if (!(worst <= 1e-4 * most))
      fail_msg("%s, folded, %u threads: relative error %g", arch_name(arch), threads, worst / most);
    assert_int_equal(graph_forward(folded, GRAPH_STATISTICS, 0, &err), -EINVAL);
    graph_free(folded);
  }
}

static void check_architecture(enum arch arch, float width, uint32_t embedding) {
  static const uint16_t channel[12] = {0, 1, 8, 9, 20, 63, 64, 66, 100, 128, 137, 190};
  float mean[12], deviation[12];
  for (int i = 0; i < 12; i++) {
    mean[i] = 0.5f * (float)i - 2;
    deviation[i] = 30.0f - 2 * (float)i;
  }
  const struct graph_config config = {
      .batch = 6, .threads = 1, .training = true, .input_gradient = true, .winograd = true};
  const struct arch_options options = {.embedding = embedding,
                                       .width = width,
                                       .grid = 4,
                                       .inverse = true,
                                       .mask = {12, channel, mean, deviation, 40}};
  struct graph *graph = NULL;
  (void)snprintf(check_context, sizeof(check_context), "%s", arch_name(arch));
  assert_int_equal(graph_new(&config, &graph, NULL), 0);
  assert_true(arch_describe(graph, arch, &options) >= 0);
  assert_int_equal(graph_build(graph, NULL), 0);
  lcg_state = 23;
  fill(graph);
  lcg_fill(graph_input_data(graph), 6 * 12 * 16, 1, 0);
  assert_int_equal(graph_forward(graph, GRAPH_TRAIN, 0, NULL), 0);
  expect("embeddings in training", graph_output_data(graph), 6 * embedding, 1e-3);
  lcg_fill(graph_output_gradient(graph), 6 * embedding, 1, 0);
  assert_int_equal(graph_backward(graph, NULL), 0);
  float norms[512];
  uint32_t count = 0;
  for (uint32_t i = 0; i < graph_parameters(graph); i++) {
    const struct graph_parameter *p = graph_parameter(graph, i);
    double square = 0;
    for (size_t j = 0; p->gradient && j < p->count; j++)
      square += (double)p->gradient[j] * (double)p->gradient[j];
    if (p->gradient)
      norms[count++] = (float)sqrt(square);
  }
  float *input_gradient = malloc(6 * 12 * 16 * sizeof(float));
  memcpy(input_gradient, graph_input_gradient(graph), 6 * 12 * 16 * sizeof(float));
  assert_int_equal(graph_forward(graph, GRAPH_EVAL, 0, NULL), 0);
  check_folded(arch, &options, graph);
  expect("embeddings in evaluation", graph_output_data(graph), 6 * embedding, 1e-3);
  expect("norms of gradients", norms, count, 1e-3);
  expect("gradient of the input", input_gradient, 6 * 12 * 16, 5e-3);
  free(input_gradient);
  graph_free(graph);
}

static void architectures(void **state) {
  (void)state;
  check_architecture(ARCH_FREQ_IR, 1, 128);
  check_architecture(ARCH_FREQ_CONV, 1, 128);
  check_architecture(ARCH_IRESNET18, 0.25f, 512);
  check_architecture(ARCH_IRESNET50, 0.25f, 512);
  check_architecture(ARCH_MOBILEFACENET, 0.25f, 512);
}

static void head_of_mixed_labels(void **state) {
  (void)state;
  const struct head_label labels[4][3] = {
      {{2, 1}}, {{0, 0.6f}, {3, 0.4f}}, {{6, 0.5f}, {1, 0.3f}, {4, 0.2f}}, {{5, 0.35f}, {2, 0.65f}}};
  const uint32_t counts[] = {1, 2, 3, 2};
  for (int kind = 0; kind < 2; kind++)
    for (int negatives = 0; negatives < 2; negatives++) {
      struct head *head = NULL;
      float embeddings[24], gradient[24], losses[4];
      assert_int_equal(head_new(7, 6, 4, 1, kind ? HEAD_ARCFACE : HEAD_COSFACE, 1, &head, NULL), 0);
      lcg_state = 5;
      lcg_fill(embeddings, 24, 1, 0);
      lcg_fill(head_weights(head), 42, 1, 0);
      const struct head_options options = {16, 0.4f, negatives ? HEAD_NEGATIVES_ALL : HEAD_NEGATIVES_OTHERS,
                                           HEAD_MARGINS_SCALED, 0};
      (void)head_step(head, &options, embeddings, 4, &labels[0][0], 3, counts, gradient, losses, NULL);
      (void)snprintf(check_context, sizeof(check_context), "kind %d, negatives %d", kind, negatives);
      expect("head losses", losses, 4, 1e-5);
      expect("gradient of embeddings", gradient, 24, 1e-5);
      expect("gradient of classes", head_gradient(head), 42, 1e-5);
      head_free(head);
    }
}

/* As fill_parts() in make_nn.py. */
static void fill_parts(struct graph *graph) {
  for (uint32_t i = 0; i < graph_parameters(graph); i++) {
    struct graph_parameter *p = graph_parameter(graph, i);
    const bool bias = strcmp(strrchr(p->name, '.'), ".bias") == 0;
    if (strstr(p->name, "running"))
      continue;
    if (strstr(p->name, "weight_"))
      lcg_fill(p->value, p->count, 1, 0);
    else if (bias)
      lcg_fill(p->value, p->count, 0.1f, 0);
    else if (strstr(p->name, "norm"))
      lcg_fill(p->value, p->count, 0.2f, 1);
    else
      lcg_fill(p->value, p->count, (float)(1.5 / sqrt((double)(p->count / p->shape[0]))), 0);
  }
  graph_parameters_changed(graph);
}

static const struct graph_config adam_config = {
    .batch = 6, .threads = 1, .training = true, .winograd = true, .optimizer = GRAPH_ADAM};

/* Three steps; `loss` says the loss of an output and fills its gradient. */
static void three_steps_of_adam(struct graph *graph, size_t count, bool decoupled,
                                double (*loss)(const float *output, const float *target, float *ret_gradient,
                                               size_t count),
                                const float *target) {
  const struct adam_options options = {0.01f, 0.5f, 0.99f, 1e-5f, 0.01f, decoupled};
  for (uint64_t step = 1; step <= 3; step++) {
    assert_int_equal(graph_forward(graph, GRAPH_TRAIN, step, NULL), 0);
    const float value = (float)loss(graph_output_data(graph), target, graph_output_gradient(graph), count);
    expect("loss", &value, 1, 2e-5);
    assert_int_equal(graph_backward(graph, NULL), 0);
    assert_int_equal(graph_adam(graph, &options, step, NULL), 0);
  }
  assert_int_equal(graph_forward(graph, GRAPH_EVAL, 4, NULL), 0);
  expect("output after training", graph_output_data(graph), count, 1e-3);
  for (uint32_t i = 0; i < graph_parameters(graph); i++)
    expect(graph_parameter(graph, i)->name, graph_parameter(graph, i)->value,
           graph_parameter(graph, i)->count, 1e-3);
}

static double squared_error(const float *output, const float *target, float *ret_gradient, size_t count) {
  double sum = 0;
  for (size_t i = 0; i < count; i++) {
    const double d = (double)output[i] - (double)target[i];
    ret_gradient[i] = (float)(2 * d / (double)count);
    sum += d * d / (double)count;
  }
  return sum;
}

static double cross_entropy(const float *output, const float *target, float *ret_gradient, size_t count) {
  double sum = 0;
  for (size_t i = 0; i < count; i++) {
    const double p = (double)output[i], y = (double)target[i];
    ret_gradient[i] = (float)((p - y) / (p * (1 - p)) / (double)count);
    sum -= (y * log(p) + (1 - y) * log(1 - p)) / (double)count;
  }
  return sum;
}

static void generator(void **state) {
  (void)state;
  struct graph *graph = NULL;
  float target[6 * 3 * 144];
  (void)snprintf(check_context, sizeof(check_context), "generator");
  assert_int_equal(graph_new(&adam_config, &graph, NULL), 0);
  int x = graph_linear(graph, graph_input(graph, 8, 1, 1), "linear", 108, false);
  x = graph_conditional_norm(graph, graph_reshape(graph, x, 12, 3, 3), "norm1", 3);
  x = graph_upsample(graph, graph_leaky_relu(graph, x, 0.2f), 2, UPSAMPLE_BILINEAR);
  x = graph_conv(graph, x, "conv",
                 &(struct conv_options){.out_channels = 10, .kernel = 3, .stride = 1, .padding = 1});
  x = graph_leaky_relu(graph, graph_conditional_norm(graph, x, "norm2", 3), 0.2f);
  x = graph_conv_transpose(
      graph, x, "up",
      &(struct conv_options){.out_channels = 3, .kernel = 4, .stride = 2, .padding = 1, .bias = true});
  (void)graph_output(graph, graph_tanh(graph, x));
  assert_int_equal(graph_build(graph, NULL), 0);
  lcg_state = 31;
  fill_parts(graph);
  lcg_fill(graph_input_data(graph), 48, 1, 0);
  lcg_fill(target, ARRAY_SIZE(target), 1, 0);
  for (uint32_t n = 0; n < 6; n++)
    graph_classes(graph)[n] = n % 3;
  three_steps_of_adam(graph, ARRAY_SIZE(target), false, squared_error, target);
  graph_free(graph);
}

static void discriminator(void **state) {
  (void)state;
  struct graph *graph = NULL;
  static const float target[] = {0, 1, 0, 1, 0, 1};
  (void)snprintf(check_context, sizeof(check_context), "discriminator");
  assert_int_equal(graph_new(&adam_config, &graph, NULL), 0);
  int x = graph_input(graph, 3, 12, 12);
  x = graph_conv(graph, x, "conv1", &(struct conv_options){16, 4, 2, 1, true, 0, true});
  x = graph_leaky_relu(graph, x, 0.2f);
  x = graph_conv(graph, x, "conv2", &(struct conv_options){24, 3, 1, 1, false, 0, true});
  x = graph_leaky_relu(graph, graph_group_norm(graph, x, "norm", 4), 0.2f);
  x = graph_linear_spectral(graph, graph_average_pool(graph, x, 2, 2, 0), "linear", 1, true);
  (void)graph_output(graph, graph_sigmoid(graph, x));
  assert_int_equal(graph_build(graph, NULL), 0);
  assert_null(graph_classes(graph));
  lcg_state = 37;
  fill_parts(graph);
  lcg_fill(graph_input_data(graph), 6 * 3 * 144, 1, 0);
  three_steps_of_adam(graph, 6, true, cross_entropy, target);
  graph_free(graph);
  assert_int_equal(left, 0);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(three_steps_of_training), cmocka_unit_test(architectures),
      cmocka_unit_test(head_of_mixed_labels),    cmocka_unit_test(generator),
      cmocka_unit_test(discriminator),
  };
  return cmocka_run_group_tests(tests, open_golden, close_golden);
}
