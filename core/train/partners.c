#include "core/train/partners.h"

#include <omp.h>
#include <stdio.h>
#include <string.h>

#include "core/base/memory.h"
#include "core/mask/decoys.h"
#include "core/mask/recipe.h"

/* ---- public faces and decoys ---- */

int trainer_open_public(struct trainer *t, const struct job_inputs *inputs, struct guise_error *err) {
  struct guise_error cause = {0};
  const struct mask_traits *traits = mask_traits(t->spec->mask.method);
  const bool partners = traits->mixes && t->spec->mask.pool != MIX_POOL_PRIVATE;
  if (!job_spec_public_pictures(t->spec))
    return 0;
  if (!inputs->public_pack)
    return error_set(err, -EINVAL, "the job needs public faces: name a data set in mask.public_dataset");
  int r = job_data_open_for(t->callbacks, inputs->public_pack, t->data.size, NULL, &t->open, &cause);
  if (r < 0)
    return error_set(err, r, "mask.public_dataset: %s", cause.text);
  if (!partners)
    return 0;
  t->open_order = tensor_alloc(sizeof(*t->open_order) * t->open.train.count);
  t->open_pass = UINT64_MAX;
  return t->open_order ? 0 : error_set(err, -ENOMEM, "out of memory for the public faces");
}

static const uint8_t *public_image(const struct trainer *t, uint32_t i) {
  return job_data_image(&t->open, t->open.train.image[i]);
}

static void make_decoy(const struct trainer *t, uint32_t face, float *scratch, float *ret_template) {
  struct rng rng;
  mask_rng_inference(&rng, face);
  mask_template(t->mask, public_image(t, face), false, &rng, scratch, ret_template);
}

int trainer_set_decoys(struct trainer *t, struct guise_error *err) {
  const uint32_t count = t->spec->mask.decoys;
  uint32_t chosen[DECOYS_MAX];
  struct decoys *decoys = NULL;
  if (count == 0)
    return 0;
  const size_t elements = mask_elements(t->mask);
  int r = decoys_choose(t->spec->train.seed, t->open.train.identity, t->open.train.count,
                        t->open.train.identities, count, chosen, err);
  if (r < 0)
    return r;
  float *templates = tensor_alloc(count * elements * sizeof(float)),
        *scratch = tensor_alloc(mask_scratch(t->mask) * sizeof(float));
  r = templates && scratch ? 0 : error_set(err, -ENOMEM, "out of memory for %u decoys", count);
  for (uint32_t d = 0; d < count && r == 0; d++)
    make_decoy(t, chosen[d], scratch, templates + d * elements);
  if (r == 0)
    r = decoys_new(count, DECOY_MIXES, elements, templates, &decoys, err);
  tensor_free(templates);
  tensor_free(scratch);
  return r < 0 ? r : mask_set_decoys(t->mask, decoys, err);
}

/* ---- the pool ---- */

uint32_t trainer_recipe(const struct trainer *t) {
  return t->spec->mask.recipes > 0 ? t->epochs_done % t->spec->mask.recipes : UINT32_MAX;
}

static bool frozen(const struct trainer *t) {
  return t->spec->mask.recipes > 0;
}

uint32_t trainer_step_publics(const struct trainer *t) {
  return t->open_order && !frozen(t) ? MIN(t->batch, t->open.train.count) : 0;
}

static struct mix_pool pool_of(const struct trainer *t) {
  const enum mix_pool_kind kind = t->spec->mask.pool;
  if (frozen(t))
    return (struct mix_pool){kind, t->data.train.identity, t->data.train.count,
                             t->open_order ? t->open.train.count : 0};
  return (struct mix_pool){kind, t->identity, t->batch, trainer_step_publics(t)};
}

uint32_t trainer_most(const struct trainer *t) {
  const struct mix_pool pool = pool_of(t);
  return mix_pool_most(&pool);
}

void trainer_compose(struct trainer *t, struct rng *rng, uint32_t lead, uint32_t k, struct mix *ret_mix) {
  const bool beta = !mask_traits(t->spec->mask.method)->chooses_k; /* mixup */
  const struct mix_pool pool = pool_of(t);
  const struct mix_protection protection = job_spec_protection(t->spec);
  const uint32_t faces = mix_size(&protection, k);
  float lambda[MIX_MAX];
  if (frozen(t)) {
    recipe_compose(t->spec->train.seed, t->sample[lead], trainer_recipe(t), faces, beta ? MIX_ALPHA : 0,
                   &pool, ret_mix);
    ret_mix->member[0] = lead;
    for (uint32_t j = 1; j < faces; j++)
      ret_mix->member[j] += t->batch;
  } else {
    if (faces == 2 && beta)
      mix_draw_beta(rng, MIX_ALPHA, lambda);
    else
      mix_draw_lambdas(rng, faces, lambda);
    mix_compose_from(rng, lead, faces, lambda, &pool, ret_mix);
  }
  ret_mix->drop = mix_drop(&protection, k);
}

