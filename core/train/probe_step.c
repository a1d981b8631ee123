/* The probe within a job: it trains on mixes that the recogniser trains on, and judges those that the policy
 * might have chosen. */
#include <math.h>
#include <string.h>

#include "core/train/auxiliary.h"
#include "core/train/partners.h"

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
  for (uint32_t i = 0; i < count && !t->embedder; i++)
    for (uint32_t j = 0; j < mixes[i].k; j++) {
      const uint32_t member = mixes[i].member[j];
      if (member < t->batch && !faces[member])
        faces[member] = draw_face(t, member);
    }
  trainer_mix(t, mixes, count, mixed);
  const struct probe_members members = {t->sample, t->identity, faces};
  return probe_leaks(t->probe, mixes, count, mixed, &members, ret_leaks, err);
}

/* KL = cross-entropy of the soft label without margin - entropy of the label: for the record alone. */
static int record_kl(struct trainer *t, const struct mix *mixes, uint32_t count, struct guise_error *err) {
  float loss[count];
  int r = trainer_mix_losses(t, mixes, count, 0, loss, err);
  for (uint32_t i = 0; i < count && r == 0; i++) {
    const float entropy = mix_label_entropy(&mixes[i]) / trainer_label_weight(&mixes[i]);
    t->sums.kl[mix_choice(&mixes[i])] += (double)(loss[i] - entropy);
    t->sums.judged[mix_choice(&mixes[i])]++;
  }
  return r;
}

/* R = (1 - leak) - mu cost, cost = dilution of the mix: dual.h. */
int trainer_probe_rewards(struct trainer *t, const struct mix *mixes, uint32_t count, float *ret_rewards,
                          struct guise_error *err) {
  float leak[count];
  double mean_cost = 0;
  uint32_t asked = 0;
  int r = measure_leaks(t, mixes, count, leak, err);
  if (r == 0 && (uint64_t)t->sums.updates % KL_EVERY == 0)
    r = record_kl(t, mixes, count, err);
  if (r < 0)
    return r;
  for (uint32_t i = 0; i < count; i++) {
    const double cost = dual_dilution(mix_choice(&mixes[i]));
    ret_rewards[i] = 1 - leak[i] - (float)(t->dual.mu * cost);
    t->sums.leak[mix_choice(&mixes[i])] += (double)leak[i];
    if (auxiliary_unmixed(t, t->sample[mixes[i].member[0]])) /* nobody follows the decision */
      continue;
    mean_cost += cost;
    asked++;
  }
  if (asked > 0)
    dual_step(&t->dual, mean_cost / asked, !ablation_traits(t->spec->mask.ablation)->no_dual);
  return 0;
}
