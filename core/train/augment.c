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

struct drawn {
  bool flip;
  int dx, dy;
};

static struct drawn draw(const struct augmentation *augmentation, struct rng *rng) {
  const uint32_t shift = augmentation->shift;
  struct drawn drawn = {.flip = (rng_u32(rng) & 1) && augmentation->flip};
  if (shift > 0) {
    drawn.dx = (int)rng_below(rng, 2 * shift + 1) - (int)shift;
    drawn.dy = (int)rng_below(rng, 2 * shift + 1) - (int)shift;
  }
  return drawn;
}

void augment_template(const struct mask *mask, const struct augmentation *augmentation, struct rng *rng,
                      const uint8_t *rgb, uint8_t *shifted, float *scratch, float *ret_template) {
  const struct drawn drawn = draw(augmentation, rng);
  if (augmentation->shift > 0) {
    shift_image(rgb, mask_size(mask), drawn.dx, drawn.dy, shifted);
    rgb = shifted;
  }
  mask_template(mask, rgb, drawn.flip, rng, scratch, ret_template);
}

void augment_image(const struct augmentation *augmentation, struct rng *rng, const uint8_t *rgb,
                   uint32_t size, uint8_t *ret_rgb) {
  const struct drawn drawn = draw(augmentation, rng);
  shift_image(rgb, size, drawn.dx, drawn.dy, ret_rgb);
  for (uint32_t y = 0; drawn.flip && y < size; y++)
    for (uint32_t x = 0; x < size / 2; x++) {
      uint8_t *left = ret_rgb + 3 * ((size_t)y * size + x),
              *right = ret_rgb + 3 * ((size_t)y * size + size - 1 - x);
      uint8_t swap[3];
      memcpy(swap, left, 3);
      memcpy(left, right, 3);
      memcpy(right, swap, 3);
    }
}
