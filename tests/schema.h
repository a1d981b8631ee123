/* A checker for the part of JSON Schema 2020-12 that schema/report.schema.json uses; an unknown keyword is a
 * failure, so that nothing goes unchecked. */
#pragma once

#include <jansson.h>
#include <regex.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

struct schema_check {
  const json_t *root;
  char problem[512]; /* where and what, "" when all is well */
};

static bool schema_fail(struct schema_check *check, const char *at, const char *what) {
  if (!check->problem[0])
    (void)snprintf(check->problem, sizeof(check->problem), "%s: %s", at, what);
  return false;
}

static bool schema_is_type(const json_t *value, const char *type) {
  return strcmp(type, "object") == 0    ? json_is_object(value)
         : strcmp(type, "array") == 0   ? json_is_array(value)
         : strcmp(type, "string") == 0  ? json_is_string(value)
         : strcmp(type, "integer") == 0 ? json_is_integer(value)
         : strcmp(type, "number") == 0  ? json_is_number(value)
         : strcmp(type, "boolean") == 0 ? json_is_boolean(value)
         : strcmp(type, "null") == 0    ? json_is_null(value)
                                        : false;
}

static bool schema_any_type(const json_t *value, const json_t *type) {
  size_t i;
  json_t *one;
  if (json_is_string(type))
    return schema_is_type(value, json_string_value(type));
  json_array_foreach(type, i, one) {
    if (schema_is_type(value, json_string_value(one)))
      return true;
  }
  return false;
}

static bool schema_matches(const char *pattern, const char *text) {
  regex_t regex;
  if (regcomp(&regex, pattern, REG_EXTENDED | REG_NOSUB) != 0)
    return false;
  bool found = regexec(&regex, text, 0, NULL, 0) == 0;
  regfree(&regex);
  return found;
}

static const json_t *schema_resolve(struct schema_check *check, const json_t *schema) {
  const char *reference = json_string_value(json_object_get(schema, "$ref"));
  if (!reference)
    return schema;
  return strncmp(reference, "#/$defs/", 8) == 0
             ? json_object_get(json_object_get(check->root, "$defs"), reference + 8)
             : NULL;
}

static bool schema_valid(struct schema_check *check, const json_t *schema, const json_t *value,
                         const char *at);

static bool schema_object(struct schema_check *check, const json_t *schema, const json_t *value,
                          const char *at) {
  const json_t *properties = json_object_get(schema, "properties"),
               *more = json_object_get(schema, "additionalProperties");
  size_t i;
  const char *key;
  json_t *member;
  json_array_foreach(json_object_get(schema, "required"), i, member) {
    if (!json_object_get(value, json_string_value(member)))
      return schema_fail(check, at, json_string_value(member));
  }
  json_object_foreach((json_t *)value, key, member) {
    char inside[256];
    const json_t *rule = json_object_get(properties, key);
    (void)snprintf(inside, sizeof(inside), "%.180s/%.60s", at, key);
    if (!rule && json_is_false(more))
      return schema_fail(check, inside, "is not in the schema");
    if (!rule && json_is_object(more))
      rule = more;
    if (rule && !schema_valid(check, rule, member, inside))
      return false;
  }
  return true;
}

static bool schema_keyword(struct schema_check *check, const char *keyword, const json_t *rule,
                           const json_t *value, const char *at) {
  static const char *const elsewhere[] = {
      "$schema",     "$id",   "$defs",      "$ref",     "title",
      "description", "items", "properties", "required", "additionalProperties"};
  size_t i;
  json_t *one;
  for (i = 0; i < sizeof(elsewhere) / sizeof(*elsewhere); i++)
    if (strcmp(keyword, elsewhere[i]) == 0)
      return true;
  if (strcmp(keyword, "type") == 0)
    return schema_any_type(value, rule);
  if (strcmp(keyword, "const") == 0)
    return json_equal(value, rule);
  if (strcmp(keyword, "minimum") == 0)
    return !json_is_number(value) || json_number_value(value) >= json_number_value(rule);
  if (strcmp(keyword, "maximum") == 0)
    return !json_is_number(value) || json_number_value(value) <= json_number_value(rule);
  if (strcmp(keyword, "pattern") == 0)
    return !json_is_string(value) || schema_matches(json_string_value(rule), json_string_value(value));
  if (strcmp(keyword, "enum") == 0) {
    json_array_foreach(rule, i, one) {
      if (json_equal(one, value))
        return true;
    }
    return false;
  }
  if (strcmp(keyword, "anyOf") == 0) {
    json_array_foreach(rule, i, one) {
      struct schema_check attempt = {.root = check->root};
      if (schema_valid(&attempt, one, value, at))
        return true;
    }
    return false;
  }
  return schema_fail(check, keyword, "keyword unknown to the checker");
}

static bool schema_valid(struct schema_check *check, const json_t *schema, const json_t *value,
                         const char *at) {
  const char *keyword;
  json_t *rule, *item;
  size_t i;
  schema = schema_resolve(check, schema);
  if (!schema)
    return schema_fail(check, at, "$ref leads nowhere");
  json_object_foreach((json_t *)schema, keyword, rule) {
    if (!schema_keyword(check, keyword, rule, value, at))
      return schema_fail(check, at, keyword);
  }
  if (json_is_object(value))
    return schema_object(check, schema, value, at);
  if (json_is_array(value) && json_object_get(schema, "items"))
    json_array_foreach(value, i, item) {
      char inside[256];
      (void)snprintf(inside, sizeof(inside), "%.200s/%zu", at, i);
      if (!schema_valid(check, json_object_get(schema, "items"), item, inside))
        return false;
    }
  return true;
}
