/* guise-reference PROGRAM TEMPLATE OUTPUT: fills a template of a man page or a completion. A line that is
 * nothing but @NAME@ becomes that part of the program's tables; @PROGRAM@ and @VERSION@ are replaced within
 * lines. Part of the build, not installed. */
#include <string.h>
#include <unistd.h>

#include "reference/reference.h"

static const struct part {
  const char *program, *name;
  void (*put)(FILE *out);
} parts[] = {
    {"guise", "@OPTIONS@", man_guise_options},   {"guise", "@COMMANDS@", man_guise_commands},
    {"guised", "@OPTIONS@", man_guised_options}, {"guised", "@FILE_OPTIONS@", man_config_options},
    {"guise", "@BASH_TABLE@", bash_guise},       {"guised", "@BASH_TABLE@", bash_guised},
    {"guise", "@ZSH_TABLE@", zsh_guise},         {"guised", "@ZSH_TABLE@", zsh_guised},
};

static const struct part *find_part(const char *program, const char *line) {
  for (size_t i = 0; i < ARRAY_SIZE(parts); i++)
    if (strcmp(parts[i].program, program) == 0 && strcmp(parts[i].name, line) == 0)
      return &parts[i];
  return NULL;
}

/* False: the line holds a name between @ that nothing is known of. */
static bool put_line(FILE *out, const char *program, const char *line) {
  const struct part *part = find_part(program, line);
  if (part) {
    part->put(out);
    return true;
  }
  while (*line) {
    if (strncmp(line, "@PROGRAM@", 9) == 0) {
      (void)fputs(program, out);
      line += 9;
    } else if (strncmp(line, "@VERSION@", 9) == 0) {
      (void)fputs(GUISE_VERSION, out);
      line += 9;
    } else if (line[0] == '@' && line[1] >= 'A' && line[1] <= 'Z') {
      return false;
    } else {
      (void)putc(*line++, out);
    }
  }
  (void)putc('\n', out);
  return true;
}

static int fill(const char *program, const char *path, FILE *in, FILE *out) {
  _cleanup_(freep) char *line = NULL;
  size_t size = 0;
  for (unsigned number = 1;; number++) {
    ssize_t length = getline(&line, &size, in);
    if (length < 0)
      return 0;
    line[strcspn(line, "\n")] = 0;
    if (!put_line(out, program, line)) {
      (void)fprintf(stderr, "%s:%u: nothing of %s is known by this name: %s\n", path, number, program, line);
      return -EINVAL;
    }
  }
}

int main(int argc, char **argv) {
  if (argc != 4) {
    (void)fputs("usage: guise-reference guise|guised TEMPLATE OUTPUT\n", stderr);
    return 2;
  }
  FILE *in = fopen(argv[2], "re"), *out = in ? fopen(argv[3], "we") : NULL;
  if (!out) {
    perror(in ? argv[3] : argv[2]);
    if (in)
      (void)fclose(in);
    return 1;
  }
  int r = fill(argv[1], argv[2], in, out);
  (void)fclose(in);
  if (fclose(out) != 0) {
    perror(argv[3]);
    r = -EIO;
  }
  if (r < 0)
    (void)unlink(argv[3]);
  return r < 0 ? 1 : 0;
}
