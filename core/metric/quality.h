/* Image similarity: PSNR and SSIM (Wang et al. 2004, 11x11 Gaussian window, sigma 1.5, K1 .01, K2 .03, range
 * 255). How alike two pictures look, which is not whether a person can be recognised in them: neither is a
 * measure of privacy. */
#pragma once

#include <stdint.h>

#define QUALITY_SIZE_MAX 1024 /* pixels of a side */

/* planes * size * size floats each, range 0..255 wide. PSNR in dB, capped at 100 for equal images. */
double quality_psnr(const float *a, const float *b, uint32_t planes, uint32_t size);
/* Mean SSIM over planes, windows fully inside the image. NAN for images below 11 or above QUALITY_SIZE_MAX
 * pixels. */
double quality_ssim(const float *a, const float *b, uint32_t planes, uint32_t size);
