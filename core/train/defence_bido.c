/* BiDO, bilateral dependency optimization (Peng et al., KDD 2022, arXiv 2206.05483): hidden layers are to
 * depend less on the input and more on the label,
 *
 *   L + sum over layers of a1 HSIC(h, x) - a2 HSIC(h, y),   HSIC(h, x) = tr(K J L J) / (B - 1)^2,  J = 1 -
 * 1/B
 *
 * (Gretton et al., ALT 2005) over the batch of B samples, with linear kernels K = H H', L = X X'. x are the
 * network's inputs, y the labels (of mixes the weights of the people), h the outputs of each stage of blocks.
 * [R]: rows of h and x are scaled to length 1. Norms follow the blocks, so that the length of h says nothing,
 * and without a bound the label's term would grow with it for ever.
 *
 * With M = J (a1 L_x - a2 L_y) J / (B - 1)^2 both terms are sum_ij M_ij K_ij, and their gradient for the rows
 * of length 1 is 2 M H. */
#include <math.h>
#include <string.h>

#include "core/base/memory.h"
#include "core/nn/blas.h"
#include "core/train/defence_rows.h"

enum { INPUT_WEIGHT, LABEL_WEIGHT };

static const struct defence_parameter parameters[] = {
    {"input_weight", "of the dependence on the input", 0, 1000, 0.05, false},
    {"label_weight", "of the dependence on the label", 0, 1000, 0.5, false},
};

struct bido {
  float *unit;            /* (batch, values of the largest layer or the input) */
  float *inverse;         /* (batch) */
  float *kernel, *wanted; /* (batch, batch): K, M */
};

static void describe(const struct defence *d, struct graph_config *config, struct arch_options *options) {
  (void)d;
  (void)config;
  options->taps = true;
}

static void release(void *state) {
  struct bido *b = state;
  tensor_free(b->unit);
  tensor_free(b->inverse);
  tensor_free(b->kernel);
  tensor_free(b->wanted);
  free(b);
}

static int setup(struct trainer *t, struct defence *d, const struct job_inputs *inputs,
                 struct guise_error *err) {
  struct bido *b = calloc(1, sizeof(*b));
  const size_t batch = t->batch;
  size_t widest = mask_elements(t->mask);
  (void)inputs;
  if (!b)
    return error_set(err, -ENOMEM, "out of memory for bido");
  d->state = b;
  for (uint32_t i = 0; i < graph_taps(t->graph); i++)
    widest = MAX(widest, graph_tap_data(t->graph, i).count);
  b->unit = tensor_alloc(batch * widest * sizeof(float));
  b->inverse = tensor_alloc(batch * sizeof(float));
  b->kernel = tensor_alloc(batch * batch * sizeof(float));
  b->wanted = tensor_alloc(batch * batch * sizeof(float));
  if (!b->unit || !b->inverse || !b->kernel || !b->wanted)
    return error_set(err, -ENOMEM, "out of memory for bido: choose a smaller train.batch");
  return 0;
}

/* Rows of x (batch, size) scaled to length 1, and their kernel. */
static void make_kernel(const struct trainer *t, struct bido *b, const float *x, size_t size) {
#pragma omp parallel for num_threads((int)t->threads) schedule(static)
  for (uint32_t i = 0; i < t->batch; i++) {
    const float *row = x + i * size;
    double square = 0;
    for (size_t k = 0; k < size; k++)
      square += (double)row[k] * (double)row[k];
    b->inverse[i] = (float)(1 / fmax(sqrt(square), 1e-12));
    for (size_t k = 0; k < size; k++)
      b->unit[i * size + k] = row[k] * b->inverse[i];
  }
  blas_multiply(t->threads, false, true, t->batch, t->batch, (uint32_t)size, b->unit, (uint32_t)size, b->unit,
                (uint32_t)size, 0.0f, b->kernel, t->batch);
}

static double shared_label(const struct trainer *t, uint32_t i, uint32_t k) {
  const struct head_label *a = t->labels + (size_t)i * MIX_MAX, *b = t->labels + (size_t)k * MIX_MAX;
  double sum = 0;
  for (uint32_t m = 0; m < t->label_counts[i]; m++)
    for (uint32_t n = 0; n < t->label_counts[k]; n++)
      sum += a[m].identity == b[n].identity ? (double)a[m].weight * (double)b[n].weight : 0;
  return sum;
}

/* J M J: rows and columns lose their means. */
static void centre(float *matrix, uint32_t n) {
  for (int side = 0; side < 2; side++)
    for (uint32_t i = 0; i < n; i++) {
      float *first = side ? matrix + i : matrix + (size_t)i * n;
      const size_t stride = side ? n : 1;
      double mean = 0;
      for (uint32_t k = 0; k < n; k++)
        mean += (double)first[k * stride] / n;
      for (uint32_t k = 0; k < n; k++)
        first[k * stride] -= (float)mean;
    }
}

static void make_wanted(const struct trainer *t, const struct defence *d) {
  struct bido *b = d->state;
  const uint32_t batch = t->batch;
  const double scale = 1.0 / ((double)(batch - 1) * (batch - 1));
  make_kernel(t, b, graph_input_data(t->graph), mask_elements(t->mask));
  for (uint32_t i = 0; i < batch; i++)
    for (uint32_t k = 0; k < batch; k++) {
      const size_t at = (size_t)i * batch + k;
      b->wanted[at] = (float)(scale * (d->choice->parameter[INPUT_WEIGHT] * (double)b->kernel[at] -
                                       d->choice->parameter[LABEL_WEIGHT] * shared_label(t, i, k)));
    }
  centre(b->wanted, batch);
}

/* The layer's part of the loss; its gradient goes to the tap. */
static double layer_loss(const struct trainer *t, struct bido *b, const struct graph_tap *tap) {
  const uint32_t batch = t->batch;
  double loss = 0;
  make_kernel(t, b, tap->value, tap->count);
  for (size_t i = 0; i < (size_t)batch * batch; i++)
    loss += (double)b->wanted[i] * (double)b->kernel[i];
  blas_multiply(t->threads, false, false, batch, (uint32_t)tap->count, batch, b->wanted, batch, b->unit,
                (uint32_t)tap->count, 0.0f, tap->gradient, (uint32_t)tap->count);
#pragma omp parallel for num_threads((int)t->threads) schedule(static)
  for (uint32_t i = 0; i < batch; i++) { /* through the scaling: what lies along the row has no effect */
    const float *unit = b->unit + i * tap->count;
    float *g = tap->gradient + i * tap->count;
    double along = 0;
    for (size_t k = 0; k < tap->count; k++)
      along += (double)g[k] * (double)unit[k];
    for (size_t k = 0; k < tap->count; k++)
      g[k] = 2 * (g[k] - (float)along * unit[k]) * b->inverse[i];
  }
  return loss;
}

static int after_forward(struct trainer *t, const struct defence *d, double *loss, struct guise_error *err) {
  (void)err;
  make_wanted(t, d);
  for (uint32_t i = 0; i < graph_taps(t->graph); i++) {
    const struct graph_tap tap = graph_tap_data(t->graph, i);
    *loss += layer_loss(t, d->state, &tap);
  }
  return 0;
}

const struct defence_row defence_bido = {
    .traits = {.name = "bido",
               .summary = "hidden layers depend less on the input, more on the label",
               .granted = "The terms of bido compare the samples of a batch, and one sample has none.",
               .parameters = parameters,
               .parameter_count = ARRAY_SIZE(parameters)},
    .describe = describe,
    .setup = setup,
    .release = release,
    .after_forward = after_forward};
