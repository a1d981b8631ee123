#include "daemon/access.h"

#include <sodium.h>
#include <stdio.h>
#include <string.h>

#include "core/base/json.h"
#include "daemon/listen.h"

/* ---- scopes ---- */

static const char *const names[SCOPE_COUNT] = {
    "datasets:read", "datasets:write", "jobs:read", "jobs:write",   "models:read", "models:write",
    "models:use",    "models:private", "admin",     "metrics:read", "models:head"};

const char *scope_name(enum scope scope) {
  for (uint32_t i = 0; i < SCOPE_COUNT; i++)
    if ((unsigned)scope == 1u << i)
      return names[i];
  return "";
}

int scope_from_name(const char *name, enum scope *ret_scope) {
  for (uint32_t i = 0; i < SCOPE_COUNT; i++)
    if (strcmp(name, names[i]) == 0) {
      *ret_scope = (enum scope)(1u << i);
      return 0;
    }
  return -EINVAL;
}

void scopes_text(uint32_t scopes, char ret_text[SCOPES_TEXT]) {
  size_t used = 0;
  ret_text[0] = 0;
  for (uint32_t i = 0; i < SCOPE_COUNT; i++)
    if (scopes & 1u << i)
      used += (size_t)snprintf(ret_text + used, SCOPES_TEXT - used, "%s%s", used ? " " : "", names[i]);
}

uint32_t scopes_parse(const char *text) {
  uint32_t scopes = 0;
  while (*text) {
    const size_t length = strcspn(text, " ");
    for (uint32_t i = 0; i < SCOPE_COUNT; i++)
      if (strlen(names[i]) == length && strncmp(text, names[i], length) == 0)
        scopes |= 1u << i;
    text += length + (text[length] == ' ');
  }
  return scopes;
}

json_t *scopes_json(uint32_t scopes) {
  json_t *array = json_array();
  for (uint32_t i = 0; array && i < SCOPE_COUNT; i++)
    if (scopes & 1u << i)
      array = json_append(array, json_string(names[i]));
  return array;
}

/* ---- tokens ---- */

#define PREFIX "guise_"
#define PREFIX_BYTES 6u
#define ID_PREFIX "tok_"
#define ID_BYTES 26u
#define SECRET_BYTES 32u

static void hash_secret(const unsigned char secret[SECRET_BYTES], char ret_hash[TOKEN_HASH]) {
  unsigned char hash[TOKEN_HASH / 2];
  (void)crypto_generichash(hash, sizeof(hash), secret, SECRET_BYTES, NULL, 0);
  (void)sodium_bin2hex(ret_hash, TOKEN_HASH, hash, sizeof(hash));
}

int token_issue(struct store *store, struct token_row *row, char ret_token[TOKEN_TEXT]) {
  unsigned char secret[SECRET_BYTES];
  char hex[2 * SECRET_BYTES + 1], hash[TOKEN_HASH];
  randombytes_buf(secret, sizeof(secret));
  id_make(ID_PREFIX, row->id);
  hash_secret(secret, hash);
  int r = store_token_insert(store, row, hash);
  if (r == 0)
    (void)snprintf(ret_token, TOKEN_TEXT, PREFIX "%s_%s", row->id + strlen(ID_PREFIX),
                   sodium_bin2hex(hex, sizeof(hex), secret, sizeof(secret)));
  sodium_memzero(secret, sizeof(secret));
  sodium_memzero(hex, sizeof(hex));
  return r;
}

/* One spelling only: sodium_hex2bin would also take capitals. */
static int split(const char *text, char ret_id[STORE_ID], unsigned char ret_secret[SECRET_BYTES]) {
  const char *id = text + PREFIX_BYTES, *hex = id + ID_BYTES + 1;
  if (strnlen(text, TOKEN_TEXT) != TOKEN_TEXT - 1 || memcmp(text, PREFIX, PREFIX_BYTES) != 0 ||
      strspn(id, "abcdefghijklmnopqrstuvwxyz234567") != ID_BYTES || id[ID_BYTES] != '_' ||
      strspn(hex, "0123456789abcdef") != (size_t)2 * SECRET_BYTES ||
      sodium_hex2bin(ret_secret, SECRET_BYTES, hex, (size_t)2 * SECRET_BYTES, NULL, NULL, NULL) < 0)
    return -EACCES;
  (void)snprintf(ret_id, STORE_ID, ID_PREFIX "%.*s", (int)ID_BYTES, id);
  return 0;
}

int token_check(struct store *store, const char *text, int64_t now_ms, struct token_row *ret_row) {
  unsigned char secret[SECRET_BYTES];
  char id[STORE_ID], hash[TOKEN_HASH], stored[TOKEN_HASH];
  struct token_row row;
  int r = split(text, id, secret);
  if (r < 0)
    return r;
  hash_secret(secret, hash);
  sodium_memzero(secret, sizeof(secret));
  r = store_token_get(store, id, &row, stored);
  if (r < 0)
    return r == -ENOENT ? -EACCES : r;
  if (sodium_memcmp(hash, stored, TOKEN_HASH) != 0 || row.revoked_at)
    return -EACCES;
  if (row.expires_at && row.expires_at <= now_ms)
    return -EKEYEXPIRED;
  *ret_row = row;
  return 0;
}

/* ---- listening ---- */

bool access_needs_tokens(const struct config *config, int listen_fd) {
  return strcmp(config->auth, "token") == 0 || !listen_is_local(listen_fd);
}

bool access_uses_tls(const struct config *config, int listen_fd) {
  return config->tls_certificate[0] && !listen_is_unix(listen_fd);
}

int access_check(const struct config *config, struct store *store, int listen_fd, struct guise_error *err) {
  const bool tls = access_uses_tls(config, listen_fd);
  bool any = false;
  char where[300] = "this address";
  if (!access_needs_tokens(config, listen_fd))
    return 0;
  (void)listen_describe(listen_fd, tls, where, sizeof(where));
  if (!tls && !listen_is_local(listen_fd) && strcmp(config->tls, "required") == 0)
    return error_set(err, -EPERM,
                     "other machines reach %s, and faces and tokens would cross the network readable: give "
                     "--tls-certificate and --tls-key; or listen on 127.0.0.1 or unix:PATH and forward the "
                     "port with ssh; or say --tls elsewhere where a proxy encrypts",
                     where);
  int r = store_token_any(store, time_now_ms(), &any);
  if (r < 0)
    return error_set(err, r, "the tokens cannot be read: %s", strerror(-r));
  if (any)
    return 0;
  return error_set(
      err, -EPERM,
      "every request at %s needs a token, and there is none: start guised with --listen "
      "127.0.0.1:8080 --auth local and the same --state, run guise token add NAME --scope admin, "
      "then start it here",
      where);
}
