#include "cli/document.h"

#include <stdio.h>
#include <string.h>

#define DOCUMENT_LIMIT ((size_t)1 << 20)

static json_t *read_stdin(json_error_t *error) {
  _cleanup_(freep) char *text = malloc(DOCUMENT_LIMIT);
  size_t size = text ? fread(text, 1, DOCUMENT_LIMIT, stdin) : 0;
  if (!text || size == DOCUMENT_LIMIT) {
    (void)snprintf(error->text, sizeof(error->text), "larger than 1 MiB");
    return NULL;
  }
  return json_loadb(text, size, JSON_REJECT_DUPLICATES, error);
}

int document_load(const char *file, json_t **ret_document, struct guise_error *err) {
  json_error_t error = {.line = -1};
  json_t *document =
      strcmp(file, "-") == 0 ? read_stdin(&error) : json_load_file(file, JSON_REJECT_DUPLICATES, &error);
  if (!document && error.line > 0)
    return error_set(err, -EINVAL, "%s is no valid JSON: line %d: %s", file, error.line, error.text);
  if (!document)
    return error_set(err, -EINVAL, "cannot read %s: %s", file, error.text);
  if (!json_is_object(document)) {
    json_decref(document);
    return error_set(err, -EINVAL, "%s must hold a JSON object", file);
  }
  *ret_document = document;
  return 0;
}

/* RFC 6901: "~1" is a slash, "~0" a tilde. In place. */
static void unescape(char *token) {
  char *to = token;
  for (const char *from = token; *from; from++) {
    bool escaped = from[0] == '~' && (from[1] == '0' || from[1] == '1');
    *to++ = !escaped ? *from : from[1] == '1' ? '/' : '~';
    from += escaped;
  }
  *to = 0;
}

int pointer_set(json_t *root, const char *pointer, json_t *value) {
  _cleanup_(freep) char *copy = strdup(pointer);
  json_t *object = root;
  char *rest = copy;
  int r = copy && *pointer == '/' && pointer[1] ? 0 : -EINVAL;
  while (r == 0) {
    char *token = ++rest;
    rest = strchr(token, '/');
    if (rest)
      *rest = 0;
    unescape(token);
    if (!rest)
      return json_object_set_new(object, token, value) < 0 ? -EINVAL : 0;
    json_t *child = json_object_get(object, token);
    if (!child || json_is_null(child)) {
      child = json_object();
      r = json_object_set_new(object, token, child) < 0 ? -ENOMEM : 0;
    }
    if (!json_is_object(child))
      r = -EINVAL;
    object = child;
  }
  json_decref(value);
  return r;
}

json_t *pointer_get(const json_t *root, const char *pointer) {
  _cleanup_(freep) char *copy = strdup(pointer);
  json_t *value = (json_t *)root;
  for (char *rest = copy && *copy == '/' ? copy : NULL; rest && value;) {
    char *token = ++rest;
    rest = strchr(token, '/');
    if (rest)
      *rest = 0;
    unescape(token);
    value = json_object_get(value, token);
  }
  return copy && *pointer == '/' ? value : NULL;
}

char *pointer_append(const char *pointer, const char *key) {
  size_t size = strlen(pointer) + 2 * strlen(key) + 2;
  char *longer = malloc(size);
  if (!longer)
    return NULL;
  char *to = longer + snprintf(longer, size, "%s/", pointer);
  for (; *key; key++) {
    if (*key == '~' || *key == '/') {
      *to++ = '~';
      *to++ = *key == '/' ? '1' : '0';
    } else {
      *to++ = *key;
    }
  }
  *to = 0;
  return longer;
}
