/* The layers of a graph (core/nn/visit.h) as nodes. A linear layer flattens, so that its value and those
 * after it have rank 2; whatever needs an image after that has no word here. */
#include <stdio.h>
#include <string.h>

#include "core/freq/dct.h"
#include "core/model/onnx_parts.h"
#include "core/nn/visit.h"

struct value {
  const char *name;
  bool flat; /* (N,C) instead of (N,C,H,W) */
};

struct writer {
  struct onnx_file *file;
  const char *input;
  struct value *value; /* by node */
  uint32_t values;
  const char *output;
};

struct label {
  char text[128];
};

static struct label join(const char *name, const char *suffix) {
  struct label joined;
  (void)snprintf(joined.text, sizeof(joined.text), "%.100s%.20s", name, suffix);
  return joined;
}

/* The layer's name, or for layers without parameters their kind and number. */
static struct label name_of(struct graph_value y, const char *kind) {
  struct label name;
  if (y.name)
    return join(y.name, "");
  (void)snprintf(name.text, sizeof(name.text), "%.20s.%d", kind, y.node);
  return name;
}

static int put(struct writer *w, struct graph_value y, const char *name, bool flat) {
  const uint32_t index = (uint32_t)y.node;
  if (index >= w->values) {
    struct value *larger = reallocarray(w->value, index + 1, sizeof(*larger));
    if (!larger)
      return -ENOMEM;
    memset(larger + w->values, 0, (index + 1 - w->values) * sizeof(*larger));
    w->value = larger;
    w->values = index + 1;
  }
  w->value[index] = (struct value){name, flat};
  return 0;
}

static struct value get(const struct writer *w, struct graph_value x) {
  return w->value[x.node];
}

/* A constant (C), shaped to be spread over (N,C) or (N,C,H,W). */
static const char *per_channel(struct writer *w, const char *name, uint32_t channels, bool flat,
                               const float *values) {
  const int64_t shape[3] = {channels, 1, 1};
  return onnx_floats(w->file, name, flat ? 1 : 3, shape, values);
}

/* ---- layers ---- */

static int add_input(void *context, struct graph_value y) {
  struct writer *w = context;
  return put(w, y, w->input, false);
}

static int add_conv(void *context, struct graph_value x, const struct conv_options *options,
                    const float *weight, const float *bias, struct graph_value y) {
  struct writer *w = context;
  const struct value from = get(w, x);
  const int64_t k = options->kernel, s = options->stride, p = options->padding;
  const int64_t shape[4] = {y.channels, x.channels / options->groups, k, k};
  const struct label name = name_of(y, "conv");
  struct onnx_node *node;
  if (from.flat)
    return -ENOTSUP;
  const char *weights = onnx_floats(w->file, join(name.text, ".weight").text, 4, shape, weight);
  const char *biases = bias ? onnx_floats(w->file, join(name.text, ".bias").text, 1, shape, bias) : NULL;
  const char *out =
      onnx_node(w->file, "Conv", name.text, &node, (const char *const[]){from.name, weights, biases, NULL});
  onnx_integers_attribute(w->file, node, "kernel_shape", 2, (const int64_t[2]){k, k});
  onnx_integers_attribute(w->file, node, "strides", 2, (const int64_t[2]){s, s});
  onnx_integers_attribute(w->file, node, "pads", 4, (const int64_t[4]){p, p, p, p});
  onnx_integer_attribute(w->file, node, "group", options->groups);
  return put(w, y, out, false);
}

static int add_batch_norm(void *context, struct graph_value x, const struct graph_batch_norm_values *values,
                          struct graph_value y) {
  struct writer *w = context;
  const struct value from = get(w, x);
  const struct label name = name_of(y, "norm");
  const struct {
    const char *suffix;
    const float *values;
  } parts[4] = {{".weight", values->gamma},
                {".bias", values->beta},
                {".running_mean", values->mean},
                {".running_var", values->variance}};
  const int64_t shape[1] = {y.channels};
  const char *inputs[6] = {from.name};
  struct onnx_node *node;
  for (uint32_t i = 0; i < 4; i++)
    inputs[i + 1] = onnx_floats(w->file, join(name.text, parts[i].suffix).text, 1, shape, parts[i].values);
  const char *out = onnx_node(w->file, "BatchNormalization", name.text, &node, inputs);
  onnx_float_attribute(w->file, node, "epsilon", (float)values->epsilon);
  return put(w, y, out, from.flat);
}

