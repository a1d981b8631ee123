/* Learning dctdp's budgets (core/train/weights.h): Ji et al., "Privacy-preserving face recognition with
 * learnable privacy budgets in the frequency domain", ECCV 2022.
 *
 * Of N values in all, value i has the share p_i = softmax(rho)_i of the budget N epsilon, and
 *
 *   y_i = x_i + s_i l_i,   s_i = sensitivity_i / (N epsilon p_i),   l_i ~ Laplace(0, 1)
 *
 * goes to a recogniser, which learns together with rho: noise moves from where identity is read to where it
 * is not, and the sum of the budgets stays what it was. With g the gradient of the loss at y,
 *
 *   dL/drho_j = p_j sum_i g_i s_i l_i - g_j s_j l_j.
 *
 * As published, rho starts at 0 and moves by Adam. Reconstructed: budgets are learnt before the training and
 * stay as they are in it; on the native transform the recogniser is freq_conv (up-sampled: the job's own);
 * the rate of Adam is 4 over the number of steps, at most .1, the published one; |rho| is at most 5. Always
 * float32. */
#pragma once

#include "core/train/trainer.h"

/* ret_weights: the shares, (C,G,G), of mean 1. Deterministic in the seed. Needs data, batch and threads of
 * the trainer. */
int budget_train(struct trainer *trainer, float *ret_weights, struct guise_error *err);

/* ret_shares (count): N softmax(rho), of mean 1. */
void budget_shares(const float *rho, size_t count, float *ret_shares);
/* ret_gradient (count) by rho, from the shares and slope[i] = sum over the batch of g_i s_i l_i. */
void budget_gradient(const float *shares, const double *slope, size_t count, double *ret_gradient);
