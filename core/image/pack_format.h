/* Layout of a pack, version 1 (little-endian):
 *
 *   header        64 bytes, struct pack_header
 *   image table   images * {u32 identity, u32 name}     name: offset into names
 *   person table  identities * {u32 first, u32 count, u32 name, u32 0}
 *   names         NUL-terminated UTF-8
 *   pixels        at a multiple of 4096: images * size * size * 3 bytes RGB */
#pragma once

#include <stdint.h>

#include "core/image/ingest.h"

#define PACK_MAGIC "GUISEPK1"
#define PACK_ALIGN 4096u

struct pack_header {
  char magic[8];
  uint32_t version, size, images, identities;
  uint64_t names_bytes, pixels_offset, file_bytes;
  uint64_t reserved[2];
};
_Static_assert(sizeof(struct pack_header) == 64, "the header is 64 bytes");
_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "packs are mapped as they are");

struct pack_image_row {
  uint32_t identity, name;
};
struct pack_person_row {
  uint32_t first, count, name, zero;
};

/* One decoded image waiting in the slots file. */
struct pack_entry {
  char *identity, *name; /* owned */
  uint32_t slot;
  bool good;
};

/* Natural order: runs of digits compare as numbers, "2" before "10"; ties by bytes. */
int natural_compare(const char *a, const char *b);

/* Sorts the good entries, reports duplicates (the lower slot wins) through callbacks, and writes the pack:
 * images are copied from slots_fd at base + slot * size * size * 3. Fills ret_result's identities, images,
 * bytes, sha256 and adds to rejected. */
int pack_write(const char *path, int slots_fd, uint64_t base, uint32_t size, struct pack_entry *entries,
               uint32_t count, const struct ingest_callbacks *callbacks, struct ingest_result *ret_result,
               struct guise_error *err);
