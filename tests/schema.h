/* A checker for the part of JSON Schema 2020-12 that schema/report.schema.json and schema/openapi.yaml use;
 * an unknown keyword is a failure, so that nothing goes unchecked. */
#pragma once

#include <jansson.h>
#include <math.h>
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
  const json_t *at = strncmp(reference, "#/", 2) == 0 ? check->root : NULL;
  for (const char *part = reference + 2; at && *part; part += strcspn(part, "/"), part += *part == '/')
    at = json_object_getn(at, part, strcspn(part, "/"));
  return at;
}

static bool schema_valid(struct schema_check *check, const json_t *schema, const json_t *value,
                         const char *at);

/* Of several schemas those that the value fits. */
static size_t schema_fitting(struct schema_check *check, const json_t *schemas, const json_t *value,
                             const char *at) {
  size_t i, fitting = 0;
  char why[400] = "";
  json_t *one;
  json_array_foreach(schemas, i, one) {
    struct schema_check attempt = {.root = check->root};
    if (schema_valid(&attempt, one, value, at))
      fitting++;
    else if (i == 0)
      (void)snprintf(why, sizeof(why), "%.390s", attempt.problem);
  }
  if (fitting == 0)
    (void)schema_fail(check, at, why); /* of the first one */
  return fitting;
}

/* Bounds of numbers, and of what has a length. */
static bool schema_bounded(const char *keyword, double bound, const json_t *value, bool *ret_known) {
  static const char *const keywords[] = {"minimum",  "maximum",  "exclusiveMinimum", "multipleOf",
                                         "minItems", "maxItems", "maxLength",        "maxProperties"};
  const double number = json_number_value(value);
  size_t which = 0;
  while (which < sizeof(keywords) / sizeof(*keywords) && strcmp(keyword, keywords[which]) != 0)
    which++;
  *ret_known = which < sizeof(keywords) / sizeof(*keywords);
  if (which < 4 && !json_is_number(value))
    return true;
  switch (which) {
  case 0:
    return number >= bound;
  case 1:
    return number <= bound;
  case 2:
    return number > bound;
  case 3:
    return fmod(number, bound) == 0;
  case 4:
    return !json_is_array(value) || (double)json_array_size(value) >= bound;
  case 5:
    return !json_is_array(value) || (double)json_array_size(value) <= bound;
  case 6:
    return !json_is_string(value) || (double)strlen(json_string_value(value)) <= bound;
  default:
    return !json_is_object(value) || (double)json_object_size(value) <= bound;
  }
}

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
      "description", "items", "properties", "required", "additionalProperties",
      "default",     "format"};
  bool known;
  size_t i;
  json_t *one;
  for (i = 0; i < sizeof(elsewhere) / sizeof(*elsewhere); i++)
    if (strcmp(keyword, elsewhere[i]) == 0)
      return true;
  if (strcmp(keyword, "type") == 0)
    return schema_any_type(value, rule);
  if (strcmp(keyword, "const") == 0)
    return json_equal(value, rule);
  if (strcmp(keyword, "pattern") == 0)
    return !json_is_string(value) || schema_matches(json_string_value(rule), json_string_value(value));
  if (strcmp(keyword, "enum") == 0) {
    json_array_foreach(rule, i, one) {
      if (json_equal(one, value))
        return true;
    }
    return false;
  }
  if (strcmp(keyword, "anyOf") == 0)
    return schema_fitting(check, rule, value, at) > 0;
  if (strcmp(keyword, "oneOf") == 0)
    return schema_fitting(check, rule, value, at) == 1;
  bool within = schema_bounded(keyword, json_number_value(rule), value, &known);
  if (known)
    return within;
  return schema_fail(check, keyword, "keyword unknown to the checker");
}

static bool schema_valid(struct schema_check *check, const json_t *schema, const json_t *value,
                         const char *at) {
  const char *keyword;
  json_t *rule, *item;
  size_t i;
  schema = schema_resolve(check, schema); /* what stands beside a $ref describes only */
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
