/* The input: plain floats of the user, which the first layers read as they are or blocked. */
#include "core/nn/graph_internal.h"

int graph_input(struct graph *graph, uint32_t channels, uint32_t height, uint32_t width) {
  if (graph->error.code < 0)
    return graph->error.code;
  if (graph->input >= 0)
    return GRAPH_FAIL(graph, -EINVAL, "a graph has one input");
  struct node *node = graph_append(graph, &layer_input, (struct shape){channels, height, width}, NULL);
  graph->input = graph_connect(graph, node, -1, -1);
  return graph->input;
}

static int forward(struct graph *graph, int index) {
  struct node *node = &graph->nodes[index];
  const size_t plain = graph->config.batch * shape_count(node->shape) * sizeof(float);
  graph->input_buffer = plan_buffer(graph, plain, true);
  if (graph->input_buffer < 0)
    return graph->input_buffer;
  if (node->plain) {
    node->value = graph->input_buffer;
    return 0;
  }
  node->value = graph_tensor(graph, node);
  struct op *op = graph_emit(graph, "pack", layout_run_pack, index, 0);
  if (!op || node->value < 0)
    return graph->error.code;
  op->buffer[0] = graph->input_buffer;
  op->buffer[1] = node->value;
  return 0;
}

static int backward(struct graph *graph, int index, int dy) {
  const struct node *node = &graph->nodes[index];
  graph->input_gradient_buffer =
      plan_buffer(graph, graph->config.batch * shape_count(node->shape) * sizeof(float), true);
  struct op *op = graph_emit(graph, "unpack", layout_run_unpack, index, 0);
  if (!op || graph->input_gradient_buffer < 0)
    return graph->error.code;
  op->buffer[0] = dy;
  op->buffer[1] = graph->input_gradient_buffer;
  return 0;
}

static int visit(const struct graph *graph, int index, const struct graph_visitor *visitor) {
  return visitor->input ? visitor->input(visitor->context, graph_value_of(graph, index)) : -ENOTSUP;
}

const struct layer_type layer_input = {
    .name = "input", .plain_value = true, .forward = forward, .backward = backward, .visit = visit};
