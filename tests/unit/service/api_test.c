/* The parts of the HTTP layer that are pure: guard, router and its document, ranges, digests, cursors, JSON.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/guard.h"
#include "api/json.h"
#include "api/page.h"
#include "api/range.h"
#include "api/server.h"
#include "document.h"

static void framing(void **state) {
  (void)state;
  static const struct {
    struct guard_request request;
    bool good;
  } cases[] = {
      {{.version = "HTTP/1.1", .hosts = 1, .host = "localhost"}, true},
      {{.version = "HTTP/1.1", .hosts = 1, .host = "localhost", .content_lengths = 1, .content_length = "12"},
       true},
      {{.version = "HTTP/1.1", .hosts = 1, .host = "localhost", .content_lengths = 2, .content_length = "12"},
       false},
      {{.version = "HTTP/1.1",
        .hosts = 1,
        .host = "localhost",
        .content_lengths = 1,
        .content_length = "+12"},
       false},
      {{.version = "HTTP/1.1",
        .hosts = 1,
        .host = "localhost",
        .content_lengths = 1,
        .content_length = "1 2"},
       false},
      {{.version = "HTTP/1.1",
        .hosts = 1,
        .host = "localhost",
        .content_lengths = 1,
        .content_length = "99999999999999999999999"},
       false},
      {{.version = "HTTP/1.1",
        .hosts = 1,
        .host = "localhost",
        .content_lengths = 1,
        .content_length = "3",
        .transfer_encodings = 1,
        .transfer_encoding = "chunked"},
       false},
      {{.version = "HTTP/1.1",
        .hosts = 1,
        .host = "localhost",
        .transfer_encodings = 1,
        .transfer_encoding = "gzip, chunked"},
       false},
      {{.version = "HTTP/1.1", .hosts = 1, .host = "localhost", .headers = GUARD_HEADERS + 1}, false},
      {{.version = "HTTP/1.1", .hosts = 1, .host = "localhost", .authorizations = 1}, true},
      {{.version = "HTTP/1.1", .hosts = 1, .host = "localhost", .authorizations = 2}, false},
      {{.version = "HTTP/1.1"}, false},
      {{.version = "HTTP/1.1", .hosts = 2, .host = "localhost"}, false},
  };
  for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
    struct guard_body body;
    struct guise_error err = {0};
    enum problem_code code;
    int r = guard_framing(&cases[i].request, &body, &code, &err);
    if ((r == 0) != cases[i].good)
      fail_msg("%zu: %d %s", i, r, err.text);
  }
}

static void ambiguous_fields(void **state) {
  (void)state;
  static const struct {
    const char *name, *value;
    bool odd;
  } fields[] = {
      {"Content-Length", "2", false},      {"content-type", "text/plain;\tcharset=utf-8", false},
      {"X-\xc3\xa9", "1", true},           {"X", "caf\xc3\xa9", false},
      {"Content-Length ", "2", true},      {"Content-Length2", "", true}, /* folded: "2" in the next line */
      {"Transfer-Encoding\t", "x", true},  {"Transfer-Encodingchunked", "", true},
      {"X: yContent-Length", "2", true},   {"", "x", true},
      {"X", "a\rContent-Length: 2", true}, {"X", "\x7f", true}};
  for (size_t i = 0; i < ARRAY_SIZE(fields); i++) {
    struct guard_request request = {.version = "HTTP/1.1", .hosts = 1, .host = "localhost"};
    struct guard_body body;
    enum problem_code code;
    guard_add(&request, fields[i].name, fields[i].value);
    if (request.odd != fields[i].odd || (guard_framing(&request, &body, &code, NULL) == 0) == fields[i].odd)
      fail_msg("%s: %s", fields[i].name, fields[i].value);
  }
}

static bool host_passes(const char *host, const char *bound, const char *allowed) {
  struct guard_request request = {.version = "HTTP/1.1", .hosts = 1, .host = host};
  struct guise_error err = {0};
  enum problem_code code;
  return guard_host(&request, bound, allowed, &code, &err) == 0;
}

