/* The API over real HTTP: errors that name everything, hostile framing, uploads, files, events, job control,
 * two jobs at once. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/integration/support/server.h"

static struct server server;

#define TINY "\"model\":{\"input\":32,\"width\":0.5,\"embedding\":32},\"audit\":{\"effort\":\"quick\"}"
#define NONE_JOB                                                                   \
  "{\"type\":\"train\",\"dataset\":\"faces\",\"mask\":{\"method\":\"none\"}," TINY \
  ",\"train\":{\"epochs\":2,\"batch\":8}}"
#define ONE_THREAD_JOB                                                             \
  "{\"type\":\"train\",\"dataset\":\"faces\",\"mask\":{\"method\":\"none\"}," TINY \
  ",\"train\":{\"epochs\":10,\"batch\":8},\"resources\":{\"threads\":1}}"
#define LONG_JOB "{\"type\":\"train\",\"dataset\":\"faces\"," TINY ",\"train\":{\"epochs\":1000,\"batch\":8}}"

#define LABELED_JOB                                                          \
  "{\"type\":\"train\",\"dataset\":\"faces\",\"labels\":{\"a\":\"1\"}," TINY \
  ",\"train\":{\"epochs\":1000,\"batch\":8}}"

static int setup(void **state) {
  (void)state;
  server_prepare(&server);
  server.option[0] = "--cores=2";
  server_start(&server);
  upload_faces(&server, "faces", 8, 6);
  return 0;
}

static int teardown(void **state) {
  (void)state;
  int status = server_stop(&server);
  server_clean(&server);
  return status;
}

static void three_mistakes_one_answer(void **state) {
  (void)state;
  struct reply reply;
  unsigned found = 0;
  expect(
      &server, "POST", "/v1/jobs",
      "{\"type\":\"train\",\"dataset\":\"nobody\",\"train\":{\"epochs\":0},\"mask\":{\"method\":\"magic\"}}",
      422, &reply);
  assert_string_equal(header_of(&reply, "Content-Type"), "application/problem+json");
  json_t *errors = json_object_get(reply.json, "errors");
  for (size_t i = 0; i < json_array_size(errors); i++) {
    const char *pointer = json_string_value(json_object_get(json_array_get(errors, i), "pointer"));
    found |= strcmp(pointer, "/dataset") == 0        ? 1u
             : strcmp(pointer, "/train/epochs") == 0 ? 2u
             : strcmp(pointer, "/mask/method") == 0  ? 4u
                                                     : 8u;
  }
  if (found != 7u)
    fail_msg("%s", reply.body);
  reply_done(&reply);
}

static void errors_on_every_path(void **state) {
  (void)state;
  static const struct {
    const char *method, *path, *header, *body;
    long status;
  } cases[] = {
      {"GET", "/nothing", NULL, NULL, 404},
      {"GET", "/v1/jobs/job_unknown", NULL, NULL, 404},
      {"GET", "/v1/models/mdl_unknown/files/model.safetensors", NULL, NULL, 404},
      {"DELETE", "/v1/jobs", NULL, NULL, 405},
      {"GET", "/v1/jobs?limit=0", NULL, NULL, 422},
      {"GET", "/v1/jobs?colour=red", NULL, NULL, 422},
      {"GET", "/v1/jobs?cursor=zzz", NULL, NULL, 422},
      {"GET", "/v1/jobs?state=asleep", NULL, NULL, 422},
      {"GET", "/v1/jobs?label=a:1&label=b:2", NULL, NULL, 422},
      {"GET", "/v1/jobs?state=queued&state=running&limit=1&limit=1", NULL, NULL, 422},
      {"GET", "/v1/jobs/job_unknown?state=queued&state=running&wait=1", NULL, NULL, 422},
      {"GET", "/v1/%00", NULL, NULL, 400},
      {"GET", "/v1/%zz", NULL, NULL, 400},
      {"POST", "/v1/jobs", "Content-Type: text/plain", "{}", 415},
      {"POST", "/v1/jobs", "Content-Type: application/json", "{\"type\":", 400},
      {"POST", "/v1/jobs", "Content-Type: application/json", "{\"type\":\"train\",\"type\":\"train\"}", 400},
      {"POST", "/v1/jobs", "Content-Type: application/json", "[]", 400},
      {"PUT", "/v1/datasets/new", "Content-Type: application/json", "{}", 415},
      {"PUT", "/v1/datasets/bad%20name", "Content-Type: application/x-tar", "x", 422},
      {"GET", "/v1/jobs", "Origin: http://evil.example", NULL, 403},
      {"GET", "/v1/jobs", "Host: evil.example", NULL, 403},
  };
  for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
    struct reply reply;
    ask(&server, cases[i].method, cases[i].path, cases[i].header, cases[i].body,
        cases[i].body ? strlen(cases[i].body) : 0, &reply);
    if (reply.status != cases[i].status)
      fail_msg("%s %s: %ld instead of %ld: %s", cases[i].method, cases[i].path, reply.status, cases[i].status,
               reply.body);
    assert_string_equal(header_of(&reply, "Content-Type"), "application/problem+json");
    assert_true(strlen(json_string_value(json_object_get(reply.json, "detail"))) > 10);
    if (reply.status == 405)
      assert_string_equal(header_of(&reply, "Allow"), "GET, HEAD, POST");
    reply_done(&reply);
  }
}

static void ambiguous_framing_is_refused(void **state) {
  (void)state;
  static const char *const requests[] = {
      "POST /v1/jobs HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\nContent-Length: 3\r\nContent-Type: "
      "application/json\r\n\r\n{}",
      "POST /v1/jobs HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\nTransfer-Encoding: "
      "chunked\r\nContent-Type: application/json\r\n\r\n0\r\n\r\n",
      "GET /healthz HTTP/1.1\r\n\r\n",
      "GET /healthz HTTP/1.1\r\nHost: localhost\r\nHost: localhost\r\n\r\n",
      "GET /healthz HTTP/1.1\r\nHost: evil.example\r\n\r\n",
  };
  char answer[4096];
  for (size_t i = 0; i < sizeof(requests) / sizeof(requests[0]); i++) {
    int status = ask_raw(&server, requests[i], strlen(requests[i]), answer, sizeof(answer));
    if (status != 400 && status != 403)
      fail_msg("%zu: %d %s", i, status, answer);
  }
  expect(&server, "GET", "/healthz", NULL, 200, NULL);
}

/* HTTP chunks that end just where the daemon's own end: the connection is suspended there while the next ones
 * are in its buffer already. */
