#include "api/json.h"

/* jansson's own limit is 2,048 levels, each a stack frame; ours is checked before it parses. */
static bool is_deep(const char *text, size_t bytes) {
  unsigned depth = 0;
  bool quoted = false;
  for (size_t i = 0; i < bytes; i++) {
    char c = text[i];
    if (quoted) {
      if (c == '\\')
        i++;
      else if (c == '"')
        quoted = false;
    } else if (c == '"')
      quoted = true;
    else if ((c == '{' || c == '[') && ++depth > JSON_DEPTH)
      return true;
    else if ((c == '}' || c == ']') && depth > 0)
      depth--;
  }
  return false;
}

int json_read(const char *text, size_t bytes, json_t **ret_object, struct guise_error *err) {
  json_error_t error;
  if (is_deep(text, bytes))
    return error_set(err, -EBADMSG, "the JSON is nested deeper than %u levels", JSON_DEPTH);
  json_t *value = json_loadb(text ? text : "", bytes, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &error);
  /* a place is told of every mistake in the text; without one jansson ran out of memory before it read any */
  if (!value && (error.line < 0 || json_error_code(&error) == json_error_out_of_memory))
    return error_set(err, -ENOMEM, "out of memory");
  if (!value)
    return error_set(err, -EBADMSG, "line %d, column %d: %s", error.line, error.column, error.text);
  if (!json_is_object(value)) {
    json_decref(value);
    return error_set(err, -EBADMSG, "the body must be a JSON object");
  }
  *ret_object = value;
  return 0;
}