static void hosts(void **state) {
  (void)state;
  assert_true(host_passes("localhost", "127.0.0.1", ""));
  assert_true(host_passes("127.0.0.1:8080", "127.0.0.1", ""));
  assert_true(host_passes("[::1]:80", "127.0.0.1", ""));
  assert_true(host_passes("guise.lan:8080", "127.0.0.1", "other.lan,guise.lan"));
  assert_false(host_passes("guise.lan", "127.0.0.1", ""));
  assert_true(host_passes("guise.lan", "127.0.0.1", NULL)); /* all need a token */
  assert_false(host_passes("guise lan", "127.0.0.1", NULL));
  assert_false(host_passes("evil.example", "", ""));
  assert_false(host_passes("localhost.evil.example", "127.0.0.1", ""));
  assert_false(host_passes("", "127.0.0.1", ""));
}

static void media_types(void **state) {
  (void)state;
  assert_true(media_type_is("application/json", "application/json"));
  assert_true(media_type_is("Application/JSON; charset=utf-8", "application/json"));
  assert_true(media_type_is("application/zip", "application/x-tar,application/gzip,application/zip"));
  assert_false(media_type_is("application/json; charset=latin1", "application/json"));
  assert_false(media_type_is("text/plain", "application/json"));
  assert_false(media_type_is("application/jsonx", "application/json"));
  assert_false(media_type_is(NULL, "application/json"));
}

static void ranges(void **state) {
  (void)state;
  static const struct {
    const char *header;
    enum range_result result;
    uint64_t offset, length;
  } cases[] = {
      {"bytes=0-99", RANGE_PART, 0, 100},
      {"bytes=900-", RANGE_PART, 900, 100},
      {"bytes=-1", RANGE_PART, 999, 1},
      {"bytes=-5000", RANGE_PART, 0, 1000},
      {"bytes=990-5000", RANGE_PART, 990, 10},
      {"bytes=1000-", RANGE_UNSATISFIABLE, 0, 0},
      {"bytes=-0", RANGE_UNSATISFIABLE, 0, 0},
      {"bytes=5-2", RANGE_FULL, 0, 0},
      {"bytes=0-1,5-6", RANGE_FULL, 0, 0},
      {"items=0-1", RANGE_FULL, 0, 0},
      {"bytes=", RANGE_FULL, 0, 0},
      {"bytes=a-b", RANGE_FULL, 0, 0},
      {NULL, RANGE_FULL, 0, 0},
  };
  for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
    uint64_t offset = 0, length = 0;
    enum range_result result = range_parse(cases[i].header, 1000, &offset, &length);
    if (result != cases[i].result)
      fail_msg("%s: %d", cases[i].header, (int)result);
    if (result == RANGE_PART) {
      assert_int_equal(offset, cases[i].offset);
      assert_int_equal(length, cases[i].length);
    }
  }
}

static void tags_and_digests(void **state) {
  (void)state;
  char hex[SHA256_HEX], text[DIGEST_TEXT], tag[SHA256_HEX + 16], back[SHA256_HEX];
  sha256_data("abc", 3, hex);
  (void)snprintf(tag, sizeof(tag), "\"%s\"", hex);
  assert_true(etag_matches(tag, hex));
  assert_true(etag_matches("*", hex));
  assert_false(etag_matches("\"other\"", hex));
  assert_false(etag_matches(NULL, hex));
  assert_true(if_range_holds(NULL, hex));
  assert_true(if_range_holds(tag, hex));
  assert_false(if_range_holds("\"other\"", hex));
  digest_format(hex, text);
  assert_int_equal(digest_parse(text, back), 1);
  assert_string_equal(back, hex);
  assert_int_equal(digest_parse("sha-256=:AAAA:", back), -EINVAL);
  assert_int_equal(digest_parse("md5=:AAAA:", back), 0);
}

