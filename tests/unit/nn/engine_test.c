/* What a graph promises as a whole: errors that say what is wrong, no allocation in steps, the same losses
 * for the same seed, dropout, statistics passes, copies, and several graphs at once. */
#include "reference.h"

#include <malloc.h>
#include <pthread.h>

#include "core/base/memory.h"
#include "core/nn/arch.h"
#include "core/nn/head.h"
#include "core/nn/kernels.h"

#ifdef __SANITIZE_THREAD__
#define THREADS 1u /* libgomp is invisible to ThreadSanitizer */
#else
#define THREADS 2u
#endif

static struct graph *tiny_of(enum arch arch, const struct graph_config *config) {
  static const uint16_t channel[] = {1, 8, 9, 16, 70, 140};
  static const float mean[6], deviation[] = {20, 20, 15, 10, 5, 5};
  const struct arch_options options = {.embedding = 24,
                                       .width = 0.25f,
                                       .dropout = 0.2f,
                                       .grid = 2,
                                       .inverse = true,
                                       .mask = {6, channel, mean, deviation, 40}};
  struct graph *graph = NULL;
  struct guise_error err;
  assert_int_equal(graph_new(config, &graph, &err), 0);
  assert_true(arch_describe(graph, arch, &options) >= 0);
  if (graph_build(graph, &err) < 0)
    fail_msg("%s", err.text);
  return graph;
}

static struct graph *tiny(uint32_t batch, uint32_t threads, bool training, uint64_t seed) {
  return tiny_of(
      ARCH_FREQ_IR,
      &(struct graph_config){
          .batch = batch, .threads = threads, .training = training, .winograd = true, .seed = seed});
}

/* Trains on fixed random templates; losses of the steps go to ret_losses. `at_step` is called after each
 * step. */
static void train(struct graph *graph, uint32_t batch, uint32_t threads, uint32_t steps, double *ret_losses,
                  void (*at_step)(uint32_t step)) {
  struct head *head = NULL;
  struct head_label labels[16];
  uint32_t counts[16];
  uint32_t state = lcg_state;
  lcg_state = 9;
  lcg_fill(graph_input_data(graph), (size_t)batch * 6 * 4, 1.5f, 0);
  lcg_state = state;
  for (uint32_t i = 0; i < batch; i++) {
    labels[i] = (struct head_label){i % 5, 1};
    counts[i] = 1;
  }
  assert_int_equal(head_new(5, 24, batch, threads, HEAD_COSFACE, 4, &head, NULL), 0);
  const struct head_options options = {16, 0.2f, HEAD_NEGATIVES_OTHERS, HEAD_MARGINS_SCALED, 0};
  for (uint32_t step = 0; step < steps; step++) {
    assert_int_equal(graph_forward(graph, GRAPH_TRAIN, step, NULL), 0);
    const double loss = head_step(head, &options, graph_output_data(graph), batch, labels, 1, counts,
                                  graph_output_gradient(graph), NULL, NULL);
    assert_int_equal(graph_backward(graph, NULL), 0);
    graph_sgd(graph, 0.02f, 0.9f, 5e-4f);
    head_sgd(head, 0.02f, 0.9f, 5e-4f);
    if (ret_losses)
      ret_losses[step] = loss;
    if (at_step)
      at_step(step);
  }
  head_free(head);
}

/* ---- memory ---- */

#define LONG_RUN 200u

static size_t live[2], heap[2];
static uint32_t last_step;

static void note_memory(uint32_t step) {
  if (step != 9 && step != last_step)
    return;
  live[step > 9] = memory_live_bytes();
  heap[step > 9] = mallinfo2().uordblks;
}

/* Long with one thread; with two each step costs many meetings of threads, which is slow on a busy machine.
 */
static void steps_allocate_nothing(void **state) {
  (void)state;
  for (uint32_t threads = 1; threads <= THREADS; threads++) {
    last_step = threads == 1 ? LONG_RUN - 1 : 59;
    struct graph *graph = tiny(2, threads, true, 1);
    train(graph, 2, threads, last_step + 1, NULL, note_memory);
    assert_int_equal(live[0], live[1]);
#ifndef GUISE_SANITIZED
    assert_int_equal(heap[0], heap[1]);
#endif
    graph_free(graph);
  }
}

