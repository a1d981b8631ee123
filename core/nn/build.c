/* From nodes to operations.
 *
 * Fusion: a batch norm read by one PReLU, and batch norms read by one addition, disappear into a single
 * element-wise group ("pointwise"); what is alone becomes a group of its own. A batch norm whose input is
 * written by a group gets its statistics from that pass.
 *
 * Gradients: walking backwards, each node has a "pending" buffer, the sum of what its readers sent so far.
 * The first contribution may be somebody else's buffer (the residual of an addition is the gradient itself);
 * a group that comes later adds it in its own pass. `holders` counts the nodes whose pending gradient is a
 * buffer: one without holders may be overwritten in place. */
#include <omp.h>
#include <string.h>

#include "core/nn/graph_internal.h"

#define FAIL(graph, code, ...) error_set(&(graph)->error, code, __VA_ARGS__)

static bool is_pointwise(const struct node *node) {
  return node->kind == NODE_BATCH_NORM || node->kind == NODE_PRELU || node->kind == NODE_ADD;
}

static size_t value_bytes(const struct graph *graph, const struct node *node) {
  const uint32_t channels = node->plain ? node->shape.c : graph_padded(graph, node->shape.c);
  return graph->config.batch * channels * shape_rows(node->shape) * sizeof(float);
}

/* A blocked value or gradient of the node's shape. */
static int new_tensor(struct graph *graph, const struct node *node) {
  return plan_buffer(graph,
                     graph->config.batch * graph_padded(graph, node->shape.c) * shape_rows(node->shape) *
                         sizeof(float),
                     false);
}

static struct op *emit(struct graph *graph, enum op_kind kind, int node, int index) {
  struct op *op = array_grow((void **)&graph->ops, &graph->op_count, sizeof(*op));
  if (!op) {
    FAIL(graph, -ENOMEM, "out of memory");
    return NULL;
  }
  op->kind = kind;
  op->node = node;
  op->index = index;
  for (int i = 0; i < OP_BUFFERS; i++)
    op->buffer[i] = -1;
  return op;
}

/* ---- checks and analysis ---- */

static int check_description(struct graph *graph) {
  if (graph->input < 0 || graph->output < 0)
    return FAIL(graph, -EINVAL, "a graph needs an input and an output");
  if (graph->config.input_gradient && !graph->config.training)
    return FAIL(graph, -EINVAL, "the gradient of the input needs a graph for training");
  graph->nodes[graph->output].consumers = 1;
  uint32_t dropouts = 0;
  for (uint32_t i = 0; i < graph->node_count; i++) {
    struct node *node = &graph->nodes[i];
    for (uint32_t k = 0; k < node->inputs; k++)
      graph->nodes[node->input[k]].consumers++;
    dropouts += node->kind == NODE_DROPOUT;
  }
  for (uint32_t i = 0; i < graph->node_count; i++)
    if (graph->nodes[i].consumers == 0)
      return FAIL(graph, -EINVAL, "layer %u (%s) leads nowhere; use it or leave it out", i,
                  graph->nodes[i].name ? graph->nodes[i].name : "unnamed");
  if (dropouts > 256)
    return FAIL(graph, -EINVAL, "at most 256 dropout layers are possible, not %u", dropouts);
  return 0;
}

/* Convolutions read up to 4 plain channels without loss, the block IDCT reads either; everything else wants
 * blocks. */
static bool may_be_plain(const struct graph *graph, int index) {
  const struct node *node = &graph->nodes[index];
  if ((node->kind != NODE_INPUT && node->kind != NODE_IDCT) || index == graph->output)
    return false;
  for (uint32_t i = 0; i < graph->node_count; i++)
    for (uint32_t k = 0; k < graph->nodes[i].inputs; k++) {
      const enum node_kind reader = graph->nodes[i].kind;
      if (graph->nodes[i].input[k] != index)
        continue;
      if (reader != NODE_IDCT && !(reader == NODE_CONV && node->shape.c <= 4))
        return false;
    }
  return true;
}

