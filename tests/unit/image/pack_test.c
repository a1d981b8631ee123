/* Packs: the same faces give the same one, also without a person, and those that were tampered with are
 * refused. */
#include "core/base/philox.h"
#include "core/image/pack.h"
#include "tests/unit/image/archive_fixture.h"

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

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(the_same_faces_give_the_same_pack),
      cmocka_unit_test(a_pack_without_a_person),
      cmocka_unit_test(tampered_packs_are_refused),
  };
  return cmocka_run_group_tests(tests, setup, teardown);
}