static void small_chunks_arrive_whole(void **state) {
  (void)state;
  enum { CHUNK = 1024, CHUNKS = 1024 };
  static unsigned char body[CHUNKS * CHUNK];
  static char request[CHUNKS * (CHUNK + 8) + 512];
  unsigned char digest[crypto_hash_sha256_BYTES];
  char answer[4096], sha256[2 * sizeof(digest) + 1];
  for (size_t i = 0; i < sizeof(body); i++)
    body[i] = (unsigned char)(i * 2654435761u >> 13);
  crypto_hash_sha256(digest, body, sizeof(body));
  (void)sodium_bin2hex(sha256, sizeof(sha256), digest, sizeof(digest));
  size_t size =
      (size_t)sprintf(request, "PUT /v1/datasets/chunks HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
                               "Content-Type: application/x-tar\r\nTransfer-Encoding: chunked\r\n\r\n");
  for (size_t i = 0; i < sizeof(body); i += CHUNK) {
    size += (size_t)sprintf(request + size, "%x\r\n", CHUNK);
    memcpy(request + size, body + i, CHUNK);
    size += CHUNK;
    size += (size_t)sprintf(request + size, "\r\n");
  }
  size += (size_t)sprintf(request + size, "0\r\n\r\n");
  assert_int_equal(ask_raw(&server, request, size, answer, sizeof(answer)), 202);
  if (!strstr(answer, sha256))
    fail_msg("sent %s, arrived %s", sha256, answer);
}

