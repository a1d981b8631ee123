#include "api/page.h"

#include <inttypes.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>

#include "core/base/json.h"

void cursor_format(const char *list, int64_t row, char ret_text[CURSOR_TEXT]) {
  char plain[32];
  (void)snprintf(plain, sizeof(plain), "%.8s:%" PRId64, list, row);
  (void)sodium_bin2base64(ret_text, CURSOR_TEXT, (const unsigned char *)plain, strlen(plain),
                          sodium_base64_VARIANT_URLSAFE_NO_PADDING);
}

int cursor_parse(const char *list, const char *text, int64_t *ret_row) {
  char plain[32], again[CURSOR_TEXT], *end;
  size_t length = 0, prefix = MIN(strlen(list), (size_t)8);
  if (sodium_base642bin((unsigned char *)plain, sizeof(plain) - 1, text, strlen(text), NULL, &length, NULL,
                        sodium_base64_VARIANT_URLSAFE_NO_PADDING) != 0)
    return -EINVAL;
  plain[length] = 0;
  if (strncmp(plain, list, prefix) != 0 || plain[prefix] != ':')
    return -EINVAL;
  errno = 0;
  long long row = strtoll(plain + prefix + 1, &end, 10);
  if (errno || row <= 0)
    return -EINVAL;
  cursor_format(list, row, again); /* one spelling only */
  if (*end || strcmp(again, text) != 0)
    return -EINVAL;
  *ret_row = row;
  return 0;
}

void page_parse(const struct target *target, const char *list, struct store_page *ret_page,
                struct spec_problems *problems) {
  const char *limit = target_query(target, "limit", 0), *cursor = target_query(target, "cursor", 0);
  struct store_page page = {.limit = 100};
  if (limit) {
    size_t digits = strspn(limit, "0123456789");
    page.limit = digits > 0 && digits <= 3 && !limit[digits] ? (uint32_t)strtoul(limit, NULL, 10) : 0;
    if (page.limit < 1 || page.limit > 100)
      (void)spec_problems_add(problems, "?limit", "out_of_range",
                              json_pack("{s:i, s:i}", "minimum", 1, "maximum", 100),
                              "limit must be an integer from 1 to 100");
  }
  if (cursor && cursor_parse(list, cursor, &page.cursor) < 0)
    (void)spec_problems_add(problems, "?cursor", "unknown_value", NULL,
                            "cursor must be a value of `next` that this list gave");
  *ret_page = page;
}

/* How often the parameter may stand in an address. */
static uint32_t times_known(const char *known, const char *name) {
  size_t length = strlen(name);
  for (const char *p = known; *p; p += strcspn(p, ","), p += *p == ',')
    if (length > 0 && strcspn(p, "*,") == length && strncmp(p, name, length) == 0)
      return p[length] == '*' ? TARGET_QUERIES : 1;
  return 0;
}

static json_t *known_json(const char *known) {
  json_t *array = json_array();
  for (const char *p = known; array && *p; p += strcspn(p, ","), p += *p == ',')
    array = json_append(array, json_stringn(p, strcspn(p, "*,")));
  return array;
}

bool query_flag(const struct target *target, const char *name) {
  const char *text = target_query(target, name, 0);
  return text && strcmp(text, "true") == 0;
}

/* Parameters that are true or false, whichever the route. */
static bool is_flag(const char *name) {
  return strcmp(name, "dry_run") == 0 || strcmp(name, "unsafe") == 0 || strcmp(name, "key") == 0 ||
         strcmp(name, "head") == 0;
}

static void check_flag(const char *name, const char *value, struct spec_problems *problems) {
  char pointer[16];
  if (strcmp(value, "true") == 0 || strcmp(value, "false") == 0)
    return;
  (void)snprintf(pointer, sizeof(pointer), "?%s", name);
  (void)spec_problems_add(problems, pointer, "unknown_value", json_pack("[b, b]", 1, 0),
                          "%s is true or false", name);
}

void query_check(const struct target *target, const char *known, struct spec_problems *problems) {
  char pointer[128];
  for (uint32_t i = 0; i < target->queries; i++) {
    const char *name = target->query[i].name;
    const uint32_t times = times_known(known, name);
    (void)snprintf(pointer, sizeof(pointer), "?%.60s", name);
    if (times == 0)
      (void)spec_problems_add(problems, pointer, "unknown_field", known_json(known),
                              "there is no such query parameter here");
    else if (target_query(target, name, times) && target_query(target, name, 1) == target->query[i].value)
      (void)spec_problems_add(problems, pointer, "conflict", NULL, "%s is given more than once: give it once",
                              name);
    else if (is_flag(name))
      check_flag(name, target->query[i].value, problems);
  }
}

char *page_link(const char *raw, const char *cursor) {
  size_t path = strcspn(raw, "?"), size = 0;
  char *text = NULL;
  FILE *out = open_memstream(&text, &size);
  if (!out)
    return NULL;
  (void)fprintf(out, "<%.*s?", (int)path, raw);
  for (const char *p = raw + path + (raw[path] == '?'); *p;) {
    size_t length = strcspn(p, "&");
    if (length > 0 && strncmp(p, "cursor=", 7) != 0)
      (void)fprintf(out, "%.*s&", (int)length, p);
    p += length + (p[length] == '&');
  }
  (void)fprintf(out, "cursor=%s>; rel=\"next\"", cursor);
  if (fclose(out) != 0) {
    free(text);
    return NULL;
  }
  return text;
}
