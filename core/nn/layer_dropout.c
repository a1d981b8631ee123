/* Dropout (Srivastava et al., JMLR 15:1929): y = x / (1 - p) where a 16-bit draw is at least p 2^16, else 0.
 * Draws belong to (seed, step, layer, image, plain index), whatever the layout and the threads. */
#include <math.h>
#include <string.h>

#include "core/base/philox.h"
#include "core/nn/element.h"
#include "core/nn/graph_internal.h"

#define LAYERS_MAX 256 /* what the draws' key has room for */

int graph_dropout(struct graph *graph, int x, float probability) {
  const struct node *source = graph_operand(graph, x, "dropout");
  if (!source)
    return graph->error.code;
  if (!(probability >= 0 && probability < 1))
    return GRAPH_FAIL(graph, -EINVAL, "dropout: the probability must be at least 0 and below 1, not %g",
                      (double)probability);
  if (probability == 0)
    return x;
  int ordinal = 0;
  for (uint32_t i = 0; i < graph->node_count; i++)
    ordinal += graph->nodes[i].type == &layer_dropout;
  if (ordinal >= LAYERS_MAX)
    return GRAPH_FAIL(graph, -EINVAL, "at most %d dropout layers are possible", LAYERS_MAX);
  struct node *node = graph_append(graph, &layer_dropout, source->shape, NULL);
  if (node) {
    node->dropout.probability = probability;
    node->dropout.ordinal = ordinal;
  }
  return graph_connect(graph, node, x, -1);
}

static void draw_mask(const struct graph *graph, uint32_t layer, uint32_t image, uint32_t threshold,
                      uint8_t *mask, size_t count) {
  struct rng rng;
  rng_init(&rng, graph->config.seed, RNG_DROPOUT, graph->step, layer << 16 | image);
  for (size_t i = 0; i < count; i += 2) {
    const uint32_t word = rng_u32(&rng);
    mask[i] = (word & 0xffffu) >= threshold;
    if (i + 1 < count)
      mask[i + 1] = word >> 16 >= threshold;
  }
}

static void mask_image(const void *x, const uint8_t *mask, struct shape shape, uint32_t block, float scale,
                       bool half, void *y) {
  const size_t rows = shape_rows(shape);
  for (uint32_t c0 = 0; c0 < shape.c; c0 += block)
    for (size_t r = 0; r < rows; r++)
      for (uint32_t j = 0; j < block; j++) {
        const size_t i = c0 * rows + r * block + j;
        const bool keep = c0 + j < shape.c && mask[(c0 + j) * rows + r];
        element_set(y, i, keep ? element_get(x, i, half) * scale : 0.0f, half);
      }
}

/* x or dy, y or dx, mask; op->operand: 1 = forward */
static int run(struct graph *graph, const struct op *op, struct guise_error *err) {
  (void)err;
  const struct node *node = &graph->nodes[op->node];
  const size_t count = shape_count(node->shape), bytes = layout_count(graph, node) * node_element(node);
  const char *x = (const char *)graph_buffer(graph, op->buffer[0]);
  char *y = (char *)graph_buffer(graph, op->buffer[1]);
  uint8_t *mask = (uint8_t *)graph_buffer(graph, op->buffer[2]);
  const uint32_t threshold = (uint32_t)lrintf(node->dropout.probability * 65536.0f);
  const float scale = 1.0f / (1.0f - node->dropout.probability);
  const bool on = graph->mode == GRAPH_TRAIN;
#pragma omp parallel for num_threads((int)graph->config.threads)
  for (uint32_t n = 0; n < graph->config.batch; n++) {
    if (on && op->operand)
      draw_mask(graph, (uint32_t)node->dropout.ordinal, n, threshold, mask + n * count, count);
    if (on)
      mask_image(x + n * bytes, mask + n * count, node->shape, graph->block, scale, node->half,
                 y + n * bytes);
    else if (x != y)
      memcpy(y + n * bytes, x + n * bytes, bytes);
  }
  return 0;
}

static int forward(struct graph *graph, int index) {
  struct node *node = &graph->nodes[index];
  node->value = graph_value(graph, index, node->input[0]);
  node->extra =
      plan_buffer(graph, graph->config.batch * shape_count(node->shape), false); /* the mask, bytes */
  struct op *op = graph_emit(graph, "forward", run, index, 0);
  if (!op || node->value < 0 || node->extra < 0)
    return graph->error.code;
  op->operand = 1;
  op->buffer[0] = graph->nodes[node->input[0]].value;
  op->buffer[1] = node->value;
  op->buffer[2] = node->extra;
  return 0;
}

static int backward(struct graph *graph, int index, int dy) {
  const struct node *node = &graph->nodes[index];
  const int dx = graph_exclusive(graph, dy, 0) ? dy : graph_tensor(graph, node);
  struct op *op = graph_emit(graph, "backward", run, index, 0);
  if (!op || dx < 0)
    return graph->error.code;
  op->buffer[0] = dy;
  op->buffer[1] = dx;
  op->buffer[2] = node->extra;
  return graph_contribute(graph, node->input[0], dx);
}

static int visit(const struct graph *graph, int index, const struct graph_visitor *visitor) {
  if (!visitor->identity)
    return -ENOTSUP;
  return visitor->identity(visitor->context, graph_value_of(graph, graph->nodes[index].input[0]),
                           graph_value_of(graph, index));
}

const struct layer_type layer_dropout = {
    .name = "dropout", .forward = forward, .backward = backward, .visit = visit};
