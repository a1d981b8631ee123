#include "cli/output.h"

#include <math.h>
#include <stdarg.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

void out_text(FILE *out, const char *text) {
  for (const unsigned char *p = (const unsigned char *)text; *p; p++) {
    bool c1 = p[0] == 0xc2 && p[1] >= 0x80 && p[1] < 0xa0; /* U+0080..U+009F */
    if (c1)
      p++;
    (void)putc(c1 || *p < 0x20 || *p == 0x7f ? '?' : *p, out);
  }
}

void out_line(const char *name, const char *text) {
  (void)printf("%-10s  ", name);
  out_text(stdout, text);
  (void)putchar('\n');
}

void out_csv(FILE *out, const char *text) {
  const bool quoted = text[strcspn(text, ",\"\r\n")] != 0;
  (void)fputs(quoted ? "\"" : "", out);
  for (; *text; text++)
    (void)fprintf(out, "%s%c", *text == '"' ? "\"" : "", *text);
  (void)fputs(quoted ? "\"" : "", out);
}

void out_json(const json_t *value) {
  (void)json_dumpf(value, stdout, JSON_INDENT(2) | JSON_ENCODE_ANY | JSON_REAL_PRECISION(10));
  (void)putchar('\n');
}

bool name_is_plain(const char *name) {
  return *name && *name != '.' && !strchr(name, '/');
}

/* ---- tables ---- */

struct table {
  unsigned columns;
  char **cell;
  size_t count, capacity;
  bool failed;
};

struct table *table_new(unsigned columns) {
  struct table *table = columns > 0 && columns <= TABLE_COLUMNS ? calloc(1, sizeof(*table)) : NULL;
  if (table)
    table->columns = columns;
  return table;
}

struct table *table_free(struct table *table) {
  if (table) {
    for (size_t i = 0; i < table->count; i++)
      free(table->cell[i]);
    free((void *)table->cell);
    free(table);
  }
  return NULL;
}

void table_cell(struct table *table, const char *format, ...) {
  if (!table || table->failed)
    return;
  if (table->count == table->capacity) {
    size_t capacity = table->capacity ? 2 * table->capacity : 64;
    char **cell = (char **)realloc((void *)table->cell, capacity * sizeof(*cell));
    if (!cell) {
      table->failed = true;
      return;
    }
    table->cell = cell;
    table->capacity = capacity;
  }
  va_list args;
  char *text = NULL;
  va_start(args, format);
  if (vasprintf(&text, format, args) < 0)
    table->failed = true;
  else
    table->cell[table->count++] = text;
  va_end(args);
}

/* Columns on the screen: UTF-8 continuation bytes take none. */
static int width_of(const char *text) {
  int width = 0;
  for (; *text; text++)
    width += ((unsigned char)*text & 0xc0) != 0x80;
  return width;
}

static bool is_number(const struct table *table, size_t i) {
  return i >= table->columns && table->cell[i][0] >= '0' && table->cell[i][0] <= '9';
}

int table_print(const struct table *table, FILE *out) {
  int width[TABLE_COLUMNS] = {0};
  if (!table || table->failed)
    return -ENOMEM;
  for (size_t i = 0; i < table->count; i++)
    width[i % table->columns] = MAX(width[i % table->columns], width_of(table->cell[i]));
  for (size_t i = 0; i < table->count; i++) {
    int pad = width[i % table->columns] - width_of(table->cell[i]);
    bool last = (i + 1) % table->columns == 0;
    if (is_number(table, i)) {
      (void)fprintf(out, "%*s", pad, "");
      pad = 0;
    }
    out_text(out, table->cell[i]);
    (void)fprintf(out, "%*s%s", last ? 0 : pad + 2, "", last ? "\n" : "");
  }
  return 0;
}

/* ---- units ---- */

void format_bytes(uint64_t bytes, char *ret_text, size_t size) {
  static const char *const unit[] = {"kB", "MB", "GB", "TB"};
  double value = (double)bytes;
  size_t i = 0;
  if (bytes < 1000) {
    (void)snprintf(ret_text, size, "%d B", (int)bytes);
    return;
  }
  for (value /= 1000; value >= 999.5 && i + 1 < ARRAY_SIZE(unit); i++)
    value /= 1000;
  (void)snprintf(ret_text, size, "%.*f %s", value < 9.95 ? 1 : 0, value, unit[i]);
}

void format_duration(double seconds, char *ret_text, size_t size) {
  long s = lround(seconds);
  if (!(seconds >= 0) || seconds > 1e9)
    (void)snprintf(ret_text, size, "?");
  else if (s < 60)
    (void)snprintf(ret_text, size, "%ld s", s);
  else if (s < 3600)
    (void)snprintf(ret_text, size, "%ld:%02ld", s / 60, s % 60);
  else
    (void)snprintf(ret_text, size, "%ld:%02ld h", s / 3600, s % 3600 / 60);
}

void format_percent(double fraction, char *ret_text, size_t size) {
  if (isfinite(fraction))
    (void)snprintf(ret_text, size, "%.1f %%", 100 * fraction);
  else
    (void)snprintf(ret_text, size, "-");
}

/* ---- progress bar ---- */

bool bar_possible(void) {
  const char *term = getenv("TERM");
  return isatty(STDERR_FILENO) && term && strcmp(term, "dumb") != 0;
}

unsigned bar_columns(void) {
  struct winsize size;
  return ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : 80;
}

void bar_draw(double fraction, const char *before, const char *after) {
  char line[512] = "";
  if (!bar_possible())
    return;
  /* One column stays free: terminals wrap when the last is written. */
  int room = (int)MIN(bar_columns(), 200u) - 1;
  int width = MIN(room - (int)strlen(before) - (int)strlen(after) - 4, 40);
  if (fraction < 0 || width < 5) {
    (void)snprintf(line, sizeof(line), "%s  %s", before, after);
  } else {
    int done = (int)lround(MIN(fraction, 1.0) * width);
    char bar[64];
    for (int i = 0; i < width; i++)
      bar[i] = i < done ? '#' : '.';
    bar[width] = 0;
    (void)snprintf(line, sizeof(line), "%s [%s] %s", before, bar, after);
  }
  if (room >= 0 && room < (int)sizeof(line))
    line[room] = 0;
  (void)fputs("\r\033[K", stderr);
  out_text(stderr, line);
  (void)fflush(stderr);
}

void bar_clear(void) {
  if (bar_possible()) {
    (void)fputs("\r\033[K", stderr);
    (void)fflush(stderr);
  }
}

/* ---- JSON ---- */

const char *json_text(const json_t *object, const char *key, const char *otherwise) {
  const char *text = json_string_value(json_object_get(object, key));
  return text ? text : otherwise;
}

double json_real_or(const json_t *object, const char *key, double otherwise) {
  const json_t *value = json_object_get(object, key);
  return json_is_number(value) ? json_number_value(value) : otherwise;
}

uint64_t json_count(const json_t *object, const char *key) {
  json_int_t value = json_integer_value(json_object_get(object, key));
  return value > 0 ? (uint64_t)value : 0;
}
