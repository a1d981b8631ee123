/* Linear: y(N,O) = x(N,F) W(O,F)^T + b, x in plain (C,H,W) order, on OpenBLAS in float. A float vector (H = W
 * = 1) is plain already but for its padding, so it is used where it lies; everything else is unpacked first.
 */
#include <limits.h>
#include <math.h>
#include <string.h>

#include "core/nn/blas.h"
#include "core/nn/graph_internal.h"

static int linear(struct graph *graph, int x, const char *name, uint32_t out, bool bias, bool spectral_norm) {
  const struct node *source = graph_operand(graph, x, name);
  if (!source)
    return graph->error.code;
  const uint64_t in = shape_count(source->shape);
  if (in > INT_MAX)
    return GRAPH_FAIL(graph, -EINVAL, "%s: %llu inputs are too many", name, (unsigned long long)in);
  struct node *node = graph_append(graph, &layer_linear, (struct shape){out, 1, 1}, name);
  if (node) {
    node->linear.out = out;
    node->linear.bias = bias;
    node->linear.spectral_norm = spectral_norm;
  }
  return graph_connect(graph, node, x, -1);
}

int graph_linear(struct graph *graph, int x, const char *name, uint32_t out, bool bias) {
  return linear(graph, x, name, out, bias, false);
}

int graph_linear_spectral(struct graph *graph, int x, const char *name, uint32_t out, bool bias) {
  return linear(graph, x, name, out, bias, true);
}

static int parameters(struct graph *graph, struct node *node) {
  const uint64_t shape[4] = {node->linear.out, shape_count(graph->nodes[node->input[0]].shape)};
  int r = parameter_add(graph, node, WEIGHT, "weight", 2, shape, NAN);
  if (r == 0 && node->linear.bias)
    r = parameter_add(graph, node, BIAS, "bias", 1, shape, NAN);
  if (r == 0 && node->linear.spectral_norm)
    r = spectral_parameters(graph, node);
  return r;
}

/* As they are used. */
static const float *weights(const struct graph *graph, const struct node *node) {
  return node->spectral < 0 ? node_parameter(graph, node, WEIGHT)->value : spectral_weights(graph, node);
}

struct linear {
  uint32_t threads;
  uint64_t batch, in, out, in_stride, out_stride;
  bool packed;
};

static bool needs_unpacking(const struct node *source) {
  return shape_rows(source->shape) > 1 || source->half;
}

static struct linear describe(const struct graph *graph, const struct node *node) {
  const struct node *source = &graph->nodes[node->input[0]];
  const bool packed = needs_unpacking(source);
  return (struct linear){
      .threads = graph->config.threads,
      .batch = graph->config.batch,
      .in = shape_count(source->shape),
      .out = node->linear.out,
      .in_stride = packed ? shape_count(source->shape) : graph_padded(graph, source->shape.c),
      .out_stride = graph_padded(graph, node->linear.out),
      .packed = packed,
  };
}

/* x, its plain form, y */
static int run_forward(struct graph *graph, const struct op *op, struct guise_error *err) {
  (void)err;
  const struct node *node = &graph->nodes[op->node];
  const struct linear l = describe(graph, node);
  const float *x = graph_buffer(graph, op->buffer[l.packed ? 1 : 0]);
  float *y = graph_buffer(graph, op->buffer[2]);
  if (l.packed)
    layout_unpack(graph, &graph->nodes[node->input[0]], graph_buffer(graph, op->buffer[0]),
                  graph_buffer(graph, op->buffer[1]));
  const struct graph_parameter *bias = node_parameter(graph, node, BIAS);
  for (uint64_t n = 0; n < l.batch; n++)
    for (uint64_t o = 0; o < l.out_stride; o++)
      y[n * l.out_stride + o] = bias && o < l.out ? bias->value[o] : 0.0f;
  blas_multiply(l.threads, false, true, l.batch, l.out, l.in, x, l.in_stride, weights(graph, node), l.in,
                1.0f, y, l.out_stride);
  return 0;
}

