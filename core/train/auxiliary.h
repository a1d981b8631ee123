/* Batches and batch norms of their own for mixed templates, and for those that lose frequencies in the place
 * of being mixed, for which "mixed" stands here as well ("auxiliary batch norm": Xie et al., Adversarial
 * Examples Improve Image Recognition, CVPR 2020). A mix has a quarter to a half of an unmixed template's
 * variance, in every layer another share of it. Normalised by the statistics of a batch that holds both, an
 * unmixed template meets in training what it never meets in use, where all are unmixed.
 *
 * So the order of an epoch puts unmixed samples into batches of their own, and every batch norm has two sets
 * of gain, bias and running statistics, one for these batches and one for all others. The first is what the
 * model keeps. In an epoch in which less than a sixteenth of the samples is of one kind all share the set of
 * the many.
 *
 * With mask.unmixed_by "people" they are ranked once for the training, in a drawn order or, where a probe has
 * an embedder, those first whose photographs are least alike to it (gallery.h): a share mask.unmixed of them
 * stays unmixed, always, and of those behind them as many as the policy leaves (1 in mask.k) in an epoch. So
 * who is not left is never seen. With "samples" that share is drawn anew each epoch: everybody is seen once
 * in a while, and more is learnt from everybody. The policy leaves people in any case. */
#pragma once

#include "core/train/trainer.h"

/* After everything else has set parameters, before a checkpoint is read. Separates if mask.auxiliary_norm
 * asks for it, the network has batch norms, and there is, or with 1 in mask.k may be, a batch of either kind
 * in an epoch. -ENOMEM. */
int auxiliary_setup(struct trainer *trainer, struct guise_error *err);

/* Whether `image` of the training list stays unmixed in the epoch under way by mask.unmixed or, of templates
 * that somebody else has mixed, by what they are; whether the policy leaves it unmixed in the epoch under
 * way. */
bool auxiliary_unmixed(const struct trainer *trainer, uint32_t image);
bool auxiliary_left(const struct trainer *trainer, uint32_t image);
/* Whether mask.unmixed leaves this person in every epoch, so that they never follow the policy. */
bool auxiliary_spared(const struct trainer *trainer, uint32_t person);
/* The policy gives k = 1 the probability `alone` for `image`. Its person's average is asked next epoch. */
void auxiliary_asked(struct trainer *trainer, uint32_t image, float alone);

/* trainer->order of the epoch under way: a permutation of the training list, a function of (seed, epoch) and
 * of whom the policy leaves. One batch at most holds both kinds. */
void auxiliary_order(struct trainer *trainer);

/* Puts the norms of mixed batches (true) or of unmixed ones into trainer->graph, where they stand between
 * steps. Nothing if they are there already, or if there is one set. */
void auxiliary_use(struct trainer *trainer, bool mixed);
bool auxiliary_is_apart(const struct trainer *trainer); /* there are two */

/* Once a bound on accuracy is in force, before the first step: a policy that may leave samples unmixed (1 in
 * mask.k) begins with P(k = 1) = DUAL_ALONE_BOUND, for whatever sample; with the price taken away (no_dual),
 * too, so that nothing else differs. Any other begins as it did. */
void auxiliary_begin_bounded(struct trainer *trainer);

/* Whether one of the `count` samples of the filled batch is mixed; how many of `count` mixes are. */
bool auxiliary_batch_mixed(const struct trainer *trainer, uint32_t count);
uint32_t auxiliary_count_mixed(const struct mix *mixes, uint32_t count);