static void analyse(struct graph *graph) {
  for (uint32_t i = 0; i < graph->node_count; i++) {
    struct node *node = &graph->nodes[i];
    node->plain = may_be_plain(graph, (int)i);
    node->wants_gradient = graph->config.training &&
                           ((int)i == graph->input ? graph->config.input_gradient : node->name != NULL);
    for (uint32_t k = 0; k < node->inputs; k++) {
      struct node *source = &graph->nodes[node->input[k]];
      node->wants_gradient |= source->wants_gradient;
      if (source->kind == NODE_BATCH_NORM && source->consumers == 1 &&
          (node->kind == NODE_ADD || node->kind == NODE_PRELU))
        source->fused = true;
    }
  }
}

static int add_norm(struct graph *graph, int node) {
  struct norm *norm = array_grow((void **)&graph->norms, &graph->norm_count, sizeof(*norm));
  if (!norm)
    return FAIL(graph, -ENOMEM, "out of memory");
  norm->node = node;
  graph->nodes[node].norm = (int)graph->norm_count - 1;
  return 0;
}

/* The operand `x` of a group: through a fused batch norm to its source. */
static void set_operand(const struct graph *graph, struct pointwise *group, uint32_t operand, int x) {
  const struct node *node = &graph->nodes[x];
  group->source[operand] = node->fused ? node->input[0] : x;
  group->norm[operand] = node->fused ? node->norm : -1;
}

static int add_group(struct graph *graph, int index) {
  struct pointwise *group = array_grow((void **)&graph->groups, &graph->group_count, sizeof(*group));
  if (!group)
    return FAIL(graph, -ENOMEM, "out of memory");
  const struct node *node = &graph->nodes[index];
  group->node = index;
  group->operands = node->inputs;
  group->prelu = node->kind == NODE_PRELU ? index : -1;
  group->source[1] = group->norm[1] = -1;
  if (node->kind == NODE_BATCH_NORM) {
    group->source[0] = node->input[0];
    group->norm[0] = node->norm;
    return 0;
  }
  /* The operand with a norm comes first: reduce_pass computes its product. */
  const bool swap = node->inputs == 2 && !graph->nodes[node->input[0]].fused;
  set_operand(graph, group, 0, node->input[swap ? 1 : 0]);
  if (node->inputs == 2)
    set_operand(graph, group, 1, node->input[swap ? 0 : 1]);
  return 0;
}

static struct pointwise *group_of(const struct graph *graph, int node) {
  for (uint32_t i = 0; i < graph->group_count; i++)
    if (graph->groups[i].node == node)
      return &graph->groups[i];
  return NULL;
}

static int find_groups(struct graph *graph) {
  int r = 0;
  for (uint32_t i = 0; r == 0 && i < graph->node_count; i++) {
    if (graph->nodes[i].kind == NODE_BATCH_NORM)
      r = add_norm(graph, (int)i);
    if (r == 0 && is_pointwise(&graph->nodes[i]) && !graph->nodes[i].fused)
      r = add_group(graph, (int)i);
  }
  for (uint32_t i = 0; r == 0 && i < graph->norm_count; i++) {
    struct norm *norm = &graph->norms[i];
    struct pointwise *producer = group_of(graph, graph->nodes[norm->node].input[0]);
    if (!producer)
      continue;
    int *gather = reallocarray(producer->gather, producer->gathers + 1, sizeof(int));
    if (!gather)
      return FAIL(graph, -ENOMEM, "out of memory");
    producer->gather = gather;
    gather[producer->gathers++] = (int)i;
    norm->from_producer = true;
  }
  return r;
}

/* ---- forward ---- */

/* Where the node's value goes: the output's own buffer when the layouts agree, its operand's memory when
 * nobody else needs that (forward-only graphs), else a new buffer. */
static int value_buffer(struct graph *graph, int index, int in_place) {
  const struct node *node = &graph->nodes[index];
  if (index == graph->output && shape_rows(node->shape) == 1 && node->shape.c % graph->block == 0)
    return graph->output_buffer;
  if (in_place >= 0 && !graph->config.training) {
    const struct node *source = &graph->nodes[in_place];
    if (source->consumers == 1 && !source->plain)
      return source->value;
  }
  return plan_buffer(graph, value_bytes(graph, node), false);
}

