/* A built graph, layer by layer, in terms of what is computed in evaluation: for writers of other formats,
 * which need to know nothing of the engine.
 *
 * Shapes are per image. Values are numbered like the nodes of the description, and every value comes before
 * its readers. Weights are in the plain layouts of graph_parameters(), owned by the graph. Callbacks return 0
 * or a negative errno, which ends the walk. */
#pragma once

#include "core/nn/graph.h"

struct graph_value {
  int node;
  const char *name; /* of the layer; NULL when it has no parameters */
  uint32_t channels, height, width;
};

struct graph_batch_norm_values { /* (C) each: y = gamma (x - mean) / sqrt(variance + epsilon) + beta */
  const float *gamma, *beta, *mean, *variance;
  double epsilon;
};

struct graph_group_norm_values { /* (C) each; mean and variance are a group's, of one image */
  uint32_t groups;
  const float *gamma, *beta;
  double epsilon;
};

/* A callback that is NULL means that the writer has no word for this kind of layer. */
struct graph_visitor {
  void *context;
  int (*input)(void *context, struct graph_value y);
  /* weight (O, I/groups, K, K), bias (O) or NULL */
  int (*conv)(void *context, struct graph_value x, const struct conv_options *options, const float *weight,
              const float *bias, struct graph_value y);
  int (*batch_norm)(void *context, struct graph_value x, const struct graph_batch_norm_values *values,
                    struct graph_value y);
  int (*group_norm)(void *context, struct graph_value x, const struct graph_group_norm_values *values,
                    struct graph_value y);
  int (*prelu)(void *context, struct graph_value x, const float *slope, struct graph_value y); /* slope (C) */
  int (*add)(void *context, struct graph_value a, struct graph_value b, struct graph_value y);
  /* x in plain (C,H,W) order; weight (O, C H W), bias (O) or NULL */
  int (*linear)(void *context, struct graph_value x, const float *weight, const float *bias,
                struct graph_value y);
  int (*block_idct)(void *context, struct graph_value x, const struct block_idct_options *options,
                    struct graph_value y);
  int (*identity)(void *context, struct graph_value x, struct graph_value y); /* dropout */
  int (*output)(void *context, struct graph_value y);
};

/* -EINVAL before graph_build; -ENOTSUP with err naming the layer that has no such description or no callback;
 * what a callback returned (err untouched). */
int graph_visit(const struct graph *graph, const struct graph_visitor *visitor, struct guise_error *err);
