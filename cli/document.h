/* JSON documents that a user writes: reading them, and setting values in them by JSON pointer (RFC 6901). */
#pragma once

#include <jansson.h>

#include "core/base/base.h"

/* Reads a JSON object from a file, or from standard input when it is "-" (1 MiB at most). Free *ret_document.
 * -EINVAL with err. */
int document_load(const char *file, json_t **ret_document, struct guise_error *err);

/* Sets the value at `pointer` ("/train/batch"), making objects on the way. Steals value. -EINVAL when
 * something on the way is no object, -ENOMEM. */
int pointer_set(json_t *root, const char *pointer, json_t *value);
/* What stands at `pointer`, borrowed; NULL = nothing, or the way leads through something that is no object.
 */
json_t *pointer_get(const json_t *root, const char *pointer);
/* pointer + "/" + key with "~" and "/" of the key escaped. NULL when out of memory; free it. */
char *pointer_append(const char *pointer, const char *key);
