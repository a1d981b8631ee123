/* The gradient of a convolution's weights in plain loops, for shapes for which the kernel library generates
 * no code: its general fallback takes a thousand times as long. oneDNN 2.6 has none for 3x3 kernels on 2x2
 * images where the processor has AVX2 alone. */
#pragma once

#include "core/nn/dnnl/conv.h"

/* Float, blocked on both sides, one group, not transposed. */
bool conv_gradient_does(const struct conv_shape *shape);

/* x (N,I/B,H,W,B) and dy (N,O/B,H',W',B) give weights (O,I,K,K) and bias (O), or NULL: written, not added to.
 * The sums' order does not depend on the number of threads, which is that of omp_set_num_threads(). */
void conv_gradient_run(const struct conv_shape *shape, const float *x, const float *dy, float *ret_weights,
                       float *ret_bias);
