/* How long answers took, by operation, and what they were. Counters only go up; any thread. */
#pragma once

#include <stdatomic.h>
#include <stdint.h>

#include "core/base/base.h"

#define LATENCY_BOUNDS 13u

struct latency {
  /* up to latency_bound(i) and above bound i-1; the last: above all */
  atomic_ullong within[LATENCY_BOUNDS + 1];
  atomic_ullong total_us;
};
struct traffic {
  atomic_ullong answers[6]; /* by the first digit of their status */
  size_t operations;
  struct latency operation[]; /* rows of the route table, and last what had no route */
};

double latency_bound(uint32_t i);               /* seconds, 0..LATENCY_BOUNDS-1 */
struct traffic *traffic_new(size_t operations); /* NULL when out of memory; free() */
/* From a request's head to its answer, bodies and the wait for a thread included; of a stream to its first
 * byte. */
void traffic_count(struct traffic *traffic, size_t operation, unsigned status, int64_t took_ns);
