/* The passes of kernels.h for AVX-512: 16 channels a block. */
#if defined(__x86_64__)
#include <immintrin.h>

#define KERNELS kernels_avx512
#define KERNELS_NAME "avx512"
#define BLOCK 16
#define SELECT_POSITIVE(v, yes, no)                                                                          \
  ((vec)_mm512_mask_blend_ps(_mm512_cmp_ps_mask((__m512)(v), _mm512_setzero_ps(), _CMP_GT_OQ), (__m512)(no), \
                             (__m512)(yes)))
#include "core/nn/kernels_impl.h"
#endif
