/* Who asks, and whether the route is for them. */
#pragma once

#include "daemon/access.h"
#include "daemon/service.h"

struct request;

enum principal_kind {
  PRINCIPAL_NOBODY, /* of routes for everybody */
  PRINCIPAL_LOCAL,  /* on this machine, without a token */
  PRINCIPAL_TOKEN,
};
struct principal {
  enum principal_kind kind;
  char id[STORE_ID];      /* "loopback", "uid:1000" or the token's id */
  char owner[STORE_NAME]; /* of the token; "" without one */
  uint32_t scopes;
};

/* The token in an Authorization header's value ("Bearer TOKEN"), or NULL when it is of another form. */
const char *auth_bearer(const char *authorization);
/* As the service sees it: a token without the scope admin sees its owner's objects only. */
struct client auth_client(const struct request *request);
/* Whether the data set, job or model in the route's path is there for the principal; false with the answer of
 * one that is not there. From then on the path names it by its id: a name may be given to another one. */
bool auth_pass_object(struct request *request);
/* Finds request->principal and compares its scopes with the route's. False with a 401 or 403 (RFC 6750), or a
 * 503 when the store fails. libmicrohttpd's thread only. */
bool auth_pass(struct request *request);
