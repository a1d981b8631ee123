/* Image similarity: PSNR and SSIM (Wang et al. 2004, 11x11 Gaussian window, sigma 1.5, K1 .01, K2 .03, range
 * 255). How alike two pictures look, which is not whether a person can be recognised in them: neither is a
 * measure of privacy. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#define QUALITY_SIZE_MAX 1024 /* pixels of a side */

/* planes * size * size floats each, range 0..255 wide. PSNR in dB, capped at 100 for equal images. */
double quality_psnr(const float *a, const float *b, uint32_t planes, uint32_t size);
/* Mean SSIM over planes, windows fully inside the image. NAN for images below 11 or above QUALITY_SIZE_MAX
 * pixels. */
double quality_ssim(const float *a, const float *b, uint32_t planes, uint32_t size);

/* Likeness as a loss: the mean magnitude |SSIM| of the windows of two planes, with its gradient by a. The
 * magnitude, since the negative of a picture, which shows everything, has an SSIM near -1. scratch:
 * QUALITY_LOSS_SCRATCH(size) floats. size as above. */
#define QUALITY_LOSS_SCRATCH(size) ((size_t)8 * (size) * (size))
double quality_likeness(const float *a, const float *b, uint32_t size, float *scratch, float *ret_gradient);
