/* backup and restore: of a state directory on this machine. Both are the daemon's program's own work, which
 * knows the database, and no request: whoever may read the directory may copy it, and nobody else. */
#include <libgen.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cli/cli.h"

/* The guised beside this guise, else the one in $PATH. Returns only when there is none. */
static int become_guised(const char *state, const char *option, const char *copy) {
  char self[PATH_MAX] = "", beside[PATH_MAX + 8] = "";
  char *const arguments[] = {(char *)"guised",          (char *)"--state",       (char *)(uintptr_t)state,
                             (char *)(uintptr_t)option, (char *)(uintptr_t)copy, NULL};
  if (readlink("/proc/self/exe", self, sizeof(self) - 1) > 0)
    (void)snprintf(beside, sizeof(beside), "%s/guised", dirname(self));
  (void)execv(beside, arguments);
  (void)execvp("guised", arguments);
  return cli_error("there is no guised here (%s): run this on the machine of the daemon, or install it",
                   strerror(errno));
}

int command_backup(struct cli *cli, int argc, char **argv) {
  if (argc != 3)
    return cli_usage(cli, "backup takes a state directory and a folder for the copy");
  return become_guised(argv[1], "--backup", argv[2]);
}

int command_restore(struct cli *cli, int argc, char **argv) {
  if (argc != 3)
    return cli_usage(cli, "restore takes a backup and a folder for the state directory");
  return become_guised(argv[2], "--restore", argv[1]);
}
