/* A request's way through the server (server.h tells the design), as libmicrohttpd calls. */
#include <string.h>

#include "api/page.h"
#include "api/reply.h"

/* ---- its head ---- */

void *request_new(void *context, const char *uri, struct MHD_Connection *connection) {
  struct http *http = context;
  struct request *request = calloc(1, sizeof(*request));
  if (!request)
    return NULL;
  request->http = http;
  request->service = http->service;
  request->connection = connection;
  request->raw = strdup(uri);
  request->oip = strncmp(uri, "/v2", 3) == 0 && strchr("/?", uri[3]);
  request->references = 1;
  atomic_fetch_add(&http->references, 1);
  return request;
}

static enum MHD_Result count_header(void *context, enum MHD_ValueKind kind, const char *key,
                                    const char *value) {
  (void)kind;
  guard_add(context, key, value ? value : "");
  return MHD_YES;
}

static bool pass_guard(struct request *request, const char *version) {
  struct guard_request g = {.version = version};
  struct guise_error err = {0};
  struct config config;
  enum problem_code code = PROBLEM_MALFORMED_REQUEST;
  (void)MHD_get_connection_values(request->connection, MHD_HEADER_KIND, count_header, &g);
  service_config_now(request->service, &config);
  if (guard_framing(&g, &request->announced, &code, &err) == 0 &&
      guard_host(&g, request->http->bound, request->http->needs_tokens ? NULL : config.allowed_hosts, &code,
                 &err) == 0 &&
      guard_origin(&g, &code, &err) == 0)
    return true;
  reply_problem(request, code, "%s", err.text);
  return false;
}

static bool pass_router(struct request *request, const char *method) {
  struct guise_error err = {0};
  struct spec_problems problems = {0};
  char allow[64];
  int r = request->raw ? target_parse(request->raw, &request->target, &err) : -ENOMEM;
  if (r < 0) {
    reply_problem(request,
                  r == -ENAMETOOLONG ? PROBLEM_URI_TOO_LONG
                  : r == -ENOMEM     ? PROBLEM_UNAVAILABLE
                                     : PROBLEM_MALFORMED_REQUEST,
                  "%s", r == -ENOMEM ? "out of memory; try again later" : err.text);
    return false;
  }
  r = route_find(method, &request->target, &request->route, request->parameter, allow);
  if (r == -ENOENT) {
    reply_problem(request, PROBLEM_NOT_FOUND,
                  "there is nothing at this path; GET /openapi.yaml describes what there is");
    return false;
  }
  if (r < 0) {
    reply_problem(request, PROBLEM_METHOD, "the method %.20s is not offered here; allowed: %s", method,
                  allow);
    reply_header(request, MHD_HTTP_HEADER_ALLOW, "%s", allow);
    return false;
  }
  request->head = strcmp(method, "HEAD") == 0;
  query_check(&request->target, request->route->query, &problems);
  if (spec_problems_any(&problems))
    reply_problems(request, &problems);
  return request->response == NULL;
}

static bool take_idempotency_key(struct request *request) {
  const char *key = MHD_lookup_connection_value(request->connection, MHD_HEADER_KIND, "Idempotency-Key");
  if (!key || request->route->method != ROUTE_POST)
    return true;
  if (!*key || strlen(key) >= sizeof(request->idempotency_key)) {
    reply_problem(request, PROBLEM_MALFORMED_REQUEST, "Idempotency-Key has 1 to %zu characters",
                  sizeof(request->idempotency_key) - 1);
    return false;
  }
  memcpy(request->idempotency_key, key, strlen(key) + 1);
  return true;
}

/* ---- its life ---- */

static void count_answer(const struct request *request, unsigned status) {
  traffic_count(request->http->traffic, request->route ? (size_t)(request->route - routes) : route_count,
                status, clock_ns() - request->began_ns);
}

static enum MHD_Result answer(struct request *request) {
  if (!request->response)
    return MHD_NO;
  request->stage = STAGE_ANSWERED;
  connection_phase(request->http, request->peer, CONNECTION_ANSWER);
  count_answer(request, request->status);
  /* what follows chunks is not read: programs differ about where they end */
  if (request->announced.chunked)
    reply_header(request, MHD_HTTP_HEADER_CONNECTION, "close");
  enum MHD_Result result = MHD_queue_response(request->connection, request->status, request->response);
  reply_drop(request);
  return result;
}

