/* Training the generator of generative and hybrid, part by part: how alike pictures look and whom they show,
 * with gradients against differences; the adversary; what a short training achieves. That whole jobs learn,
 * go on and repeat is in job_test. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <omp.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "core/freq/dct.h"
#include "core/image/synth.h"
#include "core/mask/generator.h"
#include "core/model/judge.h"
#include "core/model/model.h"
#include "core/train/adversary.h"
#include "core/train/generation.h"
#include "unit/train/initial.h"

enum { SIDE = 48, PIXELS = 3 * SIDE * SIDE, PEOPLE = 12, FACES = 2 * PEOPLE, BATCH = 4 };

static uint8_t faces[FACES][PIXELS];
static float pictures[FACES * PIXELS]; /* YCbCr minus 128 */
static uint32_t image[FACES], identity[FACES];
static char judge_path[] = "/tmp/guise-judge-XXXXXX";

/* From face i on. */
static float *planar(size_t i) {
  return pictures + i * PIXELS;
}

static const uint8_t *face(void *context, uint32_t i) {
  (void)context;
  return faces[i];
}

static void write_model(enum mask_method method, enum arch_norm norm) {
  write_initial_model(judge_path, method, norm, SIDE, face, FACES);
}

static int setup(void **state) {
  (void)state;
  for (uint32_t i = 0; i < FACES; i++) {
    image[i] = i;
    identity[i] = i / 2;
    synth_face(5, i / 2, i % 2, SIDE, faces[i]);
    rgb_to_ycbcr(faces[i], SIDE, false, planar(i));
  }
  int fd = mkstemp(judge_path);
  if (fd < 0)
    return -1;
  (void)close(fd);
  write_model(MASK_NONE, ARCH_NORM_BATCH);
  return 0;
}

static int teardown(void **state) {
  (void)state;
  return unlink(judge_path);
}

/* ---- gradients ---- */

static void look_against_differences(void **state) {
  (void)state;
  float *scratch = calloc(GENERATION_LOOK_SCRATCH(SIDE), sizeof(float));
  for (uint32_t round = 0; round < 8; round++) {
    float gradient[PIXELS] = {0}, unused[PIXELS] = {0}, moved[PIXELS];
    double along = 0, differences = 0;
    struct rng rng;
    (void)generation_look(planar(0), planar(2), SIDE, 2, scratch, gradient);
    rng_init(&rng, 1, RNG_ATTACK, round, 0);
    for (int side = 1; side >= -1; side -= 2) {
      struct rng same = rng;
      along = 0;
      for (size_t i = 0; i < PIXELS; i++) {
        const float direction = rng_normal(&same) + 300 * gradient[i];
        along += (double)direction * (double)gradient[i];
        moved[i] = planar(0)[i] + (float)side * 0.25f * direction;
      }
      differences += 2 * side * generation_look(moved, planar(2), SIDE, 0, scratch, unused) / 0.5;
    }
    if (fabs(differences - along) > 0.03 * fabs(along) + 1e-4)
      fail_msg("%g, %g by differences", along, differences);
  }
  free(scratch);
}

static struct judge *made_judge(uint32_t batch) {
  struct judge *judge = NULL;
  struct guise_error err = {0};
  if (judge_new(judge_path, SIDE, batch, 1, &judge, &err) < 0)
    fail_msg("%s", err.text);
  return judge;
}

