/* JSON that is whole or not there, also when memory runs out: jansson's own functions lose parts silently. */
#pragma once

#include <jansson.h>

/* As json_dumps, whose text lacks a key when the memory for it was missing (2.14). Free the text; NULL
 * without memory, or when json is NULL. */
char *json_print(const json_t *json, size_t flags);

/* RFC 8785, for hashes: sorted keys (of ASCII), numbers as doubles in their shortest form. Free the text;
 * NULL without memory, or when json is NULL. */
char *json_canonical(const json_t *json);

/* A text that json_print made, null for NULL. NULL without memory. */
json_t *json_from_text(const char *text);

/* Build up an array or object: the reference to `into` is taken and given back; the value's is taken. NULL,
 * with everything freed, when either is NULL or memory runs out. */
json_t *json_append(json_t *into, json_t *value);
json_t *json_put(json_t *into, const char *key, json_t *value);

/* A shallow copy of an object, whole; NULL without memory. */
json_t *json_clone(const json_t *object);