/* ONNX has group norms from opset 18 on. Before, they are the instance norms of a tensor whose channels are
 * the groups, and a gain and a bias a channel. */
static int add_group_norm(void *context, struct graph_value x, const struct graph_group_norm_values *values,
                          struct graph_value y) {
  struct writer *w = context;
  const struct value from = get(w, x);
  const struct label name = name_of(y, "norm");
  const int64_t groups[1] = {values->groups}, split[3] = {0, values->groups, -1},
                whole[4] = {0, y.channels, y.height, y.width};
  float *ones = onnx_memory(w->file, values->groups);
  for (uint32_t i = 0; ones && i < values->groups; i++)
    ones[i] = 1;
  struct onnx_node *node;
  const char *unit = onnx_floats(w->file, join(name.text, ".ones").text, 1, groups, ones);
  const char *zero =
      onnx_floats(w->file, join(name.text, ".zeros").text, 1, groups, onnx_memory(w->file, values->groups));
  const char *to_groups = onnx_integers(w->file, join(name.text, ".split").text, 3, split);
  const char *to_channels = onnx_integers(w->file, join(name.text, ".whole").text, from.flat ? 2 : 4, whole);
  const char *gamma = per_channel(w, join(name.text, ".weight").text, y.channels, from.flat, values->gamma);
  const char *beta = per_channel(w, join(name.text, ".bias").text, y.channels, from.flat, values->beta);
  const char *out = onnx_node(w->file, "Reshape", join(name.text, ".groups").text, NULL,
                              (const char *const[]){from.name, to_groups, NULL});
  out = onnx_node(w->file, "InstanceNormalization", join(name.text, ".normal").text, &node,
                  (const char *const[]){out, unit, zero, NULL});
  onnx_float_attribute(w->file, node, "epsilon", (float)values->epsilon);
  out = onnx_node(w->file, "Reshape", join(name.text, ".channels").text, NULL,
                  (const char *const[]){out, to_channels, NULL});
  out = onnx_node(w->file, "Mul", join(name.text, ".scaled").text, NULL,
                  (const char *const[]){out, gamma, NULL});
  out = onnx_node(w->file, "Add", name.text, NULL, (const char *const[]){out, beta, NULL});
  return put(w, y, out, from.flat);
}

static int add_prelu(void *context, struct graph_value x, const float *slope, struct graph_value y) {
  struct writer *w = context;
  const struct value from = get(w, x);
  const struct label name = name_of(y, "prelu");
  const char *slopes = per_channel(w, join(name.text, ".weight").text, y.channels, from.flat, slope);
  const char *out =
      onnx_node(w->file, "PRelu", name.text, NULL, (const char *const[]){from.name, slopes, NULL});
  return put(w, y, out, from.flat);
}

static int add_sum(void *context, struct graph_value a, struct graph_value b, struct graph_value y) {
  struct writer *w = context;
  const struct value first = get(w, a), second = get(w, b);
  if (first.flat != second.flat)
    return -ENOTSUP;
  const char *out = onnx_node(w->file, "Add", name_of(y, "add").text, NULL,
                              (const char *const[]){first.name, second.name, NULL});
  return put(w, y, out, first.flat);
}

static int add_linear(void *context, struct graph_value x, const float *weight, const float *bias,
                      struct graph_value y) {
  struct writer *w = context;
  const struct value from = get(w, x);
  const int64_t shape[2] = {y.channels, (int64_t)x.channels * x.height * x.width};
  const struct label name = name_of(y, "linear");
  const char *in = from.name;
  struct onnx_node *node;
  if (!from.flat) {
    in = onnx_node(w->file, "Flatten", join(name.text, ".flat").text, &node, (const char *const[]){in, NULL});
    onnx_integer_attribute(w->file, node, "axis", 1);
  }
  const char *weights = onnx_floats(w->file, join(name.text, ".weight").text, 2, shape, weight);
  const char *biases = bias ? onnx_floats(w->file, join(name.text, ".bias").text, 1, shape, bias) : NULL;
  const char *out =
      onnx_node(w->file, "Gemm", name.text, &node, (const char *const[]){in, weights, biases, NULL});
  onnx_integer_attribute(w->file, node, "transB", 1);
  return put(w, y, out, true);
}

