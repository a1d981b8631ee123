/* The tables that completion.bash.in and completion.zsh.in run on, one row a command. */
#include <string.h>

#include "cli/cli.h"
#include "daemon/config.h"
#include "reference/reference.h"

/* ---- bash: words that tell what is completed ---- */

static void bash_kind(FILE *out, const char *argument) {
  switch (argument_completes(argument)) {
  case COMPLETES_FILE:
    (void)fputs("file", out);
    break;
  case COMPLETES_DIRECTORY:
    (void)fputs("directory", out);
    break;
  case COMPLETES_CHOICE:
    (void)fputs(argument, out);
    break;
  default:
    (void)fputs("nothing", out);
  }
}

static void bash_option(FILE *out, const char *flag, const char *argument) {
  (void)fprintf(out, " %s", flag);
  if (argument) {
    (void)putc('=', out);
    bash_kind(out, argument);
  }
}

static void bash_options(FILE *out, const struct cli_option *options) {
  for (const struct cli_option *option = options; option && option->name; option++) {
    char flag[64];
    (void)snprintf(flag, sizeof(flag), "--%s", option->name);
    bash_option(out, flag, option->argument);
    (void)snprintf(flag, sizeof(flag), "-%c", option->letter);
    if (option->use & OPTION_SHORT)
      bash_option(out, flag, option->argument);
  }
}

void bash_guise(FILE *out) {
  (void)fputs("  '')\n    commands=(\n", out);
  for (size_t i = 0; i < cli_command_count; i++)
    (void)fprintf(out, "      '%s'\n", cli_commands[i].name);
  (void)fputs("    )\n    options='", out);
  bash_options(out, cli_common_options);
  (void)fputs("'\n    ;;\n", out);
  for (size_t i = 0; i < cli_command_count; i++) {
    const char *arguments = cli_commands[i].arguments;
    struct argument argument;
    (void)fprintf(out, "  '%s')\n    options+='", cli_commands[i].name);
    bash_options(out, cli_commands[i].options);
    (void)fputs("'\n    arguments=(", out);
    for (const char *blank = ""; argument_next(&arguments, &argument); blank = " ") {
      (void)fprintf(out, "%s'", blank);
      bash_kind(out, argument.name);
      (void)fprintf(out, "%s'", argument.repeated ? "..." : "");
    }
    (void)fputs(")\n    ;;\n", out);
  }
}

void bash_guised(FILE *out) {
  char flag[CONFIG_NAME];
  (void)fputs("  '')\n    options='", out);
  for (size_t i = 0; i < config_flag_count; i++) {
    config_flag_name(config_flags[i].name, flag);
    bash_option(out, flag, config_flags[i].argument);
  }
  for (size_t i = 0; i < config_option_count; i++) {
    config_flag_name(config_options[i].name, flag);
    bash_option(out, flag, config_options[i].argument);
  }
  (void)fputs("'\n    ;;\n", out);
}

/* ---- zsh: specifications for _arguments ---- */

/* Between single quotes, with `special` escaped by a backslash. */
static void zsh_text(FILE *out, const char *text, const char *special) {
  for (; *text; text++) {
    if (strchr(special, *text))
      (void)putc('\\', out);
    (void)fputs(*text == '\'' ? "'\\''" : (const char[]){*text, 0}, out);
  }
}

/* ":NAME:_files" */
static void zsh_argument(FILE *out, const char *argument) {
  (void)putc(':', out);
  zsh_text(out, argument, ":");
  (void)putc(':', out);
  switch (argument_completes(argument)) {
  case COMPLETES_FILE:
    (void)fputs("_files", out);
    break;
  case COMPLETES_DIRECTORY:
    (void)fputs("_files -/", out);
    break;
  case COMPLETES_CHOICE:
    (void)putc('(', out);
    for (const char *p = argument; *p; p++)
      (void)putc(*p == '|' ? ' ' : *p, out);
    (void)putc(')', out);
    break;
  default:
    (void)putc(' ', out);
  }
}

static void zsh_option(FILE *out, const char *flag, const char *argument, bool repeated, const char *help) {
  const bool is_long = flag[1] == '-';
  (void)fprintf(out, "    '%s%s%s[", repeated ? "*" : "", flag, argument && is_long ? "=" : "");
  zsh_text(out, help, "[]:\\");
  (void)putc(']', out);
  if (argument)
    zsh_argument(out, argument);
  (void)fputs("'\n", out);
}

static void zsh_options(FILE *out, const struct cli_option *options) {
  for (const struct cli_option *option = options; option && option->name; option++) {
    const bool repeated = option->use & OPTION_REPEATED;
    char flag[64];
    (void)snprintf(flag, sizeof(flag), "--%s", option->name);
    zsh_option(out, flag, option->argument, repeated, option->help);
    (void)snprintf(flag, sizeof(flag), "-%c", option->letter);
    if (option->use & OPTION_SHORT)
      zsh_option(out, flag, option->argument, repeated, option->help);
  }
}

void zsh_guise(FILE *out) {
  (void)fputs("  '') commands=(\n", out);
  for (size_t i = 0; i < cli_command_count; i++) {
    (void)fprintf(out, "    '%s:", cli_commands[i].name);
    zsh_text(out, cli_commands[i].summary, "\\");
    (void)fputs("'\n", out);
  }
  (void)fputs("  ) specifications=(\n", out);
  zsh_options(out, cli_common_options);
  (void)fputs("  ) ;;\n", out);
  for (size_t i = 0; i < cli_command_count; i++) {
    const char *arguments = cli_commands[i].arguments;
    struct argument argument;
    (void)fprintf(out, "  '%s') specifications+=(\n", cli_commands[i].name);
    zsh_options(out, cli_commands[i].options);
    while (argument_next(&arguments, &argument)) {
      (void)fprintf(out, "    '%s", argument.repeated ? "*" : "");
      zsh_argument(out, argument.name);
      (void)fputs("'\n", out);
    }
    (void)fputs("  ) ;;\n", out);
  }
}

void zsh_guised(FILE *out) {
  char flag[CONFIG_NAME];
  (void)fputs("  '') specifications=(\n", out);
  for (size_t i = 0; i < config_flag_count; i++) {
    config_flag_name(config_flags[i].name, flag);
    zsh_option(out, flag, config_flags[i].argument, false, config_flags[i].help);
  }
  for (size_t i = 0; i < config_option_count; i++) {
    config_flag_name(config_options[i].name, flag);
    zsh_option(out, flag, config_options[i].argument, false, config_options[i].help);
  }
  (void)fputs("  ) ;;\n", out);
}
