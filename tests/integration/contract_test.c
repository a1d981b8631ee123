/* The whole interface against its document: what every operation refuses, what each answers to a good
 * request, to one that comes at the wrong time, and while the disk is full. Answers are checked where they
 * come in (support/contract.h). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "tests/integration/support/contract.h"

#define TINY                                                                                           \
  "\"mask\":{\"method\":\"none\"},\"model\":{\"input\":32,\"width\":0.25,\"embedding\":16},\"audit\":" \
  "{\"effort\":\"quick\",\"attacks\":[]}"
#define JOB(dataset, epochs)                                                                                \
  "{\"type\":\"train\",\"dataset\":\"" dataset "\"," TINY ",\"train\":{\"epochs\":" epochs ",\"batch\":2}," \
  "\"labels\":{\"of\":\"" dataset "\"}}"
#define PAIRS "1\nperson-001 1 2\nperson-001 1 person-002 1\n"

static struct server server;
static char ended[64], model[64], token[64]; /* ids: a job that succeeded on "faces", its model */

static int setup(void **state) {
  (void)state;
  server_prepare(&server);
  server.option[0] = "--request-timeout-s=2";
  server.option[1] = "--log-keep-days=0";
  server.option[2] = "--workers=1";
  server.option[3] = "--threads=1";
  server.option[4] = "--cores=2";
  server_start(&server);
  upload_faces(&server, "faces", 6, 4);
  upload_faces(&server, "others", 4, 4);
  return 0;
}

static int teardown(void **state) {
  (void)state;
  int status = server_stop(&server);
  server_clean(&server);
  return status;
}

static void answer(const char *method, const char *path, const char *json_body, long status) {
  expect(&server, method, path, json_body, status, NULL);
}

static void put(const char *path, const char *type, const char *body, long status) {
  char header[64];
  struct reply reply;
  (void)snprintf(header, sizeof(header), "Content-Type: %s", type);
  ask(&server, "PUT", path, header, body, strlen(body), &reply);
  if (reply.status != status)
    fail_msg("PUT %s: %ld instead of %ld: %s", path, reply.status, status, reply.body);
  reply_done(&reply);
}

/* "/v1/jobs/ID" and what follows (static storage). */
static const char *of(const char *list, const char *id, const char *rest) {
  static char path[256];
  (void)snprintf(path, sizeof(path), "/v1/%s/%s%s", list, id, rest);
  return path;
}

static void wait_state(const char *id, const char *wanted) {
  for (int i = 0; i < 600; i++) {
    struct reply reply;
    expect(&server, "GET", of("jobs", id, ""), NULL, 200, &reply);
    bool there = strcmp(json_string_value(json_object_get(reply.json, "state")), wanted) == 0;
    reply_done(&reply);
    if (there)
      return;
    (void)usleep(20000);
  }
  fail_msg("%s does not become %s", id, wanted);
}

static void make_job(const char *body, char ret_id[64]) {
  (void)snprintf(ret_id, 64, "%s", submit(&server, body));
}

/* ---- what is good ---- */

static void data_sets(void **state) {
  (void)state;
  struct reply reply;
  answer("GET", "/healthz", NULL, 200);
  answer("GET", "/readyz", NULL, 200);
  answer("GET", "/metrics", NULL, 200);
  answer("GET", "/report.schema.json", NULL, 200);
  answer("GET", "/v1/datasets", NULL, 200);
  put("/v1/datasets/broken", "application/x-tar", "no archive", 202);
  put("/v1/datasets/broken", "application/x-tar", "no archive", 200);
  put("/v1/datasets/broken", "application/x-tar", "another", 409);
  answer("GET", "/v1/datasets/faces", NULL, 200);
  answer("GET", "/v1/datasets/faces/rejects", NULL, 200);
  answer("GET", "/v1/datasets/broken/identities", NULL, 409);
  put("/v1/datasets/broken/pairs/p", "text/plain", PAIRS, 409);
  put("/v1/datasets/faces/pairs/p", "text/plain", PAIRS, 201);
  put("/v1/datasets/faces/pairs/p", "text/plain", PAIRS, 200);
  put("/v1/datasets/faces/pairs/q", "text/plain", "1\nperson-003 1 2\nperson-003 1 person-002 1\n", 201);
  expect(&server, "GET", "/v1/datasets/faces/pairs?limit=1", NULL, 200, &reply);
  assert_non_null(strstr(header_of(&reply, "Link"), "rel=\"next\""));
  reply_done(&reply);
}

