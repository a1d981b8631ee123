/* 3x3 convolutions with stride 1 and padding 1 by Winograd's minimal filtering F(4x4, 3x3), for processors
 * with AVX2 and FMA: a quarter of the multiplications of a direct convolution. Lavin and Gray, "Fast
 * Algorithms for Convolutional Neural Networks", 2015 (arXiv 1509.09308); with d a 6x6 tile of the input, g a
 * 3x3 kernel,
 *
 *   y = A' ((G g G') . (B' d B)) A                     4x4 outputs
 *   dg = G' ((A dy A') . (B' d B)) G                   its gradient, the adjoint of the same
 *
 * summed over input channels (y) or over tiles (dg), which makes 36 matrix products of either. The gradient
 * with respect to the input is the forward pass of dy with turned kernels.
 *
 * Tensors are (N, C/8, H, W, 8), channels a multiple of 16. Weights are plain (O, I, 3, 3). Nothing is
 * allocated; results depend on the shape alone, not on the number of threads. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct winograd_shape {
  uint32_t batch, in_channels, out_channels, height, width; /* the output has the input's height and width */
  uint32_t threads;
};

/* Whether the processor can run it. */
bool winograd_available(void);

/* Floats of the transformed weights, and of their transformed gradient. */
static inline size_t winograd_weights_count(const struct winograd_shape *shape) {
  return (size_t)36 * shape->in_channels * shape->out_channels;
}
/* Floats that a pass needs while it runs. */
size_t winograd_forward_scratch(const struct winograd_shape *shape);
size_t winograd_gradient_scratch(const struct winograd_shape *shape);

/* Plain weights (O, I, 3, 3) as winograd_forward() reads them. */
void winograd_weights(const struct winograd_shape *shape, const float *plain, float *ret_weights);
/* The same plain weights for the gradient with respect to x: shape is that of the pass, which reads dy, so
 * its in_channels are O and its out_channels I. */
void winograd_turned_weights(const struct winograd_shape *shape, const float *plain, float *ret_weights);

/* y = conv(x) + bias, or y += that. bias (O) may be NULL. */
void winograd_forward(const struct winograd_shape *shape, const float *x, const float *weights,
                      const float *bias, bool add, float *scratch, float *y);
/* ret_gradient (O, I, 3, 3). transformed: winograd_weights_count() floats of working memory. */
void winograd_gradient(const struct winograd_shape *shape, const float *x, const float *dy, float *scratch,
                       float *transformed, float *ret_gradient);