static int emit_input(struct graph *graph, struct node *node) {
  const size_t plain = graph->config.batch * shape_count(node->shape) * sizeof(float);
  graph->input_buffer = plan_buffer(graph, plain, true);
  if (graph->input_buffer < 0)
    return graph->input_buffer;
  if (node->plain) {
    node->value = graph->input_buffer;
    return 0;
  }
  node->value = new_tensor(graph, node);
  struct op *op = emit(graph, OP_PACK, graph->input, 0);
  if (!op || node->value < 0)
    return graph->error.code;
  op->buffer[0] = graph->input_buffer;
  op->buffer[1] = node->value;
  return 0;
}

static int emit_conv(struct graph *graph, int index) {
  struct node *node = &graph->nodes[index];
  const struct node *source = &graph->nodes[node->input[0]];
  struct conv_slot *slot = array_grow((void **)&graph->convs, &graph->conv_count, sizeof(*slot));
  if (!slot)
    return FAIL(graph, -ENOMEM, "out of memory");
  *slot = (struct conv_slot){.node = index, .x = source->value, .dx = -1, .dy = -1};
  for (int pass = 0; pass < CONV_PASSES; pass++)
    slot->own[pass] = -1;
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
      .block = graph->block,
      .bias = node->conv.bias,
      .plain_input = source->plain,
      .training = graph->config.training,
      .input_gradient = source->wants_gradient,
      .winograd = graph->config.winograd,
  };
  int r = conv_new(graph->context, &shape, node->name, &slot->conv, &graph->error);
  if (r < 0)
    return r;
  slot->y = node->value = value_buffer(graph, index, -1);
  graph->scratch_bytes = MAX(graph->scratch_bytes, conv_scratch_bytes(slot->conv));
  for (enum conv_pass pass = 0; pass < CONV_PASSES; pass++) {
    const size_t bytes = conv_weights_bytes(slot->conv, pass);
    if (bytes > 0 && (slot->own[pass] = plan_buffer(graph, bytes, pass != CONV_BACKWARD_WEIGHTS)) < 0)
      return slot->own[pass];
  }
  struct op *op = emit(graph, OP_CONV_FORWARD, index, (int)graph->conv_count - 1);
  if (!op || node->value < 0)
    return graph->error.code;
  op->buffer[0] = slot->x;
  op->buffer[1] = slot->y;
  return 0;
}

static int emit_pointwise(struct graph *graph, int index) {
  const struct pointwise *group = group_of(graph, index);
  struct node *node = &graph->nodes[index];
  struct op *op = emit(graph, OP_POINTWISE_FORWARD, index, (int)(group - graph->groups));
  if (!op)
    return graph->error.code;
  node->value = value_buffer(graph, index, group->source[0]);
  op->buffer[0] = graph->nodes[group->source[0]].value;
  op->buffer[1] = group->operands == 2 ? graph->nodes[group->source[1]].value : -1;
  op->buffer[2] = node->value;
  return MIN(node->value, 0);
}

static int emit_dropout(struct graph *graph, int index, int ordinal) {
  struct node *node = &graph->nodes[index];
  node->value = value_buffer(graph, index, node->input[0]);
  node->extra =
      plan_buffer(graph, graph->config.batch * shape_count(node->shape), false); /* the mask, bytes */
  struct op *op = emit(graph, OP_DROPOUT_FORWARD, index, ordinal);
  if (!op || node->value < 0 || node->extra < 0)
    return graph->error.code;
  node->ordinal = ordinal;
  op->buffer[0] = graph->nodes[node->input[0]].value;
  op->buffer[1] = node->value;
  op->buffer[2] = node->extra;
  return 0;
}

static int emit_linear(struct graph *graph, int index) {
  struct node *node = &graph->nodes[index];
  const struct node *source = &graph->nodes[node->input[0]];
  const bool packed = shape_rows(source->shape) > 1;
  node->value = value_buffer(graph, index, -1);
  node->extra =
      packed ? plan_buffer(graph, graph->config.batch * shape_count(source->shape) * sizeof(float), false)
             : source->value;
  struct op *op = emit(graph, OP_LINEAR_FORWARD, index, 0);
  if (!op || node->value < 0 || node->extra < 0)
    return graph->error.code;
  op->buffer[0] = source->value;
  op->buffer[1] = node->extra;
  op->buffer[2] = node->value;
  return 0;
}

