/* A full disk under a running daemon: writes are refused with the reason, reads go on, a running job waits at
 * its checkpoint and says so, and when there is room again everything goes on by itself. The state directory
 * is a small file system of its own, which takes root to mount. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/base/file.h"
#include "tests/integration/support/server.h"

#define EPOCHS 100
#define JOB                                                                                             \
  "{\"type\":\"train\",\"dataset\":\"faces\",\"model\":{\"input\":32,\"width\":0.25,\"embedding\":32}," \
  "\"mask\":{\"method\":\"none\"},\"train\":{\"epochs\":100,\"batch\":16},\"audit\":{\"attacks\":[]}}"

static char mounted[96];

static void unmount(void) {
  if (*mounted && umount2(mounted, MNT_DETACH) < 0)
    perror("umount");
  *mounted = 0;
}

static void fill(const struct server *server) {
  static char bytes[1 << 16];
  char path[128];
  (void)snprintf(path, sizeof(path), "%s/state/ballast", server->root);
  int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
  assert_true(fd >= 0);
  for (size_t size = sizeof(bytes); size > 0; size /= 2)
    while (write(fd, bytes, size) > 0)
      ;
  assert_int_equal(errno, ENOSPC);
  (void)close(fd);
}

static void make_room(const struct server *server) {
  char path[128];
  (void)snprintf(path, sizeof(path), "%s/state/ballast", server->root);
  assert_int_equal(unlink(path), 0);
}

static void expect_full(struct server *server, const char *method, const char *path, const char *type,
                        const char *body, size_t bytes) {
  struct reply reply;
  ask(server, method, path, type, body, bytes, &reply);
  if (reply.status != 503)
    fail_msg("%s %s: %ld %s", method, path, reply.status, reply.body);
  assert_string_equal(header_of(&reply, "Content-Type"), "application/problem+json");
  assert_true(atoi(header_of(&reply, "Retry-After")) > 0);
  const char *detail = json_string_value(json_object_get(reply.json, "detail"));
  assert_non_null(detail);
  if (!strstr(detail, "full"))
    fail_msg("%s %s: %s", method, path, detail);
  reply_done(&reply);
}

/* The job's field `phase`; its state must be `running`, or when there is room again `queued`. */
static void wait_phase(struct server *server, const char *id, const char *wanted, bool is) {
  char path[128], phase[64] = "";
  (void)snprintf(path, sizeof(path), "/v1/jobs/%s", id);
  for (int i = 0; i < 1200; i++) {
    struct reply reply;
    expect(server, "GET", path, NULL, 200, &reply);
    const char *text = json_string_value(json_object_get(reply.json, "phase"));
    (void)snprintf(phase, sizeof(phase), "%s", text ? text : "");
    const char *now = json_string_value(json_object_get(reply.json, "state"));
    assert_true(strcmp(now, "running") == 0 || (!is && strcmp(now, "queued") == 0));
    reply_done(&reply);
    if ((strcmp(phase, wanted) == 0) == is)
      return;
    (void)usleep(50000);
  }
  fail_msg("the job's phase is %s", phase);
}

static void wait_ready(struct server *server, long status) {
  struct reply reply = {0};
  for (int i = 0; i < 200 && reply.status != status; i++) {
    reply_done(&reply);
    ask(server, "GET", "/readyz", NULL, NULL, 0, &reply);
    (void)usleep(50000);
  }
  assert_int_equal(reply.status, status);
  reply_done(&reply);
}

/* A server that is not started, with a state directory of 24 MB. */
static void prepare(struct server *server) {
  server_prepare(server);
  (void)snprintf(mounted, sizeof(mounted), "%s/state", server->root);
  assert_int_equal(mkdir(mounted, 0700), 0);
  if (mount("guise-test", mounted, "tmpfs", MS_NOSUID | MS_NODEV, "size=24m,mode=0700") < 0) {
    print_message("SKIPPED: a file system of the test's own cannot be mounted (%s); root can\n",
                  strerror(errno));
    *mounted = 0;
    server_clean(server);
    skip();
  }
}

