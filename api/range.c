#include "api/range.h"

#include <sodium.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

/* Digits at *text; -ENOENT without any, -ERANGE when they do not fit (then *text is past them as well). */
static int parse_digits(const char **text, uint64_t *ret_value) {
  uint64_t value = 0;
  const char *p = *text;
  int r = 0;
  if (*p < '0' || *p > '9')
    return -ENOENT;
  for (; *p >= '0' && *p <= '9'; p++)
    if (__builtin_mul_overflow(value, 10u, &value) ||
        __builtin_add_overflow(value, (unsigned)(*p - '0'), &value))
      r = -ERANGE;
  *text = p;
  *ret_value = r == 0 ? value : UINT64_MAX;
  return r;
}

enum range_result range_parse(const char *header, uint64_t size, uint64_t *ret_offset, uint64_t *ret_length) {
  uint64_t first = 0, last = UINT64_MAX;
  if (!header || strncasecmp(header, "bytes=", 6) != 0)
    return RANGE_FULL;
  const char *p = header + 6 + strspn(header + 6, " \t");
  bool has_first = parse_digits(&p, &first) != -ENOENT;
  if (*p++ != '-')
    return RANGE_FULL;
  bool has_last = parse_digits(&p, &last) != -ENOENT;
  p += strspn(p, " \t");
  if (*p || (!has_first && !has_last) || (has_first && has_last && last < first))
    return RANGE_FULL; /* malformed, or several: a server may ignore them */
  if (!has_first) {    /* the last `last` bytes */
    if (last == 0 || size == 0)
      return RANGE_UNSATISFIABLE;
    *ret_length = MIN(last, size);
    *ret_offset = size - *ret_length;
    return RANGE_PART;
  }
  if (first >= size)
    return RANGE_UNSATISFIABLE;
  *ret_offset = first;
  *ret_length = has_last && last < size ? last - first + 1 : size - first;
  return RANGE_PART;
}

bool etag_matches(const char *header, const char *sha256) {
  if (!header)
    return false;
  const char *p = header;
  for (;;) {
    p += strspn(p, " \t,");
    if (!*p)
      return false;
    if (*p == '*')
      return p[1 + strspn(p + 1, " \t")] == 0;
    if (strncmp(p, "W/", 2) == 0)
      p += 2;
    if (*p != '"')
      return false;
    size_t length = strcspn(++p, "\"");
    if (p[length] != '"')
      return false;
    if (length == strlen(sha256) && strncmp(p, sha256, length) == 0)
      return true;
    p += length + 1;
  }
}

bool if_range_holds(const char *header, const char *sha256) {
  size_t length = strlen(sha256);
  return !header || (strlen(header) == length + 2 && header[0] == '"' &&
                     strncmp(header + 1, sha256, length) == 0 && header[length + 1] == '"');
}

void digest_format(const char sha256[SHA256_HEX], char ret_text[DIGEST_TEXT]) {
  unsigned char digest[crypto_hash_sha256_BYTES];
  char base64[DIGEST_TEXT] = "";
  if (sodium_hex2bin(digest, sizeof(digest), sha256, SHA256_HEX - 1, NULL, NULL, NULL) == 0)
    (void)sodium_bin2base64(base64, sizeof(base64), digest, sizeof(digest), sodium_base64_VARIANT_ORIGINAL);
  (void)snprintf(ret_text, DIGEST_TEXT, "sha-256=:%.44s:", base64);
}

/* One member NAME=:BASE64: of the dictionary at *text; *text moves behind it. 1 = sha-256, 0 = another. */
static int digest_member(const char **text, char ret_sha256[SHA256_HEX]) {
  unsigned char digest[crypto_hash_sha512_BYTES];
  size_t length = 0, name = strcspn(*text, "= ,");
  const char *p = *text + name;
  if (name == 0 || strncmp(p, "=:", 2) != 0)
    return -EINVAL;
  p += 2;
  size_t encoded = strcspn(p, ":");
  if (p[encoded] != ':' || sodium_base642bin(digest, sizeof(digest), p, encoded, NULL, &length, NULL,
                                             sodium_base64_VARIANT_ORIGINAL) != 0)
    return -EINVAL;
  bool wanted = name == 7 && strncmp(*text, "sha-256", name) == 0;
  if (wanted && length != crypto_hash_sha256_BYTES)
    return -EINVAL;
  if (wanted)
    (void)sodium_bin2hex(ret_sha256, SHA256_HEX, digest, crypto_hash_sha256_BYTES);
  *text = p + encoded + 1;
  return wanted ? 1 : 0;
}

int digest_parse(const char *header, char ret_sha256[SHA256_HEX]) {
  char sha256[SHA256_HEX];
  int found = 0;
  for (const char *p = header + strspn(header, " \t"); *p;) {
    int r = digest_member(&p, sha256);
    if (r < 0)
      return r;
    found |= r;
    p += strspn(p, " \t");
    if (*p && *p++ != ',')
      return -EINVAL;
    p += strspn(p, " \t");
  }
  if (found)
    memcpy(ret_sha256, sha256, SHA256_HEX);
  return found;
}
