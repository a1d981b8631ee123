/* Faces that their owner masks: the same templates as in the daemon, files of them read back, and files that
 * are not what they seem. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "core/base/file.h"
#include "core/base/mapping.h"
#include "core/image/ingest.h"
#include "core/image/tar_write.h"
#include "core/model/model.h"
#include "core/template/half.h"
#include "core/template/make.h"
#include "core/template/templates.h"
#include "core/train/given.h"
#include "tests/unit/train/quiet.h"

#define PEOPLE 6
#define IMAGES 5
#define SIZE 48
#define NEAR 2e-5f /* FFTW rounds in single precision, before the division by a deviation */

DEFINE_CLEANUP(struct pack *, pack_free)

static char root[] = "/tmp/guise-templates-XXXXXX";
static char faces[64], model_path[64], path[64];
static struct pack *pack;

static const uint8_t *image(void *context, uint32_t i) {
  (void)context;
  return pack_image(pack, i);
}

static void write_faces(const char *name, uint32_t images, struct pack **ret_pack) {
  char tar[96], faces_path[96];
  struct guise_error err = {0};
  struct ingest_result result;
  (void)snprintf(tar, sizeof(tar), "%s/%s.tar", root, name);
  (void)snprintf(faces_path, sizeof(faces_path), "%s/%s", root, name);
  int fd = open(tar, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
  assert_true(fd >= 0);
  assert_int_equal(synth_write_tar(fd, 1, PEOPLE, images, SIZE, &err), 0);
  (void)close(fd);
  if (ingest_archive(tar, faces_path, SIZE, GUISE_BUILD "/guise-decode", 1, NULL, NULL, &result, &err) < 0 ||
      pack_open(faces_path, ret_pack, &err) < 0)
    fail_msg("%s", err.text);
}

static int setup(void **state) {
  (void)state;
  assert_non_null(mkdtemp(root));
  (void)snprintf(faces, sizeof(faces), "%s/faces", root);
  (void)snprintf(model_path, sizeof(model_path), "%s/model.safetensors", root);
  (void)snprintf(path, sizeof(path), "%s/templates", root);
  write_faces("faces", IMAGES, &pack);
  return 0;
}

static int teardown(void **state) {
  (void)state;
  pack_free(pack);
  return directory_remove(root);
}

/* A mask fitted on the faces, and a file that says of it what a model's does. */
static struct mask *make_mask(enum mask_method method, const struct mask_mixing *mixing) {
  const struct mask_options options = mask_options_default(method, SIZE);
  struct guise_error err = {0};
  struct mask *mask = NULL;
  if (mask_new(&options, &mask, &err) < 0 || mask_fit(mask, image, NULL, PEOPLE * IMAGES, &err) < 0)
    fail_msg("%s", err.text);
  struct model_info info = {
      .input = SIZE, .mask = options, .constants = *mask_constants(mask), .mixing = *mixing};
  struct safetensor tensors[MASK_FILE_TENSORS];
  uint32_t channel[MASK_CHANNELS_MAX];
  json_t *metadata = model_metadata(&info);
  const uint32_t count = mask_file_tensors(&info.constants, channel, tensors);
  if (safetensors_write(model_path, tensors, count, metadata, &err) < 0)
    fail_msg("%s", err.text);
  json_decref(metadata);
  return mask;
}

static void open_plain(struct plain_mask *plain) {
  struct guise_error err = {0};
  if (plain_mask_open(model_path, plain, &err) < 0)
    fail_msg("%s", err.text);
}

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

static struct templates *make(const struct plain_mask *plain, const struct templates_recipe *recipe,
                              uint32_t number[PEOPLE]) {
  struct guise_error err = {0};
  struct templates *templates = NULL;
  if (templates_make(pack, plain, recipe, path, number, NULL, NULL, &err) < 0 ||
      templates_open(path, &templates, &err) < 0 || templates_check(templates, NULL, NULL, &err) < 0)
    fail_msg("%s", err.text);
  assert_true(templates_recognise(path));
  return templates;
}

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
  uint32_t number[PEOPLE], most = 0, alone = 0;
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
  }
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

/* Where each person has one image, labels say which images are in a mix, and it is their sum by these shares.
 */
static void mixes_are_sums_of_faces(void **state) {
  (void)state;
  const struct mask_mixing mixing = {.mixes = true, .probability = {0, 0, 0.25f, 0.25f, 0.25f, 0, 0.25f}};
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
    assert_in_range(labels, 2, 6);
    memset(sum, 0, n * sizeof(float));
    for (uint32_t j = 0; j < labels; j++) {
      mask_template(mask, pack_image(single, person_of[label[j].identity]), false, NULL, scratch, part);
      for (size_t e = 0; e < n; e++)
        sum[e] += label[j].weight * part[e];
    }
    templates_get(templates, t, false, part);
    assert_true(largest_difference(sum, part, n) <= NEAR);
  }
  free(scratch);
  free(part);
  free(sum);
  templates_free(templates);
  plain_mask_close(&plain);
  mask_free(mask);
}

/* ---- training ---- */

static const struct job_callbacks quiet = {.phase = quiet_phase,
                                           .progress = quiet_progress,
                                           .log = quiet_log,
                                           .checkpoint = quiet_checkpoint,
                                           .should_stop = quiet_stop};

