/* What a painter's drawings x' of photographs x are told:
 *
 *   mean |x' - x| + .1 mean (1 - cos(F(x'), F(x)))
 *
 * F the attacker's recogniser (core/attack/recogniser.h; Johnson et al., "Perceptual Losses for Real-Time
 * Style Transfer and Super-Resolution", ECCV 2016, with a recogniser of faces), left out where there is none.
 * Internal to core/attack. */
#pragma once

#include "core/attack/painter.h"

#define PAINTER_GREY 64.0f /* the drawings' unit in grey levels, about the deviation of a face's pixels */

struct painter_loss;

/* faces: that are learnt from, kept by reference, as is the options' recogniser. -ENOMEM. */
int painter_loss_new(const struct painter_options *options, const struct face_sample *faces,
                     struct painter_loss **ret_loss, struct guise_error *err);
struct painter_loss *painter_loss_free(struct painter_loss *loss);
DEFINE_CLEANUP(struct painter_loss *, painter_loss_free)

/* output: (LESSON_BATCH, 3, size, size) RGB minus 128 in units of PAINTER_GREY; ret_gradient: by it, of the
 * same shape. -EIO from the kernel library. */
int painter_loss_measure(struct painter_loss *loss, const float *output, const struct lesson *lesson,
                         double *ret_loss, float *ret_gradient, struct guise_error *err);