/* 64 GiB are announced and none of them sent: what is wrong without them is told at once. */
static void bad_uploads_are_refused_before_the_body(void **state) {
  (void)state;
  static const struct {
    const char *target, *type, *said;
  } cases[] = {
      {"bad%20name", "application/x-tar", "a data set's name is"},
      {"ds_0123", "application/x-tar", "a data set's name is"},
      {"fresh?size=100", "application/x-tar", "a multiple of 8"},
      {"fresh?size=big", "application/x-tar", "a multiple of 8"},
      {"fresh?size=56", "application/vnd.guise.templates", "leave size out"},
  };
  char request[512], answer[4096];
  for (size_t i = 0; i < 2 * sizeof(cases) / sizeof(cases[0]); i++) {
    const char *target = cases[i / 2].target;
    (void)snprintf(request, sizeof(request),
                   "PUT /v1/datasets/%s HTTP/1.1\r\nHost: localhost\r\nContent-Type: %s\r\n"
                   "Content-Length: 68719476736\r\n%s\r\n",
                   target, cases[i / 2].type, i % 2 ? "Expect: 100-continue\r\n" : "");
    int status = ask_raw(&server, request, strlen(request), answer, sizeof(answer));
    if (status != 422 || !strstr(answer, cases[i / 2].said))
      fail_msg("%s: %d %s", target, status, answer);
  }
}

static void uploads(void **state) {
  (void)state;
  struct reply reply;
  static const char broken[] = "this is no archive at all";
  ask(&server, "PUT", "/v1/datasets/broken", "Content-Type: application/x-tar", broken, sizeof(broken),
      &reply);
  assert_int_equal(reply.status, 202);
  assert_true(strncmp(header_of(&reply, "Location"), "/v1/datasets/ds_", 16) == 0);
  reply_done(&reply);
  bool failed = false;
  for (int i = 0; i < 100 && !failed; i++) {
    expect(&server, "GET", "/v1/datasets/broken", NULL, 200, &reply);
    failed = strcmp(json_string_value(json_object_get(reply.json, "state")), "failed") == 0;
    if (failed)
      assert_non_null(strstr(json_string_value(json_object_get(reply.json, "error")), "upload a whole"));
    reply_done(&reply);
    (void)usleep(50000);
  }
  assert_true(failed);
  ask(&server, "PUT", "/v1/datasets/broken", "Content-Type: application/x-tar", broken, sizeof(broken),
      &reply);
  assert_int_equal(reply.status, 200); /* the same bytes, which failed: they are looked at again */
  assert_string_equal(json_string_value(json_object_get(reply.json, "state")), "ingesting");
  assert_true(json_is_null(json_object_get(reply.json, "error")));
  reply_done(&reply);
  ask(&server, "PUT", "/v1/datasets/broken", "Content-Type: application/x-tar", broken, 10, &reply);
  assert_int_equal(reply.status, 409); /* others */
  reply_done(&reply);
  ask(&server, "PUT", "/v1/datasets/digest",
      "Content-Type: application/x-tar\nContent-Digest: "
      "sha-256=:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=:",
      broken, 10, &reply);
  assert_int_equal(reply.status, 422);
  reply_done(&reply);
  expect(&server, "DELETE", "/v1/datasets/broken", NULL, 200, NULL);
  expect(&server, "GET", "/v1/datasets/broken", NULL, 404, NULL);
  ask(&server, "PUT", "/v1/datasets/faces/pairs/p", "Content-Type: text/plain",
      "1\nperson-001 1 2\nperson-001 1 person-002 1\n", 43, &reply);
  if (reply.status != 201)
    fail_msg("%s", reply.body);
  reply_done(&reply);
  ask(&server, "PUT", "/v1/datasets/faces/pairs/p", "Content-Type: text/plain", "1\nnobody 1 2\n", 13,
      &reply);
  assert_int_equal(reply.status, 422);
  assert_non_null(strstr(reply.body, "line 2"));
  reply_done(&reply);
}

