#include "tests/integration/support/faces.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/model/png.h"

#define URI "data:image/png;base64,"

size_t face_png(const uint8_t *rgb, uint32_t side, uint8_t *ret_png, size_t room) {
  char *uri = NULL;
  size_t bytes = 0;
  assert_int_equal(png_data_uri(rgb, side, side, &uri), 0);
  const char *base64 = uri + strlen(URI);
  assert_int_equal(sodium_base642bin(ret_png, room, base64, strlen(base64), NULL, &bytes, NULL,
                                     sodium_base64_VARIANT_ORIGINAL),
                   0);
  free(uri);
  return bytes;
}

void face_planes(const uint8_t *rgb, uint32_t side, uint8_t *ret_planes) {
  const size_t plane = (size_t)side * side;
  for (size_t i = 0; i < 3 * plane; i++)
    ret_planes[i] = rgb[i % plane * 3 + i / plane];
}

size_t face_tensor(const uint8_t *const *rgb, uint32_t count, uint32_t side, uint8_t *ret_body, size_t room,
                   char ret_header[64]) {
  const size_t image = (size_t)3 * side * side;
  const int length =
      snprintf((char *)ret_body, room,
               "{\"inputs\":[{\"name\":\"image\",\"datatype\":\"UINT8\",\"shape\":[%u,3,%u,%u],"
               "\"parameters\":{\"binary_data_size\":%zu}}]}",
               count, side, side, count * image);
  assert_true((size_t)length + count * image <= room);
  (void)snprintf(ret_header, 64, "Inference-Header-Content-Length: %d", length);
  for (uint32_t i = 0; i < count; i++)
    face_planes(rgb[i], side, ret_body + length + i * image);
  return (size_t)length + count * image;
}
