#include "core/train/auxiliary.h"

#include <string.h>

#include "core/base/memory.h"
#include "core/mask/recipe.h"
#include "core/train/given.h"
#include "core/train/partners.h"

static bool both_kinds(const struct trainer *t) {
  uint32_t alone = 0, count = t->data.train.count;
  for (uint32_t i = 0; i < count; i++)
    alone += auxiliary_unmixed(t, i);
  return alone >= t->batch && count - alone >= t->batch;
}

int auxiliary_setup(struct trainer *t, struct guise_error *err) {
  if (!t->spec->mask.auxiliary_norm || t->spec->model.norm != ARCH_NORM_BATCH || !both_kinds(t))
    return 0;
  t->norm_count = graph_norms_size(t->graph);
  t->norms = tensor_alloc(t->norm_count * sizeof(float) + 1);
  t->kinds = tensor_alloc(((size_t)t->data.train.count + t->steps_per_epoch) * sizeof(*t->kinds));
  if (!t->norms || !t->kinds)
    return error_set(err, -ENOMEM, "out of memory for a second set of batch norms");
  graph_norms_save(t->graph, t->norms);
  return 0;
}

bool auxiliary_unmixed(const struct trainer *t, uint32_t image) {
  if (trainer_is_given(t)) {
    struct mix_label label[MIX_MAX];
    return templates_labels(t->data.templates, image, label) == 1;
  }
  if (!mask_traits(t->spec->mask.method)->chooses_k)
    return !mask_traits(t->spec->mask.method)->mixes;
  struct rng rng;
  if (t->spec->mask.recipes > 0)
    recipe_choice(t->spec->train.seed, image, trainer_recipe(t), &rng);
  else
    rng_init(&rng, t->spec->train.seed, RNG_SHUFFLE, t->epochs_done, 1 + image);
  return rng_uniform(&rng) < (float)t->spec->mask.unmixed;
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
  if (!t->norms)
    return;
  uint32_t alone = 0, mixed = 0;
  for (uint32_t i = 0; i < count; i++) {
    if (auxiliary_unmixed(t, t->order[i]))
      t->kinds[alone++] = t->order[i];
    else
      t->order[mixed++] = t->order[i]; /* behind what has been read */
  }
  memcpy(t->kinds + alone, t->order, mixed * sizeof(*t->kinds));
  lay_out(t, &rng, t->kinds, alone, t->kinds + count);
}

void auxiliary_use(struct trainer *t, bool mixed) {
  if (!t->norms || t->norms_mixed == mixed)
    return;
  graph_norms_swap(t->graph, t->norms);
  t->norms_mixed = mixed;
}

bool auxiliary_batch_mixed(const struct trainer *t, uint32_t count) {
  if (trainer_is_given(t)) {
    for (uint32_t i = 0; i < count; i++)
      if (t->label_counts[i] > 1)
        return true;
    return false;
  }
  return mask_traits(t->spec->mask.method)->mixes && auxiliary_mixed(t->mixes, count);
}

bool auxiliary_mixed(const struct mix *mixes, uint32_t count) {
  for (uint32_t i = 0; i < count; i++)
    if (mixes[i].k > 1)
      return true;
  return false;
}