static void check_events(const char *job) {
  char path[128];
  struct reply all, rest;
  (void)snprintf(path, sizeof(path), "/v1/jobs/%s/events", job);
  ask(&server, "GET", path, NULL, NULL, 0, &all);
  assert_int_equal(all.status, 200);
  assert_string_equal(header_of(&all, "Content-Type"), "text/event-stream");
  assert_non_null(strstr(all.body, "event: state\n"));
  assert_non_null(strstr(all.body, "event: metric\n"));
  const char *end = strstr(all.body, "event: end\n"), *last = NULL;
  assert_non_null(end);
  for (const char *p = strstr(all.body, "id: "); p && p < end; p = strstr(p + 1, "id: "))
    last = p;
  char header[64];
  (void)snprintf(header, sizeof(header), "Last-Event-ID: %lld", strtoll(last + 4, NULL, 10) - 1);
  ask(&server, "GET", path, header, NULL, 0, &rest);
  assert_true(rest.size < all.size);
  assert_int_equal(strncmp(rest.body, last, rest.size), 0);
  reply_done(&all);
  reply_done(&rest);
}

/* What tells of people is for a token that is for it, on loopback, too. */
static void check_private(const char *model, const char *file, const char *scope, struct reply *ret_reply) {
  char path[200], body[128], header[128];
  (void)snprintf(path, sizeof(path), "/v1/models/%s/files/%s", model, file);
  expect(&server, "GET", path, NULL, 403, NULL);
  for (size_t i = 0; i < 2; i++) {
    struct reply reply;
    (void)snprintf(body, sizeof(body), "{\"name\":\"t\",\"scopes\":[\"admin\",\"models:read\",\"%s\"]}",
                   i == 0 ? "models:use" : scope);
    expect(&server, "POST", "/v1/tokens", body, 201, &reply);
    (void)snprintf(header, sizeof(header), "Authorization: Bearer %s",
                   json_string_value(json_object_get(reply.json, "token")));
    reply_done(&reply);
    ask(&server, "GET", path, header, NULL, 0, ret_reply);
    if (ret_reply->status != (i == 0 ? 403 : 200))
      fail_msg("%s: %ld %s", scope, ret_reply->status, ret_reply->body);
    if (i == 0)
      reply_done(ret_reply);
  }
}

static bool body_holds(const struct reply *reply, const char *text) {
  return memmem(reply->body, reply->size, text, strlen(text)) != NULL;
}

/* The class head and the people's names are nowhere but there. */
static void check_head(const char *model) {
  char path[200];
  struct reply with, same, without;
  check_private(model, "model.safetensors?head=true", "models:head", &with);
  check_private(model, "model-head.safetensors", "models:head", &same);
  assert_int_equal(with.size, same.size);
  assert_memory_equal(with.body, same.body, same.size);
  (void)snprintf(path, sizeof(path), "/v1/models/%s/files/model.safetensors", model);
  ask(&server, "GET", path, NULL, NULL, 0, &without);
  assert_true(body_holds(&with, "head.weight") && !body_holds(&without, "head."));
  assert_true(body_holds(&with, "person-") && !body_holds(&without, "person-"));
  assert_true(with.size > without.size);
  reply_done(&with);
  reply_done(&same);
  reply_done(&without);
}

