/* Drawn people to attack and drawn public faces, for tests of attacks. */
#pragma once

#include <string.h>

#include "core/attack/attack.h"
#include "core/image/synth.h"

#ifndef SIZE
#define SIZE 48u
#endif
#define PIXELS ((size_t)SIZE * SIZE * 3)

/* Faces of people numbered from `first`. */
struct crowd {
  uint8_t *pixels;
  uint32_t *identity;
  uint32_t count;
};

static struct crowd victims, open;

static struct crowd crowd_of(uint32_t first, uint32_t people, uint32_t images) {
  struct crowd crowd = {.count = people * images};
  crowd.pixels = malloc(crowd.count * PIXELS);
  crowd.identity = calloc(crowd.count, sizeof(*crowd.identity));
  assert_non_null(crowd.pixels);
  assert_non_null(crowd.identity);
  for (uint32_t i = 0; i < crowd.count; i++) {
    crowd.identity[i] = first + i / images;
    synth_face(11, first + i / images, i % images, SIZE, crowd.pixels + i * PIXELS);
  }
  return crowd;
}

static void crowd_done(struct crowd *crowd) {
  free(crowd->pixels);
  free(crowd->identity);
}

static const uint8_t *crowd_image(void *context, uint32_t i) {
  return ((const struct crowd *)context)->pixels + i * PIXELS;
}

static struct attack_faces faces_of(struct crowd *crowd) {
  return (struct attack_faces){crowd_image, crowd, crowd->identity, crowd->count, NULL};
}

static struct mask *fitted_mask(enum mask_method method, uint32_t drop_low, float clip) {
  struct mask *mask = NULL;
  struct guise_error err = {0};
  struct mask_options options = mask_options_default(method, SIZE);
  options.drop_low = drop_low;
  options.clip = clip;
  if (mask_new(&options, &mask, &err) != 0 || mask_fit(mask, crowd_image, &open, open.count, &err) != 0)
    fail_msg("%s", err.text);
  return mask;
}

static inline const struct attack_surface_result *surface_of(const struct attack_result *result,
                                                             enum attack_surface which) {
  for (uint32_t s = 0; s < result->surfaces; s++)
    if (result->surface[s].surface == which)
      return &result->surface[s];
  fail_msg("the surface is missing");
  return NULL;
}

static inline const struct attack_metric *metric_of(const struct attack_surface_result *surface,
                                                    const char *name) {
  for (uint32_t i = 0; i < surface->metrics; i++)
    if (strcmp(surface->metric[i].name, name) == 0)
      return &surface->metric[i];
  fail_msg("the metric %s is missing", name);
  return NULL;
}
