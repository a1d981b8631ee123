#include "core/image/pairs.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

#define PAIRS_BYTES_MAX (64u << 20)
#define FOLDS_WITHOUT_FOLDS 10u /* a list that has none is dealt into so many */
#define TOKEN_MAX 256

struct line {
  char token[4][TOKEN_MAX];
  uint32_t tokens;
};

/* Splits one line at white space. */
static int split_line(const char *text, size_t length, struct line *line) {
  size_t i = 0;
  line->tokens = 0;
  while (i < length) {
    while (i < length && isspace((unsigned char)text[i]))
      i++;
    size_t begin = i;
    while (i < length && !isspace((unsigned char)text[i]))
      i++;
    if (i == begin)
      break;
    if (line->tokens == 4 || i - begin >= TOKEN_MAX || memchr(text + begin, 0, i - begin))
      return -EINVAL;
    memcpy(line->token[line->tokens], text + begin, i - begin);
    line->token[line->tokens++][i - begin] = 0;
  }
  return 0;
}

static uint32_t number(const char *text) {
  uint32_t value = 0;
  if (!*text || strlen(text) > 9)
    return 0;
  for (; *text; text++) {
    if (!isdigit((unsigned char)*text))
      return 0;
    value = value * 10 + (uint32_t)(*text - '0');
  }
  return value;
}

/* Whether an image is called as LFW calls its own: NAME_0001.jpg. */
static bool has_number(const char *image, const char *name, size_t name_length) {
  if (strncmp(image, name, name_length) != 0 || image[name_length] != '_')
    return false;
  const char *digits = image + name_length + 1;
  const size_t count = strspn(digits, "0123456789");
  return count >= 4 && digits[count] == '.';
}

/* NAME N: the image whose stem is NAME_000N; where none of the person's images is called like that, the N-th.
 * Of numbered ones the N-th may be another than meant, since any of them may have been rejected. */
static int find_image(const struct pack *pack, const char *name, uint32_t n, uint32_t *ret_image) {
  uint32_t person, first, count;
  char stem[TOKEN_MAX + 16];
  if (!pack)
    return 0;
  if (pack_find_identity(pack, name, &person) < 0)
    return -ENOENT;
  pack_identity_range(pack, person, &first, &count);
  const int length = snprintf(stem, sizeof(stem), "%s_%04u.", name, n);
  bool numbered = false;
  for (uint32_t i = 0; i < count; i++) {
    const char *image = pack_image_name(pack, first + i);
    if (strncmp(image, stem, (size_t)length) == 0) {
      *ret_image = first + i;
      return 0;
    }
    numbered = numbered || has_number(image, name, strlen(name));
  }
  if (numbered || n > count)
    return -ENOENT;
  *ret_image = first + n - 1;
  return 0;
}

static int parse_pair(const struct line *line, const struct pack *pack, uint32_t at, struct pair_entry *entry,
                      struct guise_error *err) {
  bool same = line->tokens == 3;
  const char *second = same ? line->token[0] : line->token[2];
  uint32_t n = number(line->token[1]), m = number(line->token[same ? 2 : 3]);
  if ((line->tokens != 3 && line->tokens != 4) || n == 0 || m == 0)
    return error_set(err, -EINVAL,
                     "line %u is neither \"NAME N M\" nor \"NAME N NAME M\" with N and M from 1", at);
  entry->same = same || strcmp(line->token[0], second) == 0;
  if (find_image(pack, line->token[0], n, &entry->a) < 0)
    return error_set(err, -EINVAL, "line %u: the data set has no image %u of %.200s", at, n, line->token[0]);
  if (find_image(pack, second, m, &entry->b) < 0)
    return error_set(err, -EINVAL, "line %u: the data set has no image %u of %.200s", at, m, second);
  return 0;
}

/* The first line: "FOLDS PAIRS" (so many positive and negative pairs a fold), or "PAIRS" alone. */
static int parse_head(const struct line *line, uint32_t *ret_folds, uint32_t *ret_each,
                      struct guise_error *err) {
  uint32_t a = line->tokens > 0 ? number(line->token[0]) : 0,
           b = line->tokens == 2 ? number(line->token[1]) : 1;
  if (a == 0 || b == 0 || line->tokens > 2 || (line->tokens == 2 && (a < 2 || a > 1000)))
    return error_set(err, -EINVAL,
                     "the first line must be \"FOLDS PAIRS\" (as in LFW's pairs.txt: 10 300) or \"PAIRS\"");
  *ret_folds = line->tokens == 2 ? a : 1;
  *ret_each = line->tokens == 2 ? b : a;
  return 0;
}

static int check_folds(struct pair_entry *entries, uint32_t count, uint32_t folds, uint32_t each,
                       uint32_t *ret_folds, struct guise_error *err) {
  if (count == 0)
    return error_set(err, -EINVAL, "the list has no pairs");
  if (folds > 1 && count != (uint64_t)2 * folds * each)
    return error_set(
        err, -EINVAL,
        "the first line promises %u folds of %u positive and %u negative pairs, but the list has %u pairs",
        folds, each, each, count);
  *ret_folds = folds > 1 ? folds : FOLDS_WITHOUT_FOLDS;
  for (uint32_t i = 0; i < count; i++)
    entries[i].fold = folds > 1 ? i / (2 * each) : i % FOLDS_WITHOUT_FOLDS;
  return 0;
}

int pairs_parse(const char *text, size_t bytes, const struct pack *pack, struct pair_entry **ret_entries,
                uint32_t *ret_count, uint32_t *ret_folds, struct guise_error *err) {
  _cleanup_(freep) struct pair_entry *entries = NULL;
  uint32_t count = 0, capacity = 0, at = 0, folds = 0, each = 0, use_folds = 0;
  if (bytes > PAIRS_BYTES_MAX)
    return error_set(err, -EFBIG, "a pairs list has at most 64 MiB");
  for (size_t i = 0; i < bytes;) {
    const char *newline = memchr(text + i, '\n', bytes - i);
    size_t length = newline ? (size_t)(newline - (text + i)) : bytes - i;
    struct line line;
    at++;
    if (split_line(text + i, length, &line) < 0)
      return error_set(err, -EINVAL, "line %u has more than four words, a word that is too long, or a NUL",
                       at);
    i += length + 1;
    if (line.tokens == 0)
      continue;
    if (folds == 0) {
      int r = parse_head(&line, &folds, &each, err);
      if (r < 0)
        return r;
      continue;
    }
    if (count == capacity) {
      capacity = capacity ? 2 * capacity : 1024;
      struct pair_entry *grown = realloc(entries, capacity * sizeof(*grown));
      if (!grown)
        return error_set(err, -ENOMEM, "out of memory for %u pairs", capacity);
      entries = grown;
    }
    entries[count] = (struct pair_entry){0};
    int r = parse_pair(&line, pack, at, &entries[count], err);
    if (r < 0)
      return r;
    count++;
  }
  int r = check_folds(entries, count, folds, each, &use_folds, err);
  if (r < 0)
    return r;
  *ret_entries = TAKE(entries);
  *ret_count = count;
  *ret_folds = use_folds;
  return 0;
}