static void check_files(const char *model) {
  char path[200], header[200], tag[80];
  struct reply whole, part;
  (void)snprintf(path, sizeof(path), "/v1/models/%s/files/model.safetensors", model);
  ask(&server, "GET", path, NULL, NULL, 0, &whole);
  assert_int_equal(whole.status, 200);
  (void)snprintf(tag, sizeof(tag), "%s", header_of(&whole, "ETag"));
  assert_int_equal(strlen(tag), 66);
  ask(&server, "GET", path, "Range: bytes=100-299", NULL, 0, &part);
  assert_int_equal(part.status, 206);
  assert_int_equal(part.size, 200);
  assert_memory_equal(part.body, whole.body + 100, 200);
  reply_done(&part);
  ask(&server, "GET", path, "Range: bytes=999999999-", NULL, 0, &part);
  assert_int_equal(part.status, 416);
  reply_done(&part);
  (void)snprintf(header, sizeof(header), "If-None-Match: %s", tag);
  ask(&server, "GET", path, header, NULL, 0, &part);
  assert_int_equal(part.status, 304);
  reply_done(&part);
  ask(&server, "HEAD", path, NULL, NULL, 0, &part);
  assert_int_equal(part.status, 200);
  assert_int_equal(strtoull(header_of(&part, "Content-Length"), NULL, 10), whole.size);
  reply_done(&part);
  reply_done(&whole);
  static const char *const names[] = {"report.json", "report.html", "card.md"};
  for (size_t i = 0; i < 3; i++) {
    (void)snprintf(path, sizeof(path), "/v1/models/%s/files/%s", model, names[i]);
    expect(&server, "GET", path, NULL, 200, NULL);
  }
  check_private(model, "report-private.html", "models:private", &whole);
  reply_done(&whole);
  check_head(model);
}

static void a_job_from_end_to_end(void **state) {
  (void)state;
  char job[64], path[128];
  struct reply reply;
  (void)snprintf(job, sizeof(job), "%s", submit(&server, NONE_JOB));
  assert_string_equal(wait_job(&server, job, 0, 120), "succeeded");
  check_events(job);
  check_files(model_of(&server, job));
  (void)snprintf(path, sizeof(path), "/v1/jobs/%s/metrics?format=csv&name=loss&resolution=epoch", job);
  expect(&server, "GET", path, NULL, 200, &reply);
  unsigned lines = 0;
  for (const char *p = reply.body; *p; p++)
    lines += *p == '\n';
  assert_int_equal(lines, 3); /* head and two epochs */
  reply_done(&reply);
  (void)snprintf(path, sizeof(path), "/v1/jobs/%s/cancel", job);
  expect(&server, "POST", path, NULL, 409, NULL);
  (void)snprintf(path, sizeof(path), "/v1/models/%s", model_of(&server, job));
  expect(&server, "DELETE", path, NULL, 200, NULL);
  expect(&server, "GET", path, NULL, 404, NULL);
}

static void an_unaudited_model_is_withheld(void **state) {
  (void)state;
  char path[200], job[64];
  (void)snprintf(job, sizeof(job), "%s",
                 submit(&server,
                        "{\"type\":\"train\",\"dataset\":\"faces\",\"mask\":{\"method\":\"none\"},"
                        "\"model\":{\"input\":32,\"width\":0.5,\"embedding\":32},\"audit\":{\"attacks\":[]},"
                        "\"train\":{\"epochs\":1,\"batch\":8}}"));
  assert_string_equal(wait_job(&server, job, 0, 120), "succeeded");
  (void)snprintf(path, sizeof(path), "/v1/models/%s/files/model.safetensors", model_of(&server, job));
  expect(&server, "GET", path, NULL, 403, NULL);
  (void)snprintf(path, sizeof(path), "/v1/models/%s/files/model.safetensors?unsafe=true",
                 model_of(&server, job));
  expect(&server, "GET", path, NULL, 200, NULL);
}

