/* Graphs held against the plain loops, forward, and backward by central differences. */
#pragma once

#include "parts_loops.h"

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

static inline double loss(struct loops *s, const float *gradient) {
  evaluate(s);
  const struct tensor *out = &s->tensor[s->network->count - 1];
  double sum = 0;
  for (size_t j = 0; j < values(s, out); j++)
    sum += out->value[j] * (double)gradient[j];
  return sum;
}

static inline void differentiate(struct loops *s, const float *gradient, double *variable, size_t count,
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

static inline bool is_statistic(const char *name) {
  return strstr(name, "running") || strstr(name, "weight_u") || strstr(name, "weight_v");
}

static inline void unit(double *v, size_t count) {
  double square = 0;
  for (size_t i = 0; i < count; i++)
    square += v[i] * v[i];
  for (size_t i = 0; i < count; i++)
    v[i] /= sqrt(square);
}

/* One power iteration for every spectral norm. */
static inline void iterate(struct loops *s) {
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

static inline double *doubles(const float *values_, size_t count) {
  double *copy = malloc(count * sizeof(double));
  for (size_t i = 0; i < count; i++)
    copy[i] = (double)values_[i];
  return copy;
}

/* Distinct within 101 neighbours and exact in bfloat16, so that no window has two largest values. */
static inline void fill_distinct(float *to, size_t count) {
  for (size_t i = 0; i < count; i++)
    to[i] = (float)(((i * 37 + i / 101 * 5 + 11) % 101)) / 32.0f - 50.5f / 32.0f;
}

static inline void expect_statistics(struct expectation *e) {
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

static inline void expect_network(struct expectation *e, const struct network *network, bool train) {
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

static inline void expectation_free(struct expectation *e) {
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
static inline void start(struct graph *graph, const struct expectation *e) {
  for (uint32_t k = 0; k < e->state.parameters; k++)
    memcpy(graph_parameter(graph, k)->value, e->initial[k], e->state.size[k] * sizeof(float));
  memcpy(graph_input_data(graph), e->input, values(&e->state, &e->state.tensor[0]) * sizeof(float));
  for (uint32_t n = 0; graph_classes(graph) && n < e->state.network->batch; n++)
    graph_classes(graph)[n] = class_of(n);
}

/* A pass with other statistics, so that nothing is right because the pass before it was; then NaN wherever
 * nothing is kept between passes, so that what is not written, padding too, shows. */
static inline void disturb(struct graph *graph, const struct expectation *e) {
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

static inline void check_samples(const char *what, const float *got, const struct samples *want, double floor,
                                 double tolerance) {
  float picked[SAMPLES];
  for (size_t k = 0; k < want->count; k++)
    picked[k] = got[want->index[k]];
  check_close(what, picked, want->value, want->count, floor, tolerance);
}

/* Channels that only fill the last block are zero. */
static inline void check_padding(const struct graph *graph) {
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

static inline void check_pass(struct graph *graph, const struct expectation *e, bool backward,
                              double tolerance) {
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

static inline void check_graph(const struct expectation *e, struct graph_config config, double tolerance) {
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
static inline void check(const struct part *parts, uint32_t count, uint32_t batch, double tolerance) {
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