static void jobs(void **state) {
  (void)state;
  struct reply reply;
  answer("POST", "/v1/jobs?dry_run=true", JOB("faces", "1"), 200);
  answer("POST", "/v1/jobs?dry_run=perhaps", JOB("faces", "1"), 422);
  expect(
      &server, "POST", "/v1/jobs?dry_run=true",
      "{\"type\":\"train\",\"dataset\":\"faces\",\"model\":{\"input\":32},\"mask\":{\"level\":\"medium\"}}",
      200, &reply);
  assert_true(json_number_value(json_object_get(json_object_get(reply.json, "mask_level"), "accuracy")) > 0);
  reply_done(&reply);
  make_job(JOB("faces", "1"), ended);
  assert_string_equal(wait_job(&server, ended, 0, 60), "succeeded");
  expect(&server, "GET", of("jobs", ended, ""), NULL, 200, &reply);
  (void)snprintf(model, sizeof(model), "%s", json_string_value(json_object_get(reply.json, "model")));
  reply_done(&reply);
  answer("GET", "/v1/jobs?label=of:faces&state=succeeded&state=failed&sort=created_at", NULL, 200);
  static const char *const wrong[] = {"/v1/jobs?state=bogus", "", "/v1/jobs/cancel?state=bogus"};
  for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) { /* which there are is told */
    expect(&server, i == 2 ? "POST" : "GET", i == 1 ? of("jobs", ended, "?wait=1&state=bogus") : wrong[i],
           NULL, 422, &reply);
    const json_t *problem = json_array_get(json_object_get(reply.json, "errors"), 0);
    assert_string_equal(json_string_value(json_object_get(problem, "pointer")), "?state");
    assert_int_equal(json_array_size(json_object_get(problem, "allowed")), 8);
    reply_done(&reply);
  }
  answer("GET", of("jobs", ended, "/metrics"), NULL, 200);
  answer("GET", of("jobs", ended, "/metrics?format=csv&resolution=epoch"), NULL, 200);
  answer("GET", of("jobs", ended, "/events"), NULL, 200);
  answer("GET", of("jobs", ended, "/log"), NULL, 410); /* kept for 0 days */
  answer("POST", of("jobs", ended, "/cancel"), NULL, 409);
  answer("POST", of("jobs", ended, "/pause"), NULL, 409);
  answer("POST", of("jobs", ended, "/resume"), NULL, 409);
  answer("DELETE", of("jobs", ended, ""), NULL, 409); /* its model is there */
  answer("GET", "/v1/models", NULL, 200);
  answer("GET", of("models", model, ""), NULL, 200);
}

/* A long poll answers when the state changes, at once when the client knows another, and at its end. */
static void a_long_poll(void **state) {
  (void)state;
  struct timespec began, now;
  struct reply reply;
  char job[64];
  make_job(JOB("others", "1000"), job);
  (void)clock_gettime(CLOCK_MONOTONIC, &began);
  expect(&server, "GET", of("jobs", job, "?wait=20s&state=queued"), NULL, 200, &reply);
  assert_string_not_equal(json_string_value(json_object_get(reply.json, "state")), "queued");
  reply_done(&reply);
  answer("GET", of("jobs", job, "?wait=20&state=paused"), NULL, 200);
  (void)clock_gettime(CLOCK_MONOTONIC, &now);
  assert_true(now.tv_sec - began.tv_sec < 15);
  expect(&server, "GET", of("jobs", job, "?wait=1&state=running"), NULL, 200, &reply);
  assert_string_equal(json_string_value(json_object_get(reply.json, "state")), "running");
  reply_done(&reply);
  answer("GET", of("jobs", job, "/log"), NULL, 200);
  answer("GET", of("jobs", job, "/log?format=text"), NULL, 200);
  answer("GET", of("jobs", job, "?wait=61"), NULL, 422);
  answer("POST", of("jobs", job, "/cancel"), NULL, 200);
  answer("GET", of("jobs", job, "?wait=20&state=canceling"), NULL, 200);
  wait_state(job, "canceled");
}

