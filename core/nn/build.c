/* From nodes to operations.
 *
 * Values: each layer appends its forward operations in order. Gradients: walking backwards, each node has a
 * "pending" buffer, the sum of what its readers sent so far. The first contribution may be somebody else's
 * buffer (the residual of an addition is the gradient itself); a group that comes later adds it in its own
 * pass. `holders` counts the nodes whose pending gradient is a buffer: one without holders may be overwritten
 * in place. */
#include <omp.h>
#include <string.h>

#include "core/nn/graph_internal.h"

#define FAIL GRAPH_FAIL

int graph_tensor(struct graph *graph, const struct node *node) {
  return plan_buffer(graph, graph->config.batch * layout_blocked_bytes(graph, node), false);
}

struct op *graph_emit(struct graph *graph, const char *what,
                      int (*run)(struct graph *graph, const struct op *op, struct guise_error *err), int node,
                      int index) {
  struct op *op = array_grow((void **)&graph->ops, &graph->op_count, sizeof(*op));
  if (!op) {
    FAIL(graph, -ENOMEM, "out of memory");
    return NULL;
  }
  op->what = what;
  op->run = run;
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
  if (graph->config.input_gradient && graph->nodes[graph->input].frozen)
    return FAIL(graph, -EINVAL, "the backward pass ends at frozen layers and does not reach the input");
  if (graph->config.low_memory && !graph->config.training)
    return FAIL(graph, -EINVAL, "a graph that only runs forward keeps nothing that low memory could drop");
  if (graph->config.folded && graph->config.training)
    return FAIL(graph, -EINVAL, "a folded graph cannot be trained");
  graph->nodes[graph->output].consumers = 1;
  for (uint32_t i = 0; i < graph->node_count; i++)
    for (uint32_t k = 0; k < graph->nodes[i].inputs; k++)
      graph->nodes[graph->nodes[i].input[k]].consumers++;
  for (uint32_t i = 0; i < graph->node_count; i++)
    if (graph->nodes[i].consumers == 0)
      return FAIL(graph, -EINVAL, "layer %u (%s) leads nowhere; use it or leave it out", i,
                  graph->nodes[i].name ? graph->nodes[i].name : "unnamed");
  return 0;
}

/* A value stays plain when all its readers take it so. */
static bool may_be_plain(const struct graph *graph, int index) {
  const struct node *node = &graph->nodes[index];
  if (!node->type->plain_value || index == graph->output)
    return false;
  for (uint32_t i = 0; i < graph->node_count; i++)
    for (uint32_t k = 0; k < graph->nodes[i].inputs; k++) {
      const struct node *reader = &graph->nodes[i];
      if (reader->input[k] == index &&
          !(reader->type->reads_plain && reader->type->reads_plain(reader, node)))
        return false;
    }
  return true;
}

/* Does anything read the input in bfloat16? The block IDCT and linear layers take float as it is. */
static bool is_read_half(const struct graph *graph, int index) {
  for (uint32_t i = 0; i < graph->node_count; i++)
    for (uint32_t k = 0; k < graph->nodes[i].inputs; k++)
      if (graph->nodes[i].input[k] == index && graph->nodes[i].type != &layer_idct &&
          !graph->nodes[i].type->float_value)
        return true;
  return false;
}

/* With bfloat16, values are in it but for linear layers and what follows them element by element; layers with
 * half_value (convolutions, reshape) return to it. The user's own input is float, so it is not plain where
 * bfloat16 is read. */
static void choose_elements(struct graph *graph, int index) {
  struct node *node = &graph->nodes[index];
  if (!graph->config.bfloat16)
    return;
  if (node->inputs == 0) {
    node->half = is_read_half(graph, index);
    node->plain &= !node->half;
  } else if (node->type->half_value)
    node->half = true;
  else {
    node->half = !node->type->float_value && graph->nodes[node->input[0]].half;
    node->half |= node->type == &layer_concat && graph->nodes[node->input[1]].half;
  }
}

static void analyse(struct graph *graph) {
  for (uint32_t i = 0; i < graph->node_count; i++) {
    struct node *node = &graph->nodes[i];
    node->plain = may_be_plain(graph, (int)i);
    choose_elements(graph, (int)i);
    node->wants_gradient =
        graph->config.training &&
        ((int)i == graph->input ? graph->config.input_gradient : node->name != NULL && !node->frozen);
    for (uint32_t k = 0; k < node->inputs; k++)
      node->wants_gradient |= graph->nodes[node->input[k]].wants_gradient;
  }
}

/* ---- forward ---- */

/* A vector of whole blocks of floats has the same layout for the user as inside. */
static bool is_users_layout(const struct graph *graph, const struct node *node) {
  return shape_rows(node->shape) == 1 && node->shape.c % graph->block == 0 && !node->half;
}

int graph_value(struct graph *graph, int index, int in_place) {
  const struct node *node = &graph->nodes[index];
  if (index == graph->output && is_users_layout(graph, node))
    return graph->output_buffer;
  if (in_place >= 0 && !graph->config.training) {
    const struct node *source = &graph->nodes[in_place];
    if (source->consumers == 1 && !source->plain && source->half == node->half)
      return source->value;
  }
  return plan_buffer(graph, graph->config.batch * layout_count(graph, node) * node_element(node), false);
}

static int emit_forward(struct graph *graph) {
  const struct node *output = &graph->nodes[graph->output];
  const size_t bytes = graph->config.batch * shape_count(output->shape) * sizeof(float);
  graph->output_buffer = plan_buffer(graph, bytes, true);
  int r = MIN(graph->output_buffer, 0);
  for (uint32_t i = 0; r == 0 && i < graph->node_count; i++)
    r = graph->nodes[i].type->forward(graph, (int)i);
  if (r == 0 && output->value != graph->output_buffer) {
    struct op *op = graph_emit(graph, "unpack", layout_run_unpack, graph->output, 0);
    if (!op)
      return graph->error.code;
    op->buffer[0] = output->value;
    op->buffer[1] = graph->output_buffer;
  }
  graph->forward_ops = graph->op_count;
  return r < 0 ? r : graph->error.code;
}

