/* guise-bench step, profile and infer: images a second of whole training steps (forward, class head,
 * backward, gradient step) on random templates. Prints the median of the steps, the slowest and the fastest,
 * and the peak of resident memory. */
#include <getopt.h>
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "core/base/philox.h"
#include "core/nn/arch.h"
#include "core/nn/head.h"
#include "tests/bench/bench.h"
#include "tests/bench/peak.h"

#define CHANNELS 183u
#define STEPS_MAX 1000
#define WARM_UP 2

struct options {
  enum arch arch;
  uint32_t batch, threads, size, steps, classes, embedding;
  bool winograd, bfloat16, low_memory, profile, inference;
};

static int parse(int argc, char **argv, struct options *ret_options) {
  static const struct option longs[] = {{"batch", required_argument, NULL, 'b'},
                                        {"threads", required_argument, NULL, 't'},
                                        {"size", required_argument, NULL, 's'},
                                        {"steps", required_argument, NULL, 'n'},
                                        {"classes", required_argument, NULL, 'c'},
                                        {"embedding", required_argument, NULL, 'e'},
                                        {"no-winograd", no_argument, NULL, 'w'},
                                        {"bf16", no_argument, NULL, 'h'},
                                        {"low-memory", no_argument, NULL, 'l'},
                                        {"profile", no_argument, NULL, 'p'},
                                        {NULL, 0, NULL, 0}};
  struct options o = {.batch = 128,
                      .threads = (uint32_t)omp_get_num_procs(),
                      .size = 112,
                      .steps = 7,
                      .classes = 757,
                      .winograd = true};
  if (argc < 1 || arch_from_name(argv[0], &o.arch) < 0)
    return -1;
  for (int c; (c = getopt_long(argc, argv, "", longs, NULL)) != -1;) {
    const unsigned long value = optarg ? strtoul(optarg, NULL, 10) : 0;
    if (c == 'b')
      o.batch = (uint32_t)value;
    else if (c == 't')
      o.threads = (uint32_t)value;
    else if (c == 's')
      o.size = (uint32_t)value;
    else if (c == 'n')
      o.steps = (uint32_t)value;
    else if (c == 'c')
      o.classes = (uint32_t)value;
    else if (c == 'e')
      o.embedding = (uint32_t)value;
    else if (c == 'w')
      o.winograd = false;
    else if (c == 'l')
      o.low_memory = true;
    else if (c == 'p')
      o.profile = true;
    else if (c == 'h')
      o.bfloat16 = true;
    else
      return -1;
  }
  if (o.batch == 0 || o.threads == 0 || o.size < 16 || o.size % 8 != 0 || o.steps == 0 || o.steps > STEPS_MAX)
    return -1;
  if (o.embedding == 0)
    o.embedding = arch_default_embedding(o.arch);
  *ret_options = o;
  return 0;
}

static struct graph *make_graph(const struct options *o, struct guise_error *err) {
  static uint16_t channel[CHANNELS];
  static float mean[CHANNELS], deviation[CHANNELS];
  for (uint32_t i = 0; i < CHANNELS; i++) { /* all but three zig-zag coefficients of each colour */
    channel[i] = (uint16_t)(i / 61 * 64 + 3 + i % 61);
    deviation[i] = 20.0f;
  }
  const struct graph_config config = {.batch = o->batch,
                                      .threads = o->threads,
                                      .training = !o->inference,
                                      .folded = o->inference,
                                      .low_memory = o->low_memory,
                                      .winograd = o->winograd,
                                      .bfloat16 = o->bfloat16,
                                      .seed = 1};
  const struct arch_options options = {.embedding = o->embedding,
                                       .width = 1,
                                       .dropout = 0.2f,
                                       .grid = o->size / 8,
                                       .mask = {CHANNELS, channel, mean, deviation, 40.0f}};
  struct graph *graph = NULL;
  if (graph_new(&config, &graph, err) < 0)
    return NULL;
  (void)arch_describe(graph, o->arch, &options);
  return graph_build(graph, err) < 0 ? graph_free(graph) : graph;
}

static int compare(const void *a, const void *b) {
  const double x = *(const double *)a, y = *(const double *)b;
  return x < y ? -1 : x > y;
}

