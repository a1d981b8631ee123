/* Drawn faces, two of each person, to fit masks on. Before it is included SIDE and FACES are defined. */
#pragma once

#include "core/image/synth.h"

static uint8_t faces[FACES][SIDE * SIDE * 3];

static inline const uint8_t *face(void *context, uint32_t i) {
  (void)context;
  return faces[i];
}

/* A group's setup. */
static inline int draw_faces(void **state) {
  (void)state;
  for (uint32_t i = 0; i < FACES; i++)
    synth_face(5, i / 2, i % 2, SIDE, faces[i]);
  return 0;
}
