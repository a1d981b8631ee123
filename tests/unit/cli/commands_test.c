/* The table of commands: rows that parsing, help, man page and completion can rely on, and what getopt makes
 * of them. */
#include <getopt.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "cli/cli.h"

static const struct command *find(const char *name) {
  for (size_t i = 0; i < cli_command_count; i++)
    if (strcmp(cli_commands[i].name, name) == 0)
      return &cli_commands[i];
  fail_msg("there is no command %s", name);
  return NULL;
}

/* What `put` prints for a command. */
static void print(void (*put)(const struct command *, FILE *), const struct command *command,
                  char ret_text[4096]) {
  FILE *out = fmemopen(ret_text, 4096, "we");
  assert_non_null(out);
  put(command, out);
  assert_int_equal(fclose(out), 0);
}

static void check_options(const char *of, const struct cli_option *options, const struct cli_option *others) {
  for (const struct cli_option *a = options; a && a->name; a++) {
    assert_true(strlen(a->help) > 5);
    for (const struct cli_option *b = a + 1; b->name; b++)
      if (a->letter == b->letter || strcmp(a->name, b->name) == 0)
        fail_msg("%s: --%s and --%s cannot be told apart", of, a->name, b->name);
    for (const struct cli_option *b = others; b && b->name; b++)
      if (strcmp(a->name, b->name) == 0)
        fail_msg("%s: --%s is an option of every command", of, a->name);
  }
}

static void rows_are_sound(void **state) {
  (void)state;
  check_options("guise", cli_common_options, NULL);
  for (size_t i = 0; i < cli_command_count; i++) {
    const struct command *command = &cli_commands[i];
    check_options(command->name, command->options, cli_common_options);
    assert_true(strlen(command->summary) > 5);
    assert_non_null(command->run);
    for (size_t j = 0; j < cli_command_count; j++) {
      size_t length = strlen(command->name);
      if (i != j && strncmp(cli_commands[j].name, command->name, length) == 0 &&
          (!cli_commands[j].name[length] || cli_commands[j].name[length] == ' '))
        fail_msg("%s hides %s", command->name, cli_commands[j].name);
    }
  }
}

static void usage_shows_what_must_be_given(void **state) {
  (void)state;
  static const struct {
    const char *name, *usage;
  } cases[] = {
      {"dataset add", "usage: guise [OPTIONS] dataset add NAME PATH [--size PX] [--no-wait]\n"},
      {"dataset pairs", "usage: guise [OPTIONS] dataset pairs DATASET [NAME] [FILE]\n"},
      {"dataset ls", "usage: guise [OPTIONS] dataset ls\n"},
      {"study run", "usage: guise [OPTIONS] study run FILE.json -o DIR [--parallel N] [--retry]\n"},
      {"ls", "usage: guise [OPTIONS] ls [--state STATE ...] [--label KEY[:VALUE]] [--limit N]\n"},
  };
  for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
    char text[4096];
    print(help_usage, find(cases[i].name), text);
    assert_string_equal(text, cases[i].usage);
  }
}

static void help_fits_the_terminal(void **state) {
  (void)state;
  for (size_t i = 0; i < cli_command_count; i++) {
    char text[4096];
    print(help_command, &cli_commands[i], text);
    const char *line = strchr(text, '\n') + 1; /* the usage is as long as it is */
    for (size_t length; *line; line += length + 1) {
      length = strcspn(line, "\n");
      if (length > 100)
        fail_msg("%.*s", (int)length, line);
    }
  }
}

static void options_are_parsed(void **state) {
  (void)state;
  char *words[] = {"get", "job_1", "-o", "out", "--unsafe", "model.onnx", "--output=in", "--wrong", NULL};
  const struct cli cli = {.command = find("get")};
  optind = 0;
  opterr = 0;
  assert_int_equal(cli_option(&cli, 8, words), 'o');
  assert_string_equal(optarg, "out");
  assert_int_equal(cli_option(&cli, 8, words), 'u');
  assert_int_equal(cli_option(&cli, 8, words), 'o');
  assert_string_equal(optarg, "in");
  assert_int_equal(cli_option(&cli, 8, words), '?');
  assert_int_equal(cli_option(&cli, 8, words), -1);
  assert_string_equal(words[optind], "job_1");
  assert_string_equal(words[optind + 1], "model.onnx");
}

static void a_command_without_options_takes_none(void **state) {
  (void)state;
  char *words[] = {"show", "-x", "job_1", NULL};
  const struct cli cli = {.command = find("show")};
  optind = 0;
  opterr = 0;
  assert_int_equal(cli_option(&cli, 3, words), '?');
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(rows_are_sound),
      cmocka_unit_test(usage_shows_what_must_be_given),
      cmocka_unit_test(help_fits_the_terminal),
      cmocka_unit_test(options_are_parsed),
      cmocka_unit_test(a_command_without_options_takes_none),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
