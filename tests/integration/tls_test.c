/* HTTPS: everything that goes another way than in plain HTTP (large bodies, files, event streams, errors in
 * the middle of a body, the watchdog), certificates that change, and addresses that other machines reach. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <arpa/inet.h>
#include <cmocka.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "tests/integration/support/certificate.h"
#include "tests/integration/support/shell.h"

static struct server server;
static char certificate[96], key[96], trusted[96], options[2][128];
static int notify = -1; /* what guised tells the service manager */

static void listen_to_notifications(void) {
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  (void)snprintf(address.sun_path, sizeof(address.sun_path), "%s/notify", server.root);
  notify = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  assert_int_equal(bind(notify, (struct sockaddr *)&address, sizeof(address)), 0);
  assert_int_equal(setenv("NOTIFY_SOCKET", address.sun_path, 1), 0);
  assert_int_equal(setenv("WATCHDOG_USEC", "1500000", 1), 0);
}

static int setup(void **state) {
  (void)state;
  server_prepare(&server);
  (void)snprintf(certificate, sizeof(certificate), "%s/certificate.pem", server.root);
  (void)snprintf(key, sizeof(key), "%s/key.pem", server.root);
  (void)snprintf(trusted, sizeof(trusted), "%s/trusted.pem", server.root);
  (void)snprintf(options[0], sizeof(options[0]), "--tls-certificate=%s", certificate);
  (void)snprintf(options[1], sizeof(options[1]), "--tls-key=%s", key);
  make_certificate(certificate, key, 1);
  make_certificate(trusted, key, 2); /* whose key it is not */
  server.option[0] = options[0];
  server.option[1] = options[1];
  expect_text(server_refuses(&server), "is not that of the first certificate");
  make_certificate(certificate, key, 1);
  server.ca = certificate;
  listen_to_notifications();
  server_start(&server);
  (void)unsetenv("NOTIFY_SOCKET");
  (void)unsetenv("WATCHDOG_USEC");
  shell_start(&server);
  assert_int_equal(strncmp(server.url, "https://127.0.0.1:", 18), 0);
  return 0;
}

static int teardown(void **state) {
  (void)state;
  int status = server_stop(&server);
  server_clean(&server);
  return status;
}

static void the_watchdog_is_fed(void **state) {
  (void)state;
  char text[512] = "";
  for (int i = 0; i < 20 && !strstr(text, "WATCHDOG=1"); i++) {
    struct pollfd poller = {notify, POLLIN, 0};
    assert_int_equal(poll(&poller, 1, 10000), 1);
    ssize_t n = recv(notify, text, sizeof(text) - 1, 0);
    text[n > 0 ? n : 0] = 0;
  }
  (void)close(notify); /* unread, it would fill up and guised wait */
  assert_non_null(strstr(text, "WATCHDOG=1"));
}

static void large_bodies(void **state) {
  (void)state;
  const size_t bytes = 5u << 20;
  char *body = malloc(bytes);
  struct reply reply;
  assert_non_null(body);
  memset(body, ' ', bytes);
  ask(&server, "PUT", "/v1/datasets/broken", "Content-Type: application/x-tar", body, bytes, &reply);
  assert_int_equal(reply.status, 202);
  reply_done(&reply);
  /* refused in the middle of the body, where libmicrohttpd has no way to answer */
  ask(&server, "POST", "/v1/jobs", "Content-Type: application/json\nTransfer-Encoding: chunked", body, bytes,
      &reply);
  assert_int_equal(reply.status, 413);
  expect_text(reply.body, "too-large");
  reply_done(&reply);
  free(body);
  expect(&server, "GET", "/healthz", NULL, 200, NULL);
}

static void a_job_and_its_files(void **state) {
  (void)state;
  char job[64], path[200];
  struct reply reply, part;
  upload_faces(&server, "faces", 6, 4);
  (void)snprintf(job, sizeof(job), "%s",
                 submit(&server,
                        "{\"type\":\"train\",\"dataset\":\"faces\",\"mask\":{\"method\":\"none\"},\"model\":"
                        "{\"input\":32,\"width\":0.5,\"embedding\":32},\"audit\":{\"attacks\":[]},"
                        "\"train\":{\"epochs\":2,\"batch\":8}}"));
  (void)snprintf(path, sizeof(path), "/v1/jobs/%s/events", job);
  expect(&server, "GET", path, NULL, 200, &reply); /* while it runs, to its end */
  expect_text(reply.body, "event: end\n");
  reply_done(&reply);
  assert_string_equal(wait_job(&server, job, 0, 60), "succeeded");
  (void)snprintf(path, sizeof(path), "/v1/jobs/%s", job);
  expect(&server, "GET", path, NULL, 200, &reply);
  (void)snprintf(path, sizeof(path), "/v1/models/%s/files/model.safetensors?unsafe=true",
                 json_string_value(json_object_get(reply.json, "model")));
  reply_done(&reply);
  expect(&server, "GET", path, NULL, 200, &reply);
  ask(&server, "GET", path, "Range: bytes=1000-50999", NULL, 0, &part);
  assert_int_equal(part.status, 206);
  assert_int_equal(part.size, 50000);
  assert_memory_equal(part.body, reply.body + 1000, 50000);
  reply_done(&part);
  reply_done(&reply);
}

