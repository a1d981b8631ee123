/* A safetensors file: every tensor that is given out can be read to its last byte. */
#include <string.h>

#include "core/model/safetensors.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  _cleanup_(safetensors_freep) struct safetensors *file = NULL;
  struct guise_error err = {0};
  if (safetensors_open(fuzz_file(data, size), &file, &err) < 0) {
    FUZZ_CHECK(err.text[0]);
    return 0;
  }
  for (uint32_t i = 0; i < safetensors_count(file); i++) {
    const struct safetensor *tensor = safetensors_at(file, i);
    FUZZ_CHECK(tensor && tensor->bytes <= size && tensor->rank <= SAFETENSORS_RANK_MAX);
    FUZZ_CHECK(safetensors_find(file, tensor->name) == tensor);
    fuzz_touch(tensor->data, tensor->bytes);
  }
  FUZZ_CHECK(json_is_object(safetensors_metadata(file)));
  return 0;
}
