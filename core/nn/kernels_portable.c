/* The passes of kernels.h in plain C, for any processor: 8 channels a block. */
#define KERNELS kernels_portable
#define KERNELS_NAME "portable"
#define BLOCK 8
#define SELECT_POSITIVE(v, yes, no) \
  ((vec)(((ivec)(yes) & ((v) > (vec){0})) | ((ivec)(no) & ~((v) > (vec){0}))))
#pragma GCC diagnostic ignored "-Wpsabi" /* vectors are passed between inlined functions only */
#include "core/nn/kernels_impl.h"
