/* Man pages and shell completion of guise and guised. What they say of commands and options is made from the
 * tables that the programs themselves run on (cli/commands.c, daemon/config.c); the rest are templates, the
 * files *.in beside this one. */
#pragma once

#include <stdio.h>

#include "core/base/base.h"

struct cli_option;

/* What a shell can complete an argument with. */
enum completes {
  COMPLETES_NOTHING,
  COMPLETES_FILE,
  COMPLETES_DIRECTORY,
  COMPLETES_CHOICE, /* the words of "this|that" */
};
/* `argument` as in the tables; NULL: nothing. */
enum completes argument_completes(const char *argument);

#define ARGUMENT_NAME 64
struct argument {
  char name[ARGUMENT_NAME]; /* "FILE.json|-" */
  bool optional, repeated;
};
/* The next of a command's arguments ("MODEL|JOB [NAME ...]"); *text moves on. False at the end. */
bool argument_next(const char **text, struct argument *ret_argument);

/* Parts of templates, in the languages mdoc, bash and zsh. */
void man_guise_options(FILE *out);
void man_guise_commands(FILE *out);
void man_guised_options(FILE *out);
void man_config_options(FILE *out); /* of the file */

void bash_guise(FILE *out);
void bash_guised(FILE *out);
void zsh_guise(FILE *out);
void zsh_guised(FILE *out);
