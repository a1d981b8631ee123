#include "core/mask/recipe.h"

/* Sequences of RNG_RECIPE: the `sample` is the image, the `step` names recipe and purpose. */
enum { STEP_CHOICE = 0, STEP_COMPOSE = 0 /* + k, from 1 */, STEP_VIEW = 64, STEPS_A_RECIPE = 128 };
_Static_assert(STEP_VIEW > MIX_MAX && STEP_VIEW + MIX_MAX * 8 + MIX_MAX <= STEPS_A_RECIPE && MIX_MAX <= 8,
               "no two purposes share a sequence");

static void sequence(uint64_t seed, uint32_t image, uint32_t recipe, uint32_t purpose, struct rng *ret_rng) {
  rng_init(ret_rng, seed, RNG_RECIPE, (uint64_t)recipe * STEPS_A_RECIPE + purpose, image);
}

void recipe_choice(uint64_t seed, uint32_t image, uint32_t recipe, struct rng *ret_rng) {
  sequence(seed, image, recipe, STEP_CHOICE, ret_rng);
}

void recipe_view(uint64_t seed, uint32_t image, uint32_t recipe, uint32_t k, uint32_t slot,
                 struct rng *ret_rng) {
  sequence(seed, image, recipe, STEP_VIEW + (slot > 0 ? k * 8 + slot : 0), ret_rng);
}

void recipe_compose(uint64_t seed, uint32_t image, uint32_t recipe, uint32_t k, float beta,
                    const struct mix_pool *pool, struct mix *ret_mix) {
  float lambda[MIX_MAX];
  struct rng rng;
  sequence(seed, image, recipe, STEP_COMPOSE + k, &rng);
  if (k == 2 && beta > 0)
    mix_draw_beta(&rng, beta, lambda);
  else
    mix_draw_lambdas(&rng, k, lambda);
  mix_compose_from(&rng, image, k, lambda, pool, ret_mix);
}
