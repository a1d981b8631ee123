/* Networks of the parts of generators, U-Nets and discriminators, and the same in plain loops in double. */
#pragma once

#include "reference.h"

#include "core/nn/graph_internal.h"

#define TOLERANCE 2e-5
#define STEP 1e-5   /* of differences */
#define SAMPLES 80u /* of a gradient */

enum kind {
  INPUT,
  CONV,
  CONV_TRANSPOSE,
  LINEAR,
  LEAKY_RELU,
  SIGMOID,
  TANH,
  MAX_POOL,
  AVERAGE_POOL,
  GLOBAL_POOL,
  UPSAMPLE,
  CONCAT,
  RESHAPE,
  GROUP_NORM,
  CONDITIONAL_NORM,
  BATCH_NORM,
  PRELU,
  ADD,
};

struct part {
  enum kind kind;
  int a, b;         /* operands: earlier parts */
  uint32_t c, h, w; /* INPUT, RESHAPE: shape; with weights: c = output channels */
  uint32_t kernel, stride, padding;
  bool bias, spectral;
  uint32_t count; /* groups, classes, factor */
  bool bilinear;
  float slope;
};

#define PARTS_MAX 24
#define PARAMETERS_MAX 64

struct network {
  const struct part *parts;
  uint32_t count, batch;
};

struct tensor {
  uint32_t c, h, w;
  double *value; /* (batch, c, h, w) */
};

static inline uint32_t threads_wanted(uint32_t threads) {
#ifdef __SANITIZE_THREAD__
  (void)threads;
  return 1; /* libgomp is invisible to ThreadSanitizer */
#else
  return threads;
#endif
}

static inline uint32_t class_of(uint32_t image) {
  return image * 2 % 3;
}

/* ---- the graph ---- */

static inline struct graph *describe(const struct network *network, struct graph_config config) {
  struct graph *graph = NULL;
  struct guise_error err = {0};
  config.batch = network->batch;
  assert_int_equal(graph_new(&config, &graph, &err), 0);
  for (uint32_t i = 0; i < network->count; i++) {
    const struct part *p = &network->parts[i];
    const struct conv_options conv = {.out_channels = p->c,
                                      .kernel = p->kernel,
                                      .stride = p->stride,
                                      .padding = p->padding,
                                      .bias = p->bias,
                                      .spectral_norm = p->spectral};
    char name[16];
    (void)snprintf(name, sizeof(name), "l%u", i);
    int id = -1;
    switch (p->kind) {
    case INPUT:
      id = graph_input(graph, p->c, p->h, p->w);
      break;
    case CONV:
      id = graph_conv(graph, p->a, name, &conv);
      break;
    case CONV_TRANSPOSE:
      id = graph_conv_transpose(graph, p->a, name, &conv);
      break;
    case LINEAR:
      id = (p->spectral ? graph_linear_spectral : graph_linear)(graph, p->a, name, p->c, p->bias);
      break;
    case LEAKY_RELU:
      id = graph_leaky_relu(graph, p->a, p->slope);
      break;
    case SIGMOID:
      id = graph_sigmoid(graph, p->a);
      break;
    case TANH:
      id = graph_tanh(graph, p->a);
      break;
    case MAX_POOL:
      id = graph_max_pool(graph, p->a, p->kernel, p->stride, p->padding);
      break;
    case AVERAGE_POOL:
      id = graph_average_pool(graph, p->a, p->kernel, p->stride, p->padding);
      break;
    case GLOBAL_POOL:
      id = graph_global_average_pool(graph, p->a);
      break;
    case UPSAMPLE:
      id = graph_upsample(graph, p->a, p->count, p->bilinear ? UPSAMPLE_BILINEAR : UPSAMPLE_NEAREST);
      break;
    case CONCAT:
      id = graph_concat(graph, p->a, p->b);
      break;
    case RESHAPE:
      id = graph_reshape(graph, p->a, p->c, p->h, p->w);
      break;
    case GROUP_NORM:
      id = graph_group_norm(graph, p->a, name, p->count);
      break;
    case CONDITIONAL_NORM:
      id = graph_conditional_norm(graph, p->a, name, p->count);
      break;
    case BATCH_NORM:
      id = graph_batch_norm(graph, p->a, name);
      break;
    case PRELU:
      id = graph_prelu(graph, p->a, name);
      break;
    case ADD:
      id = graph_add(graph, p->a, p->b);
      break;
    }
    assert_int_equal(id, (int)i);
  }
  assert_true(graph_output(graph, (int)network->count - 1) >= 0);
  if (graph_build(graph, &err) < 0)
    fail_msg("graph_build: %s", err.text);
  return graph;
}

