/* A reconstructor: a U-Net that learns to draw, from a template, the face it was made of. Internal to
 * core/attack. */
#pragma once

#include "core/attack/recogniser.h"

struct painter_options {
  struct lessons_options lessons;
  uint32_t steps;                /* at least 1 */
  uint32_t width;                /* multiplies channel counts; at least 1 */
  struct recogniser *recogniser; /* of the same faces; NULL: it does not matter whom drawings show */
};

struct painter;

/* Trains on public faces, at least LESSON_BATCH of them (-EINVAL); of a mix it learns to draw the face with
 * the largest share. -ECANCELED; -EDOM when the training diverged; -ENOMEM. The same result for the same seed
 * and number of threads. */
int painter_train(const struct painter_options *options, const struct face_sample *faces,
                  struct painter **ret_painter, struct guise_error *err);
struct painter *painter_free(struct painter *painter);
DEFINE_CLEANUP(struct painter *, painter_free)

uint64_t painter_parameters(const struct painter *painter); /* trained numbers */

/* What it draws of the faces' templates, (count, size, size, 3) RGB bytes. Template i is composed as mixes[i]
 * says. ret_seen, may be NULL: what the mask's public inverse makes of the templates, the same shape. */
int painter_draw(struct painter *painter, const struct face_sample *faces, const struct mix *mixes,
                 uint8_t *ret_rgb, uint8_t *ret_seen, struct guise_error *err);