/* Sample numbers behind those of the batch, of its actions and of the ablation's order: strategy_step.c. */
void trainer_compose_reward(struct trainer *t, uint32_t lead, uint32_t k, struct mix *ret_mix) {
  const struct mix_pool pool = pool_of(t);
  const struct mix_protection protection = job_spec_protection(t->spec);
  const uint32_t faces = mix_size(&protection, k);
  struct rng lambdas, partners;
  float lambda[MIX_MAX];
  if (frozen(t)) {
    trainer_compose(t, NULL, lead, k, ret_mix);
    return;
  }
  rng_init(&lambdas, t->spec->train.seed, RNG_STRATEGY, t->step, 3 * t->batch + lead);
  rng_init(&partners, t->spec->train.seed, RNG_STRATEGY, t->step, 4 * t->batch + lead);
  mix_draw_common_lambdas(&lambdas, faces, lambda);
  mix_compose_from(&partners, lead, faces, lambda, &pool, ret_mix);
  ret_mix->drop = mix_drop(&protection, k);
}

/* ---- templates ---- */

/* An image as a template: viewed with draws from rng, masked in the calling thread's scratch memory. */
static void make_template(const struct trainer *t, const uint8_t *rgb, struct rng *rng, float *ret_template) {
  const size_t thread = (size_t)omp_get_thread_num(), pixels = (size_t)t->data.size * t->data.size * 3;
  const struct augmentation augmentation = trainer_augmentation(t);
  augment_template(t->mask, &augmentation, rng, rgb, t->shifted + thread * pixels,
                   t->scratch + thread * mask_scratch(t->mask), ret_template);
}

void trainer_view(const struct trainer *t, uint32_t i, uint32_t image, struct rng *ret_rng) {
  if (frozen(t) && mask_traits(t->spec->mask.method)->mixes)
    recipe_view(t->spec->train.seed, image, trainer_recipe(t), 0, 0, ret_rng);
  else
    rng_init(ret_rng, t->spec->train.seed, RNG_AUGMENT, t->step, trainer_draw(t, i, image));
}

void trainer_after_mix(const struct trainer *t, uint32_t i, struct rng *ret_rng) {
  if (frozen(t))
    recipe_view(t->spec->train.seed, t->sample[i], trainer_recipe(t), t->mixes[i].k, MIX_MAX, ret_rng);
  else
    rng_init(ret_rng, t->spec->train.seed, RNG_AFTER_MIX, t->step, trainer_draw(t, i, t->sample[i]));
}

/* The step's public faces: the public set in a seeded order, a new order each time it has been gone through.
 */
void trainer_public_templates(struct trainer *t) {
  const uint32_t publics = trainer_step_publics(t);
  const size_t elements = mask_elements(t->mask);
  if (publics == 0)
    return;
  const uint32_t steps = t->open.train.count / publics;
  const uint64_t pass = t->step / steps;
  if (pass != t->open_pass) {
    struct rng rng;
    rng_init(&rng, t->spec->train.seed, RNG_POOL, pass, 0);
    rng_permutation(&rng, t->open_order, t->open.train.count);
    t->open_pass = pass;
  }
  const uint32_t *order = t->open_order + (size_t)(t->step % steps) * publics;
#pragma omp parallel for schedule(static)
  for (uint32_t i = 0; i < publics; i++) {
    struct rng rng; /* sample numbers behind the batch's own */
    rng_init(&rng, t->spec->train.seed, RNG_AUGMENT, t->step, t->batch + i);
    make_template(t, public_image(t, order[i]), &rng, t->templates + (t->batch + i) * elements);
  }
}

static void add_scaled(float *restrict sum, const float *restrict part, float scale, size_t count) {
  for (size_t e = 0; e < count; e++)
    sum[e] += scale * part[e];
}

/* A recipe's mix: partners are masked one by one into the thread's template. */
static void mix_frozen(struct trainer *t, const struct mix *mix, float *ret_mixed) {
  const size_t elements = mask_elements(t->mask);
  const uint32_t privates = t->data.train.count;
  const float *lead = t->templates + mix->member[0] * elements;
  float *part = t->partner + (size_t)omp_get_thread_num() * elements;
  for (size_t e = 0; e < elements; e++)
    ret_mixed[e] = mix->lambda[0] * lead[e];
  for (uint32_t j = 1; j < mix->k; j++) {
    const uint32_t number = mix->member[j] - t->batch;
    const uint8_t *rgb = number < privates ? job_data_image(&t->data, t->data.train.image[number])
                                           : public_image(t, number - privates);
    struct rng rng;
    recipe_view(t->spec->train.seed, t->sample[mix->member[0]], trainer_recipe(t), mix->k, j, &rng);
    make_template(t, rgb, &rng, part);
    add_scaled(ret_mixed, part, mix->lambda[j], elements);
  }
}

void trainer_mix(struct trainer *t, const struct mix *mixes, uint32_t count, float *ret_mixed) {
  const size_t elements = mask_elements(t->mask);
  if (!frozen(t))
    mix_templates(mixes, count, t->templates, elements, ret_mixed);
#pragma omp parallel for schedule(dynamic)
  for (uint32_t i = 0; i < count; i++) {
    if (frozen(t))
      mix_frozen(t, &mixes[i], ret_mixed + i * elements);
    mask_lower(t->mask, mixes[i].drop, ret_mixed + i * elements);
  }
}
