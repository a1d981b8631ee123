#include "api/auth.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "api/reply.h"
#include "api/server.h"

#define REALM "Bearer realm=\"guise\""

const char *auth_bearer(const char *authorization) {
  const size_t scheme = strcspn(authorization, " ");
  const char *token = authorization + scheme + strspn(authorization + scheme, " ");
  return scheme == 6 && strncasecmp(authorization, "Bearer", 6) == 0 && *token ? token : NULL;
}

static bool refuse(struct request *request, const char *error, const char *text) {
  reply_problem(request, PROBLEM_UNAUTHENTICATED, "%s", text);
  reply_header(request, MHD_HTTP_HEADER_WWW_AUTHENTICATE, REALM "%s", error);
  return false;
}

static bool refuse_token(struct request *request, int r) {
  if (r == -EKEYEXPIRED)
    return refuse(request, ", error=\"invalid_token\"",
                  "the token has expired: ask whoever runs this daemon for a new one");
  return refuse(request, ", error=\"invalid_token\"",
                "the token is not valid here: send \"Authorization: Bearer TOKEN\" with one that was made by "
                "guise token add and not revoked");
}

static bool from_token(struct request *request, const char *authorization) {
  struct principal *principal = &request->principal;
  const char *text = auth_bearer(authorization);
  struct token_row row;
  int r = text ? token_check(service_store(request->service), text, time_now_ms(), &row) : -EACCES;
  if (r == -EACCES || r == -EKEYEXPIRED)
    return refuse_token(request, r);
  if (r < 0) {
    reply_error(request, r, NULL);
    return false;
  }
  principal->kind = PRINCIPAL_TOKEN;
  principal->scopes = row.scopes;
  memcpy(principal->id, row.id, sizeof(principal->id));
  memcpy(principal->owner, row.owner, sizeof(principal->owner));
  return true;
}

static bool from_socket(struct request *request) {
  struct principal *principal = &request->principal;
  const bool is_unix = *request->http->bound == 0;
  uid_t user = (uid_t)-1;
  if (is_unix && !peers_allow(&request->http->peers, request->peer->fd, &user))
    return refuse(request, "",
                  "this socket takes requests without a token from the users and groups of the options "
                  "unix_users and unix_groups only, and you are none of them");
  principal->kind = PRINCIPAL_LOCAL;
  principal->scopes = SCOPES_LOCAL;
  if (is_unix)
    (void)snprintf(principal->id, sizeof(principal->id), "uid:%lu", (unsigned long)user);
  else
    (void)snprintf(principal->id, sizeof(principal->id), "loopback");
  return true;
}

struct client auth_client(const struct request *request) {
  const struct principal *principal = &request->principal;
  const bool all = principal->kind != PRINCIPAL_TOKEN || principal->scopes & SCOPE_ADMIN;
  return (struct client){.owner = principal->owner, .sees = all ? NULL : principal->owner};
}

/* ---- objects ---- */

static int dataset_owner(struct store *store, const char *key, char ret_id[STORE_ID],
                         char ret_owner[STORE_NAME]) {
  struct dataset_row row;
  int r = store_dataset_get(store, key, &row);
  if (r < 0)
    return r;
  memcpy(ret_id, row.id, STORE_ID);
  memcpy(ret_owner, row.owner, STORE_NAME);
  return 0;
}

static int job_owner(struct store *store, const char *key, char ret_id[STORE_ID],
                     char ret_owner[STORE_NAME]) {
  struct job_row row;
  int r = store_job_get(store, key, &row);
  if (r < 0)
    return r;
  memcpy(ret_id, row.id, STORE_ID);
  memcpy(ret_owner, row.owner, STORE_NAME);
  job_row_clear(&row);
  return 0;
}

static int model_owner(struct store *store, const char *key, char ret_id[STORE_ID],
                       char ret_owner[STORE_NAME]) {
  struct model_row row;
  int r = store_model_get(store, key, &row);
  if (r < 0)
    return r;
  memcpy(ret_id, row.id, STORE_ID);
  memcpy(ret_owner, row.owner, STORE_NAME);
  model_row_clear(&row);
  return 0;
}

static const struct {
  const char *prefix, *what, *list;
  int (*owner)(struct store *store, const char *key, char ret_id[STORE_ID], char ret_owner[STORE_NAME]);
} objects[] = {{"/v1/datasets/{", "data set", "/v1/datasets", dataset_owner},
               {"/v1/jobs/{", "job", "/v1/jobs", job_owner},
               {"/v1/models/{", "model", "/v1/models", model_owner},
               {"/v2/models/{", "model", "/v1/models", model_owner}};

static bool pass_object(struct request *request, size_t object, const char *sees) {
  char owner[STORE_NAME];
  int r =
      objects[object].owner(service_store(request->service), request->parameter[0], request->object, owner);
  if (r == 0 && owner_sees(sees, owner)) {
    request->parameter[0] = request->object;
    return true;
  }
  if (r == 0 || r == -ENOENT)
    reply_problem(request, PROBLEM_NOT_FOUND, "there is no %s %s; GET %s lists those there are",
                  objects[object].what, request->parameter[0], objects[object].list);
  else
    reply_error(request, r, NULL);
  if (r == 0) /* it is there, and somebody else's */
    audit(request, false);
  return false;
}

bool auth_pass_object(struct request *request) {
  const struct route *route = request->route;
  const char *sees = auth_client(request).sees;
  if (!sees || route->body == BODY_UPLOAD) /* that makes one; body_begin tells of a name that is taken */
    return true;
  for (size_t i = 0; i < ARRAY_SIZE(objects); i++)
    if (strncmp(route->pattern, objects[i].prefix, strlen(objects[i].prefix)) == 0)
      return pass_object(request, i, sees);
  return true;
}

bool auth_pass(struct request *request) {
  const enum scope scope = request->route->scope;
  const char *authorization =
      MHD_lookup_connection_value(request->connection, MHD_HEADER_KIND, MHD_HTTP_HEADER_AUTHORIZATION);
  if (scope == SCOPE_NONE)
    return true;
  if (!authorization && request->http->needs_tokens)
    return refuse(request, "",
                  "this daemon wants a token: send \"Authorization: Bearer TOKEN\"; guise reads it from "
                  "$GUISE_TOKEN or the file $GUISE_TOKEN_FILE");
  if (!(authorization ? from_token(request, authorization) : from_socket(request)))
    return false;
  if (request->principal.scopes & (unsigned)scope)
    return true;
  reply_problem(request, PROBLEM_SCOPE, "this needs the scope %s, which the token %s does not have",
                scope_name(scope), request->principal.id);
  reply_header(request, MHD_HTTP_HEADER_WWW_AUTHENTICATE,
               REALM ", error=\"insufficient_scope\", scope=\"%s\"", scope_name(scope));
  audit(request, false);
  return false;
}
