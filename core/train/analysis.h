/* The training before the training: masks that learn (mask_learns) get their numbers from an analysis network
 * in front of which the channels have gates (core/train/gates.h). It trains for a few epochs on unmasked,
 * standardised templates of the training images; what is left is a gate a channel.
 *
 * Reconstructed: the network is freq_conv with the job's width and embedding (up-sampled: the job's own
 * network); margin 0, since the job's warm-up would hardly have begun; all 192 channels take part; Adam moves
 * the gates with a rate of 4 over the number of steps, at most .05, so that a gate can close and open
 * whatever their number. Always float32. */
#pragma once

#include "core/train/trainer.h"

/* Fills trainer->learnt. Taken from the checkpoint that the job continues from, else from JOB_ANALYSIS_FILE
 * in the work directory, else trained and written there. The same numbers each way. Deterministic in the
 * seed. Needs data, batch and threads of the trainer, no mask and no networks. -ECANCELED, -EINTR when asked
 * to stop: what was trained is lost and trained again. */
int analysis_learn(struct trainer *trainer, const struct job_inputs *inputs, struct guise_error *err);

/* Logs which coefficients the trainer's mask drops by what it learnt, a line a colour. */
void analysis_log(const struct trainer *trainer);

/* Its steps; 0 where the mask learns nothing. */
uint64_t analysis_steps(const struct trainer *trainer);

/* The training alone. */
int analysis_train(struct trainer *trainer, float *ret_gates /* (192) */, struct guise_error *err);
