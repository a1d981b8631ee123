/* The last step of a template, the same wherever faces are masked: the daemon and the client. */
#pragma once

#include <stddef.h>

/* (from - mean) * inverse, within `clip` of 0; 0 = not clipped. inverse: one over the deviation. Comparisons
 * that are one instruction each, unlike fminf and fmaxf with their care for NaN. */
static inline void standardise(const float *from, size_t n, float mean, float inverse, float clip,
                               float *to) {
  if (clip <= 0) {
    for (size_t i = 0; i < n; i++)
      to[i] = (from[i] - mean) * inverse;
    return;
  }
  for (size_t i = 0; i < n; i++) {
    const float value = (from[i] - mean) * inverse;
    const float raised = value > -clip ? value : -clip;
    to[i] = raised < clip ? raised : clip;
  }
}
