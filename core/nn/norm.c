/* Batch norm (Ioffe and Szegedy, arXiv 1502.03167, as PyTorch computes it) and the fused element-wise
 * operations.
 *
 * Forward, with the biased variance; running statistics move by 0.1 towards mean and unbiased variance:
 *
 *   x^ = (x - mean) / sqrt(var + 1e-5),  y = gamma x^ + beta
 *
 * Backward, over m values a channel:
 *
 *   dbeta = sum g,  dgamma = sum g x^,  dx = gamma / sqrt(var + eps) (g - dbeta / m - x^ dgamma / m)
 *
 * Sums over an image are taken around one of its values (kernels.h), sums over images in double. */
#include <math.h>
#include <string.h>

#include "core/nn/graph_internal.h"

#define RUNNING_MOMENTUM 0.1

#define NORM_VECTORS 6u /* mean, inverse, scale, shift, p, q */

static size_t norm_bytes(const struct norm *norm) {
  const size_t vectors = (size_t)norm->padded * NORM_VECTORS * sizeof(float);
  const size_t pools = (size_t)norm->padded * 2 * sizeof(double);
  return (vectors + pools + 63) & ~(size_t)63;
}

int norms_plan(struct graph *graph) {
  size_t bytes = 0, widest = graph->block;
  for (uint32_t i = 0; i < graph->norm_count; i++) {
    struct norm *norm = &graph->norms[i];
    const struct shape shape = graph->nodes[norm->node].shape;
    norm->channels = shape.c;
    norm->padded = graph_padded(graph, shape.c);
    norm->images_rows = graph->config.batch * shape_rows(shape);
    bytes += norm_bytes(norm);
  }
  for (uint32_t i = 0; i < graph->node_count; i++)
    widest = MAX(widest, graph_padded(graph, graph->nodes[i].shape.c));
  graph->sums_stride = widest;
  const size_t sums = (size_t)graph->config.threads * 4 * widest * sizeof(double);
  graph->norm_buffer = plan_buffer(graph, bytes, true);
  graph->sums_buffer = plan_buffer(graph, sums, true);
  graph->constants_buffer = plan_buffer(graph, 2 * widest * sizeof(float), true);
  return MIN(0, MIN(graph->norm_buffer, MIN(graph->sums_buffer, graph->constants_buffer)));
}

void norms_bind(struct graph *graph) {
  uint8_t *memory = (uint8_t *)graph_buffer(graph, graph->norm_buffer);
  for (uint32_t i = 0; i < graph->norm_count; i++) {
    struct norm *norm = &graph->norms[i];
    float **const vectors[NORM_VECTORS] = {&norm->mean,  &norm->inverse, &norm->scale,
                                           &norm->shift, &norm->p,       &norm->q};
    for (uint32_t v = 0; v < NORM_VECTORS; v++)
      *vectors[v] = (float *)(void *)memory + (size_t)norm->padded * v;
    norm->pooled[0] = (double *)(void *)(norm->mean + (size_t)norm->padded * NORM_VECTORS);
    norm->pooled[1] = norm->pooled[0] + norm->padded;
    memory += norm_bytes(norm);
  }
  graph->sums = (double *)(void *)graph_buffer(graph, graph->sums_buffer);
  float *constants = graph_buffer(graph, graph->constants_buffer);
  graph->zeros = constants;
  graph->ones = constants + graph->sums_stride;
  for (size_t i = 0; i < graph->sums_stride; i++)
    constants[graph->sums_stride + i] = 1.0f;
}

/* ---- sums over threads ---- */

static void thread_sums(const struct graph *graph, int thread, uint32_t count, double *ret_sums[4]) {
  for (uint32_t k = 0; k < 4; k++)
    ret_sums[k] = graph->sums + ((size_t)thread * 4 + k) * graph->sums_stride;
  for (uint32_t k = 0; k < count; k++)
    memset(ret_sums[k], 0, graph->sums_stride * sizeof(double));
}

static double total(const struct graph *graph, uint32_t which, uint32_t channel) {
  double sum = 0;
  for (uint32_t thread = 0; thread < graph->config.threads; thread++)
    sum += graph->sums[((size_t)thread * 4 + which) * graph->sums_stride + channel];
  return sum;
}

static struct kernel_shape kernel_shape(const struct graph *graph, struct shape shape) {
  return (struct kernel_shape){graph_padded(graph, shape.c) / graph->block, (uint32_t)shape_rows(shape)};
}

/* ---- coefficients ---- */

