/* safetensors: what is written comes back; what is hostile is refused without reading outside the file. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
// cmocka needs the four headers above
#include <cmocka.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/base/file.h"
#include "core/base/philox.h"
#include "core/model/safetensors.h"

static char directory[64];
static char path[128];

static int make_directory(void **state) {
  (void)state;
  (void)snprintf(directory, sizeof(directory), "/tmp/guise-safetensors-XXXXXX");
  if (!mkdtemp(directory))
    return -1;
  (void)snprintf(path, sizeof(path), "%s/file", directory);
  return 0;
}

static int remove_directory(void **state) {
  (void)state;
  return directory_remove(directory);
}

static const float values[6] = {1, -2, 3.5f, 0, 1e-30f, 6};
static const uint32_t words[3] = {1, 2, 0xffffffffu};
static const uint8_t bytes[5] = {9, 8, 7, 6, 5};

static void write_sample(void) {
  const struct safetensor tensors[] = {
      {.name = "z.weight", .dtype = "F32", .rank = 2, .shape = {2, 3}, .data = values, .bytes = 24},
      {.name = "scalar", .dtype = "F32", .rank = 0, .data = values, .bytes = 4},
      {.name = "a", .dtype = "U32", .rank = 1, .shape = {3}, .data = words, .bytes = 12},
      {.name = "empty", .dtype = "F32", .rank = 2, .shape = {0, 7}, .data = NULL, .bytes = 0},
      {.name = "b\u00e9", .dtype = "U8", .rank = 1, .shape = {5}, .data = bytes, .bytes = 5},
  };
  json_t *metadata = json_pack("{s:s, s:s}", "format", "test", "quote", "\"<\\");
  assert_int_equal(safetensors_write(path, tensors, 5, metadata, NULL), 0);
  json_decref(metadata);
}

static void round_trip(void **state) {
  (void)state;
  write_sample();
  struct safetensors *file = NULL;
  struct guise_error err = {0};
  if (safetensors_open(path, &file, &err) != 0)
    fail_msg("%s", err.text);
  assert_int_equal(safetensors_count(file), 5);
  const struct safetensor *first = safetensors_at(file, 0);
  assert_string_equal(first->name, "z.weight"); /* the order given */
  assert_string_equal(first->dtype, "F32");
  assert_int_equal(first->rank, 2);
  assert_int_equal(first->shape[0], 2);
  assert_int_equal(first->shape[1], 3);
  assert_memory_equal(first->data, values, sizeof(values));
  assert_int_equal((uintptr_t)first->data % 64, 0);
  assert_memory_equal(safetensors_find(file, "a")->data, words, sizeof(words));
  assert_int_equal(safetensors_find(file, "empty")->bytes, 0);
  assert_int_equal(safetensors_find(file, "scalar")->rank, 0);
  assert_memory_equal(safetensors_find(file, "b\u00e9")->data, bytes, sizeof(bytes));
  assert_null(safetensors_find(file, "missing"));
  assert_null(safetensors_at(file, 5));
  assert_string_equal(json_string_value(json_object_get(safetensors_metadata(file), "quote")), "\"<\\");
  safetensors_free(file);
}

static void writer_refuses_nonsense(void **state) {
  (void)state;
  struct guise_error err;
  struct safetensor twice[] = {
      {.name = "a", .dtype = "F32", .rank = 1, .shape = {1}, .data = values, .bytes = 4},
      {.name = "a", .dtype = "F32", .rank = 1, .shape = {1}, .data = values, .bytes = 4},
  };
  assert_int_equal(safetensors_write(path, twice, 2, NULL, &err), -EINVAL);
  struct safetensor wrong = {
      .name = "a", .dtype = "F32", .rank = 1, .shape = {2}, .data = values, .bytes = 4};
  assert_int_equal(safetensors_write(path, &wrong, 1, NULL, &err), -EINVAL);
  wrong.dtype = "BF16";
  assert_int_equal(safetensors_write(path, &wrong, 1, NULL, &err), -EINVAL);
  struct safetensor reserved = {.name = "__metadata__", .dtype = "U8", .rank = 0, .data = bytes, .bytes = 1};
  assert_int_equal(safetensors_write(path, &reserved, 1, NULL, &err), -EINVAL);
  reserved.name = "\xff";
  assert_int_equal(safetensors_write(path, &reserved, 1, NULL, &err), -EINVAL);
  struct safetensor shifted[] = {/* the float would lie at offset 1 */
                                 {.name = "a", .dtype = "U8", .rank = 0, .data = bytes, .bytes = 1},
                                 {.name = "b", .dtype = "F32", .rank = 0, .data = values, .bytes = 4}};
  assert_int_equal(safetensors_write(path, shifted, 2, NULL, &err), -EINVAL);
  json_t *metadata = json_pack("{s:i}", "number", 1);
  assert_int_equal(safetensors_write(path, twice, 1, metadata, &err), -EINVAL);
  json_decref(metadata);
  assert_int_equal(safetensors_write("/nonexistent/file", twice, 1, NULL, &err), -ENOENT);
}

