#include <stdio.h>
#include <string.h>

#include <png.h>

#include "core/image/decode.h"

struct source {
  const uint8_t *data;
  size_t left;
};

struct reader {
  png_structp png;
  png_infop info;
  png_bytep *rows;
  struct decoded image;
  char *reason;
};

static void read_bytes(png_structp png, png_bytep out, size_t count) {
  struct source *source = png_get_io_ptr(png);
  if (count > source->left)
    png_error(png, "the file ends too early");
  memcpy(out, source->data, count);
  source->data += count;
  source->left -= count;
}

static void fail(png_structp png, png_const_charp text) {
  struct reader *reader = png_get_error_ptr(png);
  (void)snprintf(reader->reason, 200, "%.190s", text);
  png_longjmp(png, 1);
}

static void ignore(png_structp png, png_const_charp text) {
  (void)png;
  (void)text;
}

/* Setjmp lives here alone: what changes afterwards is reached through pointers. */
static enum decode_status read_pixels(struct reader *reader, struct source *source) {
  png_structp png = reader->png;
  png_infop info = reader->info;
  if (setjmp(png_jmpbuf(png)))
    return DECODE_CORRUPT;
  png_set_user_limits(png, DECODE_SIDE_MAX, DECODE_SIDE_MAX);
  png_set_chunk_cache_max(png, 16);
  png_set_chunk_malloc_max(png, 1 << 20);
  png_set_read_fn(png, source, read_bytes);
  png_read_info(png, info);
  enum decode_status status = decode_allocate(png_get_image_width(png, info), png_get_image_height(png, info),
                                              &reader->image, reader->reason);
  if (status != DECODE_OK)
    return status;
  png_set_expand(png);
  png_set_scale_16(png);
  png_set_gray_to_rgb(png);
  png_color_16 black = {0, 0, 0, 0, 0};
  png_set_background_fixed(png, &black, PNG_BACKGROUND_GAMMA_SCREEN, 0, PNG_FP_1);
  (void)png_set_interlace_handling(png);
  png_read_update_info(png, info);
  if (png_get_rowbytes(png, info) != (size_t)reader->image.width * 3)
    png_error(png, "the rows have an unexpected size");
  reader->rows = malloc(sizeof(*reader->rows) * reader->image.height);
  if (!reader->rows)
    png_error(png, "out of memory");
  for (uint32_t y = 0; y < reader->image.height; y++)
    reader->rows[y] = reader->image.rgb + (size_t)y * reader->image.width * 3;
  png_read_image(png, reader->rows);
  png_read_end(png, NULL);
  return DECODE_OK;
}

enum decode_status decode_png(const uint8_t *data, size_t bytes, struct decoded *ret_image,
                              char reason[200]) {
  struct source source = {data, bytes};
  struct reader reader = {.reason = reason};
  enum decode_status status = DECODE_DIMENSIONS;
  reader.png = png_create_read_struct(PNG_LIBPNG_VER_STRING, &reader, fail, ignore);
  if (reader.png)
    reader.info = png_create_info_struct(reader.png);
  if (reader.info)
    status = read_pixels(&reader, &source);
  png_destroy_read_struct(&reader.png, &reader.info, NULL);
  free(reader.rows);
  if (status == DECODE_OK)
    *ret_image = reader.image;
  else
    free(reader.image.rgb);
  return status;
}