static void job_control(void **state) {
  (void)state;
  char job[64], path[128], cancel[128];
  struct reply reply;
  (void)snprintf(job, sizeof(job), "%s", submit(&server, LONG_JOB));
  (void)snprintf(path, sizeof(path), "/v1/jobs/%s/pause", job);
  (void)snprintf(cancel, sizeof(cancel), "/v1/jobs/%s/cancel", job);
  assert_string_equal(wait_job(&server, job, 2, 120), "running");
  expect(&server, "DELETE", "/v1/datasets/faces", NULL, 409, NULL); /* in use */
  expect(&server, "POST", path, NULL, 200, NULL);
  for (int i = 0; i < 200; i++) {
    char show[128];
    (void)snprintf(show, sizeof(show), "/v1/jobs/%s", job);
    expect(&server, "GET", show, NULL, 200, &reply);
    bool paused = strcmp(json_string_value(json_object_get(reply.json, "state")), "paused") == 0;
    reply_done(&reply);
    if (paused)
      break;
    assert_true(i < 199);
    (void)usleep(50000);
  }
  expect(&server, "POST", path, NULL, 200, NULL); /* pause on paused */
  (void)snprintf(path, sizeof(path), "/v1/jobs/%s/resume", job);
  expect(&server, "POST", path, NULL, 200, NULL);
  assert_string_equal(wait_job(&server, job, 3, 120), "running");
  expect(&server, "POST", cancel, NULL, 200, NULL);
  expect(&server, "POST", cancel, NULL, 200, NULL);
  assert_string_equal(wait_job(&server, job, 0, 30), "canceled");
  expect(&server, "POST", cancel, NULL, 200, NULL); /* cancel on canceled */
  expect(&server, "POST", path, NULL, 409, NULL);   /* resume on canceled */
}

/* Of two labels the first alone would be looked at, and more would be canceled than was meant. */
static void a_repeated_label_cancels_nothing(void **state) {
  (void)state;
  char job[64];
  struct reply reply;
  (void)snprintf(job, sizeof(job), "%s", submit(&server, LABELED_JOB));
  expect(&server, "POST", "/v1/jobs/cancel?label=a:1&label=b:2", NULL, 422, &reply);
  const json_t *error = json_array_get(json_object_get(reply.json, "errors"), 0);
  assert_string_equal(json_string_value(json_object_get(error, "pointer")), "?label");
  reply_done(&reply);
  assert_string_equal(wait_job(&server, job, 1, 120), "running");
  expect(&server, "POST", "/v1/jobs/cancel?state=queued&state=running&label=a:1", NULL, 200, NULL);
  assert_string_equal(wait_job(&server, job, 0, 30), "canceled");
}

/* When the job began and ended, as text that sorts by time. */
static void times_of(const char job[64], char ret_began[32], char ret_ended[32]) {
  char path[256];
  struct reply reply;
  (void)snprintf(path, sizeof(path), "/v1/jobs/%s", job);
  expect(&server, "GET", path, NULL, 200, &reply);
  (void)snprintf(ret_began, 32, "%s", json_string_value(json_object_get(reply.json, "started_at")));
  (void)snprintf(ret_ended, 32, "%s", json_string_value(json_object_get(reply.json, "finished_at")));
  reply_done(&reply);
}

/* Two cores and no other option: trainings of one thread each share them, and one that asks for no number
 * waits for both cores. */
static void two_jobs_at_once(void **state) {
  (void)state;
  char job[3][64], began[3][32], ended[3][32];
  for (size_t i = 0; i < 3; i++)
    (void)snprintf(job[i], sizeof(job[i]), "%s", submit(&server, i < 2 ? ONE_THREAD_JOB : NONE_JOB));
  for (size_t i = 0; i < 3; i++) {
    assert_string_equal(wait_job(&server, job[i], 0, 120), "succeeded");
    times_of(job[i], began[i], ended[i]);
  }
  assert_true(strcmp(began[0], ended[1]) < 0 && strcmp(began[1], ended[0]) < 0);
  assert_true(strcmp(began[2], ended[0]) >= 0 && strcmp(began[2], ended[1]) >= 0);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(three_mistakes_one_answer),
                                     cmocka_unit_test(errors_on_every_path),
                                     cmocka_unit_test(ambiguous_framing_is_refused),
                                     cmocka_unit_test(small_chunks_arrive_whole),
                                     cmocka_unit_test(bad_uploads_are_refused_before_the_body),
                                     cmocka_unit_test(uploads),
                                     cmocka_unit_test(a_job_from_end_to_end),
                                     cmocka_unit_test(an_unaudited_model_is_withheld),
                                     cmocka_unit_test(job_control),
                                     cmocka_unit_test(a_repeated_label_cancels_nothing),
                                     cmocka_unit_test(two_jobs_at_once)};
  return cmocka_run_group_tests(tests, setup, teardown);
}
