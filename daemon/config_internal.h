/* What the files of the configuration share. */
#pragma once

#include <string.h>

#include "daemon/config.h"

/* NULL when there is none. */
const struct config_option *config_find_option(const char *name);
const struct config_flag *config_find_flag(const char *name);

/* Fields are reached by offset: a table cannot name them. */
static inline char *config_text(const struct config_option *option, const struct config *config) {
  return (char *)config + option->offset;
}

static inline uint64_t config_number(const struct config_option *option, const struct config *config) {
  uint64_t value;
  memcpy(&value, (const char *)config + option->offset, sizeof(value));
  return value;
}