/* ---- plain loops ---- */

struct loops {
  const struct network *network;
  struct tensor tensor[PARTS_MAX];
  uint32_t parameters;
  char name[PARAMETERS_MAX][40];
  size_t size[PARAMETERS_MAX];
  double *parameter[PARAMETERS_MAX];
  bool train;
  double *mean[PARTS_MAX], *variance[PARTS_MAX];
};

static inline int index_of(const struct loops *s, uint32_t part, const char *suffix) {
  char name[40];
  (void)snprintf(name, sizeof(name), "l%u.%s", part, suffix);
  for (uint32_t i = 0; i < s->parameters; i++)
    if (strcmp(s->name[i], name) == 0)
      return (int)i;
  return -1;
}

static inline double *find(const struct loops *s, uint32_t part, const char *suffix) {
  const int i = index_of(s, part, suffix);
  return i < 0 ? NULL : s->parameter[i];
}

static inline struct tensor shape_of(const struct loops *s, uint32_t i) {
  const struct part *p = &s->network->parts[i];
  struct tensor t = p->kind == INPUT ? (struct tensor){.c = p->c, .h = p->h, .w = p->w} : s->tensor[p->a];
  switch (p->kind) {
  case CONV:
  case MAX_POOL:
  case AVERAGE_POOL:
    t.c = p->kind == CONV ? p->c : t.c;
    t.h = (t.h + 2 * p->padding - p->kernel) / p->stride + 1;
    t.w = (t.w + 2 * p->padding - p->kernel) / p->stride + 1;
    break;
  case CONV_TRANSPOSE:
    t.c = p->c;
    t.h = (t.h - 1) * p->stride + p->kernel - 2 * p->padding;
    t.w = (t.w - 1) * p->stride + p->kernel - 2 * p->padding;
    break;
  case GLOBAL_POOL:
    t.h = t.w = 1;
    break;
  case LINEAR:
    t = (struct tensor){.c = p->c, .h = 1, .w = 1};
    break;
  case UPSAMPLE:
    t.h *= p->count;
    t.w *= p->count;
    break;
  case CONCAT:
    t.c += s->tensor[p->b].c;
    break;
  case RESHAPE:
    t = (struct tensor){.c = p->c, .h = p->h, .w = p->w};
    break;
  default:
    break;
  }
  return t;
}

static inline size_t values(const struct loops *s, const struct tensor *t) {
  return (size_t)s->network->batch * t->c * t->h * t->w;
}

static inline size_t at(const struct tensor *t, uint32_t n, uint32_t c, uint32_t h, uint32_t w) {
  return (((size_t)n * t->c + c) * t->h + h) * t->w + w;
}

/* sigma = u^T W v, or 1. */
static inline double sigma(const struct loops *s, uint32_t i) {
  const double *w = find(s, i, "weight"), *u = find(s, i, "weight_u"), *v = find(s, i, "weight_v");
  if (!u)
    return 1;
  const size_t out = s->size[index_of(s, i, "weight_u")], in = s->size[index_of(s, i, "weight_v")];
  double sum = 0;
  for (size_t o = 0; o < out; o++)
    for (size_t k = 0; k < in; k++)
      sum += u[o] * w[o * in + k] * v[k];
  return sum;
}

