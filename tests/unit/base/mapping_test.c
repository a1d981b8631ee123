/* Mapped files that lose their pages while they are read. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/base/mapping.h"

#define BYTES (1u << 20)

/* A file of `BYTES` bytes 'x' without a name. */
static int make_file(void) {
  char path[] = "/tmp/guise-mapping-XXXXXX", block[4096];
  int fd = mkostemp(path, O_CLOEXEC);
  assert_true(fd >= 0);
  assert_int_equal(unlink(path), 0);
  memset(block, 'x', sizeof(block));
  for (uint32_t i = 0; i < BYTES / sizeof(block); i++)
    assert_int_equal(write(fd, block, sizeof(block)), (ssize_t)sizeof(block));
  return fd;
}

static uint64_t sum(const struct mapping *mapping) {
  const volatile uint8_t *data = mapping_data(mapping);
  uint64_t total = 0;
  for (uint32_t i = 0; i < BYTES; i++)
    total += data[i];
  return total;
}

static void *sum_in_thread(void *context) {
  return (void *)(uintptr_t)sum(context);
}

static void lost_pages_are_zeros_and_told(void **state) {
  struct mapping *mapping, *other;
  struct mapping_watch watch, unconcerned;
  int fd = make_file(), whole = make_file();
  (void)state;
  assert_int_equal(mapping_guard(), 0); /* cmocka has a handler of its own */
  mapping_watch_begin(&unconcerned);
  assert_int_equal(mapping_open(whole, BYTES, &other), 0);
  mapping_watch_begin(&watch);
  assert_int_equal(mapping_open(fd, BYTES, &mapping), 0);
  assert_int_equal(sum(mapping), (uint64_t)BYTES * 'x');
  assert_false(mapping_failed(mapping));
  assert_int_equal(ftruncate(fd, 4096), 0);
  pthread_t thread[4]; /* whichever thread it is that reads */
  for (size_t i = 0; i < ARRAY_SIZE(thread); i++)
    assert_int_equal(pthread_create(&thread[i], NULL, sum_in_thread, mapping), 0);
  for (size_t i = 0; i < ARRAY_SIZE(thread); i++) {
    void *total;
    assert_int_equal(pthread_join(thread[i], &total), 0);
    assert_true((uintptr_t)total <= 4096 * (uintptr_t)'x');
  }
  assert_true(mapping_failed(mapping));
  assert_true(atomic_load(&watch.failed));
  assert_false(mapping_failed(other));
  assert_false(atomic_load(&unconcerned.failed));
  assert_int_equal(sum(other), (uint64_t)BYTES * 'x');
  mapping_free(mapping);
  mapping_watch_end(&watch);

  assert_int_equal(mapping_open(whole, BYTES, &mapping), 0); /* the slot is as new, and no watch sees it */
  assert_false(mapping_failed(mapping));
  assert_int_equal(ftruncate(whole, 0), 0);
  assert_int_equal(sum(mapping), 0);
  assert_true(mapping_failed(mapping));
  mapping_free(mapping);
  mapping_free(other);
  mapping_watch_end(&unconcerned);
  (void)close(fd);
  (void)close(whole);
}

static void as_many_as_there_is_room_for(void **state) {
  static struct mapping *mapping[MAPPINGS_MAX];
  struct mapping *more;
  int fd = make_file();
  (void)state;
  for (uint32_t i = 0; i < MAPPINGS_MAX; i++)
    assert_int_equal(mapping_open(fd, BYTES, &mapping[i]), 0);
  assert_int_equal(mapping_open(fd, BYTES, &more), -EMFILE);
  mapping_free(mapping[7]);
  assert_int_equal(mapping_open(fd, BYTES, &mapping[7]), 0);
  for (uint32_t i = 0; i < MAPPINGS_MAX; i++)
    mapping_free(mapping[i]);
  (void)close(fd);
}

static void a_bus_error_elsewhere_ends_the_process(void **state) {
  int status = 0, fd = make_file();
  (void)state;
  pid_t child = fork();
  assert_true(child >= 0);
  if (child == 0) {
    (void)signal(SIGBUS, SIG_DFL);
    if (mapping_guard() < 0)
      _exit(1);
    const volatile uint8_t *data = mmap(NULL, BYTES, PROT_READ, MAP_SHARED, fd, 0);
    _exit(ftruncate(fd, 0) < 0 ? 2 : data[0]);
  }
  assert_int_equal(waitpid(child, &status, 0), child);
  assert_false(WIFEXITED(status) && WEXITSTATUS(status) <= 2);
  (void)close(fd);
}

/* One that was sent, not met, comes only once: it must not be lost, nor take the guard away. */
static void a_bus_error_that_is_sent_ends_the_process(void **state) {
  int status = 0;
  (void)state;
  pid_t child = fork();
  assert_true(child >= 0);
  if (child == 0) {
    (void)signal(SIGBUS, SIG_DFL);
    _exit(mapping_guard() < 0 ? 1 : raise(SIGBUS) == 0 ? 0 : 2);
  }
  assert_int_equal(waitpid(child, &status, 0), child);
  assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGBUS);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_bus_error_that_is_sent_ends_the_process),
      cmocka_unit_test(a_bus_error_elsewhere_ends_the_process),
      cmocka_unit_test(lost_pages_are_zeros_and_told),
      cmocka_unit_test(as_many_as_there_is_room_for),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
