/* The passes of kernels.h for AVX2 with FMA: 8 channels a block. */
#if defined(__x86_64__)
#include <immintrin.h>

#define KERNELS kernels_avx2
#define KERNELS_NAME "avx2"
#define BLOCK 8
#define SELECT_POSITIVE(v, yes, no)                   \
  ((vec)_mm256_blendv_ps((__m256)(no), (__m256)(yes), \
                         _mm256_cmp_ps((__m256)(v), _mm256_setzero_ps(), _CMP_GT_OQ)))
#include "core/nn/kernels_impl.h"
#endif
