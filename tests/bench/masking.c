/* guise-bench masking: what making templates (augmentation, mask) and mixing six of them costs beside a
 * training step of freq_ir, measured in turns; and the same with as many public faces as the batch (pool
 * "both"), and with frozen recipes, whose five partners a sample are masked for it alone. */
#include <getopt.h>
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>

#include "core/base/memory.h"
#include "core/base/philox.h"
#include "core/mask/mixing.h"
#include "core/mask/recipe.h"
#include "core/train/augment.h"
#include "tests/bench/bench.h"
#include "tests/bench/network.h"

#define RUNS_MAX 100
#define SHIFT 2u

struct bench {
  struct bench_network_options options;
  uint32_t runs;
  struct bench_network *network;
  struct mask *mask;
  uint8_t *rgb, *shifted;               /* (batch,size,size,3), (threads,size,size,3) */
  float *templates, *scratch, *partner; /* partner: (threads,elements) */
  struct mix *mixes;
  uint32_t *identity;
};

enum { TEMPLATES, MIX, PUBLICS, RECIPES, STEP, PARTS };

/* As the trainer makes a batch. */
static void make_templates(const struct bench *b, uint64_t step) {
  const struct augmentation augmentation = {.shift = SHIFT, .flip = true};
  const size_t elements = mask_elements(b->mask), scratch = mask_scratch(b->mask),
               pixels = (size_t)3 * b->options.size * b->options.size;
#pragma omp parallel for schedule(static)
  for (uint32_t i = 0; i < b->options.batch; i++) {
    const size_t thread = (size_t)omp_get_thread_num();
    struct rng rng;
    rng_init(&rng, 1, RNG_AUGMENT, step, i);
    augment_template(b->mask, &augmentation, &rng, b->rgb + i * pixels, b->shifted + thread * pixels,
                     b->scratch + thread * scratch, b->templates + i * elements);
  }
}

static void mix(const struct bench *b, uint64_t step) {
  for (uint32_t i = 0; i < b->options.batch; i++) {
    float lambda[MIX_MAX];
    struct rng rng;
    rng_init(&rng, 1, RNG_MIX, step, i);
    mix_draw_lambdas(&rng, MIX_MAX, lambda);
    mix_compose(&rng, i, MIX_MAX, lambda, b->identity, b->options.batch, &b->mixes[i]);
  }
  mix_templates(b->mixes, b->options.batch, b->templates, mask_elements(b->mask),
                graph_input_data(bench_network_graph(b->network)));
}

/* As the trainer mixes by recipes: the lead is masked already, its five partners are masked one by one. */
static void mix_recipes(const struct bench *b, uint64_t step) {
  const struct augmentation augmentation = {.shift = SHIFT, .flip = true};
  const size_t elements = mask_elements(b->mask), scratch = mask_scratch(b->mask),
               pixels = (size_t)3 * b->options.size * b->options.size;
  const struct mix_pool pool = {.identities = b->identity, .privates = b->options.batch};
  float *input = graph_input_data(bench_network_graph(b->network));
#pragma omp parallel for schedule(dynamic)
  for (uint32_t i = 0; i < b->options.batch; i++) {
    const size_t thread = (size_t)omp_get_thread_num();
    float *part = b->partner + thread * elements, *out = input + i * elements;
    struct mix mix;
    recipe_compose(1, i, (uint32_t)step, MIX_MAX, 0, &pool, &mix);
    for (size_t e = 0; e < elements; e++)
      out[e] = mix.lambda[0] * b->templates[i * elements + e];
    for (uint32_t j = 1; j < mix.k; j++) {
      struct rng rng;
      recipe_view(1, i, (uint32_t)step, MIX_MAX, j, &rng);
      augment_template(b->mask, &augmentation, &rng, b->rgb + mix.member[j] * pixels,
                       b->shifted + thread * pixels, b->scratch + thread * scratch, part);
      for (size_t e = 0; e < elements; e++)
        out[e] += mix.lambda[j] * part[e];
    }
  }
}

/* Each run's masking over the same run's step. */
static struct bench_spread share(const double *masking, const double *step, uint32_t runs) {
  double shares[RUNS_MAX];
  for (uint32_t i = 0; i < runs; i++)
    shares[i] = masking[i] / step[i];
  return bench_spread(shares, runs);
}

static void print_share(const char *what, struct bench_spread s) {
  (void)printf("%s: %.2f %% of a step (least %.2f, most %.2f)\n", what, s.median * 100, s.least * 100,
               s.most * 100);
}

