/* Growing text for rendered documents. Errors stick: after memory ran out every call does nothing and
 * text_take says so. */
#pragma once

#include <jansson.h>
#include <stddef.h>

#include "core/base/base.h"

struct text {
  char *data; /* NUL-terminated once something was added */
  size_t size, capacity;
  bool failed;
};

#define TEXT_MAX ((size_t)256 << 20) /* bytes; a report of that size is a mistake */

void text_done(struct text *text);
void text_add(struct text *text, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Untrusted text inside an HTML element or a double-quoted attribute. NULL adds nothing. */
void text_add_html(struct text *text, const char *string);
/* Untrusted text inside a Markdown paragraph or table cell: markup is escaped, line breaks become blanks. */
void text_add_markdown(struct text *text, const char *string);
/* Hands the text over; -ENOMEM, then nothing is handed over. */
int text_take(struct text *text, char **ret_string);

/* NAN and infinities become null, since JSON has no word for them. */
json_t *json_real_or_null(double value);
/* Reading documents that may lack things: "" and NAN instead. */
const char *json_text_at(const json_t *object, const char *key);
double json_number_at(const json_t *object, const char *key);
