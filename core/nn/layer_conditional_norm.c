/* Conditional batch norm (de Vries et al., arXiv 1707.00683): batch norm without its own gain and bias, which
 * are rows of two tables (classes, C), picked by the class of the image:
 *   x^ = (x - mean) / sqrt(var + 1e-5),  y = gamma[class] x^ + beta[class]
 *   dbeta[k] = sum of dy over images of class k,  dgamma[k] likewise of dy x^,  and with h = gamma[class] dy
 *   dx = (h - sum h / m - x^ sum(h x^) / m) / sqrt(var + 1e-5), sums over the batch's m values of a channel
 *
 * Statistics, running and pooled, are batch norm's own (norm.c): the layer is one of the graph's norms. */
#include <string.h>

#include "core/nn/image_norm.h"

#define CLASSES_MAX (1u << 20)

int graph_conditional_norm(struct graph *graph, int x, const char *name, uint32_t classes) {
  const struct node *source = graph_operand(graph, x, name);
  if (!source)
    return graph->error.code;
  if (classes == 0 || classes > CLASSES_MAX)
    return GRAPH_FAIL(graph, -EINVAL, "%s: %u classes are not possible", name, classes);
  struct node *node = graph_append(graph, &layer_conditional_norm, source->shape, name);
  if (node)
    node->conditional.classes = classes;
  return graph_connect(graph, node, x, -1);
}

uint32_t *graph_classes(struct graph *graph) {
  return (uint32_t *)(void *)graph_buffer(graph, graph->classes_buffer);
}

static int parameters(struct graph *graph, struct node *node) {
  const uint64_t table[4] = {node->conditional.classes, node->shape.c}, vector[4] = {node->shape.c};
  int r = parameter_add(graph, node, GAMMA, "weight", 2, table, 1);
  if (r == 0)
    r = parameter_add(graph, node, BETA, "bias", 2, table, 0);
  if (r == 0)
    r = parameter_add(graph, node, RUNNING_MEAN, "running_mean", 1, vector, 0);
  if (r == 0)
    r = parameter_add(graph, node, RUNNING_VARIANCE, "running_var", 1, vector, 1);
  if (r == 0)
    node_parameter(graph, node, GAMMA)->decay = node_parameter(graph, node, BETA)->decay = false;
  return r;
}

/* The layer's own memory: sums of the images, scale and shift of each, p and q of all, and the classes as
 * they were in the forward pass. */
struct memory {
  size_t padded;
  double *sums;
  float *scale, *shift, *p, *q;
  uint32_t *classes;
};

static size_t memory_bytes(const struct graph *graph, const struct node *node) {
  const size_t padded = graph_padded(graph, node->shape.c), batch = graph->config.batch;
  return batch * 2 * padded * (sizeof(double) + sizeof(float)) + 2 * padded * sizeof(float) +
         batch * sizeof(uint32_t);
}

static struct memory memory(const struct graph *graph, const struct node *node) {
  const size_t padded = graph_padded(graph, node->shape.c), batch = graph->config.batch;
  struct memory m = {.padded = padded, .sums = (double *)(void *)graph_buffer(graph, node->extra)};
  m.scale = (float *)(void *)(m.sums + batch * 2 * padded);
  m.shift = m.scale + batch * padded;
  m.p = m.shift + batch * padded;
  m.q = m.p + padded;
  m.classes = (uint32_t *)(void *)(m.q + padded);
  return m;
}

static int copy_classes(struct graph *graph, const struct node *node, const struct memory *m,
                        struct guise_error *err) {
  const uint32_t *classes = graph_classes(graph);
  for (uint32_t n = 0; n < graph->config.batch; n++)
    if (classes[n] >= node->conditional.classes)
      return error_set(err, -EINVAL, "%s: image %u is of class %u, but there are %u classes", node->name, n,
                       classes[n], node->conditional.classes);
  memcpy(m->classes, classes, graph->config.batch * sizeof(uint32_t));
  return 0;
}

