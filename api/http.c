/* Start and end of the server (server.h tells the design). */
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

#include "api/reply.h"
#include "daemon/listen.h"

#define TIMER_MS 200
#define STOP_WITHIN_MS 2000
#define CONNECTION_MEMORY (48u << 10)

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
      flags, 0, NULL, NULL, request_access, http, MHD_OPTION_LISTEN_SOCKET, listen_fd,
      MHD_OPTION_URI_LOG_CALLBACK, request_new, http, MHD_OPTION_NOTIFY_COMPLETED, request_completed, http,
      MHD_OPTION_NOTIFY_CONNECTION, connection_notify, http, MHD_OPTION_CONNECTION_LIMIT,
      (unsigned)config->connections, MHD_OPTION_PER_IP_CONNECTION_LIMIT, most_per_address(http, listen_fd),
      MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)config->request_timeout_s + 5u,
      MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)CONNECTION_MEMORY, MHD_OPTION_STRICT_FOR_CLIENT, 1,
      MHD_OPTION_ARRAY, http->tls ? secure : plain, MHD_OPTION_END);
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
  /* libmicrohttpd's thread may be about to look at the socket still, until the daemon is stopped */
  http->quiet_fd = http->daemon ? MHD_quiesce_daemon(http->daemon) : -1;
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
    if (http->quiet_fd >= 0)
      (void)close(http->quiet_fd);
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

/* ---- the watchdog's question ---- */

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
