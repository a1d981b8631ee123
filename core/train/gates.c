#include "core/train/gates.h"

#include <math.h>
#include <string.h>

#include "core/nn/adam.h"

#define CHANNELS MASK_CHANNELS_MAX

static double sigmoid(float w) {
  return 1 / (1 + exp(-(double)w));
}

void gates_init(struct gates *gates, const double *magnitude) {
  double sum = 0;
  memset(gates, 0, sizeof(*gates));
  for (uint32_t c = 0; c < CHANNELS; c++)
    sum += magnitude[c];
  for (uint32_t c = 0; c < CHANNELS; c++)
    gates->visible[c] = sum > 0 ? magnitude[c] / sum : 0;
}

void gates_values(const struct gates *gates, float *ret_a) {
  for (uint32_t c = 0; c < CHANNELS; c++)
    ret_a[c] = (float)sigmoid(gates->w[c]);
}

double gates_penalty(const struct gates *gates) {
  double penalty = 0;
  for (uint32_t c = 0; c < CHANNELS; c++)
    penalty += sigmoid(gates->w[c]) * gates->visible[c];
  return penalty;
}

void gates_apply(const struct gates *gates, const float *x, uint32_t batch, size_t cells, float *ret_gated) {
  float a[CHANNELS];
  gates_values(gates, a);
#pragma omp parallel for schedule(static)
  for (size_t row = 0; row < (size_t)batch * CHANNELS; row++)
    for (size_t i = row * cells; i < (row + 1) * cells; i++)
      ret_gated[i] = a[row % CHANNELS] * x[i];
}

void gates_gradient(const struct gates *gates, const float *x, const float *gated_gradient, uint32_t batch,
                    size_t cells, double gamma, double *ret_gradient) {
#pragma omp parallel for schedule(static)
  for (size_t c = 0; c < CHANNELS; c++) {
    const double a = sigmoid(gates->w[c]);
    double slope = 0;
    for (uint32_t image = 0; image < batch; image++) {
      const size_t at = (image * (size_t)CHANNELS + c) * cells;
      for (size_t i = at; i < at + cells; i++)
        slope += (double)x[i] * (double)gated_gradient[i];
    }
    ret_gradient[c] = (slope + gamma * gates->visible[c]) * a * (1 - a);
  }
}

void gates_step(struct gates *gates, const double *gradient, double rate, uint64_t step) {
  const double beta1 = ADAM_BETA1, beta2 = ADAM_BETA2;
  const struct adam_biases biases = adam_biases(step);
  for (uint32_t c = 0; c < CHANNELS; c++) {
    const double m = beta1 * (double)gates->first[c] + (1 - beta1) * gradient[c];
    const double s = beta2 * (double)gates->second[c] + (1 - beta2) * gradient[c] * gradient[c];
    gates->first[c] = (float)m;
    gates->second[c] = (float)s;
    gates->w[c] = (float)adam_moved((double)gates->w[c], rate, m, s, biases);
  }
}
