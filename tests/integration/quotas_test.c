/* How much one may have, over real HTTP: rates are a token's, quotas an owner's, and what they refuse is
 * refused before it costs anything. */
#include <sys/socket.h>
#include <unistd.h>

#include "tests/integration/auth_fixture.h"

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
  upload_head(token, "more", "Content-Length: 1000000", head);
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

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(rates_are_a_tokens),
      cmocka_unit_test(quotas_answer_403),
      cmocka_unit_test(quotas_of_jobs_and_images),
  };
  return cmocka_run_group_tests(tests, setup, teardown);
}
