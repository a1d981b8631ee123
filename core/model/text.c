#include "core/model/text.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

void text_done(struct text *text) {
  free(text->data);
  *text = (struct text){.data = NULL};
}

/* Room for `more` bytes and a NUL. */
static bool reserve(struct text *text, size_t more) {
  if (text->failed || more > TEXT_MAX || text->size + more >= TEXT_MAX) {
    text->failed = true;
    return false;
  }
  if (text->size + more + 1 <= text->capacity)
    return true;
  size_t capacity = MAX(text->capacity * 2, text->size + more + 1);
  char *data = realloc(text->data, MAX(capacity, (size_t)4096));
  if (!data) {
    text->failed = true;
    return false;
  }
  text->data = data;
  text->capacity = MAX(capacity, (size_t)4096);
  return true;
}

static void add_bytes(struct text *text, const char *bytes, size_t count) {
  if (!reserve(text, count))
    return;
  memcpy(text->data + text->size, bytes, count);
  text->size += count;
  text->data[text->size] = 0;
}

void text_add(struct text *text, const char *format, ...) {
  va_list args;
  va_start(args, format);
  int length = vsnprintf(NULL, 0, format, args);
  va_end(args);
  if (length < 0 || !reserve(text, (size_t)length)) {
    text->failed = true;
    return;
  }
  va_start(args, format);
  (void)vsnprintf(text->data + text->size, (size_t)length + 1, format, args);
  va_end(args);
  text->size += (size_t)length;
}

void text_add_html(struct text *text, const char *string) {
  for (const char *p = string; p && *p; p++) {
    const char *escaped = *p == '&'    ? "&amp;"
                          : *p == '<'  ? "&lt;"
                          : *p == '>'  ? "&gt;"
                          : *p == '"'  ? "&quot;"
                          : *p == '\'' ? "&#39;"
                                       : NULL;
    if (escaped)
      add_bytes(text, escaped, strlen(escaped));
    else
      add_bytes(text, p, 1);
  }
}

void text_add_markdown(struct text *text, const char *string) {
  for (const char *p = string; p && *p; p++) {
    if (*p == '\n' || *p == '\r') {
      add_bytes(text, " ", 1);
      continue;
    }
    if (strchr("\\`*_[]<>|#!&", *p))
      add_bytes(text, "\\", 1);
    add_bytes(text, p, 1);
  }
}

int text_take(struct text *text, char **ret_string) {
  add_bytes(text, "", 0);
  if (text->failed)
    return -ENOMEM;
  *ret_string = TAKE(text->data);
  text->size = text->capacity = 0;
  return 0;
}

json_t *json_real_or_null(double value) {
  return isfinite(value) ? json_real(value) : json_null();
}

const char *json_text_at(const json_t *object, const char *key) {
  const char *text = json_string_value(json_object_get(object, key));
  return text ? text : "";
}

double json_number_at(const json_t *object, const char *key) {
  const json_t *value = json_object_get(object, key);
  return json_is_number(value) ? json_number_value(value) : NAN;
}
