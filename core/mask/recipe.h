/* Frozen mixes. Fresh mixes of one image can be averaged away: after T of them the signal-to-noise ratio has
 * grown like T. With R recipes an image is mixed in R ways only, and which one is used follows from the epoch
 * (epoch mod R). A recipe fixes the partners, the lambdas, and the view (shift, mirror) of every face in the
 * mix, since a mix with fresh views could be averaged again.
 *
 * Everything is a pure function of (seed, image, recipe, k), so nothing has to be saved. Each k has partners
 * and lambdas of its own: were the mix of k the first k faces of one list, then the mixes of k and of k + 1
 * would differ, up to scale, by one face alone, and subtracting them would lay it bare. */
#pragma once

#include <stdint.h>

#include "core/base/philox.h"
#include "core/mask/mixing.h"

/* Draws whether a sample stays unmixed, where samples do, and then k where a recipe fixes it. */
void recipe_choice(uint64_t seed, uint32_t image, uint32_t recipe, struct rng *ret_rng);
/* Draws of the view of the lead (slot 0; the same for each k), of partner `slot` of the mix of k, or of the
 * mix itself (slot MIX_MAX). */
void recipe_view(uint64_t seed, uint32_t image, uint32_t recipe, uint32_t k, uint32_t slot,
                 struct rng *ret_rng);
/* The mix of k of `image`, a private face of the pool: all images of the training set, then the public ones.
 * beta: lambda_0 ~ Beta(alpha, alpha) when k = 2 (mixup); 0 = |N(0,1)| draws. */
void recipe_compose(uint64_t seed, uint32_t image, uint32_t recipe, uint32_t k, float beta,
                    const struct mix_pool *pool, struct mix *ret_mix);