static int measure(const struct bench *b, struct guise_error *err) {
  static const char *const names[PARTS] = {"augment and mask", "mix, k = 6", "mask public faces",
                                           "mix recipes, k = 6", "freq_ir step"};
  static double seconds[PARTS][RUNS_MAX], whole[RUNS_MAX], masking[RUNS_MAX], open[RUNS_MAX],
      frozen[RUNS_MAX];
  double loss;
  for (uint32_t run = 0; run < b->runs + 1; run++) { /* the first warms up */
    const uint32_t at = run > 0 ? run - 1 : 0;
    const int64_t before = clock_ns();
    make_templates(b, run + b->runs + 1); /* a batch of public faces costs what a batch costs */
    const int64_t opened = clock_ns();
    mix_recipes(b, run);
    const int64_t start = clock_ns();
    make_templates(b, run);
    const int64_t made = clock_ns();
    mix(b, run);
    const int64_t mixed = clock_ns();
    int r = bench_network_step(b->network, run, &seconds[STEP][at], &loss, err);
    if (r < 0)
      return r;
    seconds[TEMPLATES][at] = (double)(made - start) * 1e-9;
    seconds[MIX][at] = (double)(mixed - made) * 1e-9;
    whole[at] = (double)(mixed - start) * 1e-9 + seconds[STEP][at];
    seconds[PUBLICS][at] = (double)(opened - before) * 1e-9;
    seconds[RECIPES][at] = (double)(start - opened) * 1e-9;
    masking[at] = seconds[TEMPLATES][at] + seconds[MIX][at];
    open[at] = masking[at] + seconds[PUBLICS][at];
    frozen[at] = seconds[TEMPLATES][at] + seconds[RECIPES][at];
  }
  (void)printf("%u px, batch %u, %u threads, %u runs: milliseconds a batch, median (least, most)\n",
               b->options.size, b->options.batch, b->options.threads, b->runs);
  /* Before bench_spread() sorts the seconds. */
  const struct bench_spread mixing = share(masking, seconds[STEP], b->runs),
                            public = share(open, seconds[STEP], b->runs),
                            recipes = share(frozen, seconds[STEP], b->runs);
  for (int part = 0; part < PARTS; part++) {
    const struct bench_spread s = bench_spread(seconds[part], b->runs);
    (void)printf("%-20s %8.2f (%8.2f, %8.2f)\n", names[part], s.median * 1e3, s.least * 1e3, s.most * 1e3);
  }
  print_share("masking and mixing", mixing);
  print_share("with a batch of public faces", public);
  print_share("with frozen recipes", recipes);
  struct rusage usage;
  (void)getrusage(RUSAGE_SELF, &usage);
  const struct bench_spread all = bench_spread(whole, b->runs);
  (void)printf("freq_ir with masking and mixing, batch %u, %u threads: %.1f images/s (min %.1f, max %.1f), "
               "peak %ld MiB\n",
               b->options.batch, b->options.threads, b->options.batch / all.median,
               b->options.batch / all.most, b->options.batch / all.least, usage.ru_maxrss >> 10);
  return 0;
}

static int prepare(struct bench *b, struct guise_error *err) {
  const struct bench_network_options *o = &b->options;
  struct mask_constants constants;
  struct rng rng;
  omp_set_num_threads((int)o->threads);
  const struct mask_options options = mask_options_default(MASK_AHM, o->size);
  int r = mask_new(&options, &b->mask, err);
  if (r < 0)
    return r;
  constants = *mask_constants(b->mask);
  for (uint32_t c = 0; c < constants.channels; c++)
    constants.deviation[c] = 20;
  if ((r = mask_set_constants(b->mask, &constants, err)) < 0)
    return r;
  const size_t pixels = (size_t)3 * o->size * o->size;
  b->rgb = tensor_alloc(o->batch * pixels);
  b->shifted = tensor_alloc(o->threads * pixels);
  b->templates = tensor_alloc(o->batch * mask_elements(b->mask) * sizeof(float));
  b->scratch = tensor_alloc(o->threads * mask_scratch(b->mask) * sizeof(float));
  b->partner = tensor_alloc(o->threads * mask_elements(b->mask) * sizeof(float));
  b->mixes = tensor_alloc(o->batch * sizeof(*b->mixes));
  b->identity = tensor_alloc(o->batch * sizeof(*b->identity));
  if (!b->rgb || !b->shifted || !b->templates || !b->scratch || !b->partner || !b->mixes || !b->identity)
    return error_set(err, -ENOMEM, "out of memory");
  rng_init(&rng, 1, RNG_SYNTH, 0, 0);
  for (size_t i = 0; i < o->batch * pixels; i++)
    b->rgb[i] = (uint8_t)rng_u32(&rng);
  for (uint32_t i = 0; i < o->batch; i++)
    b->identity[i] = rng_below(&rng, o->classes);
  return bench_network_new(o, &b->network, err);
}

static void done(struct bench *b) {
  void *buffers[] = {b->rgb, b->shifted, b->templates, b->scratch, b->partner, b->mixes, b->identity};
  for (size_t i = 0; i < ARRAY_SIZE(buffers); i++)
    tensor_free(buffers[i]);
  bench_network_free(b->network);
  mask_free(b->mask);
}

int bench_masking(int argc, char **argv) {
  static const struct option longs[] = {
      {"batch", required_argument, NULL, 'b'},   {"threads", required_argument, NULL, 't'},
      {"size", required_argument, NULL, 's'},    {"runs", required_argument, NULL, 'r'},
      {"classes", required_argument, NULL, 'c'}, {NULL, 0, NULL, 0}};
  struct bench b = {.runs = 7,
                    .options = {.arch = ARCH_FREQ_IR,
                                .batch = 128,
                                .threads = (uint32_t)omp_get_num_procs(),
                                .size = 112,
                                .classes = 757,
                                .width = 1,
                                .winograd = true}};
  struct guise_error err = {0};
  bool bad = false;
  optind = 0; /* argv[0] is an option here, not a program's name */
  argv--, argc++;
  for (int c; (c = getopt_long(argc, argv, "", longs, NULL)) != -1;) {
    const uint32_t value = optarg ? (uint32_t)strtoul(optarg, NULL, 10) : 0;
    if (c == 'b')
      b.options.batch = value;
    else if (c == 't')
      b.options.threads = value;
    else if (c == 's')
      b.options.size = value;
    else if (c == 'r')
      b.runs = value;
    else if (c == 'c')
      b.options.classes = value;
    else
      bad = true;
  }
  if (bad || b.options.batch < MIX_MAX || b.options.threads == 0 || b.options.classes < 2 || b.runs == 0 ||
      b.runs > RUNS_MAX) {
    (void)fprintf(stderr, "guise-bench masking: bad option\n");
    return 2;
  }
  int r = prepare(&b, &err);
  if (r == 0)
    r = measure(&b, &err);
  if (r < 0)
    (void)fprintf(stderr, "guise-bench masking: %s\n", err.text);
  done(&b);
  return r < 0;
}
