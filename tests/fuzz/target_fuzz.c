/* The request target: path, query, route, and the parts of a list's query. */
#include <stdlib.h>
#include <string.h>

#include "api/page.h"
#include "api/server.h"
#include "tests/fuzz/fuzz.h"

/* Decoded text is UTF-8 without control characters, which jansson agrees with. */
static void check_text(const char *text) {
  json_t *string = json_string(text);
  FUZZ_CHECK(string != NULL);
  json_decref(string);
  for (const unsigned char *p = (const unsigned char *)text; *p; p++)
    FUZZ_CHECK(*p >= 0x20 && *p != 0x7f);
}

static void find_route(const struct target *target, const char *method) {
  const struct route *route = NULL;
  const char *parameters[4] = {NULL, NULL, NULL, NULL};
  char allow[64];
  struct spec_problems problems = {NULL, 0};
  int r = route_find(method, target, &route, parameters, allow);
  FUZZ_CHECK(r == 0 || r == -ENOENT || (r == -EOPNOTSUPP && allow[0]));
  if (r < 0)
    return;
  FUZZ_CHECK(!strchr(route->pattern, '{') || *parameters[0]);
  query_check(target, route->query, &problems);
  spec_problems_free(&problems);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  char *raw = fuzz_text(data, size);
  struct target target;
  struct guise_error err = {0};
  struct spec_problems problems = {NULL, 0};
  struct store_page page;
  if (target_parse(raw, &target, &err) == 0) {
    for (uint32_t i = 0; i < target.segments; i++)
      check_text(target.segment[i]);
    for (uint32_t i = 0; i < target.queries; i++) {
      check_text(target.query[i].name);
      check_text(target.query[i].value);
    }
    find_route(&target, "GET");
    find_route(&target, "POST");
    find_route(&target, "PATCH");
    page_parse(&target, "jobs", &page, &problems);
    FUZZ_CHECK(problems.count > 0 || (page.limit >= 1 && page.limit <= 100 && page.cursor >= 0));
    char *link = page_link(raw, "next");
    FUZZ_CHECK(link && !strpbrk(link, "\r\n"));
    free(link);
    spec_problems_free(&problems);
    target_clear(&target);
  } else {
    FUZZ_CHECK(err.text[0]);
  }
  free(raw);
  return 0;
}
