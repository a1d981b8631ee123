/* Files of templates without a person: what is left is what was there, by the same numbers. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "core/base/file.h"
#include "core/base/mapping.h"
#include "core/template/half.h"
#include "core/template/templates.h"

#define INPUT 16
#define GRID (INPUT / 8)
#define CHANNELS 3
#define VALUES (CHANNELS * GRID * GRID)
#define COUNT 6
#define PEOPLE 5
#define LABELS 2

#define STRANGE 7654321 /* behind the last person, where readers look no more */

/* 0 alone, 0 with 1, 2 with 3, 3 with 2, 4 alone, 1 with 4: without 0 all stay, without 3 nobody shows 2. */
static const uint32_t person[COUNT * LABELS] = {0, 0, 0, 1, 2, 3, 3, 2, 4, STRANGE, 1, 4};
static const float weight[COUNT * LABELS] = {1, 0, 0.75f, 0.25f, 0.5f, 0.5f, 0.6f, 0.4f, 1, 0, 0.7f, 0.3f};

static char root[] = "/tmp/guise-without-XXXXXX";
static char whole[64], rest_path[64], last_path[64];

static int setup(void **state) {
  (void)state;
  assert_non_null(mkdtemp(root));
  (void)snprintf(whole, sizeof(whole), "%s/whole", root);
  (void)snprintf(rest_path, sizeof(rest_path), "%s/rest", root);
  (void)snprintf(last_path, sizeof(last_path), "%s/last", root);
  return 0;
}

static int teardown(void **state) {
  (void)state;
  return directory_remove(root);
}

/* Value e of template i; a half has it exactly. */
static float value(uint32_t i, uint32_t e) {
  return (float)i + (float)e / 16 - 3;
}

static void write_whole(bool half) {
  static float values[COUNT * VALUES];
  static uint16_t halves[COUNT * VALUES];
  struct mask_constants constants = {
      .channels = CHANNELS, .channel = {3, 4, 70}, .deviation = {1, 2, 3}, .clip = 8, .pixel_scale = 1};
  struct guise_error err = {0};
  json_t *metadata = json_pack("{s:s, s:s, s:s, s:s, s:s}", "input", "16", "mask", "ahm", "mask.dct",
                               "native", "mask.clip", "8", "mask.pixel_scale", "1");
  for (uint32_t i = 0; i < COUNT; i++)
    for (uint32_t e = 0; e < VALUES; e++) {
      values[i * VALUES + e] = value(i, e);
      halves[i * VALUES + e] = half_from_float(value(i, e));
    }
  const struct templates_content content = {.metadata = metadata,
                                            .constants = &constants,
                                            .mixing = {.mixes = true, .probability = {0, 0, 1}},
                                            .count = COUNT,
                                            .people = PEOPLE,
                                            .grid = GRID,
                                            .labels = LABELS,
                                            .person = person,
                                            .weight = weight,
                                            .values = half ? (const void *)halves : values,
                                            .half = half};
  if (templates_write(whole, &content, &err) < 0)
    fail_msg("%s", err.text);
  json_decref(metadata);
}

static struct templates *open_sound(const char *path) {
  struct templates *templates = NULL;
  struct guise_error err = {0};
  if (templates_open(path, &templates, &err) < 0 || templates_check(templates, NULL, NULL, &err) < 0)
    fail_msg("%s", err.text);
  return templates;
}

static void is_template(const struct templates *templates, uint32_t i, uint32_t was) {
  float got[VALUES];
  templates_get(templates, i, false, got);
  for (uint32_t e = 0; e < VALUES; e++)
    assert_true(got[e] == value(was, e));
}

static void is_label(const struct templates *templates, uint32_t i, uint32_t first, uint32_t second) {
  struct mix_label label[MIX_MAX];
  assert_int_equal(templates_labels(templates, i, label), 2);
  assert_int_equal(label[0].identity, first);
  assert_int_equal(label[1].identity, second);
}

static void a_person_goes_with_all_mixes(void **state) {
  (void)state;
  for (int half = 0; half < 2; half++) {
    struct templates_rest rest = {0};
    struct guise_error err = {0};
    uint32_t shown[PEOPLE];
    char sha256[SHA256_HEX];
    uint64_t bytes;
    write_whole(half);
    if (templates_without(whole, 0, rest_path, &rest, &err) < 0)
      fail_msg("%s", err.text);
    assert_int_equal(rest.people, 4);
    assert_int_equal(rest.templates, 4);
    assert_int_equal(sha256_file(rest_path, sha256, &bytes), 0);
    assert_string_equal(rest.sha256, sha256);
    assert_int_equal(rest.bytes, bytes);
    struct templates *left = open_sound(rest_path);
    assert_int_equal(templates_count(left), 4);
    assert_int_equal(templates_people(left), 4);
    assert_int_equal(templates_numbers(left), PEOPLE);
    assert_true(templates_is_erased(left, 0) && !templates_is_erased(left, 1));
    templates_count_shown(left, shown);
    const uint32_t expected[PEOPLE] = {0, 1, 2, 2, 2};
    assert_memory_equal(shown, expected, sizeof(expected));
    for (uint32_t i = 0; i < 4; i++)
      is_template(left, i, i + 2);
    is_label(left, 0, 1, 2); /* of the numbers 2 and 3, without a gap */
    is_label(left, 3, 0, 3);
    assert_string_equal(templates_method(left), "ahm");
    assert_true(templates_constants(left)->deviation[2] == 3 && templates_mixing(left)->probability[2] == 1);
    templates_free(left);
  }
}

