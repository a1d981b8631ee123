#include "tests/integration/support/shell.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

static char root[64];

void shell_start(const struct server *server) {
  (void)snprintf(root, sizeof(root), "%s", server->root);
  assert_int_equal(setenv("D", server->root, 1), 0);
  assert_int_equal(setenv("G", GUISE_BUILD "/guise", 1), 0);
  assert_int_equal(setenv("GUISE_URL", server->url, 1), 0);
}

void shell_server_start(struct server *server) {
  server_prepare(server);
  server_start(server);
  shell_start(server);
  (void)shell(0, "\"$G\" ready --wait 30");
}

/* "" while there is no such file yet. */
static void slurp(const char *name, char *ret_text, size_t size) {
  char path[256];
  (void)snprintf(path, sizeof(path), "%s/%s", root, name);
  FILE *file = fopen(path, "re");
  size_t n = file ? fread(ret_text, 1, size - 1, file) : 0;
  ret_text[n] = 0;
  if (file)
    (void)fclose(file);
}

struct output *shell(int code, const char *command) {
  static struct output output;
  char line[4096];
  (void)snprintf(line, sizeof(line), "( %s ) >\"$D/out\" 2>\"$D/err\" </dev/null", command);
  int status = system(line); /* NOLINT(cert-env33-c): the tests' own commands */
  assert_true(WIFEXITED(status));
  output.code = WEXITSTATUS(status);
  slurp("out", output.out, sizeof(output.out));
  slurp("err", output.err, sizeof(output.err));
  if (output.code != code)
    print_error("%s\nexit %d, expected %d\n%s%s\n", command, output.code, code, output.out, output.err);
  assert_int_equal(output.code, code);
  return &output;
}

void expect_text(const char *text, const char *part) {
  if (!strstr(text, part))
    print_error("'%s' is not in:\n%s\n", part, text);
  assert_non_null(strstr(text, part));
}
