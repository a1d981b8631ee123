/* How many faces each sample mixes. During the warm-up of the margin k is 2; afterwards it is drawn by the
 * job's policy. The learned policy is updated every fourth recognition step on a quarter of the batch, with
 * the reward of the job. */
#include <math.h>
#include <string.h>

#include "core/mask/recipe.h"
#include "core/train/partners.h"

#define ACTIONS(t) ((t)->spec->mask.k_count)
#define WEIGHT_LEAST 1e-6f

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
        .log_images = 0.3f * logf((float)t->data.images_of[t->identity[i]]),
        .progress = (float)((double)t->step / (double)t->total),
    };
    strategy_state(t->strategy, t->templates + i * elements, cells, &context, t->states + i * size);
  }
}

/* k of one mixed sample. */
static uint32_t draw_k(const struct trainer *t, struct rng *rng, uint32_t sample) {
  const uint32_t *k = t->spec->mask.k;
  switch (t->spec->mask.policy) {
  case POLICY_FIXED:
    return k[0];
  case POLICY_UNIFORM:
    return k[rng_below(rng, ACTIONS(t))];
  case POLICY_LEARNED:
    break;
  }
  return k[strategy_draw(rng, t->policy + (size_t)sample * ACTIONS(t), ACTIONS(t))];
}

/* Faces in sample `sample`. Recipes fix whether it is mixed and, but for a learned policy, its k; then there
 * is no warm-up, since the k of the warm-up would be one more mix of each image. */
static uint32_t choose_k(const struct trainer *t, uint32_t sample) {
  const bool frozen = t->spec->mask.recipes > 0;
  struct rng rng;
  if (frozen)
    recipe_choice(t->spec->train.seed, t->sample[sample], trainer_recipe(t), &rng);
  else
    rng_init(&rng, t->spec->train.seed, RNG_STRATEGY, t->step, sample);
  if (rng_uniform(&rng) < (float)t->spec->mask.unmixed)
    return 1;
  if (frozen && !t->strategy)
    return draw_k(t, &rng, sample);
  if (frozen)
    rng_init(&rng, t->spec->train.seed, RNG_STRATEGY, t->step, sample);
  return trainer_in_warmup(t) ? 2 : draw_k(t, &rng, sample);
}

int trainer_choose_k(struct trainer *t, uint32_t *ret_k) {
  bool strategic = mask_traits(t->spec->mask.method)->has_strategy;
  if (t->strategy) {
    fill_states(t);
    strategy_policy(t->strategy, t->states, t->batch, t->policy);
    for (uint32_t i = 0; i < t->batch; i++)
      for (uint32_t a = 0; a < ACTIONS(t); a++)
        t->sums.policy[a] += t->policy[(size_t)i * ACTIONS(t) + a];
    t->sums.decisions += t->batch;
  }
  const uint32_t most = trainer_most(t);
  for (uint32_t i = 0; i < t->batch; i++) {
    ret_k[i] = strategic ? choose_k(t, i) : 2;
    ret_k[i] = MIN(ret_k[i], most);
  }
  return 0;
}

/* The seam of the rewards. "paper": the detached recognition loss of each mix, so what makes recognition hard
 * is rewarded; a unit of label, so that public faces, which have none, make no reward smaller. A soft label's
 * cross-entropy has a floor that grows with k, which is why this reward collapses to the largest k. */
static int paper_rewards(struct trainer *t, const struct mix *mixes, uint32_t count, float *ret_rewards,
                         struct guise_error *err) {
  struct head_options head = {.scale = (float)t->spec->train.scale,
                              .margin = (float)t->spec->train.margin,
                              .negatives = HEAD_NEGATIVES_ALL};
  struct head_label labels[count * MIX_MAX];
  uint32_t counts[count];
  trainer_mix(t, mixes, count, graph_input_data(t->eval));
  int r = graph_copy_parameters(t->eval, t->graph, err);
  if (r == 0)
    r = graph_forward(t->eval, GRAPH_EVAL, t->step, err);
  if (r < 0)
    return r;
  trainer_labels(mixes, count, labels, counts);
  head_losses(t->head, &head, graph_output_data(t->eval), count, labels, MIX_MAX, counts, ret_rewards);
  for (uint32_t i = 0; i < count; i++)
    ret_rewards[i] /= fmaxf(mix_label_sum(&mixes[i]), WEIGHT_LEAST);
  return 0;
}

int trainer_strategy_step(struct trainer *t, struct guise_error *err) {
  uint32_t anchors = t->eval_batch / 2;
  uint32_t action[2][anchors];
  float reward[2 * anchors];
  for (uint32_t i = 0; i < anchors; i++) {
    struct rng rng; /* sample numbers behind the batch's own: no draw is used twice */
    rng_init(&rng, t->spec->train.seed, RNG_STRATEGY, t->step, t->batch + i);
    for (uint32_t draw = 0; draw < 2; draw++) {
      action[draw][i] = strategy_draw(&rng, t->policy + (size_t)i * ACTIONS(t), ACTIONS(t));
      uint32_t k = MIN(t->spec->mask.k[action[draw][i]], trainer_most(t));
      trainer_compose(t, &rng, i, k, &t->reward_mixes[draw * anchors + i]);
    }
  }
  int r = paper_rewards(t, t->reward_mixes, 2 * anchors, reward, err);
  if (r < 0)
    return r;
  double progress = (double)t->step / (double)t->total;
  float entropy_weight = (float)(0.02 + (0.002 - 0.02) * progress);
  t->sums.entropy += strategy_update(t->strategy, t->states, anchors, action[0], action[1], reward,
                                     reward + anchors, entropy_weight);
  for (uint32_t i = 0; i < 2 * anchors; i++)
    t->sums.reward += reward[i] / (2.0 * anchors);
  t->sums.updates++;
  return 0;
}
