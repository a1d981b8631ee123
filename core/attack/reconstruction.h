/* What the reconstruction attack may spend. Internal to core/attack. */
#pragma once

#include "core/attack/attack.h"

struct reconstruction_budget {
  uint32_t victims; /* faces at most */
  uint32_t pairs;   /* public faces to learn from, at most */
  uint32_t passes;  /* over them */
  uint32_t steps;   /* at most; 0 = as the passes take */
  uint32_t width;   /* of the network */
};
extern const struct reconstruction_budget reconstruction_budgets[]; /* by effort */

/* The attack with another budget than its effort's. */
int reconstruction_run(const struct attack_context *context, const struct reconstruction_budget *budget,
                       struct attack_result *ret_result, struct guise_error *err);
