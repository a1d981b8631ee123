/* How soon the state of a job is told while it trains on all cores. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "tests/integration/support/server.h"

#define POLLS 1000
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define P99_MS 2000.0 /* latency is measured without sanitizers */
#else
#define P99_MS 20.0
#endif
#define JOB                                                                                            \
  "{\"type\":\"train\",\"dataset\":\"faces\",\"model\":{\"input\":32,\"width\":0.5,\"embedding\":32}," \
  "\"train\":{\"epochs\":1000,\"batch\":8}}"

static int by_value(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return x < y ? -1 : x > y;
}

/* Milliseconds within which 99 % of the polls are answered, each over a connection of its own. */
static double measure(const struct server *server, const char *path) {
  static double took[POLLS];
  for (int i = 0; i < POLLS; i++) {
    struct timespec a, b;
    struct reply reply;
    (void)clock_gettime(CLOCK_MONOTONIC, &a);
    assert_true(ask_once(server, "GET", path, NULL, NULL, 0, &reply));
    (void)clock_gettime(CLOCK_MONOTONIC, &b);
    assert_int_equal(reply.status, 200);
    assert_string_equal(json_string_value(json_object_get(reply.json, "state")), "running");
    reply_done(&reply);
    took[i] = (double)(b.tv_sec - a.tv_sec) * 1e3 + (double)(b.tv_nsec - a.tv_nsec) * 1e-6;
  }
  qsort(took, POLLS, sizeof(took[0]), by_value);
  const double p99 = took[POLLS * 99 / 100 - 1];
  print_message("%d polls during training: median %.2f ms, p99 %.2f ms, worst %.2f ms\n", POLLS,
                took[POLLS / 2 - 1], p99, took[POLLS - 1]);
  return p99;
}

static void polls_are_fast_while_a_job_trains(void **state) {
  (void)state;
  struct server server;
  char job[64], path[128];
  server_prepare(&server);
  server_start(&server);
  upload_faces(&server, "faces", 8, 6);
  (void)snprintf(job, sizeof(job), "%s", submit(&server, JOB));
  assert_string_equal(wait_job(&server, job, 1, 60), "running");
  (void)snprintf(path, sizeof(path), "/v1/jobs/%s", job);
  double p99 = measure(&server, path);
  for (int i = 0; i < 4 && p99 >= P99_MS; i++) /* the machine may have had something else to do */
    p99 = measure(&server, path);
  assert_true(p99 < P99_MS);
  (void)snprintf(path, sizeof(path), "/v1/jobs/%s/cancel", job);
  expect(&server, "POST", path, NULL, 200, NULL);
  assert_string_equal(wait_job(&server, job, 0, 30), "canceled");
  assert_int_equal(server_stop(&server), 0);
  server_clean(&server);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(polls_are_fast_while_a_job_trains)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
