/* Faces that their owner masks: the same templates as in the daemon, and files of them read back. */
#include <math.h>
#include <string.h>

#include "core/template/half.h"
#include "tests/unit/train/templates_fixture.h"

#define NEAR 2e-5f /* FFTW rounds in single precision, before the division by a deviation */

/* Of values above 1, of their size. */
static float largest_difference(const float *a, const float *b, size_t n) {
  float most = 0;
  for (size_t i = 0; i < n; i++)
    most = fmaxf(most, fabsf(a[i] - b[i]) / fmaxf(1, fabsf(a[i])));
  return most;
}

/* ---- the mask ---- */

static void same_template_as_the_daemon(void **state) {
  (void)state;
  static const enum mask_method methods[] = {MASK_NONE, MASK_MIXUP, MASK_DUETFACE, MASK_AHM};
  const struct mask_mixing mixing = {.mixes = true, .unmixed = 0.25f, .probability = {0, 0, 0.5f, 0, 0.5f}};
  for (size_t m = 0; m < ARRAY_SIZE(methods); m++) {
    struct mask *mask = make_mask(methods[m], &mixing);
    struct plain_mask plain;
    open_plain(&plain);
    const size_t n = mask_elements(mask);
    assert_int_equal(plain_mask_elements(&plain), n);
    assert_string_equal(plain.method, mask_traits(methods[m])->name);
    assert_int_equal(plain.mixing.mixes, mask_traits(methods[m])->mixes);
    float *a = malloc(n * sizeof(float)), *b = malloc(n * sizeof(float)),
          *scratch = malloc((mask_scratch(mask) + plain_mask_scratch(&plain)) * sizeof(float));
    float most = 0;
    for (uint32_t i = 0; i < PEOPLE * IMAGES; i++) {
      mask_template(mask, pack_image(pack, i), false, NULL, scratch, a);
      plain_mask_template(&plain, pack_image(pack, i), scratch, b);
      most = fmaxf(most, largest_difference(a, b, n));
    }
    if (!(most <= NEAR))
      fail_msg("%s: %g", plain.method, (double)most);
    free(scratch);
    free(b);
    free(a);
    plain_mask_close(&plain);
    mask_free(mask);
  }
}

static void masks_that_are_not_linear_are_refused(void **state) {
  (void)state;
  const struct mask_mixing none = {.mixes = false};
  struct plain_mask plain;
  mask_free(make_mask(MASK_BLUR, &none));
  assert_int_equal(plain_mask_open(model_path, &plain, NULL), -ENOTSUP);
  assert_int_equal(plain_mask_open(faces, &plain, NULL), -EBADMSG);
}

static void halves(void **state) {
  (void)state;
  for (uint32_t bits = 0; bits < 0x10000; bits++) /* every half comes back */
    if ((bits & 0x7c00u) != 0x7c00u || (bits & 0x3ffu) == 0)
      assert_int_equal(half_from_float(half_to_float((uint16_t)bits)), bits);
  assert_true(isnan(half_to_float(half_from_float(NAN))));
  assert_true(isinf(half_to_float(half_from_float(1e6f))));
  assert_true(half_to_float(half_from_float(65519.0f)) == 65504.0f);
  assert_true(half_to_float(half_from_float(1 + 0x1p-11f)) == 1.0f); /* a tie goes to even */
  assert_true(half_to_float(half_from_float(1 + 0x3p-11f)) == 1 + 0x1p-9f);
  assert_true(half_to_float(half_from_float(0x1.8p-24f)) == 0x1p-23f);
}

/* ---- data sets ---- */

/* Unmixed templates are each one image's, under its person's number; mirrored ones are those of the mirrored
 * image. */
