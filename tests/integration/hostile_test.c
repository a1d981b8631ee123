/* A real guised under attack over raw sockets: ambiguous framing, mutated requests, slow senders, and
 * archives and images that are traps or broken. After each it must answer, and its memory must not grow.
 *
 *   integration_hostile_test                    as a test: some hundreds of each
 *   integration_hostile_test REQUESTS ARCHIVES  so many, for example 10000 2000 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "core/base/base.h"
#include "core/base/philox.h"
#include "tests/fuzz/samples.h"
#include "tests/integration/support/framings.h"
#include "tests/integration/support/server.h"

#define TIMEOUT_S 2
#ifdef GUISE_SANITIZED
#define GROWTH_KB INT64_MAX /* what is freed stays in quarantine */
#else
#define GROWTH_KB (24 << 10)
#endif

static struct server server;
static unsigned requests = 400, archives = 24;

static int setup(void **state) {
  (void)state;
  server_prepare(&server);
  server.option[0] = "--request-timeout-s=2";
  server.option[1] = "--log-level=error";
  server_start(&server);
  return 0;
}

static int teardown(void **state) {
  (void)state;
  int status = server_stop(&server);
  server_clean(&server);
  return status;
}

/* ---- raw requests ---- */

/* What comes: the first of it within `first_ms`, the rest until `quiet_ms` pass without more or the
 * connection is closed; returns whether it was. */
static bool listen_to(int fd, int first_ms, int quiet_ms, char *ret_answer, size_t room) {
  size_t have = 0;
  bool closed = false;
  while (have + 1 < room) {
    struct pollfd poller = {fd, POLLIN, 0};
    if (poll(&poller, 1, have ? quiet_ms : first_ms) <= 0)
      break;
    ssize_t n = recv(fd, ret_answer + have, room - 1 - have, 0);
    closed = n <= 0;
    if (closed)
      break;
    have += (size_t)n;
  }
  ret_answer[have] = 0;
  return closed;
}

/* Answers in what came: status lines at its start and after the end of a body. */
static unsigned count_answers(const char *answer) {
  unsigned count = strncmp(answer, "HTTP/1.1 ", 9) == 0;
  for (const char *p = strstr(answer, "}HTTP/1.1 "); p; p = strstr(p + 1, "}HTTP/1.1 "))
    count++;
  return count;
}

static int status_of(const char *answer) {
  int status = 0;
  (void)sscanf(answer, "HTTP/1.%*d %d", &status);
  return status;
}

static void still_answers(void) {
  expect(&server, "GET", "/healthz", NULL, 200, NULL);
}

static long memory_kb(void) {
  char path[64], line[256];
  long kb = 0;
  (void)snprintf(path, sizeof(path), "/proc/%d/status", (int)server.pid);
  FILE *file = fopen(path, "re");
  assert_non_null(file);
  while (fgets(line, sizeof(line), file))
    if (sscanf(line, "VmRSS: %ld", &kb) == 1)
      break;
  (void)fclose(file);
  assert_true(kb > 0);
  return kb;
}

/* No connection is left behind, a moment after the timeout at the latest. */
static void connections_end(unsigned files) {
  for (int i = 0; i < 100 * (TIMEOUT_S + 8) && server_open_files(&server) > files; i++)
    (void)usleep(10000);
  assert_true(server_open_files(&server) <= files);
}

static void memory_is_steady(const char *what, long before) {
  const long after = memory_kb();
  print_message("%s: resident memory %ld kB before, %ld kB after\n", what, before, after);
  assert_true(after - before < GROWTH_KB);
}

static void ambiguous_framing(void **state) {
  (void)state;
  static char answer[65536];
  for (size_t i = 0; i < ARRAY_SIZE(framings); i++) {
    const bool accepted = framings[i].outcome != REFUSED;
    int fd = server_dial(&server);
    (void)send(fd, framings[i].text, framings[i].size, MSG_NOSIGNAL);
    const bool closed =
        listen_to(fd, 5000, framings[i].outcome == ACCEPTED ? 150 : 2000, answer, sizeof(answer));
    const int status = status_of(answer);
    (void)close(fd);
    if (accepted != (status == 200 || status == 422) || count_answers(answer) > 1 ||
        closed != (framings[i].outcome != ACCEPTED))
      fail_msg("%s: %d, %u answers, %s: %s", framings[i].name, status, count_answers(answer),
               closed ? "closed" : "open", answer);
  }
  still_answers();
}

