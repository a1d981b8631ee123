#include "api/reply.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "api/page.h"
#include "core/base/json.h"

void reply_drop(struct request *request) {
  if (request->response && !request->kept)
    MHD_destroy_response(request->response);
  request->response = NULL;
  request->kept = false;
}

void reply_take(struct request *request, unsigned status, struct MHD_Response *response) {
  reply_drop(request);
  request->status = status;
  request->response = response; /* NULL: the dispatcher closes the connection */
  if (!response)
    return;
  reply_header(request, "X-Content-Type-Options", "nosniff");
  reply_header(request, "Cache-Control", "no-store");
}

void reply_header(struct request *request, const char *name, const char *format, ...) {
  char value[TARGET_BYTES + 256];
  va_list args;
  va_start(args, format);
  (void)vsnprintf(value, sizeof(value), format, args);
  va_end(args);
  if (!request->response)
    return;
  const char *old = MHD_get_response_header(request->response, name);
  if (old)
    (void)MHD_del_response_header(request->response, name, old);
  (void)MHD_add_response_header(request->response, name, value);
}

static void reply_buffer(struct request *request, unsigned status, const char *type, char *text, size_t bytes,
                         enum MHD_ResponseMemoryMode mode) {
  struct MHD_Response *response = MHD_create_response_from_buffer(bytes, text, mode);
  if (!response && mode == MHD_RESPMEM_MUST_FREE)
    free(text);
  reply_take(request, status, response);
  if (type)
    reply_header(request, "Content-Type", "%s", type);
}

void reply_text_take(struct request *request, unsigned status, const char *type, char *text, size_t bytes) {
  if (text)
    reply_buffer(request, status, type, text, bytes, MHD_RESPMEM_MUST_FREE);
  else
    reply_problem(request, PROBLEM_UNAVAILABLE, "out of memory; try again later");
}

void reply_text(struct request *request, unsigned status, const char *type, const char *text, size_t bytes) {
  reply_buffer(request, status, type, (char *)text, bytes, MHD_RESPMEM_MUST_COPY);
}

void reply_text_static(struct request *request, unsigned status, const char *type, const char *text,
                       size_t bytes) {
  reply_buffer(request, status, type, (char *)text, bytes, MHD_RESPMEM_PERSISTENT);
}

void reply_empty(struct request *request, unsigned status) {
  reply_text_static(request, status, NULL, "", 0);
}

/* Without memory. */
static void reply_last(struct request *request) {
  static const char problem[] =
      "{\"type\":\"urn:guise:problem:unavailable\",\"title\":\"The service cannot do this now\","
      "\"status\":503,\"detail\":\"out of memory; try again later\"}",
                    error[] = "{\"error\":\"out of memory; try again later\"}";
  if (request->oip)
    reply_text_static(request, 503, "application/json", error, sizeof(error) - 1);
  else
    reply_text_static(request, 503, "application/problem+json", problem, sizeof(problem) - 1);
}

static void reply_typed(struct request *request, unsigned status, const char *type, json_t *body) {
  char *text = body ? json_print(body, JSON_COMPACT | JSON_REAL_PRECISION(12)) : NULL;
  json_decref(body);
  if (text)
    reply_text_take(request, status, type, text, strlen(text));
  else
    reply_last(request);
}

void reply_json(struct request *request, unsigned status, json_t *body) {
  reply_typed(request, status, "application/json", body);
}

/* The same as the Open Inference Protocol tells it: one sentence, with every mistake in it. Steals. */
static json_t *oip_error(json_t *problem) {
  json_t *text = json_incref(json_object_get(problem, "detail"));
  const json_t *error;
  size_t i;
  json_array_foreach(json_object_get(problem, "errors"), i, error) {
    json_t *more = json_sprintf("%s%s%s: %s", i > 0 ? json_string_value(text) : "", i > 0 ? "; " : "",
                                json_string_value(json_object_get(error, "pointer")),
                                json_string_value(json_object_get(error, "detail")));
    json_decref(text);
    text = more;
    if (!text)
      break;
  }
  json_decref(problem);
  return json_pack("{s:o}", "error", text);
}

