#include <setjmp.h>
#include <stdio.h>
#include <string.h>

#include <jpeglib.h>

#include "core/image/decode.h"

/* A progressive file of a few bytes can ask for thousands of passes over a large image. */
#define SCANS_MAX 100

struct failure {
  struct jpeg_error_mgr manager;
  jmp_buf back;
  struct jpeg_progress_mgr progress;
  char *reason;
};

static void fail(j_common_ptr info) {
  struct failure *failure = (struct failure *)(void *)info->err;
  char text[JMSG_LENGTH_MAX];
  info->err->format_message(info, text);
  (void)snprintf(failure->reason, 200, "%.190s", text);
  longjmp(failure->back, 1);
}

/* Warnings are corrupt data: what follows would be grey or smeared. */
static void warn(j_common_ptr info, int level) {
  if (level < 0)
    fail(info);
}

static void silent(j_common_ptr info) {
  (void)info;
}

static void limit_scans(j_common_ptr info) {
  if (info->is_decompressor && ((j_decompress_ptr)(void *)info)->input_scan_number > SCANS_MAX) {
    struct failure *failure = (struct failure *)(void *)info->err;
    (void)snprintf(failure->reason, 200, "the file has more than %d scans", SCANS_MAX);
    longjmp(failure->back, 1);
  }
}

/* Setjmp lives here alone: no local of this frame changes between setjmp and longjmp. */
static enum decode_status read_pixels(struct jpeg_decompress_struct *info, struct failure *failure,
                                      const uint8_t *data, size_t bytes, struct decoded *image) {
  if (setjmp(failure->back))
    return DECODE_CORRUPT;
  jpeg_create_decompress(info); /* clears all but err */
  failure->progress.progress_monitor = limit_scans;
  info->progress = &failure->progress;
  jpeg_mem_src(info, data, (unsigned long)bytes);
  (void)jpeg_read_header(info, TRUE);
  if (info->jpeg_color_space == JCS_CMYK || info->jpeg_color_space == JCS_YCCK) {
    (void)snprintf(failure->reason, 200, "CMYK JPEG files are not read: convert the file to RGB");
    return DECODE_UNSUPPORTED;
  }
  enum decode_status status = decode_allocate(info->image_width, info->image_height, image, failure->reason);
  if (status != DECODE_OK)
    return status;
  info->out_color_space = JCS_RGB;
  info->dct_method = JDCT_ISLOW;
  (void)jpeg_start_decompress(info);
  while (info->output_scanline < info->output_height) {
    JSAMPROW row = image->rgb + (size_t)info->output_scanline * image->width * 3;
    (void)jpeg_read_scanlines(info, &row, 1);
  }
  (void)jpeg_finish_decompress(info);
  return DECODE_OK;
}

enum decode_status decode_jpeg(const uint8_t *data, size_t bytes, struct decoded *ret_image,
                               char reason[200]) {
  struct jpeg_decompress_struct info;
  struct failure failure;
  memset(&info, 0, sizeof(info));
  memset(&failure, 0, sizeof(failure));
  struct decoded *image = calloc(1, sizeof(*image));
  if (!image)
    return DECODE_DIMENSIONS;
  info.err = jpeg_std_error(&failure.manager);
  failure.manager.error_exit = fail;
  failure.manager.emit_message = warn;
  failure.manager.output_message = silent;
  failure.reason = reason;
  enum decode_status status = read_pixels(&info, &failure, data, bytes, image);
  jpeg_destroy_decompress(&info);
  if (status == DECODE_OK)
    *ret_image = *image;
  else
    free(image->rgb);
  free(image);
  return status;
}
