/* Deadlines and endings. libmicrohttpd's timeout counts from the last byte, so a sender of one byte a second
 * outlives it: each phase of a connection has a deadline of its own, and the timer shuts the socket down
 * behind it. The lock makes that safe: a connection leaves the list before libmicrohttpd closes its socket.
 *
 * A socket that is closed while bytes lie unread in it is reset, and a reset takes away the answer that the
 * client has not read yet (RFC 9112, 9.6). So where a request is refused before its body, a duplicate of the
 * socket outlives libmicrohttpd's: the timer throws away what still comes until the client closes, or for
 * LINGER_MS. */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "api/server.h"
#include "core/base/json.h"

#define LINGER_MS 3000
#define LINGERING 64u /* at once: further ones are closed at once */

static void list(struct http *http, struct connection *c) {
  c->next = http->connections;
  if (c->next)
    c->next->previous = c;
  http->connections = c;
}

static void unlist(struct http *http, struct connection *c) {
  if (c->previous)
    c->previous->next = c->next;
  else
    http->connections = c->next;
  if (c->next)
    c->next->previous = c->previous;
}

/* Whether the client may send more: throws away what has come, at most 1 MiB. */
static bool sends_on(int fd) {
  char waste[65536];
  ssize_t got = 1;
  for (unsigned i = 0; i < 16 && got > 0; i++)
    got = recv(fd, waste, sizeof(waste), MSG_DONTWAIT);
  return got > 0 || (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR));
}

/* Under http.lock. Whether it stays in the list, with a socket of its own. */
static bool linger(struct http *http, struct connection *c) {
  int fd = c->unread && !http->stopping && http->lingering < LINGERING && sends_on(c->fd)
               ? fcntl(c->fd, F_DUPFD_CLOEXEC, 0)
               : -1;
  if (fd < 0)
    return false;
  http->lingering++;
  c->fd = fd;
  c->tls = NULL;
  c->phase = CONNECTION_LINGER;
  c->deadline_ns = clock_ns() + (int64_t)LINGER_MS * 1000000;
  return true;
}

void connection_notify(void *context, struct MHD_Connection *connection, void **socket_context,
                       enum MHD_ConnectionNotificationCode code) {
  struct http *http = context;
  struct connection *c = *socket_context;
  if (code == MHD_CONNECTION_NOTIFY_STARTED) {
    const union MHD_ConnectionInfo *fd =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD);
    const union MHD_ConnectionInfo *address =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CLIENT_ADDRESS);
    if (!fd || !(c = calloc(1, sizeof(*c))))
      return; /* requests without one are refused */
    c->fd = fd->connect_fd;
    const union MHD_ConnectionInfo *session =
        http->tls ? MHD_get_connection_info(connection, MHD_CONNECTION_INFO_GNUTLS_SESSION) : NULL;
    c->tls = session ? session->tls_session : NULL;
    c->internal = address && address->client_addr && address->client_addr->sa_family == AF_UNSPEC;
    if (c->internal) /* it waits for the watchdog */
      (void)MHD_set_connection_option(connection, MHD_CONNECTION_OPTION_TIMEOUT, 0u);
    *socket_context = c;
    (void)pthread_mutex_lock(&http->lock);
    list(http, c);
    (void)pthread_mutex_unlock(&http->lock);
    connection_phase(http, c, CONNECTION_HEAD);
  } else if (c) {
    (void)pthread_mutex_lock(&http->lock);
    bool stays = linger(http, c);
    if (!stays)
      unlist(http, c);
    (void)pthread_mutex_unlock(&http->lock);
    if (!stays)
      free(c);
    *socket_context = NULL;
  }
}

void connection_phase(struct http *http, struct connection *connection, enum connection_phase phase) {
  (void)pthread_mutex_lock(&http->lock);
  connection->phase = phase;
  connection->deadline_ns = phase == CONNECTION_ANSWER || (connection->internal && phase == CONNECTION_HEAD)
                                ? 0
                                : clock_ns() + http->request_timeout_ns;
  (void)pthread_mutex_unlock(&http->lock);
}

void connection_unread(struct http *http, struct connection *connection) {
  (void)pthread_mutex_lock(&http->lock);
  connection->unread = true;
  (void)pthread_mutex_unlock(&http->lock);
}

static json_t *problem_of(const struct connection *connection, enum problem_code code, const char *detail) {
  return connection->oip ? json_pack("{s:s}", "error", detail) : problem_json(code, detail, NULL, NULL);
}

/* In one piece: what follows the first may be lost when the connection is closed on a sender. */
void connection_send_problem(const struct connection *connection, enum problem_code code,
                             const char *detail) {
  json_t *problem = problem_of(connection, code, detail);
  _cleanup_(freep) char *body = problem ? json_print(problem, JSON_COMPACT) : NULL;
  char text[4096];
  json_decref(problem);
  if (!body)
    return;
  int length =
      snprintf(text, sizeof(text),
               "HTTP/1.1 %u %s\r\nContent-Type: application/%sjson\r\nContent-Length: %zu\r\n"
               "X-Content-Type-Options: nosniff\r\n%sConnection: close\r\n\r\n%s",
               problem_status(code), problem_title(code), connection->oip ? "" : "problem+", strlen(body),
               problem_status(code) == 503 ? "Retry-After: " RETRY_AFTER_S "\r\n" : "", body);
  if (length >= (int)sizeof(text))
    return;
  if (connection->tls)
    (void)gnutls_record_send(connection->tls, text, (size_t)length);
  else
    (void)send(connection->fd, text, (size_t)length, MSG_DONTWAIT | MSG_NOSIGNAL);
}

static void end_lingering(struct http *http, struct connection *c) {
  unlist(http, c);
  http->lingering--;
  (void)close(c->fd);
  free(c);
}

void connections_expire(struct http *http, int64_t now_ns) {
  (void)pthread_mutex_lock(&http->lock);
  for (struct connection *c = http->connections, *next; c; c = next) {
    next = c->next;
    bool late = c->deadline_ns != 0 && c->deadline_ns <= now_ns;
    if (c->phase == CONNECTION_LINGER) {
      if (!sends_on(c->fd) || late)
        end_lingering(http, c);
      continue;
    }
    if (!late)
      continue;
    if (c->phase == CONNECTION_BODY && !c->tls) /* its session is another thread's */
      connection_send_problem(c, PROBLEM_TIMEOUT, "the body came too slowly; send it again");
    (void)shutdown(c->fd, SHUT_RDWR);
    c->deadline_ns = 0;
  }
  (void)pthread_mutex_unlock(&http->lock);
}

void connections_clear(struct http *http) {
  (void)pthread_mutex_lock(&http->lock);
  for (struct connection *c = http->connections, *next; c; c = next) {
    next = c->next;
    if (c->phase == CONNECTION_LINGER)
      end_lingering(http, c);
  }
  (void)pthread_mutex_unlock(&http->lock);
}
