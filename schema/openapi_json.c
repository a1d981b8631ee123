/* openapi_json INPUT OUTPUT: the document in YAML as JSON, when guised is built, so that clients which read
 * no YAML (browsers) get it at /openapi.json, and one document describes the interface.
 *
 * Plain scalars are what YAML 1.2's core schema says they are (null, true, false, numbers, else strings); the
 * document has neither anchors nor tags, and a key stands once. Ends with a message and status 1 otherwise.
 */
#include <jansson.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <yaml.h>

struct reader {
  yaml_parser_t parser;
  const char *path;
};

static void fail(const struct reader *reader, const char *format, ...)
    __attribute__((noreturn, format(printf, 2, 3)));

static void fail(const struct reader *reader, const char *format, ...) {
  va_list args;
  va_start(args, format);
  (void)fprintf(stderr, "%s:%zu: ", reader->path, reader->parser.mark.line + 1);
  (void)vfprintf(stderr, format, args);
  (void)fputc('\n', stderr);
  va_end(args);
  exit(EXIT_FAILURE);
}

static void next(struct reader *reader, yaml_event_t *ret_event) {
  if (!yaml_parser_parse(&reader->parser, ret_event))
    fail(reader, "%s", reader->parser.problem);
}

static json_t *number(const char *text) {
  json_error_t error;
  json_t *value = json_loads(text, JSON_DECODE_ANY, &error);
  if (json_is_number(value))
    return value;
  json_decref(value);
  return NULL;
}

static json_t *scalar(const yaml_event_t *event) {
  const char *text = (const char *)event->data.scalar.value;
  json_t *value = NULL;
  if (event->data.scalar.plain_implicit) {
    if (!*text || strcmp(text, "~") == 0 || strcmp(text, "null") == 0)
      return json_null();
    if (strcmp(text, "true") == 0 || strcmp(text, "false") == 0)
      return json_boolean(*text == 't');
    value = number(text);
  }
  return value ? value : json_stringn(text, event->data.scalar.length);
}

static json_t *node(struct reader *reader, const yaml_event_t *event);

static json_t *sequence(struct reader *reader) {
  json_t *array = json_array();
  for (;;) {
    yaml_event_t event;
    next(reader, &event);
    const bool end = event.type == YAML_SEQUENCE_END_EVENT;
    if (!end && json_array_append_new(array, node(reader, &event)) < 0)
      fail(reader, "this is no UTF-8, or memory is out");
    yaml_event_delete(&event);
    if (end)
      return array;
  }
}

static json_t *mapping(struct reader *reader) {
  json_t *object = json_object();
  for (;;) {
    yaml_event_t key, value;
    next(reader, &key);
    if (key.type == YAML_MAPPING_END_EVENT)
      return object;
    if (key.type != YAML_SCALAR_EVENT)
      fail(reader, "a key must be a scalar");
    const char *name = (const char *)key.data.scalar.value;
    if (json_object_get(object, name))
      fail(reader, "the key %s stands twice", name);
    next(reader, &value);
    if (json_object_set_new(object, name, node(reader, &value)) < 0)
      fail(reader, "this is no UTF-8, or memory is out");
    yaml_event_delete(&value);
    yaml_event_delete(&key);
  }
}

/* The value that starts with `event`. */
static json_t *node(struct reader *reader, const yaml_event_t *event) {
  switch (event->type) {
  case YAML_SCALAR_EVENT:
    return scalar(event);
  case YAML_SEQUENCE_START_EVENT:
    return sequence(reader);
  case YAML_MAPPING_START_EVENT:
    return mapping(reader);
  default:
    fail(reader, "only scalars, sequences and mappings are read");
  }
}

int main(int argc, char **argv) {
  struct reader reader = {.path = argv[1]};
  yaml_event_t event = {.type = YAML_NO_EVENT};
  FILE *input = argc == 3 ? fopen(argv[1], "re") : NULL;
  if (!input || !yaml_parser_initialize(&reader.parser)) {
    (void)fprintf(stderr, "usage: openapi_json INPUT OUTPUT (INPUT must be readable)\n");
    return EXIT_FAILURE;
  }
  yaml_parser_set_input_file(&reader.parser, input);
  while (event.type != YAML_DOCUMENT_START_EVENT)
    next(&reader, &event);
  next(&reader, &event);
  json_t *document = node(&reader, &event);
  if (json_dump_file(document, argv[2], JSON_COMPACT) < 0)
    fail(&reader, "%s cannot be written", argv[2]);
  json_decref(document);
  yaml_event_delete(&event);
  yaml_parser_delete(&reader.parser);
  (void)fclose(input);
  return EXIT_SUCCESS;
}
