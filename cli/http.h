/* HTTP to one guised, over TCP or a Unix socket: a thin layer on libcurl that bounds what it keeps in memory.
 */
#pragma once

#include <jansson.h>
#include <signal.h>
#include <stdint.h>
#include <sys/types.h>

#include "core/base/base.h"

struct http;

/* `url`: http://HOST:PORT, https://HOST or unix:PATH. Nothing is connected yet. -EINVAL with err. */
int http_open(const char *url, struct http **ret_http, struct guise_error *err);
/* Trusts the certificates in this PEM file instead of the system's; borrowed. NULL or "": the system's. */
void http_set_ca(struct http *http, const char *path);
/* Sends `token` with every request from now on ("" or NULL: none). -EINVAL: it cannot be a token; -EPERM: the
 * connection would show it to others, plain HTTP to another machine. */
int http_set_token(struct http *http, const char *token, struct guise_error *err);
/* Whether a connection to the daemon has stood since http_open: if not, nothing that was sent got there. */
bool http_met(const struct http *http);
struct http *http_close(struct http *http);
DEFINE_CLEANUP(struct http *, http_close)

/* A path from literal parts and parts to be percent-encoded, in turn, ended by NULL:
 * http_path("/v1/jobs/", id, "/cancel", NULL). NULL when out of memory; free it. */
char *http_path(const char *literal, ...) __attribute__((sentinel));

struct request {
  const char *method; /* "GET", "POST", "PUT", "DELETE" */
  const char *path;
  const json_t *json; /* the body, or */
  const char *type;   /* the media type of a body that `read` gives; NULL = no body */
  /* Gives up to `size` bytes, 0 at the end, or a negative errno with err filled, which ends the request with
   * it. */
  ssize_t (*read)(void *context, char *buffer, size_t size, struct guise_error *err);
  int64_t length; /* of that body, < 0 = unknown */
  /* Takes the body of a successful answer (200, 206) piece by piece instead of reply.text; NULL = keep it.
   * Negative ends the request with it. `status` is the answer's. */
  int (*write)(void *context, long status, const char *data, size_t size, struct guise_error *err);
  void *context;
  const char *headers[4]; /* more of them, "Name: value"; ended by NULL or the array */
  bool endless;           /* an event stream: no limit on time, but a quiet one of 45 s is broken off */
  const volatile sig_atomic_t
      *stop; /* ends the request with -EINTR within a second once it is set; NULL = never */
};

struct reply {
  long status;
  json_t *json; /* of a JSON answer, else NULL */
  char *text;   /* the answer with a NUL behind it; never NULL */
  size_t size;
  char etag[136]; /* without quotes; "" = none */
};
void reply_free(struct reply *reply);

/* 0 with an answer of any status; -ECONNREFUSED when the daemon cannot be reached or the connection broke;
 * another negative errno from the callbacks or when the answer is larger than 64 MiB. An answer that arrives
 * while the body is still being sent counts as the answer. */
int http_send(struct http *http, const struct request *request, struct reply *ret_reply,
              struct guise_error *err);
