#include "core/train/auxiliary.h"

#include <stdlib.h>
#include <string.h>

#include "core/base/memory.h"
#include "core/mask/recipe.h"
#include "core/train/given.h"
#include "core/train/partners.h"

#define SHARE_LEAST 16u /* one in so many images is enough for norms of their own */

/* Where a person stands among those who may stay unmixed, 0..1. */
static float standing(const struct trainer *t, uint32_t person) {
  return ((float)t->rank[person] + 0.5f) / (float)t->data.train.identities;
}

bool auxiliary_spared(const struct trainer *t, uint32_t person) {
  return t->spec->mask.unmixed_by == UNMIXED_PEOPLE && standing(t, person) < (float)t->spec->mask.unmixed;
}

static bool is_spared(const struct trainer *t, uint32_t image) {
  const uint32_t person = t->data.train.identity[image];
  struct rng rng;
  if (t->spec->mask.unmixed_by == UNMIXED_PEOPLE)
    return auxiliary_spared(t, person);
  if (t->spec->mask.recipes > 0)
    recipe_choice(t->spec->train.seed, image, trainer_recipe(t), &rng);
  else
    rng_init(&rng, t->spec->train.seed, RNG_SHUFFLE, t->epochs_done, 1 + image);
  return rng_uniform(&rng) < (float)t->spec->mask.unmixed;
}

/* P(k = 1) of a policy that nobody has asked yet. */
static float alone_at_first(const struct job_spec *spec) {
  double total = 0;
  if (spec->mask.policy != POLICY_FIXED)
    return 1 / (float)spec->mask.k_count;
  for (uint32_t a = 0; a < spec->mask.k_count; a++)
    total += spec->mask.probability[a];
  return (float)(spec->mask.probability[0] / total);
}

static bool may_leave(const struct job_spec *spec) {
  return spec->mask.k_count > 1 && spec->mask.k[0] == 1;
}

/* Not with frozen mixes: there the choice is a sample's and not a person's. */
static bool policy_leaves_some(const struct trainer *t) {
  return mask_traits(t->spec->mask.method)->chooses_k && !trainer_is_given(t) && t->spec->mask.recipes == 0 &&
         may_leave(t->spec);
}

struct standing_in {
  uint32_t person, drawn;
  float alike;
};

static int compare_alike(const void *a, const void *b) {
  const struct standing_in *x = a, *y = b;
  return x->alike != y->alike ? (x->alike > y->alike) - (x->alike < y->alike)
                              : (x->drawn > y->drawn) - (x->drawn < y->drawn);
}

/* Who is hardest to find by their own photographs loses least by staying unmixed, and stands first. */
static int rank_by_alike(struct trainer *t, struct guise_error *err) {
  const uint32_t people = t->data.train.identities;
  struct standing_in *all = malloc(people * sizeof(*all) + 1);
  if (!all)
    return error_set(err, -ENOMEM, "out of memory for who stays unmixed");
  for (uint32_t p = 0; p < people; p++)
    all[p] = (struct standing_in){p, t->rank[p], probe_alike(t->probe, p)};
  qsort(all, people, sizeof(*all), compare_alike);
  for (uint32_t i = 0; i < people; i++)
    t->rank[all[i].person] = i;
  free(all);
  return 0;
}

static int rank_people(struct trainer *t, struct guise_error *err) {
  const uint32_t people = t->data.train.identities;
  struct rng rng;
  t->rank = tensor_alloc(people * sizeof(*t->rank) + 1);
  if (t->rank && policy_leaves_some(t)) {
    t->alone = tensor_alloc(people * sizeof(*t->alone) + 1);
    t->left = tensor_alloc(people * sizeof(*t->left) + 1);
  }
  if (!t->rank || (policy_leaves_some(t) && (!t->alone || !t->left)))
    return error_set(err, -ENOMEM, "out of memory for who stays unmixed");
  rng_init(&rng, t->spec->train.seed, RNG_UNMIXED, 0, 0);
  rng_permutation(&rng, t->rank, people);
  for (uint32_t p = 0; t->left && p < people; p++) {
    t->alone[p] = alone_at_first(t->spec);
    t->left[p] = 0;
  }
  return t->probe && !ablation_traits(t->spec->mask.ablation)->marginal ? rank_by_alike(t, err) : 0;
}

void auxiliary_begin_bounded(struct trainer *t) {
  if (!t->strategy || !may_leave(t->spec))
    return;
  strategy_begin(t->strategy, (float)DUAL_ALONE_BOUND);
  for (uint32_t p = 0; t->left && p < t->data.train.identities; p++)
    t->alone[p] = (float)DUAL_ALONE_BOUND;
}

/* Whether `alone` unmixed images of an epoch, and the others, are enough for batches and norms of their own:
 * a set of norms that hardly any batch moves falls behind the weights. */
static bool are_enough(const struct trainer *t, uint32_t alone) {
  const uint32_t count = t->data.train.count, least = MAX(t->batch, count / SHARE_LEAST);
  return alone >= least && count - alone >= least;
}

static bool stays_alone(const struct trainer *t, uint32_t image) {
  return auxiliary_unmixed(t, image) || auxiliary_left(t, image);
}

static uint32_t count_alone(const struct trainer *t) {
  uint32_t alone = 0;
  for (uint32_t i = 0; i < t->data.train.count; i++)
    alone += stays_alone(t, i);
  return alone;
}

static bool both_kinds(const struct trainer *t) {
  const uint32_t half = t->data.train.count / 2;
  return are_enough(t, t->left ? half : count_alone(t));
}

