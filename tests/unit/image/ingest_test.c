/* From archives to packs: containers, hostile archives and images, the jail, packs that were tampered with.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <archive.h>
#include <archive_entry.h>
#include <fcntl.h>
#include <jpeglib.h>
#include <png.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/base/file.h"
#include "core/base/philox.h"
#include "core/image/decoder.h"
#include "core/image/ingest.h"
#include "core/image/pack.h"
#include "core/image/synth.h"

#define DECODER GUISE_BUILD "/guise-decode"
#define SIDE 32u

static char root[] = "/tmp/guise-image-XXXXXX";
static char archive_path[256], pack_path[256];

struct rejects {
  uint32_t count;
  char path[64][600], code[64][32];
};

static void on_reject(void *context, const char *path, const char *code, const char *detail) {
  struct rejects *rejects = context;
  assert_true(strlen(path) <= 512 && *detail);
  if (rejects->count < 64) {
    (void)snprintf(rejects->path[rejects->count], sizeof(rejects->path[0]), "%s", path);
    (void)snprintf(rejects->code[rejects->count], sizeof(rejects->code[0]), "%s", code);
  }
  rejects->count++;
}

static const char *code_of(const struct rejects *rejects, const char *path) {
  for (uint32_t i = 0; i < rejects->count && i < 64; i++)
    if (strcmp(rejects->path[i], path) == 0)
      return rejects->code[i];
  return "(not rejected)";
}

/* ---- making files
 * ----------------------------------------------------------------------------------------------------- */

struct file {
  const char *path;
  const void *data;
  size_t bytes;
  int type; /* 0 = regular */
};

