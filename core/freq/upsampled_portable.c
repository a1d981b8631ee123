/* The up-sampled block DCT in plain C, for any processor. */
#define KERNELS upsampled_portable
#pragma GCC diagnostic ignored "-Wpsabi" /* vectors stay inside functions */
#include "core/freq/upsampled_impl.h"
