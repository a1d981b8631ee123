/* Files on a disk that fails: each call of write, fsync, rename, open and close in turn. The linker puts the
 * functions below in their places (CMakeLists.txt), in this program only. A file is whole, old or new; what
 * failed is told, and leaves no temporary file and no open descriptor. */
// wraps: write fsync rename open mkostemp mkdir
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "core/base/file.h"

/* ---- faults ---- */

static struct {
  uint32_t calls, fail_at; /* 0 = never */
  int error;
  bool halves; /* writes write half of what they are given: no fault, but callers must go on */
} fault;

static bool fails(void) {
  fault.calls++;
  if (!fault.fail_at || fault.calls != fault.fail_at)
    return false;
  errno = fault.error;
  return true;
}

ssize_t __real_write(int fd, const void *data, size_t size);
int __real_fsync(int fd);
int __real_rename(const char *from, const char *to);
int __real_open(const char *path, int flags, ...);
int __real_mkostemp(char *template, int flags);
int __real_mkdir(const char *path, mode_t mode);
ssize_t __wrap_write(int fd, const void *data, size_t size);
int __wrap_fsync(int fd);
int __wrap_rename(const char *from, const char *to);
int __wrap_open(const char *path, int flags, ...);
int __wrap_mkostemp(char *template, int flags);
int __wrap_mkdir(const char *path, mode_t mode);

ssize_t __wrap_write(int fd, const void *data, size_t size) {
  return fails() ? -1 : __real_write(fd, data, fault.halves && size > 1 ? size / 2 : size);
}
int __wrap_fsync(int fd) {
  return fails() ? -1 : __real_fsync(fd);
}
int __wrap_rename(const char *from, const char *to) {
  return fails() ? -1 : __real_rename(from, to);
}
int __wrap_open(const char *path, int flags, ...) {
  va_list args;
  va_start(args, flags);
  mode_t mode = flags & O_CREAT ? va_arg(args, mode_t) : 0;
  va_end(args);
  return fails() ? -1 : __real_open(path, flags, mode);
}
int __wrap_mkostemp(char *template, int flags) {
  return fails() ? -1 : __real_mkostemp(template, flags);
}
int __wrap_mkdir(const char *path, mode_t mode) {
  return fails() ? -1 : __real_mkdir(path, mode);
}

/* ---- fixture ---- */

struct fixture {
  char directory[64], path[96];
};

static int set_up(void **state) {
  struct fixture *f = calloc(1, sizeof(*f));
  memset(&fault, 0, sizeof(fault));
  (void)snprintf(f->directory, sizeof(f->directory), "/tmp/guise-files-XXXXXX");
  if (!mkdtemp(f->directory))
    return -1;
  (void)snprintf(f->path, sizeof(f->path), "%s/file", f->directory);
  *state = f;
  return 0;
}

static int tear_down(void **state) {
  struct fixture *f = *state;
  memset(&fault, 0, sizeof(fault));
  (void)directory_remove(f->directory);
  free(f);
  return 0;
}

static uint32_t entries_of(const char *path) {
  uint32_t count = 0;
  DIR *directory = opendir(path);
  assert_non_null(directory);
  for (const struct dirent *entry; (entry = readdir(directory));)
    count += entry->d_name[0] != '.';
  (void)closedir(directory);
  return count;
}

static void expect_content(const char *path, const char *one, const char *other) {
  char *data = NULL;
  size_t size = 0;
  assert_int_equal(file_read(path, 1000, &data, &size, NULL), 0);
  if (strcmp(data, one) != 0 && strcmp(data, other) != 0)
    fail_msg("%s holds \"%s\"", path, data);
  free(data);
}

static void arm(uint32_t fail_at, int error) {
  fault.calls = 0;
  fault.fail_at = fail_at;
  fault.error = error;
}

static const int errors[] = {ENOSPC, EIO, EDQUOT};

/* ---- tests ---- */

static void replacing_a_file(void **state) {
  struct fixture *f = *state;
  for (size_t e = 0; e < ARRAY_SIZE(errors); e++)
    for (uint32_t n = 1;; n++) {
      struct guise_error err = {0, ""};
      arm(0, 0);
      assert_int_equal(file_write_atomic(f->path, "old", 3, NULL), 0);
      const uint32_t open_before = entries_of("/proc/self/fd");
      arm(n, errors[e]);
      int r = file_write_atomic(f->path, "new", 3, &err);
      const bool met = fault.calls >= n;
      arm(0, 0);
      assert_int_equal(entries_of("/proc/self/fd"), open_before);
      assert_int_equal(entries_of(f->directory), 1);
      assert_int_equal(r, met ? -errors[e] : 0);
      expect_content(f->path, "new", r < 0 ? "old" : "new");
      if (!met) {
        assert_true(n > 6); /* create, write, open, sync, rename, directory, its sync */
        break;
      }
      assert_int_equal(err.code, r);
      assert_non_null(strstr(err.text, strerror(errors[e])));
    }
}

static void publishing_a_file(void **state) {
  struct fixture *f = *state;
  char temp[128];
  (void)snprintf(temp, sizeof(temp), "%s.temp", f->path);
  for (uint32_t n = 1;; n++) {
    struct guise_error err = {0, ""};
    arm(0, 0);
    (void)unlink(f->path);
    assert_int_equal(file_write_atomic(temp, "new", 3, NULL), 0);
    arm(n, EIO);
    int r = file_publish(temp, f->path, &err);
    const bool met = fault.calls >= n;
    arm(0, 0);
    assert_int_equal(r, met ? -EIO : 0);
    assert_int_equal(entries_of(f->directory), 1); /* one of the two names, whole */
    expect_content(access(temp, F_OK) == 0 ? temp : f->path, "new", "new");
    if (!met)
      break;
    assert_non_null(strstr(err.text, "Input/output error"));
    (void)unlink(temp);
  }
}

static void short_writes_go_on(void **state) {
  struct fixture *f = *state;
  fault.halves = true;
  assert_int_equal(file_write_atomic(f->path, "0123456789", 10, NULL), 0);
  fault.halves = false;
  expect_content(f->path, "0123456789", "0123456789");
}

static void an_interrupted_write_is_repeated(void **state) {
  struct fixture *f = *state;
  arm(2, EINTR); /* the first is mkostemp */
  assert_int_equal(file_write_atomic(f->path, "0123456789", 10, NULL), 0);
  expect_content(f->path, "0123456789", "0123456789");
}

static void making_directories(void **state) {
  struct fixture *f = *state;
  char path[128];
  (void)snprintf(path, sizeof(path), "%s/a/b/c", f->directory);
  for (uint32_t n = 1;; n++) {
    struct guise_error err = {0, ""};
    arm(n, ENOSPC);
    int r = directory_make(path, &err);
    const bool met = fault.calls >= n;
    arm(0, 0);
    assert_int_equal(r, met ? -ENOSPC : 0);
    if (!met)
      break;
    assert_non_null(strstr(err.text, "No space left"));
    (void)snprintf(path, sizeof(path), "%s/a", f->directory);
    assert_int_equal(directory_remove(path), 0);
    (void)snprintf(path, sizeof(path), "%s/a/b/c", f->directory);
  }
  assert_int_equal(access(path, F_OK), 0);
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
  const struct CMUnitTest tests[] = {TEST(replacing_a_file), TEST(publishing_a_file),
                                     TEST(short_writes_go_on), TEST(an_interrupted_write_is_repeated),
                                     TEST(making_directories)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
