/* Range, If-Range, If-None-Match and Content-Digest. Input: 8 bytes of a file's size, then the header. */
#include <stdlib.h>
#include <string.h>

#include "api/range.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  static const char tag[] = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
  uint64_t bytes = 0, offset = 0, length = 0;
  char sha256[SHA256_HEX], text[DIGEST_TEXT], again[SHA256_HEX];
  if (size < sizeof(bytes))
    return 0;
  memcpy(&bytes, data, sizeof(bytes));
  bytes &= INT64_MAX; /* files are not larger */
  char *header = fuzz_text(data + sizeof(bytes), size - sizeof(bytes));
  if (range_parse(header, bytes, &offset, &length) == RANGE_PART)
    FUZZ_CHECK(length > 0 && offset < bytes && length <= bytes - offset);
  if (if_range_holds(header, tag))
    FUZZ_CHECK(etag_matches(header, tag));
  if (digest_parse(header, sha256) == 1) {
    digest_format(sha256, text);
    FUZZ_CHECK(digest_parse(text, again) == 1 && strcmp(sha256, again) == 0);
  }
  free(header);
  return 0;
}
