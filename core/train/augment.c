#include "core/train/augment.h"

#include <string.h>

static void repeat_pixel(uint8_t *to, const uint8_t *pixel, size_t count) {
  for (size_t i = 0; i < count; i++)
    memcpy(to + 3 * i, pixel, 3);
}

void shift_image(const uint8_t *rgb, uint32_t size, int dx, int dy, uint8_t *ret_rgb) {
  const int side = (int)size, last = side - 1, left = MIN(MAX(-dx, 0), side), right = MIN(MAX(dx, 0), side);
  const size_t stride = 3 * (size_t)size, inside = (size_t)MAX(side - left - right, 0);
  for (int y = 0; y <= last; y++) {
    const uint8_t *row = rgb + (size_t)MIN(MAX(y + dy, 0), last) * stride;
    uint8_t *to = ret_rgb + (size_t)y * stride;
    repeat_pixel(to, row, (size_t)left);
    memcpy(to + (size_t)3 * (size_t)left, row + (size_t)3 * (size_t)right, 3 * inside);
    repeat_pixel(to + stride - (size_t)3 * (size_t)right, row + stride - 3, (size_t)right);
  }
}

void augment_template(const struct mask *mask, const struct augmentation *augmentation, struct rng *rng,
                      const uint8_t *rgb, uint8_t *shifted, float *scratch, float *ret_template) {
  const uint32_t shift = augmentation->shift;
  const bool flip = (rng_u32(rng) & 1) && augmentation->flip;
  if (shift > 0) {
    const int dx = (int)rng_below(rng, 2 * shift + 1) - (int)shift,
              dy = (int)rng_below(rng, 2 * shift + 1) - (int)shift;
    shift_image(rgb, mask_size(mask), dx, dy, shifted);
    rgb = shifted;
  }
  mask_template(mask, rgb, flip, rng, scratch, ret_template);
}