static void why_a_job_waits(void **state) {
  (void)state;
  char running[64], first[64], second[64];
  struct reply reply;
  make_job(JOB("others", "1000"), running);
  wait_state(running, "running");
  make_job(JOB("others", "1000"), second);
  make_job("{\"type\":\"train\",\"dataset\":\"others\",\"priority\":5," TINY "}", first);
  expect(&server, "GET", of("jobs", first, ""), NULL, 200, &reply);
  const json_t *queue = json_object_get(reply.json, "queue");
  assert_string_equal(json_string_value(json_object_get(queue, "reason")), "workers");
  assert_int_equal(json_integer_value(json_object_get(queue, "ahead")), 0);
  reply_done(&reply);
  expect(&server, "GET", of("jobs", second, ""), NULL, 200, &reply);
  queue = json_object_get(reply.json, "queue");
  assert_string_equal(json_string_value(json_object_get(queue, "reason")), "jobs_ahead");
  assert_int_equal(json_integer_value(json_object_get(queue, "ahead")), 1);
  reply_done(&reply);
  /* all of them at once; the one that ended is not touched */
  answer("POST", "/v1/jobs/cancel", NULL, 422);
  expect(&server, "POST", "/v1/jobs/cancel?state=queued&label=of:others", NULL, 200, &reply);
  assert_int_equal(json_array_size(json_object_get(reply.json, "jobs")), 1);
  reply_done(&reply);
  expect(&server, "POST", "/v1/jobs/cancel?created_after=2020-01-01T00:00:00Z", NULL, 200, &reply);
  assert_int_equal(json_array_size(json_object_get(reply.json, "jobs")), 2);
  reply_done(&reply);
  wait_state(running, "canceled");
  wait_state(first, "canceled");
  wait_state(second, "canceled");
  answer("DELETE", of("jobs", second, ""), NULL, 200);
  answer("GET", of("jobs", second, ""), NULL, 404);
}

static void at_the_wrong_time(void **state) {
  (void)state;
  char job[64], body[128];
  make_job(JOB("faces", "1000"), job);
  wait_state(job, "running");
  answer("POST", of("jobs", job, "/pause"), NULL, 200);
  wait_state(job, "paused");
  answer("DELETE", "/v1/datasets/faces", NULL, 409);
  answer("DELETE", "/v1/datasets/faces/identities/person-001", NULL, 409);
  answer("DELETE", "/v1/datasets/faces/identities/person-001/images/01.ppm", NULL, 409);
  answer("POST", of("jobs", job, "/resume"), NULL, 200);
  answer("POST", of("jobs", job, "/cancel"), NULL, 200);
  wait_state(job, "canceled");
  (void)snprintf(body, sizeof(body), "{\"type\":\"audit\",\"model\":\"%s\"}", model);
  make_job(JOB("others", "1000"), job); /* the audit waits behind it */
  wait_state(job, "running");
  char audit[64];
  make_job(body, audit);
  answer("DELETE", of("models", model, ""), NULL, 409);
  answer("POST", "/v1/jobs/cancel?state=queued&state=running", NULL, 200);
  wait_state(job, "canceled");
  wait_state(audit, "canceled");
}

static void tokens_and_the_trail(void **state) {
  (void)state;
  struct reply reply;
  expect(&server, "POST", "/v1/tokens", "{\"name\":\"t\",\"scopes\":[\"jobs:read\"]}", 201, &reply);
  (void)snprintf(token, sizeof(token), "%s", json_string_value(json_object_get(reply.json, "id")));
  reply_done(&reply);
  answer("GET", "/v1/tokens", NULL, 200);
  answer("GET", "/v1/audit?limit=100", NULL, 200);
}