/* A file with this header text, said to be `length` bytes long, and `data` bytes of zeros. */
static int open_made(const char *header, uint64_t length, size_t data, struct guise_error *err) {
  uint8_t prefix[8];
  _cleanup_(freep) uint8_t *zeros = calloc(data + 1, 1);
  FILE *file = fopen(path, "wbe");
  assert_non_null(file);
  for (int i = 0; i < 8; i++)
    prefix[i] = (uint8_t)(length >> (8 * i));
  assert_int_equal(fwrite(prefix, 1, 8, file), 8);
  assert_int_equal(fwrite(header, 1, strlen(header), file), strlen(header));
  assert_int_equal(fwrite(zeros, 1, data, file), data);
  assert_int_equal(fclose(file), 0);
  struct safetensors *opened = NULL;
  int r = safetensors_open(path, &opened, err);
  safetensors_free(opened);
  return r;
}

/* Padded to a multiple of 8, so that only the fault under test can be the reason. */
static int open_header(const char *header, size_t data, struct guise_error *err) {
  char padded[4096];
  size_t length = strlen(header);
  assert_true(length + 8 < sizeof(padded));
  (void)snprintf(padded, sizeof(padded), "%-*s", (int)((length + 7) / 8 * 8), header);
  return open_made(padded, strlen(padded), data, err);
}

#define T(name, dtype, shape, begin, end) \
  "\"" name "\":{\"dtype\":\"" dtype "\",\"shape\":[" shape "],\"data_offsets\":[" begin "," end "]}"

static void hostile_headers(void **state) {
  (void)state;
  static const struct {
    const char *header;
    size_t data;
    const char *says; /* NULL: valid */
  } cases[] = {
      {"{" T("a", "F32", "2", "0", "8") "}", 8, NULL},
      {"{" T("a", "F32", "2", "0", "8") "," T("b", "U8", "", "8", "9") "}", 9, NULL},
      {"{}", 0, NULL},
      {"{\"__metadata__\":{\"a\":\"b\"}}", 0, NULL},
      {"{" T("a", "F32", "2", "0", "8") "," T("b", "F32", "2", "4", "12") "}", 12, "overlaps"},
      {"{" T("a", "F32", "2", "0", "8") "," T("b", "F32", "2", "0", "8") "}", 8, "overlaps"},
      {"{" T("a", "F32", "2", "0", "8") "," T("b", "F32", "1", "12", "16") "}", 16, "gap"},
      {"{" T("a", "F32", "2", "0", "8") "}", 12, "belong to no tensor"},
      {"{" T("a", "F32", "2", "0", "8") "}", 4, "outside"},
      {"{" T("a", "F32", "2", "8", "0") "}", 8, "outside"},
      {"{" T("a", "F32", "2", "-8", "0") "}", 8, "outside"},
      {"{" T("a", "F32", "3", "0", "8") "}", 8, "does not fit"},
      {"{" T("a", "F32", "4611686018427387904", "0", "0") "}", 0, "does not fit"},
      {"{" T("a", "F32", "4294967296,4294967296", "0", "0") "}", 0, "does not fit"},
      {"{" T("a", "F32", "9223372036854775808", "0", "0") "}", 0, "JSON"},
      {"{" T("a", "F32", "-1", "0", "4") "}", 4, "shape"},
      {"{" T("a", "F32", "1.0", "0", "4") "}", 4, "shape"},
      {"{" T("a", "F32", "1,1,1,1,1,1", "0", "4") "}", 4, "shape"},
      {"{" T("a", "BF16", "2", "0", "4") "}", 4, "BF16"},
      {"{" T("a", "F32", "1", "0", "4") "," T("a", "F32", "1", "0", "4") "}", 4, "duplicate"},
      {"{" T("u", "U8", "1", "0", "1") "," T("a", "F32", "1", "1", "5") "}", 5, "aligned"},
      {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4],\"more\":1}}", 4, "must have"},
      {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1]}}", 0, "must have"},
      {"{\"a\":{\"dtype\":7,\"shape\":[1],\"data_offsets\":[0,4]}}", 4, "must have"},
      {"{\"a\":{\"dtype\":\"F32\",\"shape\":1,\"data_offsets\":[0,4]}}", 4, "shape"},
      {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":{\"0\":0}}}", 4, "outside"},
      {"{\"a\":[]}", 0, "must have"},
      {"{\"__metadata__\":{\"a\":1}}", 0, "metadata"},
      {"{\"__metadata__\":[]}", 0, "metadata"},
      {"[]", 0, "object"},
      {"", 0, "object"},
      {"{", 0, "JSON"},
      {"{} x", 0, "JSON"},
      {" {}", 0, "object"},
      {"{\"\\u0000\":1}", 0, "JSON"},
      {"{\"a\":NaN}", 0, "JSON"},
  };
  for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
    struct guise_error err = {0};
    int r = open_header(cases[i].header, cases[i].data, &err);
    if (!cases[i].says && r != 0)
      fail_msg("%s: %s", cases[i].header, err.text);
    if (cases[i].says && (r != -EBADMSG || !strstr(err.text, cases[i].says)))
      fail_msg("%s: %d, \"%s\" lacks \"%s\"", cases[i].header, r, err.text, cases[i].says);
  }
}

