#include "core/base/json.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

struct text {
  char *bytes;
  size_t size, capacity;
  bool failed; /* stays: jansson goes on after a failure */
};

static int add(const char *data, size_t size, void *context) {
  struct text *text = context;
  if (!text->failed && text->size + size + 1 > text->capacity) {
    size_t capacity = 2 * (text->size + size) + 64;
    char *grown = realloc(text->bytes, capacity);
    text->failed = !grown;
    if (grown) {
      text->bytes = grown;
      text->capacity = capacity;
    }
  }
  if (text->failed)
    return -1;
  memcpy(text->bytes + text->size, data, size);
  text->size += size;
  text->bytes[text->size] = 0;
  return 0;
}

char *json_print(const json_t *json, size_t flags) {
  struct text text = {NULL, 0, 0, false};
  if (json && json_dump_callback(json, add, &text, flags) == 0 && !text.failed)
    return text.bytes;
  free(text.bytes);
  return NULL;
}

json_t *json_from_text(const char *text) {
  return text ? json_loads(text, 0, NULL) : json_null();
}

json_t *json_append(json_t *into, json_t *value) {
  if (json_array_append_new(into, value) == 0) /* takes the value in any case */
    return into;
  json_decref(into);
  return NULL;
}

json_t *json_put(json_t *into, const char *key, json_t *value) {
  if (json_object_set_new(into, key, value) == 0)
    return into;
  json_decref(into);
  return NULL;
}

json_t *json_clone(const json_t *object) {
  const char *key;
  json_t *value, *clone = json_object();
  json_object_foreach((json_t *)object, key, value) clone = json_put(clone, key, json_incref(value));
  return clone;
}
