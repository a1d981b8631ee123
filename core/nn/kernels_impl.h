/* The passes of kernels.h, written once with vector types of BLOCK floats and compiled for each instruction
 * set. The including file defines KERNELS (the table's name), KERNELS_NAME, BLOCK and SELECT_POSITIVE(v, yes,
 * no); for tensors of another element than float also ELEMENT, LOAD_ELEMENTS(p) and STORE_ELEMENTS(p, v).
 *
 * Each pass has one always-inlined body with constant flags; the table's function picks the variant, so that
 * no inner loop tests a flag. Sums run in float over at most CHUNK rows, then a second float level, then in
 * double over jobs: a plain float sum over a 112 x 112 plane would lose three digits. */
#include "core/nn/kernels.h"

#include <stddef.h>

typedef float vec __attribute__((vector_size(BLOCK * 4)));
typedef int32_t ivec __attribute__((vector_size(BLOCK * 4)));
typedef float memory_vec
    __attribute__((vector_size(BLOCK * 4), may_alias)); /* in memory, floats are floats */

#define CHUNK 256u
#define ALWAYS static inline __attribute__((always_inline))

ALWAYS vec load(const float *p) {
  return (vec) * (const memory_vec *)p;
}

#define store(p, v) (*(memory_vec *)(p) = (memory_vec)(v))

#ifndef ELEMENT
#define ELEMENT float
#define LOAD_ELEMENTS(p) load(p)
#define STORE_ELEMENTS(p, v) store(p, v)
#endif
typedef ELEMENT element;

ALWAYS vec load_tensor(const element *p) {
  return LOAD_ELEMENTS(p);
}

ALWAYS void add_sums(double *sums, vec v) {
  for (int i = 0; i < BLOCK; i++)
    sums[i] += (double)v[i];
}

/* From sums of d = x - pivot over `rows` rows to those of x and x^2: exact enough in double, so that a large
 * mean does not eat the digits of the variance. */
ALWAYS void add_moments(double *const sums[2], size_t channel, uint32_t rows, vec pivot, vec sum,
                        vec square) {
  for (int i = 0; i < BLOCK; i++) {
    const double p = (double)pivot[i], s = (double)sum[i];
    sums[0][channel + (size_t)i] += s + rows * p;
    sums[1][channel + (size_t)i] += (double)square[i] + p * (2 * s + rows * p);
  }
}

ALWAYS void forward_body(const struct forward_pass *pass, uint64_t begin, uint64_t end, double *const sums[2],
                         const bool second, const bool prelu, const bool statistics) {
  const uint32_t rows = pass->shape.rows;
  for (uint64_t job = begin; job < end; job++) {
    const size_t channel = (size_t)(job % pass->shape.blocks) * BLOCK;
    const size_t offset = (size_t)job * rows * BLOCK;
    const element *x1 = (const element *)pass->x1 + offset,
                  *x2 = second ? (const element *)pass->x2 + offset : NULL;
    element *y = (element *)pass->y + offset;
    const vec zero = {0};
    const vec k1 = load(pass->scale1 + channel), k2 = second ? load(pass->scale2 + channel) : zero;
    const vec b =
        second ? load(pass->shift1 + channel) + load(pass->shift2 + channel) : load(pass->shift1 + channel);
    const vec slope = prelu ? load(pass->slope + channel) : zero;
    vec sum = zero, square = zero, pivot = zero; /* the pivot is the job's first row */
    for (uint32_t from = 0; from < rows; from += CHUNK) {
      const uint32_t to = rows - from < CHUNK ? rows : from + CHUNK;
      vec s = zero, q = zero;
      for (uint32_t i = from; i < to; i++) {
        vec v = k1 * load_tensor(x1 + (size_t)i * BLOCK) + b;
        if (second)
          v = k2 * load_tensor(x2 + (size_t)i * BLOCK) + v;
        if (prelu)
          v = SELECT_POSITIVE(v, v, v * slope);
        STORE_ELEMENTS(y + (size_t)i * BLOCK, v);
        if (statistics) {
          if (i == 0)
            pivot = v;
          vec d = v - pivot;
          s += d;
          q = d * d + q;
        }
      }
      sum += s;
      square += q;
    }
    if (statistics)
      add_moments(sums, channel, rows, pivot, sum, square);
  }
}

