/* Parameters: their names and plain layouts, initial values as PyTorch's defaults, gradient steps, copies.
 *
 * Trainable values, gradients, momenta and with Adam squares lie in regions with the same offsets, those with
 * weight decay first, so that a gradient step is two flat loops. Running statistics lie in a region of their
 * own. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "core/base/philox.h"
#include "core/nn/graph_internal.h"

#define PAD 16u /* floats; every parameter starts on 64 bytes */

enum { REGION_VALUES, REGION_GRADIENTS, REGION_MOMENTA, REGION_SQUARES, REGION_STATISTICS, REGIONS };

int parameter_add(struct graph *graph, struct node *node, int which, const char *suffix, uint32_t rank,
                  const uint64_t shape[4], float initial) {
  char *name = NULL;
  if (asprintf(&name, "%s.%s", node->name, suffix) < 0)
    return error_set(&graph->error, -ENOMEM, "out of memory");
  struct graph_parameter *parameter =
      array_grow((void **)&graph->parameters, &graph->parameter_count, sizeof(*parameter));
  if (!parameter) {
    free(name);
    return error_set(&graph->error, -ENOMEM, "out of memory");
  }
  parameter->name = name;
  parameter->rank = rank;
  parameter->count = 1;
  for (uint32_t i = 0; i < 4; i++) {
    parameter->shape[i] = i < rank ? shape[i] : 1;
    parameter->count *= parameter->shape[i];
  }
  parameter->decay = rank > 1;
  node->initial[which] = initial;
  node->parameter[which] = (int)graph->parameter_count - 1;
  return 0;
}

int parameters_describe(struct graph *graph) {
  for (uint32_t i = 0; i < graph->node_count; i++) {
    struct node *node = &graph->nodes[i];
    int r = node->type->parameters ? node->type->parameters(graph, node) : 0;
    if (r < 0)
      return r;
  }
  return 0;
}

static uint64_t padded(uint64_t count) {
  return (count + PAD - 1) / PAD * PAD;
}

/* Calls place() for every parameter of one kind (decay, trainable without decay, statistics) and adds their
 * sizes up. */
enum group { WITH_DECAY, WITHOUT_DECAY, STATISTICS };

static uint64_t place(struct graph *graph, enum group group, uint64_t offset, bool bind) {
  for (uint32_t n = 0; n < graph->node_count; n++)
    for (int which = 0; which < NODE_PARAMETERS; which++) {
      struct graph_parameter *parameter = node_parameter(graph, &graph->nodes[n], which);
      if (!parameter)
        continue;
      const bool fixed = which >= NODE_TRAINABLE || graph->nodes[n].frozen;
      const enum group own = fixed ? STATISTICS : parameter->decay ? WITH_DECAY : WITHOUT_DECAY;
      if (own != group)
        continue;
      if (bind) {
        const bool trainable = group != STATISTICS && graph->config.training;
        const int region = group == STATISTICS ? REGION_STATISTICS : REGION_VALUES;
        parameter->value = graph_buffer(graph, graph->parameter_buffers[region]) + offset;
        parameter->gradient = trainable ? graph->gradients + offset : NULL;
        parameter->momentum = trainable ? graph->momenta + offset : NULL;
        parameter->square = trainable && graph->squares ? graph->squares + offset : NULL;
      }
      offset += padded(parameter->count);
    }
  return offset;
}

int parameters_plan(struct graph *graph) {
  graph->decay_count = place(graph, WITH_DECAY, 0, false);
  graph->trainable_count = place(graph, WITHOUT_DECAY, graph->decay_count, false);
  const uint64_t statistics = place(graph, STATISTICS, 0, false);
  for (int region = 0; region < REGIONS; region++) {
    const bool step = region == REGION_GRADIENTS || region == REGION_MOMENTA || region == REGION_SQUARES;
    const bool absent = (!graph->config.training && step) ||
                        (region == REGION_SQUARES && graph->config.optimizer != GRAPH_ADAM);
    const uint64_t count = region == REGION_STATISTICS ? statistics : graph->trainable_count;
    const int buffer = absent ? -1 : plan_buffer(graph, count * sizeof(float), true);
    if (!absent && buffer < 0)
      return buffer;
    graph->parameter_buffers[region] = buffer;
  }
  return 0;
}

/* PyTorch's defaults: kaiming_uniform(a = sqrt 5), that is U(-1/sqrt(fan_in), 1/sqrt(fan_in)), for weights
 * and biases. */
