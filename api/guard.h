/* What is checked before a request is looked at: that its framing is unambiguous (request smuggling), that
 * Host is a name of this daemon (DNS rebinding) and that no other web site's page asks (Origin).
 *
 * libmicrohttpd 0.9.75 accepts two Content-Length headers, Transfer-Encoding beside Content-Length, and a
 * missing or a double Host; so nothing of that is left to it. It takes "Content-Length : 5" for a field of
 * the name "Content-Length ", keeps a bare CR in a value, and appends a value's continuation in the next line
 * to the field's name ("Content-Length5"): with either it would not see a body that a proxy in front saw.
 * Names that are no tokens, values with control characters and names that only begin like those of framing
 * are therefore refused. Pure functions. */
#pragma once

#include <stdint.h>

#include "api/problem.h"
#include "core/base/base.h"

#define GUARD_HEADERS 64u         /* header fields of a request at most */
#define GUARD_HEADER_BYTES 16384u /* of all of them */

struct guard_request {
  const char *version; /* "HTTP/1.1" */
  uint32_t headers;    /* fields in all */
  size_t header_bytes;
  bool odd; /* a name or a value that is ambiguous */
  uint32_t hosts, origins, content_lengths, transfer_encodings, content_types,
      authorizations;                                             /* how many of each */
  const char *host, *origin, *content_length, *transfer_encoding; /* the last of each, or NULL */
};

struct guard_body {
  bool chunked;
  uint64_t length; /* 0 when chunked */
};

/* Counts a header field as it was received; name and value are kept by reference. */
void guard_add(struct guard_request *request, const char *name, const char *value);
/* 0, or -EBADMSG with *ret_code and err. */
int guard_framing(const struct guard_request *request, struct guard_body *ret_body,
                  enum problem_code *ret_code, struct guise_error *err);
/* bound: the address the daemon listens on, without port, "" = a Unix socket. allowed: comma-separated names,
 * or NULL = any: where every request needs a token, a page that comes by DNS rebinding has none. */
int guard_host(const struct guard_request *request, const char *bound, const char *allowed,
               enum problem_code *ret_code, struct guise_error *err);
/* Call after guard_host: an Origin is fine when it is this daemon, as Host names it. */
int guard_origin(const struct guard_request *request, enum problem_code *ret_code, struct guise_error *err);

/* Whether the media type of a Content-Type value (NULL = none; parameters are allowed, a charset other than
 * UTF-8 is not) is in `types`, a comma-separated list. */
bool media_type_is(const char *content_type, const char *types);
