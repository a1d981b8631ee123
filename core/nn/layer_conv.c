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
  const bool global = g == source->shape.c && options->out_channels == g && p == 0 && k == source->shape.h &&
                      k == source->shape.w && !options->spectral_norm;
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
  if (r == 0 && node->conv.spectral_norm)
    r = spectral_parameters(graph, node);
  return r;
}

/* With low memory a pass's copy of the weights lives for the pass alone; weights under spectral norm are new
 * in every pass. */
static int run_pass(struct graph *graph, const struct op *op, enum conv_pass pass, struct guise_error *err) {
  struct conv *conv = graph->convs[op->index].conv;
  const bool load =
      pass != CONV_BACKWARD_WEIGHTS && (graph->config.low_memory || graph->nodes[op->node].spectral >= 0);
  int r = load ? conv_load_weights(conv, pass, err) : 0;
  return r < 0 ? r : conv_run(conv, pass, err);
}

static int run_again(struct graph *graph, const struct op *op, struct guise_error *err) {
  struct conv *conv = graph->convs[op->index].conv;
  int r = conv_load_weights(conv, CONV_FORWARD, err);
  return r < 0 ? r : conv_run_again(conv, err);
}

static int run_forward(struct graph *graph, const struct op *op, struct guise_error *err) {
  return run_pass(graph, op, CONV_FORWARD, err);
}

static int run_backward_weights(struct graph *graph, const struct op *op, struct guise_error *err) {
  return run_pass(graph, op, CONV_BACKWARD_WEIGHTS, err);
}

static int run_backward_data(struct graph *graph, const struct op *op, struct guise_error *err) {
  return run_pass(graph, op, CONV_BACKWARD_DATA, err);
}

/* ---- folding, in forward-only graphs ---- conv -> batch norm becomes a convolution with other weights and a
 * bias; an addition whose other operand is read by nobody later may become part of it. */

/* The only reader of a node, or -1. */
static int sole_reader(const struct graph *graph, int index) {
  if (graph->nodes[index].consumers != 1 || index == graph->output)
    return -1;
  for (uint32_t i = 0; i < graph->node_count; i++)
    for (uint32_t k = 0; k < graph->nodes[i].inputs; k++)
      if (graph->nodes[i].input[k] == index)
        return (int)i;
  return -1;
}

/* Weights under spectral norm change in every pass, and a transposed convolution's are (I,O,K,K): neither is
 * folded. */
static bool may_fold(const struct graph *graph, int index) {
  const struct node *node = &graph->nodes[index];
  return graph->config.folded && node->type == &layer_conv && !node->conv.spectral_norm;
}

void convs_fold(struct graph *graph) {
  for (uint32_t i = 0; i < graph->node_count; i++) {
    const int reader = may_fold(graph, (int)i) ? sole_reader(graph, (int)i) : -1;
    if (reader >= 0 && graph->nodes[reader].type == &layer_batch_norm)
      graph->nodes[reader].absorbed = true;
  }
}

/* The buffer onto which the convolution whose chain ends at `end` may add its result for the addition `add`;
 * -1: none. */
static int sum_target(const struct graph *graph, int index, int end, const struct node *add) {
  const int other = add->input[0] == end ? add->input[1] : add->input[0];
  const struct node *node = &graph->nodes[other], *conv = &graph->nodes[index];
  if (other == end || node->value < 0 || node->plain || node->half != conv->half ||
      graph->buffers[node->value].pinned || node->value == graph->nodes[conv->input[0]].value)
    return -1;
  for (int i = index; i < (int)graph->node_count; i++) /* readers before it have run */
    for (uint32_t k = 0; k < graph->nodes[i].inputs; k++)
      if (graph->nodes[i].input[k] == other && &graph->nodes[i] != add)
        return -1;
  return node->value;
}

/* Completes the shape with what the convolution is to do beyond itself. Returns the addition it may take
 * over, or -1, and the buffer to add to. */
