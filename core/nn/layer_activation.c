/* Activations without parameters, element by element:
 *   leaky relu  y = x > 0 ? x : slope x     (Maas et al., ICML 2013)     dx = y > 0 ? dy : slope dy
 *   sigmoid     y = 1 / (1 + e^-x)                                       dx = dy y (1 - y)
 *   tanh        y = tanh x                                               dx = dy (1 - y^2)
 * Every gradient is a function of y, so that x need not be kept. */
#include <math.h>

#include "core/nn/planes.h"

enum activation { LEAKY_RELU, SIGMOID, TANH };

static int describe(struct graph *graph, int x, enum activation which, float slope, const char *what) {
  const struct node *source = graph_operand(graph, x, what);
  if (!source)
    return graph->error.code;
  if (!(slope >= 0 && isfinite(slope)))
    return GRAPH_FAIL(graph, -EINVAL, "%s: the slope must be at least 0, not %g", what, (double)slope);
  struct node *node = graph_append(graph, &layer_activation, source->shape, NULL);
  if (node) {
    node->activation.which = (int)which;
    node->activation.slope = slope;
  }
  return graph_connect(graph, node, x, -1);
}

int graph_leaky_relu(struct graph *graph, int x, float slope) {
  return describe(graph, x, LEAKY_RELU, slope, "leaky relu");
}

int graph_sigmoid(struct graph *graph, int x) {
  return describe(graph, x, SIGMOID, 0, "sigmoid");
}

int graph_tanh(struct graph *graph, int x) {
  return describe(graph, x, TANH, 0, "tanh");
}

static size_t count(const struct plane *p) {
  return shape_rows(p->out) * p->block;
}

static void leaky_relu(const struct plane *p) {
  const float slope = p->node->activation.slope, *x = p->x;
  const size_t n = count(p);
  float *y = p->y;
  for (size_t i = 0; i < n; i++)
    y[i] =
        (x[i] > 0 ? x[i] : 0) + slope * (0 < x[i] ? 0 : x[i]); /* no branch, of which half are mispredicted */
}

static void leaky_relu_back(const struct plane *p) {
  const float slope = p->node->activation.slope;
  const size_t n = count(p);
  for (size_t i = 0; i < n; i++)
    p->dx[i] = p->dy[i] * (p->y[i] > 0 ? 1.0f : slope);
}

static void sigmoid(const struct plane *p) {
  const size_t rows = shape_rows(p->out);
  for (size_t r = 0; r < rows; r++)
    for (uint32_t j = 0; j < p->block; j++) { /* half of nothing would not be zero */
      const size_t i = r * p->block + j;
      p->y[i] = j < p->lanes ? 1.0f / (1.0f + expf(-p->x[i])) : 0.0f;
    }
}

static void sigmoid_back(const struct plane *p) {
  const size_t n = count(p);
  for (size_t i = 0; i < n; i++)
    p->dx[i] = p->dy[i] * p->y[i] * (1.0f - p->y[i]);
}

static void hyperbolic(const struct plane *p) {
  const size_t n = count(p);
  for (size_t i = 0; i < n; i++)
    p->y[i] = tanhf(p->x[i]);
}

static void hyperbolic_back(const struct plane *p) {
  const size_t n = count(p);
  for (size_t i = 0; i < n; i++)
    p->dx[i] = p->dy[i] * (1.0f - p->y[i] * p->y[i]);
}

static const struct {
  void (*forward)(const struct plane *plane);
  void (*backward)(const struct plane *plane);
} table[] = {
    [LEAKY_RELU] = {leaky_relu, leaky_relu_back},
    [SIGMOID] = {sigmoid, sigmoid_back},
    [TANH] = {hyperbolic, hyperbolic_back},
};

static int run_forward(struct graph *graph, const struct op *op, struct guise_error *err) {
  (void)err;
  return planes_run(graph, op, table[graph->nodes[op->node].activation.which].forward);
}

static int run_backward(struct graph *graph, const struct op *op, struct guise_error *err) {
  (void)err;
  return planes_run(graph, op, table[graph->nodes[op->node].activation.which].backward);
}

static int forward(struct graph *graph, int index) {
  return planes_forward(graph, index, run_forward, true);
}

static int backward(struct graph *graph, int index, int dy) {
  return planes_backward(graph, index, dy, run_backward, false, true, true);
}

const struct layer_type layer_activation = {.name = "activation", .forward = forward, .backward = backward};
