/* What was accepted survives: kill -9 in mid-job three times, and SIGTERM, which checkpoints and exits within
 * 10 s. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <glob.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "tests/integration/support/server.h"

#define EPOCHS 12
#define JOB                                                                                            \
  "{\"type\":\"train\",\"dataset\":\"faces\",\"model\":{\"input\":32,\"width\":0.5,\"embedding\":32}," \
  "\"train\":{\"epochs\":12,\"batch\":16},\"audit\":{\"attacks\":[]}}"

#define ENDLESS                                                                                         \
  "{\"type\":\"train\",\"dataset\":\"faces\",\"model\":{\"input\":32,\"width\":0.25,\"embedding\":32}," \
  "\"mask\":{\"method\":\"none\"},\"train\":{\"epochs\":1000,\"batch\":16}}"

static double now(void) {
  struct timespec t;
  (void)clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* Exactly one row for each epoch of every per-epoch metric. */
static void check_metrics(struct server *server, const char *id) {
  static const char *const names[] = {
      "loss", "lr", "images_per_s", "accuracy", "eer", "strategy.mean_k", "strategy.pi_6"};
  for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
    char path[200];
    unsigned seen[EPOCHS + 1] = {0};
    struct reply reply;
    (void)snprintf(path, sizeof(path), "/v1/jobs/%s/metrics?resolution=epoch&name=%s", id, names[i]);
    expect(server, "GET", path, NULL, 200, &reply);
    json_t *rows = json_object_get(reply.json, "data");
    assert_int_equal(json_array_size(rows), EPOCHS);
    for (size_t row = 0; row < json_array_size(rows); row++) {
      json_int_t epoch = json_integer_value(json_object_get(json_array_get(rows, row), "epoch"));
      assert_true(epoch >= 1 && epoch <= EPOCHS);
      assert_int_equal(seen[epoch]++, 0);
    }
    reply_done(&reply);
  }
}

/* The same figures in every epoch, to the last digit: the same masks, mixes and draws, hence the same
 * weights. */
static void check_same(struct server *server, const char *id, const char *other) {
  static const char *const names[] = {"loss", "accuracy", "strategy.mean_k", "strategy.reward",
                                      "probe.error"};
  for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
    struct reply reply[2];
    char path[200];
    for (int j = 0; j < 2; j++) {
      (void)snprintf(path, sizeof(path), "/v1/jobs/%s/metrics?resolution=epoch&name=%s", j ? other : id,
                     names[i]);
      expect(server, "GET", path, NULL, 200, &reply[j]);
    }
    const json_t *rows = json_object_get(reply[0].json, "data"),
                 *others = json_object_get(reply[1].json, "data");
    assert_true(json_array_size(rows) > 0);
    assert_int_equal(json_array_size(rows), json_array_size(others));
    for (size_t row = 0; row < json_array_size(rows); row++)
      if (json_number_value(json_object_get(json_array_get(rows, row), "value")) !=
          json_number_value(json_object_get(json_array_get(others, row), "value")))
        fail_msg("%s differs in row %zu", names[i], row);
    reply_done(&reply[0]);
    reply_done(&reply[1]);
  }
}

static void killed_three_times(void **state) {
  (void)state;
  struct server server;
  char id[64], straight[64], path[128];
  struct reply reply;
  server_prepare(&server);
  server_start(&server);
  upload_faces(&server, "faces", 16, 8);
  (void)snprintf(id, sizeof(id), "%s", submit(&server, JOB));
  for (unsigned round = 1; round <= 3; round++) {
    const char *at = wait_job(&server, id, 3 * round, 120);
    assert_string_equal(at, "running"); /* it must be in the middle of the job */
    server_kill(&server);
    server_start(&server);
  }
  assert_string_equal(wait_job(&server, id, 0, 240), "succeeded");
  check_metrics(&server, id);
  (void)snprintf(path, sizeof(path), "/v1/jobs/%s", id);
  expect(&server, "GET", path, NULL, 200, &reply);
  assert_non_null(json_string_value(json_object_get(reply.json, "model")));
  reply_done(&reply);
  (void)snprintf(straight, sizeof(straight), "%s", submit(&server, JOB));
  assert_string_equal(wait_job(&server, straight, 0, 240), "succeeded");
  check_same(&server, id, straight);
  assert_int_equal(server_stop(&server), 0);
  server_clean(&server);
}

