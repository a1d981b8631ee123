/* Batches and batch norms of their own for mixed templates ("auxiliary batch norm": Xie et al., Adversarial
 * Examples Improve Image Recognition, CVPR 2020). A mix has a quarter to a half of an unmixed template's
 * variance, in every layer another share of it. Normalised by the statistics of a batch that holds both, an
 * unmixed template meets in training what it never meets in use, where all are unmixed.
 *
 * So the order of an epoch puts the samples that mask.unmixed leaves alone into batches of their own, and
 * every batch norm has two sets of gain, bias and running statistics, one for these batches and one for all
 * others. The first is what the model keeps. */
#pragma once

#include "core/train/trainer.h"

/* After everything else has set parameters, before a checkpoint is read. Separates if mask.auxiliary_norm
 * asks for it, the network has batch norms, and there is a batch of either kind in an epoch. -ENOMEM. */
int auxiliary_setup(struct trainer *trainer, struct guise_error *err);

/* Whether `image` of the training list stays unmixed in the epoch under way, by mask.unmixed or, of templates
 * that somebody else has mixed, by what they are. A function of (seed, epoch, image), with recipes of (seed,
 * recipe, image). */
bool auxiliary_unmixed(const struct trainer *trainer, uint32_t image);

/* trainer->order of the epoch under way: a permutation of the training list, a function of (seed, epoch).
 * One batch at most holds both kinds. */
void auxiliary_order(struct trainer *trainer);

/* Puts the norms of mixed batches (true) or of unmixed ones into trainer->graph, where they stand between
 * steps. Nothing if they are there already, or if the job does not separate. */
void auxiliary_use(struct trainer *trainer, bool mixed);

/* Whether one of the `count` samples of the filled batch is mixed; one of `count` mixes. */
bool auxiliary_batch_mixed(const struct trainer *trainer, uint32_t count);
bool auxiliary_mixed(const struct mix *mixes, uint32_t count);
