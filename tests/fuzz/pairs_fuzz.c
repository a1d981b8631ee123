/* A pairs list, for its form alone and against a pack of three people. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/image/pack.h"
#include "core/image/pack_format.h"
#include "core/image/pairs.h"
#include "tests/fuzz/fuzz.h"

#define PEOPLE 3u
#define IMAGES 4u
#define SIDE 16u

static struct pack *small_pack(void) {
  static char identity[PEOPLE][16], name[PEOPLE * IMAGES][32];
  struct pack_entry entries[PEOPLE * IMAGES];
  struct ingest_result result = {0};
  struct pack *pack = NULL;
  char slots[] = "/dev/shm/guise-fuzz-XXXXXX", path[64];
  int fd = mkostemp(slots, O_CLOEXEC);
  FUZZ_CHECK(fd >= 0 && ftruncate(fd, PEOPLE * IMAGES * SIDE * SIDE * 3) == 0);
  (void)snprintf(path, sizeof(path), "%s.pack", slots);
  for (uint32_t i = 0; i < PEOPLE * IMAGES; i++) {
    (void)snprintf(identity[i / IMAGES], sizeof(identity[0]), "Ann_%u", i / IMAGES);
    (void)snprintf(name[i], sizeof(name[0]), "Ann_%u_%04u.pgm", i / IMAGES, i % IMAGES + 1);
    entries[i] = (struct pack_entry){identity[i / IMAGES], name[i], i, true};
  }
  FUZZ_CHECK(pack_write(path, fd, 0, SIDE, entries, PEOPLE * IMAGES, NULL, &result, NULL) == 0);
  FUZZ_CHECK(pack_open(path, &pack, NULL) == 0);
  (void)unlink(slots);
  (void)unlink(path);
  (void)close(fd);
  return pack;
}

static void parse(const uint8_t *data, size_t size, const struct pack *pack) {
  _cleanup_(freep) struct pair_entry *entries = NULL;
  uint32_t count = 0, folds = 0;
  struct guise_error err = {0};
  if (pairs_parse((const char *)data, size, pack, &entries, &count, &folds, &err) < 0) {
    FUZZ_CHECK(err.text[0]);
    return;
  }
  FUZZ_CHECK(count > 0 && folds > 0);
  for (uint32_t i = 0; i < count; i++) {
    FUZZ_CHECK(entries[i].fold < folds);
    FUZZ_CHECK(!pack || (entries[i].a < pack_images(pack) && entries[i].b < pack_images(pack)));
  }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  static struct pack *pack;
  if (!pack)
    pack = small_pack();
  parse(data, size, NULL);
  parse(data, size, pack);
  return 0;
}