static void whoever_is_left_in_nothing_goes_too(void **state) {
  (void)state;
  struct templates_rest rest = {0};
  write_whole(false);
  assert_int_equal(templates_without(whole, 3, rest_path, &rest, NULL), 0);
  assert_int_equal(rest.people, 3); /* 2 was with 3 only */
  assert_int_equal(rest.templates, 4);
  struct templates *left = open_sound(rest_path);
  assert_true(templates_is_erased(left, 2) && templates_is_erased(left, 3));
  is_template(left, 2, 4);
  is_label(left, 3, 1, 2); /* 1 with 4 */
  templates_free(left);
  /* once more, from what is left: the numbers are those of before */
  assert_int_equal(templates_without(rest_path, 3, last_path, &rest, NULL), -ENOENT);
  assert_int_equal(templates_without(rest_path, 0, last_path, &rest, NULL), 0);
  assert_int_equal(rest.people, 2);
  assert_int_equal(rest.templates, 2);
  left = open_sound(last_path);
  is_template(left, 0, 4);
  is_label(left, 1, 0, 1);
  templates_free(left);
  assert_int_equal(templates_without(last_path, 4, rest_path, &rest, NULL), -ENODATA);
}

/* What a stranger has put into the file beside does not come along, and does no harm. */
static void unknown_tensors_are_left_behind(void **state) {
  (void)state;
  static const char *const names[] = {"mask.a", "mask.b", "mask.c", "mask.d", "mask.e", "mask.f", "note"};
  struct safetensors *file = NULL;
  struct safetensor tensors[24];
  struct templates_rest rest = {0};
  struct guise_error err = {0};
  const uint32_t word = 7;
  uint32_t n = 0;
  write_whole(true);
  assert_int_equal(safetensors_open(whole, &file, NULL), 0);
  for (size_t i = 0; i < ARRAY_SIZE(names); i++)
    tensors[n++] = (struct safetensor){
        .name = names[i], .dtype = "U32", .rank = 1, .shape = {1}, .data = &word, .bytes = sizeof(word)};
  for (uint32_t i = 0; i < safetensors_count(file); i++)
    tensors[n++] = *safetensors_at(file, i);
  tensors[n++] = (struct safetensor){
      .name = "mask.x", .dtype = "U8", .rank = 1, .shape = {1}, .data = &word, .bytes = 1};
  assert_int_equal(safetensors_write(last_path, tensors, n, safetensors_metadata(file), NULL), 0);
  safetensors_free(file);
  templates_free(open_sound(last_path));
  if (templates_without(last_path, 0, rest_path, &rest, &err) < 0)
    fail_msg("%s", err.text);
  struct templates *left = open_sound(rest_path);
  assert_int_equal(templates_count(left), 4);
  assert_null(safetensors_find(templates_file(left), "note"));
  assert_null(safetensors_find(templates_file(left), "mask.x"));
  templates_free(left);
}

static void say(json_t *metadata, const char *key, const char *text) {
  assert_int_equal(json_object_set_new(metadata, key, json_string(text)), 0);
}

static void says(const struct templates *templates, const char *key, const char *text) {
  assert_string_equal(mask_file_text(templates_metadata(templates), key), text);
}

