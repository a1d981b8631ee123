/* What the gradient attack may spend. Internal to core/attack. */
#pragma once

#include "core/attack/attack.h"

struct gradient_budget {
  uint32_t faces; /* at most */
  uint32_t known; /* photographs behind the class rows, at most */
  uint32_t steps; /* of the search, a face */
};
extern const struct gradient_budget gradient_budgets[]; /* by effort */

/* The attack with another budget than its effort's. */
int gradient_run(const struct attack_context *context, const struct gradient_budget *budget,
                 struct attack_result *ret_result, struct guise_error *err);