/* Filters (C,3,8,8): each channel's basis picture in the plane of its colour. What is not listed is left out,
 * which is the same as zero coefficients. */
static float *idct_filters(struct writer *w, const struct block_idct_options *o) {
  const size_t cells = (size_t)DCT_BLOCK * DCT_BLOCK;
  float *pictures = onnx_memory(w->file, o->channels * cells);
  float *filters = onnx_memory(w->file, o->channels * cells * 3);
  if (!pictures || !filters)
    return NULL;
  onnx_dct_filters(o->channels, o->channel, pictures);
  for (uint32_t c = 0; c < o->channels; c++)
    memcpy(filters + ((size_t)c * 3 + o->channel[c] / DCT_COEFFICIENTS) * cells, pictures + c * cells,
           cells * sizeof(float));
  return filters;
}

/* (deviation x + mean) / pixel_scale, then the inverse DCT as a transposed convolution. */
static int add_block_idct(void *context, struct graph_value x, const struct block_idct_options *options,
                          struct graph_value y) {
  struct writer *w = context;
  const struct value from = get(w, x);
  const int64_t shape[4] = {options->channels, 3, DCT_BLOCK, DCT_BLOCK}, block[2] = {DCT_BLOCK, DCT_BLOCK};
  const struct label name = name_of(y, "idct");
  float *gain = onnx_memory(w->file, options->channels), *offset = onnx_memory(w->file, options->channels);
  struct onnx_node *node;
  if (from.flat)
    return -ENOTSUP;
  for (uint32_t c = 0; gain && offset && c < options->channels; c++) {
    gain[c] = options->deviation[c] / options->pixel_scale;
    offset[c] = options->mean[c] / options->pixel_scale;
  }
  const char *gains = per_channel(w, join(name.text, ".gain").text, options->channels, false, gain);
  const char *offsets = per_channel(w, join(name.text, ".offset").text, options->channels, false, offset);
  const char *weights =
      onnx_floats(w->file, join(name.text, ".weight").text, 4, shape, idct_filters(w, options));
  const char *out = onnx_node(w->file, "Mul", join(name.text, ".scaled").text, NULL,
                              (const char *const[]){from.name, gains, NULL});
  out = onnx_node(w->file, "Add", join(name.text, ".coefficients").text, NULL,
                  (const char *const[]){out, offsets, NULL});
  out = onnx_node(w->file, "ConvTranspose", name.text, &node, (const char *const[]){out, weights, NULL});
  onnx_integers_attribute(w->file, node, "kernel_shape", 2, block);
  onnx_integers_attribute(w->file, node, "strides", 2, block);
  return put(w, y, out, false);
}

static int add_identity(void *context, struct graph_value x, struct graph_value y) {
  struct writer *w = context;
  const struct value from = get(w, x);
  return put(w, y, from.name, from.flat);
}

/* An embedding has rank 2, whatever the last layer was. */
static int add_output(void *context, struct graph_value y) {
  struct writer *w = context;
  const struct value from = get(w, y);
  struct onnx_node *node;
  w->output = from.name;
  if (from.flat)
    return 0;
  w->output = onnx_node(w->file, "Flatten", "output.flat", &node, (const char *const[]){from.name, NULL});
  onnx_integer_attribute(w->file, node, "axis", 1);
  return 0;
}

int onnx_add_network(struct onnx_file *file, const struct graph *graph, const char *input,
                     const char **ret_output, struct guise_error *err) {
  struct writer writer = {.file = file, .input = input};
  const struct graph_visitor visitor = {.context = &writer,
                                        .input = add_input,
                                        .conv = add_conv,
                                        .batch_norm = add_batch_norm,
                                        .group_norm = add_group_norm,
                                        .prelu = add_prelu,
                                        .add = add_sum,
                                        .linear = add_linear,
                                        .block_idct = add_block_idct,
                                        .identity = add_identity,
                                        .output = add_output};
  int r = graph_visit(graph, &visitor, err);
  free(writer.value);
  if (r == -ENOMEM)
    error_set(err, r, "out of memory describing the network");
  if (r == 0)
    *ret_output = writer.output;
  return r;
}
