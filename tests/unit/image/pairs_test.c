/* Pairs lists, natural order and synthetic faces. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "core/base/file.h"
#include "core/image/pack_format.h"
#include "core/image/pairs.h"
#include "core/image/synth.h"
#include "tests/unit/image/archive_fixture.h"

static void natural_order(void **state) {
  (void)state;
  static const char *const ascending[] = {"1", "01x", "2", "10", "a", "a1", "a2b", "a2c", "a10", "b"};
  for (size_t i = 0; i < ARRAY_SIZE(ascending); i++)
    for (size_t j = 0; j < ARRAY_SIZE(ascending); j++) {
      int order = natural_compare(ascending[i], ascending[j]);
      assert_int_equal(order < 0 ? -1 : order > 0, i < j ? -1 : i > j);
    }
}

static int parse(const char *text, uint32_t *count, uint32_t *folds, struct guise_error *err) {
  struct pair_entry *entries = NULL;
  int r = pairs_parse(text, strlen(text), NULL, &entries, count, folds, err);
  free(entries);
  return r;
}

static void forms(void **state) {
  (void)state;
  uint32_t count = 0, folds = 0;
  struct guise_error err = {0};
  assert_int_equal(parse("2\t1\nA\t1\t2\nA\t1\tB\t1\nB 1 3\r\nB\t1\tC\t1\n", &count, &folds, &err), 0);
  assert_int_equal(count, 4);
  assert_int_equal(folds, 2);
  assert_int_equal(parse("1\nA 1 2\nA 1 B 2\n", &count, &folds, &err), 0);
  assert_int_equal(folds, 10);
  static const struct {
    const char *text, *says;
  } bad[] = {{"", "no pairs"},
             {"10 300\n", "no pairs"},
             {"x\n", "first line"},
             {"2 1\nA 1 2\n", "promises"},
             {"1\nA 1\n", "line 2"},
             {"1\nA 0 1\n", "line 2"},
             {"1\nA 1 2\nA b C 1\n", "line 3"},
             {"1\nA 1 B 2 C\n", "line 2"},
             {"1\nA 99999999999 1\n", "line 2"}};
  for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
    assert_int_equal(parse(bad[i].text, &count, &folds, &err), -EINVAL);
    if (!strstr(err.text, bad[i].says))
      fail_msg("%zu: %s", i, err.text);
  }
}

/* Which picture a line means: by its number where pictures are called NAME_000N, else the N-th in the pack.
 */
static void the_picture_meant(void **state) {
  (void)state;
  static char ppm[5][SIDE * SIDE * 3 + 32];
  struct file files[5] = {{"A/A_0002.ppm", ppm[0], 0, 0}, /* A_0001 was rejected */
                          {"A/A_0010.ppm", ppm[1], 0, 0},
                          {"B/2.ppm", ppm[2], 0, 0},
                          {"B/10.ppm", ppm[3], 0, 0},
                          {"C/B_0001.ppm", ppm[4], 0, 0}};
  for (uint32_t i = 0; i < 5; i++)
    files[i].bytes = make_ppm(i / 2, i, ppm[i]);
  struct rejects rejects = {0};
  struct ingest_result result;
  struct guise_error err = {0};
  struct pack *pack = NULL;
  struct pair_entry *entries = NULL;
  uint32_t count = 0, folds = 0;
  write_archive("tar", files, 5);
  assert_int_equal(ingest(&rejects, &result, &err), 0);
  assert_int_equal(pack_open(pack_path, &pack, &err), 0);
  const char *good = "2\nA 2 10\nB 1 2\nA 10 B 2\nC 1 A 2\n";
  if (pairs_parse(good, strlen(good), pack, &entries, &count, &folds, &err) < 0)
    fail_msg("%s", err.text);
  static const char *const meant[][2] = {{"A_0002.ppm", "A_0010.ppm"},
                                         {"2.ppm", "10.ppm"},
                                         {"A_0010.ppm", "10.ppm"},
                                         {"B_0001.ppm", "A_0002.ppm"}};
  assert_int_equal(count, ARRAY_SIZE(meant));
  for (uint32_t i = 0; i < count; i++) {
    assert_string_equal(pack_image_name(pack, entries[i].a), meant[i][0]);
    assert_string_equal(pack_image_name(pack, entries[i].b), meant[i][1]);
  }
  free(entries);
  static const char *const missing[] = {"1\nA 1 2\nA 2 B 1\n", "1\nB 1 2\nA 3 B 1\n", "1\nB 1 3\nA 2 B 1\n",
                                        "1\nB 1 2\nA 2 D 1\n"};
  for (size_t i = 0; i < ARRAY_SIZE(missing); i++) {
    entries = NULL;
    assert_int_equal(pairs_parse(missing[i], strlen(missing[i]), pack, &entries, &count, &folds, &err),
                     -EINVAL);
    assert_non_null(strstr(err.text, "the data set has no image"));
    free(entries);
  }
  pack_free(pack);
}

static void the_lfw_list(void **state) {
  (void)state;
  const char *data = getenv("GUISE_TEST_DATA");
  char path[512], *text = NULL;
  size_t bytes = 0;
  struct guise_error err = {0};
  struct pair_entry *entries = NULL;
  uint32_t count = 0, folds = 0, same = 0;
  if (!data || !*data) {
    print_message("SKIPPED: the_lfw_list: GUISE_TEST_DATA is not set\n");
    skip();
  }
  (void)snprintf(path, sizeof(path), "%s/lfw-protocol/pairs.txt", data);
  assert_int_equal(file_read(path, 1 << 20, &text, &bytes, &err), 0);
  assert_int_equal(pairs_parse(text, bytes, NULL, &entries, &count, &folds, &err), 0);
  assert_int_equal(count, 6000);
  assert_int_equal(folds, 10);
  for (uint32_t i = 0; i < count; i++)
    same += entries[i].same;
  assert_int_equal(same, 3000);
  assert_int_equal(entries[5999].fold, 9);
  free(entries);
  free(text);
}

/* Pixels depend on (seed, identity, image) alone; a person's images resemble one another more than somebody
 * else's. */
static void synthetic_faces(void **state) {
  (void)state;
  enum { FACE = 64, BYTES = FACE * FACE * 3 };
  static uint8_t a[BYTES], b[BYTES], c[BYTES];
  double same = 0, other = 0;
  synth_face(1, 2, 3, FACE, a);
  synth_face(1, 2, 3, FACE, b);
  assert_memory_equal(a, b, BYTES);
  for (uint32_t person = 0; person < 20; person++) {
    synth_face(1, person, 0, FACE, a);
    synth_face(1, person, 1, FACE, b);
    synth_face(1, person + 1, 1, FACE, c);
    for (size_t i = FACE * FACE; i < (size_t)FACE * FACE * 2;
         i++) { /* the middle rows: face, not background */
      same += (a[i] - b[i]) * (a[i] - b[i]);
      other += (a[i] - c[i]) * (a[i] - c[i]);
    }
  }
  assert_true(other > 1.2 * same);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(natural_order), cmocka_unit_test(forms),
                                     cmocka_unit_test(the_picture_meant), cmocka_unit_test(the_lfw_list),
                                     cmocka_unit_test(synthetic_faces)};
  return cmocka_run_group_tests(tests, setup, teardown);
}
