/* guise-bench profile: where a training step's time goes, layer by layer, beside an FMA loop timed in the
 * same run. GFLOP/s count the multiplications and additions of the definition, those with padding too,
 * whatever the algorithm: Winograd does fewer, and may seem faster than the loop. */
#include <math.h>
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/nn/graph.h"
#include "tests/bench/bench.h"

struct total {
  const char *kind, *algorithm, *operation;
  double seconds, flops;
};

static void add(struct total *totals, uint32_t *count, const struct graph_profile_row *row) {
  const char *algorithm = row->algorithm ? row->algorithm : "";
  for (uint32_t i = 0; i <= *count; i++) {
    struct total *total = &totals[i];
    if (i == *count) {
      *total = (struct total){.kind = row->kind, .algorithm = algorithm, .operation = row->operation};
      (*count)++;
    } else if (strcmp(total->kind, row->kind) != 0 || strcmp(total->algorithm, algorithm) != 0 ||
               strcmp(total->operation, row->operation) != 0)
      continue;
    total->seconds += row->seconds;
    total->flops += row->flops;
    return;
  }
}

/* All passes of all convolutions by one algorithm; false: there are none. */
static bool sum_algorithm(const struct total *totals, uint32_t count, const char *algorithm,
                          struct total *ret_sum) {
  bool any = false;
  *ret_sum = (struct total){.kind = "all conv", .algorithm = algorithm, .operation = "all passes"};
  for (uint32_t i = 0; i < count; i++)
    if (strcmp(totals[i].algorithm, algorithm) == 0) {
      ret_sum->seconds += totals[i].seconds;
      ret_sum->flops += totals[i].flops;
      any = true;
    }
  return any;
}

static void print_total(const struct total *t, uint32_t steps, double step_seconds, double peak) {
  const double rate = t->seconds > 0 ? t->flops / t->seconds : 0;
  (void)printf("%-11s %-16s %-9s %9.2f %5.1f%% %9.0f %5.0f%%\n", t->kind, t->operation, t->algorithm,
               t->seconds / steps * 1e3, 100 * t->seconds / steps / step_seconds, rate * 1e-9,
               100 * rate / peak);
}

static int slower_first(const void *a, const void *b) {
  const double x = ((const struct total *)a)->seconds, y = ((const struct total *)b)->seconds;
  return x < y ? 1 : x > y ? -1 : 0;
}

void bench_profile_print(const struct graph *graph, uint32_t steps, double step_seconds,
                         double measured_peak) {
  const double peak = measured_peak > 0 ? measured_peak : INFINITY; /* unknown: 0 % */
  struct total totals[128];
  uint32_t count = 0;
  double inside = 0;
  (void)printf("%-28s %-11s %-16s %-9s %9s %9s %6s\n", "layer", "kind", "operation", "algorithm", "ms a step",
               "GFLOP/s", "of FMA");
  for (uint32_t i = 0; i < graph_profile_rows(graph); i++) {
    struct graph_profile_row row = graph_profile_row(graph, i);
    row.flops *= steps;
    inside += row.seconds;
    if (count < sizeof(totals) / sizeof(totals[0]))
      add(totals, &count, &row);
    const double rate = row.seconds > 0 ? row.flops / row.seconds : 0;
    (void)printf("%-28s %-11s %-16s %-9s %9.3f %9.0f %5.0f%%\n", row.layer, row.kind, row.operation,
                 row.algorithm ? row.algorithm : "", row.seconds / steps * 1e3, rate * 1e-9,
                 100 * rate / peak);
  }
  qsort(totals, count, sizeof(totals[0]), slower_first);
  (void)printf("\n%-11s %-16s %-9s %9s %6s %9s %6s\n", "kind", "operation", "algorithm", "ms a step", "share",
               "GFLOP/s", "of FMA");
  for (uint32_t i = 0; i < count; i++)
    print_total(&totals[i], steps, step_seconds, peak);
  (void)printf("%-38s %9.2f %5.1f%%\n", "head, gradient step, weights' formats",
               (step_seconds - inside / steps) * 1e3, 100 * (1 - inside / steps / step_seconds));
  static const char *const algorithms[] = {"winograd", "direct", "loops", "other"};
  for (size_t i = 0; i < sizeof(algorithms) / sizeof(algorithms[0]); i++) {
    struct total sum;
    if (sum_algorithm(totals, count, algorithms[i], &sum))
      print_total(&sum, steps, step_seconds, peak);
  }
}
