/* Bearer tokens: make, list, revoke. A token's secret is in the answer to its making and nowhere else. */
#include <stdio.h>
#include <string.h>

#include "api/page.h"
#include "api/reply.h"
#include "api/resources.h"
#include "core/base/json.h"
#include "daemon/log.h"

#define EXPIRES_AFTER_MS (365LL * 24 * 3600 * 1000) /* when the body does not say */

static json_t *token_json(const struct token_row *row) {
  return json_pack("{s:s,s:s,s:s,s:o,s:o,s:o,s:o}", "id", row->id, "name", row->name, "owner", row->owner,
                   "scopes", scopes_json(row->scopes), "created_at", json_time(row->created_at), "expires_at",
                   json_time(row->expires_at), "revoked_at", json_time(row->revoked_at));
}

void list_tokens(struct request *request) {
  struct store_page page;
  struct spec_problems problems = {0};
  _cleanup_(freep) struct token_row *rows = NULL;
  uint32_t count = 0;
  int64_t next = 0;
  page_parse(&request->target, "tokens", &page, &problems);
  if (spec_problems_any(&problems)) {
    reply_problems(request, &problems);
    return;
  }
  int r = store_token_list(service_store(request->service), &page, &rows, &count, &next);
  if (r < 0) {
    reply_error(request, r, NULL);
    return;
  }
  json_t *data = json_array();
  for (uint32_t i = 0; i < count; i++)
    data = json_append(data, token_json(&rows[i]));
  reply_page(request, "tokens", data, next);
}

/* ---- making ---- */

static void parse_name(const json_t *body, const char *key, const char *otherwise, char ret_name[STORE_NAME],
                       struct spec_problems *problems) {
  const json_t *value = json_object_get(body, key);
  const char *text = value ? json_string_value(value) : otherwise;
  char pointer[16];
  if (text && name_valid(text)) {
    (void)snprintf(ret_name, STORE_NAME, "%s", text);
    return;
  }
  (void)snprintf(pointer, sizeof(pointer), "/%s", key);
  if (value || strcmp(key, "name") == 0) /* a bad name is no bad owner, too */
    (void)spec_problems_add(problems, pointer, value ? "invalid" : "missing", NULL,
                            "%s is 1 to 100 letters, digits, dots, hyphens and underscores", key);
}

static void parse_scopes(const json_t *body, uint32_t *ret_scopes, struct spec_problems *problems) {
  const json_t *list = json_object_get(body, "scopes"), *value;
  char pointer[32];
  size_t i;
  if (json_array_size(list) == 0)
    (void)spec_problems_add(problems, "/scopes", list ? "invalid" : "missing",
                            scopes_json((1u << SCOPE_COUNT) - 1), "scopes lists what the token is good for");
  json_array_foreach(list, i, value) {
    enum scope scope;
    if (json_is_string(value) && scope_from_name(json_string_value(value), &scope) == 0) {
      *ret_scopes |= (unsigned)scope;
      continue;
    }
    (void)snprintf(pointer, sizeof(pointer), "/scopes/%zu", i);
    (void)spec_problems_add(problems, pointer, "unknown_value", scopes_json((1u << SCOPE_COUNT) - 1),
                            "there is no such scope");
  }
}

static void parse_expiry(const json_t *body, struct token_row *row, struct spec_problems *problems) {
  const json_t *value = json_object_get(body, "expires_at");
  row->expires_at = row->created_at + EXPIRES_AFTER_MS;
  if (json_is_null(value))
    row->expires_at = 0;
  else if (value && (!json_is_string(value) || time_parse(json_string_value(value), &row->expires_at) < 0 ||
                     row->expires_at <= row->created_at))
    (void)spec_problems_add(problems, "/expires_at", "out_of_range", NULL,
                            "expires_at is a time to come such as 2031-01-31T12:00:00Z, or null for never");
}

static void parse_token(const json_t *body, struct token_row *row, struct spec_problems *problems) {
  static const char *const known[] = {"name", "owner", "scopes", "expires_at"};
  const char *key;
  json_t *value;
  json_object_foreach((json_t *)body, key, value) {
    char pointer[80];
    bool found = false;
    for (size_t i = 0; i < ARRAY_SIZE(known); i++)
      found |= strcmp(key, known[i]) == 0;
    (void)snprintf(pointer, sizeof(pointer), "/%.60s", key);
    if (!found)
      (void)spec_problems_add(problems, pointer, "unknown_field", NULL,
                              "there is no such field; there are name, owner, scopes and expires_at");
  }
  parse_name(body, "name", NULL, row->name, problems);
  parse_name(body, "owner", row->name, row->owner, problems);
  parse_scopes(body, &row->scopes, problems);
  parse_expiry(body, row, problems);
}

void post_token(struct request *request) {
  struct token_row row = {.created_at = time_now_ms()};
  struct spec_problems problems = {0};
  char token[TOKEN_TEXT];
  parse_token(request->json, &row, &problems);
  if (spec_problems_any(&problems)) {
    reply_problems(request, &problems);
    return;
  }
  int r = token_issue(service_store(request->service), &row, token);
  if (r < 0) {
    reply_error(request, r, NULL);
    return;
  }
  memcpy(request->object, row.id, sizeof(request->object));
  log_info("token %s: made by %s", row.id, request->principal.id);
  json_t *body = token_json(&row);
  if (body && json_object_set_new(body, "token", json_string(token)) < 0) {
    json_decref(body);
    body = NULL;
  }
  reply_json(request, MHD_HTTP_CREATED, body);
  reply_header(request, "Location", "/v1/tokens/%s", row.id);
}

void delete_token(struct request *request) {
  const char *id = request->parameter[0];
  int r = store_token_revoke(service_store(request->service), id, time_now_ms());
  if (r == -ENOENT)
    reply_problem(request, PROBLEM_NOT_FOUND, "there is no token %.60s; GET /v1/tokens lists those there are",
                  id);
  else if (r < 0)
    reply_error(request, r, NULL);
  else {
    log_info("token %s: revoked by %s", id, request->principal.id);
    reply_empty(request, MHD_HTTP_NO_CONTENT);
  }
}
