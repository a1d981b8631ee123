#include "core/model/png.h"

#include <png.h>
#include <sodium.h>
#include <string.h>

int png_encode(const uint8_t *rgb, uint32_t width, uint32_t height, void **ret_png, size_t *ret_bytes) {
  png_image image = {
      .version = PNG_IMAGE_VERSION, .width = width, .height = height, .format = PNG_FORMAT_RGB};
  if (width == 0 || height == 0 || width > 8192 || height > 8192)
    return -EINVAL;
  png_alloc_size_t bytes = PNG_IMAGE_PNG_SIZE_MAX(image);
  _cleanup_(freep) void *png = malloc(bytes);
  if (!png)
    return -ENOMEM;
  if (!png_image_write_to_memory(&image, png, &bytes, 0, rgb, 0, NULL))
    return -EIO; /* libpng has freed its state */
  *ret_png = TAKE(png);
  *ret_bytes = bytes;
  return 0;
}

int png_data_uri(const uint8_t *rgb, uint32_t width, uint32_t height, char **ret_uri) {
  static const char prefix[] = "data:image/png;base64,";
  _cleanup_(freep) void *png = NULL;
  size_t bytes = 0;
  int r = png_encode(rgb, width, height, &png, &bytes);
  if (r < 0)
    return r;
  size_t encoded = sodium_base64_encoded_len(bytes, sodium_base64_VARIANT_ORIGINAL); /* with its NUL */
  char *uri = malloc(sizeof(prefix) - 1 + encoded);
  if (!uri)
    return -ENOMEM;
  memcpy(uri, prefix, sizeof(prefix) - 1);
  (void)sodium_bin2base64(uri + sizeof(prefix) - 1, encoded, png, bytes, sodium_base64_VARIANT_ORIGINAL);
  *ret_uri = uri;
  return 0;
}
