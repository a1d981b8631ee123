/* Batch norm, PReLU and addition, fused.
 *
 * A batch norm read by one PReLU, and batch norms read by one addition, disappear into a single element-wise
 * group; what is alone becomes a group of its own. A batch norm whose input is written by a group gets its
 * statistics from that pass. */
#include <math.h>

#include "core/nn/graph_internal.h"

#define PRELU_SLOPE 0.25f

/* ---- description ---- */

int graph_batch_norm(struct graph *graph, int x, const char *name) {
  const struct node *source = graph_operand(graph, x, name);
  if (!source)
    return graph->error.code;
  return graph_connect(graph, graph_append(graph, &layer_batch_norm, source->shape, name), x, -1);
}

int graph_prelu(struct graph *graph, int x, const char *name) {
  const struct node *source = graph_operand(graph, x, name);
  if (!source)
    return graph->error.code;
  return graph_connect(graph, graph_append(graph, &layer_prelu, source->shape, name), x, -1);
}

int graph_add(struct graph *graph, int a, int b) {
  const struct node *first = graph_operand(graph, a, "add"), *second = graph_operand(graph, b, "add");
  if (!first || !second)
    return graph->error.code;
  const struct shape p = first->shape, q = second->shape;
  if (p.c != q.c || p.h != q.h || p.w != q.w)
    return GRAPH_FAIL(graph, -EINVAL, "add: %u x %u x %u and %u x %u x %u are not the same shape", p.c, p.h,
                      p.w, q.c, q.h, q.w);
  return graph_connect(graph, graph_append(graph, &layer_add, p, NULL), a, b);
}

static int norm_parameters(struct graph *graph, struct node *node) {
  static const char *const suffixes[] = {"weight", "bias", "running_mean", "running_var"};
  const uint64_t vector[4] = {node->shape.c};
  int r = 0;
  for (int i = GAMMA; r == 0 && i <= RUNNING_VARIANCE; i++)
    r = parameter_add(graph, node, i, suffixes[i], 1, vector,
                      i == GAMMA || i == RUNNING_VARIANCE ? 1.0f : 0.0f);
  return r;
}

static int prelu_parameters(struct graph *graph, struct node *node) {
  return parameter_add(graph, node, WEIGHT, "weight", 1, (const uint64_t[4]){node->shape.c}, PRELU_SLOPE);
}

/* ---- groups ---- */

static bool is_pointwise(const struct node *node) {
  return node->type == &layer_batch_norm || node->type == &layer_prelu || node->type == &layer_add;
}

static void find_fused(struct graph *graph) {
  for (uint32_t i = 0; i < graph->node_count; i++) {
    const struct node *node = &graph->nodes[i];
    for (uint32_t k = 0; k < node->inputs; k++) {
      struct node *source = &graph->nodes[node->input[k]];
      if (source->type == &layer_batch_norm && !source->absorbed && source->consumers == 1 &&
          (node->type == &layer_add || node->type == &layer_prelu))
        source->fused = true;
    }
  }
}