static inline void convolve(const struct loops *s, uint32_t i, const struct tensor *x, struct tensor *y) {
  const struct part *p = &s->network->parts[i];
  const bool transpose = p->kind == CONV_TRANSPOSE;
  const double *w = find(s, i, "weight"), *b = find(s, i, "bias"), scale = 1 / sigma(s, i);
  const struct tensor *large = transpose ? y : x, *small = transpose ? x : y; /* the kernel walks the large */
  for (size_t j = 0; j < values(s, y); j++)
    y->value[j] = b ? b[j / (y->h * y->w) % y->c] : 0;
  for (uint32_t n = 0; n < s->network->batch; n++)
    for (uint32_t o = 0; o < small->c; o++)
      for (uint32_t r = 0; r < small->h; r++)
        for (uint32_t q = 0; q < small->w; q++)
          for (uint32_t c = 0; c < large->c; c++)
            for (uint32_t u = 0; u < p->kernel; u++)
              for (uint32_t v = 0; v < p->kernel; v++) {
                const int64_t row = (int64_t)r * p->stride + u - p->padding;
                const int64_t column = (int64_t)q * p->stride + v - p->padding;
                if (row < 0 || column < 0 || row >= large->h || column >= large->w)
                  continue;
                const size_t far = at(large, n, c, (uint32_t)row, (uint32_t)column);
                const size_t near = at(small, n, o, r, q);
                const double weight = w[((o * large->c + c) * p->kernel + u) * p->kernel + v] * scale;
                if (transpose)
                  y->value[far] += x->value[near] * weight;
                else
                  y->value[near] += x->value[far] * weight;
              }
}

static inline void multiply(const struct loops *s, uint32_t i, const struct tensor *x, struct tensor *y) {
  const double *w = find(s, i, "weight"), *b = find(s, i, "bias"), scale = 1 / sigma(s, i);
  const size_t in = (size_t)x->c * x->h * x->w;
  for (uint32_t n = 0; n < s->network->batch; n++)
    for (uint32_t o = 0; o < y->c; o++) {
      double sum = b ? b[o] : 0;
      for (size_t k = 0; k < in; k++)
        sum += x->value[n * in + k] * w[o * in + k] * scale;
      y->value[(size_t)n * y->c + o] = sum;
    }
}

static inline void pool(const struct loops *s, uint32_t i, const struct tensor *x, struct tensor *y) {
  const struct part *p = &s->network->parts[i];
  const bool global = p->kind == GLOBAL_POOL;
  const uint32_t height = global ? x->h : p->kernel, width = global ? x->w : p->kernel;
  for (uint32_t n = 0; n < s->network->batch; n++)
    for (uint32_t c = 0; c < y->c; c++)
      for (uint32_t r = 0; r < y->h; r++)
        for (uint32_t q = 0; q < y->w; q++) {
          double sum = 0, most = -INFINITY;
          for (uint32_t u = 0; u < height; u++)
            for (uint32_t v = 0; v < width; v++) {
              const int64_t row = (int64_t)r * p->stride + u - p->padding;
              const int64_t column = (int64_t)q * p->stride + v - p->padding;
              if (row < 0 || column < 0 || row >= x->h || column >= x->w)
                continue;
              const double value = x->value[at(x, n, c, (uint32_t)row, (uint32_t)column)];
              sum += value;
              most = fmax(most, value);
            }
          y->value[at(y, n, c, r, q)] = p->kind == MAX_POOL ? most : sum / height / width;
        }
}

static inline void upsample(const struct loops *s, uint32_t i, const struct tensor *x, struct tensor *y) {
  const struct part *p = &s->network->parts[i];
  for (uint32_t n = 0; n < s->network->batch; n++)
    for (uint32_t c = 0; c < y->c; c++)
      for (uint32_t r = 0; r < y->h; r++)
        for (uint32_t q = 0; q < y->w; q++) {
          double *to = &y->value[at(y, n, c, r, q)];
          if (!p->bilinear) {
            *to = x->value[at(x, n, c, r / p->count, q / p->count)];
            continue;
          }
          const double row = fmax((r + 0.5) / p->count - 0.5, 0),
                       column = fmax((q + 0.5) / p->count - 0.5, 0);
          *to = 0;
          for (uint32_t u = 0; u < x->h; u++) /* the last row stands for all beyond it */
            for (uint32_t v = 0; v < x->w; v++) {
              double a = fmax(0, 1 - fabs(row - u)), b = fmax(0, 1 - fabs(column - v));
              a = u == x->h - 1 && row > u ? 1 : a;
              b = v == x->w - 1 && column > v ? 1 : b;
              *to += a * b * x->value[at(x, n, c, u, v)];
            }
        }
}

static inline void concat(const struct loops *s, const struct tensor *a, const struct tensor *b,
                          struct tensor *y) {
  const size_t rows = (size_t)y->h * y->w;
  for (uint32_t n = 0; n < s->network->batch; n++)
    for (uint32_t c = 0; c < y->c; c++)
      for (size_t r = 0; r < rows; r++)
        y->value[((size_t)n * y->c + c) * rows + r] =
            c < a->c ? a->value[((size_t)n * a->c + c) * rows + r]
                     : b->value[((size_t)n * b->c + c - a->c) * rows + r];
}

