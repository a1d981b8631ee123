/* The attacker's public recogniser F as a loss: how far whom a drawing shows is from whom the photograph
 * shows, and how the drawing would have to change. In evaluation mode, the norms' statistics those of the
 * public photographs. Internal to core/attack. */
#pragma once

#include "core/attack/lessons.h"
#include "core/model/model.h"

struct recogniser;

/* Embeds the public faces, of `size` pixels, once. The teacher and the faces are kept by reference; of the
 * options only threads and should_stop count. *ret_recogniser is NULL where nothing can be differentiated
 * through the teacher's own mask (judge_sees_through). -EINVAL with fewer than LESSON_BATCH faces,
 * -ECANCELED, -ENOMEM, ... as embed_images. */
int recogniser_new(struct model *teacher, const struct face_sample *faces, uint32_t size,
                   const struct lessons_options *options, struct recogniser **ret_recogniser,
                   struct guise_error *err);
struct recogniser *recogniser_free(struct recogniser *recogniser);
DEFINE_CLEANUP(struct recogniser *, recogniser_free)

/* drawn: (LESSON_BATCH, 3, size, size) YCbCr minus 128, picture i of the face that counts for the lesson's
 * i-th template. *ret_distance: the mean of 1 - cos(F(x'), F(x)); adds weight times its gradient by the
 * pixels to gradient, of the same shape. */
int recogniser_compare(struct recogniser *recogniser, const float *drawn, const struct lesson *lesson,
                       float weight, double *ret_distance, float *gradient, struct guise_error *err);