static int choose_fusion(struct graph *graph, int index, struct conv_slot *slot, struct conv_shape *shape,
                         int *ret_target) {
  int end = index;
  *ret_target = -1;
  if (!may_fold(graph, index))
    return -1;
  const int reader = sole_reader(graph, index);
  if (reader >= 0 && graph->nodes[reader].absorbed)
    slot->norm = end = reader;
  shape->folded = slot->folded = true;
  shape->bias |= slot->norm >= 0;
  const int next = sole_reader(graph, end);
  if (next < 0 || next == graph->output || graph->nodes[next].type != &layer_add)
    return -1;
  *ret_target = sum_target(graph, index, end, &graph->nodes[next]);
  shape->sum = *ret_target >= 0;
  return shape->sum ? next : -1;
}

/* Scale and shift of the batch norm go into plain weights in a buffer that all convolutions share, and into
 * the bias. */
static void fold_weights(struct graph *graph, const struct conv_slot *slot) {
  const struct node *node = &graph->nodes[slot->node];
  const struct graph_parameter *weight = node_parameter(graph, node, WEIGHT),
                               *own = node_parameter(graph, node, BIAS);
  float *plain = graph_buffer(graph, graph->plain_buffer), *bias = graph_buffer(graph, slot->bias);
  const size_t size = weight->count / weight->shape[0];
  for (uint32_t o = 0; o < node->shape.c; o++) {
    double scale = 1, shift = 0;
    if (slot->norm >= 0)
      norm_folded(graph, slot->norm, o, &scale, &shift);
    for (size_t i = 0; i < size; i++)
      plain[o * size + i] = (float)((double)weight->value[o * size + i] * scale);
    if (bias)
      bias[o] = (float)(shift + (own ? scale * (double)own->value[o] : 0));
  }
}

int convs_load_weights(struct graph *graph, enum conv_pass pass, struct guise_error *err) {
  for (uint32_t i = 0; !graph->config.low_memory && i < graph->conv_count; i++) {
    if (graph->nodes[graph->convs[i].node].spectral >= 0)
      continue;
    if (graph->convs[i].folded)
      fold_weights(graph, &graph->convs[i]);
    int r = conv_load_weights(graph->convs[i].conv, pass, err);
    if (r < 0)
      return r;
  }
  return 0;
}

/* ---- operations ---- */

/* Bytes. Low memory leaves Winograd out where its scratch memory would outgrow this: the largest tensor, or a
 * huge page, to whole ones of which the arena is rounded up anyway. */
static size_t scratch_most(const struct graph *graph) {
  size_t most = 0;
  for (uint32_t i = 0; i < graph->node_count; i++)
    most = MAX(most, layout_count(graph, &graph->nodes[i]) * node_element(&graph->nodes[i]));
  return MAX(most * graph->config.batch, (size_t)2 << 20);
}

/* An operation of a pass, for the convolution `at`. */
static struct op *emit_pass(struct graph *graph, const char *what, enum conv_pass pass,
                            int (*run)(struct graph *graph, const struct op *op, struct guise_error *err),
                            int index, int at) {
  struct op *op = graph_emit(graph, what, run, index, at);
  if (!op)
    return NULL;
  const struct node *node = &graph->nodes[index];
  const struct shape positions =
      node->type == &layer_conv_transpose ? graph->nodes[node->input[0]].shape : node->shape;
  op->algorithm = conv_algorithm(graph->convs[at].conv, pass);
  op->flops = 2.0 * (double)node_parameter(graph, node, WEIGHT)->count * (double)shape_rows(positions) *
              graph->config.batch;
  return op;
}

