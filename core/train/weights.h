/* What masks learn as weights of their own (mask_weight_count) before the training: which training it takes,
 * by the mask's trait. */
#pragma once

#include "core/train/trainer.h"

/* Fills trainer->weights, which it allocates; see learnt_fetch. Deterministic in the seed. Needs data, batch,
 * threads and, of masks that learn from public faces, the open ones and the embedder. -ECANCELED, -EINTR when
 * asked to stop: what was trained is lost and trained again. -EDOM, -ENOMEM, -EINVAL. */
int weights_learn(struct trainer *trainer, const struct job_inputs *inputs, struct guise_error *err);

/* Its steps; 0 where the mask learns none. */
uint64_t weights_steps(const struct trainer *trainer);