static void full_and_back(void **state) {
  struct server server;
  char id[64], path[128], *upload;
  struct reply reply;
  (void)state;
  prepare(&server);
  upload = calloc(1, 4 << 20);
  server_start(&server);
  upload_faces(&server, "faces", 8, 6);
  upload_faces(&server, "spare", 4, 2);
  (void)snprintf(id, sizeof(id), "%s", submit(&server, JOB));
  assert_string_equal(wait_job(&server, id, 2, 120), "running");

  fill(&server);
  expect_full(&server, "PUT", "/v1/datasets/more", "Content-Type: application/x-tar", upload, 4 << 20);
  expect_full(&server, "PUT", "/v1/datasets/less", "Content-Type: application/x-tar", upload, 1024);
  wait_phase(&server, id, "waiting for storage", true);
  wait_ready(&server, 503);
  expect_full(&server, "GET", "/readyz", NULL, NULL, 0);
  expect(&server, "GET", "/healthz", NULL, 200, NULL);
  expect(&server, "GET", "/v1/datasets", NULL, 200, &reply);
  assert_int_equal(json_array_size(json_object_get(reply.json, "data")), 2);
  reply_done(&reply);
  (void)snprintf(path, sizeof(path), "/v1/jobs/%s/metrics?name=loss&resolution=epoch", id);
  expect(&server, "GET", path, NULL, 200, &reply);
  assert_true(json_array_size(json_object_get(reply.json, "data")) >= 1);
  reply_done(&reply);
  (void)usleep(2500000); /* it stays so, over more than one try */
  wait_phase(&server, id, "waiting for storage", true);
  expect_full(&server, "GET", "/readyz", NULL, NULL, 0);

  /* erasing goes on, since it makes room: this little is not enough for the rest */
  expect(&server, "DELETE", "/v1/datasets/spare", NULL, 200, &reply);
  assert_true(json_is_true(json_object_get(reply.json, "log_emptied")));
  reply_done(&reply);
  expect(&server, "GET", "/v1/datasets/spare", NULL, 404, NULL);

  make_room(&server);
  wait_ready(&server, 200);
  wait_phase(&server, id, "waiting for storage", false);
  upload_faces(&server, "more", 4, 2);
  assert_string_equal(wait_job(&server, id, 0, 240), "succeeded");
  expect(&server, "GET", path, NULL, 200, &reply);
  assert_int_equal(json_array_size(json_object_get(reply.json, "data")), EPOCHS);
  reply_done(&reply);
  assert_int_equal(server_stop(&server), 0);
  unmount();
  server_clean(&server);
  free(upload);
}

/* A network of 4 MB as an audit of the data set's people would have kept it; its file's path. */
static void keep_network(const struct server *server, char ret_path[256]) {
  static char bytes[4 << 20];
  static const char sql[] = "INSERT INTO networks (key, sha256, bytes, dataset, used_at) "
                            "SELECT '%s', '%s', %zu, id, 1 FROM datasets";
  char sha256[SHA256_HEX], text[512];
  sqlite3 *db = NULL;
  sha256_data(bytes, sizeof(bytes), sha256);
  (void)snprintf(ret_path, 256, "%s/state/blobs/%.2s", server->root, sha256);
  assert_int_equal(directory_make(ret_path, NULL), 0);
  (void)snprintf(ret_path, 256, "%s/state/blobs/%.2s/%s", server->root, sha256, sha256);
  assert_int_equal(file_write_atomic(ret_path, bytes, sizeof(bytes), NULL), 0);
  (void)snprintf(text, sizeof(text), "%s/state/guise.db", server->root);
  assert_int_equal(sqlite3_open(text, &db), SQLITE_OK);
  assert_int_equal(sqlite3_busy_timeout(db, 5000), SQLITE_OK);
  (void)snprintf(text, sizeof(text), sql, sha256, sha256, sizeof(bytes));
  assert_int_equal(sqlite3_exec(db, text, NULL, NULL, NULL), SQLITE_OK);
  assert_int_equal(sqlite3_changes(db), 1);
  assert_int_equal(sqlite3_close(db), SQLITE_OK);
}

/* The row has to go before the file, and to write that down takes some room. Where there is none the reserve
 * stays what it is for: erasing. */
static void networks_make_room(void **state) {
  struct server server;
  char path[256], reserve[128], ballast[128];
  struct stat st;
  (void)state;
  prepare(&server);
  server_start(&server);
  upload_faces(&server, "faces", 4, 2);
  keep_network(&server, path);
  (void)snprintf(reserve, sizeof(reserve), "%s/state/reserve", server.root);
  (void)snprintf(ballast, sizeof(ballast), "%s/state/ballast", server.root);
  for (int i = 0; i < 200 && access(reserve, F_OK) < 0; i++)
    (void)usleep(50000);
  assert_int_equal(access(reserve, F_OK), 0);
  fill(&server);
  expect_full(&server, "PUT", "/v1/datasets/less", "Content-Type: application/x-tar", reserve, 100);
  (void)usleep(2500000); /* more than one try */
  assert_int_equal(access(reserve, F_OK), 0);
  /* a little room, not enough to write anything else */
  assert_int_equal(stat(ballast, &st), 0);
  assert_int_equal(truncate(ballast, st.st_size - (256 << 10)), 0);
  wait_ready(&server, 200); /* by itself */
  assert_int_equal(access(path, F_OK), -1);
  assert_int_equal(access(reserve, F_OK), 0);
  upload_faces(&server, "more", 4, 2);
  assert_int_equal(server_stop(&server), 0);
  unmount();
  server_clean(&server);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(full_and_back), cmocka_unit_test(networks_make_room)};
  (void)atexit(unmount);
  return cmocka_run_group_tests(tests, NULL, NULL);
}