static void large_heads(void **state) {
  (void)state;
  static char text[300000], answer[65536];
  static const struct {
    const char *before, *repeated, *after;
    unsigned times;
    int status;
  } heads[] = {{GET HEAD, "X: y\r\n", "\r\n", 65, 431},
               {GET HEAD, "X: y\r\n", "\r\n", 20000, 431},
               {GET HEAD "X: ", "aaaaaaaaaa", "\r\n\r\n", 2000, 431},
               {GET HEAD "X: ", "aaaaaaaaaa", "\r\n\r\n", 20000, 431},
               {"GET /", "aaaaaaaaaa", " HTTP/1.1\r\n" HEAD "\r\n", 500, 414},
               {"GET /", "aaaaaaaaaa", " HTTP/1.1\r\n" HEAD "\r\n", 20000, 414},
               {"GET /v1/jobs?", "a=b&", " HTTP/1.1\r\n" HEAD "\r\n", 100, 400},
               {"GET ", "/x", " HTTP/1.1\r\n" HEAD "\r\n", 500, 404}};
  for (size_t i = 0; i < ARRAY_SIZE(heads); i++) {
    size_t used = (size_t)snprintf(text, sizeof(text), "%s", heads[i].before);
    for (unsigned n = 0; n < heads[i].times; n++)
      used += (size_t)snprintf(text + used, sizeof(text) - used, "%s", heads[i].repeated);
    used += (size_t)snprintf(text + used, sizeof(text) - used, "%s", heads[i].after);
    int fd = server_dial(&server);
    (void)send(fd, text, used, MSG_NOSIGNAL);
    (void)listen_to(fd, 5000, 2000, answer, sizeof(answer));
    (void)close(fd);
    if (status_of(answer) != heads[i].status)
      fail_msg("%zu: %s", i, answer);
  }
  still_answers();
}

static void bodies_of_json(void **state) {
  (void)state;
  static char deep[200000], text[200512], answer[65536];
  memset(deep, '[', sizeof(deep) - 1);
  const struct {
    const char *body;
    size_t size;
  } bodies[] = {{deep, sizeof(deep) - 1},
                {"{\"a\":\"\xff\"}", 9},
                {"{\"a\":\"\\ud800\"}", 14},
                {"{\"a\":\"\0\"}", 9},
                {"{\"a\\u0000b\":1}", 14},
                {"{\"a\":1e999}", 11},
                {"{\"a\":1,\"a\":2}", 13},
                {"\xef\xbb\xbf{}", 5},
                {"{}{}", 4},
                {"{\"type\":99999999999999999999}", 29}};
  for (size_t i = 0; i < ARRAY_SIZE(bodies); i++) {
    size_t head = (size_t)snprintf(text, sizeof(text), POST "Content-Length: %zu\r\n\r\n", bodies[i].size);
    memcpy(text + head, bodies[i].body, bodies[i].size);
    int fd = server_dial(&server);
    (void)send(fd, text, head + bodies[i].size, MSG_NOSIGNAL);
    (void)listen_to(fd, 5000, 300, answer, sizeof(answer));
    (void)close(fd);
    if (status_of(answer) != 400)
      fail_msg("%zu: %s", i, answer);
  }
  still_answers();
}

static void requests_in_a_row(void **state) {
  (void)state;
  static char text[65536], answer[262144];
  size_t used = 0;
  for (int i = 0; i < 100; i++)
    used += (size_t)snprintf(text + used, sizeof(text) - used,
                             i % 2 ? GET HEAD "\r\n" : POST "Content-Length: 2\r\n\r\n{}");
  int fd = server_dial(&server);
  assert_int_equal(send(fd, text, used, MSG_NOSIGNAL), used);
  (void)listen_to(fd, 5000, 1000, answer, sizeof(answer));
  (void)close(fd);
  assert_int_equal(count_answers(answer), 100);
  still_answers();
}

/* Senders that are slower than the timeout allows are cut, wherever they are, and hold up nobody meanwhile.
 */