static void unmixed_templates_are_those_of_images(void **state) {
  (void)state;
  const struct mask_mixing mixing = {.mixes = true, .unmixed = 1, .probability = {0, 0, 1}};
  for (int half = 0; half < 2; half++) {
    struct mask *mask = make_mask(MASK_MIXUP, &mixing); /* without a clip a mirror is exact */
    const struct templates_recipe recipe = {.mixing = mixing, .mixes = 1, .seed = 3, .half = half == 1};
    const float near = half ? 0.01f : 2 * NEAR;
    uint32_t number[PEOPLE], seen = 0;
    struct plain_mask plain;
    open_plain(&plain);
    struct templates *templates = make(&plain, &recipe, number);
    const size_t n = templates_elements(templates);
    float *a = malloc(n * sizeof(float)), *b = malloc(n * sizeof(float)),
          *scratch = malloc(mask_scratch(mask) * sizeof(float));
    assert_int_equal(templates_count(templates), PEOPLE * IMAGES);
    assert_int_equal(templates_people(templates), PEOPLE);
    for (uint32_t t = 0; t < PEOPLE * IMAGES; t++) {
      struct mix_label label[MIX_MAX];
      assert_int_equal(templates_labels(templates, t, label), 1);
      assert_true(label[0].weight == 1);
      for (uint32_t i = 0; i < PEOPLE * IMAGES; i++) {
        mask_template(mask, pack_image(pack, i), false, NULL, scratch, b);
        templates_get(templates, t, false, a);
        if (number[pack_identity_of(pack, i)] != label[0].identity || largest_difference(a, b, n) > near)
          continue;
        seen |= 1u << i;
        mask_template(mask, pack_image(pack, i), true, NULL, scratch, b);
        templates_get(templates, t, true, a);
        assert_true(largest_difference(a, b, n) <= near);
      }
    }
    assert_int_equal(seen, (1u << (PEOPLE * IMAGES)) - 1);
    free(scratch);
    free(b);
    free(a);
    templates_free(templates);
    plain_mask_close(&plain);
    mask_free(mask);
  }
}

/* The mean of what is drawn many times is what the policy chose, and a mix of k has at most k people. */
static void mixes_follow_the_histogram(void **state) {
  (void)state;
  const struct mask_mixing mixing = {
      .mixes = true, .unmixed = 0.25f, .probability = {0, 0, 0, 0.5f, 0, 0, 0.5f}};
  const struct templates_recipe recipe = {.mixing = mixing, .mixes = TEMPLATES_MIXES_MAX, .seed = 5};
  struct plain_mask plain;
  uint32_t number[PEOPLE], most = 0, alone = 0, of[PEOPLE] = {0};
  mask_free(make_mask(MASK_AHM, &mixing));
  open_plain(&plain);
  assert_true(plain.mixing_known && plain.mixing.unmixed == 0.25f && plain.mixing.probability[6] == 0.5f);
  struct templates *templates = make(&plain, &recipe, number);
  const uint32_t count = templates_count(templates);
  assert_int_equal(count, PEOPLE * IMAGES * TEMPLATES_MIXES_MAX);
  for (uint32_t t = 0; t < count; t++) {
    struct mix_label label[MIX_MAX];
    const uint32_t labels = templates_labels(templates, t, label);
    most = MAX(most, labels);
    alone += label[0].weight == 1;
    of[label[0].identity] += label[0].weight == 1;
  }
  uint32_t unmixed =
      0; /* one of six people, in all templates; of the others mixes of their own faces alone */
  for (uint32_t p = 0; p < PEOPLE; p++) {
    unmixed += of[p] >= IMAGES * TEMPLATES_MIXES_MAX;
    assert_true(of[p] >= IMAGES * TEMPLATES_MIXES_MAX || of[p] < IMAGES * TEMPLATES_MIXES_MAX / 10);
  }
  assert_int_equal(unmixed, 1);
  assert_true(most >= 4 && most <= 6);
  assert_true(alone > count / 6 && alone < count / 3); /* 1/4, and few mixes of one person */
  assert_true(templates_mixing(templates)->probability[3] == 0.5f);
  /* the same seed gives the same file, another one another */
  char first[SHA256_HEX], again[SHA256_HEX];
  assert_int_equal(sha256_file(path, first, NULL), 0);
  templates_free(templates);
  templates_free(make(&plain, &recipe, number));
  assert_int_equal(sha256_file(path, again, NULL), 0);
  assert_string_equal(first, again);
  const struct templates_recipe other = {.mixing = mixing, .mixes = TEMPLATES_MIXES_MAX, .seed = 6};
  templates_free(make(&plain, &other, number));
  assert_int_equal(sha256_file(path, again, NULL), 0);
  assert_string_not_equal(first, again);
  plain_mask_close(&plain);
}

/* Where each person has one image, labels say which images are in a mix, and it is their sum by these shares,
 * less the frequencies that templates lose. */