static void terminated_and_continued(void **state) {
  (void)state;
  struct server server;
  char id[64];
  server_prepare(&server);
  server_start(&server);
  upload_faces(&server, "faces", 16, 8);
  (void)snprintf(id, sizeof(id), "%s", submit(&server, JOB));
  assert_string_equal(wait_job(&server, id, 4, 120), "running");
  double began = now();
  assert_int_equal(server_stop(&server), 0);
  assert_true(now() - began < 10);
  server_start(&server);
  assert_string_equal(wait_job(&server, id, 0, 240), "succeeded");
  check_metrics(&server, id);
  server_clean(&server);
}

/* A data set whose upload was answered with 202 is there after a kill. */
static void an_accepted_upload_survives(void **state) {
  (void)state;
  struct server server;
  struct reply reply;
  server_prepare(&server);
  server_start(&server);
  upload_faces(&server, "first", 4, 4);
  server_kill(&server);
  server_start(&server);
  expect(&server, "GET", "/v1/datasets/first", NULL, 200, &reply);
  assert_string_equal(json_string_value(json_object_get(reply.json, "state")), "ready");
  assert_int_equal(json_integer_value(json_object_get(reply.json, "images")), 16);
  reply_done(&reply);
  server_clean(&server);
}

/* A pack that becomes shorter while a job trains on it ends the job, not the daemon, and nothing that was
 * learnt from what is not there is kept. */
static void a_pack_that_is_cut(void **state) {
  (void)state;
  struct server server;
  char id[64], path[192];
  glob_t blobs;
  struct reply reply;
  server_prepare(&server);
  server.option[0] = "--retry-delay-s=0";
  server_start(&server);
  upload_faces(&server, "faces", 16, 8);
  (void)snprintf(id, sizeof(id), "%s", submit(&server, ENDLESS));
  assert_string_equal(wait_job(&server, id, 2, 120), "running");
  (void)snprintf(path, sizeof(path), "%s/state/blobs/*/*", server.root);
  assert_int_equal(glob(path, 0, NULL, &blobs), 0);
  assert_int_equal(blobs.gl_pathc, 1);
  assert_int_equal(truncate(blobs.gl_pathv[0], 8192), 0);
  globfree(&blobs);
  assert_string_equal(wait_job(&server, id, 0, 120), "failed");
  (void)snprintf(path, sizeof(path), "/v1/jobs/%s", id);
  expect(&server, "GET", path, NULL, 200, &reply);
  assert_non_null(strstr(reply.body, "failed for want of memory or disk; tried again")); /* it was cut then */
  assert_non_null(strstr(reply.body, "damaged"));
  reply_done(&reply);
  (void)snprintf(path, sizeof(path), "/v1/jobs/%s/log?format=text", id);
  expect(&server, "GET", path, NULL, 200, &reply);
  assert_non_null(strstr(reply.body, "cannot be read from the disk"));
  reply_done(&reply);
  assert_true(ask_once(&server, "GET", "/v1/datasets/faces/identities", NULL, NULL, 0, &reply));
  assert_int_equal(reply.status, 503);
  assert_non_null(strstr(reply.body, "damaged"));
  reply_done(&reply);
  assert_true(ask_once(&server, "DELETE", "/v1/datasets/faces/identities/person-001", NULL, NULL, 0, &reply));
  assert_int_equal(reply.status, 503);
  assert_non_null(strstr(reply.body, "damaged"));
  assert_null(strstr(reply.body, server.root));
  reply_done(&reply);
  upload_faces(&server, "others", 8, 4);
  assert_int_equal(server_stop(&server), 0);
  server_clean(&server);
}

int main(int argc, char **argv) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(killed_three_times), cmocka_unit_test(terminated_and_continued),
      cmocka_unit_test(an_accepted_upload_survives), cmocka_unit_test(a_pack_that_is_cut)};
  if (argc > 1) /* the tests of this name */
    cmocka_set_test_filter(argv[1]);
  return cmocka_run_group_tests(tests, NULL, NULL);
}
