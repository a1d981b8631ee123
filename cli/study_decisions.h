/* How each verification pair of a job was decided, for paired comparisons. A file of a study's folder,
 * decisions/JOB.json: {"runs": [[fold, same, pairs], ...], "right": "7fd3..."}. A run is as many consecutive
 * pairs of one fold that are (1) or are not (0) of the same person; "right" has a bit a pair, highest first,
 * that tells whether the k-fold threshold decided it rightly. A hundredth of the size of scores.csv, so that
 * a study's results can be kept. */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

struct decisions {
  uint32_t pairs;
  uint8_t *kind; /* 2 fold + same, modulo 256: tells whether two lists are alike */
  int8_t *right; /* 1 = decided rightly */
};

void decisions_free(struct decisions *decisions); /* what it holds, not the struct */
/* From scores.csv, "pair,fold,same,similarity,accepted" and a line a pair. false = damaged, empty, or out of
 * memory. */
bool decisions_from_scores(const char *csv, struct decisions *ret_decisions);
/* New reference; NULL when out of memory. */
json_t *decisions_json(const struct decisions *decisions);
/* false = damaged, empty, or out of memory. */
bool decisions_from_json(const json_t *json, struct decisions *ret_decisions);