static void check_sums(struct mix_protection protection) {
  const struct mask_mixing mixing = {
      .mixes = true, .protection = protection, .probability = {0, 0, 0.25f, 0.25f, 0.25f, 0, 0.25f}};
  const struct templates_recipe recipe = {.mixing = mixing, .mixes = 4, .seed = 9};
  struct mask *mask = make_mask(MASK_AHM, &mixing);
  _cleanup_(pack_freep) struct pack *single = NULL;
  struct templates *templates = NULL;
  struct plain_mask plain;
  struct guise_error err = {0};
  uint32_t number[PEOPLE], person_of[PEOPLE];
  write_faces("single", 1, &single);
  open_plain(&plain);
  if (templates_make(single, &plain, &recipe, path, number, NULL, NULL, &err) < 0 ||
      templates_open(path, &templates, &err) < 0)
    fail_msg("%s", err.text);
  const size_t n = templates_elements(templates);
  float *sum = calloc(n, sizeof(float)), *part = malloc(n * sizeof(float)),
        *scratch = malloc(mask_scratch(mask) * sizeof(float));
  for (uint32_t p = 0; p < PEOPLE; p++)
    person_of[number[p]] = p;
  for (uint32_t t = 0; t < templates_count(templates); t++) {
    struct mix_label label[MIX_MAX];
    const uint32_t labels = templates_labels(templates, t, label);
    assert_in_range(labels, protection.alone ? 1 : 2, protection.alone ? 1 : 6);
    memset(sum, 0, n * sizeof(float));
    for (uint32_t j = 0; j < labels; j++) {
      mask_template(mask, pack_image(single, person_of[label[j].identity]), false, NULL, scratch, part);
      for (size_t e = 0; e < n; e++)
        sum[e] += label[j].weight * part[e];
    }
    mask_lower(mask, protection.drop, sum);
    templates_get(templates, t, false, part);
    assert_true(largest_difference(sum, part, n) <= NEAR);
  }
  assert_true(templates_mixing(templates)->protection.drop == protection.drop &&
              templates_mixing(templates)->protection.alone == protection.alone);
  free(scratch);
  free(part);
  free(sum);
  templates_free(templates);
  plain_mask_close(&plain);
  mask_free(mask);
}

static void mixes_are_sums_of_faces(void **state) {
  (void)state;
  check_sums((struct mix_protection){.drop = 0});
  check_sums((struct mix_protection){.drop = 6});
  check_sums((struct mix_protection){.drop = 10, .alone = true});
}

/* What guise itself writes stays word for word when somebody is erased, so that a job means the same before
 * and after; but for the seed of the mask, which decides nothing any more and may be any number. */
static void an_erasure_leaves_what_guise_wrote(void **state) {
  (void)state;
  static const enum mask_method methods[] = {MASK_NONE, MASK_MIXUP, MASK_DUETFACE, MASK_AHM};
  for (size_t m = 0; m < ARRAY_SIZE(methods); m++) {
    const struct mask_mixing mixing = {.mixes = methods[m] == MASK_MIXUP || methods[m] == MASK_AHM,
                                       .unmixed = 0.5f,
                                       .probability = {0, 0, 1}};
    const struct templates_recipe recipe = {.mixing = mixing, .mixes = 1, .seed = 5};
    struct templates_rest rest = {0};
    struct templates *left = NULL;
    struct plain_mask plain;
    struct guise_error err = {0};
    uint32_t number[PEOPLE];
    char rest_path[96];
    (void)snprintf(rest_path, sizeof(rest_path), "%s/rest", root);
    mask_free(make_mask(methods[m], &mixing));
    open_plain(&plain);
    struct templates *templates = make(&plain, &recipe, number);
    json_t *metadata = json_deep_copy(templates_metadata(templates));
    if (templates_without(path, number[0], rest_path, &rest, &err) < 0 ||
        templates_open(rest_path, &left, &err) < 0)
      fail_msg("%s: %s", mask_traits(methods[m])->name, err.text);
    assert_non_null(json_object_get(metadata, "mask.select"));
    assert_int_equal(json_object_del(metadata, "mask.seed"), 0);
    if (!json_equal(templates_metadata(left), metadata))
      fail_msg("%s: %s and %s", mask_traits(methods[m])->name, json_dumps(templates_metadata(left), 0),
               json_dumps(metadata, 0));
    json_decref(metadata);
    templates_free(left);
    templates_free(templates);
    plain_mask_close(&plain);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(same_template_as_the_daemon),
      cmocka_unit_test(masks_that_are_not_linear_are_refused),
      cmocka_unit_test(halves),
      cmocka_unit_test(unmixed_templates_are_those_of_images),
      cmocka_unit_test(mixes_follow_the_histogram),
      cmocka_unit_test(mixes_are_sums_of_faces),
      cmocka_unit_test(an_erasure_leaves_what_guise_wrote),
  };
  return cmocka_run_group_tests(tests, setup, teardown);
}
