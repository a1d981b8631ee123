/* The layers that are neither convolutions nor element-wise over channels: layout changes, dropout, linear,
 * block IDCT. */
#include <math.h>
#include <string.h>

#include "core/base/philox.h"
#include "core/nn/blas.h"
#include "core/nn/graph_internal.h"

/* ---- layouts ---- */

static void pack_image(const float *plain, struct shape shape, uint32_t block, float *blocked) {
  const size_t rows = shape_rows(shape);
  for (uint32_t c0 = 0; c0 < shape.c; c0 += block) {
    const uint32_t width = MIN(block, shape.c - c0);
    const float *from = plain + c0 * rows;
    float *to = blocked + c0 * rows;
    for (size_t r = 0; r < rows; r++)
      for (uint32_t j = 0; j < block; j++)
        to[r * block + j] = j < width ? from[j * rows + r] : 0.0f;
  }
}

static void unpack_image(const float *blocked, struct shape shape, uint32_t block, float *plain) {
  const size_t rows = shape_rows(shape);
  for (uint32_t c0 = 0; c0 < shape.c; c0 += block) {
    const uint32_t width = MIN(block, shape.c - c0);
    const float *from = blocked + c0 * rows;
    float *to = plain + c0 * rows;
    for (uint32_t j = 0; j < width; j++)
      for (size_t r = 0; r < rows; r++)
        to[j * rows + r] = from[r * block + j];
  }
}

static size_t blocked_count(const struct graph *graph, struct shape shape) {
  return graph_padded(graph, shape.c) * shape_rows(shape);
}

static void pack(const struct graph *graph, const float *plain, struct shape shape, float *blocked) {
  const size_t from = shape_count(shape), to = blocked_count(graph, shape);
#pragma omp parallel for num_threads((int)graph->config.threads)
  for (uint32_t n = 0; n < graph->config.batch; n++)
    pack_image(plain + n * from, shape, graph->block, blocked + n * to);
}

static void unpack(const struct graph *graph, const float *blocked, struct shape shape, float *plain) {
  const size_t from = blocked_count(graph, shape), to = shape_count(shape);
#pragma omp parallel for num_threads((int)graph->config.threads)
  for (uint32_t n = 0; n < graph->config.batch; n++)
    unpack_image(blocked + n * from, shape, graph->block, plain + n * to);
}

void layer_pack(struct graph *graph, const struct op *op) {
  pack(graph, graph_buffer(graph, op->buffer[0]), graph->nodes[op->node].shape,
       graph_buffer(graph, op->buffer[1]));
}

void layer_unpack(struct graph *graph, const struct op *op) {
  unpack(graph, graph_buffer(graph, op->buffer[0]), graph->nodes[op->node].shape,
         graph_buffer(graph, op->buffer[1]));
}

void layer_accumulate(struct graph *graph, const struct op *op) {
  const int threads = (int)graph->config.threads;
  const size_t block = graph->block;
  const size_t blocks = graph->config.batch * blocked_count(graph, graph->nodes[op->node].shape) / block;
  float *to = graph_buffer(graph, op->buffer[0]);
  const float *from = graph_buffer(graph, op->buffer[1]);
#pragma omp parallel for num_threads(threads) schedule(static, 1)
  for (int thread = 0; thread < threads; thread++) {
    const size_t begin = share_begin(blocks, thread, threads), end = share_begin(blocks, thread + 1, threads);
    graph->kernels->accumulate(to + begin * block, from + begin * block, (end - begin) * block);
  }
}

/* ---- dropout ---- (Srivastava et al., JMLR 15:1929): y = x / (1 - p) where a 16-bit draw is at least p
 * 2^16, else 0. Draws belong to (seed, step, layer, image, plain index), whatever the layout and the threads.
 */

static void draw_mask(const struct graph *graph, uint32_t layer, uint32_t image, uint32_t threshold,
                      uint8_t *mask, size_t count) {
  struct rng rng;
  rng_init(&rng, graph->config.seed, RNG_DROPOUT, graph->step, layer << 16 | image);
  for (size_t i = 0; i < count; i += 2) {
    const uint32_t word = rng_u32(&rng);
    mask[i] = (word & 0xffffu) >= threshold;
    if (i + 1 < count)
      mask[i + 1] = word >> 16 >= threshold;
  }
}

static void mask_image(const float *x, const uint8_t *mask, struct shape shape, uint32_t block, float scale,
                       float *y) {
  const size_t rows = shape_rows(shape);
  for (uint32_t c0 = 0; c0 < shape.c; c0 += block)
    for (size_t r = 0; r < rows; r++)
      for (uint32_t j = 0; j < block; j++) {
        const size_t i = c0 * rows + r * block + j;
        const bool keep = c0 + j < shape.c && mask[(c0 + j) * rows + r];
        y[i] = keep ? x[i] * scale : 0.0f;
      }
}