static void slow_senders(void **state) {
  (void)state;
  static const char *const starts[] = {"",
                                       "G",
                                       GET "Host: loc",
                                       GET HEAD "X: ",
                                       POST "Content-Length: 100\r\n\r\n{",
                                       POST "Transfer-Encoding: chunked\r\n\r\nffff\r\n{",
                                       "PUT /v1/datasets/slow HTTP/1.1\r\n" HEAD
                                       "Content-Type: application/x-tar\r\nContent-Length: 1000000\r\n\r\n"};
  int fd[ARRAY_SIZE(starts)];
  bool closed[ARRAY_SIZE(starts)] = {false};
  unsigned open = ARRAY_SIZE(starts);
  for (size_t i = 0; i < ARRAY_SIZE(starts); i++) {
    fd[i] = server_dial(&server);
    (void)send(fd[i], starts[i], strlen(starts[i]), MSG_NOSIGNAL);
  }
  const int64_t begin = clock_ns();
  while (open > 0 && clock_ns() - begin < (TIMEOUT_S + 10) * INT64_C(1000000000)) {
    for (size_t i = 0; i < ARRAY_SIZE(starts); i++) {
      char answer[4096];
      if (closed[i])
        continue;
      if (i > 0) /* a byte now and then, as those who attack by slowness send */
        (void)send(fd[i], "a", 1, MSG_NOSIGNAL);
      closed[i] = listen_to(fd[i], 20, 20, answer, sizeof(answer));
      open -= closed[i];
    }
    still_answers();
    (void)usleep(100000);
  }
  for (size_t i = 0; i < ARRAY_SIZE(starts); i++)
    (void)close(fd[i]);
  assert_int_equal(open, 0);
}

/* A client that sends the whole body before it reads gets the answer to a request that was refused by its
 * head; one that never stops sending is cut. */
static void refused_uploads(void **state) {
  (void)state;
  static const char head[] = "PUT /v1/datasets/refused HTTP/1.1\r\n" HEAD "Content-Type: text/html\r\n"
                             "Content-Length: 1000000000\r\n\r\n";
  static char waste[65536];
  const unsigned files = server_open_files(&server);
  char answer[4096];
  int fd = server_dial(&server);
  assert_int_equal(send(fd, head, strlen(head), MSG_NOSIGNAL), strlen(head));
  for (size_t sent = 0; sent < 8u << 20; sent += sizeof(waste))
    assert_int_equal(send(fd, waste, sizeof(waste), MSG_NOSIGNAL), sizeof(waste));
  (void)listen_to(fd, 5000, 1000, answer, sizeof(answer));
  assert_int_equal(status_of(answer), 415);
  const int64_t begin = clock_ns();
  while (send(fd, waste, 1, MSG_NOSIGNAL) == 1 && clock_ns() - begin < 10 * INT64_C(1000000000))
    (void)usleep(50000);
  assert_true(clock_ns() - begin < 10 * INT64_C(1000000000));
  (void)close(fd);
  connections_end(files);
  still_answers();
}

/* ---- mutated requests ---- */

static void mutated_requests(void **state) {
  (void)state;
  static const char *const whole[] = {
      GET HEAD "\r\n",
      POST "Content-Length: 30\r\n\r\n{\"type\":\"train\",\"dataset\":\"x\"}",
      POST "Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
      "GET /v1/jobs?state=queued&limit=5&cursor=am9iczox HTTP/1.1\r\n" HEAD
      "Authorization: Bearer guise_x\r\n\r\n",
      "GET /v1/models/mdl_x/files/model.onnx HTTP/1.1\r\n" HEAD "Range: bytes=0-9\r\nIf-Range: \"x\"\r\n\r\n",
      "PUT /v1/datasets/x/pairs/y HTTP/1.1\r\n" HEAD
      "Content-Type: text/plain\r\nContent-Length: 9\r\n\r\n1\na 1 2\n\n",
      "PUT /v1/datasets/z HTTP/1.1\r\n" HEAD
      "Content-Type: application/zip\r\nContent-Digest: sha-256=:AA==:\r\n"
      "Content-Length: 4\r\n\r\nPK\3\4",
      "DELETE /v1/datasets/none HTTP/1.1\r\n" HEAD "Origin: http://localhost\r\n\r\n"};
  static char answer[262144];
  const unsigned files = server_open_files(&server);
  unsigned answered = 0;
  long before = 0;
  for (unsigned i = 0; i < requests; i++) {
    const char *text = whole[i % ARRAY_SIZE(whole)];
    const struct sample original = {(uint8_t *)(uintptr_t)text, strlen(text)};
    struct sample mutated = sample_mutate(&original, i);
    int fd = server_dial(&server);
    (void)send(fd, mutated.data, mutated.size, MSG_NOSIGNAL);
    (void)shutdown(fd, SHUT_WR);
    (void)listen_to(fd, 50, 50, answer, sizeof(answer)); /* some wait for the rest of it */
    (void)close(fd);
    sample_free(&mutated);
    if (status_of(answer) >= 500 && status_of(answer) != 505)
      fail_msg("request %u: %s", i, answer);
    answered += status_of(answer) > 0;
    if (i == requests / 4) /* caches are full */
      before = memory_kb();
    if (i % 256 == 0)
      still_answers();
  }
  still_answers();
  print_message("%u mutated requests, %u answered at once\n", requests, answered);
  connections_end(files);
  memory_is_steady("mutated requests", before);
}

