/* Adam (Kingma and Ba, arXiv 1412.6980, as torch.optim.Adam), for numbers in graphs and outside of them:
 *
 *   g' = g + decay w,  m = beta1 m + (1 - beta1) g',  s = beta2 s + (1 - beta2) g'^2
 *   w -= rate / (1 - beta1^t)  m / (sqrt(s / (1 - beta2^t)) + epsilon)
 *
 * With decoupled weight decay (AdamW, Loshchilov and Hutter, arXiv 1711.05101) g' = g, and w shrinks by rate
 * decay w first. Steps t count from 1. */
#pragma once

#include <math.h>
#include <stddef.h>
#include <stdint.h>

/* What corrects a moment for its start at 0: 1 - beta^t. */
static inline double adam_bias(double beta, uint64_t step) {
  return 1 - pow(beta, (double)step);
}

/* ---- arrays of floats ---- */
struct adam_step {
  float rate; /* over the bias of m */
  float root; /* 1 / sqrt(1 - beta2^t) */
  float beta1, beta2, epsilon;
  float coupled, shrink; /* decay, and 1 - rate decay; 0 and 1 without */
};
void adam_update(const struct adam_step *step, float *restrict w, float *restrict m, float *restrict s,
                 const float *restrict gradient, size_t count);

/* ---- single numbers in double ---- betas and epsilon as published */
#define ADAM_BETA1 0.9
#define ADAM_BETA2 0.999
struct adam_biases {
  double first, second;
};
static inline struct adam_biases adam_biases(uint64_t step) {
  return (struct adam_biases){adam_bias(ADAM_BETA1, step), adam_bias(ADAM_BETA2, step)};
}
/* w, moved by the moments m and s. */
static inline double adam_moved(double w, double rate, double m, double s, struct adam_biases bias) {
  return w - rate * (m / bias.first) / (sqrt(s / bias.second) + 1e-8);
}
