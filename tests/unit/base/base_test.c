/* Random numbers against published answers; files that are whole or absent; memory that is counted. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/base/base.h"
#include "core/base/file.h"
#include "core/base/memory.h"
#include "core/base/philox.h"

/* Known answers of the Random123 distribution (kat_vectors, philox4x32 10 rounds). */
static void philox_known_answers(void **state) {
  (void)state;
  static const struct {
    uint32_t counter[4], key[2], answer[4];
  } cases[] = {
      {{0, 0, 0, 0}, {0, 0}, {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
      {{0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff},
       {0xffffffff, 0xffffffff},
       {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}},
      {{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344},
       {0xa4093822, 0x299f31d0},
       {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}},
  };
  for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
    uint32_t words[4];
    philox4x32(cases[i].key, cases[i].counter, words);
    assert_memory_equal(words, cases[i].answer, sizeof(words));
  }
}

static void draws_depend_on_their_key_alone(void **state) {
  (void)state;
  struct rng a, b, other;
  rng_init(&a, 7, RNG_MIX, 3, 5);
  rng_init(&b, 7, RNG_MIX, 3, 5);
  rng_init(&other, 7, RNG_MIX, 3, 6);
  int differ = 0;
  for (int i = 0; i < 100; i++) {
    uint32_t x = rng_u32(&a);
    assert_int_equal(x, rng_u32(&b));
    differ += x != rng_u32(&other);
  }
  assert_true(differ > 95);
}

static void distributions(void **state) {
  (void)state;
  enum { DRAWS = 200000 };
  struct rng rng;
  double sum = 0, square = 0, uniform = 0;
  uint32_t bins[7] = {0};
  rng_init(&rng, 1, RNG_INIT, 0, 0);
  for (int i = 0; i < DRAWS; i++) {
    double x = (double)rng_normal(&rng);
    float u = rng_uniform(&rng);
    assert_true(isfinite(x));
    assert_true(u >= 0 && u < 1);
    sum += x;
    square += x * x;
    uniform += (double)u;
    bins[rng_below(&rng, 7)]++;
  }
  assert_true(fabs(sum / DRAWS) < 0.01);
  assert_true(fabs(square / DRAWS - 1) < 0.02);
  assert_true(fabs(uniform / DRAWS - 0.5) < 0.005);
  for (int i = 0; i < 7; i++)
    assert_true(fabs((double)bins[i] * 7 / DRAWS - 1) < 0.03);
}

static void permutation_is_one(void **state) {
  (void)state;
  uint32_t values[101];
  uint8_t seen[101] = {0};
  struct rng rng;
  rng_init(&rng, 9, RNG_SHUFFLE, 1, 0);
  rng_permutation(&rng, values, 101);
  uint32_t moved = 0;
  for (uint32_t i = 0; i < 101; i++) {
    assert_true(values[i] < 101 && !seen[values[i]]);
    seen[values[i]] = 1;
    moved += values[i] != i;
  }
  assert_true(moved > 80);
}

static char *temp_directory(void) {
  static char path[64];
  (void)snprintf(path, sizeof(path), "/tmp/guise-base-XXXXXX");
  assert_non_null(mkdtemp(path));
  return path;
}

static void atomic_files(void **state) {
  (void)state;
  char path[256], *directory = temp_directory(), *data = NULL, hex[SHA256_HEX], again[SHA256_HEX];
  struct guise_error err = {0};
  size_t size = 0;
  uint64_t bytes = 0;
  (void)snprintf(path, sizeof(path), "%s/a/b/c", directory);
  assert_int_equal(directory_make(path, &err), 0);
  (void)snprintf(path, sizeof(path), "%s/a/b/c/file", directory);
  assert_int_equal(file_write_atomic(path, "old", 3, &err), 0);
  assert_int_equal(file_write_atomic(path, "newer", 5, &err), 0);
  assert_int_equal(file_read(path, 5, &data, &size, &err), 0);
  assert_int_equal(size, 5);
  assert_string_equal(data, "newer");
  free(data);
  assert_int_equal(file_read(path, 4, &data, &size, &err), -EFBIG);
  assert_non_null(strstr(err.text, "limit is 4"));
  sha256_data("newer", 5, hex);
  assert_int_equal(sha256_file(path, again, &bytes), 0);
  assert_string_equal(hex, again);
  assert_int_equal(bytes, 5);
  sha256_data("abc", 3, hex); /* FIPS 180-2, B.1 */
  assert_string_equal(hex, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  assert_int_equal(directory_remove(directory), 0);
  assert_int_equal(access(directory, F_OK), -1);
  assert_int_equal(directory_remove(directory), 0);
}

static void a_failed_write_leaves_the_old_file(void **state) {
  (void)state;
  char path[256], *directory = temp_directory(), *data = NULL;
  size_t size = 0;
  struct guise_error err = {0};
  (void)snprintf(path, sizeof(path), "%s/file", directory);
  assert_int_equal(file_write_atomic(path, "kept", 4, &err), 0);
  assert_int_equal(file_publish("/nonexistent/temp", path, &err), -ENOENT);
  assert_int_equal(file_read(path, 100, &data, &size, &err), 0);
  assert_string_equal(data, "kept");
  free(data);
  (void)directory_remove(directory);
}

static void memory_is_counted(void **state) {
  (void)state;
  size_t before = memory_live_bytes();
  struct arena arena = {0};
  float *tensor = tensor_alloc(1000);
  assert_non_null(tensor);
  assert_int_equal((uintptr_t)tensor % 64, 0);
  for (int i = 0; i < 250; i++)
    assert_true(tensor[i] == 0);
  assert_int_equal(arena_map(&arena, 5 << 20), 0);
  assert_int_equal((uintptr_t)arena.base % (2 << 20), 0);
  assert_true(memory_live_bytes() >= before + (5 << 20) + 1000);
  memset(arena.base, 1, arena.size);
  arena_unmap(&arena);
  assert_null(tensor_free(tensor));
  assert_int_equal(memory_live_bytes(), before);
  assert_int_equal(arena_map(&arena, SIZE_MAX - 5), -ENOMEM);
  assert_null(tensor_alloc(SIZE_MAX - 5));
}

static void an_error_may_quote_itself(void **state) {
  (void)state;
  struct guise_error err = {0};
  assert_int_equal(error_set(&err, -EINVAL, "the number is odd"), -EINVAL);
  assert_int_equal(error_set(&err, -EIO, "row 3: %s", err.text), -EIO);
  assert_string_equal(err.text, "row 3: the number is odd");
  assert_int_equal(err.code, -EIO);
}

/* Whether the kernel is asked for huge pages at this address; -1: it has none, or does not tell. */
static int wants_huge_pages(const void *address) {
  char line[512];
  unsigned long begin = 0, end = 0, low, high;
  int wants = -1;
  FILE *maps =
      access("/sys/kernel/mm/transparent_hugepage", F_OK) == 0 ? fopen("/proc/self/smaps", "r") : NULL;
  while (maps && fgets(line, sizeof(line), maps)) {
    if (sscanf(line, "%lx-%lx ", &low, &high) == 2) {
      begin = low;
      end = high;
    } else if (strncmp(line, "VmFlags:", 8) == 0 && (uintptr_t)address >= begin && (uintptr_t)address < end)
      wants = strstr(line, " hg") != NULL;
  }
  if (maps)
    (void)fclose(maps);
  return wants;
}

static void large_tensors_on_huge_pages(void **state) {
  (void)state;
  enum { PAGE = 2 << 20 };
  static const size_t sizes[] = {PAGE - 64, PAGE, 2 * PAGE - 65, 5 * PAGE + 12345, 70 * PAGE + 1};
  const size_t before = memory_live_bytes();
  uint8_t *tensors[ARRAY_SIZE(sizes)];
  for (int round = 0; round < 2; round++) { /* the second may get what the first gave back */
    for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
      uint8_t *tensor = tensors[i] = tensor_alloc(sizes[i]);
      assert_non_null(tensor);
      assert_int_equal((uintptr_t)tensor % PAGE, 64);
      assert_true(wants_huge_pages(tensor) != 0);
      for (size_t at = 0; at < sizes[i]; at += 997)
        assert_int_equal(tensor[at], 0);
      memset(tensor, 1, sizes[i]);
    }
    for (size_t i = 0; i < ARRAY_SIZE(sizes); i++)
      assert_null(tensor_free(tensors[i]));
    assert_int_equal(memory_live_bytes(), before);
  }
  uint8_t *small = tensor_alloc(PAGE - 65 - 63);
  assert_int_equal((uintptr_t)small % 64, 0);
  tensor_free(small);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(philox_known_answers),
      cmocka_unit_test(draws_depend_on_their_key_alone),
      cmocka_unit_test(distributions),
      cmocka_unit_test(permutation_is_one),
      cmocka_unit_test(atomic_files),
      cmocka_unit_test(a_failed_write_leaves_the_old_file),
      cmocka_unit_test(memory_is_counted),
      cmocka_unit_test(an_error_may_quote_itself),
      cmocka_unit_test(large_tensors_on_huge_pages),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
