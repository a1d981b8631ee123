#include "core/attack/descent.h"

#include <math.h>
#include <string.h>

#include "core/base/memory.h"

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
  const double pi = 3.14159265358979323846, turn = step + 1.0;
  const float now = rate * (float)(0.5 * (1 + cos(pi * step / steps)) / (1 - pow((double)BETA1, turn))),
              root = (float)(1 / sqrt(1 - pow((double)BETA2, turn)));
  for (size_t i = 0; i < descent->count; i++) {
    const float g = derivative[i];
    descent->first[i] = BETA1 * descent->first[i] + (1 - BETA1) * g;
    descent->second[i] = BETA2 * descent->second[i] + (1 - BETA2) * g * g;
    x[i] -= now * descent->first[i] / (sqrtf(descent->second[i]) * root + EPSILON);
  }
}
