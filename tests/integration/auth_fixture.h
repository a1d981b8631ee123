/* A guised that wants tokens, one token of each scope and one of all others, and requests made with them. */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/integration/support/shell.h"

#define SCOPES 11
#define TOKEN_BYTES 97

static struct server server;
static const char *const scopes[SCOPES] = {"datasets:read", "datasets:write", "jobs:read",  "jobs:write",
                                           "models:read",   "models:write",   "models:use", "models:private",
                                           "admin",         "metrics:read",   "models:head"};
static char only[SCOPES][128], all_but[SCOPES][128]; /* Authorization headers */

/* Authorization header of a new token; the daemon must still be one that needs none. */
static inline void make_token(const char *name, const char *list, char ret_header[128]) {
  char body[512];
  struct reply reply;
  (void)snprintf(body, sizeof(body), "{\"name\":\"%s\",\"scopes\":[%s]}", name, list);
  expect(&server, "POST", "/v1/tokens", body, 201, &reply);
  const char *token = json_string_value(json_object_get(reply.json, "token"));
  assert_int_equal(strlen(token), TOKEN_BYTES);
  (void)snprintf(ret_header, 128, "Authorization: Bearer %s", token);
  reply_done(&reply);
}

static inline int setup(void **state) {
  (void)state;
  server_prepare(&server);
  server_start(&server);
  for (size_t i = 0; i < SCOPES; i++) {
    char one[64], rest[256] = "";
    for (size_t k = 0; k < SCOPES; k++) {
      size_t used = strlen(rest);
      if (k != i)
        (void)snprintf(rest + used, sizeof(rest) - used, "%s\"%s\"", used ? "," : "", scopes[k]);
    }
    (void)snprintf(one, sizeof(one), "\"%s\"", scopes[i]);
    make_token("one", one, only[i]);
    make_token("rest", rest, all_but[i]);
  }
  assert_int_equal(server_stop(&server), 0);
  server.option[0] = "--auth=token";
  server_start(&server);
  shell_start(&server);
  return 0;
}

static inline int teardown(void **state) {
  (void)state;
  int status = server_stop(&server);
  server_clean(&server);
  return status;
}

static inline long status_of(const char *method, const char *path, const char *header,
                             char ret_challenge[256]) {
  struct reply reply;
  ask(&server, method, path, header, NULL, 0, &reply);
  (void)snprintf(ret_challenge, 256, "%s", header_of(&reply, "WWW-Authenticate"));
  long status = reply.status;
  if (status >= 400)
    assert_string_equal(header_of(&reply, "Content-Type"),
                        strncmp(path, "/v2/", 4) == 0 ? "application/json" : "application/problem+json");
  reply_done(&reply);
  return status;
}

/* Headers of a new token of `owner`, made by the admin's. */
static inline void make_owned(const char *owner, char ret_header[256]) {
  char text[256], header[256];
  struct reply reply;
  (void)snprintf(text, sizeof(text),
                 "{\"name\":\"t\",\"owner\":\"%s\",\"scopes\":[\"datasets:read\",\"datasets:write\","
                 "\"jobs:read\",\"jobs:write\",\"models:read\",\"models:write\",\"models:use\"]}",
                 owner);
  (void)snprintf(header, sizeof(header), "Content-Type: application/json\n%s", only[8]);
  ask(&server, "POST", "/v1/tokens", header, text, strlen(text), &reply);
  assert_int_equal(reply.status, 201);
  (void)snprintf(ret_header, 256, "Authorization: Bearer %s",
                 json_string_value(json_object_get(reply.json, "token")));
  reply_done(&reply);
}

static inline long put_as(const char *token, const char *name) {
  char path[128], header[512];
  struct reply reply;
  (void)snprintf(path, sizeof(path), "/v1/datasets/%s", name);
  (void)snprintf(header, sizeof(header), "Content-Type: application/x-tar\n%s", token);
  ask(&server, "PUT", path, header, "no archive", 10, &reply);
  long status = reply.status;
  reply_done(&reply);
  return status;
}

static inline long submit_as(const char *token, const char *key, const char *dataset, char ret_job[64]) {
  char header[512], body[256];
  struct reply reply;
  (void)snprintf(header, sizeof(header), "Content-Type: application/json\nIdempotency-Key: %s\n%s", key,
                 token);
  (void)snprintf(body, sizeof(body), "{\"type\":\"train\",\"dataset\":\"%s\"}", dataset);
  ask(&server, "POST", "/v1/jobs", header, body, strlen(body), &reply);
  long status = reply.status;
  const char *id = json_string_value(json_object_get(reply.json, "id"));
  (void)snprintf(ret_job, 64, "%s", id ? id : "");
  reply_done(&reply);
  return status;
}
