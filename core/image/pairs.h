/* LFW-style pairs lists: "10\t300", then for each fold 300 positive lines NAME\tN\tM and 300 negative
 * NAME\tN\tNAME\tM. A first line with one number (view 1) means one fold: its pairs are dealt into 10 folds
 * in order. Any white space separates. */
#pragma once

#include <stdint.h>

#include "core/base/base.h"
#include "core/image/pack.h"

struct pair_entry {
  uint32_t a, b; /* images of the pack */
  bool same;
  uint32_t fold;
};

/* Parses untrusted text (at most 64 MiB, checked line by line; err names the line). NAME N is image
 * NAME/NAME_000N.* or, when there is none, the N-th image of NAME in natural order. With pack NULL only the
 * form is checked and a, b stay 0. *ret_entries is freed by the caller. */
int pairs_parse(const char *text, size_t bytes, const struct pack *pack, struct pair_entry **ret_entries,
                uint32_t *ret_count, uint32_t *ret_folds, struct guise_error *err);
