/* A key file. Any secret that is accepted gives an order of channels that is a permutation. */
#include <string.h>

#include "core/mask/key.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  struct mask_key key;
  struct mask_order order;
  struct guise_error err = {0};
  bool seen[MASK_CHANNELS_MAX] = {false};
  if (mask_key_read(fuzz_file(data, size), &key, &err) < 0) {
    FUZZ_CHECK(err.text[0]);
    return 0;
  }
  const uint32_t channels = 1 + key.secret[0] % MASK_CHANNELS_MAX;
  mask_key_order(&key, channels, &order);
  for (uint32_t c = 0; c < channels; c++) {
    FUZZ_CHECK(order.channel[c] < channels && !seen[order.channel[c]]);
    seen[order.channel[c]] = true;
  }
  mask_key_erase(&key);
  return 0;
}
