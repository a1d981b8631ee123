/* The price of lost accuracy in the probe's reward, R = leak_drop - mu KL, by dual ascent:
 *
 *   mu <- max(0, mu + 0.01 (EMA(KL) - tau))                        after each update of the policy
 *   tau <- tau exp(0.5 (acc - acc_ref + drop) / drop)             after each epoch, within [0.05, 3] nats
 *
 * KL is the excess loss of the mixes decided on (nats), acc the accuracy of the epoch, acc_ref that of an
 * undefended model on the same pairs, drop the accuracy that may be lost. */
#pragma once

#include <stdbool.h>

/* Doubles only: saved in checkpoints as they stand. */
struct dual {
  double mu;
  double tau;  /* nats */
  double kl;   /* moving average, nats */
  double leak; /* moving average of the leak of all decisions */
  double updates;
  /* the reference on this job's first verification set; known = 0 until it is computed */
  double known, reference_accuracy, reference_tar; /* TAR at FAR 1e-2; NAN with too few pairs */
};

#define DUAL_TAU_START 0.5

void dual_start(struct dual *dual);
/* One update: means over its decisions. priced false: mu stays 0. */
void dual_step(struct dual *dual, double kl, double leak, bool priced);
/* At the end of an epoch of a job with a reference. */
void dual_epoch(struct dual *dual, double accuracy, double max_drop);