static void targets_and_routes(void **state) {
  (void)state;
  static const char *const bad[] = {"/v1/%00", "/v1/%zz", "/v1/%4", "/v1/../x", "v1/jobs", "/v1/\x80"};
  static const struct {
    const char *method, *raw;
    int r;
    const char *operation;
  } cases[] = {
      {"GET", "/v1/jobs/a%2Fb?x=1", 0, "getJob"},
      {"HEAD", "/healthz", 0, "getHealth"},
      {"PUT", "/v1/datasets/x", 0, "putDataset"},
      {"PATCH", "/v1/jobs", -EOPNOTSUPP, "GET, HEAD, POST"},
      {"GET", "/v1/jobs/a/b/c/d", -ENOENT, ""},
      {"GET", "/v1/jobs/", -ENOENT, ""},
      {"GET", "/", 0, "getDashboard"},
      {"GET", "/assets/", -ENOENT, ""},
      {"DELETE", "/v1/models/m", 0, "deleteModel"},
      {"POST", "/v1/jobs/j/pause", 0, "pauseJob"},
      {"POST", "/v1/jobs/cancel", 0, "cancelJobs"},
      {"GET", "/v1/jobs/cancel", 0, "getJob"}, /* a job of that name, which there is not */
      {"DELETE", "/v1/datasets/d/identities/a%20b/images/c%2Fd.png", 0, "deleteImage"},
  };
  for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
    struct target target;
    struct guise_error err = {0};
    if (target_parse(bad[i], &target, &err) != -EINVAL)
      fail_msg("%s", bad[i]);
  }
  for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
    struct target target;
    const struct route *route = NULL;
    const char *parameters[4];
    char allow[64];
    assert_int_equal(target_parse(cases[i].raw, &target, NULL), 0);
    int r = route_find(cases[i].method, &target, &route, parameters, allow);
    if (r != cases[i].r)
      fail_msg("%s %s: %d", cases[i].method, cases[i].raw, r);
    if (r == 0)
      assert_string_equal(route->operation, cases[i].operation);
    if (r == -EOPNOTSUPP)
      assert_string_equal(allow, cases[i].operation);
    if (i == 0)
      assert_string_equal(parameters[0], "a/b");
    target_clear(&target);
  }
}

/* The one thread that serves everybody looks at single rows and short pages; what may be long goes to others.
 */
static void long_answers_are_made_beside(void **state) {
  (void)state;
  static const struct {
    const char *raw;
    bool beside;
  } cases[] = {
      {"/v1/jobs/j", false},
      {"/v1/jobs/j?wait=30", false},
      {"/v1/jobs/j/metrics?limit=100", false},
      {"/v1/jobs/j/metrics?format=csv", true},
      {"/v1/jobs/j/log", false},
      {"/v1/jobs/j/log?format=text", true},
      {"/v1/jobs/j/events", false},
      {"/v1/jobs", true},
      {"/v1/models", true},
      {"/v1/audit?actor=loopback", true},
  };
  for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
    struct target target;
    const struct route *route = NULL;
    const char *parameters[4];
    char allow[64];
    assert_int_equal(target_parse(cases[i].raw, &target, NULL), 0);
    assert_int_equal(route_find("GET", &target, &route, parameters, allow), 0);
    if (route_blocks(route, &target) != cases[i].beside)
      fail_msg("%s", cases[i].raw);
    target_clear(&target);
  }
}

static const char *const method_keys[] = {"get", "post", "put", "delete"};

/* The name in the comma-separated list, or NULL. */
static const char *listed(const char *list, const char *name) {
  for (const char *p = list; *p; p += strcspn(p, ","), p += *p == ',')
    if (strcspn(p, "*,") == strlen(name) && strncmp(p, name, strlen(name)) == 0)
      return p;
  return NULL;
}

/* A parameter that the route takes several times is an array, any other is not. */
static void repetition_is_told(const json_t *document, const struct route *route, const json_t *parameter,
                               const char *name) {
  const char *type = json_string_value(
      json_object_get(document_resolve(document, json_object_get(parameter, "schema")), "type"));
  const bool array = type && strcmp(type, "array") == 0;
  if (array != (listed(route->query, name)[strlen(name)] == '*'))
    fail_msg("%s: the document and the route differ about whether %s repeats", route->operation, name);
}

static uint32_t members(const char *list) {
  uint32_t count = *list != 0;
  for (; *list; list++)
    count += *list == ',';
  return count;
}