static void write_archive(const char *format, const struct file *files, size_t count) {
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

static size_t make_ppm(uint32_t person, uint32_t image, char *out) {
  int head = sprintf(out, "P6\n%u %u\n255\n", SIDE, SIDE);
  synth_face(3, person, image, SIDE, (uint8_t *)out + head);
  return (size_t)head + SIDE * SIDE * 3;
}

static size_t make_jpeg(const uint8_t *rgb, uint32_t side, unsigned char **ret_data) {
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

static size_t make_png(const uint8_t *rgb, uint32_t side, uint8_t *out, size_t room) {
  png_image image;
  png_alloc_size_t bytes = room;
  memset(&image, 0, sizeof(image));
  image.version = PNG_IMAGE_VERSION;
  image.width = image.height = side;
  image.format = PNG_FORMAT_RGB;
  assert_true(png_image_write_to_memory(&image, out, &bytes, 0, rgb, 0, NULL));
  return bytes;
}

static int ingest(struct rejects *rejects, struct ingest_result *result, struct guise_error *err) {
  struct ingest_callbacks callbacks = {.context = rejects, .reject = on_reject};
  return ingest_archive(archive_path, pack_path, SIDE, DECODER, 2, NULL, &callbacks, result, err);
}

static int setup(void **state) {
  (void)state;
  assert_non_null(mkdtemp(root));
  (void)snprintf(archive_path, sizeof(archive_path), "%s/archive", root);
  (void)snprintf(pack_path, sizeof(pack_path), "%s/pack", root);
  (void)signal(SIGPIPE, SIG_DFL); /* a dead helper must not need it ignored */
  return 0;
}

static int teardown(void **state) {
  (void)state;
  return directory_remove(root);
}

/* ---- tests
 * -------------------------------------------------------------------------------------------------------------
 */

static void the_same_faces_give_the_same_pack(void **state) {
  (void)state;
  static const char *const formats[] = {"tar", "tar.gz", "zip"};
  static char ppm[4][SIDE * SIDE * 3 + 32];
  struct file files[4] = {{"faces/b/10.ppm", ppm[0], 0, 0},
                          {"faces/b/2.ppm", ppm[1], 0, 0},
                          {"./a/1.ppm", ppm[2], 0, 0},
                          {"a/x.ppm", ppm[3], 0, 0}};
  char first[SHA256_HEX] = "";
  for (uint32_t i = 0; i < 4; i++)
    files[i].bytes = make_ppm(i / 2, i, ppm[i]);
  for (size_t f = 0; f < 3; f++) {
    struct rejects rejects = {0};
    struct ingest_result result;
    struct guise_error err = {0};
    struct pack *pack = NULL;
    if (f == 2) { /* another order */
      struct file swap = files[0];
      files[0] = files[3];
      files[3] = swap;
    }
    write_archive(formats[f], files, 4);
    if (ingest(&rejects, &result, &err) < 0)
      fail_msg("%s: %s", formats[f], err.text);
    assert_int_equal(result.images, 4);
    assert_int_equal(result.identities, 2);
    assert_int_equal(rejects.count, 0);
    if (f > 0)
      assert_string_equal(result.sha256, first);
    memcpy(first, result.sha256, sizeof(first));
    assert_int_equal(pack_open(pack_path, &pack, &err), 0);
    assert_string_equal(pack_identity_name(pack, 0), "a");
    assert_string_equal(pack_image_name(pack, 2), "2.ppm"); /* natural order: 2 before 10 */
    assert_string_equal(pack_image_name(pack, 3), "10.ppm");
    assert_memory_equal(pack_image(pack, 3), ppm[0] + strlen("P6\n32 32\n255\n"), SIDE * SIDE * 3);
    uint32_t person = 99;
    assert_int_equal(pack_find_identity(pack, "b", &person), 0);
    assert_int_equal(person, 1);
    assert_int_equal(pack_find_identity(pack, "c", &person), -ENOENT);
    pack_free(pack);
  }
}

/* A pack without a person, or an image, is the one that an upload without them would have become. */
static void a_pack_without_a_person(void **state) {
  (void)state;
  static char ppm[5][SIDE * SIDE * 3 + 32];
  struct file files[5] = {{"a/1.ppm", ppm[0], 0, 0},
                          {"a/2.ppm", ppm[1], 0, 0},
                          {"b/1.ppm", ppm[2], 0, 0},
                          {"c/sub/1.ppm", ppm[3], 0, 0},
                          {"c/2.ppm", ppm[4], 0, 0}};
  static const struct {
    const char *identity, *image;
    uint32_t left_out[2], count; /* files */
  } cases[] = {{"b", NULL, {2}, 1}, {"a", NULL, {0, 1}, 2}, {"a", "2.ppm", {1}, 1}, {"b", "1.ppm", {2}, 1}};
  char whole[160], rest[160];
  (void)snprintf(whole, sizeof(whole), "%s/whole", root);
  (void)snprintf(rest, sizeof(rest), "%s/rest", root);
  struct rejects rejects = {0};
  struct ingest_result result, expected;
  for (uint32_t i = 0; i < 5; i++)
    files[i].bytes = make_ppm(i, i, ppm[i]);
  write_archive("tar", files, 5);
  assert_int_equal(ingest(&rejects, &result, NULL), 0);
  assert_int_equal(rename(pack_path, whole), 0);
  for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
    struct file left[5];
    size_t count = 0;
    for (uint32_t k = 0; k < 5; k++)
      if (k != cases[i].left_out[0] && (cases[i].count == 1 || k != cases[i].left_out[1]))
        left[count++] = files[k];
    write_archive("tar", left, count);
    assert_int_equal(ingest(&rejects, &expected, NULL), 0);
    assert_int_equal(pack_without(whole, cases[i].identity, cases[i].image, rest, &result, NULL), 0);
    assert_string_equal(result.sha256, expected.sha256);
    assert_int_equal(result.images, expected.images);
    assert_int_equal(result.identities, expected.identities);
    assert_int_equal(result.bytes, expected.bytes);
  }
  assert_int_equal(pack_without(whole, "d", NULL, rest, &result, NULL), -ENOENT);
  assert_int_equal(pack_without(whole, "a", "9.ppm", rest, &result, NULL), -ENOENT);
  write_archive("tar", files, 2);
  assert_int_equal(ingest(&rejects, &expected, NULL), 0);
  assert_int_equal(pack_without(pack_path, "a", NULL, rest, &result, NULL), -ENODATA);
}

static void codecs(void **state) {
  (void)state;
  uint8_t rgb[SIDE * SIDE * 3], out[SIDE * SIDE * 3], png[SIDE * SIDE * 4 + 1024];
  unsigned char *jpeg = NULL;
  struct guise_error err = {0};
  synth_face(1, 2, 3, SIDE, rgb);
  size_t bytes = make_png(rgb, SIDE, png, sizeof(png));
  assert_int_equal(decode_image(DECODER, png, bytes, SIDE, out, &err), 0);
  assert_memory_equal(out, rgb, sizeof(rgb));
  bytes = make_jpeg(rgb, SIDE, &jpeg);
  assert_int_equal(decode_image(DECODER, jpeg, bytes, SIDE, out, &err), 0);
  double error = 0;
  for (size_t i = 0; i < sizeof(rgb); i++)
    error += abs((int)rgb[i] - (int)out[i]);
  assert_true(error / sizeof(rgb) < 6); /* chroma is subsampled */
  assert_int_equal(decode_image(DECODER, jpeg, bytes / 2, SIDE, out, &err), -EBADMSG);
  assert_non_null(strstr(err.text, "corrupt"));
  free(jpeg);
  static const struct {
    const char *file;
    uint8_t first[3];
  } plain[] = {{"P2 # grey\n1 1\n# max\n10\n5\n", {128, 128, 128}},
               {"P3\n1 1 255\n1 2 3", {1, 2, 3}},
               {"P5 1 1 255\n\x07", {7, 7, 7}}};
  for (size_t i = 0; i < ARRAY_SIZE(plain); i++) {
    if (decode_image(DECODER, plain[i].file, strlen(plain[i].file), SIDE, out, &err) < 0)
      fail_msg("%zu: %s", i, err.text);
    assert_memory_equal(out, plain[i].first, 3);
    assert_memory_equal(out + sizeof(out) - 3, plain[i].first, 3);
  }
  static const struct {
    const char *file, *code;
  } bad[] = {{"GIF89a", "unsupported_type"},
             {"P6 9000 9000 255\n", "corrupt"},
             {"P2 9000 9000 255\n1 1 1", "bad_dimensions"},
             {"P5 2 2 255\n\x01", "corrupt"},
             {"P2 1 1 10\n11\n", "corrupt"},
             {"P5 -1 1 255\n\x01", "corrupt"},
             {"P5 1 1 0\n\x01", "corrupt"}};
  for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
    assert_int_equal(decode_image(DECODER, bad[i].file, strlen(bad[i].file), SIDE, out, &err), -EBADMSG);
    if (!strstr(err.text, bad[i].code))
      fail_msg("%zu: %s", i, err.text);
  }
}

