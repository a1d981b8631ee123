/* Levels of `ahm`: a user's choice of privacy, mapped to settings that were measured (docs/masking.md,
 * "Levels"). */
#pragma once

#include <jansson.h>

#include "core/train/spec.h"

/* By the name that the API gives it; NULL when name is NULL or not known. */
const struct mask_level *mask_level_find(const char *name);
/* The names, ["low", ...]. New reference. */
json_t *mask_level_names(void);
const char *mask_level_name(const struct mask_level *level);
/* Sets the defaults of spec->mask that the level has another idea of. level may be NULL. */
void mask_level_apply(const struct mask_level *level, struct job_spec *spec);
/* Of a resolved specification as the API shows it: what its level cost and gained where it was measured, or
 * null. New reference; NULL when out of memory. */
json_t *mask_level_json(const json_t *spec);
