/* The head of a request, as libmicrohttpd hands it over: its fields counted, framing, Host, Origin and media
 * type judged. Input: the version, then "Name: value" lines. */
#include <stdlib.h>
#include <string.h>

#include "api/auth.h"
#include "api/guard.h"
#include "tests/fuzz/fuzz.h"

#define JSON_TYPES "application/json"

/* The next line, NUL-terminated in place; NULL at the end. */
static char *next_line(char **at) {
  char *line = *at;
  if (!*line)
    return NULL;
  char *end = line + strcspn(line, "\n");
  *at = end + (*end != 0);
  *end = 0;
  return line;
}

static void judge(const struct guard_request *request) {
  struct guard_body body = {0};
  struct guise_error err = {0};
  enum problem_code code = PROBLEM_MALFORMED_REQUEST;
  if (guard_framing(request, &body, &code, &err) < 0) {
    FUZZ_CHECK(problem_status(code) >= 400 && err.text[0]);
    return;
  }
  FUZZ_CHECK(request->hosts == 1 && request->host && !request->odd);
  FUZZ_CHECK(!(request->transfer_encodings && request->content_lengths));
  FUZZ_CHECK(!body.chunked || body.length == 0);
  if (guard_host(request, "127.0.0.1", NULL, &code, &err) == 0)
    FUZZ_CHECK(request->host[strcspn(request->host, " \t/\\@?#\"")] == 0);
  if (guard_host(request, "127.0.0.1", "faces.example", &code, &err) == 0)
    FUZZ_CHECK(guard_host(request, "127.0.0.1", NULL, &code, &err) == 0);
  if (guard_origin(request, &code, &err) == 0)
    FUZZ_CHECK(request->origins == 0 || strstr(request->origin, "://"));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  char *text = fuzz_text(data, size), *at = text, *line;
  struct guard_request request = {.version = next_line(&at)};
  while ((line = next_line(&at))) {
    char *colon = strchr(line, ':');
    if (!colon)
      continue;
    *colon = 0;
    const char *value = colon + 1 + strspn(colon + 1, " \t");
    guard_add(&request, line, value);
    (void)media_type_is(value, JSON_TYPES);
    (void)auth_bearer(value);
  }
  judge(&request);
  free(text);
  return 0;
}
