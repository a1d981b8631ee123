/* Who may do what, over real HTTP: every operation of the document asks for its scope, bad tokens are
 * refused, nothing shows a secret, and guised does not serve strangers. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "tests/integration/support/shell.h"

#define SCOPES 11
#define TOKEN_BYTES 97

static struct server server;
static const char *const scopes[SCOPES] = {"datasets:read", "datasets:write", "jobs:read",  "jobs:write",
                                           "models:read",   "models:write",   "models:use", "models:private",
                                           "admin",         "metrics:read",   "models:head"};
static char only[SCOPES][128], all_but[SCOPES][128]; /* Authorization headers */

/* Authorization header of a new token; the daemon must still be one that needs none. */
static void make_token(const char *name, const char *list, char ret_header[128]) {
  char body[512];
  struct reply reply;
  (void)snprintf(body, sizeof(body), "{\"name\":\"%s\",\"scopes\":[%s]}", name, list);
  expect(&server, "POST", "/v1/tokens", body, 201, &reply);
  const char *token = json_string_value(json_object_get(reply.json, "token"));
  assert_int_equal(strlen(token), TOKEN_BYTES);
  (void)snprintf(ret_header, 128, "Authorization: Bearer %s", token);
  reply_done(&reply);
}

static int setup(void **state) {
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

static int teardown(void **state) {
  (void)state;
  int status = server_stop(&server);
  server_clean(&server);
  return status;
}

static long status_of(const char *method, const char *path, const char *header, char ret_challenge[256]) {
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

/* An operation whose scope is scopes[index]. */
static void check_operation(const char *method, const char *path, size_t index) {
  char challenge[256], wanted[128];
  long status = status_of(method, path, NULL, challenge);
  if (status != 401 || strcmp(challenge, "Bearer realm=\"guise\"") != 0)
    fail_msg("%s %s without a token: %ld %s", method, path, status, challenge);
  (void)snprintf(wanted, sizeof(wanted), "error=\"insufficient_scope\", scope=\"%s\"", scopes[index]);
  status = status_of(method, path, all_but[index], challenge);
  if (status != 403 || !strstr(challenge, wanted))
    fail_msg("%s %s without %s: %ld %s", method, path, scopes[index], status, challenge);
  status = status_of(method, path, only[index], challenge);
  if (status == 401 || status == 403 || status >= 500)
    fail_msg("%s %s with %s: %ld %s", method, path, scopes[index], status, challenge);
}

/* "/v1/jobs/{id}/cancel" with x for what is in braces. */
static void fill_path(const char *pattern, size_t length, char ret_path[256]) {
  size_t used = 0;
  for (size_t i = 0; i < length && used < 255; i++) {
    if (pattern[i] == '{') {
      ret_path[used++] = 'x';
      i += strcspn(pattern + i, "}");
    } else
      ret_path[used++] = pattern[i];
  }
  ret_path[used] = 0;
}

/* Walks schema/openapi.yaml, which a unit test holds against the route table. */
static void every_operation_asks_for_its_scope(void **state) {
  (void)state;
  struct reply document;
  char path[256] = "", method[8] = "";
  unsigned checked = 0, open = 0;
  expect(&server, "GET", "/openapi.yaml", NULL, 200, &document);
  for (char *line = document.body; line && *line; line = strchr(line, '\n') ? strchr(line, '\n') + 1 : NULL) {
    static const char *const methods[] = {"get", "put", "post", "delete"};
    static const char *const names[] = {"GET", "PUT", "POST", "DELETE"};
    char *end = strchrnul(line, '\n');
    if (strncmp(line, "  /", 3) == 0)
      fill_path(line + 2, strcspn(line + 2, ":\n"), path);
    for (size_t i = 0; i < 4; i++)
      if (strncmp(line, "    ", 4) == 0 && strncmp(line + 4, methods[i], strlen(methods[i])) == 0 &&
          line[4 + strlen(methods[i])] == ':')
        (void)snprintf(method, sizeof(method), "%s", names[i]);
    char *security = strstr(line, "security: [");
    if (!security || security > end)
      continue;
    open += security[11] == ']';
    for (size_t i = 0; i < SCOPES && security[11] != ']'; i++) {
      char wanted[64];
      (void)snprintf(wanted, sizeof(wanted), "{bearer: [\"%s\"]}", scopes[i]);
      if (strncmp(security + 11, wanted, strlen(wanted)) != 0)
        continue;
      check_operation(method, path, i);
      checked++;
    }
  }
  reply_done(&document);
  assert_int_equal(open, 9);
  assert_true(checked >= 24);
}

static void bad_tokens(void **state) {
  (void)state;
  static const char *const bad[] = {"Authorization: Basic YWxpY2U6c2VjcmV0",
                                    "Authorization: Bearer",
                                    "Authorization: Bearer x",
                                    "Authorization: Bearer guise_",
                                    "Authorization: Bearer ../../etc/passwd",
                                    "Authorization: Bearer guise_' OR '1'='1",
                                    "Authorization: Bearer \xff\xfe"};
  char header[256], challenge[256];
  for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
    assert_int_equal(status_of("GET", "/v1/jobs", bad[i], challenge), 401);
    assert_string_equal(challenge, "Bearer realm=\"guise\", error=\"invalid_token\"");
  }
  (void)snprintf(header, sizeof(header), "%s", only[2]);
  assert_int_equal(status_of("GET", "/v1/jobs", header, challenge), 200);
  header[strlen(header) - 1] ^= 1; /* a hex digit's last bit: another digit, or none */
  assert_int_equal(status_of("GET", "/v1/jobs", header, challenge), 401);
  (void)snprintf(header, sizeof(header), "%s\n%s", only[2], only[2]);
  assert_int_equal(status_of("GET", "/v1/jobs", header, challenge), 400);
  assert_int_equal(status_of("GET", "/healthz", NULL, challenge), 200);
}

static void oversized_headers(void **state) {
  (void)state;
  static const size_t sizes[] = {1000, 20000, 200000};
  for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
    static char request[200200], answer[4096];
    int used = snprintf(request, sizeof(request),
                        "GET /v1/jobs HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer ");
    memset(request + used, 'a', sizes[i]);
    (void)snprintf(request + used + sizes[i], 64, "\r\nConnection: close\r\n\r\n");
    int status = ask_raw(&server, request, strlen(request), answer, sizeof(answer));
    if (status != (i == 0 ? 401 : 431) && !(i == 2 && status == 0)) /* cut off while it still sends */
      fail_msg("%zu bytes: %d %s", sizes[i], status, answer);
  }
  char challenge[256];
  assert_int_equal(status_of("GET", "/v1/jobs", only[2], challenge), 200);
}

