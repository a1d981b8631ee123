/* Sample files for fuzzing and for hostile uploads: small drawn images and archives of them, whole and cut,
 * and a mutator. Everything follows from its seed. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct sample {
  uint8_t *data; /* malloc'ed */
  size_t size;
};

enum image_kind {
  IMAGE_JPEG,
  IMAGE_JPEG_PROGRESSIVE,
  IMAGE_JPEG_GREY,
  IMAGE_PNG_RGB,
  IMAGE_PNG_PALETTE,
  IMAGE_PNG_ALPHA_INTERLACED,
  IMAGE_PGM,
  IMAGE_PPM_PLAIN,
  IMAGE_KINDS
};
/* A drawn face of `side` pixels; the same arguments give the same bytes. */
struct sample sample_image(enum image_kind kind, uint32_t side, uint32_t person);
const char *sample_image_name(enum image_kind kind);   /* "jpeg-progressive" */
const char *sample_image_suffix(enum image_kind kind); /* "jpg" */

enum archive_kind { ARCHIVE_TAR, ARCHIVE_TAR_GZ, ARCHIVE_ZIP, ARCHIVE_KINDS };
const char *sample_archive_name(enum archive_kind kind); /* "tar.gz" */
const char *sample_archive_type(enum archive_kind kind); /* media type */

/* An archive that is written entry by entry. */
struct archive_writer;
struct archive_writer *archive_begin(enum archive_kind kind);
/* type 'f' file, 'd' directory, 'l' symbolic link, 'h' hard link (to `target`), 'c' character device, 'p'
 * pipe */
void archive_add(struct archive_writer *writer, const char *path, char type, const char *target,
                 const void *data, size_t size);
struct sample archive_end(struct archive_writer *writer);

/* People x images of all kinds, with a directory entry and a file that is no image. */
struct sample sample_archive(enum archive_kind kind, uint32_t side);
/* One file `person/zeros.ppm` of `bytes` zeros: unpacks to thousands of times its size. */
struct sample sample_bomb(enum archive_kind kind, size_t bytes);
/* A PNG that says it has these dimensions and holds next to nothing. */
struct sample sample_png_header(uint32_t width, uint32_t height);

/* Changes a copy in 1 to 8 places: bits, bytes, numbers at their limits, cuts, repeated and moved pieces.
 * Three of four times checksums of PNG and tar are put right again. */
struct sample sample_mutate(const struct sample *sample, uint64_t seed);
void sample_free(struct sample *sample);
