/* Block IDCT: pixels = inverse block DCT of (mean + deviation x) / pixel_scale. The transform is orthonormal,
 * so its transpose is the forward transform. Each thread has three areas of 192 planes: coefficients (zero
 * where no channel is listed), coefficients of gradients, pixels. */
#include <math.h>
#include <string.h>

#include "core/nn/element.h"
#include "core/nn/graph_internal.h"

static void *duplicate(const void *data, size_t bytes) {
  void *copy = malloc(bytes ? bytes : 1);
  if (copy)
    memcpy(copy, data, bytes);
  return copy;
}

static int check(struct graph *graph, struct shape shape, const struct block_idct_options *options) {
  if (options->channels != shape.c || shape.c > DCT_CHANNELS)
    return GRAPH_FAIL(graph, -EINVAL,
                      "block idct: the template has %u channels, its constants %u, at most %u are possible",
                      shape.c, options->channels, DCT_CHANNELS);
  if (shape.h != shape.w || shape.h < 2 || shape.h > 56)
    return GRAPH_FAIL(graph, -EINVAL,
                      "block idct: the template must be a square of 2 to 56 blocks, not %u x %u", shape.h,
                      shape.w);
  if (!(options->pixel_scale > 0))
    return GRAPH_FAIL(graph, -EINVAL, "block idct: the pixel scale must be positive");
  bool listed[DCT_CHANNELS] = {false};
  for (uint32_t i = 0; i < shape.c; i++) {
    if (options->channel[i] >= DCT_CHANNELS || listed[options->channel[i]])
      return GRAPH_FAIL(graph, -EINVAL,
                        "block idct: channel %u is %u, which is no coefficient or was listed before", i,
                        options->channel[i]);
    if (!isfinite(options->mean[i]) || !isfinite(options->deviation[i]))
      return GRAPH_FAIL(graph, -EINVAL, "block idct: the constants of channel %u are not finite", i);
    listed[options->channel[i]] = true;
  }
  return 0;
}

int graph_block_idct(struct graph *graph, int x, const struct block_idct_options *options) {
  const struct node *source = graph_operand(graph, x, "block idct");
  if (!source)
    return graph->error.code;
  int r = check(graph, source->shape, options);
  if (r < 0)
    return r;
  for (uint32_t i = 0; i < graph->node_count; i++)
    if (graph->nodes[i].type == &layer_idct)
      return GRAPH_FAIL(graph, -EINVAL, "block idct: a graph has at most one");
  const uint32_t pixels = source->shape.h * DCT_BLOCK, channels = options->channels;
  struct node *node = graph_append(graph, &layer_idct, (struct shape){3, pixels, pixels}, NULL);
  if (!node)
    return graph->error.code;
  node->idct = *options;
  node->idct.channel = duplicate(options->channel, channels * sizeof(*options->channel));
  node->idct.mean = duplicate(options->mean, channels * sizeof(*options->mean));
  node->idct.deviation = duplicate(options->deviation, channels * sizeof(*options->deviation));
  if (!node->idct.channel || !node->idct.mean || !node->idct.deviation)
    return GRAPH_FAIL(graph, -ENOMEM, "out of memory");
  return graph_connect(graph, node, x, -1);
}

static void release(struct node *node) {
  free((void *)(uintptr_t)node->idct.channel);
  free((void *)(uintptr_t)node->idct.mean);
  free((void *)(uintptr_t)node->idct.deviation);
}

/* One image of a tensor. */
struct view {
  size_t rows, block; /* block 0: plain */
  bool half;
};

static size_t view_index(struct view view, uint32_t channel, size_t row) {
  return view.block == 0
             ? channel * view.rows + row
             : channel / view.block * view.block * view.rows + row * view.block + channel % view.block;
}

struct idct {
  const struct block_idct_options *options;
  struct view template_view, pixel_view;
  size_t template_stride, pixel_stride; /* bytes an image */
};

/* Values may be plain, gradients are blocked. */
static struct idct describe(const struct graph *graph, const struct node *node, bool gradient) {
  struct node template = graph->nodes[node->input[0]], pixels = *node;
  template.plain &= !gradient;
  pixels.plain &= !gradient;
  return (struct idct){
      .options = &node->idct,
      .template_view = {shape_rows(template.shape), template.plain ? 0 : graph->block, template.half},
      .pixel_view = {shape_rows(pixels.shape), pixels.plain ? 0 : graph->block, pixels.half},
      .template_stride = layout_count(graph, &template) * node_element(&template),
      .pixel_stride = layout_count(graph, &pixels) * node_element(&pixels),
  };
}

static void image_forward(const struct graph *graph, const struct idct *idct, const void *x,
                          float *coefficients, float *pixels, void *y) {
  const struct block_idct_options *o = idct->options;
  const size_t grid = idct->template_view.rows, area = idct->pixel_view.rows;
  const float scale = 1.0f / o->pixel_scale;
  const bool in_half = idct->template_view.half, out_half = idct->pixel_view.half;
  for (uint32_t c = 0; c < o->channels; c++) {
    float *plane = coefficients + o->channel[c] * grid;
    for (size_t r = 0; r < grid; r++)
      plane[r] =
          (o->deviation[c] * element_get(x, view_index(idct->template_view, c, r), in_half) + o->mean[c]) *
          scale;
  }
  const bool plain = idct->pixel_view.block == 0;
  block_dct_inverse(graph->dct, coefficients, plain && !out_half ? y : pixels);
  if (!plain)
    layout_pack_image(pixels, (struct shape){3, 1, (uint32_t)area}, graph->block, out_half, y);
  else if (out_half)
    for (size_t i = 0; i < 3 * area; i++)
      element_set(y, i, pixels[i], true);
}

