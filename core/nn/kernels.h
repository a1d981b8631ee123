/* Element-wise passes over blocked tensors, compiled once per instruction set and element and chosen at run
 * time. Elements of tensors are float or bfloat16 (element.h); everything a channel has (scale, mean, sums)
 * is float or double.
 *
 * A blocked tensor is (N, Cb, H*W, B): B channels of one pixel are neighbours, B = 16 with AVX-512 and 8
 * otherwise; channels beyond the last real one are zero. Its piece (n, cb), H*W rows of B floats, is "job" n
 * * Cb + cb, and consecutive jobs are consecutive in memory. Every pass works on a range of jobs, so that
 * callers split the jobs over threads; sums are added to the caller's own (per thread) double arrays of Cb *
 * B.
 *
 * Batch norm enters as scale k and shift b a channel, so that one pass serves batch norm, PReLU, addition and
 * their combinations (a second operand or PReLU, not both):
 *
 *   forward:   v = k1 x1 + b1 [+ k2 x2 + b2],  y = v > 0 ? v : slope v
 *   backward:  g = dy (v > 0 ? 1 : slope),  dx = k g + p (x - mean) + q [+ addend]
 *
 * p and q carry the derivative through the batch's mean and variance. Outputs may be the same memory as
 * inputs: an element is written after it was read. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct kernel_shape {
  uint32_t blocks; /* Cb */
  uint32_t rows;   /* H * W */
};

struct forward_pass {
  struct kernel_shape shape;
  const void *x1, *x2; /* x2 NULL: no second operand */
  const float *scale1, *shift1, *scale2, *shift2;
  const float *slope; /* NULL: no PReLU */
  bool statistics;    /* sums of y wanted */
  void *y;
};

struct reduce_pass {
  struct kernel_shape shape;
  const void *dy, *x1, *x2; /* x2 NULL: no second operand */
  const float *mean1, *mean2;
  const float *scale, *shift, *slope; /* slope NULL: no PReLU; scale and shift are those of x1, for v */
};

struct apply_pass {
  struct kernel_shape shape;
  const void *dy, *x;
  const float *mean, *p, *q;                  /* p NULL: dx = k g, x is read only for PReLU */
  const float *k;                             /* NULL: 1 */
  const float *forward_scale, *shift, *slope; /* of v; slope NULL: no PReLU */
  const void *addend;                         /* NULL: nothing to add */
  void *dx;
};

struct kernels {
  const char *name;
  uint32_t block;
  /* sums[0]: sum of y, sums[1]: of y^2, when pass->statistics. */
  void (*forward)(const struct forward_pass *pass, uint64_t begin, uint64_t end, double *const sums[2]);
  /* The same sums of x alone. */
  void (*statistics)(struct kernel_shape shape, const void *x, uint64_t begin, uint64_t end,
                     double *const sums[2]);
  /* sums[0]: g, sums[1]: g (x1 - mean1), sums[2]: g (x2 - mean2), sums[3]: dy v where v <= 0 (slope's
   * gradient). */
  void (*reduce)(const struct reduce_pass *pass, uint64_t begin, uint64_t end, double *const sums[4]);
  void (*apply)(const struct apply_pass *pass, uint64_t begin, uint64_t end);
  /* to += from over count elements (a multiple of block). */
  void (*accumulate)(void *to, const void *from, uint64_t count);
  /* v = momentum v + (g + decay w); w -= rate v over count floats (a multiple of block). */
  void (*sgd)(float *w, float *v, const float *g, uint64_t count, float rate, float momentum, float decay);
};

extern const struct kernels kernels_avx512, kernels_avx2, kernels_portable;
extern const struct kernels kernels_avx512_bf16; /* bfloat16 tensors */

/* The best table this processor runs. GUISE_KERNELS=avx512|avx2|portable in the environment asks for another
 * one (for tests and for finding faults); what the processor cannot run is ignored. */
const struct kernels *kernels_choose(void);

/* Passes over bfloat16 tensors with the same blocks, or NULL: only for processors with AVX512_BF16. */
const struct kernels *kernels_bfloat16(void);
