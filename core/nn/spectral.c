/* Spectral norm (Miyato et al., arXiv 1802.05957, as torch.nn.utils.spectral_norm): a convolution or linear
 * layer works with W / sigma, sigma an estimate of the largest singular value of W as a matrix (O, the rest).
 *
 * A training forward makes one power iteration, v = W^T u / |W^T u|, u = W v / |W v|; evaluation uses u and v
 * as they are. sigma = u^T W v. u and v are statistics of the layer ("weight_u", "weight_v"), constant for
 * the gradient: with G that of W / sigma, dW = (G - <G, W / sigma> u v^T) / sigma. */
#include <math.h>

#include "core/nn/blas.h"
#include "core/nn/graph_internal.h"

#define EPSILON 1e-12

int spectral_parameters(struct graph *graph, struct node *node) {
  const struct graph_parameter *weight = node_parameter(graph, node, WEIGHT);
  const uint64_t out = weight->shape[0], in = weight->count / weight->shape[0];
  int r = parameter_add(graph, node, SPECTRAL_U, "weight_u", 1, (const uint64_t[4]){out}, INFINITY);
  return r < 0 ? r : parameter_add(graph, node, SPECTRAL_V, "weight_v", 1, (const uint64_t[4]){in}, INFINITY);
}

/* The buffer holds the weights in use, then sigma. */
float *spectral_weights(const struct graph *graph, const struct node *node) {
  return graph_buffer(graph, node->spectral);
}

void spectral_unit(float *vector, size_t count) {
  double square = 0;
  for (size_t i = 0; i < count; i++)
    square += (double)vector[i] * (double)vector[i];
  const double scale = 1 / fmax(sqrt(square), EPSILON);
  for (size_t i = 0; i < count; i++)
    vector[i] = (float)((double)vector[i] * scale);
}

/* The weights in use. */
static int run_forward(struct graph *graph, const struct op *op, struct guise_error *err) {
  (void)err;
  const struct node *node = &graph->nodes[op->node];
  const struct graph_parameter *weight = node_parameter(graph, node, WEIGHT);
  float *u = node_parameter(graph, node, SPECTRAL_U)->value,
        *v = node_parameter(graph, node, SPECTRAL_V)->value;
  float *used = spectral_weights(graph, node), *product = used; /* W v, before the weights take its place */
  const uint64_t out = weight->shape[0], in = weight->count / out;
  const uint32_t threads = graph->config.threads;
  if (graph->mode == GRAPH_TRAIN) {
    blas_multiply(threads, false, false, 1, in, out, u, out, weight->value, in, 0.0f, v, in);
    spectral_unit(v, in);
  }
  blas_multiply(threads, false, true, 1, out, in, v, in, weight->value, in, 0.0f, product, out);
  if (graph->mode == GRAPH_TRAIN) {
    for (uint64_t o = 0; o < out; o++)
      u[o] = product[o];
    spectral_unit(u, out);
  }
  double sigma = 0;
  for (uint64_t o = 0; o < out; o++)
    sigma += (double)u[o] * (double)product[o];
  const float inverse = (float)(1 / sigma);
#pragma omp parallel for num_threads((int)threads)
  for (size_t i = 0; i < weight->count; i++)
    used[i] = weight->value[i] * inverse;
  used[weight->count] = (float)sigma;
  return 0;
}

/* The weights' gradient, from that of the weights in use, in place. */
static int run_backward(struct graph *graph, const struct op *op, struct guise_error *err) {
  (void)err;
  const struct node *node = &graph->nodes[op->node];
  const struct graph_parameter *weight = node_parameter(graph, node, WEIGHT);
  const float *u = node_parameter(graph, node, SPECTRAL_U)->value,
              *v = node_parameter(graph, node, SPECTRAL_V)->value;
  const float *used = spectral_weights(graph, node), inverse = 1.0f / used[weight->count];
  const uint64_t out = weight->shape[0], in = weight->count / out;
  double product = 0;
  for (size_t i = 0; i < weight->count; i++)
    product += (double)weight->gradient[i] * (double)used[i];
#pragma omp parallel for num_threads((int)graph->config.threads)
  for (uint64_t o = 0; o < out; o++) {
    float *gradient = weight->gradient + o * in;
    const float share = (float)product * u[o];
    for (uint64_t i = 0; i < in; i++)
      gradient[i] = (gradient[i] - share * v[i]) * inverse;
  }
  return 0;
}

int spectral_forward(struct graph *graph, int index) {
  struct node *node = &graph->nodes[index];
  const size_t count = node_parameter(graph, node, WEIGHT)->count;
  node->spectral = plan_buffer(graph, (count + 1) * sizeof(float), true); /* pinned: read by conversions */
  struct op *op = graph_emit(graph, "spectral norm", run_forward, index, 0);
  if (!op || node->spectral < 0)
    return graph->error.code;
  op->buffer[0] = node->spectral;
  return 0;
}

int spectral_backward(struct graph *graph, int index) {
  struct op *op = graph_emit(graph, "spectral norm", run_backward, index, 0);
  if (!op)
    return graph->error.code;
  op->buffer[0] = graph->nodes[index].spectral;
  return 0;
}
