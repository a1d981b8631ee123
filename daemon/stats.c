#include "daemon/stats.h"

#include <string.h>

const char *stats_code(uint32_t i) {
  static const char *const codes[STATS_CODES] = {"unsupported_type", "too_large",      "corrupt",
                                                 "bad_path",         "bad_dimensions", "duplicate",
                                                 "decoder_failed",   "other"};
  return codes[MIN(i, STATS_CODES - 1)];
}

void stats_began(struct stats *stats, int64_t waited_ms) {
  atomic_fetch_add(&stats->waits, 1);
  atomic_fetch_add(&stats->wait_ms,
                   (unsigned long long)MAX(waited_ms, 0)); /* the clock may have been set back */
}

void stats_refused(struct stats *stats, const char *code) {
  uint32_t i = 0;
  while (i < STATS_CODES - 1 && strcmp(stats_code(i), code) != 0)
    i++;
  atomic_fetch_add(&stats->refused[i], 1);
}
