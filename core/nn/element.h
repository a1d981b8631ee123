/* Elements of tensors: float, or bfloat16 (the upper half of a float, rounded to nearest even). */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

static inline float bfloat16_to_float(uint16_t value) {
  const uint32_t bits = (uint32_t)value << 16;
  float result;
  memcpy(&result, &bits, sizeof(result));
  return result;
}

static inline uint16_t bfloat16_from_float(float value) {
  uint32_t bits;
  memcpy(&bits, &value, sizeof(bits));
  if ((bits & 0x7fffffffu) > 0x7f800000u) /* a NaN stays one: rounding could carry it into infinity */
    return (uint16_t)(bits >> 16 | 0x40u);
  return (uint16_t)((bits + 0x7fffu + (bits >> 16 & 1u)) >> 16);
}

static inline float element_get(const void *tensor, size_t i, bool half) {
  return half ? bfloat16_to_float(((const uint16_t *)tensor)[i]) : ((const float *)tensor)[i];
}

static inline void element_set(void *tensor, size_t i, float value, bool half) {
  if (half)
    ((uint16_t *)tensor)[i] = bfloat16_from_float(value);
  else
    ((float *)tensor)[i] = value;
}
