/* Where things stand in minusface's weights. Internal to core/mask and core/train. */
#pragma once

#include "core/mask/mask.h"

enum {
  MINUSFACE_MEAN = 0, /* (192) of coefficients, that g's input is standardised by */
  MINUSFACE_DEVIATION = MASK_CHANNELS_MAX,
  MINUSFACE_MAGNITUDE = 2 * MASK_CHANNELS_MAX, /* (192) mean magnitude of the rest, coefficient units */
  MINUSFACE_GENERATOR = 3 * MASK_CHANNELS_MAX, /* g's weights, unet_weights() of them */
};

/* x - g(x) of an image, (192,G,G), before the shuffle, in coefficient units. scratch: mask_scratch(). */
void minusface_residue(const struct mask *mask, const uint8_t *rgb, float *scratch, float *ret_residue);
