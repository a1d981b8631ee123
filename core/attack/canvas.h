/* What an attack paints on that searches for a picture by what the attacked network says of its template:
 * pixels where the mask is linear, else the template itself, whose picture is the mask's public inverse.
 * Internal to core/attack. */
#pragma once

#include "core/attack/variation.h"

struct canvas {
  const struct mask *mask;
  bool pixels;                 /* else the template */
  size_t numbers;              /* that are painted */
  float *mean;                 /* (elements) what the template of grey is made of */
  float *scratch;              /* of the mask */
  float *planes;               /* (3, size, size) */
  struct variation *variation; /* of templates that invert to pixels; NULL otherwise */
};

int canvas_init(struct canvas *canvas, const struct mask *mask, struct guise_error *err); /* done is due */
void canvas_done(struct canvas *canvas);

/* numbers -> template. Pixels are YCbCr in units of CANVAS_UNIT grey levels about the middle grey. */
#define CANVAS_UNIT 64.0f
void canvas_template(struct canvas *canvas, const float *numbers, float *ret_template);
/* The derivative by the template -> that by the numbers. */
void canvas_pull_back(struct canvas *canvas, const float *of_template, float *ret_derivative);
/* derivative += that of smoothness * total variation + size * mean square. */
int canvas_add_prior(struct canvas *canvas, const float *numbers, double smoothness, double size,
                     float *derivative, struct guise_error *err);
/* numbers -> (size, size, 3) RGB bytes */
void canvas_picture(struct canvas *canvas, const float *numbers, uint8_t *ret_rgb);