static void the_client_trusts_whom_it_is_told(void **state) {
  (void)state;
  expect_text(shell(4, "$G ls")->err, "--ca FILE");
  expect_text(shell(4, "$G --ca $D/missing ls")->err, "--ca FILE");
  (void)shell(0, "$G --ca $D/certificate.pem ls && GUISE_CA=$D/certificate.pem $G dataset ls");
  expect_text(shell(4, "$G --url http://${GUISE_URL#https://} ls")->err,
              "broke"); /* plain HTTP at its port */
  (void)shell(0, "$G --ca=$D/certificate.pem ready");
}

/* Until the log has the text. */
static void wait_log(const char *text) {
  char command[256];
  (void)snprintf(command, sizeof(command),
                 "for i in $(seq 100); do grep -q '%s' $D/log && exit 0; sleep 0.05; done; exit 1", text);
  (void)shell(0, command);
}

static void certificates_change_at_sighup(void **state) {
  (void)state;
  make_certificate(trusted, key, 3); /* a key of another certificate: the old pair stays */
  assert_int_equal(kill(server.pid, SIGHUP), 0);
  wait_log("certificate stays as it was: the key");
  (void)shell(0, "$G --ca $D/certificate.pem ls && cp $D/certificate.pem $D/old.pem");
  make_certificate(certificate, key, 4);
  (void)shell(0, "$G --ca $D/old.pem ls"); /* not before it is told */
  assert_int_equal(kill(server.pid, SIGHUP), 0);
  (void)shell(0, "for i in $(seq 100); do $G --ca $D/certificate.pem ls && exit 0; sleep 0.05; done; exit 1");
  (void)shell(4, "$G --ca $D/old.pem ls");
}

/* Of the 16 connections that there are. */
static void one_address_gets_a_quarter(unsigned port) {
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  int fd[5];
  char byte;
  address.sin_port = htons((uint16_t)port);
  (void)usleep(300000); /* until those of the requests before have ended */
  for (size_t i = 0; i < 5; i++) {
    fd[i] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(connect(fd[i], (struct sockaddr *)&address, sizeof(address)), 0);
  }
  struct pollfd fifth = {fd[4], POLLIN, 0};
  assert_int_equal(poll(&fifth, 1, 10000), 1);
  assert_true(recv(fd[4], &byte, 1, 0) <= 0);
  for (size_t i = 0; i < 5; i++)
    (void)close(fd[i]);
}

static void other_machines_need_tls_and_a_token(void **state) {
  (void)state;
  char header[200];
  struct reply reply;
  const char *token;
  expect(&server, "POST", "/v1/tokens", "{\"name\":\"far\",\"scopes\":[\"jobs:read\"]}", 201, &reply);
  token = json_string_value(json_object_get(reply.json, "token"));
  (void)snprintf(header, sizeof(header), "Host: faces.example\nAuthorization: Bearer %s", token);
  assert_int_equal(setenv("GUISE_TOKEN", token, 1), 0);
  reply_done(&reply);
  assert_int_equal(server_stop(&server), 0);
  server.option[2] = "--listen=0.0.0.0:0";
  server.option[3] = "--connections=16";
  server_start(&server);
  unsigned port = 0;
  assert_int_equal(sscanf(server.url, "https://0.0.0.0:%u", &port), 1);
  (void)snprintf(server.url, sizeof(server.url), "https://127.0.0.1:%u", port);
  shell_start(&server);
  expect(&server, "GET", "/v1/jobs", NULL, 401, NULL);
  expect(&server, "GET", "/healthz", NULL, 200, NULL);
  ask(&server, "GET", "/v1/jobs", header, NULL, 0, &reply);
  assert_int_equal(reply.status, 200);
  reply_done(&reply);
  (void)shell(0, "$G --ca $D/certificate.pem ls");
  expect_text(shell(1, "$G --ca $D/certificate.pem models")->err, "models:read");
  (void)unsetenv("GUISE_TOKEN");
  one_address_gets_a_quarter(port);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(the_watchdog_is_fed),           cmocka_unit_test(large_bodies),
      cmocka_unit_test(a_job_and_its_files),           cmocka_unit_test(the_client_trusts_whom_it_is_told),
      cmocka_unit_test(certificates_change_at_sighup), cmocka_unit_test(other_machines_need_tls_and_a_token)};
  return cmocka_run_group_tests(tests, setup, teardown);
}
