/* What the processor's multiply-add units can do: the measure of the convolutions. */
#include "tests/bench/peak.h"

#include <omp.h>
#include <stdint.h>

#if defined(__x86_64__)
#include <immintrin.h>

#define CHAINS 24 /* independent sums: latency times units, with room */
#define ROUNDS 2000000u

static double run(void) {
  __m512 sum[CHAINS];
  const __m512 x = _mm512_set1_ps(0.999f), y = _mm512_set1_ps(1e-3f);
  for (int i = 0; i < CHAINS; i++)
    sum[i] = _mm512_set1_ps((float)i);
  for (uint32_t r = 0; r < ROUNDS; r++) {
#pragma GCC unroll 24
    for (int i = 0; i < CHAINS; i++)
      sum[i] = _mm512_fmadd_ps(sum[i], x, y);
  }
  __m512 all = sum[0];
  for (int i = 1; i < CHAINS; i++)
    all = _mm512_add_ps(all, sum[i]);
  return (double)_mm512_reduce_add_ps(all);
}

double bench_peak_flops(uint32_t threads, double (*now)(void)) {
  if (!__builtin_cpu_supports("avx512f"))
    return 0;
  double best = 0, sink = 0;
  for (int trial = 0; trial < 3; trial++) {
    const double begin = now();
#pragma omp parallel num_threads((int)threads) reduction(+ : sink)
    sink += run();
    const double flops = 2.0 * 16 * CHAINS * ROUNDS * threads / (now() - begin);
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
