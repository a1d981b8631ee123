/* Transposed convolution: the transpose of a convolution with the same kernel, stride and padding, so that
 * (I,H,W) -> (O, (H-1) stride - 2 padding + kernel, likewise W):
 *   y[o][p][q] = sum of w[i][o][u][v] x[i][r][s] where r stride + u - padding = p, s stride + v - padding = q
 *   (+ b[o])
 * Weights are (I,O,K,K), as PyTorch's. The operations are the convolution's (layer_conv.c); the kernel
 * library exchanges their roles. With fewer output channels than a block it has nothing but its slow
 * reference code for the backward passes ("other" in graph_algorithms()), as for convolutions that read so
 * few blocked channels: a generator had better end with a convolution. */
#include <math.h>

#include "core/nn/graph_internal.h"

int graph_conv_transpose(struct graph *graph, int x, const char *name, const struct conv_options *options) {
  const struct node *source = graph_operand(graph, x, name);
  if (!source)
    return graph->error.code;
  const uint32_t k = options->kernel, s = options->stride, p = options->padding;
  if (k == 0 || k > 31 || s == 0 || s > 31 || p >= k || options->out_channels == 0)
    return GRAPH_FAIL(graph, -EINVAL,
                      "%s: kernel %u, stride %u, padding %u, %u channels is no transposed convolution", name,
                      k, s, p, options->out_channels);
  if (options->groups > 1 || options->spectral_norm)
    return GRAPH_FAIL(graph, -EINVAL, "%s: a transposed convolution has neither groups nor spectral norm",
                      name);
  const uint64_t h = (uint64_t)(source->shape.h - 1) * s + k, w = (uint64_t)(source->shape.w - 1) * s + k;
  if (h <= 2 * p || w <= 2 * p || h > UINT32_MAX || w > UINT32_MAX)
    return GRAPH_FAIL(graph, -EINVAL, "%s: a padding of %u leaves nothing of %llu x %llu pixels", name, p,
                      (unsigned long long)h, (unsigned long long)w);
  const struct shape shape = {options->out_channels, (uint32_t)h - 2 * p, (uint32_t)w - 2 * p};
  struct node *node = graph_append(graph, &layer_conv_transpose, shape, name);
  if (node)
    node->conv = *options;
  return graph_connect(graph, node, x, -1);
}

static int parameters(struct graph *graph, struct node *node) {
  const uint64_t shape[4] = {graph->nodes[node->input[0]].shape.c, node->conv.out_channels, node->conv.kernel,
                             node->conv.kernel};
  int r = parameter_add(graph, node, WEIGHT, "weight", 4, shape, NAN);
  if (r == 0 && node->conv.bias)
    r = parameter_add(graph, node, BIAS, "bias", 1, (const uint64_t[4]){node->conv.out_channels}, NAN);
  return r;
}

static int forward(struct graph *graph, int index) {
  return layer_conv.forward(graph, index);
}

static int backward(struct graph *graph, int index, int dy) {
  return layer_conv.backward(graph, index, dy);
}

const struct layer_type layer_conv_transpose = {.name = "transposed conv",
                                                .half_value = true,
                                                .parameters = parameters,
                                                .forward = forward,
                                                .backward = backward};
