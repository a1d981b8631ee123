/* Files of templates that are not what they seem. */
#include <math.h>
#include <string.h>

#include "core/base/mapping.h"
#include "tests/unit/train/templates_fixture.h"

enum { COUNT = 3, LABELS = 2, GRID = SIZE / 8, CHANNELS = 183, VALUES = COUNT * CHANNELS * GRID * GRID };

static json_t *spoilt; /* metadata of the last one */

struct hostile {
  uint32_t person[COUNT * LABELS];
  float weight[COUNT * LABELS], values[VALUES];
  struct mask_constants constants;
  struct templates_content content;
};

static struct hostile *sound(const struct plain_mask *plain) {
  struct hostile *h = calloc(1, sizeof(*h));
  static const uint32_t person[] = {0, 0, 1, 0, 1, 0};
  static const float weight[] = {1, 0, 0.75f, 0.25f, 0.5f, 0.5f};
  assert_non_null(h);
  memcpy(h->person, person, sizeof(person));
  memcpy(h->weight, weight, sizeof(weight));
  h->constants = plain->constants;
  assert_int_equal(h->constants.channels, CHANNELS);
  h->content = (struct templates_content){.metadata = plain->metadata,
                                          .constants = &h->constants,
                                          .mixing = plain->mixing,
                                          .count = COUNT,
                                          .people = 2,
                                          .grid = GRID,
                                          .labels = LABELS,
                                          .person = h->person,
                                          .weight = h->weight,
                                          .values = h->values};
  return h;
}

/* Writes, opens and checks; the first error. Frees. */
static int outcome(struct hostile *h, struct guise_error *err) {
  struct templates *templates = NULL;
  int r = templates_write(path, &h->content, err);
  assert_int_equal(r, 0);
  r = templates_open(path, &templates, err);
  if (r == 0)
    r = templates_check(templates, NULL, NULL, err);
  templates_free(templates);
  free(h);
  return r;
}

static void breaks(const struct plain_mask *plain, void (*spoil)(struct hostile *h), const char *says) {
  struct guise_error err = {0};
  struct hostile *h = sound(plain);
  spoil(h);
  assert_int_equal(outcome(h, &err), -EBADMSG);
  if (!strstr(err.text, says))
    fail_msg("'%s' does not tell '%s'", err.text, says);
}

static void spoil_person(struct hostile *h) {
  h->person[2] = 2;
}
static void spoil_twice(struct hostile *h) {
  h->person[3] = 1;
}
static void spoil_absent(struct hostile *h) {
  h->content.people = 3;
}
static void spoil_sum(struct hostile *h) {
  h->weight[2] = 0.5f;
}
static void spoil_order(struct hostile *h) {
  h->weight[2] = 0.25f;
  h->weight[3] = 0.75f;
}
static void spoil_weight(struct hostile *h) {
  h->weight[0] = NAN;
}
static void spoil_nan(struct hostile *h) {
  h->values[VALUES - 1] = NAN;
}
static void spoil_infinite(struct hostile *h) {
  h->values[0] = -INFINITY;
}
static void spoil_clip(struct hostile *h) {
  h->values[7] = 3.1f;
}
static void spoil_deviation(struct hostile *h) {
  h->constants.deviation[5] = 0;
}
static void spoil_channels(struct hostile *h) {
  h->constants.channel[5] = h->constants.channel[4];
}
static void spoil_grid(struct hostile *h) {
  h->content.grid = GRID - 1;
}
static void spoil_labels(struct hostile *h) {
  h->content.count = 1; /* the same bytes, read as another shape */
  h->content.labels = 0;
}

static void set_text(struct hostile *h, const char *key, const char *text) {
  json_t *metadata = json_copy((json_t *)h->content.metadata); /* lives as long as the file is written */
  assert_int_equal(json_object_set_new(metadata, key, json_string(text)), 0);
  json_decref(spoilt);
  h->content.metadata = spoilt = metadata;
}
static void spoil_mask(struct hostile *h) { /* of a mask that needs more than constants */
  set_text(h, "mask", "minusface");
}
static void spoil_transform(struct hostile *h) {
  set_text(h, "mask.dct", "upsampled");
}
static void spoil_mixing(struct hostile *h) {
  h->content.mixing.mixes = false; /* then it does not say how, and ahm would choose */
}
static void spoil_unmixed(struct hostile *h) {
  set_text(h, "mask", "none");
}
static void spoil_several(struct hostile *h) {
  set_text(h, "mask", "none");
  h->content.mixing.mixes = false;
}

