/* guise-bench dct: microseconds an image of the block DCTs and of whole masks, with one and with two threads:
 * FFTW (core/freq) against plain 8x8 matrices, the up-sampled transform, mask_template. Every run measures
 * each row once, so that rows share whatever else the machine does. */
#include <getopt.h>
#include <math.h>
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>

#include "core/base/memory.h"
#include "core/base/philox.h"
#include "core/freq/dct.h"
#include "core/freq/upsampled.h"
#include "core/mask/mask.h"
#include "tests/bench/bench.h"
#include "tests/bench/dct_matrix.h"

#define RUNS_MAX 101
#define UPSAMPLED_SLOTS \
  16u /* up-sampled coefficients: 9.6 MB an image of 112 pixels, more than caches hold */
#define THREADS_MAX 2

enum { NONE, AHM, MASKS };

struct bench {
  uint32_t batch, size, runs;
  struct block_dct *dct;
  struct upsampled_dct *upsampled;
  struct mask *mask[MASKS];
  uint8_t *rgb; /* (batch,size,size,3) */
  float *planar, *coefficients, *large, *scratch,
      *other; /* of a batch; large: (threads, UPSAMPLED_SLOTS) images */
};

static size_t pixels(const struct bench *b) {
  return (size_t)3 * b->size * b->size;
}
static float *large_of(const struct bench *b, uint32_t i) {
  const size_t slot = (size_t)omp_get_thread_num() * UPSAMPLED_SLOTS + i % UPSAMPLED_SLOTS;
  return b->large + slot * DCT_COEFFICIENTS * pixels(b);
}

/* ---- rows: one image each */

static void colours(const struct bench *b, uint32_t i) {
  rgb_to_ycbcr(b->rgb + i * pixels(b), b->size, i & 1, b->other + i * pixels(b));
}
static void fftw_forward(const struct bench *b, uint32_t i) {
  block_dct_forward(b->dct, b->planar + i * pixels(b), b->coefficients + i * pixels(b));
}
static void fftw_inverse(const struct bench *b, uint32_t i) {
  block_dct_inverse(b->dct, b->coefficients + i * pixels(b), b->other + i * pixels(b));
}
static void matrix_forward(const struct bench *b, uint32_t i) {
  dct_matrix_forward(b->size, b->planar + i * pixels(b), b->coefficients + i * pixels(b));
}
static void matrix_inverse(const struct bench *b, uint32_t i) {
  dct_matrix_inverse(b->size, b->coefficients + i * pixels(b), b->other + i * pixels(b));
}
static void large_forward(const struct bench *b, uint32_t i) {
  upsampled_dct_forward(b->upsampled, b->planar + i * pixels(b), large_of(b, i));
}
static void large_adjoint(const struct bench *b, uint32_t i) {
  upsampled_dct_adjoint(b->upsampled, large_of(b, i), b->other + i * pixels(b));
}
static void large_inverse(const struct bench *b, uint32_t i) {
  upsampled_dct_inverse(b->upsampled, large_of(b, i), b->other + i * pixels(b));
}
static void mask_image(const struct bench *b, const struct mask *mask, uint32_t i) {
  mask_template(mask, b->rgb + i * pixels(b), i & 1, NULL,
                b->scratch + (size_t)omp_get_thread_num() * mask_scratch(mask), b->other + i * pixels(b));
}
static void mask_none_image(const struct bench *b, uint32_t i) {
  mask_image(b, b->mask[NONE], i);
}
static void mask_ahm_image(const struct bench *b, uint32_t i) {
  mask_image(b, b->mask[AHM], i);
}

static const struct row {
  const char *name;
  void (*image)(const struct bench *b, uint32_t i);
  bool matrix, cached; /* cached: one image a thread again and again, as a mask's scratch; else the batch */
} rows[] = {
    {"colours", colours, false, false},
    {"forward, FFTW", fftw_forward, false, false},
    {"forward, matrices", matrix_forward, true, false},
    {"inverse, FFTW", fftw_inverse, false, false},
    {"inverse, matrices", matrix_inverse, true, false},
    {"cached forward, FFTW", fftw_forward, false, true},
    {"cached forward, matrices", matrix_forward, true, true},
    {"cached inverse, FFTW", fftw_inverse, false, true},
    {"cached inverse, matrices", matrix_inverse, true, true},
    {"upsampled forward", large_forward, false, false},
    {"upsampled transpose", large_adjoint, false, false},
    {"upsampled inverse", large_inverse, false, false},
    {"mask_template none", mask_none_image, false, false},
    {"mask_template ahm", mask_ahm_image, false, false},
};

/* ---- the measurement */

static float matrix_error(const struct bench *b) {
  float worst = 0;
  fftw_forward(b, 0);
  dct_matrix_forward(b->size, b->planar, b->other);
  for (size_t i = 0; i < pixels(b); i++)
    worst = fmaxf(worst, fabsf(b->other[i] - b->coefficients[i]));
  dct_matrix_inverse(b->size, b->coefficients, b->other);
  for (size_t i = 0; i < pixels(b); i++)
    worst = fmaxf(worst, fabsf(b->other[i] - b->planar[i]));
  return worst;
}

