#include "core/nn/blas.h"

#include <cblas.h>
#include <pthread.h>

#include "core/base/base.h"

#define GRAIN 16u /* rows or columns: shares are multiples of it */

static pthread_once_t once = PTHREAD_ONCE_INIT;

static void use_one_thread(void) {
  openblas_set_num_threads(1);
}

void blas_multiply(uint32_t threads, bool transpose_a, bool transpose_b, uint64_t m, uint64_t n, uint64_t k,
                   const float *a, uint64_t lda, const float *b, uint64_t ldb, float beta, float *c,
                   uint64_t ldc) {
  (void)pthread_once(&once, use_one_thread);
  const int count = (int)threads;
  const bool by_rows = m > n;
  const uint64_t size = by_rows ? m : n, grains = (size + GRAIN - 1) / GRAIN;
#pragma omp parallel for num_threads(count) schedule(static, 1)
  for (int thread = 0; thread < count; thread++) {
    const uint64_t begin = MIN(size, grains * (uint64_t)thread / (uint64_t)count * GRAIN);
    const uint64_t end = MIN(size, grains * (uint64_t)(thread + 1) / (uint64_t)count * GRAIN);
    const float *own_a = a, *own_b = b;
    float *own_c = c;
    uint64_t rows = m, columns = n;
    if (by_rows) {
      own_a += transpose_a ? begin : begin * lda;
      own_c += begin * ldc;
      rows = end - begin;
    } else {
      own_b += transpose_b ? begin * ldb : begin;
      own_c += begin;
      columns = end - begin;
    }
    if (rows > 0 && columns > 0)
      cblas_sgemm(CblasRowMajor, transpose_a ? CblasTrans : CblasNoTrans,
                  transpose_b ? CblasTrans : CblasNoTrans, (blasint)rows, (blasint)columns, (blasint)k, 1.0f,
                  own_a, (blasint)lda, own_b, (blasint)ldb, beta, own_c, (blasint)ldc);
  }
}
