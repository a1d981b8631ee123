/* Tensors in requests of the Open Inference Protocol. Input: a byte of form (images, floats), then the body.
 */
#include <stdlib.h>
#include <string.h>

#include "api/tensor.h"
#include "tests/fuzz/fuzz.h"

#define SIDE 2u
#define IMAGES 4u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  uint8_t rgb[IMAGES * 3 * SIDE * SIDE + 1];
  struct guise_error err = {0, ""};
  size_t begin = 0, end = 0;
  if (size == 0)
    return 0;
  const struct tensor_form form = {.images = 1 + data[0] % IMAGES, .side = SIDE, .floats = data[0] & 0x80};
  const size_t values = form.images * 3 * SIDE * SIDE;
  rgb[values] = 0xa5;
  int r = tensor_read_binary(data + 1, size - 1, &form, rgb, &err);
  FUZZ_CHECK(r == 0 || (r == -EINVAL && *err.text));
  FUZZ_CHECK(r < 0 || size - 1 == values * (form.floats ? 4 : 1));
  char *text = fuzz_text(data + 1, size - 1);
  const size_t bytes = strlen(text);
  if (tensor_find(text, bytes, &begin, &end)) {
    FUZZ_CHECK(begin < end && end <= bytes && text[begin] == '[' && text[end - 1] == ']');
    r = tensor_read_json(text + begin, end - begin, &form, rgb, &err);
    FUZZ_CHECK(r == 0 || (r == -EINVAL && *err.text));
    FUZZ_CHECK(r < 0 || end - begin > 2 * values);
  }
  FUZZ_CHECK(rgb[values] == 0xa5);
  free(text);
  return 0;
}
