/* guise-bench jobs: what concurrent jobs train together, against one job with all the threads, in turns. */
#include <getopt.h>
#include <omp.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "core/base/base.h"
#include "tests/bench/bench.h"
#include "tests/bench/network.h"

#define JOBS_MAX 64u
#define RUNS_MAX 50u
#define WARM_UP 1u

struct job {
  struct bench_network_options options;
  uint32_t steps;
  double images_per_s; /* -1: failed */
  struct guise_error err;
  pthread_barrier_t *start;
};

/* A job is built and run by one thread, as the daemon's workers do. */
static void *run(void *context) {
  struct job *job = context;
  struct bench_network *network = NULL;
  double seconds, loss, total = 0;
  int r = bench_network_new(&job->options, &network, &job->err);
  for (uint32_t step = 0; r == 0 && step < WARM_UP; step++)
    r = bench_network_step(network, step, &seconds, &loss, &job->err);
  (void)pthread_barrier_wait(job->start);
  for (uint32_t step = 0; r == 0 && step < job->steps; step++) {
    r = bench_network_step(network, WARM_UP + step, &seconds, &loss, &job->err);
    total += seconds;
  }
  job->images_per_s = r < 0 ? -1 : job->steps * job->options.batch / total;
  bench_network_free(network);
  return NULL;
}

/* Images a second of `count` jobs with `threads` each, together. */
static int together(const struct bench_network_options *options, uint32_t count, uint32_t threads,
                    uint32_t steps, double *ret_images_per_s) {
  struct job jobs[JOBS_MAX];
  pthread_t thread[JOBS_MAX];
  pthread_barrier_t start;
  *ret_images_per_s = 0;
  if (pthread_barrier_init(&start, NULL, count) != 0)
    return -ENOMEM;
  uint32_t started = 0;
  for (; started < count; started++) {
    jobs[started] = (struct job){.options = *options, .steps = steps, .start = &start};
    jobs[started].options.threads = threads;
    if (pthread_create(&thread[started], NULL, run, &jobs[started]) != 0) {
      (void)fprintf(stderr, "guise-bench jobs: cannot start thread %u\n", started);
      exit(1); /* the others wait for it for ever */
    }
  }
  int r = 0;
  for (uint32_t i = 0; i < count; i++) {
    (void)pthread_join(thread[i], NULL);
    if (jobs[i].images_per_s < 0) {
      (void)fprintf(stderr, "guise-bench jobs: %s\n", jobs[i].err.text);
      r = -EIO;
    }
    *ret_images_per_s += jobs[i].images_per_s;
  }
  (void)pthread_barrier_destroy(&start);
  return r;
}

static int compare(const struct bench_network_options *options, uint32_t cores, uint32_t runs,
                   uint32_t steps) {
  static double one[RUNS_MAX], many[RUNS_MAX], ratio[RUNS_MAX];
  for (uint32_t i = 0; i < runs; i++) {
    int r = together(options, 1, cores, steps, &one[i]);
    if (r == 0)
      r = together(options, cores, 1, steps, &many[i]);
    if (r < 0)
      return r;
    ratio[i] = many[i] / one[i];
  }
  const struct bench_spread a = bench_spread(one, runs), b = bench_spread(many, runs),
                            c = bench_spread(ratio, runs);
  (void)printf("%s %u px, batch %u: 1 job with %u threads %.1f images/s (%.1f, %.1f), %u jobs with 1 thread "
               "%.1f together "
               "(%.1f, %.1f), ratio %.2f (%.2f, %.2f)\n",
               arch_name(options->arch), options->size, options->batch, cores, a.median, a.least, a.most,
               cores, b.median, b.least, b.most, c.median, c.least, c.most);
  return 0;
}

int bench_jobs(int argc, char **argv) {
  static const struct option longs[] = {{"batch", required_argument, NULL, 'b'},
                                        {"threads", required_argument, NULL, 't'},
                                        {"runs", required_argument, NULL, 'r'},
                                        {"steps", required_argument, NULL, 'n'},
                                        {NULL, 0, NULL, 0}};
  struct bench_network_options options = {
      .batch = 32, .size = 112, .classes = 757, .width = 1, .winograd = true};
  uint32_t cores = (uint32_t)omp_get_num_procs(), runs = 3, steps = 10;
  bool bad = argc < 1 || arch_from_name(argv[0], &options.arch) < 0;
  for (int c; !bad && (c = getopt_long(argc, argv, "", longs, NULL)) != -1;) {
    const uint32_t value = optarg ? (uint32_t)strtoul(optarg, NULL, 10) : 0;
    bad = value == 0 || c == '?';
    if (c == 'b')
      options.batch = value;
    else if (c == 't')
      cores = value;
    else if (c == 'r')
      runs = value;
    else if (c == 'n')
      steps = value;
  }
  if (bad || cores > JOBS_MAX || runs > RUNS_MAX) {
    (void)fprintf(stderr, "guise-bench jobs: unknown network or bad option\n");
    return 2;
  }
  return compare(&options, cores, runs, steps) < 0;
}
