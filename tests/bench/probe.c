/* guise-bench probe: what the policy and its probe cost beside the recogniser, freq_ir, within the trainer
 * itself. Runs are taken in turns: a round is what happens in STRATEGY_EVERY steps of an epoch, and a run as
 * many rounds as it takes until everything has happened that does not happen in each. */
#include <getopt.h>
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>

#include "core/train/trainer.h"
#include "tests/bench/bench.h"

#define RUNS_MAX 100

enum { RECOGNITION, PROBE, UPDATE, PARTS };

struct options {
  const char *pack, *embedder;
  uint32_t batch, threads, size, runs;
};

static void on_phase(void *context, const char *phase) {
  (void)context;
  (void)phase;
}
static void on_progress(void *context, const struct job_progress *progress) {
  (void)context;
  (void)progress;
}
static void on_log(void *context, const char *level, const char *text) {
  (void)context;
  (void)fprintf(stderr, "%s: %s\n", level, text);
}
static int on_checkpoint(void *context, const char *path, uint32_t epochs_done, uint64_t step,
                         const struct metric_row *rows, uint32_t count) {
  (void)context, (void)path, (void)epochs_done, (void)step, (void)rows, (void)count;
  return 0;
}
static enum job_stop on_should_stop(void *context) {
  (void)context;
  return JOB_CONTINUE;
}

static int part(struct trainer *t, int which, struct guise_error *err) {
  if (which == PROBE)
    return trainer_probe_step(t, err);
  if (which == UPDATE)
    return trainer_strategy_step(t, err);
  int r = trainer_recognition_step(t, err);
  t->step++;
  return r;
}

/* Seconds of one round: recognition steps, of which the policy's own part cannot be told apart, then the
 * others. */
static int measure(struct trainer *t, double seconds[PARTS], struct guise_error *err) {
  static const uint32_t times[PARTS] = {STRATEGY_EVERY, STRATEGY_EVERY / PROBE_EVERY, 1};
  for (int which = 0; which < PARTS; which++) {
    const int64_t begin = clock_ns();
    for (uint32_t i = 0; i < times[which]; i++) {
      int r = part(t, which, err);
      if (r < 0)
        return r;
    }
    seconds[which] = (double)(clock_ns() - begin) * 1e-9;
  }
  return 0;
}

static int run(struct trainer *t, const struct options *o, struct guise_error *err) {
  static const char *const names[PARTS] = {"recognition", "probe", "update of the policy"};
  static double all[PARTS][RUNS_MAX], share[RUNS_MAX];
  /* behind the warm-up of the margin, where the policy decides */
  t->step = t->total / 2;
  for (uint32_t i = 0; i < t->data.train.count; i++)
    t->order[i] = i;
  for (uint32_t i = 0; i < o->runs + 1; i++) { /* the first warms up */
    double seconds[PARTS] = {0};
    for (uint32_t round = 0; round < KL_EVERY; round++) {
      double more[PARTS];
      int r = measure(t, more, err);
      if (r < 0)
        return r;
      for (int which = 0; which < PARTS; which++)
        seconds[which] += more[which];
    }
    const uint32_t at = i > 0 ? i - 1 : 0;
    for (int which = 0; which < PARTS; which++)
      all[which][at] = seconds[which];
    share[at] = (seconds[PROBE] + seconds[UPDATE]) / seconds[RECOGNITION];
  }
  (void)printf(
      "%u px, batch %u, %u threads, leak by %s, %u runs: milliseconds in %u steps, median (least, most)\n",
      o->size, t->batch, o->threads, o->embedder ? "embedder" : "SSIM", o->runs, KL_EVERY * STRATEGY_EVERY);
  for (int which = 0; which < PARTS; which++) {
    const struct bench_spread s = bench_spread(all[which], o->runs);
    (void)printf("%-22s %8.1f (%8.1f, %8.1f)\n", names[which], s.median * 1e3, s.least * 1e3, s.most * 1e3);
  }
  const struct bench_spread s = bench_spread(share, o->runs);
  (void)printf("probe and policy: %.1f %% of recognition (least %.1f, most %.1f)\n", s.median * 100,
               s.least * 100, s.most * 100);
  return 0;
}

static int start(const struct options *o, struct guise_error *err) {
  static const struct job_callbacks callbacks = {NULL,          on_phase,       on_progress, on_log,
                                                 on_checkpoint, on_should_stop, NULL};
  struct spec_problems problems = {0};
  struct job_inputs inputs = {.threads = o->threads, .embedder_model = o->embedder};
  struct trainer trainer = {.threads = 1};
  struct job_spec spec;
  json_t *body = json_pack("{s:s, s:s, s:{s:f}, s:{s:i}, s:{s:i, s:i}}", "type", "train", "dataset", "bench",
                           "holdout", "identities", 0.0, "model", "input", (int)o->size, "train", "batch",
                           (int)o->batch, "shift", 2);
  int r = body ? job_spec_parse(body, &spec, &problems) : -ENOMEM;
  json_decref(body);
  if (r < 0) {
    error_set(err, r, "%s", problems.count ? problems.problem[0].detail : "out of memory");
    spec_problems_free(&problems);
    return r;
  }
  r = job_data_open(o->pack, o->size, NULL, &trainer.data, err);
  if (r == 0)
    r = trainer_init(&trainer, &spec, &inputs, &callbacks, err);
  if (r == 0)
    r = run(&trainer, o, err);
  trainer_done(&trainer);
  job_spec_free(&spec);
  return r;
}

int bench_probe(int argc, char **argv) {
  static const struct option longs[] = {
      {"batch", required_argument, NULL, 'b'},    {"threads", required_argument, NULL, 't'},
      {"size", required_argument, NULL, 's'},     {"runs", required_argument, NULL, 'r'},
      {"embedder", required_argument, NULL, 'e'}, {NULL, 0, NULL, 0}};
  struct options o = {.batch = 64, .threads = (uint32_t)omp_get_num_procs(), .size = 112, .runs = 7};
  struct guise_error err = {0};
  bool bad = false;
  optind = 0; /* argv[0] is an option here, not a program's name */
  argv--, argc++;
  for (int c; (c = getopt_long(argc, argv, "", longs, NULL)) != -1;) {
    const uint32_t value = optarg ? (uint32_t)strtoul(optarg, NULL, 10) : 0;
    if (c == 'b')
      o.batch = value;
    else if (c == 't')
      o.threads = value;
    else if (c == 's')
      o.size = value;
    else if (c == 'r')
      o.runs = value;
    else if (c == 'e')
      o.embedder = optarg;
    else
      bad = true;
  }
  if (bad || optind != argc - 1 || o.threads == 0 || o.runs == 0 || o.runs > RUNS_MAX) {
    (void)fputs("guise-bench probe: one pack, and no bad option\n", stderr);
    return 2;
  }
  o.pack = argv[optind];
  int r = start(&o, &err);
  if (r < 0)
    (void)fprintf(stderr, "guise-bench probe: %s\n", err.text);
  return r < 0;
}
