/* Uploads and pairs lists on a disk that fails: each write, sync, rename and new file in turn, on the way
 * from the first byte to the row. What was refused leaves nothing, and comes in when it is sent again. */
// wraps: write fsync rename open mkostemp
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "core/base/file.h"
#include "daemon/log.h"
#include "daemon/service_internal.h"
#include "tests/unit/service/drawn_faces.h"

static const struct client anybody = {.owner = "", .sees = NULL};
static const char *list; /* that is sent */

static struct fixture {
  char directory[64];
  struct service *service;
} f;

/* ---- faults, in the test's own thread ---- */

static _Thread_local struct {
  uint32_t calls, fail_at; /* 0 = never */
  int error;
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
ssize_t __wrap_write(int fd, const void *data, size_t size);
int __wrap_fsync(int fd);
int __wrap_rename(const char *from, const char *to);
int __wrap_open(const char *path, int flags, ...);
int __wrap_mkostemp(char *template, int flags);

ssize_t __wrap_write(int fd, const void *data, size_t size) {
  return fails() ? -1 : __real_write(fd, data, size);
}
int __wrap_fsync(int fd) {
  return fails() ? -1 : __real_fsync(fd);
}
int __wrap_rename(const char *from, const char *to) {
  return fails() ? -1 : __real_rename(from, to);
}
/* Files that are only read do not count: that they cannot be is damage, which is another matter. */
int __wrap_open(const char *path, int flags, ...) {
  va_list args;
  va_start(args, flags);
  mode_t mode = flags & O_CREAT ? va_arg(args, mode_t) : 0;
  va_end(args);
  return flags & (O_WRONLY | O_RDWR | O_DIRECTORY) && fails() ? -1 : __real_open(path, flags, mode);
}
int __wrap_mkostemp(char *template, int flags) {
  return fails() ? -1 : __real_mkostemp(template, flags);
}

/* ---- fixture ---- */

static int set_up(void **state) {
  struct config config;
  (void)state;
  log_set_level(LOG_LEVEL_ERROR);
  memset(&fault, 0, sizeof(fault));
  (void)snprintf(f.directory, sizeof(f.directory), "/tmp/guise-writes-XXXXXX");
  if (!mkdtemp(f.directory))
    return -1;
  config_defaults(&config);
  (void)snprintf(config.state, sizeof(config.state), "%s/state", f.directory);
  (void)snprintf(config.decoder, sizeof(config.decoder), "%s", GUISE_BUILD "/guise-decode");
  config.cores = config.workers = config.threads = config.decoders = 1;
  if (service_open(&config, &f.service, NULL) < 0 || service_start(f.service, NULL) < 0)
    return -1;
  add_drawn_faces(f.service, &anybody, f.directory);
  return 0;
}

static int tear_down(void **state) {
  (void)state;
  f.service = service_free(f.service);
  return directory_remove(f.directory);
}

/* ---- what is sent ---- */

static struct dataset_row answer; /* to the archive that was sent last */

static int send_archive(const char *name) {
  struct upload *upload = NULL;
  bool created;
  memset(&answer, 0, sizeof(answer));
  int r = service_upload_begin(f.service, &anybody, name, 0, &upload, NULL);
  for (uint32_t i = 0; i < 3 && r == 0; i++)
    r = service_upload_write(upload, "no archive", 10, NULL);
  if (r == 0)
    r = service_dataset_accept(f.service, &anybody, name, upload, DATASET_FACES, 32, &answer, &created, NULL);
  service_upload_free(upload);
  return r;
}

static int send_pairs(const char *name) {
  struct pairs_row row;
  bool created;
  return service_pairs_put(f.service, "faces", name, list, strlen(list), &row, &created, NULL);
}

/* ---- what there is ---- */

static bool archive_is_there(const char *name) {
  struct dataset_row row;
  return service_dataset_get(f.service, name, &row) == 0;
}

/* Whose ingest had failed; it may have failed again by now. */
static bool archive_is_taken_again(const char *name) {
  struct dataset_row row;
  assert_int_equal(service_dataset_get(f.service, name, &row), 0);
  return row.state != DATASET_FAILED || (answer.id[0] && answer.state == DATASET_INGESTING);
}

static bool pairs_are_there(const char *name) {
  struct dataset_row dataset;
  struct pairs_row row;
  char path[PATH_MAX], sha256[SHA256_HEX];
  sha256_data(list, strlen(list), sha256);
  service_blob_path(f.service, sha256, path);
  assert_int_equal(service_dataset_get(f.service, "faces", &dataset), 0);
  const bool known = store_pairs_get(service_store(f.service), dataset.id, name, &row) == 0;
  assert_int_equal(access(path, F_OK) == 0, known); /* no row without its file, no file without a row */
  return known;
}

/* A probe is a look of the service's own threads at the disk, gone in a moment. */
static void expect_no_uploads(void) {
  char path[PATH_MAX];
  assert_int_equal(state_path(path, f.service, "uploads"), 0);
  DIR *directory = opendir(path);
  assert_non_null(directory);
  for (const struct dirent *entry; (entry = readdir(directory));)
    if (entry->d_name[0] != '.' && strncmp(entry->d_name, "probe-", strlen("probe-")) != 0)
      fail_msg("uploads/%s is left", entry->d_name);
  (void)closedir(directory);
}

/* Each call in turn, until the sending has fewer of them. */
static void each_call_fails(int error, const char *name, int (*send)(const char *),
                            bool (*is_there)(const char *), uint32_t least) {
  uint32_t n = 1;
  for (;; n++) {
    fault.calls = 0;
    fault.fail_at = n;
    fault.error = error;
    const int r = send(name);
    const bool failed = fault.calls >= n;
    fault.fail_at = 0;
    if (!failed) {
      assert_int_equal(r, 0);
      break;
    }
    if (r >= 0)
      fail_msg("call %u of %s failed, and the sender was told nothing", n, name);
    assert_false(is_there(name));
    expect_no_uploads();
    assert_int_equal(storage_probe(f.service), 0); /* the disk works again */
  }
  print_message("%s, %s: %u calls failed in turn\n", name, strerror(error), n - 1);
  assert_true(n - 1 >= least);
  assert_true(is_there(name));
}

/* Its ingest, which finds that it is no archive. */
static void wait_failed(const char *name) {
  struct dataset_row row;
  for (uint32_t i = 0; i < 3000; i++) {
    assert_int_equal(service_dataset_get(f.service, name, &row), 0);
    if (row.state != DATASET_INGESTING)
      break;
    (void)usleep(2000);
  }
  assert_int_equal(row.state, DATASET_FAILED);
}

static void uploads(void **state) {
  (void)state;
  each_call_fails(ENOSPC, "full", send_archive, archive_is_there, 6);
  wait_failed("full");
  each_call_fails(EIO, "broken", send_archive, archive_is_there, 6);
  wait_failed("broken");
  each_call_fails(ENOSPC, "full", send_archive, archive_is_taken_again, 6);
  wait_failed("full");
  each_call_fails(EIO, "broken", send_archive, archive_is_taken_again, 6);
}

static void pairs_lists(void **state) {
  (void)state;
  list = "1\nperson-001 1 2\nperson-001 1 person-002 1\n";
  each_call_fails(ENOSPC, "full", send_pairs, pairs_are_there, 4);
  list = "1\nperson-001 1 2\nperson-001 2 person-003 1\n";
  each_call_fails(EIO, "broken", send_pairs, pairs_are_there, 4);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(uploads, set_up, tear_down),
      cmocka_unit_test_setup_teardown(pairs_lists, set_up, tear_down),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
