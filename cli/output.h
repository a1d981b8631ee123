/* What the client prints: text that cannot drive the terminal, tables, a progress bar. */
#pragma once

#include <jansson.h>
#include <stdint.h>
#include <stdio.h>

#include "core/base/base.h"

/* Names in archives and messages of a daemon are untrusted: control characters are replaced before they reach
 * a terminal. */
void out_text(FILE *out, const char *text);
/* "state       running" to standard output: a fact with its name before it. */
void out_line(const char *name, const char *text);
/* A field of a CSV file (RFC 4180): in quotes where it would be taken for more than one, or for another. */
void out_csv(FILE *out, const char *text);
/* Pretty JSON and a newline, to standard output. */
void out_json(const json_t *value);

/* Names come from the daemon and become names of local files: no path, and not hidden. */
bool name_is_plain(const char *name);

/* Columns as wide as their widest cell; numbers (cells that start with a digit) to the right. Cells are
 * copied. */
struct table;
#define TABLE_COLUMNS 12
/* columns: 1..TABLE_COLUMNS. NULL when out of memory; the functions below take that and table_print tells it.
 */
struct table *table_new(unsigned columns);
struct table *table_free(struct table *table);
DEFINE_CLEANUP(struct table *, table_free)
/* The next cell, row by row; an error of memory is remembered and told by table_print. */
void table_cell(struct table *table, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* 0 or -ENOMEM. The first row is a heading. */
int table_print(const struct table *table, FILE *out);

/* "1.3 MB", "17 kB" */
void format_bytes(uint64_t bytes, char *ret_text, size_t size);
/* "4 s", "2:05" (minutes), "1:10 h"; "?" when negative */
void format_duration(double seconds, char *ret_text, size_t size);
/* "92.3 %" of a fraction; "-" when it is not a number */
void format_percent(double fraction, char *ret_text, size_t size);

/* A line on standard error that is drawn over itself; nothing when that is no terminal. */
bool bar_possible(void);
unsigned bar_columns(void);                                            /* of the terminal; 80 when unknown */
void bar_draw(double fraction, const char *before, const char *after); /* fraction < 0: no bar, texts only */
void bar_clear(void);

/* Fields of JSON objects that may be missing. The string is borrowed. */
const char *json_text(const json_t *object, const char *key, const char *otherwise);
double json_real_or(const json_t *object, const char *key, double otherwise);
uint64_t json_count(const json_t *object, const char *key);
