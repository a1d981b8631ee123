/* What the service has done since it started, for GET /metrics: counters that only go up. Any thread. */
#pragma once

#include <stdatomic.h>
#include <stdint.h>

#include "core/base/base.h"

#define STATS_CODES 8u /* reasons for which ingest refuses a file, and one more for those not in the list */

struct stats {
  atomic_ullong waits, wait_ms;       /* jobs that began, and what they had waited */
  atomic_ullong ingested;             /* images taken into packs */
  atomic_ullong refused[STATS_CODES]; /* files of archives, by stats_code */
  atomic_ullong inference_refused;    /* images of embed and verify that could not be decoded */
};

void stats_began(struct stats *stats, int64_t waited_ms);
void stats_refused(struct stats *stats, const char *code); /* as struct ingest_callbacks has it */
const char *stats_code(uint32_t i);                        /* 0..STATS_CODES-1; "other" for the last */