static int emit_idct(struct graph *graph, int index) {
  struct node *node = &graph->nodes[index];
  const struct node *source = &graph->nodes[node->input[0]];
  int r = block_dct_new(source->shape.h * DCT_BLOCK, &graph->dct, &graph->error);
  if (r < 0)
    return r;
  const size_t area = DCT_CHANNELS * shape_rows(source->shape) * sizeof(float);
  node->value = value_buffer(graph, index, -1);
  node->extra =
      plan_buffer(graph, graph->config.threads * 3 * area, true); /* pinned: coefficients stay zero */
  struct op *op = emit(graph, OP_IDCT_FORWARD, index, 0);
  if (!op || node->value < 0 || node->extra < 0)
    return graph->error.code;
  op->buffer[0] = source->value;
  op->buffer[1] = node->value;
  op->buffer[2] = node->extra;
  return 0;
}

static int emit_forward(struct graph *graph) {
  const struct node *output = &graph->nodes[graph->output];
  const size_t bytes = graph->config.batch * shape_count(output->shape) * sizeof(float);
  graph->output_buffer = plan_buffer(graph, bytes, true);
  int r = MIN(graph->output_buffer, 0), dropouts = 0;
  for (uint32_t i = 0; r == 0 && i < graph->node_count; i++) {
    struct node *node = &graph->nodes[i];
    if (node->kind == NODE_INPUT)
      r = emit_input(graph, node);
    else if (node->kind == NODE_CONV)
      r = emit_conv(graph, (int)i);
    else if (node->kind == NODE_DROPOUT)
      r = emit_dropout(graph, (int)i, dropouts++);
    else if (node->kind == NODE_LINEAR)
      r = emit_linear(graph, (int)i);
    else if (node->kind == NODE_IDCT)
      r = emit_idct(graph, (int)i);
    else if (!node->fused)
      r = emit_pointwise(graph, (int)i);
  }
  if (r == 0 && output->value != graph->output_buffer) {
    struct op *op = emit(graph, OP_UNPACK, graph->output, 0);
    if (!op)
      return graph->error.code;
    op->buffer[0] = output->value;
    op->buffer[1] = graph->output_buffer;
  }
  graph->forward_ops = graph->op_count;
  return r;
}

/* ---- backward ---- */

static uint32_t holders(const struct graph *graph, int buffer) {
  uint32_t count = 0;
  for (uint32_t i = 0; i < graph->node_count; i++)
    count += graph->nodes[i].pending == buffer;
  return count;
}

/* May the buffer be overwritten by an operation that is the last to read it? */
static bool exclusive(const struct graph *graph, int buffer, uint32_t allowed) {
  return !graph->buffers[buffer].pinned && holders(graph, buffer) <= allowed;
}

/* `fresh` holds a new contribution to the node's gradient; adds what is pending to it. */
static int contribute(struct graph *graph, int index, int fresh) {
  struct node *node = &graph->nodes[index];
  if (node->pending >= 0) {
    struct op *op = emit(graph, OP_ACCUMULATE, index, 0);
    if (!op)
      return graph->error.code;
    op->buffer[0] = fresh;
    op->buffer[1] = node->pending;
  }
  node->pending = fresh;
  return 0;
}

static int back_conv(struct graph *graph, int index, int dy) {
  const struct node *node = &graph->nodes[index];
  int at = 0;
  while (graph->convs[at].node != index)
    at++;
  struct conv_slot *slot = &graph->convs[at];
  slot->dy = dy;
  struct op *op = emit(graph, OP_CONV_BACKWARD_WEIGHTS, index, at);
  if (!op)
    return graph->error.code;
  op->buffer[0] = slot->x;
  op->buffer[1] = dy;
  op->buffer[2] = slot->own[CONV_BACKWARD_WEIGHTS];
  if (!graph->nodes[node->input[0]].wants_gradient)
    return 0;
  slot->dx = new_tensor(graph, &graph->nodes[node->input[0]]);
  op = emit(graph, OP_CONV_BACKWARD_DATA, index, at);
  if (!op || slot->dx < 0)
    return graph->error.code;
  op->buffer[0] = dy;
  op->buffer[1] = slot->dx;
  return contribute(graph, node->input[0], slot->dx);
}

