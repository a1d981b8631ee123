/* Concatenation along channels: (A,H,W) and (B,H,W) -> (A+B,H,W). Where A is no whole number of blocks, the
 * lanes of the second input move by A mod block; a block of the output then takes lanes from two places. */
#include "core/nn/element.h"
#include "core/nn/graph_internal.h"

int graph_concat(struct graph *graph, int a, int b) {
  const struct node *first = graph_operand(graph, a, "concat"), *second = graph_operand(graph, b, "concat");
  if (!first || !second)
    return graph->error.code;
  const struct shape p = first->shape, q = second->shape;
  if (p.h != q.h || p.w != q.w)
    return GRAPH_FAIL(graph, -EINVAL, "concat: %u x %u and %u x %u pixels differ", p.h, p.w, q.h, q.w);
  return graph_connect(graph, graph_append(graph, &layer_concat, (struct shape){p.c + q.c, p.h, p.w}, NULL),
                       a, b);
}

/* `count` channels from channel `from_at` of one image to `to_at` of another, each in its own element. */
struct lanes {
  size_t rows;
  uint32_t block, count, from_at, to_at;
  const void *from;
  void *to;
};

static inline __attribute__((always_inline)) void copy_body(const struct lanes *l, const bool from_half,
                                                            const bool to_half) {
  const uint32_t block = l->block;
  for (uint32_t c = 0; c < l->count;) { /* runs of channels that are neighbours in both */
    const uint32_t from = l->from_at + c, to = l->to_at + c;
    const uint32_t run = MIN(l->count - c, MIN(block - from % block, block - to % block));
    const size_t x = (size_t)(from / block) * block * l->rows + from % block;
    const size_t y = (size_t)(to / block) * block * l->rows + to % block;
    for (size_t r = 0; r < l->rows; r++)
      for (uint32_t j = 0; j < run; j++)
        element_set(l->to, y + r * block + j, element_get(l->from, x + r * block + j, from_half), to_half);
    c += run;
  }
}

static void copy(const struct lanes *lanes, bool from_half, bool to_half) {
  if (from_half && to_half)
    copy_body(lanes, true, true);
  else if (from_half)
    copy_body(lanes, true, false);
  else if (to_half)
    copy_body(lanes, false, true);
  else
    copy_body(lanes, false, false);
}

/* The lanes beyond the last channel. */
static void clear_padding(const struct graph *graph, const struct node *node, void *image) {
  const uint32_t block = graph->block, last = node->shape.c / block;
  const size_t rows = shape_rows(node->shape), at = last * block * rows;
  for (size_t r = 0; node->shape.c % block != 0 && r < rows; r++)
    for (uint32_t j = node->shape.c % block; j < block; j++)
      element_set(image, at + r * block + j, 0, node->half);
}

/* a, b, y */
static int run_forward(struct graph *graph, const struct op *op, struct guise_error *err) {
  (void)err;
  const struct node *node = &graph->nodes[op->node];
  char *y = (char *)graph_buffer(graph, op->buffer[2]);
#pragma omp parallel for num_threads((int)graph->config.threads)
  for (uint32_t n = 0; n < graph->config.batch; n++) {
    char *image = y + n * layout_blocked_bytes(graph, node);
    uint32_t at = 0;
    for (int k = 0; k < 2; k++) {
      const struct node *source = &graph->nodes[node->input[k]];
      const char *x =
          (const char *)graph_buffer(graph, op->buffer[k]) + n * layout_blocked_bytes(graph, source);
      copy(&(struct lanes){.rows = shape_rows(node->shape),
                           .block = graph->block,
                           .count = source->shape.c,
                           .to_at = at,
                           .from = x,
                           .to = image},
           source->half, node->half);
      at += source->shape.c;
    }
    clear_padding(graph, node, image);
  }
  return 0;
}

/* dy, dx of the input op->operand */
static int run_backward(struct graph *graph, const struct op *op, struct guise_error *err) {
  (void)err;
  const struct node *node = &graph->nodes[op->node], *source = &graph->nodes[node->input[op->operand]];
  const uint32_t at = op->operand ? graph->nodes[node->input[0]].shape.c : 0;
  const char *dy = (const char *)graph_buffer(graph, op->buffer[0]);
  char *dx = (char *)graph_buffer(graph, op->buffer[1]);
#pragma omp parallel for num_threads((int)graph->config.threads)
  for (uint32_t n = 0; n < graph->config.batch; n++) {
    char *image = dx + n * layout_blocked_bytes(graph, source);
    copy(&(struct lanes){.rows = shape_rows(node->shape),
                         .block = graph->block,
                         .count = source->shape.c,
                         .from_at = at,
                         .from = dy + n * layout_blocked_bytes(graph, node),
                         .to = image},
         node->half, source->half);
    clear_padding(graph, source, image);
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
  op->buffer[1] = graph->nodes[node->input[1]].value;
  op->buffer[2] = node->value;
  return 0;
}

static int backward(struct graph *graph, int index, int dy) {
  const struct node *node = &graph->nodes[index];
  int r = 0;
  for (int k = 0; r == 0 && k < 2; k++) {
    const struct node *source = &graph->nodes[node->input[k]];
    if (!source->wants_gradient)
      continue;
    const int dx = graph_tensor(graph, source);
    struct op *op = graph_emit(graph, "backward", run_backward, index, 0);
    if (!op || dx < 0)
      return graph->error.code;
    op->operand = k;
    op->buffer[0] = dy;
    op->buffer[1] = dx;
    r = graph_contribute(graph, node->input[k], dx);
  }
  return r;
}

const struct layer_type layer_concat = {.name = "concat", .forward = forward, .backward = backward};
