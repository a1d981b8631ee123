/* The mask as nodes: what mask_template() computes (core/mask/mask.c), in its order. */
#include <math.h>

#include "core/freq/dct.h"
#include "core/model/onnx_parts.h"

#define CELLS (DCT_BLOCK * DCT_BLOCK)

/* The orthonormal DCT-II of length 8: a_u cos(pi (n + 1/2) u / 8), a_0 = sqrt(1/8), a_u = 1/2. */
static double basis(uint32_t u, uint32_t n) {
  return (u ? 0.5 : sqrt(1.0 / DCT_BLOCK)) * cos(M_PI * (n + 0.5) * u / DCT_BLOCK);
}

void onnx_dct_filters(uint32_t channels, const uint16_t *channel, float *ret_filters) {
  for (uint32_t c = 0; c < channels; c++)
    for (uint32_t i = 0; i < CELLS; i++) {
      const uint32_t coefficient = channel[c] % DCT_COEFFICIENTS;
      ret_filters[(size_t)c * CELLS + i] = (float)(basis(coefficient / DCT_BLOCK, i / DCT_BLOCK) *
                                                   basis(coefficient % DCT_BLOCK, i % DCT_BLOCK));
    }
}

/* RGB to YCbCr, Y moved by -128: the matrix of core/freq/colour.c. */
static const char *add_colour(struct onnx_file *file, const char *x) {
  static const float matrix[9] = {0.299f, 0.587f, 0.114f,     -0.168736f, -0.331264f,
                                  0.5f,   0.5f,   -0.418688f, -0.081312f};
  static const float offset[3] = {-128, 0, 0};
  const int64_t shape[4] = {3, 3, 1, 1};
  struct onnx_node *node;
  const char *weight = onnx_floats(file, "mask.colour.weight", 4, shape, matrix);
  const char *bias = onnx_floats(file, "mask.colour.bias", 1, shape, offset);
  x = onnx_node(file, "Conv", "mask.colour", &node, (const char *const[]){x, weight, bias, NULL});
  onnx_integers_attribute(file, node, "kernel_shape", 2, (const int64_t[2]){1, 1});
  return x;
}

/* All 64 coefficients of each colour, as channel colour * 64 + u * 8 + v. */
static const char *add_dct(struct onnx_file *file, const char *x) {
  const int64_t shape[4] = {DCT_CHANNELS, 1, DCT_BLOCK, DCT_BLOCK}, block[2] = {DCT_BLOCK, DCT_BLOCK};
  uint16_t all[DCT_CHANNELS];
  float *filters = onnx_memory(file, (size_t)DCT_CHANNELS * CELLS);
  struct onnx_node *node;
  for (uint32_t c = 0; c < DCT_CHANNELS; c++)
    all[c] = (uint16_t)c;
  if (filters)
    onnx_dct_filters(DCT_CHANNELS, all, filters);
  const char *weight = onnx_floats(file, "mask.dct.weight", 4, shape, filters);
  x = onnx_node(file, "Conv", "mask.dct", &node, (const char *const[]){x, weight, NULL});
  onnx_integers_attribute(file, node, "kernel_shape", 2, block);
  onnx_integers_attribute(file, node, "strides", 2, block);
  onnx_integer_attribute(file, node, "group", 3);
  return x;
}

/* M x M of each plane: from the left, then from the right. */
static const char *add_filter(struct onnx_file *file, const struct mask *mask, const char *x) {
  const int64_t size = mask_size(mask), shape[2] = {size, size};
  float *values = onnx_memory(file, (size_t)size * (size_t)size);
  if (values)
    mask_filter_matrix(mask, values);
  const char *matrix = onnx_floats(file, "mask.filter.matrix", 2, shape, values);
  x = onnx_node(file, "MatMul", "mask.filter.columns", NULL, (const char *const[]){matrix, x, NULL});
  return onnx_node(file, "MatMul", "mask.filter", NULL, (const char *const[]){x, matrix, NULL});
}

