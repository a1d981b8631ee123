/* The HTTP server: what the daemon's main sees of it. How it works stands in server.h. */
#pragma once

#include <stdbool.h>

#include "core/base/base.h"
#include "daemon/service.h"

struct http;

/* Starts to serve `listen_fd`, a bound, listening stream socket (TCP or Unix), which is owned by the
 * server after success. The service must outlive the server. */
int http_start(struct service *service, int listen_fd, struct http **ret_http, struct guise_error *err);
/* Reads the certificate and its key again, where there is TLS; on failure the old ones stay in use. */
int http_reload(struct http *http, struct guise_error *err);
/* Stops accepting connections, answers /readyz with 503, ends event streams and long polls. Returns at once.
 */
void http_drain(struct http *http);
/* For the watchdog: a request to itself is answered within 2 s and the timer thread runs. One thread only. */
bool http_alive(struct http *http);
/* Gives what is open 2 s to finish, cuts the rest, frees everything. Work that a request has handed to the
 * service's pool may still run after it: service_free waits for that. NULL is fine. */
void http_stop(struct http *http);
