/* Synthetic faces for demonstrations without data: each identity has fixed features (head shape, skin, eyes,
 * brows, nose, mouth, hair), each image varies pose, light and expression. Deterministic in (seed, identity,
 * image). They are drawings: no result on them says anything about real faces. */
#pragma once

#include <stdint.h>

/* size 32..224; rgb (size,size,3). */
void synth_face(uint64_t seed, uint32_t identity, uint32_t image, uint32_t size, uint8_t *ret_rgb);