/* A matrix that is the same in every cell. */
static const char *add_gather(struct onnx_file *file, const struct mask *mask, const char *x) {
  const int64_t shape[4] = {mask_channels(mask), DCT_CHANNELS, 1, 1};
  float *values = onnx_memory(file, (size_t)mask_channels(mask) * DCT_CHANNELS);
  struct onnx_node *node;
  if (values)
    mask_gather_matrix(mask, values);
  const char *weight = onnx_floats(file, "mask.gathered.weight", 4, shape, values);
  x = onnx_node(file, "Conv", "mask.gathered", &node, (const char *const[]){x, weight, NULL});
  onnx_integers_attribute(file, node, "kernel_shape", 2, (const int64_t[2]){1, 1});
  return x;
}

static const char *add_selection(struct onnx_file *file, const struct mask_constants *k, const char *x) {
  int64_t channel[MASK_CHANNELS_MAX];
  struct onnx_node *node;
  for (uint32_t c = 0; c < k->channels; c++)
    channel[c] = k->channel[c];
  const char *indices = onnx_integers(file, "mask.channel", k->channels, channel);
  x = onnx_node(file, "Gather", "mask.selected", &node, (const char *const[]){x, indices, NULL});
  onnx_integer_attribute(file, node, "axis", 1);
  return x;
}

/* (x - mean) / deviation, where the quotient is a product as in mask_template(). */
static const char *add_standardisation(struct onnx_file *file, const struct mask_constants *k,
                                       const char *x) {
  const int64_t shape[3] = {k->channels, 1, 1};
  float *inverse = onnx_memory(file, k->channels);
  for (uint32_t c = 0; inverse && c < k->channels; c++)
    inverse[c] = 1 / k->deviation[c];
  const char *mean = onnx_floats(file, "mask.mean", 3, shape, k->mean);
  const char *scale = onnx_floats(file, "mask.inverse_deviation", 3, shape, inverse);
  x = onnx_node(file, "Sub", "mask.centred", NULL, (const char *const[]){x, mean, NULL});
  return onnx_node(file, "Mul", "mask.standardised", NULL, (const char *const[]){x, scale, NULL});
}

static const char *add_clip(struct onnx_file *file, float clip, const char *x) {
  float *bound = onnx_memory(file, 2);
  if (bound) {
    bound[0] = -clip;
    bound[1] = clip;
  }
  const char *low = onnx_floats(file, "mask.clip.low", 0, NULL, bound);
  const char *high = onnx_floats(file, "mask.clip.high", 0, NULL, bound ? bound + 1 : NULL);
  return onnx_node(file, "Clip", "mask.clipped", NULL, (const char *const[]){x, low, high, NULL});
}

/* Bilinear x8 with aligned corners, so that each pixel becomes a block (core/freq/upsampled.h). */
static const char *add_upsampling(struct onnx_file *file, const char *x) {
  static const float scales[4] = {1, 1, DCT_BLOCK, DCT_BLOCK};
  const int64_t shape[1] = {4};
  struct onnx_node *node;
  const char *factors = onnx_floats(file, "mask.upsampled.scales", 1, shape, scales);
  x = onnx_node(file, "Resize", "mask.upsampled", &node, (const char *const[]){x, "", factors, NULL});
  onnx_text_attribute(file, node, "mode", "linear");
  onnx_text_attribute(file, node, "coordinate_transformation_mode", "align_corners");
  return x;
}

const char *onnx_add_mask(struct onnx_file *file, const struct mask *mask) {
  const struct mask_constants *k = mask_constants(mask);
  const int64_t shape[3] = {3, mask_size(mask), mask_size(mask)};
  const char *x = add_colour(file, onnx_input(file, "image", 3, shape, "aligned face crop, RGB, 0..255"));
  if (mask_filters(mask))
    x = add_filter(file, mask, x);
  if (mask_options(mask)->dct == MASK_DCT_UPSAMPLED)
    x = add_upsampling(file, x);
  x = add_dct(file, x);
  x = mask_gathers(mask) ? add_gather(file, mask, x) : add_selection(file, k, x);
  x = add_standardisation(file, k, x);
  return k->clip > 0 ? add_clip(file, k->clip, x) : x;
}
