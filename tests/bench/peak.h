/* Float multiply-adds a second (each counted as two operations) of `threads` threads, best of three; 0 where
 * there is no loop for the processor. */
#pragma once

#include <stdint.h>

double bench_peak_flops(uint32_t threads, double (*now)(void));
