/* How many faces each sample mixes. During the warm-up of the margin k is 2; afterwards it is drawn by the
 * job's policy. The learned policy is updated every fourth recognition step on a quarter of the batch, with
 * the reward of the job. */
#include <math.h>
#include <string.h>

#include "core/mask/recipe.h"
#include "core/train/auxiliary.h"
#include "core/train/partners.h"

#define ACTIONS(t) ((t)->spec->mask.k_count)

/* Ablations: the batch's states in another order, or none. */
static void ablate_states(struct trainer *t, const struct ablation_traits *ablation) {
  size_t size = strategy_state_size(t->strategy);
  uint32_t from[t->batch];
  struct rng rng;
  if (ablation->no_state)
    memset(t->states, 0, t->batch * size * sizeof(float));
  if (!ablation->shuffled)
    return;
  rng_init(&rng, t->spec->train.seed, RNG_STRATEGY, t->step, 2 * t->batch); /* behind the draws of anchors */
  rng_permutation(&rng, from, t->batch);
  for (uint32_t start = 0; start < t->batch; start++) /* cycle by cycle */
    for (uint32_t to = start; from[to] != UINT32_MAX;) {
      uint32_t next = from[to];
      from[to] = UINT32_MAX;
      for (size_t e = 0; next != start && e < size; e++) {
        float swap = t->states[to * size + e];
        t->states[to * size + e] = t->states[next * size + e];
        t->states[next * size + e] = swap;
      }
      to = next;
    }
}

static void fill_states(struct trainer *t) {
  size_t elements = mask_elements(t->mask), size = strategy_state_size(t->strategy);
  uint32_t cells = mask_grid(t->mask) * mask_grid(t->mask);
#pragma omp parallel for schedule(static)
  for (uint32_t i = 0; i < t->batch; i++) {
    const struct difficulty *d = &t->difficulty;
    struct strategy_context context = {
        .margin_sample = d->margin_sample[t->sample[i]],
        .margin_person = d->margin_person[t->identity[i]],
        .excess_sample = 0.2f * d->excess_sample[t->sample[i]],
        .excess_person = 0.2f * d->excess_person[t->identity[i]],
        .alike = t->probe ? probe_alike(t->probe, t->identity[i]) : 0,
        .dual = fminf((float)t->dual.mu, 3),
        .log_images = 0.3f * logf((float)t->data.images_of[t->identity[i]]),
        .progress = (float)((double)t->step / (double)t->total),
    };
    strategy_state(t->strategy, t->templates + i * elements, cells, &context, t->states + i * size);
  }
  strategy_standardise(t->strategy, t->states, t->batch);
  ablate_states(t, ablation_traits(t->spec->mask.ablation));
}

/* k by the histogram that the job gives. */
static uint32_t draw_given(const struct trainer *t, struct rng *rng) {
  const double *weight = t->spec->mask.probability;
  double total = 0, sum = 0;
  for (uint32_t a = 0; a < ACTIONS(t); a++)
    total += weight[a];
  const double u = (double)rng_uniform(rng) * total;
  uint32_t last = 0;
  for (uint32_t a = 0; a < ACTIONS(t) && sum <= u; a++) {
    sum += weight[a];
    last = weight[a] > 0 ? a : last;
  }
  return t->spec->mask.k[last];
}

/* k of a sample that the policy has not left unmixed; policy: of the learned one, else NULL. */
static uint32_t draw_mixed(const struct trainer *t, struct rng *rng, const float *policy) {
  float probability[STRATEGY_ACTIONS_MAX], sum = 0;
  for (uint32_t a = 1; a < ACTIONS(t); a++) {
    probability[a] = policy                                 ? policy[a]
                     : t->spec->mask.policy == POLICY_FIXED ? (float)t->spec->mask.probability[a]
                                                            : 1;
    sum += probability[a];
  }
  for (uint32_t a = 1; a < ACTIONS(t); a++)
    probability[a] = sum > 0 ? probability[a] / sum : 1 / (float)(ACTIONS(t) - 1);
  return t->spec->mask.k[1 + strategy_draw(rng, probability + 1, ACTIONS(t) - 1)];
}

