#include "core/attack/canvas.h"

#include <string.h>

#include "core/base/memory.h"
#include "core/freq/dct.h"

/* A linear mask's template of pixels x is A x - mean / deviation; channels may stand in a key's order. */
static void write_mean(struct canvas *canvas) {
  const struct mask_constants *constants = mask_constants(canvas->mask);
  const struct mask_order *order = mask_order(canvas->mask);
  const uint32_t channels = mask_channels(canvas->mask);
  const size_t cells = mask_elements(canvas->mask) / channels;
  uint16_t index[MASK_CHANNELS_MAX];
  mask_layout(canvas->mask, 0, index);
  for (uint32_t c = 0; c < channels; c++) {
    const float sign = order && order->negative[c] ? -1.0f : 1.0f;
    for (size_t i = 0; i < cells; i++)
      canvas->mean[c * cells + i] = sign * constants->mean[index[c]] / constants->deviation[index[c]];
  }
}

int canvas_init(struct canvas *canvas, const struct mask *mask, struct guise_error *err) {
  const size_t elements = mask_elements(mask), pixels = (size_t)3 * mask_size(mask) * mask_size(mask);
  *canvas = (struct canvas){.mask = mask, .pixels = mask_is_linear(mask)};
  canvas->numbers = canvas->pixels ? pixels : elements;
  canvas->mean = tensor_alloc(elements * sizeof(float));
  canvas->scratch = tensor_alloc(MAX(mask_scratch(mask), (size_t)1) * sizeof(float));
  canvas->planes = tensor_alloc(pixels * sizeof(float));
  if (!canvas->mean || !canvas->scratch || !canvas->planes)
    return error_set(err, -ENOMEM, "out of memory for a picture of %u pixels", mask_size(mask));
  if (canvas->pixels)
    write_mean(canvas);
  else if (mask_inverts_to_pixels(mask))
    return variation_new(mask, &canvas->variation, err);
  return 0;
}

void canvas_done(struct canvas *canvas) {
  tensor_free(canvas->mean);
  tensor_free(canvas->scratch);
  tensor_free(canvas->planes);
  variation_free(canvas->variation);
  memset(canvas, 0, sizeof(*canvas));
}

static void to_planes(struct canvas *canvas, const float *numbers) {
  for (size_t i = 0; i < canvas->numbers; i++)
    canvas->planes[i] = CANVAS_UNIT * numbers[i];
}

void canvas_template(struct canvas *canvas, const float *numbers, float *ret_template) {
  const size_t elements = mask_elements(canvas->mask);
  if (!canvas->pixels) {
    memcpy(ret_template, numbers, elements * sizeof(float));
    return;
  }
  to_planes(canvas, numbers);
  mask_linear_forward(canvas->mask, 0, canvas->planes, canvas->scratch, ret_template);
  for (size_t i = 0; i < elements; i++)
    ret_template[i] -= canvas->mean[i];
}

void canvas_pull_back(struct canvas *canvas, const float *of_template, float *ret_derivative) {
  if (!canvas->pixels) {
    memcpy(ret_derivative, of_template, canvas->numbers * sizeof(float));
    return;
  }
  mask_linear_adjoint(canvas->mask, 0, of_template, canvas->scratch, ret_derivative);
  for (size_t i = 0; i < canvas->numbers; i++)
    ret_derivative[i] *= CANVAS_UNIT;
}

int canvas_add_prior(struct canvas *canvas, const float *numbers, double smoothness, double size,
                     float *derivative, struct guise_error *err) {
  const float share = (float)(2 * size / (double)canvas->numbers);
  for (size_t i = 0; i < canvas->numbers; i++)
    derivative[i] += share * numbers[i];
  if (canvas->variation)
    return variation_add(canvas->variation, numbers, smoothness, derivative, err);
  if (canvas->pixels)
    (void)variation_of_planes(numbers, 3, mask_size(canvas->mask), 1, smoothness, derivative);
  return 0;
}

void canvas_picture(struct canvas *canvas, const float *numbers, uint8_t *ret_rgb) {
  if (canvas->pixels)
    to_planes(canvas, numbers);
  else
    mask_invert(canvas->mask, numbers, canvas->scratch, canvas->planes);
  ycbcr_to_rgb(canvas->planes, mask_size(canvas->mask), ret_rgb);
}
