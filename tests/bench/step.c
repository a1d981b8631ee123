/* guise-bench step, profile and infer: images a second of whole training steps (forward, class head,
 * backward, gradient step) on random templates. Prints the median of the steps, the slowest and the fastest,
 * and the peak of resident memory. */
#include <getopt.h>
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>

#include "tests/bench/bench.h"
#include "tests/bench/network.h"
#include "tests/bench/peak.h"

#define STEPS_MAX 1000
#define WARM_UP 2

struct options {
  struct bench_network_options network;
  uint32_t steps;
  bool profile;
};

static int parse(int argc, char **argv, struct options *ret_options) {
  static const struct option longs[] = {{"batch", required_argument, NULL, 'b'},
                                        {"threads", required_argument, NULL, 't'},
                                        {"size", required_argument, NULL, 's'},
                                        {"width", required_argument, NULL, 'x'},
                                        {"steps", required_argument, NULL, 'n'},
                                        {"classes", required_argument, NULL, 'c'},
                                        {"embedding", required_argument, NULL, 'e'},
                                        {"no-winograd", no_argument, NULL, 'w'},
                                        {"bf16", no_argument, NULL, 'h'},
                                        {"low-memory", no_argument, NULL, 'l'},
                                        {"profile", no_argument, NULL, 'p'},
                                        {NULL, 0, NULL, 0}};
  struct options o = {.steps = 7,
                      .network = {.batch = 128,
                                  .threads = (uint32_t)omp_get_num_procs(),
                                  .size = 112,
                                  .classes = 757,
                                  .width = 1,
                                  .winograd = true}};
  if (argc < 1 || arch_from_name(argv[0], &o.network.arch) < 0)
    return -1;
  for (int c; (c = getopt_long(argc, argv, "", longs, NULL)) != -1;) {
    const unsigned long value = optarg ? strtoul(optarg, NULL, 10) : 0;
    if (c == 'b')
      o.network.batch = (uint32_t)value;
    else if (c == 't')
      o.network.threads = (uint32_t)value;
    else if (c == 's')
      o.network.size = (uint32_t)value;
    else if (c == 'x')
      o.network.width = strtod(optarg, NULL);
    else if (c == 'n')
      o.steps = (uint32_t)value;
    else if (c == 'c')
      o.network.classes = (uint32_t)value;
    else if (c == 'e')
      o.network.embedding = (uint32_t)value;
    else if (c == 'w')
      o.network.winograd = false;
    else if (c == 'h')
      o.network.bfloat16 = true;
    else if (c == 'l')
      o.network.low_memory = true;
    else if (c == 'p')
      o.profile = true;
    else
      return -1;
  }
  if (o.network.batch == 0 || o.network.threads == 0 || o.network.size < 16 || o.network.size % 8 != 0 ||
      !(o.network.width >= 0.25 && o.network.width <= 4) || o.steps == 0 || o.steps > STEPS_MAX)
    return -1;
  *ret_options = o;
  return 0;
}

static double now_seconds(void) {
  return (double)clock_ns() * 1e-9;
}

static int measure(const struct options *o, struct bench_network *network, struct guise_error *err) {
  static double seconds[STEPS_MAX];
  const struct bench_network_options *n = &o->network;
  struct graph *graph = bench_network_graph(network);
  double mean_loss = 0, total = 0;
  for (uint32_t step = 0; step < o->steps + WARM_UP; step++) {
    if (step == WARM_UP && o->profile)
      graph_profile(graph, true);
    int r = bench_network_step(network, step, &seconds[step < WARM_UP ? 0 : step - WARM_UP], &mean_loss, err);
    if (r < 0)
      return r;
  }
  for (uint32_t i = 0; i < o->steps; i++)
    total += seconds[i];
  if (o->profile) {
    const double peak = bench_peak_flops(n->threads, now_seconds);
    (void)printf("FMA loop: %.0f GFLOP/s with %u threads\n", peak * 1e-9, n->threads);
    bench_profile_print(graph, o->steps, total / o->steps, peak);
  }
  struct rusage usage;
  (void)getrusage(RUSAGE_SELF, &usage);
  const struct bench_spread spread = bench_spread(seconds, o->steps);
  char width[32] = "";
  if (n->width < 1 || n->width > 1)
    (void)snprintf(width, sizeof(width), ", width %g", n->width);
  (void)printf("%s%s %u px%s, batch %u, %u threads%s%s%s: %.1f images/s (min %.1f, max %.1f), peak %ld MiB, "
               "arena %zu MiB, "
               "last loss %.6f\n",
               arch_name(n->arch), n->inference ? " inference" : "", n->size, width, n->batch, n->threads,
               n->bfloat16 ? ", bf16" : "", n->low_memory ? ", low memory" : "",
               n->winograd || n->bfloat16 ? "" : ", no Winograd", n->batch / spread.median,
               n->batch / spread.most, n->batch / spread.least, usage.ru_maxrss >> 10,
               graph_arena_bytes(graph) >> 20, mean_loss);
  return 0;
}

static int run(int argc, char **argv, bool profile, bool inference) {
  struct options options;
  struct guise_error err = {0};
  struct bench_network *network = NULL;
  if (parse(argc, argv, &options) < 0) {
    (void)fprintf(stderr, "guise-bench step: unknown network or bad option\n");
    return 2;
  }
  options.profile |= profile;
  options.network.inference = inference;
  int r = bench_network_new(&options.network, &network, &err);
  if (r == 0)
    r = measure(&options, network, &err);
  bench_network_free(network);
  if (r < 0)
    (void)fprintf(stderr, "guise-bench step: %s\n", err.text);
  return r < 0;
}

int bench_step(int argc, char **argv) {
  return run(argc, argv, false, false);
}

int bench_profile(int argc, char **argv) {
  return run(argc, argv, true, false);
}

int bench_infer(int argc, char **argv) {
  return run(argc, argv, false, true);
}
