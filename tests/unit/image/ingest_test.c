/* Archives: bad files are listed and left out, and what would harm the service fails whole. */
// wraps: pwrite
#include <limits.h>
#include <stdatomic.h>
#include <sys/types.h>
#include <unistd.h>

#include "tests/unit/image/archive_fixture.h"

static const char *code_of(const struct rejects *rejects, const char *path) {
  for (uint32_t i = 0; i < rejects->count && i < 64; i++)
    if (strcmp(rejects->path[i], path) == 0)
      return rejects->code[i];
  return "(not rejected)";
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

/* Some files that no decoder survives are left out; an archive of them is not tried to its end. */
static void files_that_wear_out_decoders(void **state) {
  (void)state;
  static char good[SIDE * SIDE * 3 + 32];
  static char names[100][16];
  struct file files[100];
  char script[256], body[512];
  struct rejects rejects = {0};
  struct ingest_callbacks callbacks = {.context = &rejects, .reject = on_reject};
  struct ingest_result result;
  struct guise_error err = {0};
  for (size_t i = 0; i < ARRAY_SIZE(files); i++) {
    (void)snprintf(names[i], sizeof(names[i]), "a/%zu.ppm", i);
    files[i] = (struct file){names[i], good, make_ppm(0, 0, good), 0};
  }
  write_script("exit 1", script);
  write_archive("tar", files, ARRAY_SIZE(files));
  assert_int_equal(ingest_archive(archive_path, pack_path, SIDE, script, 1, NULL, &callbacks, &result, &err),
                   -EBADMSG);
  assert_non_null(strstr(err.text, "leave out"));
  assert_int_equal(rejects.count, 33);
  assert_int_equal(starts(), 66);
  assert_string_equal(code_of(&rejects, "a/32.ppm"), "decoder_failed");
  /* 64 times in vain: that many an archive may have, and its other files are taken */
  (void)snprintf(body, sizeof(body), "test $(wc -c < %s/starts) -gt 64 && exec %s\nexit 1", root, DECODER);
  write_script(body, script);
  memset(&rejects, 0, sizeof(rejects));
  if (ingest_archive(archive_path, pack_path, SIDE, script, 1, NULL, &callbacks, &result, &err) < 0)
    fail_msg("%s", err.text);
  assert_int_equal(rejects.count, 32);
  assert_int_equal(result.images, 68);
  assert_int_equal(starts(), 65);
}

/* ---- a disk that fills ---- */

static atomic_uint takes_bytes; /* that the disk takes in one call; 0 = all */
static atomic_llong room_bytes = LLONG_MAX;

ssize_t __real_pwrite(int fd, const void *data, size_t size, off_t offset);
ssize_t __wrap_pwrite(int fd, const void *data, size_t size, off_t offset);

ssize_t __wrap_pwrite(int fd, const void *data, size_t size, off_t offset) {
  const long long room = atomic_load(&room_bytes);
  const unsigned takes = atomic_load(&takes_bytes);
  if (room == 0) {
    errno = ENOSPC;
    return -1;
  }
  size = MIN(size, takes ? takes : size);
  size = room < (long long)size ? (size_t)room : size;
  atomic_fetch_sub(&room_bytes, (long long)size);
  const ssize_t n = __real_pwrite(fd, data, size, offset);
  errno = EBADF; /* of some earlier call: success leaves errno open */
  return n;
}

static void a_disk_that_takes_parts(void **state) {
  (void)state;
  static char good[2][SIDE * SIDE * 3 + 32];
  const struct file files[] = {{"a/1.ppm", good[0], make_ppm(0, 0, good[0]), 0},
                               {"a/2.ppm", good[1], make_ppm(0, 1, good[1]), 0}};
  struct rejects rejects = {0};
  struct ingest_result whole, parts;
  struct guise_error err = {0};
  write_archive("tar", files, 2);
  assert_int_equal(ingest(&rejects, &whole, &err), 0);
  atomic_store(&takes_bytes, 1000);
  assert_int_equal(ingest(&rejects, &parts, &err), 0);
  assert_string_equal(parts.sha256, whole.sha256);
  atomic_store(&room_bytes, SIDE * SIDE * 3 + 100);
  assert_int_equal(ingest(&rejects, &parts, &err), -ENOSPC);
  atomic_store(&takes_bytes, 0);
  atomic_store(&room_bytes, 100);
  assert_int_equal(ingest(&rejects, &parts, &err), -ENOSPC);
  assert_non_null(strstr(err.text, "No space left"));
  atomic_store(&room_bytes, LLONG_MAX);
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
      cmocka_unit_test(bad_files_are_listed_and_skipped),
      cmocka_unit_test(archives_that_break_fail_whole),
      cmocka_unit_test(bombs),
      cmocka_unit_test(files_that_wear_out_decoders),
      cmocka_unit_test(a_disk_that_takes_parts),
      cmocka_unit_test(real_faces),
  };
  return cmocka_run_group_tests(tests, setup, teardown);
}