/* ---- archives and images ---- */

/* Uploads and waits for the end; its state and counts. The data set is deleted again. */
struct fate {
  bool ready;
  json_int_t images, rejected;
  char error[256];
};
static struct fate upload(const struct sample *archive, enum archive_kind kind) {
  struct fate fate = {false, 0, 0, ""};
  char header[64], state[16] = "ingesting";
  struct reply reply;
  (void)snprintf(header, sizeof(header), "Content-Type: %s", sample_archive_type(kind));
  ask(&server, "PUT", "/v1/datasets/hostile?size=16", header, archive->data, archive->size, &reply);
  if (reply.status != 202)
    fail_msg("%ld: %s", reply.status, reply.body);
  reply_done(&reply);
  for (int i = 0; i < 15000 && strcmp(state, "ingesting") == 0; i++) {
    (void)usleep(i < 50 ? 2000 : 20000);
    expect(&server, "GET", "/v1/datasets/hostile", NULL, 200, &reply);
    (void)snprintf(state, sizeof(state), "%s", json_string_value(json_object_get(reply.json, "state")));
    fate.images = json_integer_value(json_object_get(reply.json, "images"));
    fate.rejected = json_integer_value(json_object_get(reply.json, "rejected"));
    const char *error = json_string_value(json_object_get(reply.json, "error"));
    (void)snprintf(fate.error, sizeof(fate.error), "%s", error ? error : "");
    reply_done(&reply);
  }
  if (strcmp(state, "ingesting") == 0)
    fail_msg("the ingest hangs");
  fate.ready = strcmp(state, "ready") == 0;
  expect(&server, "DELETE", "/v1/datasets/hostile", NULL, 200, NULL);
  return fate;
}

static void bombs(void **state) {
  (void)state;
  for (enum archive_kind kind = ARCHIVE_TAR_GZ; kind < ARCHIVE_KINDS; kind++) {
    struct sample bomb = sample_bomb(kind, 20u << 20);
    assert_true(bomb.size < 100000);
    const struct fate fate = upload(&bomb, kind);
    sample_free(&bomb);
    if (fate.ready || !strstr(fate.error, "times its size"))
      fail_msg("%s: %s", sample_archive_name(kind), fate.error);
  }
  static const uint32_t sides[][2] = {
      {40000, 40000}, {UINT32_MAX, UINT32_MAX}, {8192, 8192}, {0, 16}, {8192, 4000}};
  struct archive_writer *writer = archive_begin(ARCHIVE_TAR);
  for (size_t i = 0; i < ARRAY_SIZE(sides); i++) {
    char path[32];
    struct sample png = sample_png_header(sides[i][0], sides[i][1]);
    (void)snprintf(path, sizeof(path), "a/%zu.png", i);
    archive_add(writer, path, 'f', NULL, png.data, png.size);
    sample_free(&png);
  }
  archive_add(writer, "a/huge.pgm", 'f', NULL, "P2 8000 5000 255\n1", 18);
  struct sample archive = archive_end(writer);
  const long before = memory_kb();
  const struct fate fate = upload(&archive, ARCHIVE_TAR);
  sample_free(&archive);
  assert_false(fate.ready);
  assert_int_equal(fate.rejected, ARRAY_SIZE(sides) + 1);
  memory_is_steady("pictures of great dimensions", before);
}

