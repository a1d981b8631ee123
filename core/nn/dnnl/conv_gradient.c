#include "core/nn/dnnl/conv_gradient.h"

#define BLOCK_MOST 16u

bool conv_gradient_does(const struct conv_shape *s) {
  return s->groups == 1 && !s->transposed && !s->plain_input && !s->half && s->block <= BLOCK_MOST;
}

static uint32_t blocks(const struct conv_shape *s, uint32_t channels) {
  return (channels + s->block - 1) / s->block;
}

/* Of one input channel and a block of output channels, at one place of the kernel. */
static void sum_place(const struct conv_shape *s, const float *x, const float *dy, uint32_t row,
                      uint32_t column, float sum[BLOCK_MOST]) {
  const size_t x_image = (size_t)blocks(s, s->in_channels) * s->in_height * s->in_width * s->block,
               y_image = (size_t)blocks(s, s->out_channels) * s->out_height * s->out_width * s->block;
  for (uint32_t n = 0; n < s->batch; n++)
    for (uint32_t i = 0; i < s->out_height; i++)
      for (uint32_t j = 0; j < s->out_width; j++) {
        const uint32_t y = i * s->stride + row - s->padding; /* huge where it lies above */
        const uint32_t z = j * s->stride + column - s->padding;
        if (y >= s->in_height || z >= s->in_width)
          continue;
        const float value = x[n * x_image + ((size_t)y * s->in_width + z) * s->block];
        const float *d = dy + n * y_image + ((size_t)i * s->out_width + j) * s->block;
        for (uint32_t b = 0; b < s->block; b++)
          sum[b] += value * d[b];
      }
}

static void sum_bias(const struct conv_shape *s, const float *dy, float *ret_bias) {
  const size_t plane = (size_t)s->out_height * s->out_width * s->block;
  for (uint32_t o = 0; o < s->out_channels; o++) {
    float sum = 0;
    for (uint32_t n = 0; n < s->batch; n++)
      for (size_t i = o % s->block; i < plane; i += s->block)
        sum += dy[((size_t)n * blocks(s, s->out_channels) + o / s->block) * plane + i];
    ret_bias[o] = sum;
  }
}

void conv_gradient_run(const struct conv_shape *s, const float *x, const float *dy, float *ret_weights,
                       float *ret_bias) {
  const uint32_t block = s->block, kernel = s->kernel, out_blocks = blocks(s, s->out_channels);
  const size_t x_plane = (size_t)s->in_height * s->in_width * block,
               y_plane = (size_t)s->out_height * s->out_width * block;
#pragma omp parallel for collapse(2) schedule(static)
  for (uint32_t o = 0; o < out_blocks; o++)
    for (uint32_t c = 0; c < s->in_channels; c++)
      for (uint32_t place = 0; place < kernel * kernel; place++) {
        float sum[BLOCK_MOST] = {0};
        sum_place(s, x + c / block * x_plane + c % block, dy + o * y_plane, place / kernel, place % kernel,
                  sum);
        for (uint32_t b = 0; b < block && o * block + b < s->out_channels; b++)
          ret_weights[((size_t)(o * block + b) * s->in_channels + c) * kernel * kernel + place] = sum[b];
      }
  if (ret_bias)
    sum_bias(s, dy, ret_bias);
}