static void hostile_lengths(void **state) {
  (void)state;
  const uint64_t lengths[] = {3,
                              10,
                              1u << 20,
                              SAFETENSORS_HEADER_MAX,
                              SAFETENSORS_HEADER_MAX + 1ull,
                              UINT64_MAX,
                              UINT64_MAX - 7,
                              1ull << 63};
  struct guise_error err;
  for (size_t i = 0; i < ARRAY_SIZE(lengths); i++)
    assert_int_equal(open_made("{}", lengths[i], 0, &err), -EBADMSG);
  assert_int_equal(file_write_atomic(path, "short", 5, NULL), 0);
  struct safetensors *file = NULL;
  assert_int_equal(safetensors_open(path, &file, &err), -EBADMSG);
  assert_int_equal(file_write_atomic(path, "", 0, NULL), 0);
  assert_int_equal(safetensors_open(path, &file, &err), -EBADMSG);
  assert_int_equal(safetensors_open(directory, &file, &err), -EBADMSG);
  assert_int_equal(safetensors_open("/nonexistent", &file, &err), -ENOENT);
}

/* A header of the largest size made of brackets must end in an error, not in a stack overflow. */
static void deep_json(void **state) {
  (void)state;
  size_t length = SAFETENSORS_HEADER_MAX;
  _cleanup_(freep) char *header = malloc(length + 1);
  (void)memset(header, '[', length);
  for (size_t i = 0; i < 5; i++)
    header[i] = "{\"a\":"[i];
  header[length] = 0;
  struct guise_error err;
  assert_int_equal(open_made(header, length, 0, &err), -EBADMSG);
}

/* Every kind of damage to a good file: either refused, or every tensor it gives out lies inside it. */
static void mutations(void **state) {
  (void)state;
  char *good = NULL;
  size_t size = 0;
  write_sample();
  assert_int_equal(file_read(path, 1 << 20, &good, &size, NULL), 0);
  _cleanup_(freep) char *damaged = malloc(size);
  uint32_t refused = 0;
  volatile uint8_t sink = 0;
  for (uint32_t round = 0; round < 1500; round++) {
    struct rng rng;
    rng_init(&rng, 1, RNG_ATTACK, 99, round);
    memcpy(damaged, good, size);
    for (uint32_t n = 1 + rng_below(&rng, 3); n > 0; n--)
      damaged[rng_below(&rng, (uint32_t)size)] =
          (char)(rng_below(&rng, 2) ? rng_u32(&rng) : (uint32_t) "0129[]{},\"-"[rng_below(&rng, 11)]);
    size_t length = rng_below(&rng, 4) ? size : rng_below(&rng, (uint32_t)size + 1);
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    assert_int_equal(write(fd, damaged, length), length);
    closep(&fd);
    struct safetensors *file = NULL;
    if (safetensors_open(path, &file, NULL) < 0) {
      refused++;
      assert_null(file);
      continue;
    }
    for (uint32_t i = 0; i < safetensors_count(file); i++) {
      const struct safetensor *tensor = safetensors_at(file, i);
      for (uint64_t k = 0; k < tensor->bytes; k++) /* AddressSanitizer and the page guard watch */
        sink = (uint8_t)(sink + ((const uint8_t *)tensor->data)[k]);
      assert_ptr_equal(safetensors_find(file, tensor->name), tensor);
    }
    safetensors_free(file);
  }
  free(good);
  assert_in_range(refused, 700, 1499);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(round_trip),      cmocka_unit_test(writer_refuses_nonsense),
      cmocka_unit_test(hostile_headers), cmocka_unit_test(hostile_lengths),
      cmocka_unit_test(deep_json),       cmocka_unit_test(mutations),
  };
  return cmocka_run_group_tests(tests, make_directory, remove_directory);
}
