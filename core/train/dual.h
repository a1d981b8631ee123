/* The price of lost accuracy in the probe's reward, R = (1 - leak) - mu cost, by dual ascent with a
 * proportional part.
 *
 * The cost of a mix is what is not learnt from it:
 *
 *   cost = E[1 - sum_j lambda_j^2]
 *
 * its dilution, the chance that two looks at a mix see different faces: 0 of an unmixed sample, on average
 * .49 to .75 of two to six faces; the average is taken, so that the lambdas that were drawn make no noise. It
 * is the same for everybody. (Weighed by what the recogniser still misses of the lead's person it went round:
 * who is mixed is missed, so is left unmixed, so is missed no more; all people stood unmixed in the store in
 * turn, and those who are easily found as often as the others.)
 *
 *   nu  <- min(5, max(0, nu + 3/U clamp((EMA(cost) - tau) / tau, +-2)))   after each of U updates
 *   mu   = min(5, max(0, nu + EMA(cost) - tau))
 *   tau <- tau exp(clamp(0.5 (acc - acc_ref(t) + drop) / drop, -0.5, 0.1)) after each epoch
 *                                                                          tau within [0.05, 0.75]
 *
 * The recognition loss of the mix itself would not do: it is as low for six faces as for two within a few
 * hundredths of what a label says, and what mixing costs is not how mixes are recognised. A template that
 * loses frequencies in the place of being mixed costs as much as one of two faces: a unit, whose price the
 * accuracy decides. acc is the accuracy of the epoch, acc_ref(t) that of an undefended model on the same
 * pairs at the same stage t of its own training, drop the accuracy that may be lost at the end, or at any
 * stage: what is missing in the middle is not made up for when the learning rate falls.
 *
 * tau grows far more slowly than it falls: what mixing costs shows in the accuracy of later epochs, and a
 * short training has none left to make up for what a bound that had grown by half an epoch let go. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "core/model/curve.h"

/* Doubles only: saved in checkpoints as they stand. */
struct dual {
  double mu;   /* the price */
  double nu;   /* its part that adds up */
  double tau;  /* cost that is allowed */
  double cost; /* moving average over all decisions */
  double updates;
  double rate; /* of nu */
  /* the reference on this job's first verification set; known = 0 until it is computed */
  double known, reference_accuracy, reference_tar; /* TAR at FAR 1e-2; NAN with too few pairs */
  double curve[CURVE_POINTS]; /* the reference's own, of its job's pairs; 0 = not known */
};

#define DUAL_TAU_START 0.6 /* about the dilution of three faces */
/* With a bound the beginning is careful, so that people are learnt from before it is known what mixing them
 * costs: what is lost early has to be made up for by not mixing later. This share is left unmixed by a policy
 * that has learnt nothing (if it may). With two to six faces alike for the others that costs .16, so that the
 * price falls at first, and as long as the accuracy allows it ever more are mixed. */
#define DUAL_ALONE_BOUND 0.75
#define DUAL_TAU_BOUND 0.2
#define DUAL_MU_BOUND 1.0

/* updates: of the policy, in the whole training. */
void dual_start(struct dual *dual, double updates);
/* The reference's accuracy and TAR at FAR 1e-2 on this job's first verification set, once they are computed.
 * least: the dilution that the policy cannot avoid. priced false: mu stays 0. */
void dual_bind(struct dual *dual, double accuracy, double tar, double least, bool priced);
/* E[1 - sum lambda^2] of mixes of k faces (core/mask/mixing.h); 0 of one. */
double dual_dilution(uint32_t k);
/* One update: the mean cost of its decisions. priced false: mu stays 0. */
void dual_step(struct dual *dual, double cost, bool priced);
/* What the reference had reached when `done` (0..1) of its training was done. Its own curve is moved to the
 * accuracy that it has on this job's pairs. */
double dual_reference_at(const struct dual *dual, double done);
/* At the end of an epoch of a job with a reference. */
void dual_epoch(struct dual *dual, double accuracy, double done, double max_drop);
