#include "cli/study_decisions.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/base.h"

#define PAIRS_MOST (1u << 24)
#define FOLDS_MOST 128u /* of which kinds are told apart */

void decisions_free(struct decisions *d) {
  free(d->kind);
  free(d->right);
  *d = (struct decisions){.pairs = 0};
}

static bool allocate(size_t pairs, struct decisions *d) {
  *d = (struct decisions){.pairs = 0, .kind = malloc(pairs + 1), .right = malloc(pairs + 1)};
  if (d->kind && d->right)
    return true;
  decisions_free(d);
  return false;
}

bool decisions_from_scores(const char *csv, struct decisions *ret_decisions) {
  struct decisions d;
  size_t lines = 0;
  for (const char *p = csv; (p = strchr(p, '\n')); p++)
    lines++;
  if (!allocate(lines, &d))
    return false;
  bool good = strncmp(csv, "pair,fold,same,", 15) == 0;
  for (const char *p = good ? strchr(csv, '\n') + 1 : ""; good && *p; p = strchr(p, '\n') + 1) {
    unsigned pair, fold, same, accepted;
    good = strchr(p, '\n') &&
           sscanf(p, "%u,%u,%u,%*f,%u", &pair, &fold, &same, &accepted) == 4 && /* NOLINT(cert-err34-c) */
           pair == d.pairs;
    if (!good)
      break;
    d.kind[pair] = (uint8_t)(2 * fold + (same != 0));
    d.right[pair] = (same != 0) == (accepted != 0);
    d.pairs++;
  }
  if (!good || d.pairs == 0) {
    decisions_free(&d);
    return false;
  }
  *ret_decisions = d;
  return true;
}

/* ---- as JSON ---- */

static json_t *runs_of(const struct decisions *d) {
  json_t *runs = json_array();
  for (uint32_t begin = 0, end; runs && begin < d->pairs; begin = end) {
    for (end = begin; end < d->pairs && d->kind[end] == d->kind[begin];)
      end++;
    const int fold = d->kind[begin] / 2, same = d->kind[begin] % 2;
    if (json_array_append_new(runs, json_pack("[i,i,I]", fold, same, (json_int_t)(end - begin))) < 0) {
      json_decref(runs);
      return NULL;
    }
  }
  return runs;
}

json_t *decisions_json(const struct decisions *d) {
  const size_t digits = ((size_t)d->pairs + 3) / 4;
  _cleanup_(freep) char *right = malloc(digits + 1);
  if (!right)
    return NULL;
  for (size_t i = 0; i < digits; i++) {
    unsigned digit = 0;
    for (size_t pair = 4 * i; pair < 4 * i + 4; pair++)
      digit = 2 * digit + (pair < d->pairs && d->right[pair] == 1);
    right[i] = "0123456789abcdef"[digit];
  }
  right[digits] = 0;
  return json_pack("{s:o,s:s}", "runs", runs_of(d), "right", right);
}

/* Pairs of all runs; 0 when a run is none. */
static uint32_t count_pairs(const json_t *runs) {
  const json_t *run;
  size_t i;
  json_int_t pairs = 0;
  json_array_foreach(runs, i, run) {
    const json_int_t fold = json_integer_value(json_array_get(run, 0)),
                     same = json_integer_value(json_array_get(run, 1)),
                     length = json_integer_value(json_array_get(run, 2));
    if (fold < 0 || fold >= (json_int_t)FOLDS_MOST || (same != 0 && same != 1) || length < 1 ||
        length > (json_int_t)PAIRS_MOST - pairs)
      return 0;
    pairs += length;
  }
  return (uint32_t)pairs;
}

static int digit_of(char c) {
  return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

bool decisions_from_json(const json_t *json, struct decisions *ret_decisions) {
  const json_t *runs = json_object_get(json, "runs"), *run;
  const char *right = json_string_value(json_object_get(json, "right"));
  const uint32_t pairs = count_pairs(runs);
  struct decisions d;
  size_t i;
  if (pairs == 0 || !right || strlen(right) != ((size_t)pairs + 3) / 4 || !allocate(pairs, &d))
    return false;
  json_array_foreach(runs, i, run) {
    const json_int_t fold = json_integer_value(json_array_get(run, 0)),
                     same = json_integer_value(json_array_get(run, 1)),
                     length = json_integer_value(json_array_get(run, 2));
    memset(d.kind + d.pairs, (int)(2 * fold + same), (size_t)length);
    d.pairs += (uint32_t)length;
  }
  for (uint32_t pair = 0; pair < pairs; pair++) {
    const int digit = digit_of(right[pair / 4]);
    if (digit < 0) {
      decisions_free(&d);
      return false;
    }
    d.right[pair] = (int8_t)(digit >> (3 - pair % 4) & 1);
  }
  *ret_decisions = d;
  return true;
}
