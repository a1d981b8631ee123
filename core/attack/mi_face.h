/* What the attack mi_face may spend. Internal to core/attack. */
#pragma once

#include "core/attack/attack.h"

struct mi_face_budget {
  uint32_t people; /* that are drawn, at most */
  uint32_t known;  /* photographs behind the class rows, at most */
  uint32_t steps;  /* of the search, a person */
};
extern const struct mi_face_budget mi_face_budgets[]; /* by effort */

/* The attack with another budget than its effort's. */
int mi_face_run(const struct attack_context *context, const struct mi_face_budget *budget,
                struct attack_result *ret_result, struct guise_error *err);
