/* The strategy network: picks k, the number of faces mixed into a sample, and learns by REINFORCE against the
 * recognition network. MLP state -> 64 -> 32 -> |K| with PReLU or ReLU; pi' = 0.9 pi + 0.1/|K|; two draws an
 * anchor; gradient (R1 - R2)(grad log pi'(k1) - grad log pi'(k2))/2 divided by the batch's deviation of
 * rewards; entropy bonus; Adam.
 *
 * The reward is computed by the caller (a seam: "paper" is the detached recognition loss; a probe-based
 * reward needs other inputs), so this file knows nothing of losses. */
#pragma once

#include <stdint.h>

#include "core/base/base.h"
#include "core/base/philox.h"
#include "core/mask/mask.h"

#define STRATEGY_ACTIONS_MAX MIX_MAX /* k = 1..6 */
#define STRATEGY_EXTRA 8             /* state entries beyond 2C, see struct strategy_context */

/* What an ablation takes away from the learned policy, one row each in the table of strategy.c. */
enum strategy_ablation {
  ABLATION_NONE,
  ABLATION_RANDOM,
  ABLATION_BANDIT,
  ABLATION_SHUFFLED,
  ABLATION_NO_DUAL,
  ABLATION_NO_EXPLORATION,
  ABLATIONS
};
struct ablation_traits {
  const char *name; /* as in the API */
  bool marginal; /* k is drawn from the batch's mean policy, and people are left in a drawn order: the learned
                    histogram, and nothing that tells people apart */
  bool no_state; /* all entries of the state are 0 */
  bool shuffled; /* each sample sees the state of another one of its batch */
  bool no_dual;  /* mu stays 0: nothing is paid for lost accuracy */
  bool no_explore; /* neither the floor of the probabilities nor the entropy bonus */
};
const struct ablation_traits *ablation_traits(enum strategy_ablation ablation);

struct strategy;

/* The entries of the state that do not come from the template itself; all are scaled to about [-3,3]. */
struct strategy_context {
  /* moving averages over the mixes that the sample, the person leads; 0 before the first: */
  float margin_sample, margin_person; /* cos to the lead's class minus best other */
  float excess_sample, excess_person; /* plain cross-entropy of the label minus its entropy, nats */
  float alike;      /* how alike the person's photographs are to the probe's embedder; 0 without one */
  float log_images; /* log of the lead person's image count */
  float progress;   /* t/T */
  float dual;       /* mu; 0 without a probe */
};

/* channels: C of the templates; k[0..actions) ascending values in 1..6. floor: the 0.1 of pi'; 0 = none. */
#define STRATEGY_FLOOR 0.1f
/* standard: for the probe's reward. The 2C entries of the template are then taken as deviations from what
 * they usually are, and all of them together weigh as much as the others; and Adam's rate is 2e-3. As they
 * are, hundreds of entries that are about the same for every face outvote the few that differ between people,
 * so that the policy learns how much to mix and not whom; and at the published rate it hardly learns whom in
 * the few hundred updates of a short training. */
int strategy_new(uint32_t channels, const uint32_t *k, uint32_t actions, float floor, bool standard,
                 uint64_t seed, struct strategy **ret_strategy, struct guise_error *err);
struct strategy *strategy_free(struct strategy *strategy);
/* Of a new one with a choice: its policy gives k[0] about this probability, whatever the state. */
void strategy_begin(struct strategy *strategy, float first);
uint32_t strategy_state_size(const struct strategy *strategy); /* 2C + STRATEGY_EXTRA */

/* State of one masked lead: per-channel mean |.| and deviation of (C,cells), then the context. */
void strategy_state(const struct strategy *strategy, const float *template_, uint32_t cells,
                    const struct strategy_context *context, float *ret_state);

/* Of the states of a batch of a standardising network; others stay as they are. Once a batch: running
 * statistics, the newest batch weighs .01. */
void strategy_standardise(struct strategy *strategy, float *states, uint32_t batch);

/* pi' for `batch` states; ret_probability (batch, actions). */
void strategy_policy(struct strategy *strategy, const float *states, uint32_t batch, float *ret_probability);
/* Draws an index into k[] from one row of probabilities. */
uint32_t strategy_draw(struct rng *rng, const float *probability, uint32_t actions);

/* The entropy bonus when `progress` (0..1) of the training is done. The published one, 0.02 falling to 0.002,
 * is next to nothing beside rewards divided by their deviation. With the probe's reward (priced), whose price
 * of accuracy moves, a policy that has settled in a corner takes long to leave it: it tries other actions too
 * seldom to learn that they have become the better ones. There it is 0.2: an action worth a third of a
 * deviation less is taken a fifth as often. */
float strategy_entropy_weight(bool priced, double progress);

/* One REINFORCE update with two draws an anchor; returns the mean entropy of pi' in nats.
 * entropy_weight: the schedule's value now. rewards1/2: (batch) reward of action1/2 (indices into k[]). */
float strategy_update(struct strategy *strategy, const float *states, uint32_t batch, const uint32_t *action1,
                      const uint32_t *action2, const float *reward1, const float *reward2,
                      float entropy_weight);

/* All state (weights, Adam moments, statistics, step counter) as one float vector, for checkpoints. */
size_t strategy_save_size(const struct strategy *strategy);
void strategy_save(const struct strategy *strategy, float *ret_values);
void strategy_load(struct strategy *strategy, const float *values);
