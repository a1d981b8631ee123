/* JSON in the one form that RFC 8785 (JSON Canonicalization Scheme) allows, so that equal values have equal
 * hashes: keys sorted, nothing between tokens, numbers as ECMAScript writes doubles. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/base.h"
#include "core/base/json.h"

#define DIGITS_MAX 17 /* tell any double from its neighbours */

static void put_string(FILE *out, const char *text) {
  static const char plain[] = "\b\t\n\f\r\"\\", letters[] = "btnfr\"\\";
  (void)fputc('"', out);
  for (const char *p = text; *p; p++) {
    const char *found = strchr(plain, *p);
    if (found)
      (void)fprintf(out, "\\%c", letters[found - plain]);
    else if ((unsigned char)*p < 0x20)
      (void)fprintf(out, "\\u%04x", (unsigned)*p);
    else
      (void)fputc(*p, out);
  }
  (void)fputc('"', out);
}

/* The fewest digits that read back as the number; ret_point: how many of them stand before the point. */
static void find_digits(double number, char ret_digits[static DIGITS_MAX + 1], int *ret_point) {
  char text[40];
  int count = 0;
  do
    (void)snprintf(text, sizeof(text), "%.*e", count++, number);
  while (count < DIGITS_MAX && strtod(text, NULL) != number);
  const char *exponent = strchr(text, 'e');
  size_t length = 0;
  for (const char *p = text; p < exponent; p++)
    if (*p != '.')
      ret_digits[length++] = *p;
  ret_digits[length] = 0;
  *ret_point = (int)strtol(exponent + 1, NULL, 10) + 1;
}

/* ECMAScript's Number::toString */
static void put_number(FILE *out, double number) {
  char digits[DIGITS_MAX + 1];
  int point, count;
  if (number == 0) { /* also -0 */
    (void)fputc('0', out);
    return;
  }
  find_digits(fabs(number), digits, &point);
  count = (int)strlen(digits);
  if (number < 0)
    (void)fputc('-', out);
  if (count <= point && point <= 21)
    (void)fprintf(out, "%s%.*s", digits, point - count, "000000000000000000000");
  else if (0 < point && point <= 21)
    (void)fprintf(out, "%.*s.%s", point, digits, digits + point);
  else if (-6 < point && point <= 0)
    (void)fprintf(out, "0.%.*s%s", -point, "00000", digits);
  else
    (void)fprintf(out, "%c%s%se%+d", digits[0], count > 1 ? "." : "", digits + 1, point - 1);
}

static int put_value(FILE *out, const json_t *json);

static int by_key(const void *a, const void *b) {
  const char *const *x = a, *const *y = b;
  return strcmp(*x, *y);
}

static int put_object(FILE *out, const json_t *object) {
  const size_t count = json_object_size(object);
  _cleanup_(freep) const char **keys = calloc(count + 1, sizeof(*keys));
  const char *key;
  json_t *value;
  size_t found = 0;
  int r = keys ? 0 : -ENOMEM;
  if (r < 0)
    return r;
  json_object_foreach((json_t *)object, key, value) keys[found++] = key;
  qsort(keys, count, sizeof(*keys), by_key);
  (void)fputc('{', out);
  for (size_t i = 0; i < count && r == 0; i++) {
    if (i > 0)
      (void)fputc(',', out);
    put_string(out, keys[i]);
    (void)fputc(':', out);
    r = put_value(out, json_object_get(object, keys[i]));
  }
  (void)fputc('}', out);
  return r;
}

static int put_array(FILE *out, const json_t *array) {
  int r = 0;
  (void)fputc('[', out);
  for (size_t i = 0; i < json_array_size(array) && r == 0; i++) {
    if (i > 0)
      (void)fputc(',', out);
    r = put_value(out, json_array_get(array, i));
  }
  (void)fputc(']', out);
  return r;
}

static int put_value(FILE *out, const json_t *json) {
  if (json_is_object(json))
    return put_object(out, json);
  if (json_is_array(json))
    return put_array(out, json);
  if (json_is_string(json))
    put_string(out, json_string_value(json));
  else if (json_is_number(json))
    put_number(out, json_number_value(json));
  else
    (void)fputs(json_is_true(json) ? "true" : json_is_false(json) ? "false" : "null", out);
  return 0;
}

char *json_canonical(const json_t *json) {
  char *text = NULL;
  size_t size = 0;
  FILE *out = json ? open_memstream(&text, &size) : NULL;
  if (!out)
    return NULL;
  int r = put_value(out, json);
  if (fclose(out) != 0 || r < 0) {
    free(text);
    return NULL;
  }
  return text;
}