/* The judge embeds as the model itself, its distance is that of the embeddings, and the gradient is right. */
static void the_judge_against_differences(void **state) {
  (void)state;
  struct judge *judge = made_judge(BATCH);
  struct model *model = NULL;
  float wanted[BATCH * 32], own[BATCH * 32];
  float *gradient = calloc((size_t)BATCH * PIXELS, 4), *unused = calloc((size_t)BATCH * PIXELS, 4),
        *moved = calloc((size_t)BATCH * PIXELS, 4);
  const uint8_t *rgb[BATCH];
  double distance = 0, mean = 0;
  assert_int_equal(judge_embedding(judge), 32);
  assert_int_equal(model_load(judge_path, 1, 1, &model, NULL), 0);
  for (uint32_t i = 0; i < BATCH; i++)
    rgb[i] = faces[i + 8];
  assert_int_equal(model_embed(model, rgb, BATCH, false, wanted, NULL), 0);
  assert_int_equal(judge_embed(judge, planar(8), own, NULL), 0);
  for (size_t i = 0; i < ARRAY_SIZE(own); i++)
    assert_true(fabsf(own[i] - wanted[i]) < 1e-3f);
  assert_int_equal(judge_embed(judge, planar(0), own, NULL), 0);
  assert_int_equal(judge_compare(judge, planar(0), wanted, 3, &distance, gradient, NULL), 0);
  for (size_t i = 0; i < ARRAY_SIZE(own); i++)
    mean += (i % 32 == 0) / (double)BATCH - (double)own[i] * (double)wanted[i] / BATCH;
  assert_true(fabs(mean - distance) < 1e-5);
  for (uint32_t round = 0; round < 4; round++) {
    double along = 0, differences = 0, at = 0;
    struct rng rng;
    rng_init(&rng, 2, RNG_ATTACK, round, 0);
    for (int side = 1; side >= -1; side -= 2) {
      struct rng same = rng;
      along = 0;
      for (size_t i = 0; i < (size_t)BATCH * PIXELS; i++) {
        const float direction = rng_normal(&same) + 1000 * gradient[i];
        along += (double)direction * (double)gradient[i];
        moved[i] = planar(0)[i] + (float)side * 0.1f * direction;
      }
      assert_int_equal(judge_compare(judge, moved, wanted, 0, &at, unused, NULL), 0);
      differences += 3 * side * at / 0.2;
    }
    if (fabs(differences - along) > 0.05 * fabs(along) + 1e-4)
      fail_msg("%g, %g by differences", along, differences);
  }
  free(gradient);
  free(unused);
  free(moved);
  model_free(model);
  judge_free(judge);
}

static void a_judge_with_group_norms(void **state) {
  (void)state;
  struct model *model = NULL;
  float wanted[BATCH * 32], own[BATCH * 32];
  const uint8_t *rgb[BATCH];
  write_model(MASK_NONE, ARCH_NORM_GROUP);
  struct judge *judge = made_judge(BATCH);
  assert_int_equal(model_load(judge_path, 1, 1, &model, NULL), 0);
  for (uint32_t i = 0; i < BATCH; i++)
    rgb[i] = faces[i + 8];
  assert_int_equal(model_embed(model, rgb, BATCH, false, wanted, NULL), 0);
  assert_int_equal(judge_embed(judge, planar(8), own, NULL), 0);
  for (size_t i = 0; i < ARRAY_SIZE(own); i++)
    assert_true(fabsf(own[i] - wanted[i]) < 1e-3f);
  model_free(model);
  judge_free(judge);
  write_model(MASK_NONE, ARCH_NORM_BATCH);
}

static void judges_that_cannot_be_used(void **state) {
  (void)state;
  struct judge *judge = NULL;
  struct guise_error err = {0};
  assert_int_equal(judge_new(judge_path, SIDE + 16, BATCH, 1, &judge, &err), -EINVAL);
  assert_non_null(strstr(err.text, "48 pixels"));
  write_model(MASK_REGIONAL, ARCH_NORM_BATCH);
  assert_int_equal(judge_new(judge_path, SIDE, BATCH, 1, &judge, &err), -EINVAL);
  assert_non_null(strstr(err.text, "regional"));
  write_model(MASK_NONE, ARCH_NORM_BATCH);
}

/* ---- the adversary ---- */

/* It learns to tell faces from blurred ones, and blames pixels the right way: what it is shown of the
 * pictures moved against its gradient fools it more. */
static void the_adversary_learns_and_blames(void **state) {
  (void)state;
  struct adversary *adversary = NULL;
  static float flat[BATCH * PIXELS], gradient[BATCH * PIXELS];
  double first = 0, last = 0, fooled = 0;
  for (size_t i = 0; i < ARRAY_SIZE(flat); i++)
    flat[i] = planar(0)[i] / 8;
  assert_int_equal(adversary_new(SIDE, BATCH, 1, 1, &adversary, NULL), 0);
  assert_int_equal(adversary_learn(adversary, planar(0), flat, &first, NULL), 0);
  assert_true(first > 1.5 && first < 3); /* knows nothing yet: 2 */
  for (size_t step = 0; step < 60; step++)
    assert_int_equal(adversary_learn(adversary, planar(4 * (step % 5)), flat, &last, NULL), 0);
  assert_true(last < 0.5 * first);
  assert_int_equal(adversary_blame(adversary, flat, 1, gradient, NULL), 0);
  float steepest = 0;
  for (size_t i = 0; i < ARRAY_SIZE(flat); i++)
    steepest = fmaxf(steepest, fabsf(gradient[i]));
  for (size_t i = 0; i < ARRAY_SIZE(flat); i++)
    flat[i] -= 20 * gradient[i] / steepest; /* at most so many grey levels */
  assert_int_equal(adversary_learn(adversary, planar(0), flat, &fooled, NULL), 0);
  print_message("hinge %.3f, %.3f after learning, %.3f fooled\n", first, last, fooled);
  assert_true(fooled > last + 0.05);
  adversary_free(adversary);
}

