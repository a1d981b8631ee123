/* Group norm (Wu and He, arXiv 1803.08494, as PyTorch computes it): the channels of an image fall into groups
 * of neighbours; each group of each image has its own mean and (biased) variance over channels and pixels,
 * in training and in evaluation alike:
 *   x^ = (x - mean) / sqrt(var + 1e-5),  y = gamma x^ + beta          gamma and beta a channel
 *   dbeta = sum dy,  dgamma = sum dy x^
 *   dx = (gamma dy - sum(gamma dy) / m - x^ sum(gamma dy x^) / m) / sqrt(var + 1e-5), sums over the group's m
 *   values */
#include <math.h>

#include "core/nn/image_norm.h"

#define EPSILON 1e-5

int graph_group_norm(struct graph *graph, int x, const char *name, uint32_t groups) {
  const struct node *source = graph_operand(graph, x, name);
  if (!source)
    return graph->error.code;
  if (groups == 0 || source->shape.c % groups != 0)
    return GRAPH_FAIL(graph, -EINVAL, "%s: %u groups do not divide %u channels", name, groups,
                      source->shape.c);
  struct node *node = graph_append(graph, &layer_group_norm, source->shape, name);
  if (node)
    node->group_norm.groups = groups;
  return graph_connect(graph, node, x, -1);
}

static int parameters(struct graph *graph, struct node *node) {
  const uint64_t vector[4] = {node->shape.c};
  int r = parameter_add(graph, node, GAMMA, "weight", 1, vector, 1);
  return r < 0 ? r : parameter_add(graph, node, BETA, "bias", 1, vector, 0);
}

/* The layer's own memory: sums of the images, then vectors of each image. Those of the forward pass are kept
 * for the backward pass. */
enum { MEAN, INVERSE, SCALE, SHIFT, P, Q, VECTORS };

struct memory {
  size_t padded;
  double *sums;
  float *vector[VECTORS]; /* [batch][padded] each */
};

static size_t sums_bytes(const struct graph *graph, const struct node *node) {
  return (size_t)graph->config.batch * 2 * graph_padded(graph, node->shape.c) * sizeof(double);
}

static struct memory memory(const struct graph *graph, const struct node *node) {
  struct memory m = {.padded = graph_padded(graph, node->shape.c),
                     .sums = (double *)(void *)graph_buffer(graph, node->extra)};
  float *vectors = (float *)(void *)((char *)m.sums + sums_bytes(graph, node));
  for (int i = 0; i < VECTORS; i++)
    m.vector[i] = vectors + (size_t)i * graph->config.batch * m.padded;
  return m;
}

/* Fills vectors `first` and `second` of image n, from `channel` on, for the `width` channels of a group. */
static void fill(const struct memory *m, uint32_t n, uint32_t channel, uint32_t width, int first, float a,
                 int second, float b) {
  for (uint32_t c = channel; c < channel + width; c++) {
    m->vector[first][n * m->padded + c] = a;
    m->vector[second][n * m->padded + c] = b;
  }
}

/* Padding: every vector is zero there. */
static void clear_padding(const struct graph *graph, const struct node *node, const struct memory *m) {
  for (int i = 0; i < VECTORS; i++)
    for (uint32_t n = 0; n < graph->config.batch; n++)
      for (size_t c = node->shape.c; c < m->padded; c++)
        m->vector[i][n * m->padded + c] = 0;
}

static void group_statistics(const struct node *node, const struct memory *m, uint32_t n, uint32_t group) {
  const uint32_t width = node->shape.c / node->group_norm.groups, channel = group * width;
  const double *sums = m->sums + n * 2 * m->padded, *squares = sums + m->padded;
  const double values = (double)(width * shape_rows(node->shape));
  double sum = 0, square = 0;
  for (uint32_t c = channel; c < channel + width; c++) {
    sum += sums[c];
    square += squares[c];
  }
  const double mean = sum / values, variance = fmax(square / values - mean * mean, 0);
  fill(m, n, channel, width, MEAN, (float)mean, INVERSE, (float)(1 / sqrt(variance + EPSILON)));
}