static void dropout(struct graph *graph, const struct op *op, bool forward) {
  const struct node *node = &graph->nodes[op->node];
  const size_t count = shape_count(node->shape), stride = blocked_count(graph, node->shape);
  const float *x = graph_buffer(graph, op->buffer[0]);
  float *y = graph_buffer(graph, op->buffer[1]);
  uint8_t *mask = (uint8_t *)graph_buffer(graph, op->buffer[2]);
  const uint32_t threshold = (uint32_t)lrintf(node->probability * 65536.0f);
  const float scale = 1.0f / (1.0f - node->probability);
  const bool on = graph->mode == GRAPH_TRAIN;
#pragma omp parallel for num_threads((int)graph->config.threads)
  for (uint32_t n = 0; n < graph->config.batch; n++) {
    if (on && forward)
      draw_mask(graph, (uint32_t)op->index, n, threshold, mask + n * count, count);
    if (on)
      mask_image(x + n * stride, mask + n * count, node->shape, graph->block, scale, y + n * stride);
    else if (x != y)
      memcpy(y + n * stride, x + n * stride, stride * sizeof(float));
  }
}

void layer_dropout_forward(struct graph *graph, const struct op *op) {
  dropout(graph, op, true);
}

void layer_dropout_backward(struct graph *graph, const struct op *op) {
  dropout(graph, op, false);
}

/* ---- linear ---- y(N,O) = x(N,F) W(O,F)^T + b, x in plain (C,H,W) order. A blocked vector (H = W = 1) is
 * plain already but for its padding, so it is used where it lies. */

struct linear {
  uint32_t threads;
  uint64_t batch, in, out, in_stride, out_stride;
  bool packed;
};

static struct linear describe_linear(const struct graph *graph, const struct node *node) {
  const struct shape in = graph->nodes[node->input[0]].shape;
  const bool packed = shape_rows(in) > 1;
  return (struct linear){
      .threads = graph->config.threads,
      .batch = graph->config.batch,
      .in = shape_count(in),
      .out = node->linear.out,
      .in_stride = packed ? shape_count(in) : graph_padded(graph, in.c),
      .out_stride = graph_padded(graph, node->linear.out),
      .packed = packed,
  };
}

void layer_linear_forward(struct graph *graph, const struct op *op) {
  const struct node *node = &graph->nodes[op->node];
  const struct linear l = describe_linear(graph, node);
  const float *x = graph_buffer(graph, op->buffer[l.packed ? 1 : 0]);
  float *y = graph_buffer(graph, op->buffer[2]);
  if (l.packed)
    unpack(graph, graph_buffer(graph, op->buffer[0]), graph->nodes[node->input[0]].shape,
           graph_buffer(graph, op->buffer[1]));
  const struct graph_parameter *bias = node_parameter(graph, node, BIAS);
  for (uint64_t n = 0; n < l.batch; n++)
    for (uint64_t o = 0; o < l.out_stride; o++)
      y[n * l.out_stride + o] = bias && o < l.out ? bias->value[o] : 0.0f;
  blas_multiply(l.threads, false, true, l.batch, l.out, l.in, x, l.in_stride,
                node_parameter(graph, node, WEIGHT)->value, l.in, 1.0f, y, l.out_stride);
}

void layer_linear_backward(struct graph *graph, const struct op *op) {
  const struct node *node = &graph->nodes[op->node];
  const struct linear l = describe_linear(graph, node);
  const float *dy = graph_buffer(graph, op->buffer[0]), *x = graph_buffer(graph, op->buffer[1]);
  const struct graph_parameter *weight = node_parameter(graph, node, WEIGHT),
                               *bias = node_parameter(graph, node, BIAS);
  blas_multiply(l.threads, true, false, l.out, l.in, l.batch, dy, l.out_stride, x, l.in_stride, 0.0f,
                weight->gradient, l.in);
  if (bias) {
    memset(bias->gradient, 0, bias->count * sizeof(float));
    for (uint64_t n = 0; n < l.batch; n++)
      for (uint64_t o = 0; o < l.out; o++)
        bias->gradient[o] += dy[n * l.out_stride + o];
  }
  if (op->buffer[2] < 0)
    return;
  float *dx = graph_buffer(graph, op->buffer[l.packed ? 3 : 2]);
  if (!l.packed)
    memset(dx, 0, l.batch * l.in_stride * sizeof(float));
  blas_multiply(l.threads, false, false, l.batch, l.in, l.out, dy, l.out_stride, weight->value, l.in, 0.0f,
                dx, l.in_stride);
  if (l.packed)
    pack(graph, dx, graph->nodes[node->input[0]].shape, graph_buffer(graph, op->buffer[2]));
}

/* ---- block IDCT ---- pixels = inverse block DCT of (mean + deviation x) / pixel_scale. The transform is
 * orthonormal, so its transpose is the forward transform. Each thread has three areas of 192 planes:
 * coefficients (zero where no channel is listed), coefficients of gradients, pixels. */

