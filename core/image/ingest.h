/* From an untrusted archive of IDENTITY/IMAGE files to a pack. Images are decoded in `guise-decode`, an
 * exec'd helper under seccomp and rlimits; a bad file is reported and skipped and never fails the data set.
 */
#pragma once

#include <stdint.h>

#include "core/base/base.h"
#include "core/base/file.h"

struct ingest_limits {
  uint64_t entry_bytes;      /* of one archive entry; default 32 MiB */
  uint64_t total_bytes;      /* read from all entries; default 64 GiB */
  uint64_t pack_bytes;       /* of the pack; default 64 GiB */
  uint32_t entries;          /* default 5,000,000 */
  uint32_t ratio;            /* unpacked : packed, default 200 */
  uint32_t decoder_failures; /* files that two decoders died or were late on; default 32 */
  uint32_t image_side;       /* pixels, default 8,192; width * height <= 40 M */
};
extern const struct ingest_limits ingest_limits_default;

struct ingest_callbacks {
  void *context;
  /* `path` is valid UTF-8 (bad bytes replaced) and at most 512 bytes. `code` is one word: "unsupported_type",
   * "too_large", "corrupt", "bad_path", "bad_dimensions", "duplicate", "decoder_failed". */
  void (*reject)(void *context, const char *path, const char *code, const char *detail);
  void (*progress)(void *context, uint32_t images, uint64_t bytes_read);
  bool (*should_stop)(void *context);
};

struct ingest_result {
  uint32_t identities, images, rejected;
  uint64_t bytes;          /* of the pack */
  char sha256[SHA256_HEX]; /* of the pack */
};

/* Reads archive file `archive` (tar, tar.gz, zip; told by content), decodes with the program `decoder`,
 * writes the pack to `pack_path` (fsynced; the caller renames it into place). size: 16..224, a multiple of 8.
 * limits NULL = default. -ECANCELED when should_stop said so; -EBADMSG when the archive cannot be read as
 * one, or is one that only wears out decoders; -ENODATA when it has no usable image; err says what to do.
 * Blocks; runs one decoder a core given by `decoders` (1..8). */
int ingest_archive(const char *archive, const char *pack_path, uint32_t size, const char *decoder,
                   uint32_t decoders, const struct ingest_limits *limits,
                   const struct ingest_callbacks *callbacks, struct ingest_result *ret_result,
                   struct guise_error *err);
/* Decodes one image in memory the same way, for `embed`. */
int decode_image(const char *decoder, const void *data, size_t bytes, uint32_t size, uint8_t *ret_rgb,
                 struct guise_error *err);