static void set_coefficients(const struct graph *graph, struct norm *norm, uint32_t c, double mean,
                             double variance) {
  const struct node *node = &graph->nodes[norm->node];
  const double inverse = 1.0 / sqrt(variance + NORM_EPSILON);
  const double scale = (double)node_parameter(graph, node, GAMMA)->value[c] * inverse;
  norm->mean[c] = (float)mean;
  norm->inverse[c] = (float)inverse;
  norm->scale[c] = (float)scale;
  norm->shift[c] = (float)((double)node_parameter(graph, node, BETA)->value[c] - scale * mean);
}

static void coefficients_from_running(const struct graph *graph, struct norm *norm) {
  const struct node *node = &graph->nodes[norm->node];
  for (uint32_t c = 0; c < norm->channels; c++)
    set_coefficients(graph, norm, c, (double)node_parameter(graph, node, RUNNING_MEAN)->value[c],
                     (double)node_parameter(graph, node, RUNNING_VARIANCE)->value[c]);
}

void norm_folded(const struct graph *graph, int index, uint32_t channel, double *ret_scale,
                 double *ret_shift) {
  const struct node *node = &graph->nodes[index];
  const double variance = (double)node_parameter(graph, node, RUNNING_VARIANCE)->value[channel];
  *ret_scale = (double)node_parameter(graph, node, GAMMA)->value[channel] / sqrt(variance + NORM_EPSILON);
  *ret_shift = (double)node_parameter(graph, node, BETA)->value[channel] -
               *ret_scale * (double)node_parameter(graph, node, RUNNING_MEAN)->value[channel];
}

/* From the threads' sums of x and x^2. */
static void coefficients_from_sums(struct graph *graph, struct norm *norm) {
  const struct node *node = &graph->nodes[norm->node];
  float *mean_running = node_parameter(graph, node, RUNNING_MEAN)->value;
  float *variance_running = node_parameter(graph, node, RUNNING_VARIANCE)->value;
  const double m = (double)norm->images_rows;
  for (uint32_t c = 0; c < norm->channels; c++) {
    const double mean = total(graph, 0, c) / m;
    const double variance = fmax(total(graph, 1, c) / m - mean * mean, 0);
    set_coefficients(graph, norm, c, mean, variance);
    if (graph->mode == GRAPH_TRAIN) {
      const double unbiased = variance * m / (m - 1);
      mean_running[c] = (float)((1 - RUNNING_MOMENTUM) * (double)mean_running[c] + RUNNING_MOMENTUM * mean);
      variance_running[c] =
          (float)((1 - RUNNING_MOMENTUM) * (double)variance_running[c] + RUNNING_MOMENTUM * unbiased);
    } else {
      norm->pooled[0][c] += mean * m;
      norm->pooled[1][c] += (variance + mean * mean) * m;
    }
  }
  if (graph->mode == GRAPH_STATISTICS)
    norm->pooled_count += norm->images_rows;
}

void graph_statistics_reset(struct graph *graph) {
  for (uint32_t i = 0; i < graph->norm_count; i++) {
    struct norm *norm = &graph->norms[i];
    memset(norm->pooled[0], 0, norm->padded * sizeof(double));
    memset(norm->pooled[1], 0, norm->padded * sizeof(double));
    norm->pooled_count = 0;
  }
}

void graph_statistics_finish(struct graph *graph) {
  for (uint32_t i = 0; i < graph->norm_count; i++) {
    struct norm *norm = &graph->norms[i];
    const struct node *node = &graph->nodes[norm->node];
    const double m = (double)norm->pooled_count;
    for (uint32_t c = 0; norm->pooled_count > 1 && c < norm->channels; c++) {
      const double mean = norm->pooled[0][c] / m;
      const double variance = fmax(norm->pooled[1][c] / m - mean * mean, 0) * m / (m - 1);
      node_parameter(graph, node, RUNNING_MEAN)->value[c] = (float)mean;
      node_parameter(graph, node, RUNNING_VARIANCE)->value[c] = (float)variance;
    }
  }
}

/* ---- sets of norms ---- */

#define SET_VECTORS 6u

/* Vector `which` of the set's part for one norm; NULL where it has none (a frozen norm has no momentum). */
static float *set_vector(const struct graph *graph, const struct norm *norm, uint32_t which,
                         size_t *ret_count) {
  static const int parameters[SET_VECTORS] = {GAMMA, BETA, GAMMA, BETA, RUNNING_MEAN, RUNNING_VARIANCE};
  struct graph_parameter *parameter = node_parameter(graph, &graph->nodes[norm->node], parameters[which]);
  *ret_count = parameter->count;
  return which == 2 || which == 3 ? parameter->momentum : parameter->value;
}

