#include "core/train/weights.h"

#include <math.h>

#include "core/base/memory.h"
#include "core/train/budget.h"
#include "core/train/generation.h"
#include "core/train/learnt.h"
#include "core/train/preparation.h"
#include "core/train/subtraction.h"

static int (*const trainings[MASK_WEIGHTS])(struct trainer *trainer, float *ret_weights,
                                            struct guise_error *err) = {
    [MASK_WEIGHTS_SUBTRACTION] = subtraction_train,
    [MASK_WEIGHTS_GENERATION] = generation_train,
    [MASK_WEIGHTS_BUDGETS] = budget_train};

static bool are_weights(const float *values, uint64_t count) {
  for (uint64_t i = 0; i < count; i++)
    if (!isfinite(values[i]))
      return false;
  return true;
}

uint64_t weights_steps(const struct trainer *t) {
  const struct mask_options options = job_spec_mask(t->spec);
  if (mask_weight_count(&options) == 0)
    return 0;
  return preparation_steps(t, mask_traits(options.method)->needs_public ? &t->open : &t->data);
}

int weights_learn(struct trainer *t, const struct job_inputs *inputs, struct guise_error *err) {
  const struct mask_options options = job_spec_mask(t->spec);
  t->weight_count = mask_weight_count(&options);
  t->weights = tensor_alloc(t->weight_count * sizeof(float));
  if (!t->weights)
    return error_set(err, -ENOMEM, "out of memory for the weights of a mask");
  return learnt_fetch(t, inputs,
                      &(struct learnt){TRAINER_WEIGHTS, JOB_WEIGHTS_FILE, t->weights, t->weight_count,
                                       are_weights, trainings[mask_traits(options.method)->weights]},
                      err);
}