/* ---- what is refused, whatever the operation ---- */

/* Content-Type and a small body of operations that take one; NULL: it takes none. */
static const char *body_of(const char *operation, const char **ret_type) {
  static const struct {
    const char *operation, *type, *body;
  } bodies[] = {
      {"putDataset", "application/x-tar", "no archive"},
      {"putPairs", "text/plain", PAIRS},
      {"postJob", "application/json", "{}"},
      {"embedFace", "image/png", "x"},
      {"verifyFaces", "application/json", "{\"a\":\"AA==\",\"b\":\"AA==\"}"},
      {"inferModel", "application/json", "{}"},
      {"postToken", "application/json", "{}"},
  };
  for (size_t i = 0; i < sizeof(bodies) / sizeof(bodies[0]); i++)
    if (strcmp(bodies[i].operation, operation) == 0) {
      *ret_type = bodies[i].type;
      return bodies[i].body;
    }
  *ret_type = "text/plain";
  return NULL;
}

/* The pattern with what is there for its parameters; `id` NULL = the right one. */
static void fill_path(const char *pattern, const char *id, char ret_path[256]) {
  const struct {
    const char *name, *value;
  } values[] = {{"{name}", id ? id : "faces"},
                {"{identity}", "person-001"},
                {"{image}", "01.ppm"},
                {"{pairs}", "p"},
                {"{file}", "report.json"},
                {"{id}", id                            ? id
                         : strstr(pattern, "/v1/jobs") ? ended
                         : strstr(pattern, "/models")  ? model
                                                       : token}};
  size_t used = 0;
  while (*pattern && used < 200) {
    const char *value = NULL;
    for (size_t i = 0; i < sizeof(values) / sizeof(values[0]) && *pattern == '{'; i++)
      if (strncmp(pattern, values[i].name, strlen(values[i].name)) == 0)
        value = values[i].value;
    if (value) {
      used += (size_t)snprintf(ret_path + used, 256 - used, "%s", value);
      pattern += strcspn(pattern, "}") + 1;
    } else {
      ret_path[used++] = *pattern++;
    }
  }
  ret_path[used] = 0;
}

struct operation {
  const char *method, *id, *type, *body;
  const json_t *json;
  char path[256];
};

static void refuses(const struct operation *o, const char *query, const char *header, const char *type,
                    long status) {
  char path[300], headers[256];
  struct reply reply;
  (void)snprintf(path, sizeof(path), "%s%s", o->path, query);
  (void)snprintf(headers, sizeof(headers), "%s%s%s%s", header, *header && type ? "\n" : "",
                 type ? "Content-Type: " : "", type ? type : "");
  ask(&server, o->method, path, headers, o->body, o->body ? strlen(o->body) : 0, &reply);
  if (reply.status != status)
    fail_msg("%s %s (%s): %ld instead of %ld: %s", o->method, path, headers, reply.status, status,
             reply.body);
  reply_done(&reply);
}

/* `more`: whole header lines; `filler` bytes of 'a' behind the path and "?x=". */
static void refuses_raw(const struct operation *o, size_t filler, const char *more, int status) {
  static char request[16384], got[8192];
  const char *host = strstr(server.url, "//") + 2;
  int used = snprintf(request, sizeof(request), "%s %s%s", o->method, o->path, filler ? "?x=" : "");
  memset(request + used, 'a', filler);
  used += (int)filler;
  (void)snprintf(request + used, sizeof(request) - (size_t)used,
                 " HTTP/1.1\r\nHost: %s\r\nContent-Type: %s\r\nConnection: close\r\n%s\r\n", host, o->type,
                 more);
  int answered = ask_raw(&server, request, strlen(request), got, sizeof(got));
  if (answered != status)
    fail_msg("%s: %d instead of %d: %s", o->id, answered, status, got);
}

