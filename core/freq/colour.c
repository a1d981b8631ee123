/* JPEG's full-range colour transform (JFIF 1.02): Y = .299 R + .587 G + .114 B, Cb = .564 (B - Y), Cr = .713
 * (R - Y), with Y moved by -128 so that all three planes are centred on 0. One image row a loop, without
 * branches, so that compilers vectorise it. */
#include <math.h>

#include "core/freq/dct.h"

static void row_to_ycbcr(const uint8_t *restrict rgb, uint32_t size, float *restrict luma,
                         float *restrict blue, float *restrict red) {
  for (uint32_t x = 0; x < size; x++) {
    const float r = rgb[3 * x], g = rgb[3 * x + 1], b = rgb[3 * x + 2];
    luma[x] = 0.299f * r + 0.587f * g + 0.114f * b - 128.0f;
    blue[x] = -0.168736f * r - 0.331264f * g + 0.5f * b;
    red[x] = 0.5f * r - 0.418688f * g - 0.081312f * b;
  }
}

static void row_to_ycbcr_mirrored(const uint8_t *restrict rgb, uint32_t size, float *restrict luma,
                                  float *restrict blue, float *restrict red) {
  for (uint32_t x = 0; x < size; x++) {
    const uint8_t *pixel = rgb + 3 * (size_t)(size - 1 - x);
    const float r = pixel[0], g = pixel[1], b = pixel[2];
    luma[x] = 0.299f * r + 0.587f * g + 0.114f * b - 128.0f;
    blue[x] = -0.168736f * r - 0.331264f * g + 0.5f * b;
    red[x] = 0.5f * r - 0.418688f * g - 0.081312f * b;
  }
}

void rgb_to_ycbcr(const uint8_t *rgb, uint32_t size, bool flip, float *ret_planar) {
  const size_t plane = (size_t)size * size;
  for (uint32_t y = 0; y < size; y++) {
    const uint8_t *in = rgb + 3 * (size_t)y * size;
    float *out = ret_planar + (size_t)y * size;
    if (flip)
      row_to_ycbcr_mirrored(in, size, out, out + plane, out + 2 * plane);
    else
      row_to_ycbcr(in, size, out, out + plane, out + 2 * plane);
  }
}

/* NaN becomes 0: templates come from outside, and converting NaN to an integer is undefined. */
static uint8_t to_byte(float value) {
  return (uint8_t)lrintf(fminf(fmaxf(value, 0.0f), 255.0f));
}

const float ycbcr_rgb_matrix[3][3] = {{1, 0, 1.402f}, {1, -0.344136f, -0.714136f}, {1, 1.772f, 0}};
const float rgb_ycbcr_matrix[3][3] = {
    {0.299f, 0.587f, 0.114f}, {-0.168736f, -0.331264f, 0.5f}, {0.5f, -0.418688f, -0.081312f}};

void ycbcr_to_rgb(const float *planar, uint32_t size, uint8_t *ret_rgb) {
  const size_t plane = (size_t)size * size;
  for (size_t i = 0; i < plane; i++) {
    const float luma = planar[i] + 128.0f, blue = planar[plane + i], red = planar[2 * plane + i];
    ret_rgb[3 * i] = to_byte(luma + 1.402f * red);
    ret_rgb[3 * i + 1] = to_byte(luma - 0.344136f * blue - 0.714136f * red);
    ret_rgb[3 * i + 2] = to_byte(luma + 1.772f * blue);
  }
}
