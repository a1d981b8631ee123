/* The price of lost accuracy in the probe's reward, R = (1 - leak) - mu cost, by dual ascent with a
 * proportional part.
 *
 * Of what a mix's label says about N people, log N - H nats, the recogniser misses the share
 *
 *   missed = KL / max(log N - H, log 2)        KL: cross-entropy of the label - its entropy H
 *
 * (1 when it answers alike for everybody; more when it is wrong and sure). The cost of a mix is what it
 * misses beyond the mildest mix of the same lead, the one with the smallest k of the job:
 *
 *   cost = missed - missed of the smallest k        (looked at in every fourth update; its mean in between)
 *   nu  <- min(5, max(0, nu + 0.005 clamp((EMA(cost) - tau) / tau, +-2)))  after each update of the policy
 *   mu   = min(5, max(0, nu + EMA(cost) - tau))
 *   tau <- tau exp(clamp(0.5 (acc - acc_ref(t) + drop) / drop, +-0.5))   after each epoch, within [0.02, 2]
 *
 * The price rises with the violation as a share of the bound: what six faces cost more than two is a tenth,
 * and a step of that difference itself would take longer than a training.
 *
 * Nats alone would say little: no policy gets below those of the mildest mixes, and a network that knows
 * nothing has the fewest where the label says least. acc is the accuracy of the epoch, acc_ref(t) that of an
 * undefended model on the same pairs at the same stage of its own training, drop the accuracy that may be
 * lost. */
#pragma once

#include <stdbool.h>

#include "core/model/curve.h"

/* Doubles only: saved in checkpoints as they stand. */
struct dual {
  double mu;    /* the price */
  double nu;    /* its part that adds up */
  double tau;   /* cost that is allowed */
  double cost;  /* moving average over all decisions */
  double least; /* what the smallest k missed when it was last evaluated */
  double leak;  /* moving average over all decisions */
  double updates;
  /* the reference on this job's first verification set; known = 0 until it is computed */
  double known, reference_accuracy, reference_tar; /* TAR at FAR 1e-2; NAN with too few pairs */
  double curve[CURVE_POINTS]; /* the reference's own, of its job's pairs; 0 = not known */
};

#define DUAL_TAU_START 0.25

void dual_start(struct dual *dual);
/* kl, entropy: of a label, nats; people: N. */
double dual_missed(double kl, double entropy, double people);
/* One update: means over its decisions. priced false: mu stays 0. */
void dual_step(struct dual *dual, double cost, double leak, bool priced);
/* What the reference had reached when `done` (0..1) of its training was done. Its own curve is moved to the
 * accuracy that it has on this job's pairs. */
double dual_reference_at(const struct dual *dual, double done);
/* At the end of an epoch of a job with a reference. */
void dual_epoch(struct dual *dual, double accuracy, double done, double max_drop);
