/* One image file, as guise-decode treats it: told by content, decoded, resized. */
#include <stdlib.h>
#include <string.h>

#include "core/image/decode.h"
#include "core/image/pack.h"
#include "tests/fuzz/checksums.h"
#include "tests/fuzz/fuzz.h"

#define SIDE 32u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  struct decoded image = {NULL, 0, 0};
  uint8_t rgb[SIDE * SIDE * 3];
  char reason[200] = "";
  enum decode_status status = image_decode(data, size, &image, reason);
  FUZZ_CHECK(strlen(reason) < sizeof(reason));
  if (status != DECODE_OK) {
    FUZZ_CHECK(reason[0] && !image.rgb);
    return 0;
  }
  FUZZ_CHECK((uint64_t)image.width * image.height <= DECODE_PIXELS_MAX);
  fuzz_touch(image.rgb, (size_t)image.width * image.height * 3);
  image_resize(image.rgb, image.width, image.height, rgb, SIDE);
  fuzz_touch(rgb, sizeof(rgb));
  free(image.rgb);
  return 0;
}

#ifdef GUISE_FUZZ
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned seed) {
  size = LLVMFuzzerMutate(data, size, max_size);
  if (seed % 4 != 0) /* the rest shows that wrong checksums are found */
    png_repair(data, size);
  return size;
}
#endif
