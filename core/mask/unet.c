#include "core/mask/unet.h"

#include <string.h>

#include "core/nn/blas.h"

#define TAPS 9u /* of a 3x3 kernel */

static const float slope = 0.1f;

enum { ENTER, DOWN, DEEP, UP, LEAVE };

/* ENTER's inputs are without noise. */
static const struct convolution {
  const char *name;
  uint32_t in, out, stride;
} convolutions[UNET_CONVOLUTIONS] = {[ENTER] = {"enter", UNET_CHANNELS, UNET_WIDTH, 1},
                                     [DOWN] = {"down", UNET_WIDTH, 2 * UNET_WIDTH, 2},
                                     [DEEP] = {"deep", 2 * UNET_WIDTH, 2 * UNET_WIDTH, 1},
                                     [UP] = {"up", 3 * UNET_WIDTH, UNET_WIDTH, 1},
                                     [LEAVE] = {"leave", UNET_WIDTH, UNET_CHANNELS, 1}};

static uint32_t inputs_of(uint32_t which, uint32_t noise) {
  return convolutions[which].in + (which == ENTER ? noise : 0);
}

/* ---- the graph ---- */

static int convolve(struct graph *graph, int x, uint32_t which) {
  const struct convolution *c = &convolutions[which];
  x = graph_conv(graph, x, c->name,
                 &(struct conv_options){
                     .out_channels = c->out, .kernel = 3, .stride = c->stride, .padding = 1, .bias = true});
  return which == LEAVE ? x : graph_leaky_relu(graph, x, slope);
}

int unet_describe(struct graph *graph, uint32_t noise, uint32_t grid) {
  const int fine = convolve(graph, graph_input(graph, UNET_CHANNELS + noise, grid, grid), ENTER);
  int x = convolve(graph, convolve(graph, fine, DOWN), DEEP);
  x = graph_concat(graph, fine, graph_upsample(graph, x, 2, UPSAMPLE_NEAREST));
  return graph_output(graph, convolve(graph, convolve(graph, x, UP), LEAVE));
}

size_t unet_weights(uint32_t noise) {
  size_t count = 0;
  for (uint32_t i = 0; i < UNET_CONVOLUTIONS; i++)
    count += (size_t)convolutions[i].out * (inputs_of(i, noise) * TAPS + 1);
  return count;
}

void unet_read(struct graph *graph, float *ret_weights) {
  for (uint32_t i = 0; i < graph_parameters(graph); i++) {
    const struct graph_parameter *p = graph_parameter(graph, i);
    memcpy(ret_weights, p->value, p->count * sizeof(float));
    ret_weights += p->count;
  }
}

/* ---- one image ---- */

struct unet {
  uint32_t noise, grid;
  float *tap[UNET_CONVOLUTIONS];  /* (9, O, I) */
  float *bias[UNET_CONVOLUTIONS]; /* (O) */
};

struct unet *unet_free(struct unet *unet) {
  if (!unet)
    return NULL;
  for (uint32_t i = 0; i < UNET_CONVOLUTIONS; i++) {
    free(unet->tap[i]);
    free(unet->bias[i]);
  }
  free(unet);
  return NULL;
}

int unet_new(const float *weights, uint32_t noise, uint32_t grid, struct unet **ret_unet) {
  struct unet *unet = calloc(1, sizeof(*unet));
  if (!unet)
    return -ENOMEM;
  unet->noise = noise;
  unet->grid = grid;
  for (uint32_t i = 0; i < UNET_CONVOLUTIONS; i++) {
    const size_t pairs = (size_t)convolutions[i].out * inputs_of(i, noise);
    unet->tap[i] = calloc(TAPS * pairs, sizeof(float));
    unet->bias[i] = calloc(convolutions[i].out, sizeof(float));
    if (!unet->tap[i] || !unet->bias[i]) {
      unet_free(unet);
      return -ENOMEM;
    }
    for (size_t pair = 0; pair < pairs; pair++)
      for (size_t tap = 0; tap < TAPS; tap++)
        unet->tap[i][tap * pairs + pair] = *weights++;
    memcpy(unet->bias[i], weights, convolutions[i].out * sizeof(float));
    weights += convolutions[i].out;
  }
  *ret_unet = unet;
  return 0;
}

