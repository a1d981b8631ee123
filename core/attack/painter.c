/* The network sees what the mask's public inverse makes of a template, at the place of the pixels it is to
 * draw: nobody would learn from nothing what can be computed. Three levels down and up (Ronneberger et al.,
 * "U-Net", MICCAI 2015), the inverse itself joining the last convolution; at the coarsest,
 * size / 8, its convolutions see the whole face. Adam on the loss of core/attack/painter_loss.h, cosine
 * schedule. */
#include "core/attack/painter.h"

#include <math.h>
#include <omp.h>
#include <stdio.h>
#include <string.h>

#include "core/attack/painter_loss.h"
#include "core/base/memory.h"
#include "core/freq/dct.h"
#include "core/nn/graph.h"

#define LEVELS 3u
/* Channels of the input: three of pixels, two that say where they are, the rest zeros, since the kernel
 * library has fast convolutions for whole blocks of channels only. */
#define SEEN 16u
#define FINEST 16u /* channels of the last level up */
#define SLOPE 0.2f
#define RATE 2e-3f

static const uint32_t channels_of[LEVELS] = {32, 48, 64}; /* a level down; sizes 1/2, 1/4, 1/8 */

struct painter {
  struct painter_options options;
  struct graph *graph;
  struct lessons *lessons;
  struct painter_loss *loss;
  float *templates; /* (LESSON_BATCH, elements) */
  float *scratch;   /* (threads, stride) of the mask */
  size_t stride, elements, area;
  uint32_t size;
};

/* ---- the network ---- */

static int block(struct graph *graph, int x, const char *name, uint32_t channels, uint32_t stride) {
  char norm[32];
  (void)snprintf(norm, sizeof(norm), "%s.norm", name);
  x = graph_conv(
      graph, x, name,
      &(struct conv_options){.out_channels = channels, .kernel = 3, .stride = stride, .padding = 1});
  return graph_leaky_relu(graph, graph_batch_norm(graph, x, norm), SLOPE);
}

static int enlarge(struct graph *graph, int x, const char *name, uint32_t channels) {
  x = graph_conv_transpose(
      graph, x, name,
      &(struct conv_options){.out_channels = channels, .kernel = 4, .stride = 2, .padding = 1, .bias = true});
  return graph_leaky_relu(graph, x, SLOPE);
}

static int describe(struct graph *graph, uint32_t size, uint32_t width) {
  int skip[LEVELS]; /* what the level above joins */
  char name[16];
  const int seen = graph_batch_norm(graph, graph_input(graph, SEEN, size, size), "seen");
  int x = block(graph, seen, "first", FINEST, 1);
  for (uint32_t level = 0; level < LEVELS; level++) {
    skip[level] = x;
    (void)snprintf(name, sizeof(name), "down.%u", level);
    x = block(graph, x, name, width * channels_of[level], 2);
  }
  x = block(graph, x, "middle.0", width * channels_of[LEVELS - 1], 1);
  x = block(graph, x, "middle.1", width * channels_of[LEVELS - 1], 1);
  for (uint32_t level = LEVELS; level-- > 0;) {
    const uint32_t channels = level > 0 ? width * channels_of[level - 1] : FINEST;
    (void)snprintf(name, sizeof(name), "up.%u", level);
    x = graph_concat(graph, enlarge(graph, x, name, channels), skip[level]);
    (void)snprintf(name, sizeof(name), "join.%u", level);
    x = block(graph, x, name, channels, 1);
  }
  x = graph_concat(graph, x, seen);
  return graph_output(
      graph, graph_conv(graph, x, "pixels",
                        &(struct conv_options){
                            .out_channels = 3, .kernel = 3, .stride = 1, .padding = 1, .bias = true}));
}

static int make_graph(struct painter *painter, struct guise_error *err) {
  const struct graph_config config = {.batch = LESSON_BATCH,
                                      .threads = painter->options.lessons.threads,
                                      .training = true,
                                      .winograd = true,
                                      .optimizer = GRAPH_ADAM,
                                      .seed = painter->options.lessons.seed};
  int r = graph_new(&config, &painter->graph, err);
  if (r < 0)
    return r;
  (void)describe(painter->graph, painter->size, painter->options.width); /* graph_build tells what it says */
  return graph_build(painter->graph, err);
}

/* Where a pixel is, -1 to 1. */
static void place_pixels(struct painter *painter) {
  const uint32_t size = painter->size;
  for (uint32_t i = 0; i < LESSON_BATCH; i++) {
    float *x = graph_input_data(painter->graph) + (i * SEEN + 3) * painter->area;
    for (uint32_t at = 0; at < painter->area; at++) {
      const uint32_t column = at % size, row = at / size;
      x[at] = 2 * (float)column / (float)(size - 1) - 1;
      x[painter->area + at] = 2 * (float)row / (float)(size - 1) - 1;
    }
  }
}

