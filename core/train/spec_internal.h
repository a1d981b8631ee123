/* The table of a job's fields, shared by what reads, checks and prints specifications. Internal to spec*.c.
 */
#pragma once

#include "core/train/spec.h"

enum field_type { FIELD_UINT, FIELD_INT, FIELD_NUMBER, FIELD_BOOL, FIELD_NAME, FIELD_ENUM };

struct field {
  const char *section; /* "" = top level; "holdout/pairs" = nested */
  const char *key;
  enum field_type type;
  size_t offset;
  double minimum, maximum;  /* of numbers */
  bool nullable;            /* null = the default */
  bool above;               /* the minimum itself is not allowed */
  uint32_t step;            /* integers must be multiples of this; 0 = any */
  const char *const *names; /* of enums, NULL-terminated, in the order of their values */
};

#define NO_OFFSET SIZE_MAX
#define NEGATIVES_UNSET ((enum head_negatives)99)
#define POLICY_UNSET ((enum strategy_policy)99)
#define PROTECT_DROP_DEFAULT 6u
#define SELECT_UNSET ((enum mask_select)99)
#define NORM_UNSET ((enum arch_norm)99)

extern const struct field spec_fields[];
extern const uint32_t spec_field_count;
/* Names from other modules' tables, NULL-terminated; ready after spec_fill_names(). */
extern const char *spec_attack_names[SPEC_ATTACKS_MAX + 1];
extern const char *spec_defence_names[DEFENCES + 1];
extern const char *const spec_pool_names[];
void spec_fill_names(void);
/* Whether fields of this section, or this field of the top level, belong to jobs of the type. */
bool spec_section_applies(const char *section, enum job_type type);
bool spec_field_applies(const struct field *field, enum job_type type);
/* Which members are integers of another width than uint32_t. */
bool spec_field_is_u64(const struct field *field);

/* defence.c: conflicts of a resolved job's defences with each other and with other fields. 0 or -ENOMEM. */
int defences_check(const struct job_spec *spec, struct spec_problems *problems);

/* Everything in the body but what depends on other fields; mistakes are added. 0 or -ENOMEM. */
int spec_read(const json_t *body, struct job_spec *spec, struct spec_problems *problems);
