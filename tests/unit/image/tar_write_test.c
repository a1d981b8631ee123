/* Folders of faces as archives: what goes in, what is left out and counted, and that links are followed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/base/file.h"
#include "core/image/tar_write.h"

static char root[] = "/tmp/guise-folder-XXXXXX";

static const char *at(const char *name) {
  static char path[256];
  (void)snprintf(path, sizeof(path), "%s/%s", root, name);
  return path;
}

static void put(const char *name, const char *text) {
  FILE *file = fopen(at(name), "we");
  assert_non_null(file);
  assert_true(fputs(text, file) >= 0);
  assert_int_equal(fclose(file), 0);
}

static int setup(void **state) {
  (void)state;
  static const char *const folders[] = {"faces", "faces/anna", "faces/anna/old", "faces/.cache", "elsewhere"};
  assert_non_null(mkdtemp(root));
  for (size_t i = 0; i < ARRAY_SIZE(folders); i++)
    assert_int_equal(mkdir(at(folders[i]), 0700), 0);
  put("faces/anna/1.pgm", "one");
  put("faces/anna/.DS_Store", "hidden");
  put("faces/anna/old/2.pgm", "deeper");
  put("faces/.cache/3.pgm", "hidden");
  put("faces/top.pgm", "loose");
  put("elsewhere/4.pgm", "four");
  assert_int_equal(symlink("../../elsewhere/4.pgm", at("faces/anna/linked.pgm")), 0);
  assert_int_equal(symlink("../elsewhere", at("faces/berta")), 0);
  assert_int_equal(symlink("nowhere", at("faces/anna/lost.pgm")), 0);
  assert_int_equal(symlink("..", at("elsewhere/round")), 0); /* a person's folder that leads back */
  assert_int_equal(mkfifo(at("faces/anna/pipe"), 0600), 0);
  return 0;
}

static int teardown(void **state) {
  (void)state;
  return directory_remove(root);
}

static void what_is_left_out_is_counted(void **state) {
  (void)state;
  static const struct {
    enum tar_skip skip;
    uint64_t count;
    const char *first;
  } expected[] = {{TAR_HIDDEN, 2, ".cache"},
                  {TAR_LOOSE, 1, "top.pgm"},
                  {TAR_DEEPER, 2, "anna/old"},
                  {TAR_LOST, 1, "anna/lost.pgm"},
                  {TAR_SPECIAL, 1, "anna/pipe"}};
  struct tar_survey survey;
  struct guise_error err = {0};
  assert_int_equal(tar_survey(at("faces"), &survey, &err), 0);
  assert_int_equal(survey.files, 3); /* 1.pgm, and two by links */
  assert_int_equal(survey.bytes, 3 * (512 + 512));
  for (size_t i = 0; i < ARRAY_SIZE(expected); i++) {
    const struct tar_skipped *skipped = &survey.skipped[expected[i].skip];
    assert_int_equal(skipped->count, expected[i].count);
    assert_string_equal(skipped->first, expected[i].first);
    assert_true(strlen(tar_skip_text(expected[i].skip)) > 5);
  }
}

static void links_are_followed(void **state) {
  (void)state;
  static const char *const names[] = {"anna/1.pgm", "anna/linked.pgm", "berta/4.pgm"};
  static const char *const texts[] = {"one", "four", "four"};
  struct guise_error err = {0};
  char *data = NULL;
  size_t size = 0;
  int fd = open(at("faces.tar"), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
  assert_true(fd >= 0);
  assert_int_equal(tar_folder(at("faces"), fd, &err), 0);
  (void)close(fd);
  assert_int_equal(file_read(at("faces.tar"), 1 << 20, &data, &size, &err), 0);
  for (size_t i = 0; i < ARRAY_SIZE(names); i++) { /* a header and a block each */
    assert_true((i + 1) * 1024 <= size);
    assert_string_equal(data + i * 1024, names[i]);
    assert_string_equal(data + i * 1024 + 512, texts[i]);
  }
  for (size_t i = ARRAY_SIZE(names) * 1024; i < size; i++)
    assert_int_equal(data[i], 0);
  free(data);
}

static void a_folder_without_people(void **state) {
  (void)state;
  struct tar_survey survey;
  struct guise_error err = {0};
  assert_int_equal(mkdir(at("flat"), 0700), 0);
  put("flat/1.pgm", "one");
  assert_int_equal(tar_survey(at("flat"), &survey, &err), -ENODATA);
  assert_non_null(strstr(err.text, "IDENTITY/IMAGE"));
  assert_int_equal(survey.skipped[TAR_LOOSE].count, 1);
  assert_int_equal(tar_survey(at("none"), &survey, &err), -ENOENT);
  assert_int_equal(survey.skipped[TAR_LOOSE].count, 0);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(what_is_left_out_is_counted),
      cmocka_unit_test(links_are_followed),
      cmocka_unit_test(a_folder_without_people),
  };
  return cmocka_run_group_tests(tests, setup, teardown);
}