static int forward(struct graph *graph, int index) {
  struct node *node = &graph->nodes[index];
  const struct node *source = &graph->nodes[node->input[0]];
  struct conv_slot *slot = array_grow((void **)&graph->convs, &graph->conv_count, sizeof(*slot));
  if (!slot)
    return GRAPH_FAIL(graph, -ENOMEM, "out of memory");
  *slot = (struct conv_slot){.node = index,
                             .x = source->value,
                             .x_again = -1,
                             .y_again = -1,
                             .dx = -1,
                             .dy = -1,
                             .norm = -1,
                             .bias = -1};
  for (int pass = 0; pass < CONV_PASSES; pass++)
    slot->own[pass] = -1;
  if (node->half && !source->half)
    return GRAPH_FAIL(graph, -EINVAL,
                      "%s: a bfloat16 convolution cannot read float32 values; put graph_reshape() between",
                      node->name);
  struct conv_shape shape = {
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
      .transposed = node->type == &layer_conv_transpose,
      .plain_input = source->plain,
      .half = node->half,
      .training = graph->config.training,
      .input_gradient = source->wants_gradient,
      .winograd = graph->config.winograd,
      .scratch_most = graph->config.low_memory ? scratch_most(graph) : 0,
  };
  int target;
  const int add = choose_fusion(graph, index, slot, &shape, &target);
  int r = conv_new(graph->context, &shape, node->name, &slot->conv, &graph->error);
  if (r < 0)
    return r;
  const bool sums = add >= 0 && conv_sums(slot->conv);
  slot->y = node->value = sums ? target : graph_value(graph, index, -1);
  if (slot->norm >= 0)
    graph->nodes[slot->norm].value = node->value;
  if (sums) {
    graph->nodes[add].absorbed = true;
    graph->nodes[add].value = node->value;
  }
  if (shape.folded)
    graph->plain_bytes = MAX(graph->plain_bytes, node_parameter(graph, node, WEIGHT)->count * sizeof(float));
  if (shape.folded && shape.bias &&
      (slot->bias = plan_buffer(graph, graph_padded(graph, node->shape.c) * sizeof(float), true)) < 0)
    return slot->bias;
  for (enum conv_pass pass = 0; pass < CONV_PASSES; pass++) {
    const size_t bytes = conv_weights_bytes(slot->conv, pass);
    const bool pinned = pass != CONV_BACKWARD_WEIGHTS && !graph->config.low_memory;
    if (bytes > 0 && (slot->own[pass] = plan_buffer(graph, bytes, pinned)) < 0)
      return slot->own[pass];
    slot->scratch[pass] = plan_buffer(graph, conv_scratch_bytes(slot->conv, pass), false);
    if (slot->scratch[pass] < 0)
      return slot->scratch[pass];
  }
  if (node->type == &layer_conv && node->conv.spectral_norm && (r = spectral_forward(graph, index)) < 0)
    return r;
  struct op *op = emit_pass(graph, "forward", CONV_FORWARD, run_forward, index, (int)graph->conv_count - 1);
  if (!op || node->value < 0)
    return graph->error.code;
  op->buffer[0] = slot->x;
  op->buffer[1] = slot->y;
  op->buffer[2] = slot->own[CONV_FORWARD];
  op->buffer[3] = slot->scratch[CONV_FORWARD];
  return 0;
}

static struct conv_slot *slot_of(struct graph *graph, int index) {
  uint32_t at = 0;
  while (graph->convs[at].node != index)
    at++;
  return &graph->convs[at];
}

int conv_again(struct graph *graph, int index) {
  struct conv_slot *slot = slot_of(graph, index);
  slot->y_again = graph_tensor(graph, &graph->nodes[index]);
  struct op *op = emit_pass(graph, "again", CONV_FORWARD, run_again, index, (int)(slot - graph->convs));
  if (!op || slot->y_again < 0)
    return graph->error.code;
  op->buffer[0] = slot->x;
  op->buffer[1] = slot->y_again;
  op->buffer[2] = slot->own[CONV_FORWARD];
  op->buffer[3] = slot->scratch[CONV_FORWARD];
  return slot->y_again;
}

