/* The element-wise kernels (kernels.h), with coefficients that differ from image to image: what normalisation
 * layers other than batch norm are made of.
 *
 * Coefficients of an image are vectors of whole blocks, zero beyond the last channel; image n's begin at
 * n * stride, so that stride 0 gives all images the same. Sums of an image are doubles, [2][padded]. */
#pragma once

#include "core/nn/graph_internal.h"

/* sums[n] = sum of x, sum of x^2 */
void image_statistics(const struct graph *graph, const struct node *node, const void *x, double *ret_sums);
/* y = scale x + shift */
void image_scale(const struct graph *graph, const struct node *node, const void *x, const float *scale,
                 const float *shift, void *y);
/* sums[n] = sum of dy, sum of dy (x - mean) */
void image_reduce(const struct graph *graph, const struct node *node, const void *dy, const void *x,
                  const float *mean, size_t mean_stride, double *ret_sums);
/* dx = k dy + p (x - mean) + q, k a vector an image; p NULL: dx = k dy. `stride` is that of mean, p and q. */
void image_apply(const struct graph *graph, const struct node *node, const void *dy, const void *x,
                 const float *k, const float *mean, const float *p, const float *q, size_t stride, void *dx);

/* Appends a norm's backward operation, whose buffers are dy, x, dx (-1: not wanted), the forward pass's
 * coefficients. */
int image_norm_backward(struct graph *graph, int index, int dy,
                        int (*run)(struct graph *graph, const struct op *op, struct guise_error *err));