static void bad_files_are_listed_and_skipped(void **state) {
  (void)state;
  static char good[SIDE * SIDE * 3 + 32];
  size_t bytes = make_ppm(0, 0, good);
  const struct file files[] = {
      {"a/1.ppm", good, bytes, 0},         {"a/1.ppm", good, bytes, 0},
      {"../a/2.ppm", good, bytes, 0},      {"/a/3.ppm", good, bytes, 0},
      {"4.ppm", good, bytes, 0},           {"a/link.ppm", "", 0, AE_IFLNK},
      {"a/notes.txt", "hello", 5, 0},      {"a/empty.ppm", "", 0, 0},
      {"a/.hidden.ppm", good, bytes, 0},   {"__MACOSX/a/1.ppm", good, bytes, 0},
      {"a/new\nline.ppm", good, bytes, 0}, {"a/short.ppm", good, bytes - 5, 0},
      {"a/bad\xff.ppm", good, bytes, 0},   {"b/1.ppm", good, bytes, 0},
  };
  struct rejects rejects = {0};
  struct ingest_result result;
  struct guise_error err = {0};
  write_archive("tar", files, ARRAY_SIZE(files));
  if (ingest(&rejects, &result, &err) < 0)
    fail_msg("%s", err.text);
  assert_int_equal(result.images, 2);
  assert_int_equal(result.identities, 2);
  assert_string_equal(code_of(&rejects, "a/1.ppm"), "duplicate");
  assert_string_equal(code_of(&rejects, "../a/2.ppm"), "bad_path");
  assert_string_equal(code_of(&rejects, "/a/3.ppm"), "bad_path");
  assert_string_equal(code_of(&rejects, "4.ppm"), "bad_path");
  assert_string_equal(code_of(&rejects, "a/link.ppm"), "unsupported_type");
  assert_string_equal(code_of(&rejects, "a/notes.txt"), "unsupported_type");
  assert_string_equal(code_of(&rejects, "a/empty.ppm"), "corrupt");
  assert_string_equal(code_of(&rejects, "a/new?line.ppm"), "bad_path");
  assert_string_equal(code_of(&rejects, "a/short.ppm"), "corrupt");
  assert_string_equal(code_of(&rejects, "a/bad?.ppm"), "bad_path");
  assert_int_equal(result.rejected, rejects.count);
  assert_int_equal(rejects.count, 10);
}

