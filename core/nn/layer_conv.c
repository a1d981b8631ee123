/* Convolution, plain, grouped or depthwise. Master weights stay plain; the library's own formats are copies.
 */
#include <math.h>

#include "core/nn/graph_internal.h"

#define PLAIN_CHANNELS_MAX 4u /* what the library reads plain without loss */

static uint32_t groups(const struct conv_options *options) {
  return MAX(options->groups, 1u);
}

int graph_conv(struct graph *graph, int x, const char *name, const struct conv_options *options) {
  const struct node *source = graph_operand(graph, x, name);
  if (!source)
    return graph->error.code;
  const uint32_t k = options->kernel, s = options->stride, p = options->padding, g = groups(options);
  if (k == 0 || k > 31 || s == 0 || s > 31 || p >= k || options->out_channels == 0)
    return GRAPH_FAIL(graph, -EINVAL, "%s: kernel %u, stride %u, padding %u, %u channels is no convolution",
                      name, k, s, p, options->out_channels);
  if (source->shape.h + 2 * p < k || source->shape.w + 2 * p < k)
    return GRAPH_FAIL(graph, -EINVAL, "%s: a %u x %u kernel does not fit into %u x %u pixels", name, k, k,
                      source->shape.h, source->shape.w);
  if (source->shape.c % g != 0 || options->out_channels % g != 0)
    return GRAPH_FAIL(graph, -EINVAL, "%s: %u groups do not divide %u and %u channels", name, g,
                      source->shape.c, options->out_channels);
  if (g > 1 && source->shape.c != options->out_channels)
    return GRAPH_FAIL(graph, -EINVAL, "%s: a grouped convolution keeps its %u channels here, not %u", name,
                      source->shape.c, options->out_channels);
  const struct shape shape = {options->out_channels, (source->shape.h + 2 * p - k) / s + 1,
                              (source->shape.w + 2 * p - k) / s + 1};
  const bool global = g == source->shape.c && p == 0 && k == source->shape.h && k == source->shape.w;
  struct node *node = graph_append(graph, global ? &layer_global_conv : &layer_conv, shape, name);
  if (node)
    node->conv = *options;
  return graph_connect(graph, node, x, -1);
}

static int parameters(struct graph *graph, struct node *node) {
  const uint64_t shape[4] = {node->conv.out_channels,
                             graph->nodes[node->input[0]].shape.c / groups(&node->conv), node->conv.kernel,
                             node->conv.kernel};
  int r = parameter_add(graph, node, WEIGHT, "weight", 4, shape, NAN);
  if (r == 0 && node->conv.bias)
    r = parameter_add(graph, node, BIAS, "bias", 1, shape, NAN);
  return r;
}

static int run_forward(struct graph *graph, const struct op *op, struct guise_error *err) {
  return conv_run(graph->convs[op->index].conv, CONV_FORWARD, err);
}

static int run_backward_weights(struct graph *graph, const struct op *op, struct guise_error *err) {
  return conv_run(graph->convs[op->index].conv, CONV_BACKWARD_WEIGHTS, err);
}

static int run_backward_data(struct graph *graph, const struct op *op, struct guise_error *err) {
  return conv_run(graph->convs[op->index].conv, CONV_BACKWARD_DATA, err);
}

