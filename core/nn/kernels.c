#include "core/nn/kernels.h"

#include <stdlib.h>
#include <string.h>

static bool supported(const struct kernels *kernels) {
#if defined(__x86_64__)
  if (kernels == &kernels_avx512)
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
           __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl");
  if (kernels == &kernels_avx2)
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
#endif
  return kernels == &kernels_portable;
}

const struct kernels *kernels_bfloat16(void) {
#if defined(__x86_64__)
  if (kernels_choose() == &kernels_avx512 && __builtin_cpu_supports("avx512bf16"))
    return &kernels_avx512_bf16;
#endif
  return NULL;
}

const struct kernels *kernels_choose(void) {
  static const struct kernels *const tables[] = {
#if defined(__x86_64__)
    &kernels_avx512,
    &kernels_avx2,
#endif
    &kernels_portable
  };
  const size_t count = sizeof(tables) / sizeof(tables[0]);
  const char *wanted = getenv("GUISE_KERNELS");
  for (size_t i = 0; wanted && i < count; i++)
    if (strcmp(tables[i]->name, wanted) == 0 && supported(tables[i]))
      return tables[i];
  for (size_t i = 0; i < count; i++)
    if (supported(tables[i]))
      return tables[i];
  return &kernels_portable;
}
