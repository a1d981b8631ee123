#include "core/image/decode.h"

#include <stdio.h>
#include <string.h>

enum decode_status decode_allocate(uint64_t width, uint64_t height, struct decoded *ret_image,
                                   char reason[200]) {
  if (width == 0 || height == 0 || width > DECODE_SIDE_MAX || height > DECODE_SIDE_MAX ||
      width * height > DECODE_PIXELS_MAX) {
    (void)snprintf(reason, 200, "the image is %llu x %llu pixels; at most %u a side and %u in all are read",
                   (unsigned long long)width, (unsigned long long)height, DECODE_SIDE_MAX, DECODE_PIXELS_MAX);
    return DECODE_DIMENSIONS;
  }
  ret_image->rgb = malloc((size_t)(width * height) * 3);
  if (!ret_image->rgb) {
    (void)snprintf(reason, 200, "out of memory for %llu x %llu pixels", (unsigned long long)width,
                   (unsigned long long)height);
    return DECODE_DIMENSIONS;
  }
  ret_image->width = (uint32_t)width;
  ret_image->height = (uint32_t)height;
  return DECODE_OK;
}

enum decode_status image_decode(const uint8_t *data, size_t bytes, struct decoded *ret_image,
                                char reason[200]) {
  static const uint8_t png[8] = {0x89, 'P', 'N', 'G', '\r', '\n', 0x1a, '\n'};
  reason[0] = 0;
  if (bytes >= 3 && data[0] == 0xff && data[1] == 0xd8 && data[2] == 0xff)
    return decode_jpeg(data, bytes, ret_image, reason);
  if (bytes >= 8 && memcmp(data, png, 8) == 0)
    return decode_png(data, bytes, ret_image, reason);
  if (bytes >= 3 && data[0] == 'P' && (data[1] == '2' || data[1] == '3' || data[1] == '5' || data[1] == '6'))
    return decode_pnm(data, bytes, ret_image, reason);
  (void)snprintf(reason, 200, "not a JPEG, PNG, PGM or PPM file");
  return DECODE_UNSUPPORTED;
}