struct view { /* one image, plain or blocked */
  size_t rows, block;
};

static size_t view_index(struct view view, uint32_t channel, size_t row) {
  return view.block == 0
             ? channel * view.rows + row
             : channel / view.block * view.block * view.rows + row * view.block + channel % view.block;
}

struct idct {
  const struct block_idct_options *options;
  struct view template_view, pixel_view;
  size_t template_stride, pixel_stride; /* floats an image */
};

static struct idct describe_idct(const struct graph *graph, const struct node *node, bool template_plain,
                                 bool pixels_plain) {
  const struct shape template = graph->nodes[node->input[0]].shape, pixels = node->shape;
  return (struct idct){
      .options = &node->idct,
      .template_view = {shape_rows(template), template_plain ? 0 : graph->block},
      .pixel_view = {shape_rows(pixels), pixels_plain ? 0 : graph->block},
      .template_stride = template_plain ? shape_count(template) : blocked_count(graph, template),
      .pixel_stride = pixels_plain ? shape_count(pixels) : blocked_count(graph, pixels),
  };
}

static void idct_image(const struct graph *graph, const struct idct *idct, const float *x,
                       float *coefficients, float *pixels, float *y) {
  const struct block_idct_options *o = idct->options;
  const size_t grid = idct->template_view.rows, area = idct->pixel_view.rows;
  const float scale = 1.0f / o->pixel_scale;
  for (uint32_t c = 0; c < o->channels; c++) {
    float *plane = coefficients + o->channel[c] * grid;
    for (size_t r = 0; r < grid; r++)
      plane[r] = (o->deviation[c] * x[view_index(idct->template_view, c, r)] + o->mean[c]) * scale;
  }
  const bool plain = idct->pixel_view.block == 0;
  block_dct_inverse(graph->dct, coefficients, plain ? y : pixels);
  if (!plain)
    pack_image(pixels, (struct shape){3, 1, (uint32_t)area}, graph->block, y);
}

void layer_idct_forward(struct graph *graph, const struct op *op) {
  const struct node *node = &graph->nodes[op->node];
  const struct idct idct = describe_idct(graph, node, graph->nodes[node->input[0]].plain, node->plain);
  const float *x = graph_buffer(graph, op->buffer[0]);
  float *y = graph_buffer(graph, op->buffer[1]), *scratch = graph_buffer(graph, op->buffer[2]);
  const size_t area = DCT_CHANNELS * idct.template_view.rows;
  const int threads = (int)graph->config.threads;
#pragma omp parallel for num_threads(threads) schedule(static, 1)
  for (int thread = 0; thread < threads; thread++) {
    float *coefficients = scratch + (size_t)thread * 3 * area;
    const uint64_t end = share_begin(graph->config.batch, thread + 1, threads);
    for (uint64_t n = share_begin(graph->config.batch, thread, threads); n < end; n++)
      idct_image(graph, &idct, x + n * idct.template_stride, coefficients, coefficients + 2 * area,
                 y + n * idct.pixel_stride);
  }
}

static void idct_image_backward(const struct graph *graph, const struct idct *idct, const float *dy,
                                float *coefficients, float *pixels, float *dx) {
  const struct block_idct_options *o = idct->options;
  const size_t grid = idct->template_view.rows, area = idct->pixel_view.rows;
  const float scale = 1.0f / o->pixel_scale;
  unpack_image(dy, (struct shape){3, 1, (uint32_t)area}, graph->block, pixels);
  block_dct_forward(graph->dct, pixels, coefficients);
  memset(dx, 0, idct->template_stride * sizeof(float));
  for (uint32_t c = 0; c < o->channels; c++)
    for (size_t r = 0; r < grid; r++)
      dx[view_index(idct->template_view, c, r)] =
          coefficients[o->channel[c] * grid + r] * o->deviation[c] * scale;
}

void layer_idct_backward(struct graph *graph, const struct op *op) {
  const struct node *node = &graph->nodes[op->node];
  const struct idct idct = describe_idct(graph, node, false, false); /* gradients are blocked */
  const float *dy = graph_buffer(graph, op->buffer[0]);
  float *dx = graph_buffer(graph, op->buffer[1]), *scratch = graph_buffer(graph, op->buffer[2]);
  const size_t area = DCT_CHANNELS * idct.template_view.rows;
  const int threads = (int)graph->config.threads;
#pragma omp parallel for num_threads(threads) schedule(static, 1)
  for (int thread = 0; thread < threads; thread++) {
    float *coefficients = scratch + ((size_t)thread * 3 + 1) * area;
    const uint64_t end = share_begin(graph->config.batch, thread + 1, threads);
    for (uint64_t n = share_begin(graph->config.batch, thread, threads); n < end; n++)
      idct_image_backward(graph, &idct, dy + n * idct.pixel_stride, coefficients, coefficients + area,
                          dx + n * idct.template_stride);
  }
}
