/* Ids, names and times as the outside world sees them. */
#include <ctype.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "daemon/store.h"

int64_t time_now_ms(void) {
  struct timespec t;
  (void)clock_gettime(CLOCK_REALTIME, &t);
  return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

void time_text(int64_t ms, char ret_text[TIME_TEXT]) {
  int64_t rest = ms % 1000;
  if (rest < 0)
    rest += 1000;
  time_t seconds = (time_t)((ms - rest) / 1000);
  struct tm tm;
  char whole[TIME_TEXT - 6];
  ret_text[0] = 0;
  if (!gmtime_r(&seconds, &tm) || strftime(whole, sizeof(whole), "%Y-%m-%dT%H:%M:%S", &tm) == 0)
    return;
  (void)snprintf(ret_text, TIME_TEXT, "%s.%03uZ", whole, (unsigned)rest % 1000u);
}

static int two_digits(const char *text) {
  bool digits = isdigit((unsigned char)text[0]) && isdigit((unsigned char)text[1]);
  return digits ? (text[0] - '0') * 10 + text[1] - '0' : -1;
}

/* "[.fraction](Z|+hh:mm|-hh:mm)" after the seconds; milliseconds and the offset to subtract. */
static int parse_tail(const char *text, int64_t *ret_ms, int64_t *ret_offset_ms) {
  int64_t ms = 0, scale = 100;
  if (*text == '.') {
    if (!isdigit((unsigned char)*++text))
      return -EINVAL;
    for (; isdigit((unsigned char)*text); text++, scale /= 10)
      ms += (*text - '0') * scale;
  }
  int64_t offset = 0;
  if (*text == '+' || *text == '-') {
    int hours = two_digits(text + 1), minutes = hours < 0 || text[3] != ':' ? -1 : two_digits(text + 4);
    if (minutes < 0 || text[6] || hours > 23 || minutes > 59)
      return -EINVAL;
    offset = (int64_t)(hours * 60 + minutes) * 60000 * (*text == '-' ? -1 : 1);
  } else if ((*text != 'Z' && *text != 'z') || text[1]) {
    return -EINVAL;
  }
  *ret_ms = ms;
  *ret_offset_ms = offset;
  return 0;
}

int time_parse(const char *text, int64_t *ret_ms) {
  struct tm tm = {0}, check;
  int64_t ms, offset;
  const char *tail = strptime(text, "%Y-%m-%dT%H:%M:%S", &tm);
  if (!tail || tail - text != 19 || parse_tail(tail, &ms, &offset) < 0)
    return -EINVAL;
  check = tm;
  time_t seconds = timegm(&check); /* turns 31 February into March */
  if (check.tm_mday != tm.tm_mday || check.tm_mon != tm.tm_mon)
    return -EINVAL;
  *ret_ms = (int64_t)seconds * 1000 + ms - offset;
  return 0;
}

static const char alphabet[] = "abcdefghijklmnopqrstuvwxyz234567"; /* RFC 4648, lower case */
static const char *const prefixes[] = {"ds_", "job_", "mdl_", "tok_"};
#define RANDOM_LETTERS 26

void id_make(const char *prefix, char ret_id[STORE_ID]) {
  unsigned char random[RANDOM_LETTERS];
  size_t at = strlen(prefix);
  randombytes_buf(random, sizeof(random));
  memcpy(ret_id, prefix, at);
  for (size_t i = 0; i < sizeof(random) && at < STORE_ID - 1; i++)
    ret_id[at++] = alphabet[random[i] & 31];
  ret_id[at] = 0;
}

bool id_valid(const char *text) {
  for (size_t i = 0; i < ARRAY_SIZE(prefixes); i++) {
    const size_t length = strlen(prefixes[i]);
    if (strncmp(text, prefixes[i], length) == 0)
      return strspn(text + length, alphabet) == RANDOM_LETTERS && !text[length + RANDOM_LETTERS];
  }
  return false;
}

bool owner_sees(const char *owner, const char *object_owner) {
  return !owner || strcmp(owner, object_owner) == 0;
}

bool name_valid(const char *name) {
  size_t length = strlen(name);
  if (length < 1 || length > 100 || !isalnum((unsigned char)name[0]) || (unsigned char)name[0] > 127)
    return false;
  for (size_t i = 0; i < length; i++) {
    unsigned char c = (unsigned char)name[i];
    if (c > 127 || (!isalnum(c) && c != '.' && c != '_' && c != '-'))
      return false;
  }
  for (size_t i = 0; i < ARRAY_SIZE(prefixes); i++)
    if (strncmp(name, prefixes[i], strlen(prefixes[i])) == 0)
      return false;
  return true;
}