static enum MHD_Result begin(struct request *request, const char *method, const char *version) {
  struct http *http = request->http;
  const union MHD_ConnectionInfo *info =
      MHD_get_connection_info(request->connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
  request->peer = info ? info->socket_context : NULL;
  if (!request->peer)
    return MHD_NO;
  (void)pthread_mutex_lock(&http->lock);
  http->requests++;
  request->counted = true;
  request->peer->oip = request->oip;
  request->peer->unread = false;
  (void)pthread_mutex_unlock(&http->lock);
  request->stage = STAGE_BODY;
  request->began_ns = clock_ns();
  bool known = pass_guard(request, version); /* what the request announced */
  bool welcome = known && pass_router(request, method) && auth_pass(request) && auth_pass_object(request) &&
                 take_idempotency_key(request) && rate_pass_route(request) &&
                 body_begin(request, MHD_lookup_connection_value(request->connection, MHD_HEADER_KIND,
                                                                 MHD_HTTP_HEADER_CONTENT_TYPE));
  if (!welcome) { /* before the body: the connection is closed after the answer */
    if (!known || request->announced.chunked || request->announced.length > 0)
      connection_unread(http, request->peer);
    return answer(request);
  }
  connection_phase(http, request->peer, CONNECTION_BODY);
  return MHD_YES;
}

static enum MHD_Result refuse_body(struct request *request, int r) {
  count_answer(request, problem_status(problem_of_errno(r)));
  connection_unread(request->http, request->peer);
  connection_send_problem(request->peer, problem_of_errno(r),
                          r == -EFBIG                   ? "the body is larger than what is taken"
                          : storage_reason(r)           ? storage_reason(r)
                          : *request->upload_error.text ? request->upload_error.text
                                                        : "the body could not be stored; try again later");
  return MHD_NO;
}

static enum MHD_Result take_body(struct request *request, const char *data, size_t *size) {
  size_t take = request->upload ? MIN(*size, request->body_capacity - request->body_size) : *size;
  int r = body_take(request, data, take);
  if (r < 0)
    return refuse_body(request, r);
  *size -= take;
  if (!request->upload || request->body_size < request->body_capacity)
    return MHD_YES;
  r = work_start(request, body_write_chunk);
  if (r < 0)
    return refuse_body(request, r);
  connection_phase(request->http, request->peer, CONNECTION_BODY); /* a whole chunk came: a new deadline */
  return MHD_YES;
}

static void run_handler(struct request *request) {
  audit_expect(request);
  if (body_finish(request))
    request->route->handle(request);
  if (route_is_audited(request->route))
    audit(request, request->route->blocks && route_images(request->route) == 0);
}

/* Such a handler may wait for a job's event; it answers when the server drains. */
static enum MHD_Result run_inline(struct request *request) {
  do {
    request->waits = false;
    run_handler(request);
    if (request->waits && waiter_suspend(request->http, &request->waiter, request->wait_ns)) {
      request->stage = STAGE_WAITING;
      return MHD_YES;
    }
  } while (request->waits);
  return answer(request);
}

static enum MHD_Result dispatch(struct request *request) {
  request->stage = STAGE_DISPATCHED;
  connection_phase(request->http, request->peer, CONNECTION_ANSWER);
  if (!route_blocks(request->route, &request->target))
    return run_inline(request);
  int r = work_start(request, run_handler);
  if (r == 0)
    return MHD_YES;
  reply_error(request, r, NULL);
  return answer(request);
}

static void look_at(struct request *request, bool *ret_abandoned, bool *ret_working) {
  (void)pthread_mutex_lock(&request->http->lock);
  *ret_abandoned = request->abandoned;
  *ret_working = request->working;
  (void)pthread_mutex_unlock(&request->http->lock);
}

enum MHD_Result request_access(void *context, struct MHD_Connection *connection, const char *url,
                               const char *method, const char *version, const char *data, size_t *size,
                               void **request_context) {
  struct request *request = *request_context;
  bool abandoned = true, working = false;
  (void)context;
  (void)connection;
  (void)url;
  if (request)
    look_at(request, &abandoned, &working);
  if (abandoned)
    return MHD_NO;
  /* When a chunk of the body ends where the connection is suspended, libmicrohttpd offers the next one all
   * the same: nothing is taken of it, and it comes again. */
  if (working)
    return MHD_YES;
  switch (request->stage) {
  case STAGE_NEW:
    return begin(request, method, version);
  case STAGE_BODY:
    return *size > 0 ? take_body(request, data, size) : dispatch(request);
  case STAGE_WAITING:
    return run_inline(request);
  case STAGE_DISPATCHED:
    return answer(request);
  case STAGE_ANSWERED:
    break;
  }
  *size = 0;
  return MHD_YES;
}

void request_completed(void *context, struct MHD_Connection *connection, void **request_context,
                       enum MHD_RequestTerminationCode code) {
  struct http *http = context;
  struct request *request = *request_context;
  (void)connection;
  (void)code;
  *request_context = NULL;
  if (!request)
    return;
  waiter_remove(http, &request->waiter);
  if (request->peer)
    connection_phase(http, request->peer, CONNECTION_HEAD);
  (void)pthread_mutex_lock(&http->lock);
  if (request->counted)
    http->requests--;
  (void)pthread_cond_broadcast(&http->changed);
  (void)pthread_mutex_unlock(&http->lock);
  request_unref(request);
}
