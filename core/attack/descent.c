#include "core/attack/descent.h"

#include <math.h>
#include <string.h>

#include "core/base/memory.h"
#include "core/nn/adam.h"

#define BETA1 0.9f
#define BETA2 0.999f
#define EPSILON 1e-12f /* derivatives by one pixel are small */

int descent_init(struct descent *descent, size_t count) {
  *descent =
      (struct descent){count, tensor_alloc(count * sizeof(float)), tensor_alloc(count * sizeof(float))};
  return descent->first && descent->second ? 0 : -ENOMEM;
}

void descent_done(struct descent *descent) {
  tensor_free(descent->first);
  tensor_free(descent->second);
  memset(descent, 0, sizeof(*descent));
}

void descent_start(struct descent *descent) {
  memset(descent->first, 0, descent->count * sizeof(float));
  memset(descent->second, 0, descent->count * sizeof(float));
}

void descent_step(struct descent *descent, float rate, uint32_t step, uint32_t steps, const float *derivative,
                  float *x) {
  const double pi = 3.14159265358979323846;
  const struct adam_step adam = {.rate = rate * (float)(0.5 * (1 + cos(pi * step / steps)) /
                                                        adam_bias((double)BETA1, (uint64_t)step + 1)),
                                 .root = (float)(1 / sqrt(adam_bias((double)BETA2, (uint64_t)step + 1))),
                                 .beta1 = BETA1,
                                 .beta2 = BETA2,
                                 .epsilon = EPSILON,
                                 .shrink = 1};
  adam_update(&adam, x, descent->first, descent->second, derivative, descent->count);
}
