/* Adaptive hybrid masking (arXiv 2403.10558): the lowest coefficients are dropped, the rest standardised and
 * clipped, and k = 2..6 such templates are mixed, k picked by the job's policy. Clipping comes before mixing:
 * without a non-linear step in between, mixing frequencies is nothing but mixing pixels. */
#include "core/mask/methods.h"

const struct mask_row mask_ahm = {
    .traits = {.name = "ahm",
               .summary = "adaptive hybrid masking: low band dropped, clipped, k faces mixed",
               .keyable = true,
               .mixes = true,
               .chooses_k = true,
               .has_strategy = true,
               .located = true,
               .selects = true,
               .default_drop_low = 3,
               .default_clip = 3}};
