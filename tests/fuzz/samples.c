#include "tests/fuzz/samples.h"

#include <archive.h>
#include <archive_entry.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jpeglib.h>
#include <png.h>

#include "core/base/base.h"
#include "core/base/philox.h"
#include "core/image/synth.h"
#include "tests/fuzz/checksums.h"

#define SEED 7

static void *allocate(size_t size) {
  void *data = calloc(size ? size : 1, 1);
  if (!data)
    abort();
  return data;
}

void sample_free(struct sample *sample) {
  free(sample->data);
  *sample = (struct sample){NULL, 0};
}

/* ---- images ---- */

static struct sample jpeg(const uint8_t *rgb, uint32_t side, bool progressive, bool grey) {
  struct jpeg_compress_struct info;
  struct jpeg_error_mgr manager;
  struct sample sample = {NULL, 0};
  unsigned long bytes = 0;
  info.err = jpeg_std_error(&manager);
  jpeg_create_compress(&info);
  jpeg_mem_dest(&info, &sample.data, &bytes);
  info.image_width = info.image_height = side;
  info.input_components = 3;
  info.in_color_space = JCS_RGB;
  jpeg_set_defaults(&info);
  if (grey)
    jpeg_set_colorspace(&info, JCS_GRAYSCALE);
  jpeg_set_quality(&info, 60, TRUE);
  if (progressive)
    jpeg_simple_progression(&info);
  jpeg_start_compress(&info, TRUE);
  while (info.next_scanline < side) {
    JSAMPROW row = (JSAMPROW)(uintptr_t)(rgb + (size_t)info.next_scanline * side * 3);
    (void)jpeg_write_scanlines(&info, &row, 1);
  }
  jpeg_finish_compress(&info);
  jpeg_destroy_compress(&info);
  sample.size = bytes;
  return sample;
}

static void append(png_structp png, png_bytep data, size_t size) {
  FILE *out = png_get_io_ptr(png);
  (void)fwrite(data, 1, size, out);
}

static void flush(png_structp png) {
  (void)png;
}

/* 8 bits a sample; a palette of 16 greys, RGB, or RGB with alpha, interlaced. */
static struct sample png(const uint8_t *rgb, uint32_t side, enum image_kind kind) {
  struct sample sample = {NULL, 0};
  char *text = NULL;
  FILE *out = open_memstream(&text, &sample.size);
  png_structp file = png_create_write_struct(PNG_LIBPNG_VER_STRING, NULL, NULL, NULL);
  png_infop info = png_create_info_struct(file);
  const bool palette = kind == IMAGE_PNG_PALETTE, alpha = kind == IMAGE_PNG_ALPHA_INTERLACED;
  const uint32_t channels = palette ? 1 : alpha ? 4 : 3;
  png_color colours[16];
  uint8_t *pixels = allocate((size_t)side * side * channels);
  uint8_t **rows = allocate(side * sizeof(uint8_t *));
  png_set_write_fn(file, out, append, flush);
  png_set_IHDR(file, info, side, side, 8,
               palette ? PNG_COLOR_TYPE_PALETTE
               : alpha ? PNG_COLOR_TYPE_RGB_ALPHA
                       : PNG_COLOR_TYPE_RGB,
               alpha ? PNG_INTERLACE_ADAM7 : PNG_INTERLACE_NONE, PNG_COMPRESSION_TYPE_DEFAULT,
               PNG_FILTER_TYPE_DEFAULT);
  for (uint8_t i = 0; i < 16; i++)
    colours[i] = (png_color){(uint8_t)(i * 17), (uint8_t)(i * 17), (uint8_t)(i * 17)};
  if (palette)
    png_set_PLTE(file, info, colours, 16);
  for (size_t i = 0; i < (size_t)side * side; i++) {
    if (palette)
      pixels[i] = rgb[3 * i] >> 4;
    else
      memcpy(pixels + channels * i, rgb + 3 * i, 3);
    if (alpha)
      pixels[4 * i + 3] = (uint8_t)i;
  }
  for (uint32_t y = 0; y < side; y++)
    rows[y] = pixels + (size_t)y * side * channels;
  png_set_rows(file, info, rows);
  png_write_png(file, info, PNG_TRANSFORM_IDENTITY, NULL);
  png_destroy_write_struct(&file, &info);
  (void)fclose(out);
  free(pixels);
  free(rows);
  sample.data = (uint8_t *)text;
  return sample;
}

static struct sample pnm(const uint8_t *rgb, uint32_t side, bool plain) {
  struct sample sample = {NULL, 0};
  char *text = NULL;
  FILE *out = open_memstream(&text, &sample.size);
  (void)fprintf(out, plain ? "P3\n# drawn\n%u %u\n255\n" : "P5\n%u %u\n255\n", side, side);
  for (size_t i = 0; i < (size_t)side * side * 3; i++)
    if (plain)
      (void)fprintf(out, "%u%c", rgb[i], i % 12 == 11 ? '\n' : ' ');
    else if (i % 3 == 1)
      (void)fputc(rgb[i], out);
  (void)fclose(out);
  sample.data = (uint8_t *)text;
  return sample;
}