static int forward(struct graph *graph, int index) {
  struct node *node = &graph->nodes[index];
  const struct node *source = &graph->nodes[node->input[0]];
  struct conv_slot *slot = array_grow((void **)&graph->convs, &graph->conv_count, sizeof(*slot));
  if (!slot)
    return GRAPH_FAIL(graph, -ENOMEM, "out of memory");
  *slot = (struct conv_slot){.node = index, .x = source->value, .dx = -1, .dy = -1};
  for (int pass = 0; pass < CONV_PASSES; pass++)
    slot->own[pass] = -1;
  if (node->half && !source->half)
    return GRAPH_FAIL(graph, -EINVAL, "%s: a bfloat16 convolution cannot read float32 values", node->name);
  const struct conv_shape shape = {
      .batch = graph->config.batch,
      .in_channels = source->shape.c,
      .in_height = source->shape.h,
      .in_width = source->shape.w,
      .out_channels = node->shape.c,
      .out_height = node->shape.h,
      .out_width = node->shape.w,
      .kernel = node->conv.kernel,
      .stride = node->conv.stride,
      .padding = node->conv.padding,
      .groups = groups(&node->conv),
      .block = graph->block,
      .bias = node->conv.bias,
      .plain_input = source->plain,
      .half = node->half,
      .training = graph->config.training,
      .input_gradient = source->wants_gradient,
      .winograd = graph->config.winograd,
  };
  int r = conv_new(graph->context, &shape, node->name, &slot->conv, &graph->error);
  if (r < 0)
    return r;
  slot->y = node->value = graph_value(graph, index, -1);
  graph->scratch_bytes = MAX(graph->scratch_bytes, conv_scratch_bytes(slot->conv));
  for (enum conv_pass pass = 0; pass < CONV_PASSES; pass++) {
    const size_t bytes = conv_weights_bytes(slot->conv, pass);
    if (bytes > 0 && (slot->own[pass] = plan_buffer(graph, bytes, pass != CONV_BACKWARD_WEIGHTS)) < 0)
      return slot->own[pass];
  }
  struct op *op = graph_emit(graph, "forward", run_forward, index, (int)graph->conv_count - 1);
  if (!op || node->value < 0)
    return graph->error.code;
  op->buffer[0] = slot->x;
  op->buffer[1] = slot->y;
  return 0;
}

static int backward(struct graph *graph, int index, int dy) {
  const struct node *node = &graph->nodes[index];
  int at = 0;
  while (graph->convs[at].node != index)
    at++;
  struct conv_slot *slot = &graph->convs[at];
  slot->dy = dy;
  struct op *op = graph_emit(graph, "backward weights", run_backward_weights, index, at);
  if (!op)
    return graph->error.code;
  op->buffer[0] = slot->x;
  op->buffer[1] = dy;
  op->buffer[2] = slot->own[CONV_BACKWARD_WEIGHTS];
  if (!graph->nodes[node->input[0]].wants_gradient)
    return 0;
  slot->dx = graph_tensor(graph, &graph->nodes[node->input[0]]);
  op = graph_emit(graph, "backward data", run_backward_data, index, at);
  if (!op || slot->dx < 0)
    return graph->error.code;
  op->buffer[0] = dy;
  op->buffer[1] = slot->dx;
  return graph_contribute(graph, node->input[0], slot->dx);
}

static bool reads_plain(const struct node *node, const struct node *source) {
  return source->shape.c <= PLAIN_CHANNELS_MAX && groups(&node->conv) == 1;
}

const struct layer_type layer_conv = {.name = "conv",
                                      .reads_plain = reads_plain,
                                      .parameters = parameters,
                                      .forward = forward,
                                      .backward = backward};

static float *optional(const struct graph_parameter *parameter, bool gradient) {
  return !parameter ? NULL : gradient ? parameter->gradient : parameter->value;
}

int convs_bind(struct graph *graph) {
  for (uint32_t i = 0; i < graph->conv_count; i++) {
    const struct conv_slot *slot = &graph->convs[i];
    const struct node *node = &graph->nodes[slot->node];
    const struct graph_parameter *weight = node_parameter(graph, node, WEIGHT),
                                 *bias = node_parameter(graph, node, BIAS);
    struct conv_memory memory = {
        .x = graph_buffer(graph, slot->x),
        .y = graph_buffer(graph, slot->y),
        .dx = graph_buffer(graph, slot->dx),
        .dy = graph_buffer(graph, slot->dy),
        .weights = optional(weight, false),
        .weights_gradient = optional(weight, true),
        .bias = optional(bias, false),
        .bias_gradient = optional(bias, true),
        .scratch = graph_buffer(graph, graph->scratch_buffer),
    };
    for (int pass = 0; pass < CONV_PASSES; pass++)
      memory.own[pass] = graph_buffer(graph, slot->own[pass]);
    int r = conv_bind(slot->conv, &memory, &graph->error);
    if (r < 0)
      return r;
  }
  return 0;
}