/* x, y, memory */
static int run_forward(struct graph *graph, const struct op *op, struct guise_error *err) {
  (void)err;
  const struct node *node = &graph->nodes[op->node];
  const struct memory m = memory(graph, node);
  const float *gamma = node_parameter(graph, node, GAMMA)->value,
              *beta = node_parameter(graph, node, BETA)->value;
  const void *x = graph_buffer(graph, op->buffer[0]);
  image_statistics(graph, node, x, m.sums);
  clear_padding(graph, node, &m);
  for (uint32_t n = 0; n < graph->config.batch; n++) {
    for (uint32_t group = 0; group < node->group_norm.groups; group++)
      group_statistics(node, &m, n, group);
    const size_t at = n * m.padded;
    for (uint32_t c = 0; c < node->shape.c; c++) {
      const float scale = gamma[c] * m.vector[INVERSE][at + c];
      m.vector[SCALE][at + c] = scale;
      m.vector[SHIFT][at + c] = beta[c] - scale * m.vector[MEAN][at + c];
    }
  }
  image_scale(graph, node, x, m.vector[SCALE], m.vector[SHIFT], graph_buffer(graph, op->buffer[1]));
  return 0;
}

/* p and q of a group: see image_apply(). */
static void group_coefficients(const struct node *node, const struct memory *m, const float *gamma,
                               uint32_t n, uint32_t group) {
  const uint32_t width = node->shape.c / node->group_norm.groups, channel = group * width;
  const double *sums = m->sums + n * 2 * m->padded, *products = sums + m->padded;
  const double inverse = (double)m->vector[INVERSE][n * m->padded + channel];
  const double values = (double)(width * shape_rows(node->shape));
  double sum = 0, product = 0;
  for (uint32_t c = channel; c < channel + width; c++) {
    sum += (double)gamma[c] * sums[c];
    product += (double)gamma[c] * products[c];
  }
  fill(m, n, channel, width, P, (float)(-inverse * inverse * inverse * product / values), Q,
       (float)(-inverse * sum / values));
}

/* dy, x, dx, memory */
static int run_backward(struct graph *graph, const struct op *op, struct guise_error *err) {
  (void)err;
  const struct node *node = &graph->nodes[op->node];
  const struct memory m = memory(graph, node);
  const struct graph_parameter *gamma = node_parameter(graph, node, GAMMA),
                               *beta = node_parameter(graph, node, BETA);
  const void *dy = graph_buffer(graph, op->buffer[0]), *x = graph_buffer(graph, op->buffer[1]);
  image_reduce(graph, node, dy, x, m.vector[MEAN], m.padded, m.sums);
  for (uint32_t c = 0; c < node->shape.c; c++) {
    double sum = 0, product = 0;
    for (uint32_t n = 0; n < graph->config.batch; n++) {
      sum += m.sums[n * 2 * m.padded + c];
      product += m.sums[(n * 2 + 1) * m.padded + c] * (double)m.vector[INVERSE][n * m.padded + c];
    }
    beta->gradient[c] = (float)sum;
    gamma->gradient[c] = (float)product;
  }
  if (op->buffer[2] < 0)
    return 0;
  for (uint32_t n = 0; n < graph->config.batch; n++)
    for (uint32_t group = 0; group < node->group_norm.groups; group++)
      group_coefficients(node, &m, gamma->value, n, group);
  image_apply(graph, node, dy, x, m.vector[SCALE], m.vector[MEAN], m.vector[P], m.vector[Q], m.padded,
              graph_buffer(graph, op->buffer[2]));
  return 0;
}

static int forward(struct graph *graph, int index) {
  struct node *node = &graph->nodes[index];
  const size_t vectors = (size_t)VECTORS * graph->config.batch * graph_padded(graph, node->shape.c);
  node->value = graph_value(graph, index, node->input[0]);
  node->extra = plan_buffer(graph, sums_bytes(graph, node) + vectors * sizeof(float), false);
  struct op *op = graph_emit(graph, "forward", run_forward, index, 0);
  if (!op || node->value < 0 || node->extra < 0)
    return graph->error.code;
  op->buffer[0] = graph->nodes[node->input[0]].value;
  op->buffer[1] = node->value;
  op->buffer[2] = node->extra;
  return 0;
}

static int backward(struct graph *graph, int index, int dy) {
  return image_norm_backward(graph, index, dy, run_backward);
}

static int visit(const struct graph *graph, int index, const struct graph_visitor *visitor) {
  const struct node *node = &graph->nodes[index];
  const struct graph_group_norm_values values = {
      .groups = node->group_norm.groups,
      .gamma = node_parameter(graph, node, GAMMA)->value,
      .beta = node_parameter(graph, node, BETA)->value,
      .epsilon = EPSILON,
  };
  if (!visitor->group_norm)
    return -ENOTSUP;
  return visitor->group_norm(visitor->context, graph_value_of(graph, node->input[0]), &values,
                             graph_value_of(graph, index));
}

const struct layer_type layer_group_norm = {
    .name = "group norm", .parameters = parameters, .forward = forward, .backward = backward, .visit = visit};