static void the_client_makes_lists_and_revokes(void **state) {
  (void)state;
  char environment[256], id[64];
  (void)snprintf(environment, sizeof(environment), "%s/admin", server.root);
  FILE *file = fopen(environment, "we");
  (void)fprintf(file, "%s\n", only[8] + strlen("Authorization: Bearer "));
  (void)fclose(file);
  expect_text(shell(1, "$G ls")->err, "wants a token");
  expect_text(shell(1, "GUISE_TOKEN=nonsense $G ls")->err, "not valid here");
  expect_text(shell(2, "GUISE_TOKEN='two words' $G ls")->err, "holds no token");
  expect_text(shell(2, "GUISE_TOKEN_FILE=$D/missing $G ls")->err, "missing");
  expect_text(shell(1, "GUISE_TOKEN_FILE=$D/admin $G ls")->err, "the scope jobs:read");
  expect_text(shell(2, "GUISE_TOKEN_FILE=$D/admin $G token add alice")->err, "--scope");
  expect_text(shell(1, "GUISE_TOKEN_FILE=$D/admin $G token add alice --scope jobs:fly")->err, "/scopes/0");
  (void)shell(0, "GUISE_TOKEN_FILE=$D/admin $G token add alice --scope jobs:read,datasets:read >$D/alice");
  expect_text(shell(0, "GUISE_TOKEN_FILE=$D/alice $G ls && GUISE_TOKEN_FILE=$D/alice $G dataset ls")->out,
              "JOB");
  struct output *output = shell(0, "GUISE_TOKEN_FILE=$D/admin $G token ls");
  expect_text(output->out, "datasets:read,jobs:read");
  const char *line = strstr(output->out, "alice");
  while (line > output->out && line[-1] != '\n')
    line--;
  (void)snprintf(id, sizeof(id), "%.30s", line);
  assert_int_equal(setenv("ID", id, 1), 0);
  (void)shell(0, "GUISE_TOKEN_FILE=$D/admin $G token revoke $ID");
  expect_text(shell(1, "GUISE_TOKEN_FILE=$D/alice $G ls")->err, "not valid here");
  expect_text(shell(0, "GUISE_TOKEN_FILE=$D/admin $G token ls")->out, "revoked");
  /* a token does not leave the machine unencrypted, whatever the address looks like */
  expect_text(shell(2, "GUISE_TOKEN_FILE=$D/admin $G --url http://192.0.2.1:1 ls")->err, "is not sent");
  expect_text(shell(2, "GUISE_TOKEN_FILE=$D/admin $G --url http://localhost.example:1 ls")->err,
              "is not sent");
  expect_text(shell(2, "GUISE_TOKEN_FILE=$D/admin $G --url http://127.0.0.1:1@example.org ls")->err,
              "is not sent");
}