static double now_seconds(void) {
  return (double)clock_ns() * 1e-9;
}

static int measure(const struct options *o, struct graph *graph, struct head *head, struct guise_error *err) {
  static double seconds[STEPS_MAX];
  const struct head_options loss = {.scale = 30, .margin = 0.3f, .negatives = HEAD_NEGATIVES_OTHERS};
  struct head_label *labels = calloc(o->batch, sizeof(*labels));
  uint32_t *counts = calloc(o->batch, sizeof(*counts));
  if (!labels || !counts)
    return error_set(err, -ENOMEM, "out of memory");
  struct rng rng;
  rng_init(&rng, 1, RNG_SYNTH, 0, 0);
  const size_t values = (size_t)o->batch * CHANNELS * (o->size / 8) * (o->size / 8);
  for (size_t i = 0; i < values; i++)
    graph_input_data(graph)[i] = rng_normal(&rng);
  for (uint32_t i = 0; i < o->batch; i++) {
    labels[i] = (struct head_label){rng_below(&rng, o->classes), 1};
    counts[i] = 1;
  }
  double mean_loss = 0;
  int r = 0;
  for (uint32_t step = 0; r == 0 && step < o->steps + WARM_UP; step++) {
    const int64_t start = clock_ns();
    if (step == WARM_UP && o->profile)
      graph_profile(graph, true);
    r = graph_forward(graph, o->inference ? GRAPH_EVAL : GRAPH_TRAIN, step, err);
    if (r == 0 && !o->inference)
      mean_loss = head_step(head, &loss, graph_output_data(graph), o->batch, labels, 1, counts,
                            graph_output_gradient(graph), NULL, NULL);
    if (r == 0 && !o->inference) {
      r = graph_backward(graph, err);
      graph_sgd(graph, 0.01f, 0.9f, 5e-4f);
      head_sgd(head, 0.01f, 0.9f, 5e-4f);
    }
    if (step >= WARM_UP)
      seconds[step - WARM_UP] = (double)(clock_ns() - start) * 1e-9;
  }
  free(labels);
  free(counts);
  if (r < 0)
    return r;
  double total = 0;
  for (uint32_t i = 0; i < o->steps; i++)
    total += seconds[i];
  if (o->profile) {
    const double peak = bench_peak_flops(o->threads, now_seconds);
    (void)printf("FMA loop: %.0f GFLOP/s with %u threads\n", peak * 1e-9, o->threads);
    bench_profile_print(graph, o->steps, total / o->steps, peak);
  }
  struct rusage usage;
  (void)getrusage(RUSAGE_SELF, &usage);
  qsort(seconds, o->steps, sizeof(double), compare);
  (void)printf("%s%s %u px, batch %u, %u threads%s%s%s: %.1f images/s (min %.1f, max %.1f), peak %ld MiB, "
               "arena %zu MiB, "
               "last loss %.6f\n",
               arch_name(o->arch), o->inference ? " inference" : "", o->size, o->batch, o->threads,
               o->bfloat16 ? ", bf16" : "", o->low_memory ? ", low memory" : "",
               o->winograd || o->bfloat16 ? "" : ", no Winograd", o->batch / seconds[o->steps / 2],
               o->batch / seconds[o->steps - 1], o->batch / seconds[0], usage.ru_maxrss >> 10,
               graph_arena_bytes(graph) >> 20, mean_loss);
  return 0;
}

static int run(int argc, char **argv, bool profile, bool inference) {
  struct options options;
  struct guise_error err = {0};
  if (parse(argc, argv, &options) < 0) {
    (void)fprintf(stderr, "guise-bench step: unknown network or bad option\n");
    return 2;
  }
  options.profile = profile || options.profile;
  options.inference = inference;
  struct graph *graph = make_graph(&options, &err);
  struct head *head = NULL;
  int r = graph ? head_new(options.classes, options.embedding, options.batch, options.threads, HEAD_COSFACE,
                           1, &head, &err)
                : err.code;
  if (r == 0)
    r = measure(&options, graph, head, &err);
  head_free(head);
  graph_free(graph);
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
