/* --help: the overview and one command's usage, from the table of commands. */
#include <string.h>

#include "cli/cli.h"

#define WIDTH 100u /* of a line of help */
#define COLUMN 24u /* where the help of an option starts */

/* Words of `text` up to the newline or the end, in lines of WIDTH; `column` is where the first line stands,
 * the others start at `indent`. Returns what is left. */
static const char *put_paragraph(FILE *out, unsigned column, unsigned indent, const char *text) {
  while (*text && *text != '\n') {
    const unsigned length = (unsigned)strcspn(text, " \n");
    if (column > indent && column + 1 + length > WIDTH) {
      (void)fprintf(out, "\n%*s", (int)indent, "");
      column = indent;
    }
    column += (unsigned)fprintf(out, "%s%.*s", column > indent ? " " : "", (int)length, text);
    text += length;
    text += *text == ' ';
  }
  (void)putc('\n', out);
  return text + (*text == '\n');
}

static void put_details(FILE *out, const char *text) {
  while (*text) {
    if (*text != ' ') {
      text = put_paragraph(out, 0, 0, text);
      continue;
    }
    const int length = (int)strcspn(text, "\n");
    (void)fprintf(out, "%.*s\n", length, text);
    text += length + (text[length] == '\n');
  }
}

static void put_options(FILE *out, const struct cli_option *options) {
  for (const struct cli_option *option = options; option && option->name; option++) {
    const char letter[] = {'-', option->letter, ',', ' ', 0};
    const int used = fprintf(out, "  %s--%s%s%s", option->use & OPTION_SHORT ? letter : "", option->name,
                             option->argument ? " " : "", option->argument ? option->argument : "");
    const unsigned column = (unsigned)MAX(used, 0) + 2;
    if (column > COLUMN)
      (void)fprintf(out, "\n%*s", (int)COLUMN, "");
    else
      (void)fprintf(out, "%*s", (int)(COLUMN - column + 2), "");
    (void)put_paragraph(out, COLUMN, COLUMN, option->help);
  }
}

/* " [--size PX]", " -o DIR", " [--set POINTER=VALUE ...]" */
static void put_usage(FILE *out, const struct cli_option *option) {
  const char letter[] = {option->letter, 0};
  const bool is_short = option->use & OPTION_SHORT, optional = !(option->use & OPTION_REQUIRED);
  (void)fprintf(out, " %s%s%s%s%s%s%s", optional ? "[" : "", is_short ? "-" : "--",
                is_short ? letter : option->name, option->argument ? " " : "",
                option->argument ? option->argument : "", option->use & OPTION_REPEATED ? " ..." : "",
                optional ? "]" : "");
}

void help_usage(const struct command *command, FILE *out) {
  (void)fprintf(out, "usage: guise [OPTIONS] %s%s%s", command->name, command->arguments[0] ? " " : "",
                command->arguments);
  for (const struct cli_option *option = command->options; option && option->name; option++)
    put_usage(out, option);
  (void)putc('\n', out);
}

void help_command(const struct command *command, FILE *out) {
  help_usage(command, out);
  (void)fprintf(out, "\n%s\n", command->summary);
  if (command->details)
    put_details(out, command->details);
  if (command->options) {
    (void)putc('\n', out);
    put_options(out, command->options);
  }
  (void)fputs("\nguise --help tells the options that every command takes\n", out);
}

void help_overview(FILE *out) {
  (void)fputs(
      "usage: guise [OPTIONS] COMMAND [ARGUMENTS]\n\n"
      "Client of guised, the privacy-preserving training service for face recognition.\n\ncommands:\n",
      out);
  for (size_t i = 0; i < cli_command_count; i++)
    (void)fprintf(out, "  %-16s  %s\n", cli_commands[i].name, cli_commands[i].summary);
  (void)fputs("\noptions:\n", out);
  put_options(out, cli_common_options);
  (void)fputs("\nguise COMMAND --help tells more of a command. A daemon that wants a token gets the one in "
              "$GUISE_TOKEN,\nelse in the file $GUISE_TOKEN_FILE.\n",
              out);
}