/* An operand that is added as it is: its gradient is dy. */
static int back_identity(struct graph *graph, int source, int dy) {
  struct node *node = &graph->nodes[source];
  if (node->pending < 0) {
    node->pending = dy;
    return 0;
  }
  if (exclusive(graph, node->pending, 1) && node->pending != dy) {
    struct op *op = emit(graph, OP_ACCUMULATE, source, 0);
    if (!op)
      return graph->error.code;
    op->buffer[0] = node->pending;
    op->buffer[1] = dy;
    return 0;
  }
  return 1; /* needs a buffer of its own */
}

static int back_operand(struct graph *graph, const struct pointwise *group, uint32_t operand, int dy) {
  const int source = group->source[operand];
  struct node *node = &graph->nodes[source];
  if (!node->wants_gradient)
    return 0;
  if (group->norm[operand] < 0 && group->prelu < 0) {
    int r = back_identity(graph, source, dy);
    if (r <= 0)
      return r;
  }
  const bool last = operand == 0;
  const int dx = last && exclusive(graph, dy, 0) ? dy : new_tensor(graph, node);
  struct op *op = emit(graph, OP_POINTWISE_BACKWARD, group->node, (int)(group - graph->groups));
  if (!op || dx < 0)
    return graph->error.code;
  op->operand = (int)operand;
  op->buffer[0] = dy;
  op->buffer[1] = node->value;
  op->buffer[2] = node->pending;
  op->buffer[3] = dx;
  node->pending = dx;
  return 0;
}

static int back_pointwise(struct graph *graph, int index, int dy) {
  const struct pointwise *group = group_of(graph, index);
  if (group->norm[0] >= 0 || group->prelu >= 0) {
    struct op *op = emit(graph, OP_POINTWISE_REDUCE, index, (int)(group - graph->groups));
    if (!op)
      return graph->error.code;
    op->buffer[0] = dy;
    op->buffer[1] = graph->nodes[group->source[0]].value;
    op->buffer[2] = group->norm[1] >= 0 ? graph->nodes[group->source[1]].value : -1;
  }
  /* The first operand comes last, so that it may overwrite dy. */
  for (uint32_t operand = group->operands; operand-- > 0;) {
    int r = back_operand(graph, group, operand, dy);
    if (r < 0)
      return r;
  }
  return 0;
}

static int back_dropout(struct graph *graph, int index, int dy) {
  const struct node *node = &graph->nodes[index];
  const int dx = exclusive(graph, dy, 0) ? dy : new_tensor(graph, node);
  struct op *op = emit(graph, OP_DROPOUT_BACKWARD, index, node->ordinal);
  if (!op || dx < 0)
    return graph->error.code;
  op->buffer[0] = dy;
  op->buffer[1] = dx;
  op->buffer[2] = node->extra;
  return contribute(graph, node->input[0], dx);
}

static int back_linear(struct graph *graph, int index, int dy) {
  const struct node *node = &graph->nodes[index];
  const struct node *source = &graph->nodes[node->input[0]];
  const bool packed = shape_rows(source->shape) > 1;
  struct op *op = emit(graph, OP_LINEAR_BACKWARD, index, 0);
  if (!op)
    return graph->error.code;
  op->buffer[0] = dy;
  op->buffer[1] = node->extra;
  if (!source->wants_gradient)
    return 0;
  op->buffer[2] = new_tensor(graph, source);
  if (packed)
    op->buffer[3] =
        plan_buffer(graph, graph->config.batch * shape_count(source->shape) * sizeof(float), false);
  return graph->error.code < 0 ? graph->error.code : contribute(graph, node->input[0], op->buffer[2]);
}