static void provoke(void *context, const char *method, const char *pattern, const json_t *json) {
  struct operation o = {
      .method = method, .json = json, .id = json_string_value(json_object_get(json, "operationId"))};
  const json_t *responses = json_object_get(json, "responses");
  const char *type;
  char many[70 * 8 + 1] = "";
  (void)context;
  o.body = body_of(o.id, &o.type);
  type = o.body ? o.type : NULL;
  fill_path(pattern, NULL, o.path);
  refuses(&o, "?x=%zz", "", type, 400);
  refuses(&o, "?nonsense=1", "", type, 422);
  refuses(&o, "", "Origin: http://evil.example", type, 403);
  refuses_raw(&o, 5000, "", 414);
  refuses_raw(&o, 0, "Content-Length: 99999999999999\r\n", 413);
  for (size_t i = 0; i < 70; i++)
    memcpy(many + 8 * i, "X-A: b\r\n", 9);
  refuses_raw(&o, 0, many, 431);
  if (json_object_get(responses, "401"))
    refuses(&o, "", "Authorization: Bearer nonsense", type, 401);
  if (o.body)
    refuses(&o, "", "", "text/x-none", 415);
  if (!json_object_get(responses, "404"))
    return;
  fill_path(pattern, "nothing", o.path);
  refuses(&o, "", "", type, 404);
}

static void every_operation_refuses(void **state) {
  (void)state;
  contract_each(provoke, NULL);
}

/* Bodies that do not come: all of them at once, to wait once. */
struct slow {
  struct {
    int fd;
    char method[8], path[256];
  } request[16];
  size_t count;
};