static void forward(const struct forward_pass *pass, uint64_t begin, uint64_t end, double *const sums[2]) {
  const bool second = pass->x2 != NULL, prelu = pass->slope != NULL, statistics = pass->statistics;
  if (second && statistics)
    forward_body(pass, begin, end, sums, true, false, true);
  else if (second)
    forward_body(pass, begin, end, sums, true, false, false);
  else if (prelu && statistics)
    forward_body(pass, begin, end, sums, false, true, true);
  else if (prelu)
    forward_body(pass, begin, end, sums, false, true, false);
  else if (statistics)
    forward_body(pass, begin, end, sums, false, false, true);
  else
    forward_body(pass, begin, end, sums, false, false, false);
}

static void statistics_pass(struct kernel_shape shape, const void *x, uint64_t begin, uint64_t end,
                            double *const sums[2]) {
  for (uint64_t job = begin; job < end; job++) {
    const size_t channel = (size_t)(job % shape.blocks) * BLOCK;
    const element *p = (const element *)x + (size_t)job * shape.rows * BLOCK;
    const vec zero = {0}, pivot = load_tensor(p);
    vec sum = zero, square = zero;
    for (uint32_t from = 0; from < shape.rows; from += CHUNK) {
      const uint32_t to = shape.rows - from < CHUNK ? shape.rows : from + CHUNK;
      vec s1 = zero, q1 = zero, s2 = zero, q2 = zero; /* two chains hide the latency of addition */
      uint32_t i = from;
      for (; i + 1 < to; i += 2) {
        vec v = load_tensor(p + (size_t)i * BLOCK) - pivot,
            w = load_tensor(p + (size_t)i * BLOCK + BLOCK) - pivot;
        s1 += v;
        q1 = v * v + q1;
        s2 += w;
        q2 = w * w + q2;
      }
      if (i < to) {
        vec v = load_tensor(p + (size_t)i * BLOCK) - pivot;
        s1 += v;
        q1 = v * v + q1;
      }
      sum += s1 + s2;
      square += q1 + q2;
    }
    add_moments(sums, channel, shape.rows, pivot, sum, square);
  }
}

ALWAYS void reduce_body(const struct reduce_pass *pass, uint64_t begin, uint64_t end, double *const sums[4],
                        const bool second, const bool prelu) {
  const uint32_t rows = pass->shape.rows;
  for (uint64_t job = begin; job < end; job++) {
    const size_t channel = (size_t)(job % pass->shape.blocks) * BLOCK;
    const size_t offset = (size_t)job * rows * BLOCK;
    const element *dy = (const element *)pass->dy + offset, *x1 = (const element *)pass->x1 + offset;
    const element *x2 = second ? (const element *)pass->x2 + offset : NULL;
    const vec zero = {0};
    const vec mean1 = load(pass->mean1 + channel), mean2 = second ? load(pass->mean2 + channel) : zero;
    const vec k = prelu ? load(pass->scale + channel) : zero, b = prelu ? load(pass->shift + channel) : zero;
    const vec slope = prelu ? load(pass->slope + channel) : zero;
    vec sum = zero, dot1 = zero, dot2 = zero, negative = zero;
    for (uint32_t from = 0; from < rows; from += CHUNK) {
      const uint32_t to = rows - from < CHUNK ? rows : from + CHUNK;
      vec s = zero, d1 = zero, d2 = zero, l = zero;
      for (uint32_t i = from; i < to; i++) {
        vec g = load_tensor(dy + (size_t)i * BLOCK), x = load_tensor(x1 + (size_t)i * BLOCK);
        if (prelu) {
          vec v = k * x + b;
          l += SELECT_POSITIVE(v, zero, g * v);
          g = SELECT_POSITIVE(v, g, g * slope);
        }
        s += g;
        d1 = g * (x - mean1) + d1;
        if (second)
          d2 = g * (load_tensor(x2 + (size_t)i * BLOCK) - mean2) + d2;
      }
      sum += s;
      dot1 += d1;
      dot2 += d2;
      negative += l;
    }
    add_sums(sums[0] + channel, sum);
    add_sums(sums[1] + channel, dot1);
    if (second)
      add_sums(sums[2] + channel, dot2);
    if (prelu)
      add_sums(sums[3] + channel, negative);
  }
}

