/* The interface's document, schema/openapi.yaml, as JSON: YAML 1.2's core schema is JSON written otherwise.
 */
#pragma once

#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <yaml.h>

static json_t *document_scalar(const yaml_node_t *node) {
  const char *text = (const char *)node->data.scalar.value;
  char *end;
  if (node->data.scalar.style != YAML_PLAIN_SCALAR_STYLE)
    return json_string(text);
  if (strcmp(text, "true") == 0 || strcmp(text, "false") == 0)
    return json_boolean(*text == 't');
  if (strcmp(text, "null") == 0 || !*text)
    return json_null();
  const long long integer = strtoll(text, &end, 10);
  if (*end == 0)
    return json_integer(integer);
  const double real = strtod(text, &end);
  return *end == 0 && strspn(text, "+-.0123456789e") == strlen(text) ? json_real(real) : json_string(text);
}

static json_t *document_node(yaml_document_t *document, int index) {
  const yaml_node_t *node = yaml_document_get_node(document, index);
  if (node->type == YAML_SCALAR_NODE)
    return document_scalar(node);
  if (node->type == YAML_SEQUENCE_NODE) {
    json_t *array = json_array();
    for (const yaml_node_item_t *item = node->data.sequence.items.start; item < node->data.sequence.items.top;
         item++)
      (void)json_array_append_new(array, document_node(document, *item));
    return array;
  }
  json_t *object = json_object();
  for (const yaml_node_pair_t *pair = node->data.mapping.pairs.start; pair < node->data.mapping.pairs.top;
       pair++) {
    const yaml_node_t *key = yaml_document_get_node(document, pair->key);
    (void)json_object_set_new(object, (const char *)key->data.scalar.value,
                              document_node(document, pair->value));
  }
  return object;
}

/* NULL when the text is no YAML; a new reference otherwise. */
static json_t *document_parse(const char *text, size_t bytes) {
  yaml_parser_t parser;
  yaml_document_t document;
  json_t *json = NULL;
  if (!yaml_parser_initialize(&parser))
    return NULL;
  yaml_parser_set_input_string(&parser, (const unsigned char *)text, bytes);
  if (yaml_parser_load(&parser, &document)) {
    if (yaml_document_get_root_node(&document))
      json = document_node(&document, 1);
    yaml_document_delete(&document);
  }
  yaml_parser_delete(&parser);
  return json;
}

/* What "$ref" leads to, or the object itself. */
static const json_t *document_resolve(const json_t *document, const json_t *object) {
  const char *reference = json_string_value(json_object_get(object, "$ref"));
  if (!reference)
    return object;
  const json_t *at = document;
  for (const char *part = reference + 2; at && *part; part += strcspn(part, "/"), part += *part == '/')
    at = json_object_getn(at, part, strcspn(part, "/"));
  return at;
}
