/* The request target: "/v1/jobs?state=queued&limit=5" taken apart strictly.
 *
 * libmicrohttpd decodes leniently (it lets %00 and broken escapes through), so the raw target is parsed here:
 * segments are split before they are decoded, so that an encoded slash stays inside its segment. */
#pragma once

#include <stdint.h>

#include "core/base/base.h"

#define TARGET_BYTES 4096u /* longest raw target */
#define TARGET_SEGMENTS 8u
#define TARGET_QUERIES 32u

struct target {
  char *storage;                        /* decoded text, owned */
  const char *segment[TARGET_SEGMENTS]; /* of the path; "/" has one empty segment */
  uint32_t segments;
  struct {
    const char *name, *value;
  } query[TARGET_QUERIES];
  uint32_t queries;
  bool path_too_deep; /* more segments than any route has: not found */
};

/* -EINVAL: not absolute, a bad percent escape, %00 or another control byte, not UTF-8, "." or ".." segments,
 * too many query parameters; -ENAMETOOLONG; -ENOMEM. err says which. */
int target_parse(const char *raw, struct target *ret_target, struct guise_error *err);
void target_clear(struct target *target);
/* The value of a query parameter, or NULL. `index`: 0 = its first occurrence. */
const char *target_query(const struct target *target, const char *name, uint32_t index);