static void initialise(struct graph *graph, struct node *node, int which, uint32_t index) {
  struct graph_parameter *parameter = &graph->parameters[index];
  if (isfinite(node->initial[which])) {
    for (size_t i = 0; i < parameter->count; i++)
      parameter->value[i] = node->initial[which];
    return;
  }
  const struct graph_parameter *weight = node_parameter(graph, node, WEIGHT);
  const uint64_t fan_in = weight->count / weight->shape[0];
  const float bound = 1.0f / sqrtf((float)fan_in);
  struct rng rng;
  rng_init(&rng, graph->config.seed, RNG_INIT, index, 0);
  for (size_t i = 0; i < parameter->count; i++)
    parameter->value[i] = (2.0f * rng_uniform(&rng) - 1.0f) * bound;
  if (isinf(node->initial[which]))
    spectral_unit(parameter->value, parameter->count);
}

void parameters_bind(struct graph *graph) {
  graph->values = graph_buffer(graph, graph->parameter_buffers[REGION_VALUES]);
  graph->gradients = graph_buffer(graph, graph->parameter_buffers[REGION_GRADIENTS]);
  graph->momenta = graph_buffer(graph, graph->parameter_buffers[REGION_MOMENTA]);
  graph->squares = graph_buffer(graph, graph->parameter_buffers[REGION_SQUARES]);
  (void)place(graph, WITH_DECAY, 0, true);
  (void)place(graph, WITHOUT_DECAY, graph->decay_count, true);
  (void)place(graph, STATISTICS, 0, true);
  for (uint32_t n = 0; n < graph->node_count; n++)
    for (int which = 0; which < NODE_PARAMETERS; which++)
      if (graph->nodes[n].parameter[which] >= 0)
        initialise(graph, &graph->nodes[n], which, (uint32_t)graph->nodes[n].parameter[which]);
  graph_parameters_changed(graph);
}

uint32_t graph_parameters(struct graph *graph) {
  return graph->parameter_count;
}

struct graph_parameter *graph_parameter(struct graph *graph, uint32_t i) {
  return i < graph->parameter_count ? &graph->parameters[i] : NULL;
}

void graph_parameters_changed(struct graph *graph) {
  graph->forward_stale = graph->backward_stale = true;
}

float *graph_gradients(struct graph *graph, uint64_t *ret_count) {
  if (ret_count)
    *ret_count = graph->gradients ? graph->trainable_count : 0;
  return graph->gradients;
}

int graph_copy_parameters(struct graph *target, struct graph *source, struct guise_error *err) {
  if (target->parameter_count != source->parameter_count)
    return error_set(err, -EINVAL, "the networks differ: %u and %u parameters", target->parameter_count,
                     source->parameter_count);
  for (uint32_t i = 0; i < target->parameter_count; i++) {
    const struct graph_parameter *to = &target->parameters[i], *from = &source->parameters[i];
    if (strcmp(to->name, from->name) != 0 || to->rank != from->rank ||
        memcmp(to->shape, from->shape, sizeof(to->shape)) != 0)
      return error_set(err, -EINVAL, "the networks differ: %s and %s, or their shapes", to->name, from->name);
  }
  for (uint32_t i = 0; i < target->parameter_count; i++)
    memcpy(target->parameters[i].value, source->parameters[i].value,
           source->parameters[i].count * sizeof(float));
  graph_parameters_changed(target);
  return 0;
}

void graph_sgd(struct graph *graph, float rate, float momentum, float decay) {
  if (!graph->gradients)
    return;
  const int threads = (int)graph->config.threads;
  const uint64_t blocks = graph->trainable_count / PAD, decayed = graph->decay_count / PAD;
#pragma omp parallel for num_threads(threads) schedule(static, 1)
  for (int thread = 0; thread < threads; thread++) {
    const uint64_t begin = share_begin(blocks, thread, threads),
                   end = share_begin(blocks, thread + 1, threads);
    const uint64_t middle = MIN(MAX(begin, decayed), end);
    graph->kernels->sgd(graph->values + begin * PAD, graph->momenta + begin * PAD,
                        graph->gradients + begin * PAD, (middle - begin) * PAD, rate, momentum, decay);
    graph->kernels->sgd(graph->values + middle * PAD, graph->momenta + middle * PAD,
                        graph->gradients + middle * PAD, (end - middle) * PAD, rate, momentum, 0.0f);
  }
  graph_parameters_changed(graph);
}

uint64_t graph_trained_numbers(struct graph *graph) {
  uint64_t count = 0;
  for (uint32_t i = 0; i < graph_parameters(graph); i++) {
    const struct graph_parameter *parameter = graph_parameter(graph, i);
    count += parameter->gradient ? parameter->count : 0;
  }
  return count;
}
