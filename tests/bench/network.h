/* A training graph with its head on random templates, and one step of it: what step, profile and masking
 * measure. */
#pragma once

#include <stdint.h>

#include "core/nn/arch.h"
#include "core/nn/graph.h"

#define BENCH_CHANNELS 183u /* of a template: all but three zig-zag coefficients of each colour */

struct bench_network_options {
  enum arch arch;
  uint32_t batch, threads, size, classes, embedding; /* embedding: 0 = the architecture's own */
  double width;                                      /* as model.width */
  bool winograd, bfloat16, low_memory;
  bool inference; /* a folded graph; a step is its forward pass */
};

struct bench_network;

int bench_network_new(const struct bench_network_options *options, struct bench_network **ret_network,
                      struct guise_error *err);
struct bench_network *bench_network_free(struct bench_network *network);
struct graph *bench_network_graph(struct bench_network *network);

/* Forward, class head, backward, gradient step on whatever the graph's input holds. */
int bench_network_step(struct bench_network *network, uint64_t step, double *ret_seconds, double *ret_loss,
                       struct guise_error *err);
