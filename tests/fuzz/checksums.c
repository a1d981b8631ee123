#include "tests/fuzz/checksums.h"

#include <stdio.h>
#include <string.h>

#define TAR_BLOCK 512u

static uint32_t crc32_of(const uint8_t *data, size_t size) {
  uint32_t crc = UINT32_MAX;
  for (size_t i = 0; i < size; i++) {
    crc ^= data[i];
    for (int bit = 0; bit < 8; bit++)
      crc = crc >> 1 ^ (crc & 1 ? 0xedb88320u : 0);
  }
  return ~crc;
}

static uint32_t big_endian(const uint8_t *p) {
  return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

void png_repair(uint8_t *data, size_t size) {
  static const uint8_t signature[8] = {0x89, 'P', 'N', 'G', '\r', '\n', 0x1a, '\n'};
  if (size < sizeof(signature) || memcmp(data, signature, sizeof(signature)) != 0)
    return;
  for (size_t at = sizeof(signature); size - at >= 12;) { /* length, type, data, CRC */
    const size_t length = big_endian(data + at);
    if (length > size - at - 12)
      return;
    const uint32_t crc = crc32_of(data + at + 4, length + 4);
    for (int i = 0; i < 4; i++)
      data[at + 8 + length + (size_t)i] = (uint8_t)(crc >> (24 - 8 * i));
    at += length + 12;
  }
}

void tar_repair(uint8_t *data, size_t size) {
  for (size_t at = 0; at + TAR_BLOCK <= size; at += TAR_BLOCK) {
    uint8_t *header = data + at;
    unsigned sum = 8 * ' ';
    char text[8];
    if (memcmp(header + 257, "ustar", 5) != 0)
      continue;
    for (size_t i = 0; i < TAR_BLOCK; i++)
      sum += i >= 148 && i < 156 ? 0u : header[i];
    (void)snprintf(text, sizeof(text), "%06o", sum);
    memcpy(header + 148, text, 7);
    header[155] = ' ';
  }
}
