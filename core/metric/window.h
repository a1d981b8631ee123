/* The window and constants of SSIM (Wang et al. 2004). Internal to core/metric. */
#pragma once

#define SSIM_WINDOW 11
#define SSIM_RANGE 255.0
#define SSIM_C1 ((0.01 * SSIM_RANGE) * (0.01 * SSIM_RANGE))
#define SSIM_C2 ((0.03 * SSIM_RANGE) * (0.03 * SSIM_RANGE))

void ssim_window(double ret_weight[SSIM_WINDOW]); /* a Gaussian, sum 1 */
