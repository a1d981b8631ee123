/* What the linkage attack may spend. Internal to core/attack. */
#pragma once

#include "core/attack/attack.h"

struct linkage_budget {
  uint32_t victims;                       /* faces at most */
  uint32_t pairs;                         /* public faces to learn from, at most */
  uint32_t passes;                        /* over them */
  uint32_t steps;                         /* at most; 0 = as the passes take */
  bool from_scratch;                      /* the student never begins with the teacher's weights */
  uint32_t scratch_pairs, scratch_passes; /* of students that cannot; 0 = as all */
};
extern const struct linkage_budget linkage_budgets[]; /* by effort */

/* The attack with another budget than its effort's. */
int linkage_run(const struct attack_context *context, const struct linkage_budget *budget,
                struct attack_result *ret_result, struct guise_error *err);
