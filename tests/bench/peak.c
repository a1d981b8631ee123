/* What the processor's multiply-add units can do: the measure of the convolutions. */
#include "tests/bench/peak.h"

#include <omp.h>

#if defined(__x86_64__)
#include <immintrin.h>

#define ROUNDS 2000000u
/* Independent sums: latency times units, with room, within the registers there are. */
#define CHAINS_AVX512 24
#define CHAINS_AVX2 12

__attribute__((target("avx512f"))) static double run_avx512(void) {
  __m512 sum[CHAINS_AVX512];
  const __m512 x = _mm512_set1_ps(0.999f), y = _mm512_set1_ps(1e-3f);
  for (int i = 0; i < CHAINS_AVX512; i++)
    sum[i] = _mm512_set1_ps((float)i);
  for (uint32_t r = 0; r < ROUNDS; r++) {
#pragma GCC unroll 24
    for (int i = 0; i < CHAINS_AVX512; i++)
      sum[i] = _mm512_fmadd_ps(sum[i], x, y);
  }
  __m512 all = sum[0];
  for (int i = 1; i < CHAINS_AVX512; i++)
    all = _mm512_add_ps(all, sum[i]);
  return (double)_mm512_reduce_add_ps(all);
}

__attribute__((target("avx2,fma"))) static double run_avx2(void) {
  __m256 sum[CHAINS_AVX2];
  const __m256 x = _mm256_set1_ps(0.999f), y = _mm256_set1_ps(1e-3f);
  for (int i = 0; i < CHAINS_AVX2; i++)
    sum[i] = _mm256_set1_ps((float)i);
  for (uint32_t r = 0; r < ROUNDS; r++) {
#pragma GCC unroll 12
    for (int i = 0; i < CHAINS_AVX2; i++)
      sum[i] = _mm256_fmadd_ps(sum[i], x, y);
  }
  float lanes[8];
  double all = 0;
  for (int i = 0; i < CHAINS_AVX2; i++) {
    _mm256_storeu_ps(lanes, sum[i]);
    all += (double)lanes[i % 8];
  }
  return all;
}

static const struct loop {
  double (*run)(void);
  double flops; /* of a call */
} loop_avx512 = {run_avx512, 2.0 * 16 * CHAINS_AVX512 *ROUNDS},
  loop_avx2 = {run_avx2, 2.0 * 8 * CHAINS_AVX2 *ROUNDS};

double bench_peak_flops(uint32_t threads, double (*now)(void)) {
  const struct loop *loop = __builtin_cpu_supports("avx512f") ? &loop_avx512
                            : __builtin_cpu_supports("fma")   ? &loop_avx2
                                                              : NULL;
  double best = 0, sink = 0;
  for (int trial = 0; loop && trial < 3; trial++) {
    const double begin = now();
#pragma omp parallel num_threads((int)threads) reduction(+ : sink)
    sink += loop->run();
    const double flops = loop->flops * threads / (now() - begin);
    best = flops > best ? flops : best;
  }
  return sink == 0.25 ? 0 : best; /* the sum is used, so that the loop stays */
}
#else
double bench_peak_flops(uint32_t threads, double (*now)(void)) {
  (void)threads;
  (void)now;
  return 0;
}
#endif
