/* Images and archives of them, made here, and a folder in which they become packs. */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <archive.h>
#include <archive_entry.h>
#include <jpeglib.h>
#include <png.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/base/file.h"
#include "core/image/ingest.h"
#include "core/image/synth.h"

#define DECODER GUISE_BUILD "/guise-decode"
#define SIDE 32u

static char root[] = "/tmp/guise-image-XXXXXX";
static char archive_path[256], pack_path[256];

struct rejects {
  uint32_t count;
  char path[64][600], code[64][32];
};

static inline void on_reject(void *context, const char *path, const char *code, const char *detail) {
  struct rejects *rejects = context;
  assert_true(strlen(path) <= 512 && *detail);
  if (rejects->count < 64) {
    (void)snprintf(rejects->path[rejects->count], sizeof(rejects->path[0]), "%s", path);
    (void)snprintf(rejects->code[rejects->count], sizeof(rejects->code[0]), "%s", code);
  }
  rejects->count++;
}

struct file {
  const char *path;
  const void *data;
  size_t bytes;
  int type; /* 0 = regular */
};

static inline void write_archive(const char *format, const struct file *files, size_t count) {
  struct archive *archive = archive_write_new();
  if (strcmp(format, "zip") == 0)
    (void)archive_write_set_format_zip(archive);
  else
    (void)archive_write_set_format_ustar(archive);
  if (strcmp(format, "tar.gz") == 0)
    (void)archive_write_add_filter_gzip(archive);
  assert_int_equal(archive_write_open_filename(archive, archive_path), ARCHIVE_OK);
  for (size_t i = 0; i < count; i++) {
    struct archive_entry *entry = archive_entry_new();
    archive_entry_set_pathname(entry, files[i].path);
    archive_entry_set_perm(entry, 0644);
    archive_entry_set_filetype(entry, files[i].type ? (unsigned)files[i].type : (unsigned)AE_IFREG);
    if (files[i].type == AE_IFLNK)
      archive_entry_set_symlink(entry, "/etc/passwd");
    else
      archive_entry_set_size(entry, (int64_t)files[i].bytes);
    assert_true(archive_write_header(archive, entry) >= ARCHIVE_WARN);
    if (files[i].type != AE_IFLNK)
      assert_int_equal(archive_write_data(archive, files[i].data, files[i].bytes),
                       (la_ssize_t)files[i].bytes);
    archive_entry_free(entry);
  }
  assert_int_equal(archive_write_close(archive), ARCHIVE_OK);
  (void)archive_write_free(archive);
}

static inline size_t make_ppm(uint32_t person, uint32_t image, char *out) {
  int head = sprintf(out, "P6\n%u %u\n255\n", SIDE, SIDE);
  synth_face(3, person, image, SIDE, (uint8_t *)out + head);
  return (size_t)head + SIDE * SIDE * 3;
}

static inline size_t make_jpeg(const uint8_t *rgb, uint32_t side, unsigned char **ret_data) {
  struct jpeg_compress_struct info;
  struct jpeg_error_mgr manager;
  unsigned long bytes = 0;
  *ret_data = NULL;
  info.err = jpeg_std_error(&manager);
  jpeg_create_compress(&info);
  jpeg_mem_dest(&info, ret_data, &bytes);
  info.image_width = info.image_height = side;
  info.input_components = 3;
  info.in_color_space = JCS_RGB;
  jpeg_set_defaults(&info);
  jpeg_set_quality(&info, 100, TRUE);
  jpeg_start_compress(&info, TRUE);
  while (info.next_scanline < side) {
    JSAMPROW row = (JSAMPROW)(uintptr_t)(rgb + (size_t)info.next_scanline * side * 3);
    (void)jpeg_write_scanlines(&info, &row, 1);
  }
  jpeg_finish_compress(&info);
  jpeg_destroy_compress(&info);
  return bytes;
}

static inline size_t make_png(const uint8_t *rgb, uint32_t side, uint8_t *out, size_t room) {
  png_image image;
  png_alloc_size_t bytes = room;
  memset(&image, 0, sizeof(image));
  image.version = PNG_IMAGE_VERSION;
  image.width = image.height = side;
  image.format = PNG_FORMAT_RGB;
  assert_true(png_image_write_to_memory(&image, out, &bytes, 0, rgb, 0, NULL));
  return bytes;
}

/* A decoder that is a shell's script; what `starts` counts are the x that it wrote to the file beside it. */
static inline void write_script(const char *body, char ret_path[256]) {
  char text[1024];
  (void)snprintf(ret_path, 256, "%s/decoder", root);
  int length = snprintf(text, sizeof(text), "#!/bin/sh\nprintf x >> %s/starts\n%s\n", root, body);
  assert_in_range(length, 1, sizeof(text) - 1);
  assert_int_equal(file_write_atomic(ret_path, text, (size_t)length, NULL), 0);
  assert_int_equal(chmod(ret_path, 0700), 0);
}

/* Since it was asked last. */
static inline uint64_t starts(void) {
  char path[256];
  struct stat st = {0};
  (void)snprintf(path, sizeof(path), "%s/starts", root);
  if (stat(path, &st) == 0)
    assert_int_equal(unlink(path), 0);
  return (uint64_t)st.st_size;
}

static inline int ingest(struct rejects *rejects, struct ingest_result *result, struct guise_error *err) {
  struct ingest_callbacks callbacks = {.context = rejects, .reject = on_reject};
  return ingest_archive(archive_path, pack_path, SIDE, DECODER, 2, NULL, &callbacks, result, err);
}

static inline int setup(void **state) {
  (void)state;
  assert_non_null(mkdtemp(root));
  (void)snprintf(archive_path, sizeof(archive_path), "%s/archive", root);
  (void)snprintf(pack_path, sizeof(pack_path), "%s/pack", root);
  (void)signal(SIGPIPE, SIG_DFL); /* a dead helper must not need it ignored */
  return 0;
}

static inline int teardown(void **state) {
  (void)state;
  return directory_remove(root);
}