/* dy, plain x, dx, its plain form */
static int run_backward(struct graph *graph, const struct op *op, struct guise_error *err) {
  (void)err;
  const struct node *node = &graph->nodes[op->node];
  const struct linear l = describe(graph, node);
  const float *dy = graph_buffer(graph, op->buffer[0]), *x = graph_buffer(graph, op->buffer[1]);
  const struct graph_parameter *weight = node_parameter(graph, node, WEIGHT),
                               *bias = node_parameter(graph, node, BIAS);
  blas_multiply(l.threads, true, false, l.out, l.in, l.batch, dy, l.out_stride, x, l.in_stride, 0.0f,
                weight->gradient, l.in);
  if (bias) {
    memset(bias->gradient, 0, bias->count * sizeof(float));
    for (uint64_t n = 0; n < l.batch; n++)
      for (uint64_t o = 0; o < l.out; o++)
        bias->gradient[o] += dy[n * l.out_stride + o];
  }
  if (op->buffer[2] < 0)
    return 0;
  float *dx = graph_buffer(graph, op->buffer[l.packed ? 3 : 2]);
  if (!l.packed)
    memset(dx, 0, l.batch * l.in_stride * sizeof(float));
  blas_multiply(l.threads, false, false, l.batch, l.in, l.out, dy, l.out_stride, weights(graph, node), l.in,
                0.0f, dx, l.in_stride);
  if (l.packed)
    layout_pack(graph, &graph->nodes[node->input[0]], dx, graph_buffer(graph, op->buffer[2]));
  return 0;
}

static double product_flops(const struct graph *graph, const struct node *node) {
  return 2.0 * (double)node_parameter(graph, node, WEIGHT)->count * graph->config.batch;
}

static int forward(struct graph *graph, int index) {
  struct node *node = &graph->nodes[index];
  const struct node *source = &graph->nodes[node->input[0]];
  node->value = graph_value(graph, index, -1);
  node->extra =
      needs_unpacking(source)
          ? plan_buffer(graph, graph->config.batch * shape_count(source->shape) * sizeof(float), false)
          : source->value;
  int r = node->linear.spectral_norm ? spectral_forward(graph, index) : 0;
  struct op *op = r < 0 ? NULL : graph_emit(graph, "forward", run_forward, index, 0);
  if (!op || node->value < 0 || node->extra < 0)
    return graph->error.code;
  op->flops = product_flops(graph, node);
  op->buffer[0] = source->value;
  op->buffer[1] = node->extra;
  op->buffer[2] = node->value;
  return 0;
}

static int backward(struct graph *graph, int index, int dy) {
  const struct node *node = &graph->nodes[index];
  const struct node *source = &graph->nodes[node->input[0]];
  struct op *op = graph_emit(graph, "backward", run_backward, index, 0);
  if (!op)
    return graph->error.code;
  op->flops = product_flops(graph, node) * (source->wants_gradient ? 2 : 1);
  op->buffer[0] = dy;
  op->buffer[1] = node->extra;
  int dx = -1;
  if (source->wants_gradient)
    op->buffer[2] = dx = graph_tensor(graph, source);
  if (source->wants_gradient && needs_unpacking(source))
    op->buffer[3] =
        plan_buffer(graph, graph->config.batch * shape_count(source->shape) * sizeof(float), false);
  if (node->spectral >= 0)
    (void)spectral_backward(graph, index);
  if (graph->error.code < 0 || dx < 0)
    return graph->error.code;
  return graph_contribute(graph, node->input[0], dx);
}

static int visit(const struct graph *graph, int index, const struct graph_visitor *visitor) {
  const struct node *node = &graph->nodes[index];
  const struct graph_parameter *bias = node_parameter(graph, node, BIAS);
  if (!visitor->linear || node->linear.spectral_norm)
    return -ENOTSUP;
  return visitor->linear(visitor->context, graph_value_of(graph, node->input[0]),
                         node_parameter(graph, node, WEIGHT)->value, bias ? bias->value : NULL,
                         graph_value_of(graph, index));
}

const struct layer_type layer_linear = {.name = "linear",
                                        .float_value = true,
                                        .parameters = parameters,
                                        .forward = forward,
                                        .backward = backward,
                                        .visit = visit};