static inline void group_norm(const struct loops *s, uint32_t i, const struct tensor *x, struct tensor *y) {
  const double *gamma = find(s, i, "weight"), *beta = find(s, i, "bias");
  const uint32_t width = x->c / s->network->parts[i].count;
  const size_t rows = (size_t)x->h * x->w, count = width * rows;
  for (size_t from = 0; from < values(s, x); from += count) {
    double mean = 0, variance = 0;
    for (size_t j = 0; j < count; j++)
      mean += x->value[from + j] / (double)count;
    for (size_t j = 0; j < count; j++)
      variance += pow(x->value[from + j] - mean, 2) / (double)count;
    for (size_t j = 0; j < count; j++) {
      const size_t c = (from + j) / rows % x->c;
      y->value[from + j] = gamma[c] * (x->value[from + j] - mean) / sqrt(variance + 1e-5) + beta[c];
    }
  }
}

static inline void batch_norm(struct loops *s, uint32_t i, const struct tensor *x, struct tensor *y) {
  const double *gamma = find(s, i, "weight"), *beta = find(s, i, "bias");
  const size_t rows = (size_t)x->h * x->w, count = s->network->batch * rows;
  const bool conditional = s->network->parts[i].kind == CONDITIONAL_NORM;
  for (uint32_t c = 0; c < x->c; c++) {
    double mean = 0, variance = 0;
    for (size_t j = 0; j < count; j++)
      mean += x->value[(j / rows * x->c + c) * rows + j % rows] / (double)count;
    for (size_t j = 0; j < count; j++)
      variance += pow(x->value[(j / rows * x->c + c) * rows + j % rows] - mean, 2) / (double)count;
    s->mean[i][c] = mean;
    s->variance[i][c] = variance;
    if (!s->train) {
      mean = find(s, i, "running_mean")[c];
      variance = find(s, i, "running_var")[c];
    }
    for (size_t j = 0; j < count; j++) {
      const size_t row = conditional ? class_of((uint32_t)(j / rows)) * x->c + c : c;
      const size_t k = (j / rows * x->c + c) * rows + j % rows;
      y->value[k] = gamma[row] * (x->value[k] - mean) / sqrt(variance + 1e-5) + beta[row];
    }
  }
}

static inline double activate(const struct loops *s, uint32_t i, double x, size_t channel) {
  const struct part *p = &s->network->parts[i];
  const double slope = p->kind == PRELU ? find(s, i, "weight")[channel] : (double)p->slope;
  return p->kind == SIGMOID ? 1 / (1 + exp(-x)) : p->kind == TANH ? tanh(x) : x > 0 ? x : slope * x;
}

static inline void evaluate(struct loops *s) {
  for (uint32_t i = 1; i < s->network->count; i++) {
    const struct part *p = &s->network->parts[i];
    const struct tensor *x = &s->tensor[p->a], *b = &s->tensor[p->b];
    struct tensor *y = &s->tensor[i];
    switch (p->kind) {
    case INPUT:
      break;
    case CONV:
    case CONV_TRANSPOSE:
      convolve(s, i, x, y);
      break;
    case LINEAR:
      multiply(s, i, x, y);
      break;
    case LEAKY_RELU:
    case SIGMOID:
    case TANH:
    case PRELU:
      for (size_t j = 0; j < values(s, y); j++)
        y->value[j] = activate(s, i, x->value[j], j / ((size_t)y->h * y->w) % y->c);
      break;
    case MAX_POOL:
    case AVERAGE_POOL:
    case GLOBAL_POOL:
      pool(s, i, x, y);
      break;
    case UPSAMPLE:
      upsample(s, i, x, y);
      break;
    case CONCAT:
      concat(s, x, b, y);
      break;
    case RESHAPE:
      memcpy(y->value, x->value, values(s, y) * sizeof(double));
      break;
    case GROUP_NORM:
      group_norm(s, i, x, y);
      break;
    case CONDITIONAL_NORM:
    case BATCH_NORM:
      batch_norm(s, i, x, y);
      break;
    case ADD:
      for (size_t j = 0; j < values(s, y); j++)
        y->value[j] = x->value[j] + b->value[j];
      break;
    }
  }
}
