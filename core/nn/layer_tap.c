/* Tap: the value of another layer, for who has a loss on hidden layers. It computes nothing: after the
 * forward pass the value lies in plain order in a buffer of its own, and the backward pass adds a second
 * buffer to the gradient, and clears it, so that what was put there counts once. */
#include <string.h>

#include "core/nn/graph_internal.h"

int graph_tap(struct graph *graph, int x) {
  const struct node *source = graph_operand(graph, x, "tap");
  if (!source)
    return graph->error.code;
  if (!graph->config.training)
    return x;
  return graph_connect(graph, graph_append(graph, &layer_tap, source->shape, NULL), x, -1);
}

static const struct node *tap_at(const struct graph *graph, uint32_t which) {
  for (uint32_t i = 0; i < graph->node_count; i++)
    if (graph->nodes[i].type == &layer_tap && which-- == 0)
      return &graph->nodes[i];
  return NULL;
}

uint32_t graph_taps(const struct graph *graph) {
  uint32_t count = 0;
  while (tap_at(graph, count))
    count++;
  return count;
}

struct graph_tap graph_tap_data(const struct graph *graph, uint32_t which) {
  const struct node *node = tap_at(graph, which);
  return (struct graph_tap){.count = shape_count(node->shape),
                            .value = graph_buffer(graph, node->extra),
                            .gradient = graph_buffer(graph, node->tap_gradient)};
}

static int forward(struct graph *graph, int index) {
  struct node *node = &graph->nodes[index];
  const size_t bytes = graph->config.batch * shape_count(node->shape) * sizeof(float);
  node->value = graph->nodes[node->input[0]].value;
  node->extra = plan_buffer(graph, bytes, true);
  node->tap_gradient = plan_buffer(graph, bytes, true);
  struct op *op = graph_emit(graph, "tap", layout_run_unpack, index, 0);
  if (!op || node->extra < 0 || node->tap_gradient < 0)
    return graph->error.code;
  op->buffer[0] = node->value;
  op->buffer[1] = node->extra;
  return 0;
}

/* plain gradient, tensor */
static int run_backward(struct graph *graph, const struct op *op, struct guise_error *err) {
  const struct node *node = &graph->nodes[op->node];
  int r = layout_run_pack(graph, op, err);
  memset(graph_buffer(graph, op->buffer[0]), 0,
         graph->config.batch * shape_count(node->shape) * sizeof(float));
  return r;
}

static int backward(struct graph *graph, int index, int dy) {
  const struct node *node = &graph->nodes[index];
  const int fresh = graph_tensor(graph, node);
  struct op *op = graph_emit(graph, "backward", run_backward, index, 0);
  if (!op || fresh < 0)
    return graph->error.code;
  op->buffer[0] = node->tap_gradient;
  op->buffer[1] = fresh;
  if (!(op = graph_emit(graph, "accumulate", graph_run_accumulate, index, 0)))
    return graph->error.code;
  op->buffer[0] = fresh;
  op->buffer[1] = dy;
  return graph_contribute(graph, node->input[0], fresh);
}

const struct layer_type layer_tap = {.name = "tap", .forward = forward, .backward = backward};