static void tricks_with_paths(void **state) {
  (void)state;
  char long_name[2000];
  memset(long_name, 'a', sizeof(long_name) - 1);
  long_name[sizeof(long_name) - 1] = 0;
  memcpy(long_name, "b/", 2);
  for (enum archive_kind kind = 0; kind < ARCHIVE_KINDS; kind++) {
    struct archive_writer *writer = archive_begin(kind);
    struct sample good = sample_image(IMAGE_PGM, 16 * 2, 0);
    static const char *const bad[] = {"../x/1.pgm", "a/../../1.pgm", "/etc/1.pgm", "a\\b/1.pgm", "alone.pgm"};
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
      archive_add(writer, bad[i], 'f', NULL, good.data, good.size);
    archive_add(writer, long_name, 'f', NULL, good.data, good.size);
    archive_add(writer, "a/1.pgm", 'f', NULL, good.data, good.size);
    archive_add(writer, "a/1.pgm", 'f', NULL, good.data, good.size);
    archive_add(writer, "a/symbolic.pgm", 'l', "/etc/passwd", NULL, 0);
    if (kind != ARCHIVE_ZIP) { /* zip has neither */
      archive_add(writer, "a/hard.pgm", 'h', "a/1.pgm", NULL, 0);
      archive_add(writer, "a/device.pgm", 'c', NULL, NULL, 0);
      archive_add(writer, "a/pipe.pgm", 'p', NULL, NULL, 0);
    }
    sample_free(&good);
    struct sample archive = archive_end(writer);
    const struct fate fate = upload(&archive, kind);
    sample_free(&archive);
    if (!fate.ready || fate.images != 1 || fate.rejected != (kind == ARCHIVE_ZIP ? 8 : 11))
      fail_msg("%s: %lld images, %lld rejected, %s", sample_archive_name(kind), fate.images, fate.rejected,
               fate.error);
  }
  assert_int_not_equal(access("/etc/1.pgm", F_OK), 0);
}

static void mutated_archives(void **state) {
  (void)state;
  unsigned ready = 0;
  unsigned long images = 0, rejected = 0;
  long before = 0;
  struct sample whole[ARCHIVE_KINDS];
  for (enum archive_kind kind = 0; kind < ARCHIVE_KINDS; kind++)
    whole[kind] = sample_archive(kind, 32);
  for (unsigned i = 0; i < archives; i++) {
    const enum archive_kind kind = (enum archive_kind)(i % ARCHIVE_KINDS);
    struct sample mutated = sample_mutate(&whole[kind], i);
    if (i % 2 == 0) { /* every second one is whole, and the images in it are not */
      struct archive_writer *writer = archive_begin(kind);
      sample_free(&mutated);
      for (unsigned k = 0; k < IMAGE_KINDS; k++) {
        char path[32];
        struct sample image = sample_image((enum image_kind)k, 32, i % 7);
        struct sample broken = sample_mutate(&image, i * IMAGE_KINDS + k);
        (void)snprintf(path, sizeof(path), "p/%u.%s", k, sample_image_suffix((enum image_kind)k));
        archive_add(writer, path, 'f', NULL, broken.data, broken.size);
        sample_free(&image);
        sample_free(&broken);
      }
      mutated = archive_end(writer);
    }
    const struct fate fate = upload(&mutated, kind);
    sample_free(&mutated);
    ready += fate.ready;
    images += (unsigned long)fate.images;
    rejected += (unsigned long)fate.rejected;
    if (i == archives / 4)
      before = memory_kb();
  }
  for (enum archive_kind kind = 0; kind < ARCHIVE_KINDS; kind++)
    sample_free(&whole[kind]);
  print_message("%u mutated archives: %u ready, %lu images, %lu rejected\n", archives, ready, images,
                rejected);
  assert_true(ready > 0 && ready < archives && rejected > 0);
  memory_is_steady("mutated archives", before);
}

int main(int argc, char **argv) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(ambiguous_framing), cmocka_unit_test(large_heads),
      cmocka_unit_test(bodies_of_json),    cmocka_unit_test(requests_in_a_row),
      cmocka_unit_test(slow_senders),      cmocka_unit_test(refused_uploads),
      cmocka_unit_test(mutated_requests),  cmocka_unit_test(bombs),
      cmocka_unit_test(tricks_with_paths), cmocka_unit_test(mutated_archives),
  };
  if (argc == 3) {
    requests = (unsigned)strtoul(argv[1], NULL, 10);
    archives = (unsigned)strtoul(argv[2], NULL, 10);
  }
  return cmocka_run_group_tests(tests, setup, teardown);
}
