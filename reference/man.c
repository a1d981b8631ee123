/* Lists of commands and options in mdoc, the language of man pages: mdoc(7). */
#include <ctype.h>
#include <string.h>

#include "cli/cli.h"
#include "daemon/config.h"
#include "reference/reference.h"

/* ---- text ---- */

#define LINE 72u /* a blank behind this column becomes a newline: mandoc's style */

/* What would be read as a request or an escape is escaped; a new sentence begins a new line. */
static void put_text(FILE *out, const char *text, size_t length, bool wrap) {
  size_t begin = 0; /* of the line */
  for (size_t i = 0; i < length; i++) {
    const char c = text[i];
    if (i == begin && (c == '.' || c == '\''))
      (void)fputs("\\&", out);
    if (c == '\\') {
      (void)fputs("\\e", out);
    } else if (c == '-' && i + 1 < length && text[i + 1] == '-') {
      (void)fputs("\\-", out);
    } else if (c == ' ' && wrap && i > 0 &&
               (strchr(".!?", text[i - 1]) || i + strcspn(text + i + 1, " \n") - begin > LINE)) {
      (void)putc('\n', out);
      begin = i + 1;
    } else {
      (void)putc(c, out);
    }
  }
}

/* A sentence of a help text: with a full stop and, unless it begins with a value ("local: ..."), a capital.
 */
static void put_sentence(FILE *out, const char *text) {
  char sentence[1024];
  (void)snprintf(sentence, sizeof(sentence), "%s", text);
  const size_t length = strlen(sentence);
  if (!memchr(sentence, ':', strcspn(sentence, " ")))
    sentence[0] = (char)toupper((unsigned char)sentence[0]);
  put_text(out, sentence, length, true);
  (void)fputs(length > 0 && strchr(".!?", sentence[length - 1]) ? "\n" : ".\n", out);
}

/* Paragraphs a line; lines that start with a blank are examples. */
static void put_details(FILE *out, const char *text) {
  while (*text) {
    const size_t length = strcspn(text, "\n"), blanks = strspn(text, " ");
    if (blanks > 0)
      (void)fputs(".Dl ", out);
    put_text(out, text + blanks, length - blanks, blanks == 0);
    (void)putc('\n', out);
    text += length + (text[length] == '\n');
  }
}

/* A word behind a macro: nothing that mdoc would take for punctuation. */
static void put_word(FILE *out, const char *word) {
  (void)fputs(isalnum((unsigned char)word[0]) ? " " : " \\&", out);
  for (; *word; word++)
    (void)fputs(*word == '-' ? "\\-" : (const char[]){*word, 0}, out);
}

/* ---- guise ---- */

static void put_flag(FILE *out, const char *name, const char *argument) {
  (void)fprintf(out, " Fl -%s", name);
  if (argument) {
    (void)fputs(" Ar", out);
    put_word(out, argument);
  }
}

static void put_option(FILE *out, const struct cli_option *option) {
  (void)fputs(".It", out);
  if (option->use & OPTION_SHORT)
    (void)fprintf(out, " Fl %c ,", option->letter);
  put_flag(out, option->name, option->argument);
  (void)putc('\n', out);
  put_sentence(out, option->help);
  if (option->use & OPTION_REQUIRED)
    put_sentence(out, "must be given");
  if (option->use & OPTION_REPEATED)
    put_sentence(out, "may be given several times");
}

static void put_options(FILE *out, const struct cli_option *options) {
  (void)fputs(".Bl -tag -width Ds\n", out);
  for (; options->name; options++)
    put_option(out, options);
  (void)fputs(".El\n", out);
}

void man_guise_options(FILE *out) {
  put_options(out, cli_common_options);
}

static void put_command(FILE *out, const struct command *command) {
  const char *arguments = command->arguments;
  struct argument argument;
  (void)fprintf(out, ".It Cm %s", command->name);
  while (argument_next(&arguments, &argument)) {
    (void)fputs(argument.optional ? " Oo Ar" : " Ar", out);
    put_word(out, argument.name);
    (void)fprintf(out, "%s%s", argument.repeated ? " ..." : "", argument.optional ? " Oc" : "");
  }
  for (const struct cli_option *option = command->options; option && option->name; option++) {
    const bool optional = !(option->use & OPTION_REQUIRED);
    (void)fputs(optional ? " Oo" : "", out);
    put_flag(out, option->name, option->argument);
    (void)fputs(optional ? " Oc" : "", out);
  }
  (void)putc('\n', out);
}

void man_guise_commands(FILE *out) {
  (void)fputs(".Bl -tag -width Ds\n", out);
  for (size_t i = 0; i < cli_command_count; i++) {
    const struct command *command = &cli_commands[i];
    put_command(out, command);
    put_sentence(out, command->summary);
    if (command->details)
      put_details(out, command->details);
    if (command->options)
      put_options(out, command->options);
  }
  (void)fputs(".El\n", out);
}

/* ---- guised ---- */

static void put_config_flag(FILE *out, const char *name, const char *argument) {
  char flag[CONFIG_NAME];
  config_flag_name(name, flag);
  (void)fputs(".It", out);
  put_flag(out, flag + 2, argument);
  (void)putc('\n', out);
}

void man_guised_options(FILE *out) {
  (void)fputs(".Bl -tag -width Ds\n", out);
  for (size_t i = 0; i < config_flag_count; i++) {
    put_config_flag(out, config_flags[i].name, config_flags[i].argument);
    put_sentence(out, config_flags[i].help);
  }
  for (size_t i = 0; i < config_option_count; i++) {
    put_config_flag(out, config_options[i].name, config_options[i].argument);
    put_sentence(out, config_options[i].help);
  }
  (void)fputs(".El\n", out);
}

static void put_range(FILE *out, const struct config_option *option) {
  if (option->type != CONFIG_STRING)
    (void)fprintf(out, "From %llu to %llu.\n", (unsigned long long)option->minimum,
                  (unsigned long long)option->maximum);
  if (option->default_value[0]) {
    (void)fputs("The default is\n.Ql", out);
    put_word(out, option->default_value);
    (void)fputs(" .\n", out);
  } else {
    (void)fputs("Empty by default.\n", out);
  }
}

void man_config_options(FILE *out) {
  (void)fputs(".Bl -tag -width Ds\n", out);
  for (size_t i = 0; i < config_option_count; i++) {
    const struct config_option *option = &config_options[i];
    (void)fprintf(out, ".It Ic %s Li = Ar", option->name);
    put_word(out, option->argument);
    (void)putc('\n', out);
    put_sentence(out, option->help);
    put_range(out, option);
    if (option->mutable_)
      (void)fputs("Applied at\n.Dv SIGHUP .\n", out);
  }
  (void)fputs(".El\n", out);
}