/* k of one mixed sample. marginal: the batch's mean policy. */
static uint32_t draw_k(const struct trainer *t, struct rng *rng, uint32_t sample, const float *marginal) {
  const uint32_t *k = t->spec->mask.k;
  const float *policy = !t->strategy ? NULL
                        : ablation_traits(t->spec->mask.ablation)->marginal
                            ? marginal
                            : t->policy + (size_t)sample * ACTIONS(t);
  if (t->left)
    return draw_mixed(t, rng, policy);
  switch (t->spec->mask.policy) {
  case POLICY_FIXED:
    return t->spec->mask.probability_count > 0 ? draw_given(t, rng) : k[0];
  case POLICY_UNIFORM:
    return k[rng_below(rng, ACTIONS(t))];
  case POLICY_LEARNED:
    break;
  }
  return k[strategy_draw(rng, policy, ACTIONS(t))];
}

bool trainer_decides_k(const struct trainer *t) {
  const bool chooses = mask_traits(t->spec->mask.method)->chooses_k,
             fixed = t->spec->mask.recipes > 0 && !t->strategy; /* by the recipe: no warm-up */
  return !chooses || fixed || !trainer_in_warmup(t);
}

/* Faces in sample `sample`; 0: mask.unmixed leaves its person alone. But for a learned policy recipes fix k;
 * then there is no warm-up, since the k of the warm-up would be one more mix of each image. */
static uint32_t choose_k(const struct trainer *t, uint32_t sample, const float *marginal) {
  const bool frozen = t->spec->mask.recipes > 0;
  struct rng rng;
  if (auxiliary_unmixed(t, t->sample[sample]))
    return 0;
  if (frozen && !t->strategy)
    recipe_choice(t->spec->train.seed, t->sample[sample], trainer_recipe(t), &rng);
  else
    rng_init(&rng, t->spec->train.seed, RNG_STRATEGY, t->step,
             frozen ? sample : trainer_draw(t, sample, t->sample[sample]));
  (void)rng_uniform(&rng); /* a recipe's first number is whether a sample stays unmixed */
  if (frozen && !t->strategy)
    return draw_k(t, &rng, sample, marginal);
  if (auxiliary_left(t, t->sample[sample]))
    return 1;
  return trainer_decides_k(t) ? draw_k(t, &rng, sample, marginal) : 2;
}

int trainer_choose_k(struct trainer *t, uint32_t count, uint32_t *ret_k) {
  const bool chooses = mask_traits(t->spec->mask.method)->chooses_k;
  float marginal[STRATEGY_ACTIONS_MAX] = {0};
  if (t->strategy) {
    fill_states(t);
    strategy_policy(t->strategy, t->states, t->batch, t->policy);
    for (uint32_t i = 0; i < t->batch; i++)
      for (uint32_t a = 0; a < ACTIONS(t); a++) {
        t->sums.policy[a] += t->policy[(size_t)i * ACTIONS(t) + a];
        marginal[a] += t->policy[(size_t)i * ACTIONS(t) + a] / (float)t->batch;
      }
    t->sums.decisions += t->batch;
    for (uint32_t i = 0; i < count; i++)
      auxiliary_asked(t, t->sample[i],
                      ablation_traits(t->spec->mask.ablation)->marginal ? marginal[0]
                                                                        : t->policy[(size_t)i * ACTIONS(t)]);
  }
  const uint32_t most = trainer_most(t);
  for (uint32_t i = 0; i < count; i++) {
    ret_k[i] = chooses ? choose_k(t, i, marginal) : 2;
    ret_k[i] = MIN(ret_k[i], most);
  }
  return 0;
}

/* As the network with the batch norms of mixed or of unmixed batches sees them. */
static int losses_by(struct trainer *t, bool mixed, const struct mix *mixes, uint32_t count, float margin,
                     float *ret_losses, struct guise_error *err) {
  const struct head_options head = {
      .scale = (float)t->spec->train.scale, .margin = margin, .negatives = HEAD_NEGATIVES_ALL};
  struct head_label labels[count * MIX_MAX];
  uint32_t counts[count];
  auxiliary_use(t, mixed);
  int r = graph_copy_parameters(t->eval, t->graph, err);
  auxiliary_use(t, false);
  if (r == 0)
    r = graph_forward(t->eval, GRAPH_EVAL, t->step, err);
  if (r < 0)
    return r;
  trainer_labels(mixes, count, labels, counts);
  head_losses(t->head, &head, graph_output_data(t->eval), count, labels, MIX_MAX, counts, ret_losses);
  for (uint32_t i = 0; i < count; i++)
    ret_losses[i] /= trainer_label_weight(&mixes[i]);
  return 0;
}