/* Nor does any text: it may name whoever is erased. What guise reads is written anew, as guise writes it. */
static void text_of_its_maker_is_left_behind(void **state) {
  (void)state;
  struct safetensors *file = NULL;
  struct safetensor tensors[16];
  struct templates_rest rest = {0};
  struct guise_error err = {0};
  _cleanup_(freep) char *bytes = NULL;
  size_t size = 0;
  uint32_t n = 0;
  write_whole(false);
  assert_int_equal(safetensors_open(whole, &file, NULL), 0);
  for (; n < safetensors_count(file); n++)
    tensors[n] = *safetensors_at(file, n);
  json_t *metadata = json_deep_copy(safetensors_metadata(file));
  say(metadata, "note", "0 is Alice");
  say(metadata, "mask.note", "0 is Alice");
  say(metadata, "mix.note", "0 is Alice");
  say(metadata, "guise", "Alice's guise");
  say(metadata, "mask.select", "Alice");
  say(metadata, "mix.beta", "Alice");
  say(metadata, "mask.drop_low", "Alice");
  say(metadata, "mask.clip", " 0x8");
  assert_int_equal(safetensors_write(last_path, tensors, n, metadata, NULL), 0);
  json_decref(metadata);
  safetensors_free(file);
  if (templates_without(last_path, 0, rest_path, &rest, &err) < 0)
    fail_msg("%s", err.text);
  assert_int_equal(file_read(rest_path, 1 << 20, &bytes, &size, NULL), 0);
  assert_null(memmem(bytes, size, "Alice", 5));
  struct templates *left = open_sound(rest_path);
  says(left, "format", TEMPLATES_FORMAT);
  says(left, "guise", GUISE_VERSION);
  says(left, "mask.clip", "8");
  says(left, "mask.pixel_scale", "1");
  says(left, "mask.dct", "native");
  says(left, "mask.select", "");
  says(left, "mix.beta", "false");
  says(left, "people", "5");
  templates_free(left);
}

/* Nor do numbers that are nobody's: one may be anybody's outside. */
static void numbers_behind_the_last_person_are_left_behind(void **state) {
  (void)state;
  const uint32_t strange = STRANGE;
  for (int after = 0; after < 2; after++) {
    struct templates_rest rest = {0};
    _cleanup_(freep) char *bytes = NULL;
    size_t size = 0;
    write_whole(false);
    if (after)
      assert_int_equal(templates_without(whole, 0, rest_path, &rest, NULL), 0);
    assert_int_equal(file_read(after ? rest_path : whole, 1 << 20, &bytes, &size, NULL), 0);
    assert_int_equal(memmem(bytes, size, &strange, sizeof(strange)) != NULL, !after);
  }
}

static void nobody_by_that_number(void **state) {
  (void)state;
  struct templates_rest rest = {0};
  struct guise_error err = {0};
  write_whole(false);
  assert_int_equal(templates_without(whole, PEOPLE, rest_path, &rest, &err), -ENOENT);
  assert_non_null(strstr(err.text, "nobody"));
}

/* ---- what an upload may say of the erased ---- */

static int with_erased(const char *dtype, const uint32_t *erased, uint32_t count, struct guise_error *err) {
  struct safetensors *file = NULL;
  struct templates *templates = NULL;
  struct safetensor tensors[16];
  uint32_t n = 0;
  write_whole(false);
  assert_int_equal(safetensors_open(whole, &file, NULL), 0);
  tensors[n++] = (struct safetensor){.name = "label.erased",
                                     .dtype = dtype,
                                     .rank = 1,
                                     .shape = {count},
                                     .data = erased,
                                     .bytes = count * sizeof(*erased)};
  for (uint32_t i = 0; i < safetensors_count(file); i++)
    tensors[n++] = *safetensors_at(file, i);
  assert_int_equal(safetensors_write(rest_path, tensors, n, safetensors_metadata(file), NULL), 0);
  safetensors_free(file);
  int r = templates_open(rest_path, &templates, err);
  if (r == 0)
    r = templates_check(templates, NULL, NULL, err);
  templates_free(templates);
  return r;
}

static void lists_of_the_erased_are_checked(void **state) {
  (void)state;
  static const struct {
    const char *dtype;
    uint32_t erased[PEOPLE], count;
    const char *says;
  } cases[] = {{"F32", {0}, 1, "is not U32"},
               {"U32", {4, 3}, 2, "ascending"},
               {"U32", {3, 3}, 2, "ascending"},
               {"U32", {9}, 1, "ascending"},
               {"U32", {0, 1, 2, 3, 4}, 5, "all people"},
               {"U32", {4}, 1, "who is erased"}};
  for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
    struct guise_error err = {0};
    assert_int_equal(with_erased(cases[i].dtype, cases[i].erased, cases[i].count, &err), -EBADMSG);
    if (!strstr(err.text, cases[i].says))
      fail_msg("%zu: %s", i, err.text);
  }
  assert_int_equal(with_erased("U32", NULL, 0, NULL), 0);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_person_goes_with_all_mixes),
      cmocka_unit_test(whoever_is_left_in_nothing_goes_too),
      cmocka_unit_test(unknown_tensors_are_left_behind),
      cmocka_unit_test(text_of_its_maker_is_left_behind),
      cmocka_unit_test(numbers_behind_the_last_person_are_left_behind),
      cmocka_unit_test(nobody_by_that_number),
      cmocka_unit_test(lists_of_the_erased_are_checked),
  };
  return cmocka_run_group_tests(tests, setup, teardown);
}