int auxiliary_setup(struct trainer *t, struct guise_error *err) {
  int r = rank_people(t, err);
  if (r < 0 || !t->spec->mask.auxiliary_norm || t->spec->model.norm != ARCH_NORM_BATCH || !both_kinds(t))
    return r;
  t->norm_count = graph_norms_size(t->graph);
  t->norms = tensor_alloc(t->norm_count * sizeof(float) + 1);
  t->kinds = tensor_alloc(((size_t)t->data.train.count + t->steps_per_epoch) * sizeof(*t->kinds));
  if (!t->norms || !t->kinds)
    return error_set(err, -ENOMEM, "out of memory for a second set of batch norms");
  graph_norms_save(t->graph, t->norms);
  return 0;
}

bool auxiliary_unmixed(const struct trainer *t, uint32_t image) {
  if (trainer_is_given(t))
    return given_is_plain(t, image);
  if (!mask_traits(t->spec->mask.method)->chooses_k)
    return !mask_traits(t->spec->mask.method)->mixes;
  return is_spared(t, image);
}

bool auxiliary_left(const struct trainer *t, uint32_t image) {
  return t->left && t->left[t->data.train.identity[image]] > 0;
}

void auxiliary_asked(struct trainer *t, uint32_t image, float alone) {
  if (t->left)
    trainer_average(&t->alone[t->data.train.identity[image]], alone);
}

/* Of samples some are spared, of people those that stand first: the policy leaves the next. */
static void leave_people(struct trainer *t) {
  const float spared = t->spec->mask.unmixed_by == UNMIXED_PEOPLE ? (float)t->spec->mask.unmixed : 0;
  const bool begins = t->step == (uint64_t)t->epochs_done * t->steps_per_epoch; /* else: from a checkpoint */
  for (uint32_t p = 0; t->left && begins && p < t->data.train.identities; p++)
    t->left[p] = standing(t, p) >= spared && standing(t, p) - spared < (1 - spared) * t->alone[p];
}

/* `from` has the unmixed images first; place: room for the epoch's batches. Whole batches of them and of the
 * others go to places that are drawn; what is left of both fills the last batch, if it fills one. */
static void lay_out(struct trainer *t, struct rng *rng, const uint32_t *from, uint32_t alone,
                    uint32_t *place) {
  const uint32_t batch = t->batch, batches = t->steps_per_epoch, count = t->data.train.count;
  const uint32_t whole = alone / batch, rest = alone % batch;
  rng_permutation(rng, place, batches);
  uint32_t next = alone, left = whole * batch; /* of the mixed, and of what has no batch of its own */
  for (uint32_t b = 0; b < batches; b++) {
    uint32_t *to = t->order + (size_t)place[b] * batch;
    if (b < whole)
      memcpy(to, from + (size_t)b * batch, batch * sizeof(*to));
    else if (count - next >= batch) {
      memcpy(to, from + next, batch * sizeof(*to));
      next += batch;
    } else {
      memcpy(to, from + left, rest * sizeof(*to));
      memcpy(to + rest, from + next, (batch - rest) * sizeof(*to));
      next += batch - rest;
      left += rest;
    }
  }
  uint32_t *unused = t->order + (size_t)batches * batch;
  memcpy(unused, from + left, (alone - left) * sizeof(*unused));
  memcpy(unused + (alone - left), from + next, (count - next) * sizeof(*unused));
}

void auxiliary_order(struct trainer *t) {
  const uint32_t count = t->data.train.count;
  struct rng rng;
  rng_init(&rng, t->spec->train.seed, RNG_SHUFFLE, t->epochs_done, 0);
  rng_permutation(&rng, t->order, count);
  leave_people(t);
  if (!t->norms)
    return;
  const uint32_t all = count_alone(t);
  if (!are_enough(t, all)) {
    if (t->apart > 0 && all < count - all) /* those of the few fall behind: all share those of the many */
      graph_norms_swap(t->graph, t->norms);
    t->apart = 0;
    return;
  }
  uint32_t alone = 0, mixed = 0;
  for (uint32_t i = 0; i < count; i++) {
    if (stays_alone(t, t->order[i]))
      t->kinds[alone++] = t->order[i];
    else
      t->order[mixed++] = t->order[i]; /* behind what has been read */
  }
  memcpy(t->kinds + alone, t->order, mixed * sizeof(*t->kinds));
  lay_out(t, &rng, t->kinds, alone, t->kinds + count);
  if (t->apart == 0) {
    graph_norms_save(t->graph, t->norms); /* both sets begin as the one that all had */
    t->apart = 1;
  }
}

void auxiliary_use(struct trainer *t, bool mixed) {
  if (!auxiliary_is_apart(t) || t->norms_mixed == mixed)
    return;
  graph_norms_swap(t->graph, t->norms);
  t->norms_mixed = mixed;
}

bool auxiliary_batch_mixed(const struct trainer *t, uint32_t count) {
  if (trainer_is_given(t)) {
    for (uint32_t i = 0; i < count; i++)
      if (!given_is_plain(t, t->sample[i]))
        return true;
    return false;
  }
  return mask_traits(t->spec->mask.method)->mixes && auxiliary_count_mixed(t->mixes, count) > 0;
}

uint32_t auxiliary_count_mixed(const struct mix *mixes, uint32_t count) {
  uint32_t mixed = 0;
  for (uint32_t i = 0; i < count; i++)
    mixed += !mix_is_plain(&mixes[i]);
  return mixed;
}

bool auxiliary_is_apart(const struct trainer *t) {
  return t->norms && t->apart > 0;
}
