/* Dense products on OpenBLAS, which is told once to use one thread: the job's own threads call it. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

/* Row-major C(m,n) = op(A) op(B) + beta C with op(A) m x k, op(B) k x n; leading dimensions are those of the
 * memory. Rows or columns of C, whichever are more, are shared out over `threads` OpenMP threads.
 * Thread-safe. */
void blas_multiply(uint32_t threads, bool transpose_a, bool transpose_b, uint64_t m, uint64_t n, uint64_t k,
                   const float *a, uint64_t lda, const float *b, uint64_t ldb, float beta, float *c,
                   uint64_t ldc);
