/* Of one sample the gradient of a linear layer y = W f + b is an outer product, dL/dW = (dL/dy) f^T, and
 * dL/db = dL/dy: f, what the layer saw, follows exactly (Phong et al., "Privacy-Preserving Deep Learning via
 * Additively Homomorphic Encryption", 2018). To pull a picture towards it the network is run with another
 * last layer, a random projection R of entries +-1/sqrt(D), drawn anew each step: the mean of |R v|^2 is
 * |v|^2. */
#include "core/attack/features.h"

#include <math.h>
#include <string.h>

#include "core/base/philox.h"

#define EPSILON 1e-5f /* of the graph's norms */
#define DRAW_PROJECTION \
  ((1ull << 37) + (1ull << 32)) /* sequences of RNG_ATTACK, beyond those of other files */

enum tensor { WEIGHT, BIAS, NORM_GAIN, NORM_BIAS, NORM_MEAN, NORM_VARIANCE, TENSORS };

struct features {
  struct graph *graph;
  struct graph_parameter *tensor[TENSORS];
  uint64_t seed;
  uint32_t outputs, inputs;
  float *f;       /* (inputs) what the layer saw */
  double squares; /* |f|^2 */
};

int features_new(struct graph *graph, uint64_t seed, struct features **ret_features,
                 struct guise_error *err) {
  static const char *const names[TENSORS] = {"tail.linear.weight",
                                             "tail.linear.bias",
                                             "tail.embedding_norm.weight",
                                             "tail.embedding_norm.bias",
                                             "tail.embedding_norm.running_mean",
                                             "tail.embedding_norm.running_var"};
  _cleanup_(features_freep) struct features *features = calloc(1, sizeof(*features));
  if (!features)
    return error_set(err, -ENOMEM, "out of memory for a network's features");
  *features = (struct features){.graph = graph, .seed = seed};
  for (uint32_t i = 0; i < graph_parameters(graph); i++)
    for (int t = 0; t < TENSORS; t++)
      if (strcmp(graph_parameter(graph, i)->name, names[t]) == 0)
        features->tensor[t] = graph_parameter(graph, i);
  *ret_features = NULL;
  for (int t = 0; t < TENSORS; t++)
    if (!features->tensor[t])
      return 0;
  features->outputs = (uint32_t)features->tensor[BIAS]->count;
  features->inputs = (uint32_t)(features->tensor[WEIGHT]->count / features->outputs);
  features->f = calloc(features->inputs, sizeof(float));
  if (!features->f)
    return error_set(err, -ENOMEM, "out of memory for a network's features");
  *ret_features = TAKE(features);
  return 0;
}

struct features *features_free(struct features *features) {
  if (!features)
    return NULL;
  free(features->f);
  free(features);
  return NULL;
}

bool features_read(struct features *features) {
  const float *of_weight = features->tensor[WEIGHT]->gradient, *of_bias = features->tensor[BIAS]->gradient;
  double length = 0;
  for (uint32_t o = 0; o < features->outputs; o++)
    length += (double)of_bias[o] * (double)of_bias[o];
  features->squares = 0;
  for (uint32_t i = 0; i < features->inputs && length > 0; i++) {
    double sum = 0;
    for (uint32_t o = 0; o < features->outputs; o++)
      sum += (double)of_bias[o] * (double)of_weight[(size_t)o * features->inputs + i];
    features->f[i] = (float)(sum / length);
    features->squares += (double)features->f[i] * (double)features->f[i];
  }
  return features->squares > 0 && isfinite(features->squares);
}

/* The layers from f on become R; ret_wanted (outputs) is R f. */
static void project(struct features *features, uint64_t step, float *ret_wanted) {
  const float unit = 1 / sqrtf((float)features->outputs);
  for (uint32_t o = 0; o < features->outputs; o++) {
    float *row = features->tensor[WEIGHT]->value + (size_t)o * features->inputs;
    struct rng rng;
    double sum = 0;
    uint32_t signs = 0;
    rng_init(&rng, features->seed, RNG_ATTACK, DRAW_PROJECTION + step, o);
    for (uint32_t i = 0; i < features->inputs; i++) {
      signs = i % 32 == 0 ? rng_u32(&rng) : signs >> 1;
      row[i] = signs & 1 ? unit : -unit;
      sum += (double)row[i] * (double)features->f[i];
    }
    ret_wanted[o] = (float)sum;
    features->tensor[BIAS]->value[o] = 0;
    features->tensor[NORM_GAIN]->value[o] = sqrtf(features->tensor[NORM_VARIANCE]->value[o] + EPSILON);
    features->tensor[NORM_BIAS]->value[o] = features->tensor[NORM_MEAN]->value[o];
  }
  graph_parameters_changed(features->graph);
}

int features_pull(struct features *features, uint64_t step, float *ret_derivative, size_t elements,
                  struct guise_error *err) {
  float wanted[features->outputs];
  project(features, step, wanted);
  int r = graph_forward(features->graph, GRAPH_EVAL, 0, err);
  if (r < 0)
    return r;
  const float *output = graph_output_data(features->graph);
  float *gradient = graph_output_gradient(features->graph);
  for (uint32_t o = 0; o < features->outputs; o++)
    gradient[o] = (float)(2 / features->squares) * (output[o] - wanted[o]);
  r = graph_backward(features->graph, err);
  if (r == 0)
    memcpy(ret_derivative, graph_input_gradient(features->graph), elements * sizeof(float));
  return r;
}
