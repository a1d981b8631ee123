/* Global depthwise convolution (GDConv of MobileFaceNet, arXiv 1804.07573): a depthwise convolution whose
 * kernel covers the whole image, so that each channel becomes one number: y[c] = sum_r w[c][r] x[c][r] (+
 * b[c]). The kernel library has no fast gradient of its weights; as sums over rows it is trivial. */
#include <math.h>
#include <string.h>

#include "core/nn/element.h"
#include "core/nn/graph_internal.h"

struct global {
  size_t rows, stride; /* elements an image */
  uint32_t block, blocks;
  bool half;
};

static struct global describe(const struct graph *graph, const struct node *source) {
  return (struct global){.rows = shape_rows(source->shape),
                         .stride = layout_count(graph, source),
                         .block = graph->block,
                         .blocks = graph_padded(graph, source->shape.c) / graph->block,
                         .half = source->half};
}

static int parameters(struct graph *graph, struct node *node) {
  const uint64_t shape[4] = {node->conv.out_channels, 1, node->conv.kernel, node->conv.kernel};
  int r = parameter_add(graph, node, WEIGHT, "weight", 4, shape, NAN);
  if (r == 0 && node->conv.bias)
    r = parameter_add(graph, node, BIAS, "bias", 1, shape, NAN);
  return r;
}

/* x, y */
static int run_forward(struct graph *graph, const struct op *op, struct guise_error *err) {
  (void)err;
  const struct node *node = &graph->nodes[op->node];
  const struct global g = describe(graph, &graph->nodes[node->input[0]]);
  const float *w = node_parameter(graph, node, WEIGHT)->value;
  const struct graph_parameter *bias = node_parameter(graph, node, BIAS);
  const void *x = graph_buffer(graph, op->buffer[0]);
  void *y = graph_buffer(graph, op->buffer[1]);
#pragma omp parallel for num_threads((int)graph->config.threads)
  for (uint32_t n = 0; n < graph->config.batch; n++)
    for (uint32_t c = 0; c < g.blocks * g.block; c++) {
      const size_t at = n * g.stride + c / g.block * g.rows * g.block + c % g.block;
      float sum = bias && c < node->shape.c ? bias->value[c] : 0.0f;
      for (size_t r = 0; c < node->shape.c && r < g.rows; r++)
        sum += w[c * g.rows + r] * element_get(x, at + r * g.block, g.half);
      element_set(y, (size_t)n * g.blocks * g.block + c, sum, node->half);
    }
  return 0;
}

/* x, dy */
static int run_backward_weights(struct graph *graph, const struct op *op, struct guise_error *err) {
  (void)err;
  const struct node *node = &graph->nodes[op->node];
  const struct global g = describe(graph, &graph->nodes[node->input[0]]);
  float *dw = node_parameter(graph, node, WEIGHT)->gradient;
  struct graph_parameter *bias = node_parameter(graph, node, BIAS);
  const void *x = graph_buffer(graph, op->buffer[0]), *dy = graph_buffer(graph, op->buffer[1]);
  if (bias)
    memset(bias->gradient, 0, bias->count * sizeof(float));
  memset(dw, 0, node->shape.c * g.rows * sizeof(float));
#pragma omp parallel for num_threads((int)graph->config.threads)
  for (uint32_t c = 0; c < node->shape.c; c++)
    for (uint32_t n = 0; n < graph->config.batch; n++) {
      const size_t at = n * g.stride + c / g.block * g.rows * g.block + c % g.block;
      const float gradient = element_get(dy, (size_t)n * g.blocks * g.block + c, node->half);
      for (size_t r = 0; r < g.rows; r++)
        dw[c * g.rows + r] += gradient * element_get(x, at + r * g.block, g.half);
      if (bias)
        bias->gradient[c] += gradient;
    }
  return 0;
}

/* dy, dx */
static int run_backward_data(struct graph *graph, const struct op *op, struct guise_error *err) {
  (void)err;
  const struct node *node = &graph->nodes[op->node];
  const struct global g = describe(graph, &graph->nodes[node->input[0]]);
  const float *w = node_parameter(graph, node, WEIGHT)->value;
  const void *dy = graph_buffer(graph, op->buffer[0]);
  void *dx = graph_buffer(graph, op->buffer[1]);
#pragma omp parallel for num_threads((int)graph->config.threads)
  for (uint32_t n = 0; n < graph->config.batch; n++)
    for (uint32_t c = 0; c < g.blocks * g.block; c++) {
      const size_t at = n * g.stride + c / g.block * g.rows * g.block + c % g.block;
      const float gradient = element_get(dy, (size_t)n * g.blocks * g.block + c, node->half);
      for (size_t r = 0; r < g.rows; r++)
        element_set(dx, at + r * g.block, c < node->shape.c ? gradient * w[c * g.rows + r] : 0.0f, g.half);
    }
  return 0;
}

static int forward(struct graph *graph, int index) {
  struct node *node = &graph->nodes[index];
  node->value = graph_value(graph, index, -1);
  struct op *op = graph_emit(graph, "forward", run_forward, index, 0);
  if (!op || node->value < 0)
    return graph->error.code;
  op->buffer[0] = graph->nodes[node->input[0]].value;
  op->buffer[1] = node->value;
  return 0;
}

static int backward(struct graph *graph, int index, int dy) {
  const struct node *node = &graph->nodes[index];
  const struct node *source = &graph->nodes[node->input[0]];
  struct op *op = graph_emit(graph, "backward weights", run_backward_weights, index, 0);
  if (!op)
    return graph->error.code;
  op->buffer[0] = source->value;
  op->buffer[1] = dy;
  if (!source->wants_gradient)
    return 0;
  const int dx = graph_tensor(graph, source);
  op = graph_emit(graph, "backward data", run_backward_data, index, 0);
  if (!op || dx < 0)
    return graph->error.code;
  op->buffer[0] = dy;
  op->buffer[1] = dx;
  return graph_contribute(graph, node->input[0], dx);
}

const struct layer_type layer_global_conv = {.name = "global conv",
                                             .parameters = parameters,
                                             .forward = forward,
                                             .backward = backward,
                                             .visit = conv_visit};