static void archives_that_break_fail_whole(void **state) {
  (void)state;
  static char good[SIDE * SIDE * 3 + 32];
  const struct file files[] = {{"a/1.ppm", good, make_ppm(0, 0, good), 0},
                               {"a/2.ppm", good, make_ppm(0, 0, good), 0}};
  struct rejects rejects = {0};
  struct ingest_result result;
  struct guise_error err = {0};
  write_archive("tar", files, 2);
  assert_int_equal(truncate(archive_path, 5000), 0);
  assert_int_equal(ingest(&rejects, &result, &err), -EBADMSG);
  assert_non_null(strstr(err.text, "upload a whole"));
  assert_int_equal(access(pack_path, F_OK), -1);
  assert_int_equal(file_write_atomic(archive_path, "certainly no archive", 20, NULL), 0);
  assert_int_equal(ingest(&rejects, &result, &err), -EBADMSG);
  write_archive("tar", &(struct file){"a/readme.txt", "text", 4, 0}, 1);
  assert_int_equal(ingest(&rejects, &result, &err), -ENODATA);
  assert_int_equal(
      ingest_archive(archive_path, pack_path, SIDE, "/nonexistent/decode", 1, NULL, NULL, &result, &err),
      -ENOENT);
  assert_non_null(strstr(err.text, "decoder"));
}

static void bombs(void **state) {
  (void)state;
  struct ingest_limits limits = ingest_limits_default;
  struct ingest_result result;
  struct guise_error err = {0};
  size_t bytes = 24 << 20;
  char *zeros = calloc(bytes, 1);
  assert_non_null(zeros);
  write_archive("tar.gz", &(struct file){"a/1.ppm", zeros, bytes, 0}, 1);
  assert_int_equal(ingest_archive(archive_path, pack_path, SIDE, DECODER, 1, NULL, NULL, &result, &err),
                   -EBADMSG);
  assert_non_null(strstr(err.text, "times its size"));
  limits.ratio = 1000000;
  limits.entry_bytes = 1 << 20;
  struct rejects rejects = {0};
  struct ingest_callbacks callbacks = {.context = &rejects, .reject = on_reject};
  assert_int_equal(
      ingest_archive(archive_path, pack_path, SIDE, DECODER, 1, &limits, &callbacks, &result, &err),
      -ENODATA);
  assert_string_equal(code_of(&rejects, "a/1.ppm"), "too_large");
  limits.entry_bytes = UINT64_MAX;
  limits.total_bytes = 8 << 20;
  assert_int_equal(ingest_archive(archive_path, pack_path, SIDE, DECODER, 1, &limits, NULL, &result, &err),
                   -EFBIG);
  free(zeros);
}

