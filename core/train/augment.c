#include "core/train/augment.h"

#include <string.h>

void shift_image(const uint8_t *rgb, uint32_t size, int dx, int dy, uint8_t *ret_rgb) {
  int last = (int)size - 1;
  for (int y = 0; y <= last; y++) {
    const uint8_t *row = rgb + (size_t)MIN(MAX(y + dy, 0), last) * size * 3;
    for (int x = 0; x <= last; x++)
      memcpy(ret_rgb + ((size_t)y * size + (size_t)x) * 3, row + (size_t)MIN(MAX(x + dx, 0), last) * 3, 3);
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
  mask_template(mask, rgb, flip, scratch, ret_template);
}
