#include "tests/integration/support/exposition.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NAME_CHARACTERS "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_"
#define FAMILIES 256
#define SAMPLES 2048

struct reading {
  char family[128], type[16]; /* the present one; "" before the first */
  bool helped;                /* its HELP came */
  char seen[FAMILIES][128];
  unsigned families;
  char *sample[SAMPLES]; /* name{labels} of all */
  unsigned samples;
  /* of a histogram: the labels without le, and the last bound and count */
  char series[256];
  double bound, count;
  bool open; /* its _sum and _count are still to come */
};

static void broken(const char *line, const char *why) {
  fail_msg("%s: %.*s", why, (int)strcspn(line, "\n"), line);
}

static size_t name_length(const char *text, bool metric) {
  if (*text >= '0' && *text <= '9')
    return 0;
  return strspn(text, metric ? NAME_CHARACTERS ":" : NAME_CHARACTERS);
}

static void read_help(struct reading *reading, const char *line) {
  const char *name = line + strlen("# HELP ");
  const size_t length = name_length(name, true);
  if (length == 0 || length >= sizeof(reading->family) || name[length] != ' ' || reading->open)
    broken(line, "HELP");
  (void)snprintf(reading->family, sizeof(reading->family), "%.*s", (int)length, name);
  for (unsigned i = 0; i < reading->families; i++)
    if (strcmp(reading->seen[i], reading->family) == 0)
      broken(line, "a family stands there twice");
  assert_true(reading->families < FAMILIES);
  memcpy(reading->seen[reading->families++], reading->family, sizeof(reading->family));
  reading->helped = true;
  reading->type[0] = reading->series[0] = 0;
}

static void read_type(struct reading *reading, const char *line) {
  static const char *const types[] = {"counter", "gauge", "histogram", "summary"};
  char name[128], type[16], extra;
  bool known = false;
  if (sscanf(line, "# TYPE %127[^ \n] %15[a-z]%c", name, type, &extra) != 3 || extra != '\n' ||
      !reading->helped || strcmp(name, reading->family) != 0 || reading->type[0])
    broken(line, "TYPE");
  for (size_t i = 0; i < 4; i++)
    known |= strcmp(type, types[i]) == 0;
  if (!known ||
      (strcmp(type, "counter") == 0) != (strlen(name) > 6 && strcmp(name + strlen(name) - 6, "_total") == 0))
    broken(line, "a counter's name ends in _total, and no other's");
  memcpy(reading->type, type, sizeof(type));
}

/* {a="b",c="d"}: the place behind it; le is taken out into `bound`. */
static const char *read_labels(const char *line, const char *at, double *bound, char series[256]) {
  size_t used = 0;
  series[0] = 0;
  *bound = NAN;
  if (*at != '{')
    return at;
  do {
    const char *name = ++at;
    size_t length = name_length(name, false);
    if (length == 0 || strncmp(name + length, "=\"", 2) != 0)
      broken(line, "label");
    const char *value = name + length + 2;
    size_t value_length = strcspn(value, "\"\\\n");
    if (value[value_length] != '"')
      broken(line, "a label's value");
    at = value + value_length + 1;
    if (length == 2 && strncmp(name, "le", 2) == 0)
      *bound = strncmp(value, "+Inf", 4) == 0 ? (double)INFINITY : strtod(value, NULL);
    else
      used += (size_t)snprintf(series + used, 256 - used, "%.*s,", (int)(at - name), name);
    assert_true(used < 256);
  } while (*at == ',');
  if (*at != '}')
    broken(line, "labels");
  return at + 1;
}

static void check_bucket(struct reading *reading, const char *line, const char *series, double bound,
                         double count) {
  if (isnan(bound))
    broken(line, "a bucket without le");
  if (!reading->open) {
    (void)snprintf(reading->series, sizeof(reading->series), "%s", series);
    reading->bound = -INFINITY;
    reading->count = 0;
    reading->open = true;
  }
  if (strcmp(reading->series, series) != 0 || bound <= reading->bound || count < reading->count)
    broken(line, "buckets ascend");
  reading->bound = bound;
  reading->count = count;
}

static void check_sample(struct reading *reading, const char *line, const char *suffix, const char *series,
                         double bound, double value) {
  const bool histogram = strcmp(reading->type, "histogram") == 0,
             summary = strcmp(reading->type, "summary") == 0;
  if (histogram && strcmp(suffix, "_bucket") == 0)
    check_bucket(reading, line, series, bound, value);
  else if (histogram && strcmp(suffix, "_count") == 0) {
    if (!reading->open || isfinite(reading->bound) || value != reading->count ||
        strcmp(series, reading->series) != 0)
      broken(line, "_count is the bucket +Inf");
    reading->open = false;
  } else if (!((histogram || summary) && (strcmp(suffix, "_sum") == 0 || strcmp(suffix, "_count") == 0)) &&
             *suffix)
    broken(line, "the name is not its family's");
  else if ((histogram || summary) && !*suffix)
    broken(line, "a sample without _sum or _count");
  if (strcmp(reading->type, "gauge") != 0 && (!isfinite(value) || value < 0))
    broken(line, "counters count");
}

static void read_sample(struct reading *reading, const char *line) {
  const size_t length = name_length(line, true), family = strlen(reading->family);
  char suffix[64], series[256], *end;
  double bound;
  if (!reading->type[0] || length < family || strncmp(line, reading->family, family) != 0 ||
      length - family >= sizeof(suffix))
    broken(line, "a sample outside its family");
  (void)snprintf(suffix, sizeof(suffix), "%.*s", (int)(length - family), line + family);
  const char *at = read_labels(line, line + length, &bound, series);
  char *key = strndup(line, (size_t)(at - line));
  for (unsigned i = 0; i < reading->samples; i++)
    if (strcmp(reading->sample[i], key) == 0)
      broken(line, "a sample stands there twice");
  assert_true(reading->samples < SAMPLES);
  reading->sample[reading->samples++] = key;
  if (*at != ' ')
    broken(line, "one space before the value");
  const double value = strtod(at + 1, &end);
  if (end == at + 1 || *end != '\n')
    broken(line, "the value is a number");
  check_sample(reading, line, suffix, series, bound, value);
}

void exposition_check(const char *text) {
  struct reading *reading = calloc(1, sizeof(*reading));
  assert_non_null(reading);
  assert_true(*text && text[strlen(text) - 1] == '\n');
  for (const char *line = text; *line; line = strchr(line, '\n') + 1)
    if (strncmp(line, "# HELP ", 7) == 0)
      read_help(reading, line);
    else if (strncmp(line, "# TYPE ", 7) == 0)
      read_type(reading, line);
    else
      read_sample(reading, line);
  assert_false(reading->open);
  assert_true(reading->samples > 0);
  for (unsigned i = 0; i < reading->samples; i++)
    free(reading->sample[i]);
  free(reading);
}

double exposition_value(const char *text, const char *sample) {
  const size_t length = strlen(sample);
  for (const char *line = text; *line; line = strchr(line, '\n') + 1)
    if (strncmp(line, sample, length) == 0 && line[length] == ' ')
      return strtod(line + length, NULL);
  fail_msg("%s is not in:\n%s", sample, text);
  return NAN;
}
