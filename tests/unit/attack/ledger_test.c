/* Finished units of an attack in their file: what was kept comes back, and nothing that is torn, changed, out
 * of its bounds or of another attempt. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
// cmocka needs the four headers above
#include <cmocka.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/attack/ledger.h"

#define UNITS 3u
#define BYTES 5u

static char directory[] = "/tmp/guise-ledger-XXXXXX", path[64];
static uint32_t kept;
static bool stops;

static void on_kept(void *unused) {
  (void)unused;
  kept++;
}

static bool should_stop(void *unused) {
  (void)unused;
  return stops;
}

static struct attack_context context;

static int setup(void **state) {
  (void)state;
  if (!mkdtemp(directory))
    return -1;
  (void)snprintf(path, sizeof(path), "%s/units/name", directory);
  context = (struct attack_context){.work_directory = directory, .should_stop = should_stop, .kept = on_kept};
  return 0;
}

static int teardown(void **state) {
  (void)state;
  return directory_remove(directory);
}

struct unit {
  double number;
  uint8_t bytes[BYTES];
};

static struct ledger *open_as(int identity) {
  struct ledger *ledger = NULL;
  struct guise_error err = {0};
  if (ledger_open(&context, "name", json_integer(identity), &ledger, &err) < 0)
    fail_msg("%s", err.text);
  return ledger;
}

static int add(struct ledger *ledger, struct unit *unit, double most) {
  const struct ledger_part parts[] = {{&unit->number, sizeof(double), true, -1, most},
                                      {unit->bytes, BYTES, false, 0, 0}};
  return ledger_add(ledger, parts, ARRAY_SIZE(parts), NULL);
}

static bool take(struct ledger *ledger, struct unit *ret_unit, double most) {
  const struct ledger_part parts[] = {{&ret_unit->number, sizeof(double), true, -1, most},
                                      {ret_unit->bytes, BYTES, false, 0, 0}};
  return ledger_take(ledger, parts, ARRAY_SIZE(parts));
}

static struct unit unit_of(uint32_t i) {
  return (struct unit){.number = i * .25, .bytes = {(uint8_t)i, 1, 2, 3, 4}};
}

/* A new file of UNITS units. */
static void fill(int identity) {
  (void)unlink(path);
  _cleanup_(ledger_freep) struct ledger *ledger = open_as(identity);
  for (uint32_t i = 0; i < UNITS; i++) {
    struct unit unit = unit_of(i);
    kept = 0;
    assert_int_equal(add(ledger, &unit, 1), 0);
    assert_int_equal(kept, 1);
  }
}

/* How many come back, each as it was; what does not leaves its place alone. */
static uint32_t count(int identity) {
  _cleanup_(ledger_freep) struct ledger *ledger = open_as(identity);
  for (uint32_t i = 0;; i++) {
    const struct unit unit = unit_of(i);
    struct unit taken = {.number = -7, .bytes = {9, 9, 9, 9, 9}};
    if (!take(ledger, &taken, 1)) {
      assert_true(taken.number == -7 && taken.bytes[BYTES - 1] == 9);
      assert_false(take(ledger, &taken, 1));
      return i;
    }
    assert_true(taken.number == unit.number);
    assert_memory_equal(taken.bytes, unit.bytes, BYTES);
  }
}

static void units_come_back(void **state) {
  (void)state;
  fill(1);
  assert_int_equal(count(1), UNITS);
  assert_int_equal(count(1), UNITS);
  assert_int_equal(count(2), 0);
  assert_int_equal(count(1), UNITS); /* who only looked has changed nothing */
}

static void nothing_torn_is_taken(void **state) {
  (void)state;
  struct stat st;
  fill(1);
  assert_int_equal(stat(path, &st), 0);
  const off_t record = st.st_size / UNITS;
  for (off_t size = st.st_size; size >= 0; size--) {
    assert_int_equal(truncate(path, size), 0);
    assert_int_equal(count(1), (uint32_t)(size / record));
  }
}

static void nothing_changed_is_taken(void **state) {
  (void)state;
  struct stat st;
  fill(1);
  assert_int_equal(stat(path, &st), 0);
  const off_t record = st.st_size / UNITS;
  _cleanup_(closep) int fd = open(path, O_RDWR | O_CLOEXEC);
  for (off_t at = 0; at < st.st_size; at++) {
    uint8_t byte, other;
    assert_int_equal(pread(fd, &byte, 1, at), 1);
    other = byte ^ 1;
    assert_int_equal(pwrite(fd, &other, 1, at), 1);
    assert_int_equal(count(1), (uint32_t)(at / record));
    assert_int_equal(pwrite(fd, &byte, 1, at), 1);
  }
  assert_int_equal(count(1), UNITS);
}

