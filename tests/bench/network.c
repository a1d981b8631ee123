#include "tests/bench/network.h"

#include <stdlib.h>

#include "core/base/philox.h"
#include "core/nn/head.h"

struct bench_network {
  struct bench_network_options options;
  struct graph *graph;
  struct head *head;
  struct head_label *labels;
  uint32_t *counts;
};

static struct graph *make_graph(const struct bench_network_options *o, struct guise_error *err) {
  static uint16_t channel[BENCH_CHANNELS];
  static float mean[BENCH_CHANNELS], deviation[BENCH_CHANNELS];
  for (uint32_t i = 0; i < BENCH_CHANNELS; i++) {
    channel[i] = (uint16_t)(i / 61 * 64 + 3 + i % 61);
    deviation[i] = 20.0f;
  }
  const struct graph_config config = {.batch = o->batch,
                                      .threads = o->threads,
                                      .training = !o->inference,
                                      .folded = o->inference,
                                      .low_memory = o->low_memory,
                                      .winograd = o->winograd,
                                      .bfloat16 = o->bfloat16,
                                      .seed = 1};
  const struct arch_options options = {.embedding = o->embedding,
                                       .width = (float)o->width,
                                       .dropout = 0.2f,
                                       .grid = o->size / 8,
                                       .inverse = true,
                                       .mask = {BENCH_CHANNELS, channel, mean, deviation, 40.0f}};
  struct graph *graph = NULL;
  if (graph_new(&config, &graph, err) < 0)
    return NULL;
  (void)arch_describe(graph, o->arch, &options);
  return graph_build(graph, err) < 0 ? graph_free(graph) : graph;
}

static void fill(struct bench_network *network) {
  const struct bench_network_options *o = &network->options;
  struct rng rng;
  rng_init(&rng, 1, RNG_SYNTH, 0, 0);
  const size_t values = (size_t)o->batch * BENCH_CHANNELS * (o->size / 8) * (o->size / 8);
  for (size_t i = 0; i < values; i++)
    graph_input_data(network->graph)[i] = rng_normal(&rng);
  for (uint32_t i = 0; i < o->batch; i++) {
    network->labels[i] = (struct head_label){rng_below(&rng, o->classes), 1};
    network->counts[i] = 1;
  }
}

int bench_network_new(const struct bench_network_options *options, struct bench_network **ret_network,
                      struct guise_error *err) {
  struct bench_network *network = calloc(1, sizeof(*network));
  if (!network)
    return error_set(err, -ENOMEM, "out of memory");
  network->options = *options;
  struct bench_network_options *o = &network->options;
  if (o->embedding == 0)
    o->embedding = arch_default_embedding(o->arch);
  network->labels = calloc(o->batch, sizeof(*network->labels));
  network->counts = calloc(o->batch, sizeof(*network->counts));
  int r = network->labels && network->counts ? 0 : error_set(err, -ENOMEM, "out of memory");
  if (r == 0) {
    network->graph = make_graph(o, err);
    r = network->graph ? 0 : err->code;
  }
  if (r == 0)
    r = head_new(o->classes, o->embedding, o->batch, o->threads, HEAD_COSFACE, 1, &network->head, err);
  if (r < 0) {
    bench_network_free(network);
    return r;
  }
  fill(network);
  *ret_network = network;
  return 0;
}

struct bench_network *bench_network_free(struct bench_network *network) {
  if (network) {
    head_free(network->head);
    graph_free(network->graph);
    free(network->labels);
    free(network->counts);
    free(network);
  }
  return NULL;
}

struct graph *bench_network_graph(struct bench_network *network) {
  return network->graph;
}

int bench_network_step(struct bench_network *network, uint64_t step, double *ret_seconds, double *ret_loss,
                       struct guise_error *err) {
  const struct head_options loss = {.scale = 30, .margin = 0.3f, .negatives = HEAD_NEGATIVES_OTHERS};
  struct graph *graph = network->graph;
  const int64_t start = clock_ns();
  int r = graph_forward(graph, network->options.inference ? GRAPH_EVAL : GRAPH_TRAIN, step, err);
  if (r < 0 || network->options.inference) {
    *ret_seconds = (double)(clock_ns() - start) * 1e-9;
    return r;
  }
  *ret_loss = head_step(network->head, &loss, graph_output_data(graph), network->options.batch,
                        network->labels, 1, network->counts, graph_output_gradient(graph), NULL, NULL);
  if ((r = graph_backward(graph, err)) < 0)
    return r;
  graph_sgd(graph, 0.01f, 0.9f, 5e-4f);
  head_sgd(network->head, 0.01f, 0.9f, 5e-4f);
  *ret_seconds = (double)(clock_ns() - start) * 1e-9;
  return 0;
}
