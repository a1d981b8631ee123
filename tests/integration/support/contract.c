#include "tests/integration/support/contract.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

#include "core/base/file.h"
#include "tests/document.h"
#include "tests/schema.h"

static const char *const methods[] = {"get", "put", "post", "delete"};

const json_t *contract_document(void) {
  static json_t *document; /* of this process, never freed: tests end with it */
  char *text = NULL;
  size_t bytes = 0;
  if (document)
    return document;
  assert_int_equal(file_read(GUISE_SOURCE "/schema/openapi.yaml", 4 << 20, &text, &bytes, NULL), 0);
  document = document_parse(text, bytes);
  free(text);
  assert_non_null(document);
  return document;
}

/* Whether the path has the pattern's form; literal: without {..}. */
static bool path_fits(const char *pattern, const char *path, bool *ret_literal) {
  *ret_literal = !strchr(pattern, '{');
  while (*pattern && *path) {
    if (*pattern == '{') {
      if (*path == '/' || *path == '?')
        return false;
      pattern += strcspn(pattern, "}") + 1;
      path += strcspn(path, "/?");
    } else if (*pattern++ != *path++) {
      return false;
    }
  }
  return !*pattern && (!*path || *path == '?');
}

const json_t *contract_operation(const char *method, const char *target, const char **ret_pattern) {
  const json_t *paths = json_object_get(contract_document(), "paths"), *found = NULL;
  const char *pattern, *wanted = strcmp(method, "HEAD") == 0 ? "GET" : method;
  json_t *item;
  json_object_foreach((json_t *)paths, pattern, item) {
    bool literal;
    if (!path_fits(pattern, target, &literal))
      continue;
    for (size_t i = 0; i < sizeof(methods) / sizeof(*methods); i++) {
      const json_t *operation = json_object_get(item, methods[i]);
      if (!operation || strcasecmp(methods[i], wanted) != 0 || (found && !literal))
        continue;
      found = operation; /* /v1/jobs/cancel is no {id} */
      *ret_pattern = pattern;
    }
  }
  return found;
}

void contract_each(void (*visit)(void *context, const char *method, const char *pattern,
                                 const json_t *operation),
                   void *context) {
  const json_t *paths = json_object_get(contract_document(), "paths");
  const char *pattern;
  json_t *item;
  json_object_foreach((json_t *)paths, pattern, item) {
    size_t visited = json_object_get(item, "parameters") ? 1 : 0;
    for (size_t i = 0; i < sizeof(methods) / sizeof(*methods); i++) {
      static const char *const upper[] = {"GET", "PUT", "POST", "DELETE"};
      if (!json_object_get(item, methods[i]))
        continue;
      visit(context, upper[i], pattern, json_object_get(item, methods[i]));
      visited++;
    }
    if (visited != json_object_size(item))
      fail_msg("%s has something else than get, put, post, delete and parameters: nothing looks at it",
               pattern);
  }
}

/* ---- what an answer must be ---- */

static const json_t *response_of(const json_t *operation, long status) {
  char key[8];
  (void)snprintf(key, sizeof(key), "%ld", status);
  return document_resolve(contract_document(), json_object_get(json_object_get(operation, "responses"), key));
}

static void check_headers(const char *what, const json_t *response, const struct reply *reply) {
  const char *name;
  json_t *header;
  json_object_foreach(json_object_get(response, "headers"), name, header) {
    if (json_is_true(json_object_get(header, "required")) && !*header_of(reply, name))
      fail_msg("%s: the header %s is missing", what, name);
  }
}

static void check_body(const char *what, const json_t *response, const struct reply *reply) {
  const json_t *content = json_object_get(response, "content");
  struct schema_check check = {.root = contract_document()};
  char type[128];
  (void)snprintf(type, sizeof(type), "%s", header_of(reply, "Content-Type"));
  type[strcspn(type, ";")] = 0;
  if (!content) {
    if (reply->size > 0)
      fail_msg("%s: a body that the document does not name: %s", what, reply->body);
    return;
  }
  const json_t *media = json_object_get(content, type);
  if (!media)
    fail_msg("%s: the media type %s is not in the document", what, type);
  const json_t *schema = strstr(type, "json") ? json_object_get(media, "schema") : NULL;
  if (schema && !reply->json)
    fail_msg("%s: no JSON: %s", what, reply->body);
  if (schema && !schema_valid(&check, schema, reply->json, ""))
    fail_msg("%s is not of the document's form: %s: %s", what, check.problem, reply->body);
}

static void note(const json_t *operation, long status) {
  static FILE *file;
  char path[512];
  if (!file) {
    (void)snprintf(path, sizeof(path), CONTRACT_FOLDER "/%s", program_invocation_short_name);
    if (mkdir(CONTRACT_FOLDER, 0755) < 0 && errno != EEXIST)
      fail_msg("cannot make " CONTRACT_FOLDER);
    file = fopen(path, "we");
    assert_non_null(file);
  }
  (void)fprintf(file, "%s %ld\n", json_string_value(json_object_get(operation, "operationId")), status);
  (void)fflush(file);
}

static const json_t *find(const char *method, const char *target, long status, char what[256],
                          const json_t **ret_operation) {
  const char *pattern;
  (void)snprintf(what, 256, "%s %.180s: %ld", method, target, status);
  *ret_operation = contract_operation(method, target, &pattern);
  if (!*ret_operation)
    return NULL;
  const json_t *response = response_of(*ret_operation, status);
  if (!response)
    fail_msg("%s is not in schema/openapi.yaml", what);
  note(*ret_operation, status);
  return response;
}

void contract_note(const char *method, const char *target, long status) {
  const json_t *operation;
  char what[256];
  (void)find(method, target, status, what, &operation);
}

void contract_check(const char *method, const char *target, const struct reply *reply) {
  const json_t *operation;
  char what[256];
  const json_t *response = find(method, target, reply->status, what, &operation);
  if (!operation) { /* no such path or method: a problem like all others */
    response =
        json_object_get(json_object_get(json_object_get(contract_document(), "components"), "responses"),
                        strncmp(target, "/v2", 3) == 0 ? "OipMalformed" : "Malformed");
    if (reply->status < 400)
      fail_msg("%s: what answers is not in schema/openapi.yaml", what);
  }
  check_headers(what, response, reply);
  if (strcmp(method, "HEAD") != 0)
    check_body(what, response, reply);
}