static void free_returns_everything(void **state) {
  (void)state;
  const size_t before = memory_live_bytes();
  struct graph *graph = tiny(4, 1, true, 1);
  assert_true(memory_live_bytes() >= before + graph_arena_bytes(graph));
  graph_free(graph);
  assert_int_equal(memory_live_bytes(), before);
  assert_null(graph_free(NULL));
}

/* A forward-only graph gets by with far less; training may, too. */
static void memory_by_purpose(void **state) {
  (void)state;
  static const uint16_t channel[] = {1};
  static const float mean[1], deviation[] = {20};
  const struct arch_options options = {
      .embedding = 16, .width = 1, .grid = 8, .inverse = true, .mask = {1, channel, mean, deviation, 1}};
  size_t bytes[3];
  for (int kind = 0; kind < 3; kind++) {
    const struct graph_config config = {
        .batch = 32, .threads = 1, .training = kind > 0, .low_memory = kind == 2, .winograd = false};
    struct graph *graph = NULL;
    assert_int_equal(graph_new(&config, &graph, NULL), 0);
    (void)arch_describe(graph, ARCH_FREQ_IR, &options);
    assert_int_equal(graph_build(graph, NULL), 0);
    bytes[kind] = graph_arena_bytes(graph);
    graph_free(graph);
  }
  assert_true(bytes[0] * 3 < bytes[1]);
  assert_true(bytes[2] * 10 < bytes[1] * 7);
}

/* ---- determinism ---- */

#define STEPS 16

static void same_seed_same_losses(void **state) {
  (void)state;
  double first[STEPS], again[STEPS], other[STEPS], one[STEPS];
  double *const runs[] = {first, again, other, one};
  static const uint64_t seeds[] = {7, 7, 8, 7};
  static const uint32_t threads[] = {THREADS, THREADS, THREADS, 1};
  for (int i = 0; i < 4; i++) {
    struct graph *graph = tiny(6, threads[i], true, seeds[i]);
    train(graph, 6, threads[i], STEPS, runs[i], NULL);
    graph_free(graph);
  }
  assert_memory_equal(first, again, sizeof(first));
  assert_true(first[0] != other[0]);
  assert_true(fabs(first[0] - one[0]) <
              1e-4 * first[0]);                   /* threads change sums' order, not the numbers drawn */
  assert_true(first[STEPS - 1] < 0.8 * first[0]); /* and it learns */
}

/* Computing again instead of keeping changes nothing but the memory. In bfloat16 the gradients of a shortcut
 * are added in another order, and so rounded differently: the first steps agree. */
static void low_memory_same_losses(void **state) {
  (void)state;
  enum { steps = 4 };
  for (enum arch arch = 0; arch < ARCHS; arch++)
    for (int half = 0; half <= graph_bfloat16_supported(); half++) {
      double losses[2][STEPS];
      size_t bytes[2];
      for (int low = 0; low < 2; low++) {
        const struct graph_config config = {.batch = 12,
                                            .threads = THREADS,
                                            .training = true,
                                            .winograd = true,
                                            .low_memory = low,
                                            .bfloat16 = half,
                                            .seed = 7};
        struct graph *graph = tiny_of(arch, &config);
        bytes[low] = graph_arena_bytes(graph);
        train(graph, 12, THREADS, steps, losses[low], NULL);
        graph_free(graph);
      }
      const bool same = half ? fabs(losses[0][1] - losses[1][1]) < 0.01 * losses[0][1]
                             : memcmp(losses[0], losses[1], steps * sizeof(double)) == 0;
      if (!same || bytes[1] > bytes[0])
        fail_msg("%s, %s: last losses %.17g and %.17g, %zu and %zu bytes", arch_name(arch),
                 half ? "bfloat16" : "float", losses[0][steps - 1], losses[1][steps - 1], bytes[0], bytes[1]);
    }
}

static void initial_weights(void **state) {
  (void)state;
  struct graph *graph = tiny(2, 1, true, 3), *same = tiny(5, THREADS, false, 3);
  for (uint32_t i = 0; i < graph_parameters(graph); i++) {
    const struct graph_parameter *p = graph_parameter(graph, i), *q = graph_parameter(same, i);
    assert_string_equal(p->name, q->name);
    assert_memory_equal(p->value, q->value, p->count * sizeof(float));
    assert_null(q->gradient);
    assert_int_equal(p->decay, p->rank > 1);
    if (p->rank < 2)
      continue;
    const double bound = 1 / sqrt((double)(p->count / p->shape[0]));
    double most = 0, sum = 0;
    for (size_t j = 0; j < p->count; j++) {
      most = fmax(most, fabs((double)p->value[j]));
      sum += (double)p->value[j];
    }
    assert_true(most <= bound && most > 0.9 * bound);
    assert_true(fabs(sum / (double)p->count) < 4 * bound / sqrt(3.0 * (double)p->count));
  }
  assert_string_equal(graph_parameter(graph, 0)->name, "stem.conv.weight");
  assert_null(graph_parameter(graph, graph_parameters(graph)));
  graph_free(graph);
  graph_free(same);
}

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