/* Inputs stand in planes with a border of zeros, (side + 2)^2. A tap is then one product over all places of
 * all rows at once; the two places past the end of each row hold nothing. */
static size_t plane(uint32_t side) {
  return (size_t)(side + 2) * (side + 2);
}
static size_t places(uint32_t side) {
  return (size_t)side * (side + 2);
}

/* Behind the last plane, for the places past its end. */
#define SLACK 2u

size_t unet_scratch(uint32_t noise, uint32_t grid) {
  return (UNET_CHANNELS + noise + 3 * UNET_WIDTH) * plane(grid) + 2 * UNET_WIDTH * plane(grid / 2) +
         3 * SLACK + UNET_CHANNELS * places(grid);
}

/* ret_out: (O, places(side)) without bias. */
static void multiply(const struct unet *unet, uint32_t which, uint32_t side, const float *in,
                     float *ret_out) {
  const uint32_t outputs = convolutions[which].out, inputs = inputs_of(which, unet->noise);
  for (size_t tap = 0; tap < TAPS; tap++)
    blas_multiply(1, false, false, outputs, places(side), inputs,
                  unet->tap[which] + tap * (size_t)outputs * inputs, inputs,
                  in + tap / 3 * (side + 2) + tap % 3, plane(side), tap > 0 ? 1.0f : 0.0f, ret_out,
                  places(side));
}

/* Into bordered planes: bias and leaky ReLU; `stride` takes every second row and column, `repeat` writes each
 * twice. Borders are zero already. */
static void settle(const struct unet *unet, uint32_t which, uint32_t side, uint32_t stride, uint32_t repeat,
                   const float *out, float *ret_planes) {
  const uint32_t to_side = side / stride * repeat;
  for (uint32_t c = 0; c < convolutions[which].out; c++)
    for (uint32_t y = 0; y < to_side; y++)
      for (uint32_t x = 0; x < to_side; x++) {
        const float value =
            out[c * places(side) + (size_t)(y / repeat * stride) * (side + 2) + x / repeat * stride] +
            unet->bias[which][c];
        ret_planes[c * plane(to_side) + (size_t)(y + 1) * (to_side + 2) + x + 1] =
            value > 0 ? value : slope * value;
      }
}

void unet_run(const struct unet *unet, const float *x, float *scratch, float *ret_y) {
  const uint32_t side = unet->grid, half = side / 2, inputs = UNET_CHANNELS + unet->noise;
  float *first = scratch, *joined = first + inputs * plane(side) + SLACK,
        *down = joined + 3 * UNET_WIDTH * plane(side) + SLACK,
        *out = down + 2 * UNET_WIDTH * plane(half) + SLACK;
  memset(scratch, 0, (size_t)(out - scratch) * sizeof(float));
  for (uint32_t c = 0; c < inputs; c++)
    for (uint32_t y = 0; y < side; y++)
      memcpy(first + c * plane(side) + (size_t)(y + 1) * (side + 2) + 1,
             x + (size_t)c * side * side + (size_t)y * side, side * sizeof(float));
  multiply(unet, ENTER, side, first, out);
  settle(unet, ENTER, side, 1, 1, out, joined);
  multiply(unet, DOWN, side, joined, out);
  settle(unet, DOWN, side, 2, 1, out, down);
  multiply(unet, DEEP, half, down, out);
  settle(unet, DEEP, half, 1, 2, out, joined + UNET_WIDTH * plane(side));
  multiply(unet, UP, side, joined, out);
  memset(first, 0, UNET_WIDTH * plane(side) * sizeof(float));
  settle(unet, UP, side, 1, 1, out, first);
  multiply(unet, LEAVE, side, first, out);
  for (uint32_t c = 0; c < UNET_CHANNELS; c++)
    for (uint32_t y = 0; y < side; y++)
      for (uint32_t at = 0; at < side; at++)
        ret_y[(size_t)c * side * side + (size_t)y * side + at] =
            out[c * places(side) + (size_t)y * (side + 2) + at] + unet->bias[LEAVE][c];
}
