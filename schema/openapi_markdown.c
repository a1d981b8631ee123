/* openapi_markdown INPUT OUTPUT: docs/api.md out of the interface's document, in the JSON that openapi_json
 * makes. Every operation, parameter and field must say what it is: what lacks a description is named, with
 * status 1. */
#include <jansson.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PATH_ROOM 256

struct writer {
  FILE *out;
  const json_t *document;
  unsigned missing;
};

static const char *text_of(const json_t *object, const char *key) {
  const char *text = json_string_value(json_object_get(object, key));
  return text ? text : "";
}

/* What "$ref" leads to, or the object itself. */
static const json_t *resolve(const struct writer *w, const json_t *object) {
  const char *reference = text_of(object, "$ref");
  const json_t *at = w->document;
  if (!*reference)
    return object;
  for (const char *p = reference + 2; *p; p += strcspn(p, "/"), p += *p == '/') {
    char name[PATH_ROOM];
    (void)snprintf(name, sizeof(name), "%.*s", (int)strcspn(p, "/"), p);
    at = json_object_get(at, name);
  }
  return at;
}

static const char *name_of_reference(const json_t *object) {
  const char *slash = strrchr(text_of(object, "$ref"), '/');
  return slash ? slash + 1 : NULL;
}

/* In a table's cell: one line, no bar. */
static void put(const struct writer *w, const char *text) {
  for (; *text; text++)
    if (*text == '|')
      (void)fputs("\\|", w->out);
    else if (*text != '\n' || text[1])
      (void)fputc(*text == '\n' ? ' ' : *text, w->out);
}

static void put_value(const struct writer *w, const json_t *value) {
  char *text = json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT | JSON_REAL_PRECISION(6));
  (void)fputc('`', w->out);
  put(w, json_is_string(value) ? json_string_value(value) : text);
  (void)fputc('`', w->out);
  free(text);
}

static void require(struct writer *w, const char *what, const char *where) {
  (void)fprintf(stderr, "%s has no %s\n", where, what);
  w->missing++;
}

/* ---- types ---- */

static void put_type(const struct writer *w, const json_t *schema);

static void put_list(const struct writer *w, const json_t *list, const char *between,
                     void (*one)(const struct writer *w, const json_t *value)) {
  const json_t *value;
  size_t i;
  json_array_foreach(list, i, value) {
    if (i > 0)
      (void)fputs(between, w->out);
    one(w, value);
  }
}

static void put_type(const struct writer *w,
                     const json_t *schema) { /* NOLINT(misc-no-recursion): as deep as the document */
  const json_t *type = json_object_get(schema, "type"), *items = json_object_get(schema, "items"),
               *choice = NULL;
  const char *name = name_of_reference(schema);
  if (name) {
    (void)fprintf(w->out, "[%s](#schema-", name);
    for (const char *c = name; *c; c++) /* as headings are linked to */
      (void)fputc(*c >= 'A' && *c <= 'Z' ? *c - 'A' + 'a' : *c, w->out);
    (void)fputc(')', w->out);
  } else if ((choice = json_object_get(schema, "oneOf")) || (choice = json_object_get(schema, "anyOf")))
    put_list(w, choice, " or ", put_type);
  else if (json_object_get(schema, "const"))
    put_value(w, json_object_get(schema, "const"));
  else if (json_object_get(schema, "enum"))
    put_list(w, json_object_get(schema, "enum"), ", ", put_value);
  else if (json_is_array(type)) {
    const json_t *one;
    size_t i;
    json_array_foreach(type, i, one)(void)
        fprintf(w->out, "%s%s", i > 0 ? " or " : "", json_string_value(one));
  } else if (items) {
    (void)fputs("array of ", w->out);
    if (json_object_size(items) > 0)
      put_type(w, items);
    else
      (void)fputs("values", w->out);
  } else if (*text_of(schema, "format"))
    (void)fprintf(w->out, "%s (%s)", text_of(schema, "type"), text_of(schema, "format"));
  else
    put(w, json_is_string(type) ? json_string_value(type) : "any");
}

static void put_range(const struct writer *w, const json_t *schema) {
  static const struct {
    const char *key, *text;
  } bounds[] = {{"minimum", ">= "},
                {"exclusiveMinimum", "> "},
                {"maximum", "<= "},
                {"multipleOf", "a multiple of "},
                {"minItems", "entries >= "},
                {"maxItems", "entries <= "},
                {"maxLength", "characters <= "},
                {"maxProperties", "keys <= "},
                {"pattern", "matches "}};
  bool any = false;
  for (size_t i = 0; i < sizeof(bounds) / sizeof(bounds[0]); i++) {
    const json_t *value = json_object_get(schema, bounds[i].key);
    if (!value)
      continue;
    (void)fprintf(w->out, "%s%s", any ? ", " : "", bounds[i].text);
    put_value(w, value);
    any = true;
  }
}