/* ---- backward ---- */

/* What is element-wise is cheap to compute again (a chain of additions is computed from its start, and kept
 * from then on), and so is a convolution of a few plain channels, whose value is often the largest of all. */
int graph_value_again(struct graph *graph, int index) {
  const struct node *node = &graph->nodes[index];
  const bool elementwise =
      node->type == &layer_batch_norm || node->type == &layer_prelu || node->type == &layer_add;
  const bool first = node->type == &layer_conv && graph->nodes[node->input[0]].plain;
  if (!graph->config.low_memory || node->fused || !(elementwise || first))
    return node->value;
  if (node->again < 0) {
    const int again = first ? conv_again(graph, index) : pointwise_again(graph, index);
    graph->nodes[index].again = again;
  }
  return node->again;
}

static uint32_t holders(const struct graph *graph, int buffer) {
  uint32_t count = 0;
  for (uint32_t i = 0; i < graph->node_count; i++)
    count += graph->nodes[i].pending == buffer;
  return count;
}

bool graph_exclusive(const struct graph *graph, int buffer, uint32_t allowed) {
  return !graph->buffers[buffer].pinned && holders(graph, buffer) <= allowed;
}

int graph_contribute(struct graph *graph, int index, int fresh) {
  struct node *node = &graph->nodes[index];
  if (node->pending >= 0) {
    struct op *op = graph_emit(graph, "accumulate", graph_run_accumulate, index, 0);
    if (!op)
      return graph->error.code;
    op->buffer[0] = fresh;
    op->buffer[1] = node->pending;
  }
  node->pending = fresh;
  return 0;
}

int graph_run_accumulate(struct graph *graph, const struct op *op, struct guise_error *err) {
  (void)err;
  const struct node *node = &graph->nodes[op->node];
  const struct kernels *kernels = node_kernels(graph, node);
  const int threads = (int)graph->config.threads;
  const size_t block = graph->block;
  const size_t blocks = graph->config.batch * layout_blocked_bytes(graph, node) / node_element(node) / block;
  char *to = (char *)graph_buffer(graph, op->buffer[0]);
  const char *from = (const char *)graph_buffer(graph, op->buffer[1]);
#pragma omp parallel for num_threads(threads) schedule(static, 1)
  for (int thread = 0; thread < threads; thread++) {
    const size_t begin = share_begin(blocks, thread, threads), end = share_begin(blocks, thread + 1, threads);
    const size_t offset = begin * block * node_element(node);
    kernels->accumulate(to + offset, from + offset, (end - begin) * block);
  }
  return 0;
}

/* The user's plain gradient of the output, as the engine's tensor. */
static int start_backward(struct graph *graph) {
  struct node *output = &graph->nodes[graph->output];
  const size_t bytes = graph->config.batch * shape_count(output->shape) * sizeof(float);
  graph->output_gradient_buffer = plan_buffer(graph, bytes, true);
  if (graph->output_gradient_buffer < 0)
    return graph->output_gradient_buffer;
  output->pending = graph->output_gradient_buffer;
  if (is_users_layout(graph, output))
    return 0;
  output->pending = graph_tensor(graph, output);
  struct op *op = graph_emit(graph, "pack", layout_run_pack, graph->output, 0);
  if (!op || output->pending < 0)
    return graph->error.code;
  op->buffer[0] = graph->output_gradient_buffer;
  op->buffer[1] = output->pending;
  return 0;
}

static int back_node(struct graph *graph, int index) {
  struct node *node = &graph->nodes[index];
  if (node->fused || !node->wants_gradient)
    return 0;
  const int dy = node->pending;
  node->pending = -1;
  return node->type->backward(graph, index, dy);
}

/* With low memory a shortcut's convolution waits until its input's gradient is needed: going first, as its
 * place in the description says, it would keep that input and its gradient through the whole block. */
static bool is_shortcut(const struct graph *graph, int index) {
  const struct node *node = &graph->nodes[index];
  return graph->config.low_memory && node->type == &layer_conv && graph->nodes[node->input[0]].consumers > 1;
}

static int back_waiting(struct graph *graph, int from, int input) {
  int r = 0;
  for (int i = (int)graph->node_count; r == 0 && i-- > from;)
    if (is_shortcut(graph, i) && graph->nodes[i].input[0] == input)
      r = back_node(graph, i);
  return r;
}

static int emit_backward(struct graph *graph) {
  int r = start_backward(graph);
  for (int i = (int)graph->node_count; r == 0 && i-- > 0;) {
    r = back_waiting(graph, i + 1, i);
    if (r == 0 && !is_shortcut(graph, i))
      r = back_node(graph, i);
  }
  return r < 0 ? r : graph->error.code;
}

/* ---- all of it ---- */

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
    convs_fold(graph);
  if (r == 0)
    r = pointwise_find(graph);
  if (r == 0)
    r = emit_forward(graph);
  if (r == 0 && graph->config.training)
    r = emit_backward(graph);
  if (r == 0)
    r = parameters_plan(graph);
  if (r == 0)
    r = norms_plan(graph);
  if (r == 0)
    r = graph->plain_buffer = plan_buffer(graph, graph->plain_bytes, true);
  if (r >= 0)
    r = plan_arena(graph, &graph->error);
  if (r < 0)
    return r;
  parameters_bind(graph);
  norms_bind(graph);
  return convs_bind(graph);
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
