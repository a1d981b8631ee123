#include "api/tensor.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- finding ---- */

static bool is_blank(char c) {
  return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

static size_t skip_blanks(const char *text, size_t bytes, size_t at) {
  while (at < bytes && is_blank(text[at]))
    at++;
  return at;
}

/* The index of the quote that ends the string which begins at `at`. */
static size_t string_end(const char *text, size_t bytes, size_t at) {
  while (at < bytes && text[at] != '"')
    at += text[at] == '\\' ? 2 : 1;
  return MIN(at, bytes);
}

/* Behind the bracket that closes the one at `at`; 0 when there is none. Numbers hold neither strings nor
 * brackets. */
static size_t array_end(const char *text, size_t bytes, size_t at) {
  unsigned depth = 0;
  for (; at < bytes; at++) {
    if (text[at] == '[')
      depth++;
    else if (text[at] == ']' && --depth == 0)
      return at + 1;
    else if (text[at] == '"' || text[at] == '{')
      return 0;
  }
  return 0;
}

/* Depth 1 is the request, 2 its list of inputs, 3 an input. What is no JSON is found out by who reads the
 * rest. */
bool tensor_find(const char *text, size_t bytes, size_t *ret_begin, size_t *ret_end) {
  unsigned depth = 0;
  bool inputs = false, data = false;
  for (size_t i = 0; i < bytes; i++) {
    const char c = text[i];
    if (c == '"') {
      const size_t begin = i + 1;
      i = string_end(text, bytes, begin);
      const size_t colon = skip_blanks(text, bytes, i + 1);
      if (colon >= bytes || text[colon] != ':')
        continue;
      const size_t length = i - begin;
      if (depth == 1)
        inputs = length == 6 && memcmp(text + begin, "inputs", 6) == 0;
      else if (depth == 3)
        data = inputs && length == 4 && memcmp(text + begin, "data", 4) == 0;
      i = colon;
    } else if (c == '[' && depth == 3 && data) {
      *ret_begin = i;
      *ret_end = array_end(text, bytes, i);
      return *ret_end > 0;
    } else if (c == '{' || c == '[') {
      depth++;
    } else if ((c == '}' || c == ']') && depth > 0) {
      depth--;
    }
  }
  return false;
}

/* ---- reading ---- */

struct sink {
  const struct tensor_form *form;
  uint8_t *rgb;
  size_t plane, count; /* S S; values so far */
};

static int put(struct sink *sink, double value, struct guise_error *err) {
  const double whole = nearbyint(value);
  if (!(value >= 0 && value <= 255) || (!sink->form->floats && whole != value))
    return error_set(err, -EINVAL, "value %zu is %g: pixels are %s from 0 to 255", sink->count, value,
                     sink->form->floats ? "numbers" : "whole numbers");
  const size_t image = sink->count / (3 * sink->plane), rest = sink->count % (3 * sink->plane);
  sink->rgb[(image * sink->plane + rest % sink->plane) * 3 + rest / sink->plane] = (uint8_t)whole;
  sink->count++;
  return 0;
}

struct cursor {
  const char *at, *end;
  size_t length[4]; /* of the arrays at each level */
  unsigned levels;
  struct sink sink;
};

static char peek(struct cursor *cursor) {
  while (cursor->at < cursor->end && is_blank(*cursor->at))
    cursor->at++;
  return cursor->at < cursor->end ? *cursor->at : 0;
}

static bool is_digit(char c) {
  return c >= '0' && c <= '9';
}

static size_t digits(const char *text) {
  size_t count = 0;
  while (is_digit(text[count]))
    count++;
  return count;
}

/* Behind the number of JSON's grammar at `text`; NULL when there is none. strtod takes more. */
static const char *number_end(const char *text) {
  text += *text == '-';
  size_t count = digits(text);
  if (count == 0 || (*text == '0' && count > 1))
    return NULL;
  text += count;
  if (*text == '.') {
    count = digits(text + 1);
    if (count == 0)
      return NULL;
    text += 1 + count;
  }
  if (*text == 'e' || *text == 'E') {
    text += text[1] == '+' || text[1] == '-' ? 2 : 1;
    count = digits(text);
    if (count == 0)
      return NULL;
    text += count;
  }
  return text;
}

static int read_number(struct cursor *cursor, struct guise_error *err) {
  (void)peek(cursor);
  const char *end = number_end(cursor->at);
  if (!end)
    return error_set(err, -EINVAL, "there is no number where value %zu should be", cursor->sink.count);
  double value = 0;
  if (digits(cursor->at) == (size_t)(end - cursor->at) && end - cursor->at <= 3)
    for (const char *p = cursor->at; p < end; p++)
      value = 10 * value + (*p - '0');
  else
    value = strtod(cursor->at, NULL);
  cursor->at = end;
  return put(&cursor->sink, value, err);
}

static int read_level(struct cursor *cursor, unsigned level,
                      struct guise_error *err) { /* NOLINT(misc-no-recursion): 4 levels */
  if (peek(cursor) != '[')
    return error_set(err, -EINVAL,
                     "there is no array where value %zu should be; data is flat, or nested as shape is",
                     cursor->sink.count);
  cursor->at++;
  for (size_t i = 0; i < cursor->length[level]; i++) {
    if (i > 0 && peek(cursor) != ',')
      return error_set(err, -EINVAL, "after value %zu of what shape promises there is no other",
                       cursor->sink.count);
    cursor->at += i > 0;
    int r = level + 1 < cursor->levels ? read_level(cursor, level + 1, err) : read_number(cursor, err);
    if (r < 0)
      return r;
  }
  if (peek(cursor) != ']')
    return error_set(err, -EINVAL, "there are more values than shape promises, after value %zu",
                     cursor->sink.count);
  cursor->at++;
  return 0;
}

static struct sink make_sink(const struct tensor_form *form, uint8_t *rgb) {
  return (struct sink){.form = form, .rgb = rgb, .plane = (size_t)form->side * form->side};
}

int tensor_read_json(const char *text, size_t bytes, const struct tensor_form *form, uint8_t *ret_rgb,
                     struct guise_error *err) {
  struct cursor cursor = {.at = text, .end = text + bytes, .sink = make_sink(form, ret_rgb)};
  size_t second = 1;
  while (second < bytes && is_blank(text[second]))
    second++;
  if (second < bytes && text[second] == '[') {
    const size_t lengths[] = {form->images, 3, form->side, form->side};
    memcpy(cursor.length, lengths, sizeof(lengths));
    cursor.levels = 4;
  } else {
    cursor.length[0] = form->images * 3 * cursor.sink.plane;
    cursor.levels = 1;
  }
  return read_level(&cursor, 0, err);
}

int tensor_read_binary(const void *data, size_t bytes, const struct tensor_form *form, uint8_t *ret_rgb,
                       struct guise_error *err) {
  struct sink sink = make_sink(form, ret_rgb);
  const size_t values = form->images * 3 * sink.plane, size = form->floats ? sizeof(float) : 1;
  if (bytes != values * size)
    return error_set(err, -EINVAL, "there are %zu bytes of it; its shape takes %zu", bytes, values * size);
  for (size_t i = 0; i < values; i++) {
    float value = 0;
    if (form->floats)
      memcpy(&value, (const char *)data + i * size, sizeof(value));
    else
      value = ((const uint8_t *)data)[i];
    int r = put(&sink, (double)value, err);
    if (r < 0)
      return r;
  }
  return 0;
}