/* ---- fields ---- */

static void put_fields(struct writer *w, const json_t *schema, const char *prefix, const char *where);

static bool listed(const json_t *names, const char *name) {
  const json_t *one;
  size_t i;
  json_array_foreach(names, i, one) {
    if (strcmp(json_string_value(one), name) == 0)
      return true;
  }
  return false;
}

static void put_row(struct writer *w, const char *path, const json_t *schema, bool required,
                    const char *where) {
  const json_t *fallback = json_object_get(schema, "default");
  const char *description = text_of(schema, "description");
  char place[2 * PATH_ROOM];
  if (!*description)
    description = text_of(resolve(w, schema), "description");
  (void)snprintf(place, sizeof(place), "%s, %s", where, path);
  if (!*description)
    require(w, "description", place);
  (void)fprintf(w->out, "| `%s`%s | ", path, required ? " *" : "");
  put_type(w, schema);
  (void)fputs(" | ", w->out);
  if (fallback)
    put_value(w, fallback);
  (void)fputs(" | ", w->out);
  put_range(w, schema);
  (void)fputs(" | ", w->out);
  put(w, description);
  (void)fputs(" |\n", w->out);
}

/* What is inside a field: its own fields, those of its entries, and of each alternative that is told by a
 * constant. */
static void put_inner(struct writer *w, const json_t *schema, const char *path,
                      const char *where) { /* NOLINT(misc-no-recursion) */
  const json_t *items = json_object_get(schema, "items"), *choice = json_object_get(schema, "oneOf"), *one;
  char inner[PATH_ROOM];
  size_t i;
  if (!choice)
    choice = json_object_get(schema, "anyOf");
  (void)snprintf(inner, sizeof(inner), "%s.", path);
  put_fields(w, schema, inner, where);
  json_array_foreach(choice, i, one) {
    const json_t *method =
        json_object_get(json_object_get(json_object_get(one, "properties"), "method"), "const");
    if (method)
      (void)snprintf(inner, sizeof(inner), "%s(%s).", path, json_string_value(method));
    put_fields(w, one, inner, where);
  }
  if (items) {
    (void)snprintf(inner, sizeof(inner), "%s[]", path);
    put_inner(w, items, inner, where);
  }
}

static void put_fields(struct writer *w, const json_t *schema, const char *prefix,
                       const char *where) { /* NOLINT(misc-no-recursion) */
  const char *name;
  json_t *field;
  json_object_foreach(json_object_get(schema, "properties"), name, field) {
    char path[PATH_ROOM];
    (void)snprintf(path, sizeof(path), "%s%s", prefix, name);
    put_row(w, path, field, listed(json_object_get(schema, "required"), name), where);
    put_inner(w, field, path, where);
  }
}

static void put_table(struct writer *w, const json_t *schema, const char *where) {
  if (json_object_size(json_object_get(schema, "properties")) == 0)
    return;
  (void)fputs("\n| field | type | default | range | |\n|---|---|---|---|---|\n", w->out);
  put_fields(w, schema, "", where);
}

/* ---- operations ---- */

static void put_parameters(struct writer *w, const json_t *path, const json_t *operation, const char *id) {
  const json_t *lists[] = {json_object_get(path, "parameters"), json_object_get(operation, "parameters")},
               *each;
  bool any = false;
  size_t i;
  for (size_t list = 0; list < 2; list++)
    json_array_foreach(lists[list], i, each) {
      const json_t *parameter = resolve(w, each), *schema = json_object_get(parameter, "schema"),
                   *fallback = json_object_get(schema, "default");
      const char *name = text_of(parameter, "name");
      if (!any)
        (void)fputs("\n| parameter | in | type | default | range | |\n|---|---|---|---|---|---|\n", w->out);
      any = true;
      if (!*text_of(parameter, "description"))
        require(w, "description of a parameter", id);
      (void)fprintf(w->out, "| `%s`%s | %s | ", name,
                    json_is_true(json_object_get(parameter, "required")) ? " *" : "",
                    text_of(parameter, "in"));
      put_type(w, schema);
      (void)fputs(" | ", w->out);
      if (fallback)
        put_value(w, fallback);
      (void)fputs(" | ", w->out);
      put_range(w, schema);
      (void)fputs(" | ", w->out);
      put(w, text_of(parameter, "description"));
      (void)fputs(" |\n", w->out);
    }
}