static void finish_problem(struct request *request, enum problem_code code, json_t *problem) {
  if (request->oip)
    reply_typed(request, problem_status(code), "application/json", problem ? oip_error(problem) : NULL);
  else
    reply_typed(request, problem_status(code), "application/problem+json", problem);
  if (request->status == 503)
    reply_header(request, "Retry-After", "%s", RETRY_AFTER_S);
}

void reply_problem(struct request *request, enum problem_code code, const char *format, ...) {
  char detail[1024];
  va_list args;
  va_start(args, format);
  (void)vsnprintf(detail, sizeof(detail), format, args);
  va_end(args);
  json_t *problem = problem_json(code, detail, NULL, NULL);
  if (!problem) /* the detail was cut inside a character, or quoted something that is no UTF-8 */
    problem = problem_json(code, problem_title(code), NULL, NULL);
  finish_problem(request, code, problem);
}

void reply_problems(struct request *request, struct spec_problems *problems) {
  json_t *errors = problems->lost ? NULL : problem_errors(problems); /* all mistakes or none */
  char detail[80];
  (void)snprintf(detail, sizeof(detail), "%u value%s to correct, see errors", problems->count,
                 problems->count == 1 ? "" : "s");
  finish_problem(request, PROBLEM_INVALID,
                 errors ? problem_json(PROBLEM_INVALID, detail, NULL, errors) : NULL);
  spec_problems_free(problems);
}

void reply_error(struct request *request, int r, const struct guise_error *err) {
  enum problem_code code = problem_of_errno(r);
  const char *fault = storage_reason(r);
  if (fault && (!err || !err->text[0] || service_storage(request->service) == r))
    reply_problem(request, code, "%s", fault);
  else if (err && err->text[0] && code != PROBLEM_INTERNAL)
    reply_problem(request, code, "%s", err->text);
  else if (code == PROBLEM_NOT_FOUND)
    reply_problem(request, code, "there is no such thing here");
  else if (r == -EAGAIN || r == -ESHUTDOWN)
    reply_problem(request, code, "the daemon is busy or about to stop; try again later");
  else
    reply_problem(request, code, "the daemon failed: %s", err && err->text[0] ? err->text : strerror(-r));
}

void reply_receipt(struct request *request, int r, json_t *receipt, const struct guise_error *err) {
  if (r < 0) {
    reply_error(request, r, err);
    return;
  }
  json_decref(request->receipt);
  request->receipt = json_incref(receipt);
  reply_json(request, MHD_HTTP_OK, receipt);
}

void reply_page(struct request *request, const char *list, json_t *rows, int64_t next) {
  char cursor[CURSOR_TEXT] = "";
  if (next)
    cursor_format(list, next, cursor);
  reply_json(request, 200,
             rows ? json_pack("{s:o, s:o}", "data", rows, "next", json_optional(cursor)) : NULL);
  if (next && request->status == 200) {
    _cleanup_(freep) char *link = page_link(request->raw, cursor);
    if (link)
      reply_header(request, "Link", "%s", link);
  }
}

const char *media_type_of(const char *name) {
  static const struct {
    const char *suffix, *type;
  } types[] = {{".json", "application/json"},         {".html", "text/html; charset=utf-8"},
               {".csv", "text/csv; charset=utf-8"},   {".md", "text/markdown; charset=utf-8"},
               {".txt", "text/plain; charset=utf-8"}, {".js", "text/javascript; charset=utf-8"},
               {".css", "text/css; charset=utf-8"},   {".svg", "image/svg+xml"}};
  for (size_t i = 0; i < ARRAY_SIZE(types); i++) {
    size_t n = strlen(name), m = strlen(types[i].suffix);
    if (n > m && strcmp(name + n - m, types[i].suffix) == 0)
      return types[i].type;
  }
  return "application/octet-stream";
}

json_t *json_time(int64_t ms) {
  char text[TIME_TEXT];
  if (ms == 0)
    return json_null();
  time_text(ms, text);
  return json_string(text);
}

json_t *json_finite(double value) {
  return isfinite(value) ? json_real(value) : json_null();
}

json_t *json_optional(const char *text) {
  return text[0] ? json_string(text) : json_null();
}
