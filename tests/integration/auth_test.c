/* Who may do what, over real HTTP: every operation of the document asks for its scope, bad tokens are
 * refused, nothing shows a secret, and guised does not serve strangers. */
#include <time.h>
#include <unistd.h>

#include "tests/integration/auth_fixture.h"

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
  assert_int_equal(open, 10);
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

/* None of what is announced has to be sent to hear that. */
static void expect_taken(const char *token, const char *name) {
  char head[1024], answer[2048];
  (void)snprintf(
      head, sizeof(head),
      "PUT /v1/datasets/%s HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-tar\r\n%s\r\n"
      "Content-Length: 68719476736\r\n\r\n",
      name, token);
  assert_int_equal(ask_raw(&server, head, strlen(head), answer, sizeof(answer)), 409);
  expect_text(answer, "is taken");
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
  expect_taken(bob, "faces");
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
  expect_record("putDataset", 409, "tok_", ""); /* the name is somebody else's */
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
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(every_operation_asks_for_its_scope),
      cmocka_unit_test(bad_tokens),
      cmocka_unit_test(oversized_headers),
      cmocka_unit_test(the_client_makes_lists_and_revokes),
      cmocka_unit_test(owners_do_not_see_each_other),
      cmocka_unit_test(the_audit_trail_tells_who_did_what),
      cmocka_unit_test(an_expired_token_says_so),
      cmocka_unit_test(secrets_are_in_no_file),
      cmocka_unit_test(strangers_are_not_served),
  };
  return cmocka_run_group_tests(tests, setup, teardown);
}
