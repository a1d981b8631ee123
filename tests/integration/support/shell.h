/* Shell commands with the client under test: $G is the client, $D the server's folder, $GUISE_URL its
 * address. */
#pragma once

#include "tests/integration/support/server.h"

struct output {
  int code;
  char out[65536], err[65536];
};

/* For the server as it runs now. */
void shell_start(const struct server *server);
/* A fresh server, which answers, with its shell. */
void shell_server_start(struct server *server);
/* Runs and expects an exit code; shows what was printed otherwise. Static storage. */
struct output *shell(int code, const char *command);
void expect_text(const char *text, const char *part);
