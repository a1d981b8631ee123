/* IEEE 754 half precision, by hand: compilers differ in whether they have the type. */
#pragma once

#include <stdint.h>
#include <string.h>

/* Exact. */
static inline float half_to_float(uint16_t half) {
  const uint32_t sign = (uint32_t)(half & 0x8000u) << 16, exponent = (half >> 10) & 31u,
                 fraction = half & 1023u;
  uint32_t bits;
  float value;
  if (exponent == 0) { /* zero or subnormal: fraction * 2^-24 */
    value = (float)fraction * 0x1p-24f;
    return sign ? -value : value;
  }
  bits = sign | (exponent == 31 ? 0x7f800000u : (exponent + 112) << 23) | fraction << 13;
  memcpy(&value, &bits, sizeof(value));
  return value;
}

/* To the nearest, ties to even; what is too large becomes infinity. */
static inline uint16_t half_from_float(float value) {
  uint32_t bits;
  memcpy(&bits, &value, sizeof(bits));
  const uint16_t sign = (uint16_t)(bits >> 16 & 0x8000u);
  const uint32_t magnitude = bits & 0x7fffffffu;
  if (magnitude > 0x7f800000u)
    return (uint16_t)(sign | 0x7e00u); /* not a number */
  if (magnitude >= 0x477ff000u)
    return (uint16_t)(sign | 0x7c00u);
  if (magnitude < 0x38800000u) { /* subnormal: adding 1/2 in units of 2^-24 rounds as the processor does */
    float absolute, shifted;
    uint32_t out;
    memcpy(&absolute, &magnitude, sizeof(absolute));
    shifted = absolute + 0.5f;
    memcpy(&out, &shifted, sizeof(out));
    return (uint16_t)(sign | (out - 0x3f000000u));
  }
  const uint32_t rounded = magnitude + 0xfffu + (magnitude >> 13 & 1u);
  return (uint16_t)(sign | ((rounded - 0x38000000u) >> 13));
}