/* Whole records in another order or left out. */
static void nothing_out_of_its_place_is_taken(void **state) {
  (void)state;
  _cleanup_(freep) char *data = NULL;
  size_t size;
  fill(1);
  assert_int_equal(file_read(path, 1 << 20, &data, &size, NULL), 0);
  const size_t record = size / UNITS;
  assert_int_equal(file_write_atomic(path, data + record, size - record, NULL), 0);
  assert_int_equal(count(1), 0);
}

/* New units stand behind those that were taken; what came behind is gone. */
static void the_rest_is_replaced(void **state) {
  (void)state;
  struct unit unit;
  struct stat st;
  fill(1);
  {
    _cleanup_(ledger_freep) struct ledger *ledger = open_as(1);
    assert_true(take(ledger, &unit, 1));
    unit = unit_of(1);
    assert_int_equal(add(ledger, &unit, 1), 0);
    assert_false(take(ledger, &unit, 1));
  }
  assert_int_equal(count(1), 2);
  assert_int_equal(stat(path, &st), 0);
  const off_t two = st.st_size;
  {
    _cleanup_(ledger_freep) struct ledger *other = open_as(2);
    unit = unit_of(0);
    assert_int_equal(add(other, &unit, 1), 0);
  }
  assert_int_equal(stat(path, &st), 0);
  assert_int_equal(st.st_size, two / 2);
  assert_int_equal(count(2), 1);
  assert_int_equal(count(1), 0);
}

/* A record may be whole and yet hold what no unit can be. */
static void numbers_keep_within_their_bounds(void **state) {
  (void)state;
  struct unit unit = {.number = 3};
  (void)unlink(path);
  {
    _cleanup_(ledger_freep) struct ledger *ledger = open_as(1);
    assert_int_equal(add(ledger, &unit, 4), 0);
  }
  assert_int_equal(count(1), 0);
  const double wrong[] = {NAN, INFINITY, -1.5};
  for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
    (void)unlink(path);
    _cleanup_(ledger_freep) struct ledger *ledger = open_as(1);
    kept = 0;
    unit = unit_of(0);
    assert_int_equal(add(ledger, &unit, 1), 0);
    unit.number = wrong[i];
    assert_int_equal(add(ledger, &unit, 1), 0);
    unit = unit_of(1);
    assert_int_equal(add(ledger, &unit, 1), 0);
    assert_int_equal(kept, 1); /* the first alone */
    assert_int_equal(count(1), 1);
  }
}

/* Nor does a unit count that ends when the attack has to, perhaps because its faces cannot be read. */
static void a_stopped_unit_is_not_kept(void **state) {
  (void)state;
  struct unit unit = unit_of(UNITS);
  fill(1);
  stops = true;
  kept = 0;
  {
    _cleanup_(ledger_freep) struct ledger *ledger = open_as(1);
    assert_int_equal(add(ledger, &unit, 1), -ECANCELED);
  }
  stops = false;
  assert_int_equal(kept, 0);
  assert_int_equal(count(1), UNITS);
}

static void links_are_not_followed(void **state) {
  (void)state;
  struct ledger *ledger = NULL;
  char target[80];
  (void)snprintf(target, sizeof(target), "%s/target", directory);
  (void)unlink(path);
  assert_int_equal(symlink(target, path), 0);
  assert_int_equal(ledger_open(&context, "name", json_integer(1), &ledger, NULL), -ELOOP);
  assert_null(ledger);
  assert_int_equal(access(target, F_OK), -1);
  assert_int_equal(unlink(path), 0);
}

static void without_a_directory_nothing_is_kept(void **state) {
  (void)state;
  const struct attack_context nowhere = {.should_stop = should_stop, .kept = on_kept};
  struct ledger *ledger = NULL;
  struct unit unit = unit_of(0);
  kept = 0;
  assert_int_equal(ledger_open(&nowhere, "name", json_integer(1), &ledger, NULL), 0);
  assert_null(ledger);
  assert_false(take(ledger, &unit, 1));
  assert_int_equal(add(ledger, &unit, 1), 0);
  assert_int_equal(kept, 0);
}

/* Out of memory for the identity; the files that the process has stay open. */
static void without_an_identity_nothing_is_opened(void **state) {
  (void)state;
  struct ledger *ledger = NULL;
  assert_int_equal(ledger_open(&context, "name", NULL, &ledger, NULL), -ENOMEM);
  assert_null(ledger);
  assert_true(fcntl(STDIN_FILENO, F_GETFD) >= 0);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(units_come_back),
      cmocka_unit_test(nothing_torn_is_taken),
      cmocka_unit_test(nothing_changed_is_taken),
      cmocka_unit_test(nothing_out_of_its_place_is_taken),
      cmocka_unit_test(the_rest_is_replaced),
      cmocka_unit_test(numbers_keep_within_their_bounds),
      cmocka_unit_test(a_stopped_unit_is_not_kept),
      cmocka_unit_test(links_are_not_followed),
      cmocka_unit_test(without_a_directory_nothing_is_kept),
      cmocka_unit_test(without_an_identity_nothing_is_opened),
  };
  return cmocka_run_group_tests(tests, setup, teardown);
}
