#include "api/target.h"

#include <string.h>

static int hex_digit(char c) {
  if (c >= '0' && c <= '9')
    return c - '0';
  if (c >= 'a' && c <= 'f')
    return c - 'a' + 10;
  if (c >= 'A' && c <= 'F')
    return c - 'A' + 10;
  return -1;
}

/* Bytes of the UTF-8 sequence at p (checked: no overlong forms, no surrogates), 0 = not UTF-8. */
static size_t utf8_length(const unsigned char *p) {
  static const struct {
    unsigned char mask, lead;
    uint32_t minimum;
  } forms[] = {{0xe0, 0xc0, 0x80}, {0xf0, 0xe0, 0x800}, {0xf8, 0xf0, 0x10000}};
  if (p[0] < 0x80)
    return 1;
  for (size_t n = 0; n < ARRAY_SIZE(forms); n++) {
    if ((p[0] & forms[n].mask) != forms[n].lead)
      continue;
    uint32_t code = p[0] & (unsigned char)~forms[n].mask;
    for (size_t i = 1; i <= n + 1; i++) {
      if ((p[i] & 0xc0) != 0x80)
        return 0;
      code = code << 6 | (p[i] & 0x3f);
    }
    bool surrogate = code >= 0xd800 && code <= 0xdfff;
    return code < forms[n].minimum || surrogate || code > 0x10ffff ? 0 : n + 2;
  }
  return 0;
}

/* Decodes raw[0..length) into *out (advanced past the NUL). */
static int decode(const char *raw, size_t length, bool query, char **out, const char **ret_text,
                  struct guise_error *err) {
  char *start = *out, *to = start;
  for (size_t i = 0; i < length; i++) {
    char c = raw[i];
    if (c == '%') {
      int high = i + 2 < length ? hex_digit(raw[i + 1]) : -1;
      int low = i + 2 < length ? hex_digit(raw[i + 2]) : -1;
      if (high < 0 || low < 0)
        return error_set(err, -EINVAL, "the address has a bad percent escape");
      c = (char)(high << 4 | low);
      i += 2;
    } else if (query && c == '+')
      c = ' ';
    if ((unsigned char)c < 0x20 || c == 0x7f)
      return error_set(err, -EINVAL, "the address holds a control character");
    *to++ = c;
  }
  *to++ = 0;
  for (const char *p = start; *p;) {
    size_t n = utf8_length((const unsigned char *)p);
    if (n == 0)
      return error_set(err, -EINVAL, "the address is not UTF-8");
    p += n;
  }
  *ret_text = start;
  *out = to;
  return 0;
}

static int parse_path(const char *raw, size_t length, struct target *target, char **out,
                      struct guise_error *err) {
  const char *at = raw + 1, *end = raw + length;
  for (;;) {
    const char *text, *slash = memchr(at, '/', (size_t)(end - at));
    const char *stop = slash ? slash : end;
    int r = decode(at, (size_t)(stop - at), false, out, &text, err);
    if (r < 0)
      return r;
    if (strcmp(text, ".") == 0 || strcmp(text, "..") == 0)
      return error_set(err, -EINVAL, "the address holds a relative segment");
    if (target->segments == TARGET_SEGMENTS)
      target->path_too_deep = true;
    else
      target->segment[target->segments++] = text;
    if (!slash)
      return 0;
    at = slash + 1;
  }
}

static int parse_query(const char *raw, struct target *target, char **out, struct guise_error *err) {
  for (const char *at = raw; *at;) {
    size_t length = strcspn(at, "&");
    if (length > 0) {
      const char *equals = memchr(at, '=', length);
      size_t name = equals ? (size_t)(equals - at) : length;
      if (target->queries == TARGET_QUERIES)
        return error_set(err, -EINVAL, "the address has more than %u query parameters", TARGET_QUERIES);
      int r = decode(at, name, true, out, &target->query[target->queries].name, err);
      if (r == 0)
        r = decode(equals ? equals + 1 : at, equals ? length - name - 1 : 0, true, out,
                   &target->query[target->queries].value, err);
      if (r < 0)
        return r;
      target->queries++;
    }
    at += length + (at[length] == '&');
  }
  return 0;
}

int target_parse(const char *raw, struct target *ret_target, struct guise_error *err) {
  size_t length = strlen(raw);
  struct target target = {0};
  if (length > TARGET_BYTES)
    return error_set(err, -ENAMETOOLONG, "the address is longer than %u bytes", TARGET_BYTES);
  if (raw[0] != '/')
    return error_set(err, -EINVAL, "the request target must be a path that starts with /");
  if (strchr(raw, '#'))
    return error_set(err, -EINVAL, "the address holds a fragment");
  /* each piece gains a NUL at most: the separator before it makes room, but for an empty value */
  target.storage = malloc(2 * length + 4);
  if (!target.storage)
    return error_set(err, -ENOMEM, "out of memory");
  char *out = target.storage;
  size_t path = strcspn(raw, "?");
  int r = parse_path(raw, path, &target, &out, err);
  if (r == 0 && raw[path] == '?')
    r = parse_query(raw + path + 1, &target, &out, err);
  if (r < 0) {
    free(target.storage);
    return r;
  }
  *ret_target = target;
  return 0;
}

void target_clear(struct target *target) {
  free(target->storage);
  *target = (struct target){0};
}

const char *target_query(const struct target *target, const char *name, uint32_t index) {
  for (uint32_t i = 0; i < target->queries; i++)
    if (strcmp(target->query[i].name, name) == 0 && index-- == 0)
      return target->query[i].value;
  return NULL;
}
