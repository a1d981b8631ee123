/* A second, slow network engine for tests: plain loops in double over a list of layers, forward and backward.
 * Tests describe a network once as `struct layer[]`; reference_graph() makes the guise graph of it,
 * reference_run() computes the same with loops, and reference_compare() holds the two against each other. */
#pragma once

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/nn/graph.h"

enum layer_kind { L_INPUT, L_CONV, L_NORM, L_PRELU, L_ADD, L_LINEAR, L_IDCT };

struct layer {
  enum layer_kind kind;
  int a, b;         /* operands: indices of earlier layers */
  uint32_t c, h, w; /* L_INPUT: shape; L_CONV, L_LINEAR: c = output channels */
  uint32_t kernel, stride, padding;
  bool bias;
  uint32_t groups; /* L_CONV; 0 = 1 */
  bool freezes;    /* graph_freeze() follows */
};

struct reference_tensor {
  uint32_t c, h, w;
  size_t count; /* of the whole batch */
  double *value, *gradient;
};

#define REFERENCE_LAYERS 64
#define REFERENCE_PARAMETERS 256

struct reference {
  const struct layer *layers;
  uint32_t count, batch;
  struct reference_tensor tensor[REFERENCE_LAYERS];
  double *gradient[REFERENCE_PARAMETERS]; /* by the graph's parameter index; NULL: none */
  double *mean[REFERENCE_LAYERS], *variance[REFERENCE_LAYERS]; /* batch statistics of L_NORM, for checks */
  struct block_idct_options idct;
};

/* ---- a generator that Python repeats: x = x * 1664525 + 1013904223, value = (x >> 8) / 2^23 - 1 ---- */

static uint32_t lcg_state = 1;

static inline float lcg(void) {
  lcg_state = lcg_state * 1664525u + 1013904223u;
  return (float)(lcg_state >> 8) / 8388608.0f - 1.0f;
}

static inline void lcg_fill(float *values, size_t count, float scale, float shift) {
  for (size_t i = 0; i < count; i++)
    values[i] = lcg() * scale + shift;
}

/* ---- description ---- */

static inline struct graph *reference_graph(const struct layer *layers, uint32_t count,
                                            struct graph_config config,
                                            const struct block_idct_options *idct) {
  struct graph *graph = NULL;
  struct guise_error err = {0};
  assert_int_equal(graph_new(&config, &graph, &err), 0);
  int last = -1;
  for (uint32_t i = 0; i < count; i++) {
    const struct layer *l = &layers[i];
    char name[16];
    (void)snprintf(name, sizeof(name), "l%u", i);
    switch (l->kind) {
    case L_INPUT:
      last = graph_input(graph, l->c, l->h, l->w);
      break;
    case L_CONV:
      last = graph_conv(
          graph, l->a, name,
          &(struct conv_options){l->c, l->kernel, l->stride, l->padding, l->bias, l->groups, false});
      break;
    case L_NORM:
      last = graph_batch_norm(graph, l->a, name);
      break;
    case L_PRELU:
      last = graph_prelu(graph, l->a, name);
      break;
    case L_ADD:
      last = graph_add(graph, l->a, l->b);
      break;
    case L_LINEAR:
      last = graph_linear(graph, l->a, name, l->c, l->bias);
      break;
    case L_IDCT:
      last = graph_block_idct(graph, l->a, idct);
      break;
    }
    assert_int_equal(last, (int)i);
    assert_int_equal(l->freezes ? graph_freeze(graph) : 0, 0);
  }
  assert_true(graph_output(graph, last) >= 0);
  if (graph_build(graph, &err) < 0)
    fail_msg("graph_build: %s", err.text);
  return graph;
}

static inline int find_parameter(struct graph *graph, uint32_t layer, const char *suffix) {
  char name[40];
  (void)snprintf(name, sizeof(name), "l%u.%s", layer, suffix);
  for (uint32_t i = 0; i < graph_parameters(graph); i++)
    if (strcmp(graph_parameter(graph, i)->name, name) == 0)
      return (int)i;
  return -1;
}

static inline const float *parameter_value(struct graph *graph, uint32_t layer, const char *suffix) {
  int i = find_parameter(graph, layer, suffix);
  return i < 0 ? NULL : graph_parameter(graph, (uint32_t)i)->value;
}

