/* Plain (N,C,H,W) floats <-> the engine's tensors: (N, C/B, H*W, B) in blocks of B channels, the last block
 * padded with zeros, float or bfloat16. A plain node's tensor differs from its floats in nothing but the
 * element. */
#include "core/nn/element.h"
#include "core/nn/graph_internal.h"

size_t layout_count(const struct graph *graph, const struct node *node) {
  return (size_t)shape_rows(node->shape) * (node->plain ? node->shape.c : graph_padded(graph, node->shape.c));
}

static inline __attribute__((always_inline)) void pack_body(const float *plain, struct shape shape,
                                                            uint32_t block, const bool half, void *tensor) {
  const size_t rows = shape_rows(shape);
  for (uint32_t c0 = 0; c0 < shape.c; c0 += block) {
    const uint32_t width = MIN(block, shape.c - c0);
    const float *from = plain + c0 * rows;
    for (size_t r = 0; r < rows; r++)
      for (uint32_t j = 0; j < block; j++)
        element_set(tensor, c0 * rows + r * block + j, j < width ? from[j * rows + r] : 0.0f, half);
  }
}

void layout_pack_image(const float *plain, struct shape shape, uint32_t block, bool half, void *ret_tensor) {
  if (half)
    pack_body(plain, shape, block, true, ret_tensor);
  else
    pack_body(plain, shape, block, false, ret_tensor);
}

static inline __attribute__((always_inline)) void unpack_body(const void *tensor, struct shape shape,
                                                              uint32_t block, const bool half, float *plain) {
  const size_t rows = shape_rows(shape);
  for (uint32_t c0 = 0; c0 < shape.c; c0 += block) {
    const uint32_t width = MIN(block, shape.c - c0);
    float *to = plain + c0 * rows;
    for (uint32_t j = 0; j < width; j++)
      for (size_t r = 0; r < rows; r++)
        to[j * rows + r] = element_get(tensor, c0 * rows + r * block + j, half);
  }
}

void layout_unpack_image(const void *tensor, struct shape shape, uint32_t block, bool half,
                         float *ret_plain) {
  if (half)
    unpack_body(tensor, shape, block, true, ret_plain);
  else
    unpack_body(tensor, shape, block, false, ret_plain);
}

size_t layout_blocked_bytes(const struct graph *graph, const struct node *node) {
  return graph_padded(graph, node->shape.c) * shape_rows(node->shape) * node_element(node);
}

void layout_pack(const struct graph *graph, const struct node *node, const float *plain, void *tensor) {
  const size_t from = shape_count(node->shape), to = layout_blocked_bytes(graph, node);
#pragma omp parallel for num_threads((int)graph->config.threads)
  for (uint32_t n = 0; n < graph->config.batch; n++)
    layout_pack_image(plain + n * from, node->shape, graph->block, node->half, (char *)tensor + n * to);
}

void layout_unpack(const struct graph *graph, const struct node *node, const void *tensor, float *plain) {
  const size_t from = layout_blocked_bytes(graph, node), to = shape_count(node->shape);
#pragma omp parallel for num_threads((int)graph->config.threads)
  for (uint32_t n = 0; n < graph->config.batch; n++)
    layout_unpack_image((const char *)tensor + n * from, node->shape, graph->block, node->half,
                        plain + n * to);
}

int layout_run_pack(struct graph *graph, const struct op *op, struct guise_error *err) {
  (void)err;
  layout_pack(graph, &graph->nodes[op->node], graph_buffer(graph, op->buffer[0]),
              graph_buffer(graph, op->buffer[1]));
  return 0;
}

int layout_run_unpack(struct graph *graph, const struct op *op, struct guise_error *err) {
  (void)err;
  layout_unpack(graph, &graph->nodes[op->node], graph_buffer(graph, op->buffer[0]),
                graph_buffer(graph, op->buffer[1]));
  return 0;
}