static void reduce(const struct reduce_pass *pass, uint64_t begin, uint64_t end, double *const sums[4]) {
  if (pass->x2)
    reduce_body(pass, begin, end, sums, true, false);
  else if (pass->slope)
    reduce_body(pass, begin, end, sums, false, true);
  else
    reduce_body(pass, begin, end, sums, false, false);
}

ALWAYS void apply_body(const struct apply_pass *pass, uint64_t begin, uint64_t end, const bool through,
                       const bool prelu, const bool add) {
  const uint32_t rows = pass->shape.rows;
  for (uint64_t job = begin; job < end; job++) {
    const size_t channel = (size_t)(job % pass->shape.blocks) * BLOCK;
    const size_t offset = (size_t)job * rows * BLOCK;
    const element *dy = (const element *)pass->dy + offset;
    const element *x0 = through || prelu ? (const element *)pass->x + offset : NULL;
    const element *addend = add ? (const element *)pass->addend + offset : NULL;
    element *dx = (element *)pass->dx + offset;
    const vec zero = {0};
    const vec k = pass->k ? load(pass->k + channel) : zero + 1.0f;
    const vec p = through ? load(pass->p + channel) : zero, q = through ? load(pass->q + channel) : zero;
    const vec mean = through ? load(pass->mean + channel) : zero;
    const vec scale = prelu ? load(pass->forward_scale + channel) : zero;
    const vec shift = prelu ? load(pass->shift + channel) : zero;
    const vec slope = prelu ? load(pass->slope + channel) : zero;
    for (uint32_t i = 0; i < rows; i++) {
      vec g = load_tensor(dy + (size_t)i * BLOCK), x = zero;
      if (through || prelu)
        x = load_tensor(x0 + (size_t)i * BLOCK);
      if (prelu)
        g = SELECT_POSITIVE(scale * x + shift, g, g * slope);
      vec v = through ? k * g + (p * (x - mean) + q) : k * g;
      if (add)
        v += load_tensor(addend + (size_t)i * BLOCK);
      STORE_ELEMENTS(dx + (size_t)i * BLOCK, v);
    }
  }
}

static void apply(const struct apply_pass *pass, uint64_t begin, uint64_t end) {
  switch ((pass->p ? 4 : 0) + (pass->slope ? 2 : 0) + (pass->addend ? 1 : 0)) {
  case 0:
    apply_body(pass, begin, end, false, false, false);
    break;
  case 1:
    apply_body(pass, begin, end, false, false, true);
    break;
  case 2:
    apply_body(pass, begin, end, false, true, false);
    break;
  case 3:
    apply_body(pass, begin, end, false, true, true);
    break;
  case 4:
    apply_body(pass, begin, end, true, false, false);
    break;
  case 5:
    apply_body(pass, begin, end, true, false, true);
    break;
  case 6:
    apply_body(pass, begin, end, true, true, false);
    break;
  default:
    apply_body(pass, begin, end, true, true, true);
    break;
  }
}

static void accumulate(void *to, const void *from, uint64_t count) {
  element *sum = to;
  const element *more = from;
  for (uint64_t i = 0; i < count; i += BLOCK)
    STORE_ELEMENTS(sum + i, load_tensor(sum + i) + load_tensor(more + i));
}

static void sgd(float *w, float *v, const float *g, uint64_t count, float rate, float momentum, float decay) {
  for (uint64_t i = 0; i < count; i += BLOCK) {
    vec weight = load(w + i);
    vec velocity = momentum * load(v + i) + (load(g + i) + decay * weight);
    store(v + i, velocity);
    store(w + i, weight - rate * velocity);
  }
}

const struct kernels KERNELS = {
    .name = KERNELS_NAME,
    .block = BLOCK,
    .forward = forward,
    .statistics = statistics_pass,
    .reduce = reduce,
    .apply = apply,
    .accumulate = accumulate,
    .sgd = sgd,
};
