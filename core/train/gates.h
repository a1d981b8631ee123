/* Channel gates of the analysis network (Wang et al., AAAI 2022): a_c = sigmoid(w_c) multiplies channel c of
 * what a network sees, and both learn from
 *
 *   L = L_FR + gamma sum_c a_c e_c,   e_c = mean |x_c| of the coefficients, sum e = 1
 *
 * so that the gates of channels that show much and help little fall. With g the gradient of L_FR at the gated
 * input, dL_FR/da_c = sum over batch and cells of x_c g_c. Adam moves the w: it makes steps of one size
 * whatever the scale of a gradient, and visible energy spans four orders of magnitude. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "core/mask/mask.h"

struct gates {
  float w[MASK_CHANNELS_MAX];
  float first[MASK_CHANNELS_MAX], second[MASK_CHANNELS_MAX]; /* Adam's moments */
  double visible[MASK_CHANNELS_MAX];                         /* e */
};

/* All gates half open. magnitude (192): mean |x_c|, of any common scale. */
void gates_init(struct gates *gates, const double *magnitude);
void gates_values(const struct gates *gates, float *ret_a /* (192) */);
double gates_penalty(const struct gates *gates); /* sum_c a_c e_c */

/* x, ret_gated: (batch, 192, cells). Not in place: the gradient needs x. */
void gates_apply(const struct gates *gates, const float *x, uint32_t batch, size_t cells, float *ret_gated);
/* dL/dw_c (192) from the gradient of L_FR at the gated input. Deterministic for any number of threads. */
void gates_gradient(const struct gates *gates, const float *x, const float *gated_gradient, uint32_t batch,
                    size_t cells, double gamma, double *ret_gradient);
/* Adam, betas .9 and .999; steps count from 1. */
void gates_step(struct gates *gates, const double *gradient, double rate, uint64_t step);
