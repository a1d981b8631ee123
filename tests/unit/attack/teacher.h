/* A small teacher, trained on drawn people who are neither victims nor public: for tests of attacks that
 * learn.
 */
#pragma once

#include <string.h>
#include <unistd.h>

#include "core/attack/lessons.h"
#include "core/base/philox.h"
#include "core/model/model.h"
#include "core/nn/head.h"
#include "unit/attack/crowd.h"

#define EMBEDDING 32u
#define TEACHER_PEOPLE 48u
#define TEACHER_IMAGES 6u
#define TEACHER_BATCH 32u
#define TEACHER_STEPS 100u

static char teacher[] = "/tmp/guise-teacher-XXXXXX";

static void teach_step(struct graph *graph, struct head *head, const struct mask *mask,
                       const struct crowd *crowd, uint32_t step) {
  struct rng rng;
  struct head_label labels[TEACHER_BATCH];
  uint32_t counts[TEACHER_BATCH];
  const struct head_options options = {.scale = 16, .margin = .1f};
  float *scratch = malloc(mask_scratch(mask) * sizeof(float));
  rng_init(&rng, 1, RNG_SHUFFLE, step, 0);
  for (uint32_t i = 0; i < TEACHER_BATCH; i++) {
    uint32_t face = rng_below(&rng, crowd->count);
    labels[i] = (struct head_label){crowd->identity[face] - crowd->identity[0], 1};
    counts[i] = 1;
    mask_template(mask, crowd->pixels + face * PIXELS, rng_u32(&rng) & 1, NULL, scratch,
                  graph_input_data(graph) + i * mask_elements(mask));
  }
  assert_int_equal(graph_forward(graph, GRAPH_TRAIN, step, NULL), 0);
  (void)head_step(head, &options, graph_output_data(graph), TEACHER_BATCH, labels, 1, counts,
                  graph_output_gradient(graph), NULL, NULL);
  assert_int_equal(graph_backward(graph, NULL), 0);
  float rate = .05f * (1 - (float)step / TEACHER_STEPS);
  graph_sgd(graph, rate, .9f, 5e-4f);
  head_sgd(head, rate, .9f, 5e-4f);
  free(scratch);
}

static int train_teacher(void **state) {
  (void)state;
  open = crowd_of(1000, 64, 4);
  victims = crowd_of(2000, 20, 3);
  struct crowd crowd = crowd_of(0, TEACHER_PEOPLE, TEACHER_IMAGES);
  struct mask *mask = fitted_mask(MASK_NONE, 0, 0);
  struct model_info info = {.arch = ARCH_FREQ_IR,
                            .input = SIZE,
                            .embedding = EMBEDDING,
                            .width = .25f,
                            .mask = mask_options_default(MASK_NONE, SIZE),
                            .constants = *mask_constants(mask)};
  struct graph_config config = {
      .batch = TEACHER_BATCH, .threads = 1, .training = true, .winograd = true, .seed = 4};
  struct arch_options options = arch_options_for(mask, EMBEDDING, info.width, 0);
  struct graph *graph = NULL;
  struct head *head = NULL;
  assert_int_equal(graph_new(&config, &graph, NULL), 0);
  assert_true(arch_describe(graph, info.arch, &options) >= 0);
  assert_int_equal(graph_build(graph, NULL), 0);
  assert_int_equal(head_new(TEACHER_PEOPLE, EMBEDDING, TEACHER_BATCH, 1, HEAD_COSFACE, 4, &head, NULL), 0);
  for (uint32_t step = 0; step < TEACHER_STEPS; step++)
    teach_step(graph, head, mask, &crowd, step);
  int fd = mkstemp(teacher);
  assert_true(fd >= 0);
  (void)close(fd);
  assert_int_equal(model_save(teacher, graph, &info, NULL), 0);
  head_free(head);
  graph_free(graph);
  mask_free(mask);
  crowd_done(&crowd);
  return 0;
}

static int forget_teacher(void **state) {
  (void)state;
  crowd_done(&open);
  crowd_done(&victims);
  return unlink(teacher);
}

static struct attack_context context_of(const struct mask *mask, uint32_t k) {
  struct attack_context context = {.victims = faces_of(&victims),
                                   .open = faces_of(&open),
                                   .teacher = teacher,
                                   .mask = mask,
                                   .effort = EFFORT_QUICK,
                                   .seed = 3,
                                   .threads = 1};
  if (k > 1)
    context.mixing.probability[k] = 1;
  else
    context.mixing.unmixed = 1;
  return context;
}

/* ---- what every attack that learns must do ---- */

struct patience {
  uint32_t asked, most;
};

static bool out_of_patience(void *context) {
  struct patience *patience = context;
  return ++patience->asked > patience->most;
}

/* Stopped when it has asked `most` times and once more, with the result left alone. */
static inline void expect_stop(const char *name, uint32_t most) {
  struct mask *mask = fitted_mask(MASK_AHM, 3, 3);
  struct attack_context context = context_of(mask, 1);
  struct patience patience = {0, most};
  context.should_stop = out_of_patience;
  context.stop_context = &patience;
  struct attack_result result = {.faces = 77};
  struct guise_error err = {0};
  assert_int_equal(attack_run(attack_find(name), &context, &result, &err), -ECANCELED);
  assert_int_equal(result.faces, 77);
  assert_int_equal(patience.asked, most + 1);
  mask_free(mask);
}

static inline void expect_refusals(const char *name) {
  struct mask *mask = fitted_mask(MASK_AHM, 3, 3);
  struct attack_context context = context_of(mask, 1);
  struct attack_result result;
  struct guise_error err = {0};
  const uint32_t too_few[] = {LESSON_BATCH - 1, 0};
  for (size_t i = 0; i < ARRAY_SIZE(too_few); i++) {
    context.open.count = too_few[i];
    assert_int_equal(attack_run(attack_find(name), &context, &result, &err), -EINVAL);
    assert_non_null(strstr(err.text, "audit.public_dataset"));
  }
  context = context_of(mask, 1);
  context.teacher = NULL;
  assert_int_equal(attack_run(attack_find(name), &context, &result, &err), -EINVAL);
  assert_non_null(strstr(err.text, "audit.teacher"));
  context.teacher = "/nonexistent/model.safetensors";
  assert_true(attack_run(attack_find(name), &context, &result, &err) < 0);
  mask_free(mask);
}
