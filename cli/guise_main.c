/* guise: the command-line client of guised. This file takes the options that every command has and runs the
 * command; commands.c is the table of commands, cli.c what they share, and each group of them is a file of
 * its own. The client speaks HTTP only. */
#include <curl/curl.h>
#include <getopt.h>
#include <string.h>

#include "cli/cli.h"
#include "core/base/file.h"
#include "core/image/decode.h"

#define TOKEN_FILE_BYTES 4096

struct common {
  const char *url, *ca;
  bool help, version;
};

/* The common option that `word` is: --NAME, --NAME=VALUE, or -L. *ret_value: what stands behind the =, or
 * NULL. */
static const struct cli_option *find_common(const char *word, const char **ret_value) {
  *ret_value = NULL;
  for (const struct cli_option *option = cli_common_options; option->name; option++) {
    const char letter[] = {'-', option->letter, 0};
    const size_t length = strlen(option->name);
    if ((option->use & OPTION_SHORT) && strcmp(word, letter) == 0)
      return option;
    if (strncmp(word, "--", 2) != 0 || strncmp(word + 2, option->name, length) != 0)
      continue;
    const char *end = word + 2 + length;
    if (*end == '=' && option->argument)
      *ret_value = end + 1;
    if (!*end || *ret_value)
      return option;
  }
  return NULL;
}

static void set_common(struct cli *cli, struct common *common, char letter, const char *value) {
  switch (letter) {
  case 'u':
    common->url = value;
    break;
  case 'c':
    common->ca = value;
    break;
  case 'j':
    cli->json = true;
    break;
  case 'v':
    common->version = true;
    break;
  default:
    common->help = true;
  }
}

/* Takes the common options out of argv wherever they stand before "--", so that they may follow the command.
 * -EINVAL after saying that a value is missing. */
static int take_common(int *argc, char **argv, struct cli *cli, struct common *common) {
  int kept = 1;
  for (int i = 1; i < *argc; i++) {
    const char *value;
    if (strcmp(argv[i], "--") == 0) {
      while (i < *argc)
        argv[kept++] = argv[i++];
      break;
    }
    const struct cli_option *option = find_common(argv[i], &value);
    if (!option) {
      argv[kept++] = argv[i];
      continue;
    }
    if (option->argument && !value && i + 1 == *argc) {
      (void)cli_error("--%s needs %s: %s", option->name, option->argument, option->help);
      return -EINVAL;
    }
    if (option->argument && !value)
      value = argv[++i];
    set_common(cli, common, option->letter, value);
  }
  argv[kept] = NULL;
  *argc = kept;
  return 0;
}

/* The command that argv starts with, and how many words its name has. */
static const struct command *find_command(int argc, char **argv, int *ret_words) {
  char two[64] = "";
  if (argc > 2)
    (void)snprintf(two, sizeof(two), "%s %s", argv[1], argv[2]);
  for (size_t i = 0; i < cli_command_count; i++) {
    bool spaced = strchr(cli_commands[i].name, ' ') != NULL;
    if (strcmp(cli_commands[i].name, spaced ? two : argv[1]) == 0) {
      *ret_words = spaced ? 2 : 1;
      return &cli_commands[i];
    }
  }
  return NULL;
}

/* From $GUISE_TOKEN or the file $GUISE_TOKEN_FILE, never from argv, which others can see. */
static int take_token(struct http *http, struct guise_error *err) {
  const char *path = getenv("GUISE_TOKEN_FILE"), *token = getenv("GUISE_TOKEN");
  _cleanup_(freep) char *text = NULL;
  size_t size = 0;
  if ((!token || !*token) && path && *path) {
    int r = file_read(path, TOKEN_FILE_BYTES, &text, &size, err);
    if (r < 0)
      return r;
    text[strcspn(text, "\r\n")] = 0;
    token = text;
  }
  return http_set_token(http, token, err);
}

static int open_connection(struct cli *cli, const struct common *common) {
  struct guise_error err = {0};
  if (http_open(common->url, &cli->http, &err) < 0 || take_token(cli->http, &err) < 0) {
    (void)cli_error("%s", err.text);
    cli->http = http_close(cli->http);
    return EXIT_USAGE;
  }
  http_set_ca(cli->http, common->ca);
  return EXIT_DONE;
}

/* Those make no request: no address and no token is looked at, and cli->http is NULL. */
static bool is_local(const struct command *command) {
  return command->run == command_backup || command->run == command_restore || command->run == command_synth;
}

static int run_command(struct cli *cli, const struct common *common, int argc, char **argv) {
  if (!is_local(cli->command) && open_connection(cli, common) != EXIT_DONE)
    return EXIT_USAGE;
  optind = 0; /* getopt starts anew with the command's own words */
  int code = cli->command->run(cli, argc, argv);
  cli->http = http_close(cli->http);
  if (fflush(stdout) != 0 || ferror(stdout))
    return cli_error("cannot write to standard output: %s", strerror(errno));
  return code;
}

int main(int argc, char **argv) {
  if (argc > 0 && strcmp(argv[0], DECODE_PROGRAM) == 0) /* this program as its own helper: cli/mask.c */
    return decode_serve();
  struct cli cli = {0};
  struct common common = {.url = getenv("GUISE_URL"), .ca = getenv("GUISE_CA")};
  int words = 1;
  if (!common.url || !*common.url)
    common.url = CLI_DEFAULT_URL;
  if (take_common(&argc, argv, &cli, &common) < 0)
    return EXIT_USAGE;
  if (common.version) {
    (void)puts("guise " GUISE_VERSION);
    return EXIT_DONE;
  }
  if (argc < 2 || strcmp(argv[1], "help") == 0) {
    help_overview(common.help || argc > 1 ? stdout : stderr);
    return common.help || argc > 1 ? EXIT_DONE : EXIT_USAGE;
  }
  cli.command = find_command(argc, argv, &words);
  if (!cli.command) {
    bool group = argc > 2 && (strcmp(argv[1], "dataset") == 0 || strcmp(argv[1], "model") == 0 ||
                              strcmp(argv[1], "study") == 0 || strcmp(argv[1], "token") == 0);
    (void)cli_error("there is no command '%s%s%s'", argv[1], group ? " " : "", group ? argv[2] : "");
    (void)fputs("guise --help lists the commands\n", stderr);
    return EXIT_USAGE;
  }
  if (common.help) {
    help_command(cli.command, stdout);
    return EXIT_DONE;
  }
  (void)curl_global_init(CURL_GLOBAL_DEFAULT);
  int code = run_command(&cli, &common, argc - words, argv + words);
  curl_global_cleanup();
  return code;
}