/* ---- several graphs at once ---- */

struct worker {
  uint32_t threads;
  double losses[STEPS];
};

static void *work(void *argument) {
  struct worker *worker = argument;
  struct graph *graph = tiny(6, worker->threads, true, 7), *evaluation = tiny(2, 1, false, 1);
  train(graph, 6, worker->threads, STEPS, worker->losses, NULL);
  assert_int_equal(graph_copy_parameters(evaluation, graph, NULL), 0);
  assert_int_equal(graph_forward(evaluation, GRAPH_EVAL, 0, NULL), 0);
  graph_free(evaluation);
  graph_free(graph);
  return NULL;
}

static void jobs_in_parallel(void **state) {
  (void)state;
  struct worker workers[3] = {{.threads = 1}, {.threads = THREADS}, {.threads = 1}};
  pthread_t threads[3];
  for (int i = 0; i < 3; i++)
    assert_int_equal(pthread_create(&threads[i], NULL, work, &workers[i]), 0);
  for (int i = 0; i < 3; i++)
    assert_int_equal(pthread_join(threads[i], NULL), 0);
  assert_memory_equal(workers[0].losses, workers[2].losses, sizeof(workers[0].losses));
  assert_true(fabs(workers[0].losses[0] - workers[1].losses[0]) < 1e-4 * workers[0].losses[0]);
}

/* More threads than images, blocks or processors. */
static void many_threads(void **state) {
  (void)state;
  double few[2], many[2];
  struct graph *graph = tiny(3, 1, true, 7);
  train(graph, 3, 1, 2, few, NULL);
  graph_free(graph);
  graph = tiny(3, THREADS == 1 ? 1 : 7, true, 7);
  train(graph, 3, THREADS == 1 ? 1 : 7, 2, many, NULL);
  graph_free(graph);
  assert_true(fabs(few[0] - many[0]) < 1e-4 * few[0]);
}

/* ---- errors ---- */

static void expect_error(struct graph *graph, const char *part) {
  struct guise_error err = {0};
  assert_int_equal(graph_build(graph, &err), -EINVAL);
  if (!strstr(err.text, part))
    fail_msg("\"%s\" does not say \"%s\"", err.text, part);
  assert_int_equal(graph_forward(graph, GRAPH_EVAL, 0, NULL), -EINVAL);
  graph_free(graph);
}

static struct graph *empty(void) {
  struct graph *graph = NULL;
  assert_int_equal(graph_new(&(struct graph_config){.batch = 2, .threads = 1}, &graph, NULL), 0);
  return graph;
}

static void description_errors(void **state) {
  (void)state;
  struct graph *graph = empty();
  int x = graph_input(graph, 8, 4, 4);
  int y = graph_conv(graph, x, "half", &(struct conv_options){8, 3, 2, 1, false, 0, false});
  assert_true(y >= 0);
  assert_int_equal(graph_add(graph, x, y), -EINVAL);
  assert_int_equal(graph_prelu(graph, x, "later"), -EINVAL); /* errors stay */
  expect_error(graph, "8 x 4 x 4 and 8 x 2 x 2");

  graph = empty();
  x = graph_input(graph, 8, 4, 4);
  (void)graph_prelu(graph, x, "same");
  (void)graph_output(graph, graph_batch_norm(graph, x, "same"));
  expect_error(graph, "two layers are named same");

  graph = empty();
  x = graph_input(graph, 8, 2, 2);
  (void)graph_output(graph, graph_conv(graph, x, "big", &(struct conv_options){8, 5, 1, 0, false, 0, false}));
  expect_error(graph, "big: a 5 x 5 kernel");

  graph = empty();
  x = graph_input(graph, 8, 2, 2);
  (void)graph_prelu(graph, x, "idle");
  (void)graph_output(graph, graph_prelu(graph, x, "busy"));
  expect_error(graph, "idle");

  graph = empty();
  (void)graph_input(graph, 8, 2, 2);
  expect_error(graph, "an input and an output");

  graph = empty();
  (void)graph_output(graph, graph_prelu(graph, 3, "nowhere"));
  expect_error(graph, "no node 3");

  graph = empty();
  (void)graph_output(graph, graph_dropout(graph, graph_input(graph, 8, 2, 2), 1.0f));
  expect_error(graph, "probability");
}

