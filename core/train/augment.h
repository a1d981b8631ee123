/* What happens to a training image on its way to a template: it is moved by a few pixels, mirrored, masked.
 */
#pragma once

#include <stdint.h>

#include "core/base/philox.h"
#include "core/mask/mask.h"

struct augmentation {
  uint32_t shift; /* at most so many pixels along each axis */
  bool flip;      /* mirror every second image */
};

/* Draws from `rng` and masks. shifted: (size,size,3) bytes, scratch: mask_scratch() floats, one of each a
 * thread. */
void augment_template(const struct mask *mask, const struct augmentation *augmentation, struct rng *rng,
                      const uint8_t *rgb, uint8_t *shifted, float *scratch, float *ret_template);

/* The pixels that augment_template masks, mirror and all, for the same state of `rng`. rgb, ret_rgb:
 * (size,size,3). */
void augment_image(const struct augmentation *augmentation, struct rng *rng, const uint8_t *rgb,
                   uint32_t size, uint8_t *ret_rgb);

/* Moves the crop by (dx,dy); what comes in from outside repeats the border. rgb: (size,size,3). */
void shift_image(const uint8_t *rgb, uint32_t size, int dx, int dy, uint8_t *ret_rgb);
