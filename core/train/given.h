/* A training on templates that the faces' owner has made (core/template/templates.h): what takes the place of
 * masking and mixing. The data of such a job has templates and no pack: a training "image" is a template, its
 * person the one with the largest share. */
#pragma once

#include "core/train/trainer.h"

/* Whether the job's data are templates. */
static inline bool trainer_is_given(const struct trainer *trainer) {
  return trainer->data.templates != NULL;
}

/* The mask that the templates were made with, for what is verified and served, and which of them have lost
 * frequencies, all of which are 0 in them: a file tells how many may be lost and not whose. -EINVAL when the
 * spec has another mask; -ENOMEM. */
int given_mask(struct trainer *trainer, struct guise_error *err);
/* Whether template `image` is of one face as the mask makes it. */
bool given_is_plain(const struct trainer *trainer, uint32_t image);
/* The first template from `image` on, in a circle, that has lost no frequencies; `image` when all have. */
uint32_t given_whole(const struct trainer *trainer, uint32_t image);

/* trainer_fill: copies `count` templates, some of them mirrored, and their labels. */
void given_fill(struct trainer *trainer, const uint32_t *images, uint32_t count, float *ret_inputs);

/* Template `image` for batch-norm statistics, as if it were of one face: a mix of standardised templates has
 * the variance sum w^2 over its shares w, so it is divided by the root of that. */
void given_unmixed(const struct trainer *trainer, uint32_t image, float *ret_template);
