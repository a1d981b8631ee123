/* The configuration's files: "name = value" lines, read by inih. */
#include <ctype.h>
#include <dirent.h>
#include <ini.h>
#include <stdio.h>
#include <string.h>

#include "daemon/config.h"

_Static_assert(CONFIG_LINE == INI_MAX_LINE - 3, "a line and its end");

struct file_reading {
  FILE *file;
  struct config *config;
  const char *path;
  struct guise_error *err;
  int r;
  unsigned line; /* handled so far; inih does not tell */
  bool indented; /* the last one is */
};

/* inih reads through this, so that the line of an error is known. */
static char *count_line(char *line, int size, void *stream) {
  struct file_reading *reading = stream;
  reading->line++;
  char *got = fgets(line, size, reading->file);
  reading->indented = got && isspace((unsigned char)*got);
  return got;
}

static int take_pair(void *user, const char *section, const char *name, const char *value) {
  struct file_reading *reading = user;
  char source[CONFIG_TEXT + 32];
  (void)snprintf(source, sizeof(source), "%s:%u", reading->path, reading->line);
  if (reading->r < 0)
    return 0;
  if (reading->indented) /* inih would replace the value of the line before */
    reading->r = error_set(reading->err, -EINVAL,
                           "%s: the line begins with a blank: write \"name = value\" in one line", source);
  else if (section[0])
    reading->r = error_set(reading->err, -EINVAL,
                           "%s: [%s] is not used here: write plain lines \"name = value\"", source, section);
  else
    reading->r = config_set(reading->config, name, value, source, reading->err);
  return reading->r == 0;
}

static int read_file(struct config *config, const char *path, struct guise_error *err) {
  struct file_reading reading = {.config = config, .path = path, .err = err};
  reading.file = fopen(path, "re");
  if (!reading.file)
    return error_set(err, -errno, "cannot read the configuration %s: %s", path, strerror(errno));
  int line = ini_parse_stream(count_line, &reading, take_pair, &reading);
  (void)fclose(reading.file);
  if (reading.r < 0)
    return reading.r;
  if (line != 0)
    return error_set(err, -EINVAL, "%s:%d: this is no \"name = value\" line of at most %d bytes", path, line,
                     CONFIG_LINE);
  return 0;
}

static int is_drop_in(const struct dirent *entry) {
  const char *dot = strrchr(entry->d_name, '.');
  return entry->d_name[0] != '.' && dot && strcmp(dot, ".conf") == 0;
}

int config_read_files(struct config *config, const char *path, struct guise_error *err) {
  char directory[CONFIG_TEXT + 2], drop_in[2 * CONFIG_TEXT];
  struct dirent **entries = NULL;
  int r = read_file(config, path, err);
  if (r < 0)
    return r;
  (void)snprintf(directory, sizeof(directory), "%s.d", path);
  int count = scandir(directory, &entries, is_drop_in, alphasort);
  if (count < 0)
    return errno == ENOENT || errno == ENOTDIR
               ? 0
               : error_set(err, -errno, "cannot read the directory %s: %s", directory, strerror(errno));
  for (int i = 0; i < count; i++) {
    (void)snprintf(drop_in, sizeof(drop_in), "%s/%s", directory, entries[i]->d_name);
    if (r == 0)
      r = read_file(config, drop_in, err);
    free(entries[i]);
  }
  free(entries);
  return r;
}
