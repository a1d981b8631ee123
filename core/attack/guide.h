/* What the attacked network says of drawn pictures, and how they would have to change for it to take them for
 * the wanted people. Internal to core/attack. */
#pragma once

#include "core/attack/canvas.h"
#include "core/attack/inversion.h"
#include "core/attack/view.h"

enum guide_loss {
  GUIDE_ENTROPY, /* cross-entropy, without margin */
  GUIDE_MARGIN,  /* -l_y + max_{j != y} l_j (Yuan et al., "Pseudo Label-Guided Model Inversion Attack via
                    Conditional Generative Adversarial Network", AAAI 2023) */
};

/* The way of a picture is view, mask, network. Through a mask that is not linear it goes forward as a
 * photograph does, with the draws of an image, and backward as if nothing but the transform and the channels'
 * deviations stood between (straight through). */
struct guide {
  const struct inverted *inverted;
  uint32_t side, size; /* of pictures, (3, side, side) in units of CANVAS_UNIT, and of what the mask sees */
  struct canvas canvas;
  struct mask *plain;            /* the transform alone, of masks that are not linear; else NULL */
  float *planes;                 /* (3, size, size) */
  float *coefficients, *scratch; /* of plain, or NULL */
  uint8_t *rgb;                  /* (size, size, 3), or NULL */
};

/* photographs: of any people, (from, from, 3), for the constants of `plain`. done is due in any case. */
int guide_init(struct guide *guide, const struct inverted *inverted, uint32_t side,
               const struct face_sample *photographs, uint32_t from, struct guise_error *err);
void guide_done(struct guide *guide);

/* pictures: (INVERSION_BATCH, 3, side, side). Adds weight times the gradient of the batch's mean loss to
 * gradient, of the same shape. draw: numbers what a random mask draws. ret_loss may be NULL. */
int guide_add(struct guide *guide, const float *pictures, const struct view *views, const uint32_t *classes,
              enum guide_loss loss, float weight, uint32_t draw, float *gradient, double *ret_loss,
              struct guise_error *err);

/* A picture as bytes, (size, size, 3). */
void guide_picture(struct guide *guide, const float *picture, uint8_t *ret_rgb);

/* The cosine of each picture's embedding, as it is, to its class's row: the class's own logit. */
int guide_scores(struct guide *guide, const float *pictures, const uint32_t *classes,
                 double ret_scores[INVERSION_BATCH], struct guise_error *err);
