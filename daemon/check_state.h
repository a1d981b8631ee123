/* Looks at a state directory, whose daemon may run, and changes nothing. */
#pragma once

#include <stdio.h>

#include "core/base/base.h"

/* Writes a line for each finding: damage in the database, rows that name what is not there, files that are
 * missing or whose content is not what their row says. Then, when no daemon runs, files that nothing refers
 * to: the next start removes them, and they are no damage. *ret_damages counts the others. */
int state_check(const char *state, FILE *out, uint32_t *ret_damages, struct guise_error *err);
