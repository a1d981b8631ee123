#include "core/nn/image_norm.h"

#include <string.h>

struct images {
  const struct kernels *kernels;
  struct kernel_shape shape;
  size_t padded;
  uint32_t batch;
  int threads;
};

static struct images describe(const struct graph *graph, const struct node *node) {
  const uint32_t padded = graph_padded(graph, node->shape.c);
  return (struct images){.kernels = node_kernels(graph, node),
                         .shape = {padded / graph->block, (uint32_t)shape_rows(node->shape)},
                         .padded = padded,
                         .batch = graph->config.batch,
                         .threads = (int)graph->config.threads};
}

void image_statistics(const struct graph *graph, const struct node *node, const void *x, double *ret_sums) {
  const struct images i = describe(graph, node);
#pragma omp parallel for num_threads(i.threads)
  for (uint32_t n = 0; n < i.batch; n++) {
    double *sums[2] = {ret_sums + n * 2 * i.padded, ret_sums + (n * 2 + 1) * i.padded};
    memset(sums[0], 0, 2 * i.padded * sizeof(double));
    i.kernels->statistics(i.shape, x, (uint64_t)n * i.shape.blocks, ((uint64_t)n + 1) * i.shape.blocks, sums);
  }
}

void image_scale(const struct graph *graph, const struct node *node, const void *x, const float *scale,
                 const float *shift, void *y) {
  const struct images i = describe(graph, node);
#pragma omp parallel for num_threads(i.threads)
  for (uint32_t n = 0; n < i.batch; n++) {
    const struct forward_pass pass = {
        .shape = i.shape, .x1 = x, .scale1 = scale + n * i.padded, .shift1 = shift + n * i.padded, .y = y};
    i.kernels->forward(&pass, (uint64_t)n * i.shape.blocks, ((uint64_t)n + 1) * i.shape.blocks,
                       (double *[2]){NULL, NULL});
  }
}

void image_reduce(const struct graph *graph, const struct node *node, const void *dy, const void *x,
                  const float *mean, size_t mean_stride, double *ret_sums) {
  const struct images i = describe(graph, node);
#pragma omp parallel for num_threads(i.threads)
  for (uint32_t n = 0; n < i.batch; n++) {
    double *sums[4] = {ret_sums + n * 2 * i.padded, ret_sums + (n * 2 + 1) * i.padded, NULL, NULL};
    memset(sums[0], 0, 2 * i.padded * sizeof(double));
    const struct reduce_pass pass = {.shape = i.shape, .dy = dy, .x1 = x, .mean1 = mean + n * mean_stride};
    i.kernels->reduce(&pass, (uint64_t)n * i.shape.blocks, ((uint64_t)n + 1) * i.shape.blocks, sums);
  }
}

void image_apply(const struct graph *graph, const struct node *node, const void *dy, const void *x,
                 const float *k, const float *mean, const float *p, const float *q, size_t stride, void *dx) {
  const struct images i = describe(graph, node);
#pragma omp parallel for num_threads(i.threads)
  for (uint32_t n = 0; n < i.batch; n++) {
    struct apply_pass pass = {.shape = i.shape, .dy = dy, .x = x, .k = k + n * i.padded, .dx = dx};
    if (p) {
      pass.mean = mean + n * stride;
      pass.p = p + n * stride;
      pass.q = q + n * stride;
    }
    i.kernels->apply(&pass, (uint64_t)n * i.shape.blocks, ((uint64_t)n + 1) * i.shape.blocks);
  }
}

int image_norm_backward(struct graph *graph, int index, int dy,
                        int (*run)(struct graph *graph, const struct op *op, struct guise_error *err)) {
  const struct node *node = &graph->nodes[index], *source = &graph->nodes[node->input[0]];
  struct op *op = graph_emit(graph, "backward", run, index, 0);
  if (!op)
    return graph->error.code;
  op->buffer[0] = dy;
  op->buffer[1] = source->value;
  op->buffer[3] = node->extra;
  if (!source->wants_gradient)
    return 0;
  const int dx = graph_exclusive(graph, dy, 0) ? dy : graph_tensor(graph, node);
  if (dx < 0)
    return dx;
  op->buffer[2] = dx;
  return graph_contribute(graph, node->input[0], dx);
}