/* x, y, scratch */
static int run_forward(struct graph *graph, const struct op *op, struct guise_error *err) {
  (void)err;
  const struct idct idct = describe(graph, &graph->nodes[op->node], false);
  const char *x = (const char *)graph_buffer(graph, op->buffer[0]);
  char *y = (char *)graph_buffer(graph, op->buffer[1]);
  float *scratch = graph_buffer(graph, op->buffer[2]);
  const size_t area = DCT_CHANNELS * idct.template_view.rows;
  const int threads = (int)graph->config.threads;
#pragma omp parallel for num_threads(threads) schedule(static, 1)
  for (int thread = 0; thread < threads; thread++) {
    float *coefficients = scratch + (size_t)thread * 3 * area;
    const uint64_t end = share_begin(graph->config.batch, thread + 1, threads);
    for (uint64_t n = share_begin(graph->config.batch, thread, threads); n < end; n++)
      image_forward(graph, &idct, x + n * idct.template_stride, coefficients, coefficients + 2 * area,
                    y + n * idct.pixel_stride);
  }
  return 0;
}

static void image_backward(const struct graph *graph, const struct idct *idct, const void *dy,
                           float *coefficients, float *pixels, void *dx) {
  const struct block_idct_options *o = idct->options;
  const size_t grid = idct->template_view.rows, area = idct->pixel_view.rows;
  const float scale = 1.0f / o->pixel_scale;
  layout_unpack_image(dy, (struct shape){3, 1, (uint32_t)area}, graph->block, idct->pixel_view.half, pixels);
  block_dct_forward(graph->dct, pixels, coefficients);
  memset(dx, 0, idct->template_stride);
  for (uint32_t c = 0; c < o->channels; c++)
    for (size_t r = 0; r < grid; r++)
      element_set(dx, view_index(idct->template_view, c, r),
                  coefficients[o->channel[c] * grid + r] * o->deviation[c] * scale, idct->template_view.half);
}

/* dy, dx, scratch */
static int run_backward(struct graph *graph, const struct op *op, struct guise_error *err) {
  (void)err;
  const struct idct idct = describe(graph, &graph->nodes[op->node], true);
  const char *dy = (const char *)graph_buffer(graph, op->buffer[0]);
  char *dx = (char *)graph_buffer(graph, op->buffer[1]);
  float *scratch = graph_buffer(graph, op->buffer[2]);
  const size_t area = DCT_CHANNELS * idct.template_view.rows;
  const int threads = (int)graph->config.threads;
#pragma omp parallel for num_threads(threads) schedule(static, 1)
  for (int thread = 0; thread < threads; thread++) {
    float *coefficients = scratch + ((size_t)thread * 3 + 1) * area;
    const uint64_t end = share_begin(graph->config.batch, thread + 1, threads);
    for (uint64_t n = share_begin(graph->config.batch, thread, threads); n < end; n++)
      image_backward(graph, &idct, dy + n * idct.pixel_stride, coefficients, coefficients + area,
                     dx + n * idct.template_stride);
  }
  return 0;
}

static int forward(struct graph *graph, int index) {
  struct node *node = &graph->nodes[index];
  const struct node *source = &graph->nodes[node->input[0]];
  int r = block_dct_new(source->shape.h * DCT_BLOCK, &graph->dct, &graph->error);
  if (r < 0)
    return r;
  const size_t area = DCT_CHANNELS * shape_rows(source->shape) * sizeof(float);
  node->value = graph_value(graph, index, -1);
  node->extra =
      plan_buffer(graph, graph->config.threads * 3 * area, true); /* pinned: coefficients stay zero */
  struct op *op = graph_emit(graph, "forward", run_forward, index, 0);
  if (!op || node->value < 0 || node->extra < 0)
    return graph->error.code;
  op->buffer[0] = source->value;
  op->buffer[1] = node->value;
  op->buffer[2] = node->extra;
  return 0;
}

static int backward(struct graph *graph, int index, int dy) {
  const struct node *node = &graph->nodes[index];
  const int dx = graph_tensor(graph, &graph->nodes[node->input[0]]);
  struct op *op = graph_emit(graph, "backward", run_backward, index, 0);
  if (!op || dx < 0)
    return graph->error.code;
  op->buffer[0] = dy;
  op->buffer[1] = dx;
  op->buffer[2] = node->extra;
  return graph_contribute(graph, node->input[0], dx);
}

static bool reads_plain(const struct node *node, const struct node *source) {
  (void)node;
  (void)source;
  return true;
}

static int visit(const struct graph *graph, int index, const struct graph_visitor *visitor) {
  const struct node *node = &graph->nodes[index];
  if (!visitor->block_idct)
    return -ENOTSUP;
  return visitor->block_idct(visitor->context, graph_value_of(graph, node->input[0]), &node->idct,
                             graph_value_of(graph, index));
}

const struct layer_type layer_idct = {.name = "block idct",
                                      .half_value = true,
                                      .plain_value = true,
                                      .reads_plain = reads_plain,
                                      .forward = forward,
                                      .backward = backward,
                                      .release = release,
                                      .visit = visit};