/* The reference's gradient array of a parameter, or NULL. */
static inline double *parameter_gradient(struct reference *r, struct graph *graph, uint32_t layer,
                                         const char *suffix) {
  int i = find_parameter(graph, layer, suffix);
  return i < 0 ? NULL : r->gradient[i];
}

/* ---- layers ---- */

static inline void reference_conv(struct reference *r, struct graph *graph, uint32_t i, bool backward) {
  const struct layer *l = &r->layers[i];
  struct reference_tensor *x = &r->tensor[l->a], *y = &r->tensor[i];
  const float *w = parameter_value(graph, i, "weight"), *b = parameter_value(graph, i, "bias");
  double *dw = backward ? parameter_gradient(r, graph, i, "weight") : NULL;
  double *db = backward ? parameter_gradient(r, graph, i, "bias") : NULL;
  const uint32_t k = l->kernel, groups = l->groups ? l->groups : 1, width = x->c / groups;
  for (uint32_t n = 0; n < r->batch; n++)
    for (uint32_t o = 0; o < y->c; o++)
      for (uint32_t p = 0; p < y->h; p++)
        for (uint32_t q = 0; q < y->w; q++) {
          const size_t at = ((size_t)(n * y->c + o) * y->h + p) * y->w + q;
          double sum = b ? (double)b[o] : 0;
          const double g = backward ? y->gradient[at] : 0;
          if (backward && db)
            db[o] += g;
          const uint32_t first = o / (y->c / groups) * width;
          for (uint32_t c = first; c < first + width; c++)
            for (uint32_t u = 0; u < k; u++)
              for (uint32_t v = 0; v < k; v++) {
                const int64_t row = (int64_t)p * l->stride + u - l->padding;
                const int64_t column = (int64_t)q * l->stride + v - l->padding;
                if (row < 0 || column < 0 || row >= x->h || column >= x->w)
                  continue;
                const size_t from = ((size_t)(n * x->c + c) * x->h + (size_t)row) * x->w + (size_t)column;
                const size_t at_w = ((size_t)(o * width + c - first) * k + u) * k + v;
                sum += x->value[from] * (double)w[at_w];
                if (backward) {
                  x->gradient[from] += g * (double)w[at_w];
                  dw[at_w] += g * x->value[from];
                }
              }
          if (!backward)
            y->value[at] = sum;
        }
}

static inline bool reference_frozen(const struct reference *r, uint32_t i) {
  bool frozen = false;
  for (; i < r->count; i++)
    frozen |= r->layers[i].freezes;
  return frozen;
}

static inline void reference_norm(struct reference *r, struct graph *graph, uint32_t i, bool backward,
                                  bool train) {
  struct reference_tensor *x = &r->tensor[r->layers[i].a], *y = &r->tensor[i];
  const float *gamma = parameter_value(graph, i, "weight"), *beta = parameter_value(graph, i, "bias");
  const float *running_mean = parameter_value(graph, i, "running_mean");
  const float *running_variance = parameter_value(graph, i, "running_var");
  const size_t rows = (size_t)x->h * x->w, m = r->batch * rows;
  train &= !reference_frozen(r, i);
  for (uint32_t c = 0; c < x->c; c++) {
    double sum = 0, square = 0, mean = (double)running_mean[c], variance = (double)running_variance[c];
    for (size_t j = 0; j < m; j++)
      sum += x->value[(j / rows * x->c + c) * rows + j % rows];
    for (size_t j = 0; j < m; j++)
      square += pow(x->value[(j / rows * x->c + c) * rows + j % rows] - sum / (double)m, 2);
    if (train) {
      mean = sum / (double)m;
      variance = square / (double)m;
    }
    if (!backward) {
      r->mean[i][c] = mean;
      r->variance[i][c] = variance;
    } else {
      mean = r->mean[i][c]; /* the running ones have moved since */
      variance = r->variance[i][c];
    }
    const double inverse = 1 / sqrt(variance + 1e-5);
    double g_sum = 0, g_dot = 0;
    for (size_t j = 0; j < m; j++) {
      const size_t at = (j / rows * x->c + c) * rows + j % rows;
      const double hat = (x->value[at] - mean) * inverse;
      if (!backward)
        y->value[at] = (double)gamma[c] * hat + (double)beta[c];
      else {
        g_sum += y->gradient[at];
        g_dot += y->gradient[at] * hat;
      }
    }
    if (!backward)
      continue;
    parameter_gradient(r, graph, i, "weight")[c] += g_dot;
    parameter_gradient(r, graph, i, "bias")[c] += g_sum;
    for (size_t j = 0; j < m; j++) {
      const size_t at = (j / rows * x->c + c) * rows + j % rows;
      const double hat = (x->value[at] - mean) * inverse;
      const double through = train ? g_sum / (double)m + hat * g_dot / (double)m : 0;
      x->gradient[at] += (double)gamma[c] * inverse * (y->gradient[at] - through);
    }
  }
}