static void put_body(struct writer *w, const json_t *operation, const char *id) {
  const char *type;
  json_t *media;
  json_object_foreach(json_object_get(json_object_get(operation, "requestBody"), "content"), type, media) {
    const json_t *schema = json_object_get(media, "schema");
    (void)fprintf(w->out, "\nBody, `%s`: ", type);
    if (json_object_get(schema, "properties"))
      (void)fputs("an object.\n", w->out);
    else {
      put_type(w, schema);
      (void)fputc('\n', w->out);
    }
    put_table(w, schema, id);
  }
}

static void put_response(const struct writer *w, const char *first, const json_t *response) {
  const char *type;
  json_t *media;
  (void)fprintf(w->out, "| %s | ", first);
  put(w, text_of(response, "description"));
  json_object_foreach(json_object_get(response, "content"), type, media) {
    const json_t *schema = json_object_get(media, "schema");
    (void)fprintf(w->out, "; `%s`", type);
    if (name_of_reference(schema)) {
      (void)fputc(' ', w->out);
      put_type(w, schema);
    }
  }
  (void)fputs(" |\n", w->out);
}

/* Errors that many operations share are told in a section of their own. */
static void put_answers(const struct writer *w, const json_t *operation) {
  const json_t *responses = json_object_get(operation, "responses");
  const char *status, *before = "\nErrors ([what they mean](#errors)): ";
  json_t *response;
  (void)fputs("\n| status | |\n|---|---|\n", w->out);
  json_object_foreach((json_t *)responses, status, response) {
    if (!name_of_reference(response))
      put_response(w, status, response);
  }
  json_object_foreach((json_t *)responses, status, response) {
    if (!name_of_reference(response))
      continue;
    (void)fprintf(w->out, "%s%s", before, status);
    before = ", ";
  }
  (void)fputs(".\n", w->out);
}

/* Each shared answer with the statuses under which operations give it. */
static void put_errors(const struct writer *w) {
  static const char *const methods[] = {"get", "put", "post", "delete"};
  const char *name, *pattern, *status;
  json_t *shared, *path, *response;
  (void)fputs("\n## Errors\n\n| status | |\n|---|---|\n", w->out);
  json_object_foreach(json_object_get(json_object_get(w->document, "components"), "responses"), name,
                      shared) {
    const char *found = NULL;
    json_object_foreach(json_object_get(w->document, "paths"), pattern, path) {
      for (size_t i = 0; i < sizeof(methods) / sizeof(methods[0]) && !found; i++)
        json_object_foreach(json_object_get(json_object_get(path, methods[i]), "responses"), status,
                            response) {
          if (name_of_reference(response) && strcmp(name_of_reference(response), name) == 0)
            found = status;
        }
    }
    put_response(w, found ? found : "", shared);
  }
}

/* The fields of answers that have no schema of their own name. */
static void put_answer_fields(struct writer *w, const json_t *operation, const char *id) {
  const char *status;
  json_t *each;
  json_object_foreach(json_object_get(operation, "responses"), status, each) {
    const json_t *schema =
        json_object_get(json_object_get(json_object_get(each, "content"), "application/json"), "schema");
    if (json_object_size(json_object_get(schema, "properties")) == 0)
      continue;
    (void)fprintf(w->out, "\nThe answer's body (%s):\n", status);
    put_table(w, schema, id);
  }
}

static void put_path(const struct writer *w, const char *pattern) {
  for (const char *p = pattern; *p; p++) {
    if (*p != '{') {
      (void)fputc(*p, w->out);
      continue;
    }
    for (p++; *p && *p != '}'; p++)
      (void)fputc(*p >= 'a' && *p <= 'z' ? *p - 'a' + 'A' : *p, w->out);
  }
}

static void put_example(const struct writer *w, const char *pattern, const char *method,
                        const json_t *operation) {
  const json_t *content = json_object_get(json_object_get(operation, "requestBody"), "content");
  const char *type = json_object_iter_key(json_object_iter((json_t *)content));
  const json_t *example = json_object_get(json_object_get(content, "application/json"), "example");
  const bool json = example != NULL;
  (void)fputs("\n```\ncurl", w->out);
  if (strcmp(method, "GET") != 0 && !(json && strcmp(method, "POST") == 0))
    (void)fprintf(w->out, " -X %s", method);
  if (content)
    (void)fprintf(w->out, " -H 'Content-Type: %s'", json ? "application/json" : type);
  (void)fputs(" http://127.0.0.1:8080", w->out);
  put_path(w, pattern);
  if (json) {
    char *text = json_dumps(example, JSON_COMPACT | JSON_REAL_PRECISION(6));
    (void)fprintf(w->out, " \\\n  -d '%s'", text);
    free(text);
  } else if (content)
    (void)fputs(" --data-binary @FILE", w->out);
  (void)fputs("\n```\n", w->out);
}

