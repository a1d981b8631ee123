/* A pack file: whatever opens can be read through all its functions. */
#include <string.h>

#include "core/image/pack.h"
#include "tests/fuzz/fuzz.h"

static void read_all(const struct pack *pack) {
  const size_t pixels = (size_t)pack_size(pack) * pack_size(pack) * 3;
  uint32_t first = 0, count = 0, found = 0, next = 0;
  for (uint32_t p = 0; p < pack_identities(pack); p++) {
    pack_identity_range(pack, p, &first, &count);
    FUZZ_CHECK(first == next && count > 0);
    next += count;
    fuzz_touch(pack_identity_name(pack, p), strlen(pack_identity_name(pack, p)) + 1);
    (void)pack_find_identity(pack, pack_identity_name(pack, p), &found);
    FUZZ_CHECK(found < pack_identities(pack));
  }
  FUZZ_CHECK(next == pack_images(pack));
  for (uint32_t i = 0; i < pack_images(pack); i++) {
    FUZZ_CHECK(pack_identity_of(pack, i) < pack_identities(pack));
    fuzz_touch(pack_image_name(pack, i), strlen(pack_image_name(pack, i)) + 1);
    fuzz_touch(pack_image(pack, i), pixels);
  }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  struct pack *pack = NULL;
  struct guise_error err = {0};
  if (pack_open(fuzz_file(data, size), &pack, &err) < 0) {
    FUZZ_CHECK(err.text[0]);
    return 0;
  }
  read_all(pack);
  pack_free(pack);
  return 0;
}
