/* A training on faces that their owner masked: batches are the file's templates with its labels, and what
 * does not fit the file is refused. */
#include <math.h>
#include <string.h>

#include "core/train/auxiliary.h"
#include "core/train/given.h"
#include "tests/unit/train/quiet.h"
#include "tests/unit/train/templates_fixture.h"

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

/* Of given templates those that have lost frequencies are told by what is missing. */
static void lost_frequencies_are_seen(void **state) {
  (void)state;
  const struct mask_mixing mixing = {
      .mixes = true, .unmixed = 0.5f, .protection = {.drop = 9, .alone = true}, .probability = {0, 0, 1}};
  const struct templates_recipe recipe = {.mixing = mixing, .mixes = 2, .seed = 11};
  uint32_t number[PEOPLE], lost = 0;
  struct guise_error err = {0};
  struct plain_mask plain;
  struct job_spec spec;
  struct trainer t;
  mask_free(make_mask(MASK_AHM, &mixing));
  open_plain(&plain);
  templates_free(make(&plain, &recipe, number));
  if (open_trainer("ahm", false, &t, &spec, &err) < 0)
    fail_msg("%s", err.text);
  for (uint32_t i = 0; i < t.data.train.count; i++) {
    struct mix_label label[MIX_MAX];
    assert_int_equal(templates_labels(t.data.templates, i, label), 1);
    assert_true(given_is_plain(&t, given_whole(&t, i)));
    assert_true(!given_is_plain(&t, i) || given_whole(&t, i) == i);
    assert_int_equal(auxiliary_unmixed(&t, i), given_is_plain(&t, i));
    lost += !given_is_plain(&t, i);
  }
  assert_int_equal(lost, t.data.train.count / 2); /* of three people of six */
  trainer_done(&t);
  job_spec_free(&spec);
  plain_mask_close(&plain);
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

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(batches_are_templates_with_their_labels),
      cmocka_unit_test(lost_frequencies_are_seen),
      cmocka_unit_test(trainings_that_do_not_fit_are_refused),
  };
  return cmocka_run_group_tests(tests, setup, teardown);
}