static inline void reference_prelu(struct reference *r, struct graph *graph, uint32_t i, bool backward) {
  struct reference_tensor *x = &r->tensor[r->layers[i].a], *y = &r->tensor[i];
  const float *slope = parameter_value(graph, i, "weight");
  double *d_slope = backward ? parameter_gradient(r, graph, i, "weight") : NULL;
  for (size_t j = 0; j < x->count; j++) {
    const size_t c = j / ((size_t)x->h * x->w) % x->c;
    const bool positive = x->value[j] > 0;
    if (!backward)
      y->value[j] = positive ? x->value[j] : (double)slope[c] * x->value[j];
    else {
      x->gradient[j] += y->gradient[j] * (positive ? 1 : (double)slope[c]);
      d_slope[c] += positive ? 0 : y->gradient[j] * x->value[j];
    }
  }
}

static inline void reference_add(struct reference *r, uint32_t i, bool backward) {
  struct reference_tensor *a = &r->tensor[r->layers[i].a], *b = &r->tensor[r->layers[i].b],
                          *y = &r->tensor[i];
  for (size_t j = 0; j < y->count; j++)
    if (!backward)
      y->value[j] = a->value[j] + b->value[j];
    else {
      a->gradient[j] += y->gradient[j];
      b->gradient[j] += y->gradient[j];
    }
}

static inline void reference_linear(struct reference *r, struct graph *graph, uint32_t i, bool backward) {
  struct reference_tensor *x = &r->tensor[r->layers[i].a], *y = &r->tensor[i];
  const float *w = parameter_value(graph, i, "weight"), *b = parameter_value(graph, i, "bias");
  double *dw = backward ? parameter_gradient(r, graph, i, "weight") : NULL;
  double *db = backward ? parameter_gradient(r, graph, i, "bias") : NULL;
  const size_t in = x->count / r->batch;
  for (uint32_t n = 0; n < r->batch; n++)
    for (uint32_t o = 0; o < y->c; o++) {
      const double g = backward ? y->gradient[n * y->c + o] : 0;
      double sum = b ? (double)b[o] : 0;
      if (db)
        db[o] += g;
      for (size_t f = 0; f < in; f++) {
        sum += x->value[n * in + f] * (double)w[o * in + f];
        if (backward) {
          x->gradient[n * in + f] += g * (double)w[o * in + f];
          dw[o * in + f] += g * x->value[n * in + f];
        }
      }
      if (!backward)
        y->value[n * y->c + o] = sum;
    }
}

/* Straight from the definition: pixel(i,j) = sum_uv D(u,i) D(v,j) coefficient(u,v). */
static inline void reference_idct(struct reference *r, uint32_t i, bool backward) {
  struct reference_tensor *x = &r->tensor[r->layers[i].a], *y = &r->tensor[i];
  const struct block_idct_options *o = &r->idct;
  const uint32_t grid = x->h;
  for (uint32_t n = 0; n < r->batch; n++)
    for (uint32_t c = 0; c < x->c; c++) {
      const uint32_t colour = o->channel[c] / 64, u = o->channel[c] % 64 / 8, v = o->channel[c] % 8;
      for (uint32_t p = 0; p < y->h; p++)
        for (uint32_t q = 0; q < y->w; q++) {
          const double base = (u ? 0.5 : sqrt(0.125)) * cos(M_PI * (2 * (p % 8) + 1) * u / 16) *
                              (v ? 0.5 : sqrt(0.125)) * cos(M_PI * (2 * (q % 8) + 1) * v / 16) /
                              (double)o->pixel_scale;
          const size_t from = ((size_t)(n * x->c + c) * grid + p / 8) * grid + q / 8;
          const size_t to = ((size_t)(n * 3 + colour) * y->h + p) * y->w + q;
          if (!backward)
            y->value[to] += base * ((double)o->deviation[c] * x->value[from] + (double)o->mean[c]);
          else
            x->gradient[from] += base * (double)o->deviation[c] * y->gradient[to];
        }
    }
}

/* ---- whole networks ---- */