static void idct_errors(void **state) {
  (void)state;
  static const uint16_t twice[] = {3, 3}, beyond[] = {3, 192};
  static const float mean[2], deviation[] = {1, 1};
  const struct {
    const uint16_t *channel;
    uint32_t channels, grid, width;
    float scale;
    const char *part;
  } cases[] = {{twice, 2, 4, 4, 1, "listed before"},
               {beyond, 2, 4, 4, 1, "no coefficient"},
               {beyond, 1, 4, 4, 1, "template has 2"},
               {beyond, 2, 4, 5, 1, "square"},
               {beyond, 2, 4, 4, 0, "pixel scale"}};
  for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
    struct graph *graph = empty();
    int x = graph_input(graph, 2, cases[i].grid, cases[i].width);
    const struct block_idct_options options = {cases[i].channels, cases[i].channel, mean, deviation,
                                               cases[i].scale};
    (void)graph_output(graph, graph_block_idct(graph, x, &options));
    expect_error(graph, cases[i].part);
  }
}

static void running_errors(void **state) {
  (void)state;
  struct guise_error err;
  struct graph *graph = NULL;
  assert_int_equal(graph_new(&(struct graph_config){.batch = 0, .threads = 1}, &graph, &err), -EINVAL);
  assert_int_equal(graph_new(&(struct graph_config){.batch = 1, .threads = 0}, &graph, &err), -EINVAL);
  assert_null(graph);
  graph = tiny(2, 1, true, 1);
  assert_int_equal(graph_backward(graph, &err), -EINVAL); /* no forward yet */
  assert_int_equal(graph_forward(graph, GRAPH_STATISTICS, 0, &err), 0);
  assert_int_equal(graph_backward(graph, &err), -EINVAL);
  assert_int_equal(graph_build(graph, &err), -EINVAL);
  assert_int_equal(graph_forward(graph, GRAPH_TRAIN, 0, &err), 0);
  assert_int_equal(graph_backward(graph, &err), 0);
  assert_int_equal(graph_backward(graph, &err), -EINVAL); /* gradients took the place of values */
  graph_free(graph);
  graph = tiny(1, 1, true, 1);
  assert_int_equal(graph_forward(graph, GRAPH_TRAIN, 0, &err), -EINVAL);
  assert_non_null(strstr(err.text, "batches of 2"));
  graph_free(graph);
  graph = tiny(2, 1, false, 1);
  assert_int_equal(graph_forward(graph, GRAPH_EVAL, 0, &err), 0);
  assert_int_equal(graph_backward(graph, &err), -EINVAL);
  graph_free(graph);
}

static void architecture_table(void **state) {
  (void)state;
  enum arch arch = ARCHS;
  for (enum arch i = 0; i < ARCHS; i++) {
    assert_int_equal(arch_from_name(arch_name(i), &arch), 0);
    assert_int_equal(arch, i);
    assert_int_equal(arch_default_embedding(i), i >= ARCH_IRESNET18 ? 512 : 128);
  }
  assert_int_equal(arch_from_name("resnet", &arch), -ENOENT);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(steps_allocate_nothing),
      cmocka_unit_test(free_returns_everything),
      cmocka_unit_test(memory_by_purpose),
      cmocka_unit_test(same_seed_same_losses),
      cmocka_unit_test(low_memory_same_losses),
      cmocka_unit_test(initial_weights),
      cmocka_unit_test(dropout_masks),
      cmocka_unit_test(pooled_statistics),
      cmocka_unit_test(copies_between_batches),
      cmocka_unit_test(directional_derivative),
      cmocka_unit_test(gradient_steps),
      cmocka_unit_test(jobs_in_parallel),
      cmocka_unit_test(many_threads),
      cmocka_unit_test(description_errors),
      cmocka_unit_test(idct_errors),
      cmocka_unit_test(running_errors),
      cmocka_unit_test(architecture_table),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