uint64_t graph_norms_size(const struct graph *graph) {
  uint64_t size = 0;
  size_t count;
  for (uint32_t i = 0; i < graph->norm_count; i++)
    for (uint32_t which = 0; which < SET_VECTORS; which++)
      size += set_vector(graph, &graph->norms[i], which, &count) ? count : 0;
  return size;
}

void graph_norms_save(const struct graph *graph, float *ret_set) {
  size_t count;
  for (uint32_t i = 0; i < graph->norm_count; i++)
    for (uint32_t which = 0; which < SET_VECTORS; which++) {
      const float *vector = set_vector(graph, &graph->norms[i], which, &count);
      if (!vector)
        continue;
      memcpy(ret_set, vector, count * sizeof(float));
      ret_set += count;
    }
}

void graph_norms_swap(struct graph *graph, float *set) {
  size_t count;
  for (uint32_t i = 0; i < graph->norm_count; i++)
    for (uint32_t which = 0; which < SET_VECTORS; which++) {
      float *vector = set_vector(graph, &graph->norms[i], which, &count);
      for (size_t c = 0; vector && c < count; c++) {
        const float other = set[c];
        set[c] = vector[c];
        vector[c] = other;
      }
      set += vector ? count : 0;
    }
  graph_parameters_changed(graph);
}

/* ---- forward ---- */

static void gather_statistics(struct graph *graph, struct norm *norm, const void *x) {
  const struct shape shape = graph->nodes[norm->node].shape;
  const struct kernel_shape kernel = kernel_shape(graph, shape);
  const int threads = (int)graph->config.threads;
  const uint64_t jobs = (uint64_t)graph->config.batch * kernel.blocks;
#pragma omp parallel for num_threads(threads) schedule(static, 1)
  for (int thread = 0; thread < threads; thread++) {
    double *sums[4];
    thread_sums(graph, thread, 2, sums);
    node_kernels(graph, &graph->nodes[norm->node])
        ->statistics(kernel, x, share_begin(jobs, thread, threads), share_begin(jobs, thread + 1, threads),
                     sums);
  }
  coefficients_from_sums(graph, norm);
}

void norm_prepare(struct graph *graph, int index, const void *x) {
  if (index < 0)
    return;
  struct norm *norm = &graph->norms[index];
  if (graph->mode == GRAPH_EVAL || graph->nodes[norm->node].frozen)
    coefficients_from_running(graph, norm);
  else if (!norm->from_producer)
    gather_statistics(graph, norm, x);
}

int pointwise_run_forward(struct graph *graph, const struct op *op, struct guise_error *err) {
  (void)err;
  const struct pointwise *group = &graph->groups[op->index];
  const struct norm *first = group->norm[0] < 0 ? NULL : &graph->norms[group->norm[0]];
  const struct norm *second = group->norm[1] < 0 ? NULL : &graph->norms[group->norm[1]];
  const void *x1 = graph_buffer(graph, op->buffer[0]), *x2 = graph_buffer(graph, op->buffer[1]);
  const bool again = op->operand; /* the coefficients are those of the first time */
  if (!again) {
    norm_prepare(graph, group->norm[0], x1);
    norm_prepare(graph, group->norm[1], x2);
  }
  const bool gather = group->gathers > 0 && graph->mode != GRAPH_EVAL && !again;
  const struct forward_pass pass = {
      .shape = kernel_shape(graph, graph->nodes[group->node].shape),
      .x1 = x1,
      .scale1 = first ? first->scale : graph->ones,
      .shift1 = first ? first->shift : graph->zeros,
      .x2 = x2,
      .scale2 = second ? second->scale : graph->ones,
      .shift2 = second ? second->shift : graph->zeros,
      .slope = group->prelu < 0 ? NULL : node_parameter(graph, &graph->nodes[group->prelu], WEIGHT)->value,
      .statistics = gather,
      .y = graph_buffer(graph, op->buffer[2]),
  };
  const int threads = (int)graph->config.threads;
  const uint64_t jobs = (uint64_t)graph->config.batch * pass.shape.blocks;
#pragma omp parallel for num_threads(threads) schedule(static, 1)
  for (int thread = 0; thread < threads; thread++) {
    double *sums[4];
    thread_sums(graph, thread, gather ? 2 : 0, sums);
    node_kernels(graph, &graph->nodes[group->node])
        ->forward(&pass, share_begin(jobs, thread, threads), share_begin(jobs, thread + 1, threads), sums);
  }
  for (uint32_t i = 0; gather && i < group->gathers; i++)
    coefficients_from_sums(graph, &graph->norms[group->gather[i]]);
  return 0;
}

/* ---- backward ---- */

/* dgamma, dbeta and the coefficients p, q of dx, from sums 0 (g) and `dot` (g (x - mean)). A frozen norm,
 * which what is trained after it may have fused, has no gradients, and nobody wants its dx. */
