/* Start and end of the server, and a request's way through it (server.h tells the design). */
#include "api/http.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "api/page.h"
#include "api/reply.h"
#include "daemon/listen.h"

#define TIMER_MS 200
#define STOP_WITHIN_MS 2000
#define CONNECTION_MEMORY (48u << 10)

/* ---- a request's head
 * ------------------------------------------------------------------------------------------------- */

static void *on_uri(void *context, const char *uri, struct MHD_Connection *connection) {
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

/* ---- a request's life
 * -------------------------------------------------------------------------------------------------- */

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

static enum MHD_Result on_access(void *context, struct MHD_Connection *connection, const char *url,
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

static void on_completed(void *context, struct MHD_Connection *connection, void **request_context,
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

/* ---- the server
 * ----------------------------------------------------------------------------------------------------------
 */

static void on_event(void *context, const char *job, int64_t seq) {
  (void)seq;
  waiters_wake(context, job);
}

static void *timer_main(void *context) {
  struct http *http = context;
  (void)pthread_mutex_lock(&http->lock);
  while (!http->done) {
    struct timespec until;
    (void)clock_gettime(CLOCK_REALTIME, &until);
    until.tv_nsec += (long)TIMER_MS * 1000000;
    until.tv_sec += until.tv_nsec / 1000000000;
    until.tv_nsec %= 1000000000;
    (void)pthread_cond_timedwait(&http->changed, &http->lock, &until);
    (void)pthread_mutex_unlock(&http->lock);
    int64_t now = clock_ns();
    waiters_expire(http, now);
    connections_expire(http, now);
    audit_hand_on(http);
    atomic_store(&http->timer_ns, now);
    (void)pthread_mutex_lock(&http->lock);
  }
  (void)pthread_mutex_unlock(&http->lock);
  return NULL;
}

void http_unref(struct http *http) {
  if (atomic_fetch_sub(&http->references, 1) != 1)
    return;
  (void)tls_close(http->tls);
  free(http->traffic);
  (void)pthread_mutex_destroy(&http->trail.lock);
  (void)pthread_cond_destroy(&http->changed);
  (void)pthread_mutex_destroy(&http->lock);
  free(http);
}

/* The listening address as a Host header names it. */
static void name_bound(int fd, char bound[64]) {
  struct sockaddr_storage address;
  socklen_t length = sizeof(address);
  char text[INET6_ADDRSTRLEN] = "";
  bound[0] = 0;
  if (getsockname(fd, (struct sockaddr *)&address, &length) < 0)
    return;
  if (address.ss_family == AF_INET &&
      inet_ntop(AF_INET, &((struct sockaddr_in *)(void *)&address)->sin_addr, text, sizeof(text)))
    (void)snprintf(bound, 64, "%s", text);
  if (address.ss_family == AF_INET6 &&
      inet_ntop(AF_INET6, &((struct sockaddr_in6 *)(void *)&address)->sin6_addr, text, sizeof(text)))
    (void)snprintf(bound, 64, "[%s]", text);
}

/* Of other machines none is to take all connections; where a proxy stands between, all come from its address.
 */
static unsigned most_per_address(const struct http *http, int listen_fd) {
  const struct config *config = service_config(http->service);
  if (config->connections_per_address > 0)
    return (unsigned)config->connections_per_address;
  return listen_is_local(listen_fd) || strcmp(config->tls, "required") != 0
             ? 0u
             : (unsigned)config->connections / 4;
}

static int start_daemon(struct http *http, int listen_fd, struct guise_error *err) {
  const struct config *config = service_config(http->service);
  const unsigned flags = MHD_USE_EPOLL_INTERNAL_THREAD | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_ITC |
                         (http->tls ? (unsigned)MHD_USE_TLS : 0u);
  const struct MHD_OptionItem secure[] = {{MHD_OPTION_HTTPS_PRIORITIES, 0, (void *)TLS_PRIORITIES},
                                          {MHD_OPTION_HTTPS_CERT_CALLBACK2, 0, (void *)tls_retrieve},
                                          {MHD_OPTION_END, 0, NULL}};
  const struct MHD_OptionItem plain[] = {{MHD_OPTION_END, 0, NULL}};
  http->daemon = MHD_start_daemon(
      flags, 0, NULL, NULL, on_access, http, MHD_OPTION_LISTEN_SOCKET, listen_fd, MHD_OPTION_URI_LOG_CALLBACK,
      on_uri, http, MHD_OPTION_NOTIFY_COMPLETED, on_completed, http, MHD_OPTION_NOTIFY_CONNECTION,
      connection_notify, http, MHD_OPTION_CONNECTION_LIMIT, (unsigned)config->connections,
      MHD_OPTION_PER_IP_CONNECTION_LIMIT, most_per_address(http, listen_fd), MHD_OPTION_CONNECTION_TIMEOUT,
      (unsigned)config->request_timeout_s + 5u, MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)CONNECTION_MEMORY,
      MHD_OPTION_STRICT_FOR_CLIENT, 1, MHD_OPTION_ARRAY, http->tls ? secure : plain, MHD_OPTION_END);
  return http->daemon
             ? 0
             : error_set(err, -EIO, "the HTTP server cannot be started: too few file descriptors or threads");
}

int http_start(struct service *service, int listen_fd, struct http **ret_http, struct guise_error *err) {
  const struct config *config = service_config(service);
  struct http *http = calloc(1, sizeof(*http));
  struct traffic *traffic = traffic_new(route_count + 1);
  if (!http || !traffic) {
    free(http);
    free(traffic);
    return error_set(err, -ENOMEM, "out of memory starting the HTTP server");
  }
  http->traffic = traffic;
  http->service = service;
  http->references = 1;
  http->request_timeout_ns = (int64_t)config->request_timeout_s * 1000000000;
  http->started_ms = time_now_ms();
  http->timer_ns = clock_ns();
  (void)pthread_mutex_init(&http->lock, NULL);
  (void)pthread_mutex_init(&http->trail.lock, NULL);
  (void)pthread_cond_init(&http->changed, NULL);
  name_bound(listen_fd, http->bound);
  http->needs_tokens = access_needs_tokens(config, listen_fd);
  int r = access_uses_tls(config, listen_fd)
              ? tls_open(config->tls_certificate, config->tls_key, &http->tls, err)
              : 0;
  if (r == 0)
    r = peers_parse(config->unix_users, config->unix_groups, &http->peers, err);
  if (r == 0 && (r = service_listen(service, on_event, http, &http->listener)) < 0)
    error_set(err, r, "cannot listen to events: %s", strerror(-r));
  if (r == 0 && (r = -pthread_create(&http->timer, NULL, timer_main, http)) < 0)
    error_set(err, r, "cannot start a thread: %s", strerror(-r));
  http->timer_runs = r == 0;
  if (r == 0)
    r = start_daemon(http, listen_fd, err);
  if (r < 0) {
    http_stop(http);
    return r;
  }
  *ret_http = http;
  return 0;
}

int http_reload(struct http *http, struct guise_error *err) {
  return http->tls ? tls_reload(http->tls, err) : 0;
}

void http_drain(struct http *http) {
  if (atomic_exchange(&http->draining, true))
    return;
  int fd = http->daemon ? MHD_quiesce_daemon(http->daemon) : -1;
  if (fd >= 0)
    (void)close(fd);
  waiters_wake(http, NULL);
}

/* Everything suspended goes back to libmicrohttpd, and nothing is suspended any more. */
static void resume_all(struct http *http) {
  (void)pthread_mutex_lock(&http->lock);
  http->stopping = true;
  while (http->working) {
    struct request *request = http->working;
    http->working = request->next;
    if (request->next)
      request->next->previous = NULL;
    request->next = NULL;
    request->abandoned = true;
    MHD_resume_connection(request->connection);
  }
  (void)pthread_mutex_unlock(&http->lock);
  waiters_wake(http, NULL);
}

static void wait_for_requests(struct http *http) {
  struct timespec until;
  (void)clock_gettime(CLOCK_REALTIME, &until);
  until.tv_sec += STOP_WITHIN_MS / 1000;
  (void)pthread_mutex_lock(&http->lock);
  while (http->requests > 0 && pthread_cond_timedwait(&http->changed, &http->lock, &until) == 0)
    ;
  (void)pthread_mutex_unlock(&http->lock);
}

void http_stop(struct http *http) {
  if (!http)
    return;
  if (http->daemon) {
    http_drain(http);
    wait_for_requests(http);
    resume_all(http);
    MHD_stop_daemon(http->daemon);
  }
  answers_clear(http);
  if (http->timer_runs) {
    (void)pthread_mutex_lock(&http->lock);
    http->done = true;
    (void)pthread_cond_broadcast(&http->changed);
    (void)pthread_mutex_unlock(&http->lock);
    (void)pthread_join(http->timer, NULL);
  }
  connections_clear(http);
  audit_write(http);
  if (http->listener)
    service_unlisten(http->service, http->listener);
  http_unref(http);
}

/* ---- the watchdog's question
 * ----------------------------------------------------------------------------------------------- */

/* Whether the other end of the socket pair is closed. */
static bool is_closed(int fd) {
  struct pollfd poller = {.fd = fd};
  return poll(&poller, 1, 0) == 1 && (poller.revents & POLLHUP);
}

/* Sends GET /healthz through a socket pair that libmicrohttpd serves like any connection. When clients hold
 * all connections it is refused, or closed without an answer: a restart would only end jobs. */
static bool ask_itself(struct http *http) {
  static const char question[] = "GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
  struct sockaddr nobody = {.sa_family = AF_UNSPEC};
  char reply[64];
  ssize_t got = -1;
  int ends[2];
  const struct timeval patience = {.tv_sec = 2};
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) < 0)
    return false;
  _cleanup_(closep) int mine = ends[0];
  errno = 0;
  if (MHD_add_connection(http->daemon, ends[1], &nobody, sizeof(nobody)) !=
      MHD_YES)              /* closes it on failure */
    return errno == ENFILE; /* the limit of connections */
  if (setsockopt(mine, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience)) < 0 ||
      setsockopt(mine, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience)) < 0)
    return false;
  if (http->tls)
    got = tls_ask(mine, question, sizeof(question) - 1, reply, sizeof(reply));
  else if (send(mine, question, sizeof(question) - 1, MSG_NOSIGNAL) == (ssize_t)sizeof(question) - 1)
    got = recv(mine, reply, sizeof(reply), 0);
  return got > 0 ? got > 12 && strncmp(reply, "HTTP/1.1 200", 12) == 0 : is_closed(mine);
}

bool http_alive(struct http *http) {
  return clock_ns() - atomic_load(&http->timer_ns) < 5000000000 && ask_itself(http);
}