static int backward(struct graph *graph, int index, int dy) {
  const struct node *node = &graph->nodes[index];
  struct conv_slot *slot = slot_of(graph, index);
  const int at = (int)(slot - graph->convs);
  slot->dy = dy;
  slot->x_again = graph_value_again(graph, node->input[0]);
  struct op *op =
      emit_pass(graph, "backward weights", CONV_BACKWARD_WEIGHTS, run_backward_weights, index, at);
  if (!op)
    return graph->error.code;
  op->buffer[0] = slot->x_again;
  op->buffer[1] = dy;
  op->buffer[2] = slot->own[CONV_BACKWARD_WEIGHTS];
  op->buffer[3] = slot->scratch[CONV_BACKWARD_WEIGHTS];
  int r = node->spectral < 0 ? 0 : spectral_backward(graph, index);
  if (r < 0)
    return r;
  if (!graph->nodes[node->input[0]].wants_gradient)
    return 0;
  slot->dx = graph_tensor(graph, &graph->nodes[node->input[0]]);
  op = emit_pass(graph, "backward data", CONV_BACKWARD_DATA, run_backward_data, index, at);
  if (!op || slot->dx < 0)
    return graph->error.code;
  op->buffer[0] = dy;
  op->buffer[1] = slot->dx;
  op->buffer[2] = slot->own[CONV_BACKWARD_DATA];
  op->buffer[3] = slot->scratch[CONV_BACKWARD_DATA];
  return graph_contribute(graph, node->input[0], slot->dx);
}

static bool reads_plain(const struct node *node, const struct node *source) {
  return source->shape.c <= PLAIN_CHANNELS_MAX && groups(&node->conv) == 1;
}

int conv_visit(const struct graph *graph, int index, const struct graph_visitor *visitor) {
  const struct node *node = &graph->nodes[index];
  const struct graph_parameter *bias = node_parameter(graph, node, BIAS);
  struct conv_options options = node->conv;
  if (!visitor->conv || options.spectral_norm)
    return -ENOTSUP;
  options.groups = groups(&options);
  return visitor->conv(visitor->context, graph_value_of(graph, node->input[0]), &options,
                       node_parameter(graph, node, WEIGHT)->value, bias ? bias->value : NULL,
                       graph_value_of(graph, index));
}

const struct layer_type layer_conv = {.name = "conv",
                                      .half_value = true,
                                      .reads_plain = reads_plain,
                                      .parameters = parameters,
                                      .forward = forward,
                                      .backward = backward,
                                      .visit = conv_visit};

static float *optional(const struct graph_parameter *parameter, bool gradient) {
  return !parameter ? NULL : gradient ? parameter->gradient : parameter->value;
}

/* The plain weights a convolution is loaded from. */
static float *weights_of(const struct graph *graph, const struct conv_slot *slot) {
  const struct node *node = &graph->nodes[slot->node];
  if (slot->folded)
    return graph_buffer(graph, graph->plain_buffer);
  return node->spectral < 0 ? node_parameter(graph, node, WEIGHT)->value : spectral_weights(graph, node);
}

int convs_bind(struct graph *graph) {
  for (uint32_t i = 0; i < graph->conv_count; i++) {
    const struct conv_slot *slot = &graph->convs[i];
    const struct node *node = &graph->nodes[slot->node];
    const struct graph_parameter *weight = node_parameter(graph, node, WEIGHT),
                                 *bias = node_parameter(graph, node, BIAS);
    struct conv_memory memory = {
        .x = graph_buffer(graph, slot->x),
        .x_again = graph_buffer(graph, slot->x_again),
        .y_again = graph_buffer(graph, slot->y_again),
        .y = graph_buffer(graph, slot->y),
        .dx = graph_buffer(graph, slot->dx),
        .dy = graph_buffer(graph, slot->dy),
        .weights = weights_of(graph, slot),
        .weights_gradient = optional(weight, true),
        .bias = slot->folded ? graph_buffer(graph, slot->bias) : optional(bias, false),
        .bias_gradient = optional(bias, true),
    };
    for (int pass = 0; pass < CONV_PASSES; pass++) {
      memory.own[pass] = graph_buffer(graph, slot->own[pass]);
      memory.scratch[pass] = graph_buffer(graph, slot->scratch[pass]);
    }
    int r = conv_bind(slot->conv, &memory, &graph->error);
    if (r < 0)
      return r;
  }
  return 0;
}
