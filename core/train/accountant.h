/* How much differential privacy is spent: Renyi differential privacy of the Gaussian mechanism on a Poisson
 * sample (Mironov, Talwar and Zhang, arXiv 1908.10530), composed over steps, as (epsilon, delta).
 *
 * Two data sets are neighbours when one has one record more than the other. sigma: the noise's deviation over
 * the largest length of a record's part in the sum; q: chance of a record to be in a step's sample. */
#pragma once

#include <stdint.h>

/* Of one step, order alpha > 1: log(A) / (alpha - 1), A = E ((1 - q) + q e^((2 z - 1) / 2 sigma^2))^alpha
 * over z ~ N(0, sigma^2). INFINITY where sigma is below 1e-100. */
double accountant_rdp(double q, double sigma, double alpha);

/* Of `steps` steps: the least over many orders of
 *   r + log(1 - 1 / alpha) - log(delta alpha) / (alpha - 1),  r = steps rdp(alpha)
 * (Canonne, Kamath and Steinke, arXiv 2004.00010, proposition 12; never below 0). ret_order may be NULL. */
double accountant_epsilon(double q, double sigma, uint64_t steps, double delta, double *ret_order);
