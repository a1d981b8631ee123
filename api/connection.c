/* Deadlines. libmicrohttpd's timeout counts from the last byte, so a sender of one byte a second outlives it:
 * each phase of a connection has a deadline of its own, and the timer shuts the socket down behind it. The
 * lock makes that safe: a connection leaves the list before libmicrohttpd closes its socket. */
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "api/server.h"
#include "core/base/json.h"

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
    c->next = http->connections;
    if (c->next)
      c->next->previous = c;
    http->connections = c;
    (void)pthread_mutex_unlock(&http->lock);
    connection_phase(http, c, CONNECTION_HEAD);
  } else if (c) {
    (void)pthread_mutex_lock(&http->lock);
    if (c->previous)
      c->previous->next = c->next;
    else
      http->connections = c->next;
    if (c->next)
      c->next->previous = c->previous;
    (void)pthread_mutex_unlock(&http->lock);
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

void connections_expire(struct http *http, int64_t now_ns) {
  (void)pthread_mutex_lock(&http->lock);
  for (struct connection *c = http->connections; c; c = c->next) {
    if (c->deadline_ns == 0 || c->deadline_ns > now_ns)
      continue;
    if (c->phase == CONNECTION_BODY && !c->tls) /* its session is another thread's */
      connection_send_problem(c, PROBLEM_TIMEOUT, "the body came too slowly; send it again");
    (void)shutdown(c->fd, SHUT_RDWR);
    c->deadline_ns = 0;
  }
  (void)pthread_mutex_unlock(&http->lock);
}
