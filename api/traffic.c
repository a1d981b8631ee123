#include "api/traffic.h"

double latency_bound(uint32_t i) {
  static const double bounds[LATENCY_BOUNDS] = {0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1,
                                                0.25,  0.5,    1,     5,    30,    300};
  return bounds[i];
}

struct traffic *traffic_new(size_t operations) {
  struct traffic *traffic = calloc(1, sizeof(*traffic) + operations * sizeof(traffic->operation[0]));
  if (traffic)
    traffic->operations = operations;
  return traffic;
}

void traffic_count(struct traffic *traffic, size_t operation, unsigned status, int64_t took_ns) {
  struct latency *latency = &traffic->operation[MIN(operation, traffic->operations - 1)];
  const double seconds = (double)took_ns * 1e-9;
  uint32_t i = 0;
  while (i < LATENCY_BOUNDS && seconds > latency_bound(i))
    i++;
  atomic_fetch_add(&latency->within[i], 1);
  atomic_fetch_add(&latency->total_us, (unsigned long long)(took_ns / 1000));
  atomic_fetch_add(&traffic->answers[status / 100 % 6], 1);
}