static void hostile_files_are_refused(void **state) {
  (void)state;
  const struct mask_mixing mixing = {.mixes = true, .probability = {0, 0, 1}};
  struct guise_error err = {0};
  struct plain_mask plain;
  mask_free(make_mask(MASK_AHM, &mixing));
  open_plain(&plain);
  if (outcome(sound(&plain), &err) < 0)
    fail_msg("%s", err.text);
  breaks(&plain, spoil_person, "names the person 2 of 2");
  breaks(&plain, spoil_twice, "names the person 1 twice");
  breaks(&plain, spoil_absent, "no template shows the person 2");
  breaks(&plain, spoil_sum, "add up to 0.75");
  breaks(&plain, spoil_order, "largest first");
  breaks(&plain, spoil_weight, "are not shares");
  breaks(&plain, spoil_nan, "template 2 holds a value");
  breaks(&plain, spoil_infinite, "template 0 holds a value");
  breaks(&plain, spoil_clip, "beyond 3");
  breaks(&plain, spoil_deviation, "channel 5");
  breaks(&plain, spoil_channels, "channel 5");
  breaks(&plain, spoil_grid, "shape of templates");
  breaks(&plain, spoil_labels, "label.person and label.weight");
  breaks(&plain, spoil_mask, "mask is minusface");
  breaks(&plain, spoil_transform, "transform upsampled");
  breaks(&plain, spoil_mixing, "how faces were mixed");
  breaks(&plain, spoil_unmixed, "tells of mixes");
  breaks(&plain, spoil_several, "template 1 shows several people");
  json_decref(spoilt);
  plain_mask_close(&plain);
}

/* Pages that turn out to be unreadable while a training goes on: zeros, and no label beyond the people. */
static void what_cannot_be_read_is_somebody(void **state) {
  (void)state;
  const struct mask_mixing mixing = {.mixes = true, .probability = {0, 0, 1}};
  const struct templates_recipe recipe = {.mixing = mixing, .mixes = 1, .seed = 11};
  struct mix_label label[MIX_MAX] = {{UINT32_MAX, NAN}};
  struct guise_error err = {0};
  struct plain_mask plain;
  mask_free(make_mask(MASK_AHM, &mixing));
  open_plain(&plain);
  assert_int_equal(mapping_guard(), 0);
  struct templates *templates = make(&plain, &recipe, NULL);
  const size_t n = templates_elements(templates);
  float *values = malloc(n * sizeof(float));
  assert_int_equal(truncate(path, 0), 0);
  assert_int_equal(templates_labels(templates, 3, label), 1);
  assert_true(label[0].identity < PEOPLE && label[0].weight == 1);
  templates_get(templates, 3, false, values);
  assert_true(values[0] == 0 && values[n - 1] == 0);
  /* that is the disk's fault, not that of who uploaded it */
  assert_int_equal(templates_check(templates, NULL, NULL, &err), -EIO);
  free(values);
  templates_free(templates);
  plain_mask_close(&plain);
}

static void other_files_are_told(void **state) {
  (void)state;
  const struct mask_mixing mixing = {.mixes = true, .probability = {0, 0, 1}};
  struct templates *templates = NULL;
  mask_free(make_mask(MASK_AHM, &mixing));
  assert_int_equal(templates_open(model_path, &templates, NULL), -EBADMSG);
  assert_int_equal(templates_open(faces, &templates, NULL), -EBADMSG);
  assert_false(templates_recognise(faces));
  assert_false(templates_recognise("/nowhere"));
  struct plain_mask plain;
  open_plain(&plain);
  assert_int_equal(outcome(sound(&plain), NULL), 0);
  assert_int_equal(truncate(path, 4000), 0);
  assert_int_equal(templates_open(path, &templates, NULL), -EBADMSG);
  plain_mask_close(&plain);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(hostile_files_are_refused),
      cmocka_unit_test(what_cannot_be_read_is_somebody),
      cmocka_unit_test(other_files_are_told),
  };
  return cmocka_run_group_tests(tests, setup, teardown);
}
