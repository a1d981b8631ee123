/* The parts of generators, U-Nets and discriminators against plain loops in double. Gradients are held
 * against central differences of those loops, so that no second derivation can share a mistake with the
 * first. */
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

static uint32_t threads_wanted(uint32_t threads) {
#ifdef __SANITIZE_THREAD__
  (void)threads;
  return 1; /* libgomp is invisible to ThreadSanitizer */
#else
  return threads;
#endif
}

static uint32_t class_of(uint32_t image) {
  return image * 2 % 3;
}

/* ---- the graph ---- */

static struct graph *describe(const struct network *network, struct graph_config config) {
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

static int index_of(const struct loops *s, uint32_t part, const char *suffix) {
  char name[40];
  (void)snprintf(name, sizeof(name), "l%u.%s", part, suffix);
  for (uint32_t i = 0; i < s->parameters; i++)
    if (strcmp(s->name[i], name) == 0)
      return (int)i;
  return -1;
}

static double *find(const struct loops *s, uint32_t part, const char *suffix) {
  const int i = index_of(s, part, suffix);
  return i < 0 ? NULL : s->parameter[i];
}

static struct tensor shape_of(const struct loops *s, uint32_t i) {
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

static size_t values(const struct loops *s, const struct tensor *t) {
  return (size_t)s->network->batch * t->c * t->h * t->w;
}

static size_t at(const struct tensor *t, uint32_t n, uint32_t c, uint32_t h, uint32_t w) {
  return (((size_t)n * t->c + c) * t->h + h) * t->w + w;
}

/* sigma = u^T W v, or 1. */
static double sigma(const struct loops *s, uint32_t i) {
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

static void convolve(const struct loops *s, uint32_t i, const struct tensor *x, struct tensor *y) {
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

static void multiply(const struct loops *s, uint32_t i, const struct tensor *x, struct tensor *y) {
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

static void pool(const struct loops *s, uint32_t i, const struct tensor *x, struct tensor *y) {
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

static void upsample(const struct loops *s, uint32_t i, const struct tensor *x, struct tensor *y) {
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

static void concat(const struct loops *s, const struct tensor *a, const struct tensor *b, struct tensor *y) {
  const size_t rows = (size_t)y->h * y->w;
  for (uint32_t n = 0; n < s->network->batch; n++)
    for (uint32_t c = 0; c < y->c; c++)
      for (size_t r = 0; r < rows; r++)
        y->value[((size_t)n * y->c + c) * rows + r] =
            c < a->c ? a->value[((size_t)n * a->c + c) * rows + r]
                     : b->value[((size_t)n * b->c + c - a->c) * rows + r];
}

static void group_norm(const struct loops *s, uint32_t i, const struct tensor *x, struct tensor *y) {
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

static void batch_norm(struct loops *s, uint32_t i, const struct tensor *x, struct tensor *y) {
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

static double activate(const struct loops *s, uint32_t i, double x, size_t channel) {
  const struct part *p = &s->network->parts[i];
  const double slope = p->kind == PRELU ? find(s, i, "weight")[channel] : (double)p->slope;
  return p->kind == SIGMOID ? 1 / (1 + exp(-x)) : p->kind == TANH ? tanh(x) : x > 0 ? x : slope * x;
}

static void evaluate(struct loops *s) {
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

/* ---- expectations: what the loops say of one network in one mode ---- */

struct samples {
  size_t count;
  size_t index[SAMPLES];
  double value[SAMPLES];
};

struct expectation {
  struct loops state;
  float *initial[PARAMETERS_MAX]; /* parameters before the pass */
  float *input, *gradient;        /* of the output */
  double *output;
  struct samples d_input, d_parameter[PARAMETERS_MAX];
  double *after[PARAMETERS_MAX]; /* statistics after the pass */
};

static double loss(struct loops *s, const float *gradient) {
  evaluate(s);
  const struct tensor *out = &s->tensor[s->network->count - 1];
  double sum = 0;
  for (size_t j = 0; j < values(s, out); j++)
    sum += out->value[j] * (double)gradient[j];
  return sum;
}

static void differentiate(struct loops *s, const float *gradient, double *variable, size_t count,
                          struct samples *ret) {
  ret->count = MIN(count, SAMPLES);
  for (size_t k = 0; k < ret->count; k++) {
    const size_t i = count <= SAMPLES ? k : (k * 7919 + 13) % count;
    const double value = variable[i];
    variable[i] = value + STEP;
    const double up = loss(s, gradient);
    variable[i] = value - STEP;
    ret->value[k] = (up - loss(s, gradient)) / (2 * STEP);
    ret->index[k] = i;
    variable[i] = value;
  }
}

static bool is_statistic(const char *name) {
  return strstr(name, "running") || strstr(name, "weight_u") || strstr(name, "weight_v");
}

static void unit(double *v, size_t count) {
  double square = 0;
  for (size_t i = 0; i < count; i++)
    square += v[i] * v[i];
  for (size_t i = 0; i < count; i++)
    v[i] /= sqrt(square);
}

/* One power iteration for every spectral norm. */
static void iterate(struct loops *s) {
  for (uint32_t i = 0; i < s->network->count; i++) {
    const double *w = find(s, i, "weight");
    double *u = find(s, i, "weight_u"), *v = find(s, i, "weight_v");
    if (!u)
      continue;
    const size_t out = s->size[index_of(s, i, "weight_u")], in = s->size[index_of(s, i, "weight_v")];
    memset(v, 0, in * sizeof(double));
    for (size_t k = 0; k < out * in; k++)
      v[k % in] += w[k] * u[k / in];
    unit(v, in);
    memset(u, 0, out * sizeof(double));
    for (size_t k = 0; k < out * in; k++)
      u[k / in] += w[k] * v[k % in];
    unit(u, out);
  }
}

static double *doubles(const float *values_, size_t count) {
  double *copy = malloc(count * sizeof(double));
  for (size_t i = 0; i < count; i++)
    copy[i] = (double)values_[i];
  return copy;
}

/* Distinct within 101 neighbours and exact in bfloat16, so that no window has two largest values. */
static void fill_distinct(float *to, size_t count) {
  for (size_t i = 0; i < count; i++)
    to[i] = (float)(((i * 37 + i / 101 * 5 + 11) % 101)) / 32.0f - 50.5f / 32.0f;
}

static void expect_statistics(struct expectation *e) {
  struct loops *s = &e->state;
  evaluate(s);
  for (uint32_t k = 0; k < s->parameters; k++) {
    e->after[k] = doubles(e->initial[k], s->size[k]);
    if (strstr(s->name[k], "weight_u") || strstr(s->name[k], "weight_v"))
      memcpy(e->after[k], s->parameter[k], s->size[k] * sizeof(double));
  }
  for (uint32_t i = 0; s->train && i < s->network->count; i++) {
    const int mean = index_of(s, i, "running_mean"), variance = index_of(s, i, "running_var");
    const double m = (double)s->network->batch * s->tensor[i].h * s->tensor[i].w;
    for (size_t c = 0; mean >= 0 && c < s->size[mean]; c++) {
      e->after[mean][c] = 0.9 * e->after[mean][c] + 0.1 * s->mean[i][c];
      e->after[variance][c] = 0.9 * e->after[variance][c] + 0.1 * s->variance[i][c] * m / (m - 1);
    }
  }
}

static void expect_network(struct expectation *e, const struct network *network, bool train) {
  struct loops *s = &e->state;
  memset(e, 0, sizeof(*e));
  s->network = network;
  s->train = train;
  struct graph *graph = describe(network, (struct graph_config){.threads = 1});
  s->parameters = graph_parameters(graph);
  assert_true(s->parameters <= PARAMETERS_MAX && network->count <= PARTS_MAX);
  lcg_state = 41;
  for (uint32_t k = 0; k < s->parameters; k++) {
    const struct graph_parameter *p = graph_parameter(graph, k);
    (void)snprintf(s->name[k], sizeof(s->name[k]), "%s", p->name);
    s->size[k] = p->count;
    e->initial[k] = malloc(p->count * sizeof(float));
    lcg_fill(e->initial[k], p->count, strstr(p->name, "var") ? 0.3f : 0.7f,
             strstr(p->name, "var") ? 1.0f : 0.2f);
    s->parameter[k] = doubles(e->initial[k], p->count);
  }
  graph_free(graph);
  for (uint32_t i = 0; i < network->count; i++) {
    s->tensor[i] = shape_of(s, i);
    s->tensor[i].value = calloc(values(s, &s->tensor[i]), sizeof(double));
    s->mean[i] = calloc(s->tensor[i].c, sizeof(double));
    s->variance[i] = calloc(s->tensor[i].c, sizeof(double));
  }
  const size_t in = values(s, &s->tensor[0]), out = values(s, &s->tensor[network->count - 1]);
  e->input = malloc(in * sizeof(float));
  e->gradient = malloc(out * sizeof(float));
  fill_distinct(e->input, in);
  lcg_fill(e->gradient, out, 1, 0.1f);
  for (size_t j = 0; j < in; j++)
    s->tensor[0].value[j] = (double)e->input[j];
  if (train)
    iterate(s);
  expect_statistics(e);
  e->output = malloc(out * sizeof(double));
  memcpy(e->output, s->tensor[network->count - 1].value, out * sizeof(double));
  differentiate(s, e->gradient, s->tensor[0].value, in, &e->d_input);
  for (uint32_t k = 0; k < s->parameters; k++)
    if (!is_statistic(s->name[k]))
      differentiate(s, e->gradient, s->parameter[k], s->size[k], &e->d_parameter[k]);
}

static void expectation_free(struct expectation *e) {
  for (uint32_t k = 0; k < e->state.parameters; k++) {
    free(e->initial[k]);
    free(e->after[k]);
    free(e->state.parameter[k]);
  }
  for (uint32_t i = 0; i < e->state.network->count; i++) {
    free(e->state.tensor[i].value);
    free(e->state.mean[i]);
    free(e->state.variance[i]);
  }
  free(e->input);
  free(e->gradient);
  free(e->output);
}

/* ---- checks ---- */

/* Sets parameters without saying so: that is for who changes weights. */
static void start(struct graph *graph, const struct expectation *e) {
  for (uint32_t k = 0; k < e->state.parameters; k++)
    memcpy(graph_parameter(graph, k)->value, e->initial[k], e->state.size[k] * sizeof(float));
  memcpy(graph_input_data(graph), e->input, values(&e->state, &e->state.tensor[0]) * sizeof(float));
  for (uint32_t n = 0; graph_classes(graph) && n < e->state.network->batch; n++)
    graph_classes(graph)[n] = class_of(n);
}

/* A pass with other statistics, so that nothing is right because the pass before it was; then NaN wherever
 * nothing is kept between passes, so that what is not written, padding too, shows. */
static void disturb(struct graph *graph, const struct expectation *e) {
  for (uint32_t k = 0; k < e->state.parameters; k++)
    if (strstr(e->state.name[k], "weight_u") || strstr(e->state.name[k], "weight_v"))
      lcg_fill(graph_parameter(graph, k)->value, e->state.size[k], 1, 0.5f);
  assert_int_equal(graph_forward(graph, e->state.train ? GRAPH_TRAIN : GRAPH_EVAL, 1, NULL), 0);
  if (graph->config.training)
    assert_int_equal(graph_backward(graph, NULL), 0);
  for (uint32_t i = 0; i < graph->buffer_count; i++)
    if (!graph->buffers[i].pinned)
      memset(graph->arena.base + graph->buffers[i].offset, 0xff, graph->buffers[i].bytes);
}

static void check_samples(const char *what, const float *got, const struct samples *want, double floor,
                          double tolerance) {
  float picked[SAMPLES];
  for (size_t k = 0; k < want->count; k++)
    picked[k] = got[want->index[k]];
  check_close(what, picked, want->value, want->count, floor, tolerance);
}

/* Channels that only fill the last block are zero. */
static void check_padding(const struct graph *graph) {
  const struct node *node = &graph->nodes[graph->output];
  const size_t rows = shape_rows(node->shape), padded = graph_padded(graph, node->shape.c);
  const char *value = (const char *)graph_buffer(graph, node->value);
  if (node->value == graph->output_buffer)
    return;
  for (size_t i = 0; i < graph->config.batch * padded * rows; i++) {
    const size_t channel =
        i / (rows * graph->block) % (padded / graph->block) * graph->block + i % graph->block;
    if (channel >= node->shape.c && memcmp(value + i * node_element(node), "\0\0\0", node_element(node)) != 0)
      fail_msg("padding is not zero (%s)", check_context);
  }
}

static void check_pass(struct graph *graph, const struct expectation *e, bool backward, double tolerance) {
  const struct loops *s = &e->state;
  const struct tensor *out = &s->tensor[s->network->count - 1];
  struct guise_error err = {0};
  disturb(graph, e);
  start(graph, e);
  if (graph_forward(graph, s->train ? GRAPH_TRAIN : GRAPH_EVAL, 1, &err) < 0)
    fail_msg("%s (%s)", err.text, check_context);
  check_close("output", graph_output_data(graph), e->output, values(s, out), 1e-6, tolerance);
  check_padding(graph);
  for (uint32_t k = 0; k < s->parameters; k++)
    if (is_statistic(s->name[k]))
      check_close(s->name[k], graph_parameter(graph, k)->value, e->after[k], s->size[k], 1e-6, tolerance);
  if (!backward)
    return;
  memcpy(graph_output_gradient(graph), e->gradient, values(s, out) * sizeof(float));
  if (graph_backward(graph, &err) < 0)
    fail_msg("%s (%s)", err.text, check_context);
  if (graph_input_gradient(graph))
    check_samples("input gradient", graph_input_gradient(graph), &e->d_input, 1e-3, tolerance * 5);
  double most = 1e-3; /* largest gradient of all: others may be nothing but rounding */
  for (uint32_t k = 0; k < s->parameters; k++)
    for (size_t j = 0; j < e->d_parameter[k].count; j++)
      most = fmax(most, fabs(e->d_parameter[k].value[j]));
  for (uint32_t k = 0; k < s->parameters; k++)
    if (graph_parameter(graph, k)->gradient)
      check_samples(s->name[k], graph_parameter(graph, k)->gradient, &e->d_parameter[k], 0.02 * most,
                    tolerance * 5);
}

static void check_graph(const struct expectation *e, struct graph_config config, double tolerance) {
  const struct network *network = e->state.network;
  config.threads = threads_wanted(config.threads);
  struct graph *graph = describe(network, config);
  start(graph, e);
  graph_parameters_changed(graph);
  for (int pass = 0; pass < 2; pass++) {
    (void)snprintf(check_context, sizeof(check_context), "%s%s, part %d, %u images, %u threads, %s, pass %d",
                   kernels_choose()->name, config.bfloat16 ? " bf16" : "", (int)network->parts[1].kind,
                   network->batch, config.threads, e->state.train ? "training" : "evaluation", pass);
    check_pass(graph, e, config.training, tolerance);
  }
  graph_profile(graph, true);
  for (uint32_t i = 0; i < graph_profile_rows(graph); i++)
    assert_non_null(graph_profile_row(graph, i).operation);
  graph_free(graph);
}

/* Training and evaluation, all kernels, one and two threads, forward-only graphs, bfloat16. */
static void check(const struct part *parts, uint32_t count, uint32_t batch, double tolerance) {
  static const char *const sets[] = {"avx512", "avx2", "portable"};
  const struct network network = {parts, count, batch};
  for (int train = 0; train < 2; train++) {
    struct expectation e;
    expect_network(&e, &network, train == 1);
    for (size_t k = 0; k < ARRAY_SIZE(sets); k++) {
      setenv("GUISE_KERNELS", sets[k], 1);
      struct graph_config config = {.threads = 2, .training = true, .input_gradient = true, .winograd = true};
      check_graph(&e, config, tolerance);
      if (k > 0)
        continue;
      config.threads = 1;
      check_graph(&e, config, tolerance);
      config.input_gradient = false;
      check_graph(&e, config, tolerance);
      config.low_memory = true;
      check_graph(&e, config, tolerance);
      config.training = config.low_memory = false;
      if (train)
        continue;
      check_graph(&e, config, tolerance);
      config.folded = true;
      check_graph(&e, config, tolerance);
    }
    unsetenv("GUISE_KERNELS");
    if (graph_bfloat16_supported())
      check_graph(
          &e, (struct graph_config){.threads = 2, .training = true, .input_gradient = true, .bfloat16 = true},
          2e-2);
    expectation_free(&e);
  }
}

#define CHECK(batch, tolerance, ...)                     \
  do {                                                   \
    const struct part parts_[] = {__VA_ARGS__};          \
    check(parts_, ARRAY_SIZE(parts_), batch, tolerance); \
  } while (0)

/* ---- the parts ---- */

static void activations(void **state) {
  (void)state;
  static const enum kind kinds[] = {LEAKY_RELU, SIGMOID, TANH};
  for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
    CHECK(3, TOLERANCE, {INPUT, .c = 21, .h = 3, .w = 5}, {kinds[i], .slope = 0.2f});
    CHECK(1, TOLERANCE, {INPUT, .c = 16, .h = 4, .w = 4}, {kinds[i], .a = 0});
    CHECK(3, TOLERANCE, {INPUT, .c = 5, .h = 2, .w = 2}, {LINEAR, .c = 19},
          {kinds[i], .a = 1, .slope = 0.1f});
    CHECK(2, TOLERANCE, {INPUT, .c = 5, .h = 4, .w = 4},
          {CONV, .c = 7, .kernel = 3, .stride = 1, .padding = 1, .bias = true},
          {kinds[i], .a = 1, .slope = 0.2f}, {CONV, .a = 2, .c = 3, .kernel = 1, .stride = 1});
  }
}

static void pools(void **state) {
  (void)state;
  static const enum kind kinds[] = {MAX_POOL, AVERAGE_POOL};
  for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
    CHECK(3, TOLERANCE, {INPUT, .c = 21, .h = 6, .w = 5}, {kinds[i], .kernel = 2, .stride = 2});
    CHECK(1, TOLERANCE, {INPUT, .c = 16, .h = 7, .w = 8}, {kinds[i], .kernel = 3, .stride = 2, .padding = 1});
    CHECK(2, TOLERANCE, {INPUT, .c = 3, .h = 5, .w = 4}, {kinds[i], .kernel = 3, .stride = 1, .padding = 1});
    CHECK(2, TOLERANCE, {INPUT, .c = 3, .h = 8, .w = 7}, {kinds[i], .kernel = 2, .stride = 3, .padding = 1});
  }
  CHECK(3, TOLERANCE, {INPUT, .c = 21, .h = 5, .w = 3}, {GLOBAL_POOL, .a = 0});
  CHECK(2, TOLERANCE, {INPUT, .c = 4, .h = 5, .w = 5},
        {CONV, .c = 18, .kernel = 3, .stride = 1, .padding = 1}, {GLOBAL_POOL, .a = 1},
        {LINEAR, .a = 2, .c = 3, .bias = true});
}

static void upsampling(void **state) {
  (void)state;
  for (int bilinear = 0; bilinear < 2; bilinear++) {
    CHECK(3, TOLERANCE, {INPUT, .c = 21, .h = 3, .w = 4}, {UPSAMPLE, .count = 2, .bilinear = bilinear});
    CHECK(1, TOLERANCE, {INPUT, .c = 16, .h = 3, .w = 2}, {UPSAMPLE, .count = 3, .bilinear = bilinear});
    CHECK(2, TOLERANCE, {INPUT, .c = 3, .h = 1, .w = 2}, {UPSAMPLE, .count = 4, .bilinear = bilinear},
          {CONV, .a = 1, .c = 5, .kernel = 3, .stride = 1, .padding = 1});
  }
}

static void concatenation(void **state) {
  (void)state;
  static const uint32_t channels[][2] = {{16, 16}, {5, 7}, {16, 3}, {21, 14}, {3, 32}, {8, 8}, {13, 3}};
  for (size_t i = 0; i < ARRAY_SIZE(channels); i++)
    CHECK(1 + (uint32_t)i % 3, TOLERANCE, {INPUT, .c = 3, .h = 3, .w = 2},
          {CONV, .c = channels[i][0], .kernel = 1, .stride = 1, .bias = true},
          {CONV, .c = channels[i][1], .kernel = 3, .stride = 1, .padding = 1}, {CONCAT, .a = 1, .b = 2},
          {TANH, .a = 3});
  CHECK(2, TOLERANCE, {INPUT, .c = 5, .h = 3, .w = 3}, {CONCAT, .a = 0, .b = 0}, {CONCAT, .a = 1, .b = 0});
  CHECK(3, TOLERANCE, {INPUT, .c = 5, .h = 1, .w = 1}, {LINEAR, .c = 9, .bias = true}, {LINEAR, .c = 12},
        {CONCAT, .a = 1, .b = 2}, {LINEAR, .a = 3, .c = 4});
}

static void reshaping(void **state) {
  (void)state;
  CHECK(3, TOLERANCE, {INPUT, .c = 60, .h = 1, .w = 1}, {RESHAPE, .c = 5, .h = 3, .w = 4});
  CHECK(2, TOLERANCE, {INPUT, .c = 6, .h = 4, .w = 3}, {RESHAPE, .c = 18, .h = 2, .w = 2});
  CHECK(3, TOLERANCE, {INPUT, .c = 7, .h = 1, .w = 1}, {LINEAR, .c = 36, .bias = true},
        {RESHAPE, .a = 1, .c = 9, .h = 2, .w = 2},
        {CONV, .a = 2, .c = 4, .kernel = 3, .stride = 1, .padding = 1});
}

static void transposed_convolution(void **state) {
  (void)state;
  static const struct {
    uint32_t c, h, w, out, kernel, stride, padding;
    bool bias;
  } cases[] = {
      {16, 3, 4, 16, 2, 2, 0, false}, {16, 4, 3, 32, 4, 2, 1, true}, {5, 4, 4, 7, 3, 1, 1, true},
      {3, 3, 3, 16, 4, 2, 1, false},  {21, 2, 3, 3, 3, 2, 1, true},  {8, 1, 1, 12, 4, 1, 0, true},
      {19, 3, 3, 20, 3, 3, 0, false},
  };
  for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
    CHECK(1 + (uint32_t)i % 3, TOLERANCE, {INPUT, .c = cases[i].c, .h = cases[i].h, .w = cases[i].w},
          {CONV_TRANSPOSE, .c = cases[i].out, .kernel = cases[i].kernel, .stride = cases[i].stride,
           .padding = cases[i].padding, .bias = cases[i].bias});
}

static void transposed_profile(void **state) {
  (void)state;
  static const struct part parts[] = {{INPUT, .c = 16, .h = 3, .w = 4},
                                      {CONV_TRANSPOSE, .c = 32, .kernel = 2, .stride = 2}};
  const struct network network = {parts, 2, 2};
  struct graph *graph =
      describe(&network, (struct graph_config){.threads = 1, .training = true, .input_gradient = true});
  uint32_t passes = 0;
  for (uint32_t i = 0; i < graph_profile_rows(graph); i++) {
    const struct graph_profile_row row = graph_profile_row(graph, i);
    if (!row.algorithm)
      continue;
    assert_true(row.flops == 2.0 * 16 * 32 * 4 * 12 * 2);
    passes++;
  }
  assert_int_equal(passes, 3);
  char *algorithms = graph_algorithms(graph);
  assert_non_null(strstr(algorithms, "l1 backward-data"));
  free(algorithms);
  graph_free(graph);
}

static void group_norms(void **state) {
  (void)state;
  CHECK(3, TOLERANCE, {INPUT, .c = 21, .h = 3, .w = 4}, {GROUP_NORM, .count = 3});
  CHECK(1, TOLERANCE, {INPUT, .c = 32, .h = 5, .w = 3}, {GROUP_NORM, .count = 2});
  CHECK(2, TOLERANCE, {INPUT, .c = 6, .h = 4, .w = 4}, {GROUP_NORM, .count = 6});
  CHECK(2, TOLERANCE, {INPUT, .c = 5, .h = 4, .w = 4},
        {CONV, .c = 20, .kernel = 3, .stride = 1, .padding = 1}, {GROUP_NORM, .a = 1, .count = 5},
        {LEAKY_RELU, .a = 2, .slope = 0.2f}, {GROUP_NORM, .a = 3, .count = 1});
  CHECK(3, 1e-4, {INPUT, .c = 5, .h = 2, .w = 2}, {LINEAR, .c = 20}, {GROUP_NORM, .a = 1, .count = 4});
}

static void conditional_norms(void **state) {
  (void)state;
  CHECK(3, TOLERANCE, {INPUT, .c = 21, .h = 3, .w = 4}, {CONDITIONAL_NORM, .count = 3});
  CHECK(5, TOLERANCE, {INPUT, .c = 16, .h = 3, .w = 3}, {CONDITIONAL_NORM, .count = 4});
  /* statistics from the pass that writes the input; a norm on a norm */
  CHECK(4, 1e-4, {INPUT, .c = 5, .h = 4, .w = 4}, {CONV, .c = 20, .kernel = 3, .stride = 1, .padding = 1},
        {PRELU, .a = 1}, {CONDITIONAL_NORM, .a = 2, .count = 3}, {LEAKY_RELU, .a = 3, .slope = 0.2f},
        {CONDITIONAL_NORM, .a = 4, .count = 3}, {ADD, .a = 5, .b = 2}, {BATCH_NORM, .a = 6});
}

static void spectral_norms(void **state) {
  (void)state;
  CHECK(2, TOLERANCE, {INPUT, .c = 5, .h = 4, .w = 4},
        {CONV, .c = 7, .kernel = 3, .stride = 1, .padding = 1, .bias = true, .spectral = true});
  CHECK(1, TOLERANCE, {INPUT, .c = 3, .h = 6, .w = 6},
        {CONV, .c = 16, .kernel = 4, .stride = 2, .padding = 1, .spectral = true},
        {LEAKY_RELU, .a = 1, .slope = 0.1f},
        {CONV, .a = 2, .c = 32, .kernel = 3, .stride = 1, .padding = 1, .spectral = true});
  CHECK(3, TOLERANCE, {INPUT, .c = 9, .h = 2, .w = 2}, {LINEAR, .c = 19, .bias = true, .spectral = true});
  CHECK(4, TOLERANCE, {INPUT, .c = 19, .h = 1, .w = 1}, {LINEAR, .c = 6, .spectral = true}, {TANH, .a = 1},
        {LINEAR, .a = 2, .c = 3, .spectral = true});
}

/* A small U-Net: everything that is read twice, across levels. */
static void u_net(void **state) {
  (void)state;
  CHECK(3, 1e-4, {INPUT, .c = 3, .h = 4, .w = 4},
        {CONV, .c = 6, .kernel = 3, .stride = 1, .padding = 1, .bias = true},
        {GROUP_NORM, .a = 1, .count = 2}, {LEAKY_RELU, .a = 2, .slope = 0.2f},
        {AVERAGE_POOL, .a = 3, .kernel = 2, .stride = 2},
        {CONV, .a = 4, .c = 9, .kernel = 3, .stride = 1, .padding = 1}, {TANH, .a = 5},
        {CONV_TRANSPOSE, .a = 6, .c = 5, .kernel = 2, .stride = 2, .bias = true},
        {UPSAMPLE, .a = 6, .count = 2, .bilinear = true}, {CONCAT, .a = 7, .b = 3}, {CONCAT, .a = 9, .b = 8},
        {CONV, .a = 10, .c = 3, .kernel = 1, .stride = 1, .spectral = true}, {ADD, .a = 11, .b = 0},
        {SIGMOID, .a = 12});
}

/* ---- what is not a pass ---- */

static void pooled_statistics(void **state) {
  (void)state;
  static const struct part parts[] = {{INPUT, .c = 5, .h = 3, .w = 2}, {CONDITIONAL_NORM, .count = 3}};
  const struct network network = {parts, 2, 4};
  struct graph *graph = describe(&network, (struct graph_config){.threads = 1, .training = true});
  double sum[5] = {0}, square[5] = {0};
  graph_statistics_reset(graph);
  for (int pass = 0; pass < 2; pass++) {
    lcg_fill(graph_input_data(graph), 4 * 30, 1, 0.5f);
    for (size_t j = 0; j < 4 * 30; j++) {
      const double x = (double)graph_input_data(graph)[j];
      sum[j / 6 % 5] += x;
      square[j / 6 % 5] += x * x;
    }
    assert_int_equal(graph_forward(graph, GRAPH_STATISTICS, 0, NULL), 0);
  }
  graph_statistics_finish(graph);
  for (uint32_t c = 0; c < 5; c++) {
    const double mean = sum[c] / 48, variance = (square[c] - 48 * mean * mean) / 47;
    assert_true(fabs((double)parameter_value(graph, 1, "running_mean")[c] - mean) < 1e-5);
    assert_true(fabs((double)parameter_value(graph, 1, "running_var")[c] - variance) < 1e-5);
  }
  graph_classes(graph)[2] = 3;
  struct guise_error err = {0};
  assert_int_equal(graph_forward(graph, GRAPH_EVAL, 0, &err), -EINVAL);
  assert_non_null(strstr(err.text, "class 3"));
  graph_free(graph);
}

static void adam(void **state) {
  (void)state;
  static const struct part parts[] = {{INPUT, .c = 5, .h = 3, .w = 3},
                                      {CONV, .c = 7, .kernel = 3, .stride = 1, .bias = true},
                                      {CONDITIONAL_NORM, .a = 1, .count = 3},
                                      {LINEAR, .a = 2, .c = 3, .bias = true}};
  const struct network network = {parts, 4, 4};
  for (uint32_t threads = 1; threads <= 2; threads++)
    for (int decoupled = 0; decoupled < 2; decoupled++) {
      struct graph *graph = describe(&network, (struct graph_config){.threads = threads_wanted(threads),
                                                                     .training = true,
                                                                     .optimizer = GRAPH_ADAM,
                                                                     .seed = 5});
      const struct adam_options options = {1e-2f, 0.5f, 0.99f, 1e-8f, 0.1f, decoupled == 1};
      double *w[PARAMETERS_MAX], *m[PARAMETERS_MAX], *s[PARAMETERS_MAX];
      for (uint32_t k = 0; k < graph_parameters(graph); k++) {
        const struct graph_parameter *p = graph_parameter(graph, k);
        w[k] = doubles(p->value, p->count);
        m[k] = calloc(p->count, sizeof(double));
        s[k] = calloc(p->count, sizeof(double));
        assert_int_equal(p->square != NULL, p->gradient != NULL);
        assert_int_equal(p->decay, p->rank > 1 && strncmp(p->name, "l2", 2) != 0);
      }
      for (uint64_t step = 1; step <= 4; step++) {
        for (uint32_t k = 0; k < graph_parameters(graph); k++) {
          const struct graph_parameter *p = graph_parameter(graph, k);
          for (size_t j = 0; p->gradient && j < p->count; j++) {
            p->gradient[j] = lcg();
            double g = (double)p->gradient[j];
            const double decay = p->decay ? 0.1 : 0;
            if (decoupled)
              w[k][j] -= 1e-2 * decay * w[k][j];
            else
              g += decay * w[k][j];
            m[k][j] = 0.5 * m[k][j] + 0.5 * g;
            s[k][j] = 0.99 * s[k][j] + 0.01 * g * g;
            w[k][j] -= 1e-2 / (1 - pow(0.5, (double)step)) * m[k][j] /
                       (sqrt(s[k][j] / (1 - pow(0.99, (double)step))) + 1e-8);
          }
        }
        assert_int_equal(graph_adam(graph, &options, step, NULL), 0);
      }
      (void)snprintf(check_context, sizeof(check_context), "Adam, %u threads, decoupled %d", threads,
                     decoupled);
      for (uint32_t k = 0; k < graph_parameters(graph); k++) {
        const struct graph_parameter *p = graph_parameter(graph, k);
        check_close(p->name, p->value, w[k], p->count, 1e-3, 1e-5);
        if (p->gradient) {
          check_close("first moment", p->momentum, m[k], p->count, 1e-3, 1e-5);
          check_close("second moment", p->square, s[k], p->count, 1e-3, 1e-5);
        }
        free(w[k]);
        free(m[k]);
        free(s[k]);
      }
      graph_free(graph);
    }
  struct graph *graph = describe(&network, (struct graph_config){.threads = 1, .training = true});
  assert_null(graph_parameter(graph, 0)->square);
  assert_int_equal(graph_adam(graph, &(struct adam_options){.rate = 1}, 1, NULL), -EINVAL);
  graph_free(graph);
}

/* Unit vectors to begin with, one iteration a training pass, none in evaluation, copied with the parameters.
 */
static void spectral_statistics(void **state) {
  (void)state;
  static const struct part parts[] = {
      {INPUT, .c = 5, .h = 3, .w = 3},
      {CONV, .c = 7, .kernel = 3, .stride = 1, .padding = 1, .spectral = true}};
  const struct network network = {parts, 2, 2};
  struct graph *graph = describe(&network, (struct graph_config){.threads = 1, .training = true, .seed = 1});
  struct graph *copy = describe(&network, (struct graph_config){.threads = 1, .seed = 2});
  const int u = find_parameter(graph, 1, "weight_u"), v = find_parameter(graph, 1, "weight_v");
  assert_true(u >= 0 && v >= 0);
  assert_null(graph_parameter(graph, (uint32_t)u)->gradient);
  double square[2] = {0};
  for (int i = 0; i < 7; i++)
    square[0] += pow((double)graph_parameter(graph, (uint32_t)u)->value[i], 2);
  for (int i = 0; i < 45; i++)
    square[1] += pow((double)graph_parameter(graph, (uint32_t)v)->value[i], 2);
  assert_true(fabs(square[0] - 1) < 1e-5 && fabs(square[1] - 1) < 1e-5);
  lcg_fill(graph_input_data(graph), 90, 1, 0);
  memcpy(graph_input_data(copy), graph_input_data(graph), 90 * sizeof(float));
  for (int i = 0; i < 50; i++)
    assert_int_equal(graph_forward(graph, GRAPH_TRAIN, 0, NULL), 0);
  float before[7];
  memcpy(before, graph_parameter(graph, (uint32_t)u)->value, sizeof(before));
  assert_int_equal(graph_forward(graph, GRAPH_EVAL, 0, NULL), 0);
  assert_memory_equal(before, graph_parameter(graph, (uint32_t)u)->value, sizeof(before));
  assert_int_equal(graph_copy_parameters(copy, graph, NULL), 0);
  assert_int_equal(graph_forward(copy, GRAPH_EVAL, 0, NULL), 0);
  assert_memory_equal(graph_output_data(copy), graph_output_data(graph), 2 * 63 * sizeof(float));
  graph_free(graph);
  graph_free(copy);
}

static int describe_bad(int which, struct graph *graph) {
  const int x = graph_input(graph, 6, 5, 4);
  switch (which) {
  case 0:
    return graph_leaky_relu(graph, x, -0.1f);
  case 1:
    return graph_max_pool(graph, x, 3, 1, 2);
  case 2:
    return graph_average_pool(graph, x, 7, 1, 1);
  case 3:
    return graph_average_pool(graph, x, 2, 0, 0);
  case 4:
    return graph_upsample(graph, x, 0, UPSAMPLE_NEAREST);
  case 5:
    return graph_concat(graph, x, graph_max_pool(graph, x, 2, 2, 0));
  case 6:
    return graph_reshape(graph, x, 6, 5, 5);
  case 7:
    return graph_group_norm(graph, x, "a", 4);
  case 8:
    return graph_conditional_norm(graph, x, "a", 0);
  case 9:
    return graph_conv_transpose(
        graph, x, "a", &(struct conv_options){.out_channels = 6, .kernel = 3, .stride = 1, .groups = 6});
  case 10:
    return graph_conv_transpose(
        graph, graph_global_average_pool(graph, x), "a",
        &(struct conv_options){.out_channels = 6, .kernel = 3, .stride = 1, .padding = 2});
  default:
    return 0;
  }
}

static void impossible_parts(void **state) {
  (void)state;
  for (int which = 0; which <= 10; which++) {
    struct graph *graph = NULL;
    assert_int_equal(graph_new(&(struct graph_config){.batch = 2, .threads = 1}, &graph, NULL), 0);
    if (describe_bad(which, graph) != -EINVAL)
      fail_msg("description %d was taken", which);
    graph_free(graph);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(activations),
      cmocka_unit_test(pools),
      cmocka_unit_test(upsampling),
      cmocka_unit_test(concatenation),
      cmocka_unit_test(reshaping),
      cmocka_unit_test(transposed_convolution),
      cmocka_unit_test(transposed_profile),
      cmocka_unit_test(group_norms),
      cmocka_unit_test(conditional_norms),
      cmocka_unit_test(spectral_norms),
      cmocka_unit_test(u_net),
      cmocka_unit_test(pooled_statistics),
      cmocka_unit_test(adam),
      cmocka_unit_test(spectral_statistics),
      cmocka_unit_test(impossible_parts),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
