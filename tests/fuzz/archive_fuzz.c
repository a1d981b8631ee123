/* An uploaded archive on its way to a pack, without helper processes: what decoder.c asks guise-decode is
 * done in this process, which also puts the decoders under the fuzzer. The pack must be one that opens. */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/image/decode.h"
#include "core/image/decoder.h"
#include "core/image/ingest.h"
#include "core/image/pack.h"
#include "tests/fuzz/checksums.h"
#include "tests/fuzz/fuzz.h"

#define SIDE 16u

void decoder_init(struct decoder *decoder, const char *program) {
  *decoder = (struct decoder){.program = program, .socket = -1};
}

void decoder_stop(struct decoder *decoder) {
  (void)decoder;
}

int decoder_run(struct decoder *decoder, const void *data, size_t bytes, uint32_t size, uint8_t *ret_rgb,
                const char **ret_code, char detail[200], struct guise_error *err) {
  struct decoded image = {NULL, 0, 0};
  (void)decoder;
  (void)err;
  if (bytes == 0 || image_decode(data, bytes, &image, detail) != DECODE_OK) {
    *ret_code = "corrupt";
    return -EBADMSG;
  }
  image_resize(image.rgb, image.width, image.height, ret_rgb, size);
  free(image.rgb);
  return 0;
}

static void on_reject(void *context, const char *path, const char *code, const char *detail) {
  json_t *text = json_string(path);
  (void)context;
  (void)detail;
  FUZZ_CHECK(text && strlen(path) <= 512 && *code);
  json_decref(text);
}

static void check_pack(const char *path, const struct ingest_result *result) {
  struct pack *pack = NULL;
  FUZZ_CHECK(pack_open(path, &pack, NULL) == 0);
  FUZZ_CHECK(pack_images(pack) == result->images && pack_identities(pack) == result->identities);
  for (uint32_t i = 0; i < pack_images(pack); i++) {
    const char *person = pack_identity_name(pack, pack_identity_of(pack, i)),
               *name = pack_image_name(pack, i);
    FUZZ_CHECK(*person && *name && strcmp(person, "..") != 0 && strcmp(name, "..") != 0);
    FUZZ_CHECK(!strpbrk(person, "/\\") && !strpbrk(name, "/\\"));
  }
  pack_free(pack);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  static const struct ingest_limits limits = {.entry_bytes = 1 << 20,
                                              .total_bytes = 8 << 20,
                                              .pack_bytes = 1 << 20,
                                              .entries = 1000,
                                              .ratio = 200,
                                              .image_side = DECODE_SIDE_MAX};
  const struct ingest_callbacks callbacks = {.reject = on_reject};
  struct ingest_result result;
  struct guise_error err = {0};
  char pack[64];
  (void)snprintf(pack, sizeof(pack), "/dev/shm/guise-fuzz-%ld.pack", (long)getpid());
  if (ingest_archive(fuzz_file(data, size), pack, SIDE, "", 1, &limits, &callbacks, &result, &err) == 0)
    check_pack(pack, &result);
  else
    FUZZ_CHECK(err.text[0] && access(pack, F_OK) < 0);
  (void)unlink(pack);
  return 0;
}

#ifdef GUISE_FUZZ
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned seed) {
  size = LLVMFuzzerMutate(data, size, max_size);
  if (seed % 4 != 0) /* the rest shows that wrong checksums are found */
    tar_repair(data, size);
  return size;
}
#endif