static int back_idct(struct graph *graph, int index, int dy) {
  const struct node *node = &graph->nodes[index];
  struct node *source = &graph->nodes[node->input[0]];
  const int dx = new_tensor(graph, source);
  struct op *op = emit(graph, OP_IDCT_BACKWARD, index, 0);
  if (!op || dx < 0)
    return graph->error.code;
  op->buffer[0] = dy;
  op->buffer[1] = dx;
  op->buffer[2] = node->extra;
  return contribute(graph, node->input[0], dx);
}

static int back_node(struct graph *graph, int index) {
  struct node *node = &graph->nodes[index];
  if (node->fused || !node->wants_gradient || node->kind == NODE_INPUT)
    return 0;
  const int dy = node->pending;
  node->pending = -1;
  if (node->kind == NODE_CONV)
    return back_conv(graph, index, dy);
  if (node->kind == NODE_DROPOUT)
    return back_dropout(graph, index, dy);
  if (node->kind == NODE_LINEAR)
    return back_linear(graph, index, dy);
  if (node->kind == NODE_IDCT)
    return back_idct(graph, index, dy);
  return back_pointwise(graph, index, dy);
}

/* The user's plain gradient of the output, blocked. */
static int start_backward(struct graph *graph) {
  struct node *output = &graph->nodes[graph->output];
  const size_t bytes = graph->config.batch * shape_count(output->shape) * sizeof(float);
  graph->output_gradient_buffer = plan_buffer(graph, bytes, true);
  if (graph->output_gradient_buffer < 0)
    return graph->output_gradient_buffer;
  output->pending = graph->output_gradient_buffer;
  if (shape_rows(output->shape) == 1 && output->shape.c % graph->block == 0)
    return 0;
  output->pending = new_tensor(graph, output);
  struct op *op = emit(graph, OP_PACK, graph->output, 0);
  if (!op || output->pending < 0)
    return graph->error.code;
  op->buffer[0] = graph->output_gradient_buffer;
  op->buffer[1] = output->pending;
  return 0;
}

static int emit_backward(struct graph *graph) {
  int r = start_backward(graph);
  for (uint32_t i = graph->node_count; r == 0 && i-- > 0;)
    r = back_node(graph, (int)i);
  if (r < 0 || !graph->config.input_gradient)
    return r;
  const struct node *input = &graph->nodes[graph->input];
  graph->input_gradient_buffer =
      plan_buffer(graph, graph->config.batch * shape_count(input->shape) * sizeof(float), true);
  struct op *op = emit(graph, OP_UNPACK, graph->input, 0);
  if (!op || graph->input_gradient_buffer < 0)
    return graph->error.code;
  op->buffer[0] = input->pending;
  op->buffer[1] = graph->input_gradient_buffer;
  return 0;
}

/* ---- all of it ---- */

static float *optional(const struct graph_parameter *parameter, bool gradient) {
  return !parameter ? NULL : gradient ? parameter->gradient : parameter->value;
}

static int bind_convs(struct graph *graph) {
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

static int build(struct graph *graph) {
  int r = check_description(graph);
  if (r < 0)
    return r;
  omp_set_num_threads((int)graph->config.threads); /* the library makes its primitives for this number */
  analyse(graph);
  r = dnnl_context_new(&graph->context, &graph->error);
  if (r == 0)
    r = parameters_describe(graph);
  if (r == 0)
    r = find_groups(graph);
  if (r == 0)
    r = emit_forward(graph);
  if (r == 0 && graph->config.training)
    r = emit_backward(graph);
  if (r == 0)
    r = parameters_plan(graph);
  if (r == 0)
    r = norms_plan(graph);
  if (r == 0)
    r = graph->scratch_buffer = plan_buffer(graph, graph->scratch_bytes, true);
  if (r >= 0)
    r = plan_arena(graph, &graph->error);
  if (r < 0)
    return r;
  parameters_bind(graph);
  norms_bind(graph);
  return bind_convs(graph);
}

int graph_build(struct graph *graph, struct guise_error *err) {
  if (graph->error.code == 0 && graph->built)
    return error_set(err, -EINVAL, "the graph is built already");
  int r = graph->error.code < 0 ? graph->error.code : build(graph);
  if (r < 0) {
    if (graph->error.code == 0)
      graph->error.code = r;
    return error_set(err, r, "%s", graph->error.text);
  }
  graph->built = true;
  return 0;
}