static int open_trainer(const char *mask, bool flip, struct trainer *t, struct job_spec *spec,
                        struct guise_error *err) {
  const struct data_split all = {.seed = 1};
  const struct job_inputs inputs = {.job_id = "job_1", .work_directory = root, .threads = 2};
  struct spec_problems problems = {0};
  json_t *body =
      json_pack("{s:s, s:s, s:{s:f}, s:{s:s, s:s}, s:{s:i, s:i, s:f}, s:{s:i, s:b, s:i}, s:{s:[]}}", "type",
                "train", "dataset", "mine", "holdout", "identities", 0.0, "mask", "method", mask, "policy",
                "uniform", "model", "input", SIZE, "embedding", 16, "width", 0.25, "train", "batch", 16,
                "flip", (int)flip, "shift", 0, "audit", "attacks");
  assert_non_null(body);
  if (job_spec_parse(body, spec, &problems) < 0)
    fail_msg("%s: %s", problems.problem[0].pointer, problems.problem[0].detail);
  json_decref(body);
  memset(t, 0, sizeof(*t));
  int r = job_data_open(path, SIZE, &all, &t->data, err);
  return r < 0 ? r : trainer_init(t, spec, &inputs, &quiet, err);
}

/* A batch is the file's templates, some of them mirrored where that is asked for, with the file's labels. */
static void batches_are_templates_with_their_labels(void **state) {
  (void)state;
  const struct mask_mixing mixing = {.mixes = true, .unmixed = 0.25f, .probability = {0, 0, 0.5f, 0, 0.5f}};
  const struct templates_recipe recipe = {.mixing = mixing, .mixes = 2, .seed = 11};
  uint32_t number[PEOPLE];
  struct plain_mask plain;
  mask_free(make_mask(MASK_AHM, &mixing));
  open_plain(&plain);
  struct templates *templates = make(&plain, &recipe, number);
  const size_t n = templates_elements(templates);
  float *wanted = malloc(n * sizeof(float)), *got = malloc(16 * n * sizeof(float));
  for (int flip = 0; flip < 2; flip++) {
    struct guise_error err = {0};
    struct job_spec spec;
    struct trainer t;
    uint32_t images[16], mirrored = 0;
    if (open_trainer("ahm", flip == 1, &t, &spec, &err) < 0)
      fail_msg("%s", err.text);
    assert_int_equal(t.data.train.identities, PEOPLE);
    assert_memory_equal(mask_constants(t.mask)->mean, plain.constants.mean, sizeof(plain.constants.mean));
    for (uint32_t i = 0; i < 16; i++)
      images[i] = 3 * i;
    assert_int_equal(trainer_fill(&t, images, 16, got, &err), 0);
    for (uint32_t i = 0; i < 16; i++) {
      struct mix_label label[MIX_MAX];
      assert_int_equal(templates_labels(templates, images[i], label), t.label_counts[i]);
      for (uint32_t j = 0; j < t.label_counts[i]; j++)
        assert_true(t.labels[i * MIX_MAX + j].identity == label[j].identity &&
                    t.labels[i * MIX_MAX + j].weight == label[j].weight);
      templates_get(templates, images[i], false, wanted);
      if (memcmp(wanted, got + i * n, n * sizeof(float)) == 0)
        continue;
      templates_get(templates, images[i], true, wanted);
      assert_memory_equal(wanted, got + i * n, n * sizeof(float));
      mirrored++;
    }
    assert_true(flip ? mirrored > 2 && mirrored < 14 : mirrored == 0);
    /* for statistics a mix has the variance of one face */
    float squares = 0;
    struct mix_label label[MIX_MAX];
    for (uint32_t j = 0; j < templates_labels(templates, 5, label); j++)
      squares += label[j].weight * label[j].weight;
    templates_get(templates, 5, false, wanted);
    given_unmixed(&t, 5, got);
    for (size_t e = 0; e < n; e++)
      assert_true(fabsf(got[e] * sqrtf(squares) - wanted[e]) < 1e-5f);
    trainer_done(&t);
    job_spec_free(&spec);
  }
  free(got);
  free(wanted);
  templates_free(templates);
  plain_mask_close(&plain);
}

static void trainings_that_do_not_fit_are_refused(void **state) {
  (void)state;
  const struct mask_mixing mixing = {.mixes = true, .probability = {0, 0, 1}};
  const struct templates_recipe recipe = {.mixing = mixing, .mixes = 1, .seed = 11};
  const struct data_split all = {.seed = 1}, some = {.identities = 0.25, .seed = 1};
  struct guise_error err = {0};
  struct job_data data;
  struct job_spec spec;
  struct plain_mask plain;
  struct trainer t;
  mask_free(make_mask(MASK_AHM, &mixing));
  open_plain(&plain);
  templates_free(make(&plain, &recipe, NULL));
  plain_mask_close(&plain);
  assert_int_equal(open_trainer("mixup", true, &t, &spec, &err), -EINVAL);
  assert_non_null(strstr(err.text, "the mask ahm"));
  trainer_done(&t);
  job_spec_free(&spec);
  assert_int_equal(job_data_open(path, SIZE, &some, &data, &err), -EINVAL);
  assert_int_equal(job_data_open(path, SIZE - 8, &all, &data, &err), -EINVAL);
  assert_int_equal(job_data_open(path, SIZE, NULL, &data, &err), -EINVAL);
  assert_non_null(strstr(err.text, "pictures are needed"));
}

/* ---- hostile files ---- */

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
      cmocka_unit_test(same_template_as_the_daemon),
      cmocka_unit_test(masks_that_are_not_linear_are_refused),
      cmocka_unit_test(halves),
      cmocka_unit_test(unmixed_templates_are_those_of_images),
      cmocka_unit_test(mixes_follow_the_histogram),
      cmocka_unit_test(mixes_are_sums_of_faces),
      cmocka_unit_test(batches_are_templates_with_their_labels),
      cmocka_unit_test(trainings_that_do_not_fit_are_refused),
      cmocka_unit_test(hostile_files_are_refused),
      cmocka_unit_test(what_cannot_be_read_is_somebody),
      cmocka_unit_test(other_files_are_told),
  };
  return cmocka_run_group_tests(tests, setup, teardown);
}
