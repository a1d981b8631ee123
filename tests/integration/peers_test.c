/* Unix sockets: who is at the other end decides, and a socket may be there before guised is. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/integration/support/shell.h"

/* A guised on a Unix socket with this option; the command is its client's. */
static struct output *over_unix(const char *option, int code, const char *command) {
  struct server local;
  char listen[128];
  server_prepare(&local);
  (void)snprintf(listen, sizeof(listen), "--listen=unix:%s/sock", local.root);
  local.option[0] = listen;
  local.option[1] = option;
  server_start(&local);
  shell_start(&local);
  struct output *output = shell(code, command);
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
  shell_start(&local);
  (void)shell(0, "$G ready --wait 20 && $G ls");
  assert_int_equal(kill(local.pid, SIGTERM), 0);
  assert_int_equal(waitpid(local.pid, &status, 0), local.pid);
  assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
  local.pid = 0;
  server_clean(&local);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(unix_sockets_know_their_peers),
      cmocka_unit_test(a_socket_that_is_passed),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