/* x, y, memory, classes */
static int run_forward(struct graph *graph, const struct op *op, struct guise_error *err) {
  const struct node *node = &graph->nodes[op->node];
  const struct norm *norm = &graph->norms[node->norm];
  const struct memory m = memory(graph, node);
  const float *gamma = node_parameter(graph, node, GAMMA)->value,
              *beta = node_parameter(graph, node, BETA)->value;
  const void *x = graph_buffer(graph, op->buffer[0]);
  int r = copy_classes(graph, node, &m, err);
  if (r < 0)
    return r;
  norm_prepare(graph, node->norm, x);
  memset(m.scale, 0, 2 * graph->config.batch * m.padded * sizeof(float));
  for (uint32_t n = 0; n < graph->config.batch; n++) {
    const size_t row = (size_t)m.classes[n] * norm->channels;
    for (uint32_t c = 0; c < norm->channels; c++) {
      const float scale = gamma[row + c] * norm->inverse[c];
      m.scale[n * m.padded + c] = scale;
      m.shift[n * m.padded + c] = beta[row + c] - scale * norm->mean[c];
    }
  }
  image_scale(graph, node, x, m.scale, m.shift, graph_buffer(graph, op->buffer[1]));
  return 0;
}

/* The tables' gradients, and p and q (see image_apply()). */
static void gradients(const struct graph *graph, const struct node *node, const struct memory *m) {
  const struct norm *norm = &graph->norms[node->norm];
  const struct graph_parameter *gamma = node_parameter(graph, node, GAMMA),
                               *beta = node_parameter(graph, node, BETA);
  memset(gamma->gradient, 0, gamma->count * sizeof(float));
  memset(beta->gradient, 0, beta->count * sizeof(float));
  memset(m->p, 0, 2 * m->padded * sizeof(float));
  for (uint32_t c = 0; c < norm->channels; c++) {
    const double inverse = (double)norm->inverse[c], values = (double)norm->images_rows;
    double all = 0, product = 0;
    for (uint32_t n = 0; n < graph->config.batch; n++) {
      const size_t at = (size_t)m->classes[n] * norm->channels + c;
      const double sum = m->sums[n * 2 * m->padded + c], dot = m->sums[(n * 2 + 1) * m->padded + c];
      beta->gradient[at] += (float)sum;
      gamma->gradient[at] += (float)(dot * inverse);
      all += (double)gamma->value[at] * sum;
      product += (double)gamma->value[at] * dot;
    }
    m->p[c] = (float)(-inverse * inverse * inverse * product / values);
    m->q[c] = (float)(-inverse * all / values);
  }
}

/* dy, x, dx, memory */
static int run_backward(struct graph *graph, const struct op *op, struct guise_error *err) {
  (void)err;
  const struct node *node = &graph->nodes[op->node];
  const struct norm *norm = &graph->norms[node->norm];
  const struct memory m = memory(graph, node);
  const void *dy = graph_buffer(graph, op->buffer[0]), *x = graph_buffer(graph, op->buffer[1]);
  image_reduce(graph, node, dy, x, norm->mean, 0, m.sums);
  gradients(graph, node, &m);
  if (op->buffer[2] < 0)
    return 0;
  const bool through = graph->mode == GRAPH_TRAIN; /* running statistics are constants */
  image_apply(graph, node, dy, x, m.scale, norm->mean, through ? m.p : NULL, m.q, 0,
              graph_buffer(graph, op->buffer[2]));
  return 0;
}

static int forward(struct graph *graph, int index) {
  struct node *node = &graph->nodes[index];
  if (graph->classes_buffer < 0) {
    graph->classes_buffer = plan_buffer(graph, graph->config.batch * sizeof(uint32_t), true);
    if (graph->classes_buffer < 0)
      return graph->classes_buffer;
  }
  node->value = graph_value(graph, index, node->input[0]);
  node->extra = plan_buffer(graph, memory_bytes(graph, node), false);
  struct op *op = graph_emit(graph, "forward", run_forward, index, 0);
  if (!op || node->value < 0 || node->extra < 0)
    return graph->error.code;
  op->buffer[0] = graph->nodes[node->input[0]].value;
  op->buffer[1] = node->value;
  op->buffer[2] = node->extra;
  op->buffer[3] = graph->classes_buffer;
  return 0;
}

static int backward(struct graph *graph, int index, int dy) {
  return image_norm_backward(graph, index, dy, run_backward);
}

const struct layer_type layer_conditional_norm = {
    .name = "conditional norm", .parameters = parameters, .forward = forward, .backward = backward};
