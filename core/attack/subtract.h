/* Taking known decoys out of the templates of one face. Internal to core/attack. */
#pragma once

#include "core/mask/decoys.h"

/* mixes: (decoys->mixes, elements), all templates x_t = lambda_t z + sum_d w_td z_d of one face, as sent;
 * spent. Known are the decoys z_d and how weights are drawn, not the weights. ret_template: the estimate of
 * z. Returns the estimate of lambda_0, the face's share in the first mix. Deterministic. */
double subtract_decoys(const struct decoys *decoys, float *mixes, float *ret_template);
