/* The up-sampled block DCT for AVX2 with FMA. */
#if defined(__x86_64__)
#define KERNELS upsampled_avx2
#include "core/freq/upsampled_impl.h"
#endif