static void put_operation(struct writer *w, const char *pattern, const char *method, const json_t *path,
                          const json_t *operation) {
  const char *id = text_of(operation, "operationId"), *summary = text_of(operation, "summary");
  const json_t *security = json_object_get(operation, "security");
  const char *scope =
      json_string_value(json_array_get(json_object_get(json_array_get(security, 0), "bearer"), 0));
  if (!*summary)
    require(w, "summary", id);
  (void)fprintf(w->out, "\n### %s\n\n`%s %s`", id, method, pattern);
  if (scope)
    (void)fprintf(w->out, ", scope `%s`", scope);
  (void)fputs(": ", w->out);
  put(w, summary);
  (void)fputs(".\n", w->out);
  if (*text_of(operation, "description")) {
    (void)fputc('\n', w->out);
    put(w, text_of(operation, "description"));
    (void)fputc('\n', w->out);
  }
  put_parameters(w, path, operation, id);
  put_body(w, operation, id);
  put_answers(w, operation);
  put_answer_fields(w, operation, id);
  put_example(w, pattern, method, operation);
}

static const char *tag_of(const json_t *operation) {
  const char *tag = json_string_value(json_array_get(json_object_get(operation, "tags"), 0));
  return tag ? tag : "";
}

static void put_tag(struct writer *w, const char *tag) {
  static const char *const methods[][2] = {
      {"get", "GET"}, {"put", "PUT"}, {"post", "POST"}, {"delete", "DELETE"}};
  const char *pattern;
  json_t *path;
  (void)fprintf(w->out, "\n## %s\n", tag);
  json_object_foreach(json_object_get(w->document, "paths"), pattern, path) {
    for (size_t i = 0; i < sizeof(methods) / sizeof(methods[0]); i++) {
      const json_t *operation = json_object_get(path, methods[i][0]);
      if (operation && strcmp(tag_of(operation), tag) == 0)
        put_operation(w, pattern, methods[i][1], path, operation);
      if (operation && !*tag_of(operation))
        require(w, "tag", text_of(operation, "operationId"));
    }
  }
}

static void put_schemas(struct writer *w) {
  const char *name;
  json_t *schema;
  (void)fputs("\n## Schemas\n", w->out);
  json_object_foreach(json_object_get(json_object_get(w->document, "components"), "schemas"), name, schema) {
    if (!*text_of(schema, "description"))
      require(w, "description", name);
    (void)fprintf(w->out, "\n### Schema %s\n\n", name);
    put(w, text_of(schema, "description"));
    (void)fputc('\n', w->out);
    if (!json_object_get(schema, "properties")) {
      (void)fputc('\n', w->out);
      put_type(w, schema);
      (void)fputc('\n', w->out);
    }
    put_table(w, schema, name);
  }
}

int main(int argc, char **argv) {
  json_error_t error;
  json_t *document = argc == 3 ? json_load_file(argv[1], 0, &error) : NULL;
  struct writer w = {.document = document, .out = document ? fopen(argv[2], "we") : NULL};
  const json_t *tag;
  size_t i;
  if (!w.out) {
    (void)fprintf(stderr, "usage: openapi_markdown INPUT OUTPUT (INPUT: JSON that openapi_json made)\n");
    return EXIT_FAILURE;
  }
  (void)fputs("# The interface\n\nMade from [schema/openapi.yaml](../schema/openapi.yaml) by `cmake --build "
              "build --target api-doc`: "
              "change that, not this.\n\n",
              w.out);
  put(&w, text_of(json_object_get(document, "info"), "description"));
  (void)fputs("\n\nA star marks what must be there. `http://127.0.0.1:8080` is where a daemon listens that "
              "was not told otherwise; with a "
              "token add `-H \"Authorization: Bearer $GUISE_TOKEN\"`.\n",
              w.out);
  json_array_foreach(json_object_get(document, "tags"), i, tag) put_tag(&w, text_of(tag, "name"));
  put_errors(&w);
  put_schemas(&w);
  const bool written = fclose(w.out) == 0;
  json_decref(document);
  return written && w.missing == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