/* The route's scope is its operation's security requirement, and only what tells nothing has none. */
static void scope_is_told(const struct route *route, const json_t *operation) {
  const json_t *security = json_object_get(operation, "security");
  const json_t *scopes = json_object_get(json_array_get(security, 0), "bearer");
  if (route->scope == SCOPE_NONE)
    assert_int_equal(json_array_size(security), 0);
  else if (json_array_size(scopes) != 1 ||
           strcmp(json_string_value(json_array_get(scopes, 0)), scope_name(route->scope)) != 0)
    fail_msg("%s: the document names another scope than %s", route->operation, scope_name(route->scope));
  assert_true(json_is_array(security));
  assert_true(route->scope != SCOPE_NONE || strncmp(route->pattern, "/v1/", 4) != 0);
}

/* The headers that an operation looks at, beside those of every request. */
static const char *headers_of(const char *operation) {
  static const char *const headers[][2] = {{"getDashboard", "If-None-Match"},
                                           {"getAsset", "If-None-Match"},
                                           {"putDataset", "Content-Digest"},
                                           {"postJob", "Idempotency-Key"},
                                           {"streamEvents", "Last-Event-ID"},
                                           {"getModelFile", "If-None-Match,Range,If-Range"},
                                           {"inferModel", "Inference-Header-Content-Length"}};
  for (size_t i = 0; i < ARRAY_SIZE(headers); i++)
    if (strcmp(headers[i][0], operation) == 0)
      return headers[i][1];
  return "";
}

/* Query parameters and headers, in both directions; parameters of the path stand in its pattern. */
static void parameters_are_told(const json_t *document, const struct route *route, const json_t *item,
                                const json_t *operation) {
  const json_t *lists[] = {json_object_get(item, "parameters"), json_object_get(operation, "parameters")};
  const char *known = headers_of(route->operation);
  uint32_t queries = 0, headers = 0;
  for (size_t i = 0; i < 2; i++) {
    const json_t *each;
    size_t k;
    json_array_foreach(lists[i], k, each) {
      const json_t *parameter = document_resolve(document, each);
      const char *name = json_string_value(json_object_get(parameter, "name"));
      const char *in = json_string_value(json_object_get(parameter, "in"));
      char braced[80];
      assert_non_null(name);
      (void)snprintf(braced, sizeof(braced), "{%s}", name);
      if (strcmp(in, "query") == 0 && !listed(route->query, name))
        fail_msg("%s: the route takes no parameter %s", route->operation, name);
      if (strcmp(in, "query") == 0)
        repetition_is_told(document, route, parameter, name);
      if (strcmp(in, "path") == 0 && !strstr(route->pattern, braced))
        fail_msg("%s: the path has no %s", route->operation, name);
      if (strcmp(in, "header") == 0 && !listed(known, name))
        fail_msg("%s: the route does not look at the header %s", route->operation, name);
      headers += strcmp(in, "header") == 0;
      queries += strcmp(in, "query") == 0;
    }
  }
  if (headers != members(known))
    fail_msg("%s: the document lacks one of the headers %s", route->operation, known);
  if (queries != members(route->query))
    fail_msg("%s: the document lacks one of the parameters %s", route->operation, route->query);
}

static void body_is_told(const struct route *route, const json_t *operation) {
  const json_t *content = json_object_get(json_object_get(operation, "requestBody"), "content");
  const char *type;
  json_t *media;
  json_object_foreach((json_t *)content, type, media) {
    if (!listed(route->types, type))
      fail_msg("%s: the route takes no %s", route->operation, type);
  }
  assert_int_equal(json_object_size(content), members(route->types));
}

/* Every route stands in the document as it is, and every operation of the document in the table. */
static void the_document_describes_the_table(void **state) {
  (void)state;
  json_t *document = document_parse(schema_openapi, schema_openapi_size), *item;
  const char *pattern;
  uint32_t operations = 0;
  assert_non_null(document);
  for (size_t i = 0; i < route_count; i++) {
    const struct route *route = &routes[i];
    item = json_object_get(json_object_get(document, "paths"), route->pattern);
    const json_t *operation = json_object_get(item, method_keys[route->method]);
    const char *id = json_string_value(json_object_get(operation, "operationId"));
    if (!id || strcmp(id, route->operation) != 0)
      fail_msg("%s %s is not %s in schema/openapi.yaml", route_method_name(route->method), route->pattern,
               route->operation);
    scope_is_told(route, operation);
    parameters_are_told(document, route, item, operation);
    body_is_told(route, operation);
  }
  json_object_foreach(json_object_get(document, "paths"), pattern, item) {
    operations += (uint32_t)json_object_size(item) - (json_object_get(item, "parameters") != NULL);
  }
  assert_int_equal(operations, route_count);
  json_decref(document);
}

