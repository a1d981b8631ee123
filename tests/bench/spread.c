#include <stdlib.h>

#include "tests/bench/bench.h"

static int compare(const void *a, const void *b) {
  const double x = *(const double *)a, y = *(const double *)b;
  return x < y ? -1 : x > y;
}

struct bench_spread bench_spread(double *values, uint32_t count) {
  qsort(values, count, sizeof(double), compare);
  return (struct bench_spread){values[count / 2], values[0], values[count - 1]};
}