/* Mutated files must end in an answer, and the same decoder must go on working. */
static void mutated_images(void **state) {
  (void)state;
  uint8_t rgb[SIDE * SIDE * 3], out[SIDE * SIDE * 3], png[SIDE * SIDE * 4 + 1024];
  unsigned char *jpeg = NULL;
  struct decoder decoder;
  struct rng rng;
  synth_face(1, 2, 3, SIDE, rgb);
  const size_t sizes[2] = {make_png(rgb, SIDE, png, sizeof(png)), make_jpeg(rgb, SIDE, &jpeg)};
  decoder_init(&decoder, DECODER);
  rng_init(&rng, 5, RNG_ATTACK, 0, 0);
  for (int round = 0; round < 400; round++) {
    int which = round % 2;
    uint8_t *copy = malloc(sizes[which]);
    memcpy(copy, which ? jpeg : png, sizes[which]);
    for (uint32_t i = 0; i <= rng_below(&rng, 8); i++)
      copy[rng_below(&rng, (uint32_t)sizes[which])] = (uint8_t)rng_u32(&rng);
    size_t bytes = rng_below(&rng, 4) ? sizes[which] : rng_below(&rng, (uint32_t)sizes[which]) + 1;
    const char *code = "";
    char detail[200];
    struct guise_error err = {0};
    int r = decoder_run(&decoder, copy, bytes, SIDE, out, &code, detail, &err);
    if (r != 0 && r != -EBADMSG)
      fail_msg("round %d: %s", round, err.text);
    assert_string_not_equal(code, "decoder_failed");
    free(copy);
  }
  decoder_stop(&decoder);
  free(jpeg);
}

static void a_killed_decoder_is_replaced(void **state) {
  (void)state;
  uint8_t rgb[SIDE * SIDE * 3], out[SIDE * SIDE * 3], png[SIDE * SIDE * 4 + 1024];
  struct decoder decoder;
  struct guise_error err = {0};
  const char *code = "";
  char detail[200];
  synth_face(1, 2, 3, SIDE, rgb);
  size_t bytes = make_png(rgb, SIDE, png, sizeof(png));
  decoder_init(&decoder, DECODER);
  assert_int_equal(decoder_run(&decoder, png, bytes, SIDE, out, &code, detail, &err), 0);
  assert_int_equal(kill(decoder.pid, SIGKILL), 0);
  assert_int_equal(decoder_run(&decoder, png, bytes, SIDE, out, &code, detail, &err), -EBADMSG);
  assert_string_equal(code, "decoder_failed");
  assert_int_equal(decoder_run(&decoder, png, bytes, SIDE, out, &code, detail, &err), 0);
  assert_memory_equal(out, rgb, sizeof(rgb));
  decoder_stop(&decoder);
}

static long status_field(int pid, const char *field) {
  char path[64], line[256];
  long value = -1;
  (void)snprintf(path, sizeof(path), "/proc/%d/status", pid);
  FILE *file = fopen(path, "re");
  assert_non_null(file);
  while (fgets(line, sizeof(line), file))
    if (strncmp(line, field, strlen(field)) == 0)
      value = strtol(line + strlen(field), NULL, 10);
  (void)fclose(file);
  return value;
}

static void the_jail_is_in_force(void **state) {
  (void)state;
  uint8_t out[SIDE * SIDE * 3];
  struct decoder decoder;
  struct guise_error err = {0};
  const char *code = "", *file = "P5 1 1 255\n\x07";
  char detail[200], path[64];
  decoder_init(&decoder, DECODER);
  assert_int_equal(decoder_run(&decoder, file, strlen(file), SIDE, out, &code, detail, &err), 0);
  assert_int_equal(status_field(decoder.pid, "NoNewPrivs:"), 1);
#ifndef GUISE_SANITIZED
  assert_int_equal(status_field(decoder.pid, "Seccomp:"), 2);
#endif
  (void)snprintf(path, sizeof(path), "/proc/%d/environ", decoder.pid);
  FILE *environment = fopen(path, "re");
  assert_true(!environment || fgetc(environment) == EOF);
  if (environment)
    (void)fclose(environment);
  decoder_stop(&decoder);
}

