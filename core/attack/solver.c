/* Conjugate gradient on the normal equations (CGNR; Saad, "Iterative Methods for Sparse Linear Systems", 8.3)
 * of
 *
 *   min |W^(1/2) (A x - y)|^2,   y = template + mean / deviation,   W = deviation^2 of each channel,
 *
 * the template denoised as far as its mask tells how.
 *
 * A, the mask's linear operator, divides each channel by its deviation. The weights take that back, so that
 * the equations are as well conditioned as the transform itself (an orthonormal block DCT needs one step),
 * and a mask with another transform is solved by the same code. Started from zero the iterates stay in the
 * range of the adjoint: the solution is that of least norm. */
#include "core/attack/solver.h"

#include <math.h>
#include <string.h>

#include "core/base/memory.h"

#define TOLERANCE 1e-6

int solver_init(struct solver *solver, const struct mask *mask) {
  uint32_t size = mask_size(mask);
  *solver = (struct solver){.mask = mask, .pixels = (size_t)3 * size * size, .elements = mask_elements(mask)};
  float **vectors[] = {&solver->x, &solver->residual, &solver->direction, &solver->image};
  bool complete = true;
  for (size_t i = 0; i < ARRAY_SIZE(vectors); i++)
    complete = (*vectors[i] = tensor_alloc(solver->pixels * sizeof(float))) && complete;
  solver->code = tensor_alloc(solver->elements * sizeof(float));
  solver->scratch = tensor_alloc(MAX(mask_scratch(mask), (size_t)1) * sizeof(float));
  if (!complete || !solver->code || !solver->scratch) {
    solver_done(solver);
    return -ENOMEM;
  }
  return 0;
}

void solver_done(struct solver *solver) {
  tensor_free(solver->x);
  tensor_free(solver->residual);
  tensor_free(solver->direction);
  tensor_free(solver->image);
  tensor_free(solver->code);
  tensor_free(solver->scratch);
  memset(solver, 0, sizeof(*solver));
}

static void weigh(const struct solver *solver, float *code) {
  const struct mask_constants *constants = mask_constants(solver->mask);
  uint32_t channels = mask_channels(solver->mask);
  size_t cells = solver->elements / channels;
  for (uint32_t c = 0; c < channels; c++) {
    const double deviation = (double)constants->deviation[solver->index[c]];
    for (size_t i = 0; i < cells; i++)
      code[c * cells + i] *= (float)(deviation * deviation);
  }
}

/* image := A^T W A direction */
static void apply_normal(struct solver *solver) {
  mask_linear_forward(solver->mask, solver->layout, solver->direction, solver->scratch, solver->code);
  weigh(solver, solver->code);
  mask_linear_adjoint(solver->mask, solver->layout, solver->code, solver->scratch, solver->image);
}

static double dot(const float *a, const float *b, size_t n) {
  double sum = 0;
  for (size_t i = 0; i < n; i++)
    sum += (double)a[i] * (double)b[i];
  return sum;
}

/* residual := A^T W y */
static void start(struct solver *solver, const float *template_) {
  const struct mask_constants *constants = mask_constants(solver->mask);
  const struct mask_order *order = mask_order(solver->mask);
  const uint32_t channels = mask_channels(solver->mask);
  size_t cells = solver->elements / channels;
  memcpy(solver->code, template_, solver->elements * sizeof(float));
  mask_denoise(solver->mask, solver->code, solver->scratch);
  for (uint32_t c = 0; c < channels; c++) {
    const float sign = order && order->negative[c] ? -1.0f : 1.0f,
                mean = sign * constants->mean[solver->index[c]] / constants->deviation[solver->index[c]];
    for (size_t i = 0; i < cells; i++)
      solver->code[c * cells + i] += mean;
  }
  weigh(solver, solver->code);
  mask_linear_adjoint(solver->mask, solver->layout, solver->code, solver->scratch, solver->residual);
}

uint32_t solver_run(struct solver *solver, const float *template_) {
  size_t n = solver->pixels;
  uint32_t steps = 0;
  solver->layout = mask_find_layout(solver->mask, template_, solver->scratch);
  mask_layout(solver->mask, solver->layout, solver->index);
  memset(solver->x, 0, n * sizeof(float));
  start(solver, template_);
  memcpy(solver->direction, solver->residual, n * sizeof(float));
  double squared = dot(solver->residual, solver->residual, n), goal = TOLERANCE * TOLERANCE * squared;
  while (squared > goal && steps < SOLVER_STEPS_MAX) {
    apply_normal(solver);
    double curvature = dot(solver->direction, solver->image, n);
    if (!(curvature > 0) || !isfinite(curvature))
      break; /* what is left lies in the null space */
    float rate = (float)(squared / curvature);
    for (size_t i = 0; i < n; i++) {
      solver->x[i] += rate * solver->direction[i];
      solver->residual[i] -= rate * solver->image[i];
    }
    double next = dot(solver->residual, solver->residual, n);
    float keep = (float)(next / squared);
    for (size_t i = 0; i < n; i++)
      solver->direction[i] = solver->residual[i] + keep * solver->direction[i];
    squared = next;
    steps++;
  }
  solver->solved = steps < SOLVER_STEPS_MAX || squared <= goal;
  return steps;
}
