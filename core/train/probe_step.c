/* The probe within a job: it trains on mixes that the recogniser trains on, and judges those that the policy
 * might have chosen. */
#include <math.h>
#include <string.h>

#include "core/train/partners.h"

#define LEAST_EVERY 4u /* updates between two looks at what the smallest k misses */

/* Pixels of member `member` of the step's batch as they were masked. */
static const uint8_t *draw_face(struct trainer *t, uint32_t member) {
  const uint32_t size = t->data.size;
  const struct augmentation augmentation = trainer_augmentation(t);
  uint8_t *rgb = t->faces + (size_t)member * size * size * 3;
  struct rng rng;
  trainer_view(t, member, t->sample[member], &rng);
  augment_image(&augmentation, &rng, job_data_image(&t->data, t->data.train.image[t->sample[member]]), size,
                rgb);
  return rgb;
}

/* The member with the largest lambda among the faces of the batch. */
static uint32_t heaviest(const struct trainer *t, const struct mix *mix) {
  uint32_t best = 0; /* the lead is one of them */
  for (uint32_t j = 1; j < mix->k; j++)
    if (mix->member[j] < t->batch && mix->lambda[j] > mix->lambda[best])
      best = j;
  return mix->member[best];
}

/* On the end of the batch: its beginning are the anchors of the policy's updates. */
int trainer_probe_step(struct trainer *t, struct guise_error *err) {
  const uint32_t count = t->eval_batch / 2;
  const struct mix *mixes = t->mixes + (t->batch - count);
  const uint8_t *targets[count];
  double error;
  trainer_mix(t, mixes, count, probe_input(t->probe));
  for (uint32_t i = 0; i < count; i++)
    targets[i] = draw_face(t, heaviest(t, &mixes[i]));
  int r = probe_step(t->probe, targets, &error, err);
  if (r < 0)
    return r;
  t->sums.probe_error += error;
  t->sums.probe_steps++;
  return 0;
}

static int measure_leaks(struct trainer *t, const struct mix *mixes, uint32_t count, float *ret_leaks,
                         struct guise_error *err) {
  const uint8_t *faces[t->batch];
  float *mixed = graph_input_data(t->eval);
  memset(faces, 0, sizeof(faces));
  for (uint32_t i = 0; i < count; i++)
    for (uint32_t j = 0; j < mixes[i].k; j++) {
      const uint32_t member = mixes[i].member[j];
      if (member < t->batch && !faces[member])
        faces[member] = draw_face(t, member);
    }
  trainer_mix(t, mixes, count, mixed);
  return probe_leaks(t->probe, mixes, count, mixed, faces, t->identity, ret_leaks, err);
}

/* KL = cross-entropy of the soft label without margin - entropy of the label; what the recogniser misses of
 * the label for it. */
static int measure_missed(struct trainer *t, const struct mix *mixes, uint32_t count, float *ret_kl,
                          double *ret_missed, struct guise_error *err) {
  int r = trainer_mix_losses(t, mixes, count, 0, ret_kl, err);
  if (r < 0)
    return r;
  for (uint32_t i = 0; i < count; i++) {
    const double entropy = (double)(mix_label_entropy(&mixes[i]) / trainer_label_weight(&mixes[i]));
    ret_kl[i] -= (float)entropy;
    ret_missed[i] = dual_missed((double)ret_kl[i], entropy, head_classes(t->head));
  }
  return 0;
}

/* What a mix misses beyond the smallest k of the same lead, with the same numbers and at the same step. That
 * is evaluated and not remembered from decisions for that k: a policy that has all but left it makes few, and
 * an average of them would be of another time. Every so many updates, to bound what it costs; in between the
 * last mean stands for it. It is the same for both actions of an anchor, and so moves the price alone. */
static int measure_costs(struct trainer *t, const struct mix *mixes, uint32_t count, float *ret_kl,
                         double *ret_costs, struct guise_error *err) {
  const uint32_t k = MIN(t->spec->mask.k[0], trainer_most(t));
  struct mix mildest[count];
  float kl[count];
  double missed[count], sum = 0;
  int r = measure_missed(t, mixes, count, ret_kl, ret_costs, err);
  for (uint32_t i = 0; i < count; i++) {
    missed[i] = t->dual.least;
    trainer_compose_reward(t, mixes[i].member[0], k, &mildest[i]);
  }
  if (r == 0 && (uint64_t)t->dual.updates % LEAST_EVERY == 0)
    r = measure_missed(t, mildest, count, kl, missed, err);
  for (uint32_t i = 0; i < count && r == 0; i++) {
    ret_costs[i] -= missed[i];
    sum += missed[i];
  }
  t->dual.least = sum / count;
  return r;
}

/* R = (1 - leak) - mu cost */
int trainer_probe_rewards(struct trainer *t, const struct mix *mixes, uint32_t count, float *ret_rewards,
                          struct guise_error *err) {
  float leak[count], kl[count];
  double cost[count];
  double mean_cost = 0, mean_leak = 0;
  int r = measure_leaks(t, mixes, count, leak, err);
  if (r == 0)
    r = measure_costs(t, mixes, count, kl, cost, err);
  if (r < 0)
    return r;
  for (uint32_t i = 0; i < count; i++) {
    const uint32_t k = mixes[i].k;
    ret_rewards[i] = 1 - leak[i] - (float)(t->dual.mu * cost[i]);
    trainer_average(&t->difficulty.leak_person[t->identity[mixes[i].member[0]]], leak[i]);
    mean_cost += cost[i] / count;
    mean_leak += (double)leak[i] / count;
    t->sums.kl[k] += (double)kl[i];
    t->sums.leak[k] += (double)leak[i];
  }
  dual_step(&t->dual, mean_cost, mean_leak, !ablation_traits(t->spec->mask.ablation)->no_dual);
  return 0;
}