static int painter_new(const struct painter_options *options, const struct face_sample *faces,
                       struct painter **ret_painter, struct guise_error *err) {
  _cleanup_(painter_freep) struct painter *painter = calloc(1, sizeof(*painter));
  if (!painter)
    return error_set(err, -ENOMEM, "out of memory for a reconstructing network");
  const struct mask *mask = options->lessons.mask;
  *painter = (struct painter){.options = *options,
                              .stride = (mask_scratch(mask) + 15) / 16 * 16,
                              .elements = mask_elements(mask),
                              .area = (size_t)mask_size(mask) * mask_size(mask),
                              .size = mask_size(mask)};
  int r = lessons_new(&options->lessons, faces, &painter->lessons, err);
  if (r == 0)
    r = painter_loss_new(options, faces, &painter->loss, err);
  if (r == 0)
    r = make_graph(painter, err);
  if (r < 0)
    return r;
  painter->templates = tensor_alloc(LESSON_BATCH * painter->elements * sizeof(float));
  painter->scratch = tensor_alloc(MAX(options->lessons.threads * painter->stride, (size_t)1) * sizeof(float));
  if (!painter->templates || !painter->scratch)
    return error_set(err, -ENOMEM, "out of memory for a reconstructing network");
  place_pixels(painter);
  *ret_painter = TAKE(painter);
  return 0;
}

struct painter *painter_free(struct painter *painter) {
  if (!painter)
    return NULL;
  graph_free(painter->graph);
  lessons_free(painter->lessons);
  painter_loss_free(painter->loss);
  tensor_free(painter->templates);
  tensor_free(painter->scratch);
  free(painter);
  return NULL;
}

uint64_t painter_parameters(const struct painter *painter) {
  return graph_trained_numbers(painter->graph);
}

/* ---- training ---- */

/* The network's input := the public inverse of the batch's templates. */
static void invert_templates(struct painter *painter) {
  float *input = graph_input_data(painter->graph);
#pragma omp parallel for schedule(static) num_threads(painter->options.lessons.threads)
  for (uint32_t i = 0; i < LESSON_BATCH; i++)
    mask_invert(painter->options.lessons.mask, painter->templates + i * painter->elements,
                painter->scratch + (size_t)omp_get_thread_num() * painter->stride,
                input + i * SEEN * painter->area);
}

static int train_step(struct painter *painter, uint32_t step, struct guise_error *err) {
  const double pi = 3.14159265358979323846, done = (double)step / painter->options.steps;
  const struct adam_options adam = {
      .rate = RATE * (float)(0.5 * (1 + cos(pi * done))), .beta1 = 0.9f, .beta2 = 0.999f, .epsilon = 1e-8f};
  const struct lesson *lesson = lessons_draw(painter->lessons, step, painter->templates);
  double loss = NAN;
  invert_templates(painter);
  int r = graph_forward(painter->graph, GRAPH_TRAIN, step, err);
  if (r < 0)
    return r;
  r = painter_loss_measure(painter->loss, graph_output_data(painter->graph), lesson, &loss,
                           graph_output_gradient(painter->graph), err);
  if (r < 0)
    return r;
  if (!isfinite(loss))
    return error_set(err, -EDOM, "the attack's reconstructing network diverged at step %u", step);
  r = graph_backward(painter->graph, err);
  return r < 0 ? r : graph_adam(painter->graph, &adam, step + 1, err);
}

int painter_train(const struct painter_options *options, const struct face_sample *faces,
                  struct painter **ret_painter, struct guise_error *err) {
  _cleanup_(painter_freep) struct painter *painter = NULL;
  int r = painter_new(options, faces, &painter, err);
  for (uint32_t step = 0; r == 0 && step < options->steps; step++) {
    r = lessons_stop_code(&options->lessons, err);
    if (r == 0)
      r = train_step(painter, step, err);
  }
  if (r == 0)
    *ret_painter = TAKE(painter);
  return r;
}

/* ---- what it draws ---- */

static void to_bytes(const float *output, size_t area, uint8_t *ret_rgb) {
  for (size_t plane = 0; plane < 3; plane++)
    for (size_t i = 0; i < area; i++)
      ret_rgb[3 * i + plane] =
          (uint8_t)lrintf(fminf(fmaxf(output[plane * area + i] * PAINTER_GREY + 128, 0), 255));
}

static int look_at(struct painter *painter, const struct face_sample *faces, const struct mix *mixes,
                   uint32_t first, enum graph_mode mode, struct guise_error *err) {
  int r = lessons_stop_code(&painter->options.lessons, err);
  if (r < 0)
    return r;
  lessons_templates(painter->lessons, faces, mixes, first, painter->templates);
  invert_templates(painter);
  return graph_forward(painter->graph, mode, 0, err);
}

int painter_draw(struct painter *painter, const struct face_sample *faces, const struct mix *mixes,
                 uint8_t *ret_rgb, uint8_t *ret_seen, struct guise_error *err) {
  const size_t pixels = 3 * painter->area;
  int r = 0;
  /* as with the linkage attack's student: norms' statistics are those of what is attacked */
  graph_statistics_reset(painter->graph);
  for (uint32_t first = 0; first < faces->count && r == 0; first += LESSON_BATCH)
    r = look_at(painter, faces, mixes, first, GRAPH_STATISTICS, err);
  if (r == 0)
    graph_statistics_finish(painter->graph);
  for (uint32_t first = 0; first < faces->count && r == 0; first += LESSON_BATCH) {
    const uint32_t count = MIN(LESSON_BATCH, faces->count - first);
    if ((r = look_at(painter, faces, mixes, first, GRAPH_EVAL, err)) < 0)
      break;
    for (uint32_t i = 0; i < count; i++) {
      to_bytes(graph_output_data(painter->graph) + i * pixels, painter->area, ret_rgb + (first + i) * pixels);
      if (ret_seen)
        ycbcr_to_rgb(graph_input_data(painter->graph) + i * SEEN * painter->area, painter->size,
                     ret_seen + (first + i) * pixels);
    }
  }
  return r;
}