static double seconds_an_image(const struct bench *b, const struct row *row, int threads) {
  const int64_t start = clock_ns();
#pragma omp parallel for schedule(static) num_threads(threads)
  for (uint32_t i = 0; i < b->batch; i++)
    row->image(b, row->cached ? (uint32_t)omp_get_thread_num() : i);
  return (double)(clock_ns() - start) * 1e-9 / b->batch;
}

static void measure(const struct bench *b) {
  static double seconds[THREADS_MAX][ARRAY_SIZE(rows)][RUNS_MAX];
  const bool matrix = dct_matrix_supported();
  if (matrix)
    (void)printf("FFTW and matrices differ by at most %.2g\n", (double)matrix_error(b));
  for (uint32_t run = 0; run < b->runs + 1; run++) /* the first warms up */
    for (int threads = 1; threads <= THREADS_MAX; threads++)
      for (size_t r = 0; r < ARRAY_SIZE(rows); r++)
        if (matrix || !rows[r].matrix)
          seconds[threads - 1][r][run > 0 ? run - 1 : 0] = seconds_an_image(b, &rows[r], threads);
  (void)printf("%u px, batch %u, %u runs: microseconds an image, median (least, most)\n%-26s %-26s %s\n",
               b->size, b->batch, b->runs, "", "1 thread", "2 threads");
  for (size_t r = 0; r < ARRAY_SIZE(rows); r++) {
    if (rows[r].matrix && !matrix)
      continue;
    (void)printf("%-26s", rows[r].name);
    for (int threads = 0; threads < THREADS_MAX; threads++) {
      const struct bench_spread s = bench_spread(seconds[threads][r], b->runs);
      (void)printf(" %7.1f (%7.1f, %7.1f)", s.median * 1e6, s.least * 1e6, s.most * 1e6);
    }
    (void)printf("\n");
  }
}

static int prepare(struct bench *b, struct guise_error *err) {
  const struct mask_options none = mask_options_default(MASK_NONE, b->size),
                            ahm = mask_options_default(MASK_AHM, b->size);
  const size_t values = b->batch * pixels(b);
  struct rng rng;
  int r = block_dct_new(b->size, &b->dct, err);
  if (r == 0)
    r = upsampled_dct_new(b->size, &b->upsampled, err);
  if (r == 0)
    r = mask_new(&none, &b->mask[NONE], err);
  if (r == 0)
    r = mask_new(&ahm, &b->mask[AHM], err);
  if (r < 0)
    return r;
  b->rgb = tensor_alloc(values);
  b->planar = tensor_alloc(values * sizeof(float));
  b->coefficients = tensor_alloc(values * sizeof(float));
  b->other = tensor_alloc(values * sizeof(float));
  b->large = tensor_alloc(THREADS_MAX * UPSAMPLED_SLOTS * DCT_COEFFICIENTS * pixels(b) * sizeof(float));
  b->scratch = tensor_alloc(THREADS_MAX * mask_scratch(b->mask[NONE]) * sizeof(float));
  if (!b->rgb || !b->planar || !b->coefficients || !b->other || !b->large || !b->scratch)
    return error_set(err, -ENOMEM, "out of memory");
  rng_init(&rng, 1, RNG_SYNTH, 0, 0);
  for (size_t i = 0; i < values; i++)
    b->rgb[i] = (uint8_t)rng_u32(&rng);
  for (uint32_t i = 0; i < b->batch; i++)
    rgb_to_ycbcr(b->rgb + i * pixels(b), b->size, false, b->planar + i * pixels(b));
  return 0;
}

static void done(struct bench *b) {
  void *buffers[] = {b->rgb, b->planar, b->coefficients, b->other, b->large, b->scratch};
  for (size_t i = 0; i < ARRAY_SIZE(buffers); i++)
    tensor_free(buffers[i]);
  for (size_t i = 0; i < MASKS; i++)
    mask_free(b->mask[i]);
  block_dct_free(b->dct);
  upsampled_dct_free(b->upsampled);
}

int bench_dct(int argc, char **argv) {
  static const struct option longs[] = {{"batch", required_argument, NULL, 'b'},
                                        {"size", required_argument, NULL, 's'},
                                        {"runs", required_argument, NULL, 'r'},
                                        {NULL, 0, NULL, 0}};
  struct bench b = {.batch = 128, .size = 112, .runs = 9};
  struct guise_error err = {0};
  bool bad = false;
  optind = 0; /* argv[0] is an option here, not a program's name */
  argv--, argc++;
  for (int c; (c = getopt_long(argc, argv, "", longs, NULL)) != -1;) {
    const uint32_t value = optarg ? (uint32_t)strtoul(optarg, NULL, 10) : 0;
    if (c == 'b')
      b.batch = value;
    else if (c == 's')
      b.size = value;
    else if (c == 'r')
      b.runs = value;
    else
      bad = true;
  }
  if (bad || b.batch < THREADS_MAX || b.runs == 0 || b.runs > RUNS_MAX) {
    (void)fprintf(stderr, "guise-bench dct: bad option\n");
    return 2;
  }
  int r = prepare(&b, &err);
  if (r == 0)
    measure(&b);
  else
    (void)fprintf(stderr, "guise-bench dct: %s\n", err.text);
  done(&b);
  return r < 0;
}