static const struct {
  const char *name, *suffix;
} images[IMAGE_KINDS] = {
    [IMAGE_JPEG] = {"jpeg", "jpg"},
    [IMAGE_JPEG_PROGRESSIVE] = {"jpeg-progressive", "jpg"},
    [IMAGE_JPEG_GREY] = {"jpeg-grey", "jpg"},
    [IMAGE_PNG_RGB] = {"png", "png"},
    [IMAGE_PNG_PALETTE] = {"png-palette", "png"},
    [IMAGE_PNG_ALPHA_INTERLACED] = {"png-alpha-interlaced", "png"},
    [IMAGE_PGM] = {"pgm", "pgm"},
    [IMAGE_PPM_PLAIN] = {"ppm-plain", "ppm"},
};

const char *sample_image_name(enum image_kind kind) {
  return images[kind].name;
}
const char *sample_image_suffix(enum image_kind kind) {
  return images[kind].suffix;
}

struct sample sample_image(enum image_kind kind, uint32_t side, uint32_t person) {
  struct sample sample;
  uint8_t *rgb = allocate((size_t)side * side * 3);
  synth_face(SEED, person, (uint32_t)kind, side, rgb);
  switch (kind) {
  case IMAGE_PNG_RGB:
  case IMAGE_PNG_PALETTE:
  case IMAGE_PNG_ALPHA_INTERLACED:
    sample = png(rgb, side, kind);
    break;
  case IMAGE_PGM:
  case IMAGE_PPM_PLAIN:
    sample = pnm(rgb, side, kind == IMAGE_PPM_PLAIN);
    break;
  default:
    sample = jpeg(rgb, side, kind == IMAGE_JPEG_PROGRESSIVE, kind == IMAGE_JPEG_GREY);
  }
  free(rgb);
  return sample;
}

struct sample sample_png_header(uint32_t width, uint32_t height) {
  static const uint8_t
      chunks[] = {0x89, 'P',  'N', 'G', '\r', '\n', 0x1a, '\n', 0,    0,    0,    13,
                  'I',  'H',  'D', 'R', 0,    0,    0,    0,    0,    0,    0,    0,
                  8,    2,    0,   0,   0,    0,    0,    0,    0, /* IHDR: 8 bits, RGB */
                  0,    0,    0,   12,  'I',  'D',  'A',  'T',  0x78, 0x9c, 0x63, 0x60,
                  0x60, 0x60, 0,   0,   0,    4,    0,    1,    0,    0,    0,    0, /* IDAT: four zeros */
                  0,    0,    0,   0,   'I',  'E',  'N',  'D',  0,    0,    0,    0};
  struct sample sample = {allocate(sizeof(chunks)), sizeof(chunks)};
  memcpy(sample.data, chunks, sizeof(chunks));
  for (int i = 0; i < 4; i++) {
    sample.data[16 + i] = (uint8_t)(width >> (24 - 8 * i));
    sample.data[20 + i] = (uint8_t)(height >> (24 - 8 * i));
  }
  png_repair(sample.data, sample.size);
  return sample;
}

/* ---- archives ---- */

struct archive_writer {
  struct archive *archive;
  FILE *out;
  char *text;
  size_t size;
};

static la_ssize_t take(struct archive *archive, void *context, const void *data, size_t size) {
  struct archive_writer *writer = context;
  (void)archive;
  return (la_ssize_t)fwrite(data, 1, size, writer->out);
}

const char *sample_archive_name(enum archive_kind kind) {
  static const char *const names[ARCHIVE_KINDS] = {"tar", "tar.gz", "zip"};
  return names[kind];
}
const char *sample_archive_type(enum archive_kind kind) {
  static const char *const types[ARCHIVE_KINDS] = {"application/x-tar", "application/gzip",
                                                   "application/zip"};
  return types[kind];
}

struct archive_writer *archive_begin(enum archive_kind kind) {
  struct archive_writer *writer = allocate(sizeof(*writer));
  writer->archive = archive_write_new();
  writer->out = open_memstream(&writer->text, &writer->size);
  if (kind == ARCHIVE_ZIP)
    (void)archive_write_set_format_zip(writer->archive);
  else
    (void)archive_write_set_format_pax_restricted(writer->archive);
  if (kind == ARCHIVE_TAR_GZ &&
      (archive_write_add_filter_gzip(writer->archive) != ARCHIVE_OK ||
       archive_write_set_filter_option(writer->archive, "gzip", "timestamp", NULL) != ARCHIVE_OK))
    abort(); /* the time would make two files of the same content differ */
  (void)archive_write_set_bytes_in_last_block(writer->archive, 1);
  if (!writer->out || archive_write_open(writer->archive, writer, NULL, take, NULL) != ARCHIVE_OK)
    abort();
  return writer;
}

