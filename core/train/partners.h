/* The faces that a step's mixes are made of. Without recipes they are the batch and, for the pools "public"
 * and "both", as many public faces drawn anew each step, all masked once (the step's faces: numbers
 * 0..batch-1 and batch..). With recipes a mix is a function of its lead and the epoch; its partners may be
 * any image of the training set or of the public one, and are masked when the mix is made (the number of a
 * partner is batch + its number in the recipe's pool).
 *
 * Everything here is a function of (seed, step): nothing of it is in a checkpoint. */
#pragma once

#include "core/train/trainer.h"

/* Opens the public faces of a job that uses some; makes the mask's decoys. After the mask's constants are
 * set. Frees itself with trainer_done. -EINVAL with what to change. */
int trainer_open_public(struct trainer *trainer, const struct job_inputs *inputs, struct guise_error *err);
int trainer_set_decoys(struct trainer *trainer, struct guise_error *err);

/* Public faces among a step's faces, 0 when recipes or the pool need none. */
uint32_t trainer_step_publics(const struct trainer *trainer);
/* The largest k that there are partners for. */
uint32_t trainer_most(const struct trainer *trainer);
/* The recipe of this epoch; UINT32_MAX when mixes are not frozen. */
uint32_t trainer_recipe(const struct trainer *trainer);

/* Draws of the view of the batch's sample `i`, image order[i] of the training list. */
void trainer_view(const struct trainer *trainer, uint32_t i, uint32_t image, struct rng *ret_rng);
/* What the mask draws for the mix of sample `i`. */
void trainer_after_mix(const struct trainer *trainer, uint32_t i, struct rng *ret_rng);
/* Masks the step's public faces into templates[batch..). */
void trainer_public_templates(struct trainer *trainer);

/* How sample `lead` of the batch is mixed with k - 1 partners: by its recipe, else drawn from rng. */
void trainer_compose(struct trainer *trainer, struct rng *rng, uint32_t lead, uint32_t k,
                     struct mix *ret_mix);
/* The mix that the choice of k is judged by. For one lead and step all k have the same partners, of a smaller
 * mix the first of a larger one's, and the same |N(0,1)| as far as the redraw rule allows
 * (mix_draw_common_lambdas), so that rewards differ by what k does and not by who was drawn. Each mix by
 * itself is distributed as the training's. Such nested mixes are looked at and not kept: what is trained on,
 * and so stored, is drawn apart for each sample. With recipes it is the recipe's own mix of k, the one that
 * would be trained on: of frozen mixes none is ever nested in another (core/mask/recipe.h). */
void trainer_compose_reward(struct trainer *trainer, uint32_t lead, uint32_t k, struct mix *ret_mix);
/* ret_mixed[i] = sum_j lambda_j z_j of mixes[i], as trainer_compose made them in this step; the batch's
 * templates are in trainer->templates. */
void trainer_mix(struct trainer *trainer, const struct mix *mixes, uint32_t count, float *ret_mixed);