static inline void reference_shape(struct reference *r, uint32_t i) {
  const struct layer *l = &r->layers[i];
  struct reference_tensor *t = &r->tensor[i];
  const struct reference_tensor *x = &r->tensor[l->a];
  *t = l->kind == L_INPUT ? (struct reference_tensor){.c = l->c, .h = l->h, .w = l->w} : *x;
  if (l->kind == L_CONV) {
    t->c = l->c;
    t->h = (x->h + 2 * l->padding - l->kernel) / l->stride + 1;
    t->w = (x->w + 2 * l->padding - l->kernel) / l->stride + 1;
  } else if (l->kind == L_LINEAR)
    *t = (struct reference_tensor){.c = l->c, .h = 1, .w = 1};
  else if (l->kind == L_IDCT)
    *t = (struct reference_tensor){.c = 3, .h = x->h * 8, .w = x->w * 8};
  t->count = (size_t)r->batch * t->c * t->h * t->w;
  t->value = calloc(t->count, sizeof(double));
  t->gradient = calloc(t->count, sizeof(double));
  r->mean[i] = calloc(t->c, sizeof(double));
  r->variance[i] = calloc(t->c, sizeof(double));
}

static inline void reference_layer(struct reference *r, struct graph *graph, uint32_t i, bool backward,
                                   bool train) {
  switch (r->layers[i].kind) {
  case L_INPUT:
    break;
  case L_CONV:
    reference_conv(r, graph, i, backward);
    break;
  case L_NORM:
    reference_norm(r, graph, i, backward, train);
    break;
  case L_PRELU:
    reference_prelu(r, graph, i, backward);
    break;
  case L_ADD:
    reference_add(r, i, backward);
    break;
  case L_LINEAR:
    reference_linear(r, graph, i, backward);
    break;
  case L_IDCT:
    reference_idct(r, i, backward);
    break;
  }
}

/* Call before graph_forward(): running statistics move there. */
static inline void reference_forward(struct reference *r, struct graph *graph, const struct layer *layers,
                                     uint32_t count, uint32_t batch, const struct block_idct_options *idct,
                                     bool train) {
  memset(r, 0, sizeof(*r));
  r->layers = layers;
  r->count = count;
  r->batch = batch;
  if (idct)
    r->idct = *idct;
  for (uint32_t i = 0; i < count; i++)
    reference_shape(r, i);
  for (uint32_t p = 0; p < graph_parameters(graph); p++)
    r->gradient[p] = calloc(graph_parameter(graph, p)->count, sizeof(double));
  for (size_t j = 0; j < r->tensor[0].count; j++)
    r->tensor[0].value[j] = (double)graph_input_data(graph)[j];
  for (uint32_t i = 0; i < count; i++)
    reference_layer(r, graph, i, false, train);
}

static inline void reference_backward(struct reference *r, struct graph *graph, bool train) {
  struct reference_tensor *out = &r->tensor[r->count - 1];
  for (size_t j = 0; j < out->count; j++)
    out->gradient[j] = (double)graph_output_gradient(graph)[j];
  for (uint32_t i = r->count; i-- > 0;)
    reference_layer(r, graph, i, true, train);
}

static inline void reference_free(struct reference *r) {
  for (uint32_t i = 0; i < r->count; i++) {
    free(r->tensor[i].value);
    free(r->tensor[i].gradient);
    free(r->mean[i]);
    free(r->variance[i]);
  }
  for (uint32_t p = 0; p < REFERENCE_PARAMETERS; p++)
    free(r->gradient[p]);
}

/* Largest difference over the largest magnitude, or over `floor` where that is larger: gradients that vanish,
 * such as that of a shift before a batch norm, are nothing but rounding. */
static inline double relative_error(const float *got, const double *want, size_t count, double floor) {
  double worst = 0, most = floor;
  for (size_t i = 0; i < count; i++) {
    worst = fmax(worst, fabs((double)got[i] - want[i]));
    most = fmax(most, fabs(want[i]));
    if (isnan(got[i]))
      return INFINITY;
  }
  return worst / most;
}

static char check_context[96]; /* said when a check fails: which kernels, threads, mode */

static inline void check_close(const char *what, const float *got, const double *want, size_t count,
                               double floor, double tolerance) {
  const double error = relative_error(got, want, count, floor);
  if (error > tolerance)
    fail_msg("%s: relative error %g exceeds %g (%s)", what, error, tolerance, check_context);
}
