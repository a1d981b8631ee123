/* The dashboard as browsers get it, over real HTTP: every file of web/ as it is, with its type, policy and
 * ETag; nothing that the page and its files refer to is missing or foreign. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/file.h"
#include "tests/integration/support/server.h"

#define WEB GUISE_SOURCE "/web"

static struct server server;

static int setup(void **state) {
  (void)state;
  server_prepare(&server);
  server_start(&server);
  expect(&server, "POST", "/v1/tokens", "{\"name\":\"t\",\"scopes\":[\"admin\"]}", 201, NULL);
  assert_int_equal(server_stop(&server), 0);
  server.option[0] = "--auth=token"; /* which the dashboard's files do not need */
  server_start(&server);
  return 0;
}

static int teardown(void **state) {
  (void)state;
  int status = server_stop(&server);
  server_clean(&server);
  return status;
}

static const char *type_of(const char *name) {
  static const char *const types[][2] = {{".html", "text/html; charset=utf-8"},
                                         {".css", "text/css; charset=utf-8"},
                                         {".js", "text/javascript; charset=utf-8"},
                                         {".svg", "image/svg+xml"},
                                         {".txt", "text/plain; charset=utf-8"}};
  const char *end = strrchr(name, '.');
  for (size_t i = 0; end && i < sizeof(types) / sizeof(types[0]); i++)
    if (strcmp(end, types[i][0]) == 0)
      return types[i][1];
  return NULL;
}

static void check_policy(const struct reply *reply) {
  static const char *const wanted[] = {"default-src 'none'",     "script-src 'self'",
                                       "style-src 'self'",       "connect-src 'self'",
                                       "frame-ancestors 'none'", "base-uri 'none'",
                                       "form-action 'none'",     "require-trusted-types-for 'script'"};
  const char *policy = header_of(reply, "Content-Security-Policy");
  for (size_t i = 0; i < sizeof(wanted) / sizeof(wanted[0]); i++)
    if (!strstr(policy, wanted[i]))
      fail_msg("the policy lacks %s: %s", wanted[i], policy);
  assert_null(strstr(policy, "unsafe"));
  assert_null(strchr(policy, '*'));
  assert_null(strstr(policy, "http"));
  assert_string_equal(header_of(reply, "X-Content-Type-Options"), "nosniff");
  assert_string_equal(header_of(reply, "Referrer-Policy"), "no-referrer");
  assert_string_equal(header_of(reply, "Cache-Control"), "no-cache");
}

/* Asked again with its ETag, and with another one. */
static void check_etag(const char *path, const char *tag) {
  char header[128];
  struct reply reply;
  assert_int_equal(strlen(tag), 66);
  (void)snprintf(header, sizeof(header), "If-None-Match: %s", tag);
  ask(&server, "GET", path, header, NULL, 0, &reply);
  assert_int_equal(reply.status, 304);
  assert_int_equal(reply.size, 0);
  assert_string_equal(header_of(&reply, "ETag"), header + strlen("If-None-Match: "));
  reply_done(&reply);
  ask(&server, "GET", path, "If-None-Match: \"other\"", NULL, 0, &reply);
  assert_int_equal(reply.status, 200);
  reply_done(&reply);
}

/* No address of another host; the one in the banner of a vendored library is a comment, the one of SVG a
 * name. */
static void check_hosts(const char *name, const char *text) {
  static const char *const fine[] = {"https://github.com/leeoniya/uPlot (v", "http://www.w3.org/2000/svg\""};
  for (const char *p = strstr(text, "//"); p; p = strstr(p + 2, "//")) {
    const char *start = p;
    while (start > text && strchr("htps:", start[-1]))
      start--;
    bool known = p == start || p[-1] != ':'; /* a comment */
    for (size_t i = 0; i < sizeof(fine) / sizeof(fine[0]); i++)
      known |= strncmp(start, fine[i], strlen(fine[i])) == 0;
    if (!known)
      fail_msg("%s refers to %.60s", name, start);
  }
  static const char *const loads[] = {"=\"//", "('//", "(\"//", "url(//", "from '//"};
  for (size_t i = 0; i < sizeof(loads) / sizeof(loads[0]); i++)
    if (strstr(text, loads[i]))
      fail_msg("%s loads from elsewhere: %.60s", name, strstr(text, loads[i]));
}

static void check_file(const char *path, const char *name, const char *file) {
  struct reply reply;
  struct guise_error err = {0};
  char *bytes = NULL, tag[80];
  size_t size = 0;
  assert_int_equal(file_read(file, 1 << 20, &bytes, &size, &err), 0);
  ask(&server, "GET", path, NULL, NULL, 0, &reply);
  if (reply.status != 200 || reply.size != size || memcmp(reply.body, bytes, size) != 0)
    fail_msg("%s: %ld, %zu bytes instead of %zu", path, reply.status, reply.size, size);
  assert_string_equal(header_of(&reply, "Content-Type"), type_of(name));
  check_policy(&reply);
  check_hosts(name, reply.body);
  (void)snprintf(tag, sizeof(tag), "%s", header_of(&reply, "ETag"));
  reply_done(&reply);
  ask(&server, "HEAD", path, NULL, NULL, 0, &reply);
  assert_int_equal(reply.status, 200);
  assert_int_equal(strtoull(header_of(&reply, "Content-Length"), NULL, 10), size);
  reply_done(&reply);
  check_etag(path, tag);
  free(bytes);
}

