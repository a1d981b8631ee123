/* Pooling: (C,H,W) -> (C,H',W') with H' = floor((H + 2 padding - kernel) / stride) + 1, as PyTorch.
 *   max      the largest value of the window; its gradient goes to the first such value in reading order
 *   average  the sum of the window over kernel^2, padding counted as zeros; global: over the whole image */
#include <math.h>
#include <string.h>

#include "core/nn/planes.h"

static int describe(struct graph *graph, int x, const struct layer_type *type, uint32_t kernel,
                    uint32_t stride, uint32_t padding) {
  const struct node *source = graph_operand(graph, x, type->name);
  if (!source)
    return graph->error.code;
  const uint32_t h = source->shape.h, w = source->shape.w;
  if (kernel == 0 || kernel > 1024 || stride == 0 || stride > 1024 || padding > kernel / 2)
    return GRAPH_FAIL(graph, -EINVAL, "%s: kernel %u, stride %u and padding %u are not possible", type->name,
                      kernel, stride, padding);
  if (h + 2 * padding < kernel || w + 2 * padding < kernel)
    return GRAPH_FAIL(graph, -EINVAL, "%s: a %u x %u window does not fit into %u x %u pixels", type->name,
                      kernel, kernel, h, w);
  const struct shape shape = {source->shape.c, (h + 2 * padding - kernel) / stride + 1,
                              (w + 2 * padding - kernel) / stride + 1};
  struct node *node = graph_append(graph, type, shape, NULL);
  if (node) {
    node->pool.height = node->pool.width = kernel;
    node->pool.stride = stride;
    node->pool.padding = padding;
  }
  return graph_connect(graph, node, x, -1);
}

int graph_max_pool(struct graph *graph, int x, uint32_t kernel, uint32_t stride, uint32_t padding) {
  return describe(graph, x, &layer_max_pool, kernel, stride, padding);
}

int graph_average_pool(struct graph *graph, int x, uint32_t kernel, uint32_t stride, uint32_t padding) {
  return describe(graph, x, &layer_average_pool, kernel, stride, padding);
}

int graph_global_average_pool(struct graph *graph, int x) {
  const struct node *source = graph_operand(graph, x, "average pool");
  if (!source)
    return graph->error.code;
  const struct shape in = source->shape;
  struct node *node = graph_append(graph, &layer_average_pool, (struct shape){in.c, 1, 1}, NULL);
  if (node) {
    node->pool.height = in.h;
    node->pool.width = in.w;
    node->pool.stride = 1;
    node->pool.padding = 0;
  }
  return graph_connect(graph, node, x, -1);
}

/* The pixels of the input that window (row, column) of the output covers. */
struct window {
  uint32_t top, bottom, left, right;
};

static struct window window_at(const struct plane *p, uint32_t row, uint32_t column) {
  const uint32_t padding = p->node->pool.padding, stride = p->node->pool.stride;
  const uint32_t top = row * stride, left = column * stride; /* in the padded image */
  return (struct window){.top = top > padding ? top - padding : 0,
                         .bottom = MIN(p->in.h, top + p->node->pool.height - padding),
                         .left = left > padding ? left - padding : 0,
                         .right = MIN(p->in.w, left + p->node->pool.width - padding)};
}

static size_t pixel(const struct plane *p, uint32_t row, uint32_t column) {
  return ((size_t)row * p->in.w + column) * p->block;
}

static void max_window(const struct plane *p, struct window window, float *y) {
  memcpy(y, p->x + pixel(p, window.top, window.left), p->block * sizeof(float));
  for (uint32_t u = window.top; u < window.bottom; u++)
    for (uint32_t v = window.left; v < window.right; v++) {
      const float *x = p->x + pixel(p, u, v);
      for (uint32_t j = 0; j < p->block; j++)
        y[j] = x[j] > y[j] || isnan(x[j]) ? x[j] : y[j]; /* as PyTorch: a NaN shows */
    }
}

static void max_window_back(const struct plane *p, struct window window, const float *y, const float *dy) {
  for (uint32_t j = 0; j < p->lanes; j++) {
    bool found = false;
    for (uint32_t u = window.top; !found && u < window.bottom; u++)
      for (uint32_t v = window.left; !found && v < window.right; v++) {
        const size_t at = pixel(p, u, v) + j;
        found = p->x[at] == y[j];
        if (found)
          p->dx[at] += dy[j];
      }
  }
}

static void average_window(const struct plane *p, struct window window, float *y) {
  const float scale = 1.0f / ((float)p->node->pool.height * (float)p->node->pool.width);
  memset(y, 0, p->block * sizeof(float));
  for (uint32_t u = window.top; u < window.bottom; u++)
    for (uint32_t v = window.left; v < window.right; v++) {
      const float *x = p->x + pixel(p, u, v);
      for (uint32_t j = 0; j < p->block; j++)
        y[j] += x[j];
    }
  for (uint32_t j = 0; j < p->block; j++)
    y[j] *= scale;
}

static void average_window_back(const struct plane *p, struct window window, const float *dy) {
  const float scale = 1.0f / ((float)p->node->pool.height * (float)p->node->pool.width);
  for (uint32_t u = window.top; u < window.bottom; u++)
    for (uint32_t v = window.left; v < window.right; v++) {
      float *dx = p->dx + pixel(p, u, v);
      for (uint32_t j = 0; j < p->block; j++)
        dx[j] += scale * dy[j];
    }
}

static void pool(const struct plane *p) {
  const bool max = p->node->type == &layer_max_pool, back = p->dx != NULL;
  if (back)
    memset(p->dx, 0, shape_rows(p->in) * p->block * sizeof(float));
  for (uint32_t row = 0; row < p->out.h; row++)
    for (uint32_t column = 0; column < p->out.w; column++) {
      const size_t at = ((size_t)row * p->out.w + column) * p->block;
      const struct window window = window_at(p, row, column);
      if (max && back)
        max_window_back(p, window, p->y + at, p->dy + at);
      else if (max)
        max_window(p, window, p->y + at);
      else if (back)
        average_window_back(p, window, p->dy + at);
      else
        average_window(p, window, p->y + at);
    }
}

static int run(struct graph *graph, const struct op *op, struct guise_error *err) {
  (void)err;
  return planes_run(graph, op, pool);
}

static int forward(struct graph *graph, int index) {
  return planes_forward(graph, index, run, false);
}

static int backward(struct graph *graph, int index, int dy) {
  const bool max = graph->nodes[index].type == &layer_max_pool;
  return planes_backward(graph, index, dy, run, max, max, false);
}

const struct layer_type layer_max_pool = {.name = "max pool", .forward = forward, .backward = backward};
const struct layer_type layer_average_pool = {
    .name = "average pool", .forward = forward, .backward = backward};
