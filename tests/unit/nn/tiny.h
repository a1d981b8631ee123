/* A network of a few channels, and its training on random templates. */
#pragma once

#include "core/nn/arch.h"
#include "core/nn/head.h"
#include "reference.h"

#ifdef __SANITIZE_THREAD__
#define THREADS 1u /* libgomp is invisible to ThreadSanitizer */
#else
#define THREADS 2u
#endif

/* `grid` blocks of 8 x 8 pixels a side. */
static inline struct graph *tiny_sized(enum arch arch, uint32_t grid, float width,
                                       const struct graph_config *config) {
  static const uint16_t channel[] = {1, 8, 9, 16, 70, 140};
  static const float mean[6], deviation[] = {20, 20, 15, 10, 5, 5};
  const struct arch_options options = {.embedding = 24,
                                       .width = width,
                                       .dropout = 0.2f,
                                       .grid = grid,
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

static inline struct graph *tiny_of(enum arch arch, const struct graph_config *config) {
  return tiny_sized(arch, 2, 0.25f, config);
}

/* Just large enough for Winograd in some of its convolutions, on every processor that has it, with batches of
 * WIDE_BATCH. */
#define WIDE_GRID 4u
#define WIDE_BATCH 12u
static inline struct graph *tiny_wide(const struct graph_config *config) {
  return tiny_sized(ARCH_FREQ_IR, WIDE_GRID, 0.5f, config);
}

static inline struct graph *tiny(uint32_t batch, uint32_t threads, bool training, uint64_t seed) {
  return tiny_of(
      ARCH_FREQ_IR,
      &(struct graph_config){
          .batch = batch, .threads = threads, .training = training, .winograd = true, .seed = seed});
}

/* Trains on fixed random templates of `grid` x `grid` blocks; losses of the steps go to ret_losses. `at_step`
 * is called after each step. */
static inline void train_sized(struct graph *graph, uint32_t grid, uint32_t batch, uint32_t threads,
                               uint32_t steps, double *ret_losses, void (*at_step)(uint32_t step)) {
  struct head *head = NULL;
  struct head_label labels[16];
  uint32_t counts[16];
  uint32_t state = lcg_state;
  lcg_state = 9;
  lcg_fill(graph_input_data(graph), (size_t)batch * 6 * grid * grid, 1.5f, 0);
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

static inline void train(struct graph *graph, uint32_t batch, uint32_t threads, uint32_t steps,
                         double *ret_losses, void (*at_step)(uint32_t step)) {
  train_sized(graph, 2, batch, threads, steps, ret_losses, at_step);
}