void archive_add(struct archive_writer *writer, const char *path, char type, const char *target,
                 const void *data, size_t size) {
  struct archive_entry *entry = archive_entry_new();
  archive_entry_set_pathname(entry, path);
  archive_entry_set_perm(entry, 0644);
  archive_entry_set_filetype(entry, type == 'd'   ? AE_IFDIR
                                    : type == 'l' ? AE_IFLNK
                                    : type == 'c' ? AE_IFCHR
                                    : type == 'p' ? AE_IFIFO
                                                  : AE_IFREG);
  if (type == 'l')
    archive_entry_set_symlink(entry, target);
  if (type == 'h')
    archive_entry_set_hardlink(entry, target);
  archive_entry_set_size(entry, (int64_t)size);
  if (archive_write_header(writer->archive, entry) >= ARCHIVE_WARN && size > 0)
    (void)archive_write_data(writer->archive, data, size);
  archive_entry_free(entry);
}

struct sample archive_end(struct archive_writer *writer) {
  (void)archive_write_close(writer->archive);
  (void)archive_write_free(writer->archive);
  (void)fclose(writer->out);
  struct sample sample = {(uint8_t *)writer->text, writer->size};
  free(writer);
  return sample;
}

struct sample sample_archive(enum archive_kind kind, uint32_t side) {
  struct archive_writer *writer = archive_begin(kind);
  archive_add(writer, "faces/", 'd', NULL, NULL, 0);
  for (uint32_t i = 0; i < IMAGE_KINDS; i++) {
    char path[64];
    struct sample image = sample_image((enum image_kind)i, side, i / 4);
    (void)snprintf(path, sizeof(path), "faces/p%u/%u.%s", i / 4, i, images[i].suffix);
    archive_add(writer, path, 'f', NULL, image.data, image.size);
    sample_free(&image);
  }
  archive_add(writer, "faces/p0/notes.txt", 'f', NULL, "no image", 8);
  archive_add(writer, "faces/p1/link.jpg", 'l', "/etc/passwd", NULL, 0);
  return archive_end(writer);
}

struct sample sample_bomb(enum archive_kind kind, size_t bytes) {
  struct archive_writer *writer = archive_begin(kind);
  uint8_t *zeros = allocate(bytes);
  archive_add(writer, "person/zeros.ppm", 'f', NULL, zeros, bytes);
  free(zeros);
  return archive_end(writer);
}

/* ---- mutation ---- */

static void change(struct sample *sample, size_t capacity, struct rng *rng) {
  static const uint32_t limits[] = {0,      1,      0x7f,       0x80,       0xff,      0x7fff,
                                    0x8000, 0xffff, 0x7fffffff, 0x80000000, UINT32_MAX};
  const size_t at = rng_below(rng, (uint32_t)sample->size), left = sample->size - at;
  const size_t length = 1 + rng_below(rng, (uint32_t)MIN(left, (size_t)64));
  switch (rng_below(rng, 8)) {
  case 0:
    sample->data[at] ^= (uint8_t)(1u << rng_below(rng, 8));
    break;
  case 1:
    sample->data[at] = (uint8_t)rng_below(rng, 256);
    break;
  case 2: { /* a number at its limit, little- or big-endian */
    const uint32_t value = limits[rng_below(rng, ARRAY_SIZE(limits))];
    const bool big = rng_below(rng, 2) == 1;
    for (size_t i = 0; i < MIN(left, (size_t)4); i++)
      sample->data[at + i] = (uint8_t)(value >> (big ? 24 - 8 * i : 8 * i));
    break;
  }
  case 3: /* cut out */
    if (length < sample->size) {
      memmove(sample->data + at, sample->data + at + length, left - length);
      sample->size -= length;
    }
    break;
  case 4: /* cut off, seldom: what follows is not seen any more */
    if (rng_below(rng, 8) == 0)
      sample->size = at + 1;
    break;
  case 5: /* repeat */
    if (sample->size + length <= capacity) {
      memmove(sample->data + at + length, sample->data + at, left);
      sample->size += length;
    }
    break;
  case 6: /* over another place */
    memmove(sample->data + rng_below(rng, (uint32_t)(sample->size - length + 1)), sample->data + at, length);
    break;
  default:
    memset(sample->data + at, rng_below(rng, 2) ? 0xff : 0, length);
  }
}

struct sample sample_mutate(const struct sample *sample, uint64_t seed) {
  const size_t capacity = sample->size + 1024;
  struct sample mutated = {allocate(capacity), sample->size};
  struct rng rng;
  rng_init(&rng, seed, RNG_SYNTH, 0, 0);
  memcpy(mutated.data, sample->data, sample->size);
  for (uint32_t n = 1 + rng_below(&rng, 8); n > 0 && mutated.size > 0; n--)
    change(&mutated, capacity, &rng);
  if (rng_below(&rng, 4) != 0) {
    png_repair(mutated.data, mutated.size);
    tar_repair(mutated.data, mutated.size);
  }
  return mutated;
}