static void send_head(void *context, const char *method, const char *pattern, const json_t *json) {
  struct slow *slow = context;
  struct sockaddr_in address = {.sin_family = AF_INET};
  const char *type, *id = json_string_value(json_object_get(json, "operationId"));
  char head[512];
  unsigned port = 0;
  if (!body_of(id, &type))
    return;
  fill_path(pattern, NULL, slow->request[slow->count].path);
  (void)snprintf(slow->request[slow->count].method, 8, "%s", method);
  int length = snprintf(head, sizeof(head),
                        "%s %s HTTP/1.1\r\nHost: localhost\r\nContent-Type: %s\r\nContent-Length: 9\r\n\r\n{",
                        method, slow->request[slow->count].path, type);
  assert_int_equal(sscanf(server.url, "http://127.0.0.1:%u", &port), 1);
  address.sin_port = htons((uint16_t)port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
  assert_int_equal(send(fd, head, (size_t)length, MSG_NOSIGNAL), length);
  slow->request[slow->count++].fd = fd;
}

static void slow_bodies_are_given_up(void **state) {
  (void)state;
  struct slow slow = {.count = 0};
  contract_each(send_head, &slow);
  assert_int_equal(slow.count, 7);
  for (size_t i = 0; i < slow.count; i++) {
    const struct timeval patience = {.tv_sec = 20};
    char got[512] = "";
    int status = 0;
    (void)setsockopt(slow.request[i].fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
    ssize_t n = recv(slow.request[i].fd, got, sizeof(got) - 1, 0);
    assert_true(n > 0 && sscanf(got, "HTTP/1.1 %d", &status) == 1);
    assert_int_equal(status, 408);
    contract_note(slow.request[i].method, slow.request[i].path, status);
    (void)close(slow.request[i].fd);
  }
}

/* ---- erasing ---- */

static void missing_faces_are_told(void **state) {
  (void)state;
  char blobs[256], away[256];
  (void)snprintf(blobs, sizeof(blobs), "%s/state/blobs", server.root);
  (void)snprintf(away, sizeof(away), "%s/state/away", server.root);
  assert_int_equal(rename(blobs, away), 0);
  answer("GET", "/v1/datasets/faces/identities", NULL, 503);
  answer("DELETE", "/v1/datasets/faces/identities/person-001", NULL, 503);
  assert_int_equal(rename(away, blobs), 0);
  answer("GET", "/v1/datasets/faces/identities", NULL, 200);
}

static const json_t *receipt_files(const struct reply *reply, size_t count) {
  const json_t *files = json_object_get(reply->json, "files");
  if (json_array_size(files) != count)
    fail_msg("%s", reply->body);
  return files;
}

/* Whether a file of this sha256 is in the store. */
static bool stored(const char *sha256) {
  char path[256];
  (void)snprintf(path, sizeof(path), "%s/state/blobs/%.2s/%s", server.root, sha256, sha256);
  return access(path, F_OK) == 0;
}

static json_int_t number(const struct reply *reply, const char *name) {
  return json_integer_value(json_object_get(reply->json, name));
}

static void a_person_is_erased(void **state) {
  (void)state;
  struct reply reply;
  expect(&server, "DELETE", "/v1/datasets/faces/identities/person-003/images/02.ppm", NULL, 200, &reply);
  assert_int_equal(number(&reply, "images"), 1);
  assert_int_equal(number(&reply, "identities"), 0);
  assert_int_equal(number(&reply, "pairs"), 1); /* the list q */
  reply_done(&reply);
  expect(&server, "DELETE", "/v1/datasets/faces/identities/person-001", NULL, 200, &reply);
  assert_int_equal(number(&reply, "images"), 4);
  assert_int_equal(number(&reply, "identities"), 1);
  assert_int_equal(number(&reply, "pairs"), 1);
  assert_true(json_is_true(json_object_get(reply.json, "log_emptied")));
  assert_string_equal(json_string_value(json_array_get(json_object_get(reply.json, "models"), 0)), model);
  assert_null(strstr(reply.body, "person-001"));  /* the receipt stays in the audit trail */
  const json_t *files = receipt_files(&reply, 2); /* pack and pairs list */
  for (size_t i = 0; i < 2; i++)
    assert_false(stored(json_string_value(json_object_get(json_array_get(files, i), "sha256"))));
  reply_done(&reply);
  expect(&server, "GET", "/v1/datasets/faces/identities", NULL, 200, &reply);
  assert_int_equal(json_array_size(json_object_get(reply.json, "data")), 5);
  assert_null(strstr(reply.body, "person-001"));
  reply_done(&reply);
  expect(&server, "GET", "/v1/datasets/faces", NULL, 200, &reply);
  assert_int_equal(number(&reply, "images"), 19);
  reply_done(&reply);
  answer("DELETE", "/v1/datasets/faces/identities/person-001", NULL, 404);
  expect(&server, "GET", of("models", model, ""), NULL, 200, &reply);
  assert_int_equal(number(&reply, "erasures"), 2);
  reply_done(&reply);
  /* what is left can be trained on */
  char again[64];
  make_job(JOB("faces", "1"), again);
  assert_string_equal(wait_job(&server, again, 0, 60), "succeeded");
}

/* ---- a full disk ---- */

/* Every write of the daemon fails while files may not grow past `bytes`. */
static void limit_files(rlim_t bytes) {
  struct rlimit limit = {bytes, RLIM_INFINITY};
  assert_int_equal(prlimit(server.pid, RLIMIT_FSIZE, &limit, NULL), 0);
}

/* A job may have met the full disk and told of it after there was room again: until the next try. */
static void wait_ready(void) {
  long status = 0;
  for (int i = 0; i < 200 && status != 200; i++) {
    struct reply reply;
    ask(&server, "GET", "/readyz", NULL, NULL, 0, &reply);
    status = reply.status;
    reply_done(&reply);
    if (status != 200)
      (void)usleep(50000);
  }
  assert_int_equal(status, 200);
}

static void a_full_disk_is_told(void **state) {
  (void)state;
  char running[64], queued[64], paused[64], canceled[64];
  make_job(JOB("others", "1000"), running);
  wait_state(running, "running");
  make_job(JOB("others", "1000"), queued);
  make_job(JOB("others", "1000"), paused);
  make_job(JOB("others", "1000"), canceled);
  answer("POST", of("jobs", paused, "/pause"), NULL, 200);
  answer("POST", of("jobs", canceled, "/cancel"), NULL, 200);
  limit_files(0);
  answer("POST", of("jobs", queued, "/pause"), NULL, 503);
  answer("GET", "/readyz", NULL, 503);
  answer("POST", of("jobs", queued, "/cancel"), NULL, 503);
  answer("POST", of("jobs", paused, "/resume"), NULL, 503);
  answer("DELETE", of("jobs", canceled, ""), NULL, 503);
  answer("POST", "/v1/jobs/cancel?state=paused", NULL, 503);
  answer("POST", "/v1/jobs", JOB("faces", "1"), 503);
  answer("DELETE", "/v1/datasets/faces/identities/person-002", NULL, 503);
  answer("DELETE", "/v1/datasets/faces/identities/person-002/images/01.ppm", NULL, 503);
  answer("DELETE", "/v1/datasets/faces", NULL, 503);
  put("/v1/datasets/new", "application/x-tar", "no archive", 503);
  put("/v1/datasets/faces/pairs/p", "text/plain", "1\nperson-002 1 2\nperson-002 1 person-004 1\n", 503);
  answer("DELETE", of("models", model, ""), NULL, 503);
  answer("POST", "/v1/tokens", "{\"name\":\"u\",\"scopes\":[\"jobs:read\"]}", 503);
  answer("DELETE", of("tokens", token, ""), NULL, 503);
  answer("GET", of("jobs", queued, ""), NULL, 200); /* reading goes on */
  limit_files(RLIM_INFINITY);
  answer("POST", of("jobs", queued, "/cancel"), NULL, 200);
  answer("POST", of("jobs", paused, "/cancel"), NULL, 200);
  answer("POST", "/v1/jobs/cancel?state=running&state=queued", NULL, 200);
  wait_ready();
}

/* The answer is kept for whoever asks again, until something is written. */
static void expect_model_of_job(const char *wanted) {
  for (int i = 0; i < 2; i++) {
    struct reply reply;
    expect(&server, "GET", of("jobs", ended, ""), NULL, 200, &reply);
    const char *id = json_string_value(json_object_get(reply.json, "model"));
    assert_string_equal(id ? id : "none", wanted);
    reply_done(&reply);
  }
}

static void everything_else_is_erased(void **state) {
  (void)state;
  struct reply reply;
  expect_model_of_job(model);
  expect(&server, "DELETE", of("models", model, ""), NULL, 200, &reply);
  assert_true(json_array_size(json_object_get(reply.json, "files")) >= 6);
  reply_done(&reply);
  expect_model_of_job("none");
  answer("DELETE", of("jobs", ended, ""), NULL, 200);
  answer("GET", of("jobs", ended, ""), NULL, 404);
  expect(&server, "DELETE", "/v1/datasets/faces", NULL, 200, &reply);
  const json_t *file = json_array_get(receipt_files(&reply, 3), 0); /* the pack, a private report, a head */
  assert_true(json_is_true(json_object_get(file, "erased")));
  assert_int_equal(number(&reply, "private_reports"), 2);
  reply_done(&reply);
  answer("DELETE", of("tokens", token, ""), NULL, 204);
  expect(&server, "GET", "/v1/audit?limit=4", NULL, 200, &reply);
  const json_t *row = json_array_get(json_object_get(reply.json, "data"), 1);
  assert_string_equal(json_string_value(json_object_get(row, "action")), "deleteDataset");
  assert_string_equal(json_string_value(json_object_get(json_object_get(row, "receipt"), "kind")), "dataset");
  reply_done(&reply);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(data_sets),
                                     cmocka_unit_test(jobs),
                                     cmocka_unit_test(a_long_poll),
                                     cmocka_unit_test(why_a_job_waits),
                                     cmocka_unit_test(at_the_wrong_time),
                                     cmocka_unit_test(tokens_and_the_trail),
                                     cmocka_unit_test(every_operation_refuses),
                                     cmocka_unit_test(slow_bodies_are_given_up),
                                     cmocka_unit_test(missing_faces_are_told),
                                     cmocka_unit_test(a_person_is_erased),
                                     cmocka_unit_test(a_full_disk_is_told),
                                     cmocka_unit_test(everything_else_is_erased)};
  return cmocka_run_group_tests(tests, setup, teardown);
}
