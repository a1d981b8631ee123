/* Regional and generative in one, then mixed as ahm mixes: where a region's strength s is high, more of a
 * block comes from the generator, less from the face under regional's noise (core/mask/generator.h); then the
 * lowest coefficients are dropped, the rest standardised and clipped, and k such templates are mixed, k
 * picked by the job's policy. Reconstructed. */
#include "core/mask/generator.h"
#include "core/mask/methods.h"
#include "core/mask/regional.h"

/* The strengths come behind the generator's own. */
enum { STRENGTHS = GENERATOR_PARAMETER_COUNT };

static int setup(struct mask *mask, struct guise_error *err) {
  float strength[mask_cells(mask)];
  regional_strengths(mask->grid, mask->options.parameter + STRENGTHS, strength);
  return generator_setup(mask, strength, err);
}

static const struct mask_parameter parameters[] = {GENERATOR_PARAMETERS, REGIONAL_PARAMETERS};

const struct mask_row mask_hybrid = {
    .traits = {.name = "hybrid",
               .summary = "a generated face and a noisy one blended by region, low band dropped, clipped, k "
                          "faces mixed",
               .mixes = true,
               .chooses_k = true,
               .has_strategy = true,
               .random = true,
               .located = true,
               .weights = MASK_WEIGHTS_GENERATION,
               .needs_public = true,
               .default_drop_low = 3,
               .default_clip = 3,
               .parameters = parameters,
               .parameter_count = ARRAY_SIZE(parameters)},
    .setup = setup,
    GENERATOR_HOOKS};
