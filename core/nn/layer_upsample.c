/* Enlarging images by a whole factor f: (C,H,W) -> (C,fH,fW).
 *   nearest   y[p][q] = x[floor(p/f)][floor(q/f)]
 *   bilinear  y[p][q] is read at ((p + 1/2)/f - 1/2, (q + 1/2)/f - 1/2), not before 0, between its four
 *             neighbours; beyond the last row or column that one repeats (PyTorch with align_corners=false)
 * Both are linear: the gradient is the transpose. */
#include <string.h>

#include "core/nn/planes.h"

#define FACTOR_MAX 64u

int graph_upsample(struct graph *graph, int x, uint32_t factor, enum graph_upsampling how) {
  const struct node *source = graph_operand(graph, x, "upsample");
  if (!source)
    return graph->error.code;
  if (factor == 0 || factor > FACTOR_MAX)
    return GRAPH_FAIL(graph, -EINVAL, "upsample: the factor must be 1 to %u, not %u", FACTOR_MAX, factor);
  const struct shape in = source->shape;
  struct node *node =
      graph_append(graph, &layer_upsample, (struct shape){in.c, in.h * factor, in.w * factor}, NULL);
  if (node) {
    node->upsample.factor = factor;
    node->upsample.how = how;
  }
  return graph_connect(graph, node, x, -1);
}

/* Where a row or column of the output lies in the input: (1 - far) x[first] + far x[second]. */
struct place {
  uint32_t first, second;
  float far;
};

static struct place place_of(const struct node *node, uint32_t position, uint32_t size) {
  const uint32_t factor = node->upsample.factor;
  if (node->upsample.how == UPSAMPLE_NEAREST)
    return (struct place){position / factor, position / factor, 0};
  const float at = ((float)position + 0.5f) / (float)factor - 0.5f;
  const float inside = at > 0 ? at : 0;
  const uint32_t first = MIN((uint32_t)inside, size - 1);
  return (struct place){first, MIN(first + 1, size - 1), inside - (float)first};
}

static void upsample_row(const struct plane *p, uint32_t row) {
  const struct place vertical = place_of(p->node, row, p->in.h);
  const size_t width = (size_t)p->in.w * p->block;
  const float *top = p->x + vertical.first * width, *bottom = p->x + vertical.second * width;
  for (uint32_t column = 0; column < p->out.w; column++) {
    const struct place across = place_of(p->node, column, p->in.w);
    const size_t left = (size_t)across.first * p->block, right = (size_t)across.second * p->block;
    const float a = (1 - vertical.far) * (1 - across.far), b = (1 - vertical.far) * across.far,
                c = vertical.far * (1 - across.far), d = vertical.far * across.far;
    float *y = p->y + ((size_t)row * p->out.w + column) * p->block;
    for (uint32_t j = 0; j < p->block; j++)
      y[j] = a * top[left + j] + b * top[right + j] + c * bottom[left + j] + d * bottom[right + j];
  }
}

static void upsample_row_back(const struct plane *p, uint32_t row) {
  const struct place vertical = place_of(p->node, row, p->in.h);
  const size_t width = (size_t)p->in.w * p->block;
  float *top = p->dx + vertical.first * width, *bottom = p->dx + vertical.second * width;
  for (uint32_t column = 0; column < p->out.w; column++) {
    const struct place across = place_of(p->node, column, p->in.w);
    const size_t left = (size_t)across.first * p->block, right = (size_t)across.second * p->block;
    const float a = (1 - vertical.far) * (1 - across.far), b = (1 - vertical.far) * across.far,
                c = vertical.far * (1 - across.far), d = vertical.far * across.far;
    const float *dy = p->dy + ((size_t)row * p->out.w + column) * p->block;
    for (uint32_t j = 0; j < p->block; j++) { /* neighbours may be the same pixel */
      top[left + j] += a * dy[j];
      top[right + j] += b * dy[j];
      bottom[left + j] += c * dy[j];
      bottom[right + j] += d * dy[j];
    }
  }
}

static void upsample(const struct plane *p) {
  for (uint32_t row = 0; row < p->out.h; row++)
    upsample_row(p, row);
}

static void upsample_back(const struct plane *p) {
  memset(p->dx, 0, shape_rows(p->in) * p->block * sizeof(float));
  for (uint32_t row = 0; row < p->out.h; row++)
    upsample_row_back(p, row);
}

static int run_forward(struct graph *graph, const struct op *op, struct guise_error *err) {
  (void)err;
  return planes_run(graph, op, upsample);
}

static int run_backward(struct graph *graph, const struct op *op, struct guise_error *err) {
  (void)err;
  return planes_run(graph, op, upsample_back);
}

static int forward(struct graph *graph, int index) {
  return planes_forward(graph, index, run_forward, false);
}

static int backward(struct graph *graph, int index, int dy) {
  return planes_backward(graph, index, dy, run_backward, false, false, false);
}

const struct layer_type layer_upsample = {.name = "upsample", .forward = forward, .backward = backward};
