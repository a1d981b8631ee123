/* Reading JSON from strangers: capped in size and depth, duplicate keys refused. */
#pragma once

#include <jansson.h>

#include "core/base/base.h"

#define JSON_DEPTH 32u

/* An object from `bytes` of text (the caller has capped them). -EBADMSG: not JSON, a duplicate key, deeper
 * than JSON_DEPTH, or not an object; err says where. -ENOMEM. */
int json_read(const char *text, size_t bytes, json_t **ret_object, struct guise_error *err);