/* ---- a training ---- */

static void no_phase(void *context, const char *phase) {
  (void)context;
  (void)phase;
}
static void on_progress(void *context, const struct job_progress *progress) {
  (void)context;
  assert_true(progress->fraction >= 0 && progress->fraction <= 1);
}
static void on_log(void *context, const char *level, const char *text) {
  double *told = context;
  assert_true(*level != 0);
  assert_int_equal(
      sscanf(text, "generator: %*u steps on %*u public faces; identity %lf (1 = the same), likeness %lf",
             &told[0], &told[1]),
      2);
}
static enum job_stop never(void *context) {
  (void)context;
  return JOB_CONTINUE;
}
static enum job_stop at_once(void *context) {
  (void)context;
  return JOB_CANCEL;
}

static int learn(uint32_t epochs, const char *embedder, enum job_stop (*should_stop)(void *), double told[2],
                 float **ret_weights, struct guise_error *err) {
  struct job_spec spec = {.model = {.arch = ARCH_FREQ_IR, .input = SIDE, .embedding = 32, .width = 0.25},
                          .mask = {.method = MASK_GENERATIVE, .analysis = {epochs, 0.5}},
                          .train = {.lr = 0.05, .flip = true, .shift = 2, .seed = 1}};
  const struct mask_options options = mask_options_default(MASK_GENERATIVE, SIDE);
  memcpy(spec.mask.parameter, options.parameter, sizeof(spec.mask.parameter));
  const struct job_callbacks callbacks = {
      .context = told, .phase = no_phase, .progress = on_progress, .log = on_log, .should_stop = should_stop};
  struct trainer trainer = {.spec = &spec,
                            .callbacks = &callbacks,
                            .threads = 1,
                            .batch = 8,
                            .steps_per_epoch = 3,
                            .embedder = embedder};
  trainer.data = trainer.open =
      (struct job_data){.size = SIDE, .pixels = faces[0], .train = {image, identity, FACES, PEOPLE}};
  *ret_weights = calloc(mask_weight_count(&options), sizeof(float));
  omp_set_num_threads(1);
  return generation_train(&trainer, *ret_weights, err);
}

/* Identity comes nearer, the look stays away, and the moments are those of what is drawn. */
static void a_generator_learns(void **state) {
  (void)state;
  const struct mask_options options = mask_options_default(MASK_GENERATIVE, SIDE);
  const size_t bytes = mask_weight_count(&options) * sizeof(float);
  double little[2], much[2], again[2];
  float *weights, *same, *unused;
  struct guise_error err = {0};
  assert_int_equal(learn(1, judge_path, never, little, &weights, &err), 0);
  assert_int_equal(learn(1, judge_path, never, again, &same, &err), 0);
  assert_memory_equal(weights, same, bytes);
  free(weights);
  free(same);
  if (learn(20, judge_path, never, much, &weights, &err) < 0)
    fail_msg("%s", err.text);
  print_message("identity %.3f to %.3f, likeness %.3f\n", little[0], much[0], much[1]);
  assert_true(1 - much[0] < 0.7 * (1 - little[0]));
  assert_true(much[1] < 0.5);
  double power = 0;
  for (uint32_t c = 0; c < 192; c++) {
    assert_true(weights[GENERATOR_DEVIATION + c] > 0 && weights[GENERATOR_POWER + c] >= 0);
    /* Cauchy-Schwarz: z has the variance 1 */
    assert_true(fabsf(weights[GENERATOR_ECHO + c]) < 1.01f * sqrtf(weights[GENERATOR_POWER + c]) + 1e-6f);
    power += (double)weights[GENERATOR_POWER + c];
  }
  assert_true(power > 0);
  free(weights);
  assert_int_equal(learn(1, judge_path, at_once, little, &unused, &err), -ECANCELED);
  free(unused);
  assert_int_equal(learn(1, NULL, never, little, &unused, &err), -EINVAL);
  assert_non_null(strstr(err.text, "mask.embedder"));
  free(unused);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(look_against_differences),        cmocka_unit_test(the_judge_against_differences),
      cmocka_unit_test(a_judge_with_group_norms),        cmocka_unit_test(judges_that_cannot_be_used),
      cmocka_unit_test(the_adversary_learns_and_blames), cmocka_unit_test(a_generator_learns)};
  return cmocka_run_group_tests(tests, setup, teardown);
}