/* Every file of the folder that is one of the dashboard's; returns how many. */
static unsigned check_folder(const char *folder) {
  DIR *directory = opendir(folder);
  struct dirent *entry;
  unsigned count = 0;
  assert_non_null(directory);
  while ((entry = readdir(directory))) {
    char file[1024], path[300];
    if (!type_of(entry->d_name))
      continue;
    (void)snprintf(file, sizeof(file), "%s/%s", folder, entry->d_name);
    (void)snprintf(path, sizeof(path), "/assets/%s", entry->d_name);
    check_file(path, entry->d_name, file);
    count++;
  }
  (void)closedir(directory);
  return count;
}

static void every_file_is_served(void **state) {
  (void)state;
  assert_true(check_folder(WEB) > 10);
  assert_true(check_folder(WEB "/vendor") >= 3); /* the library, its style, its licence */
  check_file("/", "index.html", WEB "/index.html");
}

/* Whether what stands between `before` and the next quote is there, wherever the text says so. */
static unsigned check_references(const char *text, const char *before, const char *folder) {
  unsigned count = 0;
  for (const char *p = strstr(text, before); p; p = strstr(p, before)) {
    char path[300];
    p += strlen(before);
    (void)snprintf(path, sizeof(path), "%s%.*s", folder, (int)strcspn(p, "\"'"), p);
    expect(&server, "GET", path, NULL, 200, NULL);
    count++;
  }
  return count;
}

static void nothing_is_missing(void **state) {
  (void)state;
  struct reply page, script;
  expect(&server, "GET", "/", NULL, 200, &page);
  assert_true(check_references(page.body, "\"assets/", "/assets/") >= 6);
  assert_null(strstr(page.body, "<style"));
  assert_null(strstr(page.body, " style="));
  assert_null(strstr(page.body, " onclick"));
  expect(&server, "GET", "/assets/app.js", NULL, 200, &script);
  assert_true(check_references(script.body, "from './", "/assets/") >= 6);
  reply_done(&script);
  reply_done(&page);
}

static void what_is_not_there(void **state) {
  (void)state;
  static const char *const paths[] = {"/assets/",       "/assets/embed.sh", "/assets/..%2Findex.html",
                                      "/assets/vendor", "/index.html",      "/assets/vendor/uPlot.min.css"};
  struct reply reply;
  for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++) {
    expect(&server, "GET", paths[i], NULL, 404, &reply);
    assert_string_equal(header_of(&reply, "Content-Type"), "application/problem+json");
    reply_done(&reply);
  }
  expect(&server, "POST", "/", "{}", 405, NULL);
  expect(&server, "GET", "/v1/jobs", NULL, 401, NULL); /* the page is free, what it shows is not */
  ask(&server, "GET", "/", "Origin: http://evil.example", NULL, 0, &reply);
  assert_int_equal(reply.status, 403);
  reply_done(&reply);
}

/* The form is made from this document: it must be the one that openapi.yaml is. */
static void the_schema_in_json(void **state) {
  (void)state;
  struct reply reply;
  expect(&server, "GET", "/openapi.json", NULL, 200, &reply);
  assert_string_equal(header_of(&reply, "Content-Type"), "application/json");
  const json_t *schemas = json_object_get(json_object_get(reply.json, "components"), "schemas");
  const json_t *train =
      json_object_get(json_object_get(json_object_get(schemas, "JobSpec"), "properties"), "train");
  const json_t *epochs = json_object_get(json_object_get(train, "properties"), "epochs");
  const json_t *select = json_object_get(
      json_object_get(
          json_object_get(json_object_get(json_object_get(schemas, "JobSpec"), "properties"), "mask"),
          "properties"),
      "select");
  assert_string_equal(json_string_value(json_object_get(epochs, "type")), "integer");
  assert_int_equal(json_integer_value(json_object_get(epochs, "maximum")), 1000);
  assert_true(json_is_false(json_object_get(train, "additionalProperties")));
  assert_true(json_is_null(json_array_get(json_object_get(select, "enum"), 2)));
  assert_string_equal(json_string_value(json_object_get(reply.json, "openapi")), "3.1.0"); /* no number */
  reply_done(&reply);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(every_file_is_served), cmocka_unit_test(nothing_is_missing),
      cmocka_unit_test(what_is_not_there), cmocka_unit_test(the_schema_in_json)};
  return cmocka_run_group_tests(tests, setup, teardown);
}