static void tampered_packs_are_refused(void **state) {
  (void)state;
  static char ppm[2][SIDE * SIDE * 3 + 32];
  const struct file files[] = {{"a/1.ppm", ppm[0], make_ppm(0, 0, ppm[0]), 0},
                               {"b/1.ppm", ppm[1], make_ppm(1, 0, ppm[1]), 0}};
  struct rejects rejects = {0};
  struct ingest_result result;
  struct guise_error err = {0};
  char *data = NULL;
  size_t bytes = 0;
  struct rng rng;
  write_archive("tar", files, 2);
  assert_int_equal(ingest(&rejects, &result, &err), 0);
  assert_int_equal(file_read(pack_path, 1 << 20, &data, &bytes, &err), 0);
  rng_init(&rng, 6, RNG_ATTACK, 0, 0);
  uint32_t refused = 0;
  for (int round = 0; round < 600; round++) {
    char saved[4];
    size_t at = rng_below(&rng, 120);
    struct pack *pack = NULL;
    memcpy(saved, data + at, 4);
    for (int i = 0; i < 4; i++)
      data[at + (size_t)i] = (char)rng_u32(&rng);
    assert_int_equal(file_write_atomic(archive_path, data, bytes, &err), 0);
    if (pack_open(archive_path, &pack, &err) < 0) {
      refused++;
    } else { /* whatever is accepted can be read everywhere */
      uint32_t sum = 0;
      for (uint32_t i = 0; i < pack_images(pack); i++)
        sum += pack_image(pack, i)[0] + pack_image(pack, i)[pack_size(pack) * pack_size(pack) * 3 - 1] +
               (uint32_t)strlen(pack_image_name(pack, i)) +
               (uint32_t)strlen(pack_identity_name(pack, pack_identity_of(pack, i)));
      assert_true(sum > 0);
      pack_free(pack);
    }
    memcpy(data + at, saved, 4);
  }
  assert_true(refused > 300);
  for (size_t cut = 0; cut < bytes; cut += bytes / 37) {
    struct pack *pack = NULL;
    assert_int_equal(file_write_atomic(archive_path, data, cut, &err), 0);
    assert_true(pack_open(archive_path, &pack, &err) < 0);
  }
  free(data);
}

static void resizing(void **state) {
  (void)state;
  uint8_t flat[40 * 30 * 3], out[64 * 64 * 3], ramp[64 * 64 * 3], half[32 * 32 * 3];
  memset(flat, 77, sizeof(flat));
  image_resize(flat, 40, 30, out, 64);
  for (size_t i = 0; i < sizeof(out); i++)
    assert_int_equal(out[i], 77);
  for (uint32_t y = 0; y < 64; y++)
    for (uint32_t x = 0; x < 64; x++)
      memset(ramp + (y * 64 + x) * 3, (int)(2 * x), 3);
  image_resize(ramp, 64, 64, half, 32);
  for (uint32_t x = 0; x < 32; x++) /* the mean of 4x and 4x+2, rounded up */
    assert_int_equal(half[x * 3], 4 * x + 1);
}

/* Counts that anybody can check with tar tf. */
static void real_faces(void **state) {
  (void)state;
  static const struct {
    const char *name;
    uint32_t people, images;
  } sets[] = {{"orl.tar", 40, 400}, {"celeb24.tar", 24, 288}};
  const char *data = getenv("GUISE_TEST_DATA");
  if (!data || !*data) {
    print_message("SKIPPED: real_faces: GUISE_TEST_DATA is not set\n");
    skip();
  }
  for (size_t i = 0; i < ARRAY_SIZE(sets); i++) {
    char path[512];
    struct rejects rejects = {0};
    struct ingest_callbacks callbacks = {.context = &rejects, .reject = on_reject};
    struct ingest_result result;
    struct guise_error err = {0};
    (void)snprintf(path, sizeof(path), "%s/%s", data, sets[i].name);
    if (ingest_archive(path, pack_path, 112, DECODER, 2, NULL, &callbacks, &result, &err) < 0)
      fail_msg("%s", err.text);
    assert_int_equal(result.identities, sets[i].people);
    assert_int_equal(result.images, sets[i].images);
    assert_int_equal(rejects.count, 0);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(the_same_faces_give_the_same_pack),
      cmocka_unit_test(a_pack_without_a_person),
      cmocka_unit_test(codecs),
      cmocka_unit_test(bad_files_are_listed_and_skipped),
      cmocka_unit_test(archives_that_break_fail_whole),
      cmocka_unit_test(bombs),
      cmocka_unit_test(mutated_images),
      cmocka_unit_test(a_killed_decoder_is_replaced),
      cmocka_unit_test(the_jail_is_in_force),
      cmocka_unit_test(tampered_packs_are_refused),
      cmocka_unit_test(resizing),
      cmocka_unit_test(real_faces),
  };
  return cmocka_run_group_tests(tests, setup, teardown);
}
