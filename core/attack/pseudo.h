/* Pseudo-labels: which public faces the attacked network takes most readily for each of its people. Internal
 * to core/attack. */
#pragma once

#include "core/attack/inversion.h"

/* ret_faces, (count, most): the `most` faces whose logit of class wanted[i] is highest, best first, equal
 * ones in their order; most <= faces->count. A face may stand for several people. faces: of the size that
 * inverted->mask sees. -ECANCELED, -ENOMEM. */
int pseudo_label(const struct inverted *inverted, const struct face_sample *faces, const uint32_t *wanted,
                 uint32_t count, uint32_t most, uint32_t *ret_faces, struct guise_error *err);