static uint32_t complaints(const char *raw, const char *known) {
  struct target target;
  struct spec_problems problems = {0};
  assert_int_equal(target_parse(raw, &target, NULL), 0);
  query_check(&target, known, &problems);
  uint32_t count = problems.count;
  spec_problems_free(&problems);
  target_clear(&target);
  return count;
}

/* The handlers read the first of several: whoever gave two would have one left out of account. */
static void repeated_parameters(void **state) {
  (void)state;
  static const char known[] = "limit,state*,label,unsafe";
  assert_int_equal(complaints("/v1/jobs?state=queued&state=running&label=a&limit=1", known), 0);
  assert_int_equal(complaints("/v1/jobs?label=a:1&label=b:2", known), 1);
  assert_int_equal(complaints("/v1/jobs?label=a&label=a&label=a", known), 1); /* told once */
  assert_int_equal(complaints("/v1/jobs?label=&l%61bel=b", known), 1);
  assert_int_equal(complaints("/v1/jobs?label=a&label=b&limit=1&limit=1", known), 2);
  assert_int_equal(complaints("/v1/jobs?unsafe=false&unsafe=true", known), 1);
  assert_int_equal(complaints("/v1/jobs?stat=a&state*=b&=c", known), 3);
}

static void bearers(void **state) {
  (void)state;
  static const char *const bad[] = {"",          "Bearer",      "Bearer ",  "Basic abc",
                                    "Bearerabc", "bearer\tabc", " Bearer x"};
  for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
    if (auth_bearer(bad[i]))
      fail_msg("\"%s\" was taken", bad[i]);
  assert_string_equal(auth_bearer("Bearer abc"), "abc");
  assert_string_equal(auth_bearer("bEARER   abc"), "abc");
  assert_string_equal(auth_bearer("Bearer a b"), "a b"); /* no token, but that is found out later */
}

static void cursors(void **state) {
  (void)state;
  char text[CURSOR_TEXT];
  int64_t row = 0;
  cursor_format("jobs", 123456789, text);
  assert_int_equal(cursor_parse("jobs", text, &row), 0);
  assert_int_equal(row, 123456789);
  assert_int_equal(cursor_parse("models", text, &row), -EINVAL);
  assert_int_equal(cursor_parse("jobs", "", &row), -EINVAL);
  assert_int_equal(cursor_parse("jobs", "123", &row), -EINVAL);
}

static int read_json(const char *text) {
  json_t *object = NULL;
  struct guise_error err = {0};
  int r = json_read(text, strlen(text), &object, &err);
  if (r == 0)
    json_decref(object);
  else
    assert_true(*err.text != 0);
  return r;
}

static void json_from_strangers(void **state) {
  (void)state;
  char deep[256] = "{\"a\":";
  for (size_t i = 5; i < 105; i++)
    deep[i] = '[';
  assert_int_equal(read_json("{\"a\":[1,2,{}]}"), 0);
  assert_int_equal(read_json("{\"a\":1,\"a\":2}"), -EBADMSG);
  assert_int_equal(read_json("[]"), -EBADMSG);
  assert_int_equal(read_json("{\"a\":1} x"), -EBADMSG);
  assert_int_equal(read_json(""), -EBADMSG);
  assert_int_equal(read_json("{\"a\":\"\xff\"}"), -EBADMSG);
  assert_int_equal(read_json(deep), -EBADMSG);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(framing),
                                     cmocka_unit_test(ambiguous_fields),
                                     cmocka_unit_test(hosts),
                                     cmocka_unit_test(media_types),
                                     cmocka_unit_test(ranges),
                                     cmocka_unit_test(tags_and_digests),
                                     cmocka_unit_test(targets_and_routes),
                                     cmocka_unit_test(the_document_describes_the_table),
                                     cmocka_unit_test(repeated_parameters),
                                     cmocka_unit_test(long_answers_are_made_beside),
                                     cmocka_unit_test(bearers),
                                     cmocka_unit_test(cursors),
                                     cmocka_unit_test(json_from_strangers)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