static void norm_gradients(struct graph *graph, int index, uint32_t dot) {
  if (index < 0 || graph->nodes[graph->norms[index].node].frozen)
    return;
  struct norm *norm = &graph->norms[index];
  const struct node *node = &graph->nodes[norm->node];
  const double m = (double)norm->images_rows;
  for (uint32_t c = 0; c < norm->channels; c++) {
    const double sum = total(graph, 0, c), product = total(graph, dot, c);
    const double inverse = (double)norm->inverse[c], scale = (double)norm->scale[c];
    node_parameter(graph, node, BETA)->gradient[c] = (float)sum;
    node_parameter(graph, node, GAMMA)->gradient[c] = (float)(product * inverse);
    const bool batch = graph->mode == GRAPH_TRAIN; /* running statistics are constants */
    const double p = batch ? -scale * inverse * inverse * product / m : 0;
    norm->p[c] = (float)p;
    norm->q[c] = batch ? (float)(-scale * sum / m) : 0;
  }
}

int pointwise_run_reduce(struct graph *graph, const struct op *op, struct guise_error *err) {
  (void)err;
  const struct pointwise *group = &graph->groups[op->index];
  const struct norm *first = group->norm[0] < 0 ? NULL : &graph->norms[group->norm[0]];
  const struct norm *second = group->norm[1] < 0 ? NULL : &graph->norms[group->norm[1]];
  const struct node *prelu = group->prelu < 0 ? NULL : &graph->nodes[group->prelu];
  const struct reduce_pass pass = {
      .shape = kernel_shape(graph, graph->nodes[group->node].shape),
      .dy = graph_buffer(graph, op->buffer[0]),
      .x1 = graph_buffer(graph, op->buffer[1]),
      .mean1 = first ? first->mean : graph->zeros,
      .x2 = graph_buffer(graph, op->buffer[2]),
      .mean2 = second ? second->mean : NULL,
      .scale = first ? first->scale : graph->ones,
      .shift = first ? first->shift : graph->zeros,
      .slope = prelu ? node_parameter(graph, prelu, WEIGHT)->value : NULL,
  };
  const int threads = (int)graph->config.threads;
  const uint64_t jobs = (uint64_t)graph->config.batch * pass.shape.blocks;
#pragma omp parallel for num_threads(threads) schedule(static, 1)
  for (int thread = 0; thread < threads; thread++) {
    double *sums[4];
    thread_sums(graph, thread, 4, sums);
    node_kernels(graph, &graph->nodes[group->node])
        ->reduce(&pass, share_begin(jobs, thread, threads), share_begin(jobs, thread + 1, threads), sums);
  }
  norm_gradients(graph, group->norm[0], 1);
  norm_gradients(graph, group->norm[1], 2);
  if (prelu)
    for (uint32_t c = 0; c < prelu->shape.c; c++)
      node_parameter(graph, prelu, WEIGHT)->gradient[c] = (float)total(graph, 3, c);
  return 0;
}

int pointwise_run_backward(struct graph *graph, const struct op *op, struct guise_error *err) {
  (void)err;
  const struct pointwise *group = &graph->groups[op->index];
  const struct norm *norm = group->norm[op->operand] < 0 ? NULL : &graph->norms[group->norm[op->operand]];
  const bool through = norm && graph->mode == GRAPH_TRAIN;
  const struct apply_pass pass = {
      .shape = kernel_shape(graph, graph->nodes[group->node].shape),
      .dy = graph_buffer(graph, op->buffer[0]),
      .x = graph_buffer(graph, op->buffer[1]),
      .mean = through ? norm->mean : NULL,
      .p = through ? norm->p : NULL,
      .q = through ? norm->q : NULL,
      .k = norm ? norm->scale : NULL,
      .forward_scale = norm ? norm->scale : graph->ones,
      .shift = norm ? norm->shift : graph->zeros,
      .slope = group->prelu < 0 ? NULL : node_parameter(graph, &graph->nodes[group->prelu], WEIGHT)->value,
      .addend = graph_buffer(graph, op->buffer[2]),
      .dx = graph_buffer(graph, op->buffer[3]),
  };
  const int threads = (int)graph->config.threads;
  const uint64_t jobs = (uint64_t)graph->config.batch * pass.shape.blocks;
#pragma omp parallel for num_threads(threads) schedule(static, 1)
  for (int thread = 0; thread < threads; thread++) {
    node_kernels(graph, &graph->nodes[group->node])
        ->apply(&pass, share_begin(jobs, thread, threads), share_begin(jobs, thread + 1, threads));
  }
  return 0;
}
