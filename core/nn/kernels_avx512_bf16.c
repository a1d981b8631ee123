/* The passes of kernels.h for AVX-512 with AVX512_BF16, on bfloat16 tensors: 16 channels a block. */
#if defined(__x86_64__)
#include <immintrin.h>
#include <stdint.h>

#define KERNELS kernels_avx512_bf16
#define KERNELS_NAME "avx512-bf16"
#define BLOCK 16
#define SELECT_POSITIVE(v, yes, no)                                                                          \
  ((vec)_mm512_mask_blend_ps(_mm512_cmp_ps_mask((__m512)(v), _mm512_setzero_ps(), _CMP_GT_OQ), (__m512)(no), \
                             (__m512)(yes)))
#define ELEMENT uint16_t
#define LOAD_ELEMENTS(p) \
  ((vec)_mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i *)(const void *)(p))), 16))
#define STORE_ELEMENTS(p, v) \
  _mm256_storeu_si256((__m256i *)(void *)(p), (__m256i)_mm512_cvtneps_pbh((__m512)(v)))
#include "core/nn/kernels_impl.h"
#endif