static int add_norm(struct graph *graph, int node) {
  struct norm *norm = array_grow((void **)&graph->norms, &graph->norm_count, sizeof(*norm));
  if (!norm)
    return GRAPH_FAIL(graph, -ENOMEM, "out of memory");
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
    return GRAPH_FAIL(graph, -ENOMEM, "out of memory");
  const struct node *node = &graph->nodes[index];
  group->node = index;
  group->operands = node->inputs;
  group->prelu = node->type == &layer_prelu ? index : -1;
  group->source[1] = group->norm[1] = -1;
  if (node->type == &layer_batch_norm) {
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

int pointwise_find(struct graph *graph) {
  int r = 0;
  find_fused(graph);
  for (uint32_t i = 0; r == 0 && i < graph->node_count; i++) {
    if (graph->nodes[i].absorbed)
      continue;
    if (graph->nodes[i].type == &layer_batch_norm || graph->nodes[i].type == &layer_conditional_norm)
      r = add_norm(graph, (int)i);
    if (r == 0 && is_pointwise(&graph->nodes[i]) && !graph->nodes[i].fused)
      r = add_group(graph, (int)i);
  }
  for (uint32_t i = 0; r == 0 && i < graph->norm_count; i++) {
    struct norm *norm = &graph->norms[i];
    struct pointwise *producer = group_of(graph, graph->nodes[norm->node].input[0]);
    if (!producer || graph->nodes[norm->node].frozen) /* whose statistics are given */
      continue;
    int *gather = reallocarray(producer->gather, producer->gathers + 1, sizeof(int));
    if (!gather)
      return GRAPH_FAIL(graph, -ENOMEM, "out of memory");
    producer->gather = gather;
    gather[producer->gathers++] = (int)i;
    norm->from_producer = true;
  }
  return r;
}

/* ---- operations ---- */

static int emit(struct graph *graph, int index, int x1, int x2, int y, bool again) {
  const struct pointwise *group = group_of(graph, index);
  struct op *op = graph_emit(graph, again ? "again" : "forward", pointwise_run_forward, index,
                             (int)(group - graph->groups));
  if (!op || y < 0)
    return graph->error.code;
  op->operand = again;
  op->buffer[0] = x1;
  op->buffer[1] = x2;
  op->buffer[2] = y;
  return 0;
}

static int forward(struct graph *graph, int index) {
  struct node *node = &graph->nodes[index];
  if (node->fused || node->absorbed)
    return 0;
  const struct pointwise *group = group_of(graph, index);
  if (group->operands == 2 && graph->nodes[group->source[0]].half != graph->nodes[group->source[1]].half)
    return GRAPH_FAIL(graph, -EINVAL, "add: one operand is float and the other bfloat16");
  node->value = graph_value(graph, index, group->source[0]);
  return emit(graph, index, graph->nodes[group->source[0]].value,
              group->operands == 2 ? graph->nodes[group->source[1]].value : -1, node->value, false);
}

int pointwise_again(struct graph *graph, int index) {
  const struct pointwise *group = group_of(graph, index);
  const int x1 = graph_value_again(graph, group->source[0]);
  const int x2 = group->operands == 2 ? graph_value_again(graph, group->source[1]) : -1;
  const int y = graph_tensor(graph, &graph->nodes[index]);
  return emit(graph, index, x1, x2, y, true) < 0 ? graph->error.code : y;
}

/* An operand that is added as it is: its gradient is dy. */
static int back_identity(struct graph *graph, int source, int dy) {
  struct node *node = &graph->nodes[source];
  if (node->pending < 0) {
    node->pending = dy;
    return 0;
  }
  if (graph_exclusive(graph, node->pending, 1) && node->pending != dy) {
    struct op *op = graph_emit(graph, "accumulate", graph_run_accumulate, source, 0);
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
  const bool last = operand == 0, reads = group->norm[operand] >= 0 || group->prelu >= 0;
  const int value = reads ? graph_value_again(graph, source) : -1;
  const int dx = last && graph_exclusive(graph, dy, 0) ? dy : graph_tensor(graph, node);
  struct op *op =
      graph_emit(graph, "backward", pointwise_run_backward, group->node, (int)(group - graph->groups));
  if (!op || dx < 0)
    return graph->error.code;
  op->operand = (int)operand;
  op->buffer[0] = dy;
  op->buffer[1] = value;
  op->buffer[2] = node->pending;
  op->buffer[3] = dx;
  node->pending = dx;
  return 0;
}

static int backward(struct graph *graph, int index, int dy) {
  const struct pointwise *group = group_of(graph, index);
  if (group->norm[0] >= 0 || group->prelu >= 0) {
    const int x1 = graph_value_again(graph, group->source[0]);
    const int x2 = group->norm[1] >= 0 ? graph_value_again(graph, group->source[1]) : -1;
    struct op *op = graph_emit(graph, "reduce", pointwise_run_reduce, index, (int)(group - graph->groups));
    if (!op)
      return graph->error.code;
    op->buffer[0] = dy;
    op->buffer[1] = x1;
    op->buffer[2] = x2;
  }
  /* The first operand comes last, so that it may overwrite dy. */
  for (uint32_t operand = group->operands; operand-- > 0;) {
    int r = back_operand(graph, group, operand, dy);
    if (r < 0)
      return r;
  }
  return 0;
}

/* ---- visits ---- */

static int visit_norm(const struct graph *graph, int index, const struct graph_visitor *visitor) {
  const struct node *node = &graph->nodes[index];
  const struct graph_batch_norm_values values = {
      .gamma = node_parameter(graph, node, GAMMA)->value,
      .beta = node_parameter(graph, node, BETA)->value,
      .mean = node_parameter(graph, node, RUNNING_MEAN)->value,
      .variance = node_parameter(graph, node, RUNNING_VARIANCE)->value,
      .epsilon = NORM_EPSILON,
  };
  if (!visitor->batch_norm)
    return -ENOTSUP;
  return visitor->batch_norm(visitor->context, graph_value_of(graph, node->input[0]), &values,
                             graph_value_of(graph, index));
}

static int visit_prelu(const struct graph *graph, int index, const struct graph_visitor *visitor) {
  const struct node *node = &graph->nodes[index];
  if (!visitor->prelu)
    return -ENOTSUP;
  return visitor->prelu(visitor->context, graph_value_of(graph, node->input[0]),
                        node_parameter(graph, node, WEIGHT)->value, graph_value_of(graph, index));
}

static int visit_add(const struct graph *graph, int index, const struct graph_visitor *visitor) {
  const struct node *node = &graph->nodes[index];
  if (!visitor->add)
    return -ENOTSUP;
  return visitor->add(visitor->context, graph_value_of(graph, node->input[0]),
                      graph_value_of(graph, node->input[1]), graph_value_of(graph, index));
}

const struct layer_type layer_batch_norm = {.name = "batch norm",
                                            .parameters = norm_parameters,
                                            .forward = forward,
                                            .backward = backward,
                                            .visit = visit_norm};
const struct layer_type layer_prelu = {.name = "prelu",
                                       .parameters = prelu_parameters,
                                       .forward = forward,
                                       .backward = backward,
                                       .visit = visit_prelu};
const struct layer_type layer_add = {
    .name = "add", .forward = forward, .backward = backward, .visit = visit_add};