/* Headers of a new token of `owner`, made by the admin's. */
static void make_owned(const char *owner, char ret_header[256]) {
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

static long put_as(const char *token, const char *name) {
  char path[128], header[512];
  struct reply reply;
  (void)snprintf(path, sizeof(path), "/v1/datasets/%s", name);
  (void)snprintf(header, sizeof(header), "Content-Type: application/x-tar\n%s", token);
  ask(&server, "PUT", path, header, "no archive", 10, &reply);
  long status = reply.status;
  reply_done(&reply);
  return status;
}

static long submit_as(const char *token, const char *key, const char *dataset, char ret_job[64]) {
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

static size_t listed_as(const char *token, const char *path) {
  struct reply reply;
  ask(&server, "GET", path, token, NULL, 0, &reply);
  assert_int_equal(reply.status, 200);
  size_t count = json_array_size(json_object_get(reply.json, "data"));
  reply_done(&reply);
  return count;
}

/* The answer about a job that has ended is kept for whoever asks again: not for others, nor once it is gone.
 */
static void ended_as(const char *token, const char *others, const char *job) {
  char path[200], challenge[256];
  (void)snprintf(path, sizeof(path), "/v1/jobs/%s", job);
  for (int i = 0; i < 2000; i++) {
    struct reply reply;
    ask(&server, "GET", path, token, NULL, 0, &reply);
    assert_int_equal(reply.status, 200);
    const bool ended = json_is_true(json_object_get(reply.json, "terminal"));
    reply_done(&reply);
    if (ended)
      break;
    (void)usleep(5000);
  }
  for (int i = 0; i < 2; i++) {
    assert_int_equal(status_of("GET", path, token, challenge), 200);
    assert_int_equal(status_of("GET", path, others, challenge), 404);
    assert_int_equal(status_of("GET", path, "Authorization: Bearer x", challenge), 401);
  }
  assert_int_equal(status_of("DELETE", path, token, challenge), 200);
  assert_int_equal(status_of("GET", path, token, challenge), 404);
}

static void owners_do_not_see_each_other(void **state) {
  (void)state;
  static const char *const verbs[][2] = {{"GET", ""},
                                         {"GET", "/rejects"},
                                         {"GET", "/pairs"},
                                         {"GET", "/identities"},
                                         {"DELETE", "/identities/person-001"},
                                         {"DELETE", ""}};
  char alice[256], bob[256], job[64], other[64], path[200], challenge[256];
  make_owned("alice", alice);
  make_owned("bob", bob);
  assert_int_equal(put_as(alice, "faces"), 202);
  assert_int_equal(put_as(alice, "faces"), 200);
  assert_int_equal(put_as(bob, "faces"), 409); /* also with the same bytes: they tell what alice has */
  assert_int_equal(put_as(bob, "other"), 202);
  assert_int_equal(listed_as(alice, "/v1/datasets"), 1);
  assert_int_equal(listed_as(bob, "/v1/datasets"), 1);
  for (size_t i = 0; i < sizeof(verbs) / sizeof(verbs[0]); i++) {
    (void)snprintf(path, sizeof(path), "/v1/datasets/faces%s", verbs[i][1]);
    assert_int_equal(status_of(verbs[i][0], path, bob, challenge), 404);
  }
  assert_int_equal(status_of("GET", "/v1/datasets/faces", alice, challenge), 200);
  assert_int_equal(submit_as(bob, "k", "faces", job), 422);
  assert_int_equal(setenv("GUISE_TOKEN", alice + strlen("Authorization: Bearer "), 1), 0);
  (void)shell(
      0, "$G synth $D/people.tar --identities 4 --images 4 --size 32 && $G dataset add people $D/people.tar");
  assert_int_equal(setenv("GUISE_TOKEN", bob + strlen("Authorization: Bearer "), 1), 0);
  (void)shell(0, "$G dataset add bobs $D/people.tar");
  assert_int_equal(unsetenv("GUISE_TOKEN"), 0);
  assert_int_equal(submit_as(bob, "k", "people", other), 422);
  assert_int_equal(submit_as(bob, "k", "bobs", job), 201);
  assert_int_equal(submit_as(alice, "k", "people", other), 201); /* her key is not his */
  assert_string_not_equal(job, other);
  assert_int_equal(submit_as(alice, "k", "people", job), 201);
  assert_string_equal(job, other);
  (void)snprintf(path, sizeof(path), "/v1/jobs/%s", other);
  assert_int_equal(status_of("GET", path, alice, challenge), 200);
  assert_int_equal(status_of("GET", path, bob, challenge), 404);
  (void)snprintf(path, sizeof(path), "/v1/jobs/%s/events", other);
  assert_int_equal(status_of("GET", path, bob, challenge), 404);
  struct reply reply; /* all that he may see is one */
  ask(&server, "POST", "/v1/jobs/cancel?created_after=2020-01-01T00:00:00Z", bob, NULL, 0, &reply);
  assert_int_equal(json_array_size(json_object_get(reply.json, "jobs")), 1);
  reply_done(&reply);
  (void)snprintf(path, sizeof(path), "/v1/jobs/%s/cancel", other);
  assert_int_equal(status_of("POST", path, bob, challenge), 404);
  assert_int_equal(status_of("POST", path, alice, challenge), 200);
  assert_int_equal(listed_as(alice, "/v1/jobs"), 1);
  assert_int_equal(listed_as(bob, "/v1/jobs"), 1);
  ended_as(alice, bob, other);
}

/* The object of the newest record of this action and status; fails when there is none. */
static void expect_record(const char *action, int status, const char *actor_prefix,
                          const char *object_prefix) {
  struct reply reply;
  const json_t *row;
  size_t i;
  bool found = false;
  ask(&server, "GET", "/v1/audit", only[8], NULL, 0, &reply);
  assert_int_equal(reply.status, 200);
  json_array_foreach(json_object_get(reply.json, "data"), i, row) {
    const char *object = json_string_value(json_object_get(row, "object"));
    found |=
        strcmp(json_string_value(json_object_get(row, "action")), action) == 0 &&
        json_integer_value(json_object_get(row, "status")) == status &&
        strncmp(json_string_value(json_object_get(row, "actor")), actor_prefix, strlen(actor_prefix)) == 0 &&
        strncmp(object ? object : "", object_prefix, strlen(object_prefix)) == 0;
  }
  if (!found)
    fail_msg("no %s %d by %s on %s: %s", action, status, actor_prefix, object_prefix, reply.body);
  /* what people chose to call things is not there */
  if (strstr(reply.body, "people") || strstr(reply.body, "faces") || strstr(reply.body, "alice"))
    fail_msg("%s", reply.body);
  reply_done(&reply);
}

static void the_audit_trail_tells_who_did_what(void **state) {
  (void)state;
  char challenge[256];
  expect_record("putDataset", 202, "tok_", "ds_");
  expect_record("postJob", 201, "tok_", "job_");
  expect_record("cancelJob", 200, "tok_", "job_");
  expect_record("cancelJob", 404, "tok_", "job_"); /* somebody else's */
  expect_record("getDataset", 404, "tok_", "ds_");
  expect_record("postToken", 201, "tok_", "tok_");
  expect_record("deleteToken", 204, "tok_", "tok_");
  assert_int_equal(status_of("DELETE", "/v1/datasets/faces", only[2], challenge), 403);
  (void)usleep(300000); /* that is recorded beside */
  expect_record("deleteDataset", 403, "tok_", "");
  expect_text(shell(0, "GUISE_TOKEN_FILE=$D/admin $G audit --limit 1")->out, "deleteDataset");
  struct output *output = shell(0, "GUISE_TOKEN_FILE=$D/admin $G audit --object $ID");
  expect_text(output->out, "postToken");
  expect_text(output->out, "deleteToken");
  if (strstr(output->out, "putDataset"))
    fail_msg("%s", output->out);
}

static void an_expired_token_says_so(void **state) {
  (void)state;
  static const char body[] = "{\"name\":\"brief\",\"scopes\":[\"jobs:read\"],\"expires_at\":\"%s\"}";
  char text[256], header[256], when[64];
  struct reply reply;
  time_t soon = time(NULL) + 2;
  struct tm tm;
  (void)strftime(when, sizeof(when), "%Y-%m-%dT%H:%M:%SZ", gmtime_r(&soon, &tm));
  (void)snprintf(text, sizeof(text), body, when);
  (void)snprintf(header, sizeof(header), "Content-Type: application/json\n%s", only[8]);
  ask(&server, "POST", "/v1/tokens", header, text, strlen(text), &reply);
  assert_int_equal(reply.status, 201);
  (void)snprintf(header, sizeof(header), "Authorization: Bearer %s",
                 json_string_value(json_object_get(reply.json, "token")));
  reply_done(&reply);
  (void)usleep(2100000);
  ask(&server, "GET", "/v1/jobs", header, NULL, 0, &reply);
  assert_int_equal(reply.status, 401);
  expect_text(reply.body, "expired");
  reply_done(&reply);
}

static void secrets_are_in_no_file(void **state) {
  (void)state;
  for (size_t i = 0; i < SCOPES; i++) {
    assert_int_equal(setenv("SECRET", only[i] + strlen("Authorization: Bearer guise_") + 27, 1), 0);
    (void)shell(1, "grep -r -e \"$SECRET\" $D/state $D/log");
  }
  (void)shell(0, "grep -q 'token tok_.*: made by loopback' $D/log");
}

/* A guised on a Unix socket with this option; the command runs with its address in $GUISE_URL. */
static struct output *over_unix(const char *option, int code, const char *command) {
  struct server local;
  char listen[128];
  server_prepare(&local);
  (void)snprintf(listen, sizeof(listen), "--listen=unix:%s/sock", local.root);
  local.option[0] = listen;
  local.option[1] = option;
  server_start(&local);
  assert_int_equal(setenv("GUISE_URL", local.url, 1), 0);
  struct output *output = shell(code, command);
  assert_int_equal(setenv("GUISE_URL", server.url, 1), 0);
  assert_int_equal(server_stop(&local), 0);
  server_clean(&local);
  return output;
}

static void unix_sockets_know_their_peers(void **state) {
  (void)state;
  char mine[64], other[64], group[64];
  (void)snprintf(mine, sizeof(mine), "--unix-users=54321,%u", (unsigned)getuid());
  (void)snprintf(other, sizeof(other), "--unix-users=%u", (unsigned)getuid() + 1);
  (void)snprintf(group, sizeof(group), "--unix-groups=%u", (unsigned)getgid());
  (void)over_unix(NULL, 0, "$G ls");
  (void)over_unix(mine, 0, "$G ls && $G token add t --scope jobs:read");
  (void)over_unix(group, 0, "$G ls");
  expect_text(over_unix(other, 1, "$G ls")->err, "you are none of them");
  expect_text(over_unix("--unix-groups=54321", 1, "$G ls")->err, "you are none of them");
  expect_text(over_unix("--auth=local", 0, "$G dataset ls")->out, "NAME");
}

/* As systemd does it: the socket is there before guised is, and whoever connects starts it. */
static void a_socket_that_is_passed(void **state) {
  (void)state;
  struct server local;
  char socket[100], directory[128], users[64];
  int status = 0;
  if (access("/usr/bin/systemd-socket-activate", X_OK) < 0)
    skip(); /* scripts/install-deps --tests installs it */
  server_prepare(&local);
  (void)snprintf(socket, sizeof(socket), "%s/sock", local.root);
  (void)snprintf(directory, sizeof(directory), "--state=%s/state", local.root);
  (void)snprintf(users, sizeof(users), "--unix-users=%u", (unsigned)getuid());
  (void)snprintf(local.url, sizeof(local.url), "unix:%s", socket);
  local.pid = fork();
  assert_true(local.pid >= 0);
  if (local.pid == 0) {
    (void)execl("/usr/bin/systemd-socket-activate", "systemd-socket-activate", "-l", socket,
                GUISE_BUILD "/guised", directory, users, (char *)NULL);
    _exit(127);
  }
  assert_int_equal(setenv("GUISE_URL", local.url, 1), 0);
  (void)shell(0, "$G ready --wait 20 && $G ls");
  assert_int_equal(setenv("GUISE_URL", server.url, 1), 0);
  assert_int_equal(kill(local.pid, SIGTERM), 0);
  assert_int_equal(waitpid(local.pid, &status, 0), local.pid);
  assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
  local.pid = 0;
  server_clean(&local);
}

/* Embeds `count` times; the status of the last one. */
static long embed_as(struct server *local, const char *token, unsigned count) {
  char header[256];
  long status = 0;
  (void)snprintf(header, sizeof(header), "Content-Type: image/png%s%s", token ? "\n" : "",
                 token ? token : "");
  for (unsigned i = 0; i < count; i++) {
    struct reply reply;
    ask(local, "POST", "/v1/models/mdl_none/embed", header, "x", 1, &reply);
    status = reply.status;
    reply_done(&reply);
  }
  return status;
}

static void rates_are_a_tokens(void **state) {
  (void)state;
  static const char body[] = "{\"name\":\"t\",\"scopes\":[\"models:use\",\"admin\"]}";
  struct server local;
  struct reply reply;
  char token[2][128];
  server_prepare(&local);
  local.option[0] = "--inference-rate=1";
  local.option[1] = "--inference-burst=20";
  server_start(&local);
  for (size_t i = 0; i < 2; i++) {
    expect(&local, "POST", "/v1/tokens", body, 201, &reply);
    (void)snprintf(token[i], sizeof(token[i]), "Authorization: Bearer %s",
                   json_string_value(json_object_get(reply.json, "token")));
    reply_done(&reply);
  }
  assert_int_equal(embed_as(&local, token[0], 20), 404); /* there is no such model, but it was asked for */
  assert_int_equal(embed_as(&local, token[0], 10), 429);
  assert_int_equal(embed_as(&local, token[1], 1), 404); /* from the same address */
  assert_int_equal(embed_as(&local, NULL, 1), 404);
  assert_int_equal(server_stop(&local), 0);
  server_clean(&local);
}

static long cancel_as(const char *token) {
  char challenge[256];
  return status_of("POST", "/v1/jobs/cancel?state=queued&state=running", token, challenge);
}

static void upload_head(const char *token, const char *name, const char *framing, char ret_head[1024]) {
  (void)snprintf(
      ret_head, 1024,
      "PUT /v1/datasets/%s HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-tar\r\n%s\r\n"
      "%s\r\n\r\n",
      name, token, framing);
}

/* The disk is to be spared what the quota refuses: the answer comes before the body. */
static void quota_before_the_body(const char *token) {
  char head[1024], answer[2048];
  upload_head(token, "third", "Content-Length: 1000000", head);
  assert_int_equal(ask_raw(&server, head, strlen(head), answer, sizeof(answer)), 403);
  expect_text(answer, "owner_bytes");
}

/* 10 of 20 bytes are left, and 8 of them announced by an upload of which nothing has come yet. */
static void quota_of_what_is_on_its_way(const char *token) {
  char head[1024], answer[256] = "";
  int fd = server_dial(&server);
  upload_head(token, "held", "Content-Length: 8\r\nExpect: 100-continue", head);
  assert_int_equal(send(fd, head, strlen(head), MSG_NOSIGNAL), strlen(head));
  assert_true(recv(fd, answer, sizeof(answer) - 1, 0) > 0);
  expect_text(answer, "HTTP/1.1 100");
  assert_int_equal(put_as(token, "fourth"), 403);
  (void)close(fd);
  long status = 0;
  for (int i = 0; i < 200 && status != 202; i++) {
    (void)usleep(20000);
    status = put_as(token, "fourth");
  }
  assert_int_equal(status, 202);
}

/* In chunks nobody knows how much comes: it is stopped when it is too much, long before its end. */
static void quota_of_unknown_lengths(const char *token) {
  static char text[1024 + (256 << 10) + 16], answer[2048];
  upload_head(token, "endless", "Transfer-Encoding: chunked", text);
  size_t used = strlen(text);
  used += (size_t)snprintf(text + used, 16, "40000000\r\n");
  memset(text + used, 'x', (256 << 10) + 1);
  assert_int_equal(ask_raw(&server, text, used + (256 << 10) + 1, answer, sizeof(answer)), 403);
  expect_text(answer, "owner_bytes");
}

static void quotas_answer_403(void **state) {
  (void)state;
  char alice[256], bob[256], header[512];
  struct reply reply;
  server.option[1] = "--owner-bytes=20";
  make_owned("carol", alice);
  make_owned("dave", bob);
  assert_int_equal(server_stop(&server), 0);
  server_start(&server);
  assert_int_equal(put_as(alice, "first"), 202); /* 10 bytes each */
  assert_int_equal(put_as(alice, "second"), 202);
  (void)snprintf(header, sizeof(header), "Content-Type: application/x-tar\n%s", alice);
  ask(&server, "PUT", "/v1/datasets/third", header, "no archive", 10, &reply);
  assert_int_equal(reply.status, 403);
  expect_text(reply.body, "owner_bytes");
  reply_done(&reply);
  assert_int_equal(put_as(bob, "third"), 202);
  quota_before_the_body(alice);
  assert_int_equal(put_as(alice, "second"), 200); /* the same again is no addition */
  quota_of_what_is_on_its_way(bob);
  quota_of_unknown_lengths(bob);
}

static void quotas_of_jobs_and_images(void **state) {
  (void)state;
  char erin[256], job[64], answer[2048], head[1024];
  server.option[1] = "--owner-images=16";
  server.option[2] = "--owner-jobs=1";
  make_owned("erin", erin);
  assert_int_equal(server_stop(&server), 0);
  server_start(&server);
  shell_start(&server);
  assert_int_equal(setenv("GUISE_TOKEN", erin + strlen("Authorization: Bearer "), 1), 0);
  (void)shell(0, "$G synth $D/sixteen.tar --identities 4 --images 4 --size 32 && "
                 "$G dataset add sixteen $D/sixteen.tar");
  assert_int_equal(unsetenv("GUISE_TOKEN"), 0);
  upload_head(erin, "one-more", "Content-Length: 1000000", head);
  assert_int_equal(ask_raw(&server, head, strlen(head), answer, sizeof(answer)), 403);
  expect_text(answer, "owner_images");
  assert_int_equal(submit_as(erin, "first", "sixteen", job), 201);
  assert_int_equal(submit_as(erin, "first", "sixteen", job), 201); /* the same job */
  assert_int_equal(submit_as(erin, "second", "sixteen", job), 403);
  assert_int_equal(cancel_as(erin), 200);
  for (int i = 0; i < 600 && submit_as(erin, "third", "sixteen", job) == 403; i++)
    (void)usleep(50000); /* until the first has ended */
  assert_string_not_equal(job, "");
  assert_int_equal(cancel_as(erin), 200);
}

static void strangers_are_not_served(void **state) {
  (void)state;
  struct server fresh;
  server_prepare(&fresh);
  fresh.option[0] = "--listen=0.0.0.0:0";
  expect_text(server_refuses(&fresh), "--tls-certificate");
  fresh.option[1] = "--tls=elsewhere";
  expect_text(server_refuses(&fresh), "guise token add NAME");
  fresh.option[0] = "--auth=token";
  expect_text(server_refuses(&fresh), "--auth local");
  server_clean(&fresh);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(every_operation_asks_for_its_scope),
                                     cmocka_unit_test(bad_tokens),
                                     cmocka_unit_test(oversized_headers),
                                     cmocka_unit_test(the_client_makes_lists_and_revokes),
                                     cmocka_unit_test(owners_do_not_see_each_other),
                                     cmocka_unit_test(the_audit_trail_tells_who_did_what),
                                     cmocka_unit_test(an_expired_token_says_so),
                                     cmocka_unit_test(secrets_are_in_no_file),
                                     cmocka_unit_test(unix_sockets_know_their_peers),
                                     cmocka_unit_test(a_socket_that_is_passed),
                                     cmocka_unit_test(rates_are_a_tokens),
                                     cmocka_unit_test(quotas_answer_403),
                                     cmocka_unit_test(quotas_of_jobs_and_images),
                                     cmocka_unit_test(strangers_are_not_served)};
  return cmocka_run_group_tests(tests, setup, teardown);
}