int trainer_mix_losses(struct trainer *t, const struct mix *mixes, uint32_t count, float margin,
                       float *ret_losses, struct guise_error *err) {
  const uint32_t mixed = auxiliary_count_mixed(mixes, count);
  float unmixed[count];
  trainer_mix(t, mixes, count, graph_input_data(t->eval));
  int r = losses_by(t, mixed > 0, mixes, count, margin, ret_losses, err);
  if (r < 0 || mixed == 0 || mixed == count || !auxiliary_is_apart(t))
    return r;
  r = losses_by(t, false, mixes, count, margin, unmixed, err);
  for (uint32_t i = 0; i < count && r == 0; i++)
    if (mix_is_plain(&mixes[i]))
      ret_losses[i] = unmixed[i];
  return r;
}

/* The detached recognition loss of each mix, so what makes recognition hard is rewarded. A soft label's
 * cross-entropy has a floor that grows with k, which is why this reward collapses to the largest k. */
static int paper_rewards(struct trainer *t, const struct mix *mixes, uint32_t count, float *ret_rewards,
                         struct guise_error *err) {
  return trainer_mix_losses(t, mixes, count, (float)t->spec->train.margin, ret_rewards, err);
}

/* Rewards of `count` mixes of the step's templates. */
static int (*const rewards[])(struct trainer *t, const struct mix *mixes, uint32_t count, float *ret_rewards,
                              struct guise_error *err) = {
    [REWARD_PROBE] = trainer_probe_rewards, [REWARD_PAPER] = paper_rewards};

/* Both actions of an anchor are drawn first, independently, and then judged by common random numbers u
 * (trainer_compose_reward): R_i = R(a_i, u), so that R1 - R2 is what the actions do and not whom they met.
 * The estimate (R1 - R2) (grad log pi(a1) - grad log pi(a2)) / 2 stays unbiased: u and the other action are
 * independent of a1, so E[R2 grad log pi(a1)] = E[R2] E[grad log pi(a1)] = 0, and each mix by itself is
 * distributed as the training's, so E[R1 grad log pi(a1)] is the gradient as it was. */
int trainer_strategy_step(struct trainer *t, struct guise_error *err) {
  uint32_t anchors = t->eval_batch / 2, asked = 0;
  uint32_t action[2][anchors];
  float reward[2 * anchors];
  for (uint32_t i = 0; i < anchors; i++)
    asked += !auxiliary_unmixed(t, t->sample[i]);
  if (asked == 0) /* a batch of whom mask.unmixed leaves: nobody follows the policy */
    return 0;
  for (uint32_t i = 0; i < anchors; i++) {
    struct rng rng; /* sample numbers behind the batch's own: no draw is used twice */
    rng_init(&rng, t->spec->train.seed, RNG_STRATEGY, t->step, t->batch + i);
    for (uint32_t draw = 0; draw < 2; draw++) {
      action[draw][i] = strategy_draw(&rng, t->policy + (size_t)i * ACTIONS(t), ACTIONS(t));
      uint32_t k = MIN(t->spec->mask.k[action[draw][i]], trainer_most(t));
      trainer_compose_reward(t, i, k, &t->reward_mixes[draw * anchors + i]);
    }
  }
  int r = rewards[t->spec->mask.reward](t, t->reward_mixes, 2 * anchors, reward, err);
  if (r < 0)
    return r;
  const float entropy_weight =
      ablation_traits(t->spec->mask.ablation)->no_explore
          ? 0
          : strategy_entropy_weight(t->probe != NULL, (double)t->step / (double)t->total);
  t->sums.entropy += strategy_update(t->strategy, t->states, anchors, action[0], action[1], reward,
                                     reward + anchors, entropy_weight);
  for (uint32_t i = 0; i < 2 * anchors; i++) {
    t->sums.reward += reward[i] / (2.0 * anchors);
    const uint32_t k = mix_choice(&t->reward_mixes[i]);
    t->sums.decided[k]++;
    t->sums.rewards[k] += (double)reward[i];
  }
  t->sums.updates++;
  return 0;
}
