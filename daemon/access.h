/* Who may do what: scopes, and bearer tokens that hold them.
 *
 * A token is the text "guise_ID_SECRET": 26 characters that name its row (tok_ID) and 32 random bytes in hex.
 * Only the secret's hash is stored. A row is found by the id, which is no secret, and the hashes are compared
 * in constant time, so that nothing about a secret can be measured. */
#pragma once

#include <jansson.h>
#include <stdint.h>

#include "daemon/config.h"
#include "daemon/store.h"

/* Each route names one of them (api/router.c). */
enum scope {
  SCOPE_NONE = 0, /* for everybody, also without a token */
  SCOPE_DATASETS_READ = 1 << 0,
  SCOPE_DATASETS_WRITE = 1 << 1,
  SCOPE_JOBS_READ = 1 << 2,
  SCOPE_JOBS_WRITE = 1 << 3,
  SCOPE_MODELS_READ = 1 << 4,
  SCOPE_MODELS_WRITE = 1 << 5,
  SCOPE_MODELS_USE = 1 << 6,     /* embed and verify */
  SCOPE_MODELS_PRIVATE = 1 << 7, /* files that show faces of the data set */
  SCOPE_ADMIN = 1 << 8,          /* tokens and the audit trail */
  SCOPE_METRICS_READ = 1 << 9,   /* the daemon's own figures */
  SCOPE_MODELS_HEAD = 1 << 10,   /* class heads: who was trained on, and a template of each */
};
#define SCOPE_COUNT 11u
/* What needs no token on the machine itself. Private files always need a token of their scope. */
#define SCOPES_LOCAL (((1u << SCOPE_COUNT) - 1) & ~(unsigned)(SCOPE_MODELS_PRIVATE | SCOPE_MODELS_HEAD))
#define SCOPES_TEXT 160 /* bytes that hold the names of all, with separators and NUL */

const char *scope_name(enum scope scope);                      /* "jobs:read"; "" for SCOPE_NONE */
int scope_from_name(const char *name, enum scope *ret_scope);  /* -EINVAL */
void scopes_text(uint32_t scopes, char ret_text[SCOPES_TEXT]); /* "datasets:read jobs:read" */
/* The inverse; names that this version does not know are left out. */
uint32_t scopes_parse(const char *text);
json_t *scopes_json(uint32_t scopes); /* array of names; new reference, NULL when out of memory */

#define TOKEN_TEXT 98 /* bytes of a token with its NUL */

/* Makes id and secret and stores the row: durable on return. row: name, owner, scopes, created_at,
 * expires_at; its id is filled. ret_token is the only copy of the secret. 0, or a result of the store.
 * [blocks] */
int token_issue(struct store *store, struct token_row *row, char ret_token[TOKEN_TEXT]);
/* The token's row, if it is one of this store's, unexpired and unrevoked. `text` is from a stranger: any
 * length and bytes. -EACCES: malformed, unknown, wrong or revoked; -EKEYEXPIRED; or a result of the store. */
int token_check(struct store *store, const char *text, int64_t now_ms, struct token_row *ret_row);

/* Whether every request on this listening socket needs a token: the option auth says so, or other machines
 * reach it. */
bool access_needs_tokens(const struct config *config, int listen_fd);
/* Whether it is served over TLS: a certificate is set, and it is no Unix socket. */
bool access_uses_tls(const struct config *config, int listen_fd);
/* What must be there before the socket is served: a token, where all requests need one, and TLS, where other
 * machines reach it. -EPERM with err that says what to do; or a result of the store. */
int access_check(const struct config *config, struct store *store, int listen_fd, struct guise_error *err);
