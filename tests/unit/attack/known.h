/* People of plain patterns and networks that have learnt them, for tests of attacks that draw people. */
#pragma once

#include <unistd.h>

#define SIZE 40u

#include "core/base/philox.h"
#include "core/model/model.h"
#include "schema.h"
#include "unit/attack/crowd.h"

#define EMBEDDING 32u
#define PEOPLE 12u
#define IMAGES 6u
#define BATCH 24u
#define STEPS 50u
#define COARSE 4u

static char attacked[] = "/tmp/guise-attacked-XXXXXX", evaluator[] = "/tmp/guise-evaluator-XXXXXX",
            ignorant[] = "/tmp/guise-ignorant-XXXXXX";
static struct mask *mask;

/* A person is COARSE x COARSE colours, an image of them the same with noise. */
static void draw_person(uint32_t person, uint32_t image, uint8_t *ret_rgb) {
  struct rng pattern, noise;
  uint8_t colour[COARSE][COARSE][3];
  rng_init(&pattern, 5, RNG_SYNTH, 1, person);
  rng_init(&noise, 5, RNG_SYNTH, 2, person * IMAGES + image);
  for (uint32_t i = 0; i < COARSE * COARSE * 3; i++)
    ((uint8_t *)colour)[i] = (uint8_t)(60 + rng_below(&pattern, 136));
  for (uint32_t y = 0; y < SIZE; y++)
    for (uint32_t x = 0; x < SIZE; x++)
      for (uint32_t c = 0; c < 3; c++)
        ret_rgb[(y * SIZE + x) * 3 + c] =
            (uint8_t)(colour[y * COARSE / SIZE][x * COARSE / SIZE][c] + rng_below(&noise, 40));
}

static void train_step(struct graph *graph, struct head *head, uint32_t step) {
  const struct head_options options = {.scale = 16, .margin = .1f};
  struct head_label labels[BATCH];
  uint32_t counts[BATCH];
  struct rng rng;
  float *scratch = malloc(mask_scratch(mask) * sizeof(float));
  rng_init(&rng, 1, RNG_SHUFFLE, step, 0);
  for (uint32_t i = 0; i < BATCH; i++) {
    const uint32_t face = rng_below(&rng, victims.count);
    labels[i] = (struct head_label){face / IMAGES, 1};
    counts[i] = 1;
    mask_template(mask, crowd_image(&victims, face), false, NULL, scratch,
                  graph_input_data(graph) + i * mask_elements(mask));
  }
  assert_int_equal(graph_forward(graph, GRAPH_TRAIN, step, NULL), 0);
  (void)head_step(head, &options, graph_output_data(graph), BATCH, labels, 1, counts,
                  graph_output_gradient(graph), NULL, NULL);
  assert_int_equal(graph_backward(graph, NULL), 0);
  graph_sgd(graph, .05f * (1 - (float)step / STEPS), .9f, 5e-4f);
  head_sgd(head, .05f * (1 - (float)step / STEPS), .9f, 5e-4f);
  free(scratch);
}

/* steps 1: its norms know what pictures are like, its weights nothing. */
static void train(enum arch arch, uint64_t seed, uint32_t steps, char *path) {
  const struct graph_config config = {
      .batch = BATCH, .threads = 1, .training = true, .winograd = true, .seed = seed};
  const struct model_info info = {.arch = arch,
                                  .input = SIZE,
                                  .embedding = EMBEDDING,
                                  .width = arch == ARCH_FREQ_IR ? .25f : .125f,
                                  .mask = *mask_options(mask),
                                  .constants = *mask_constants(mask)};
  const struct arch_options options = arch_options_for(mask, EMBEDDING, info.width, 0);
  struct graph *graph = NULL;
  struct head *head = NULL;
  assert_int_equal(graph_new(&config, &graph, NULL), 0);
  assert_true(arch_describe(graph, arch, &options) >= 0);
  assert_int_equal(graph_build(graph, NULL), 0);
  assert_int_equal(head_new(PEOPLE, EMBEDDING, BATCH, 1, HEAD_COSFACE, seed, &head, NULL), 0);
  for (uint32_t step = 0; step < steps; step++)
    train_step(graph, head, step);
  int fd = mkstemp(path);
  assert_true(fd >= 0);
  (void)close(fd);
  assert_int_equal(model_save(path, graph, &info, NULL), 0);
  head_free(head);
  graph_free(graph);
}

static int known_setup(void **state) {
  (void)state;
  victims = crowd_of(0, PEOPLE, IMAGES);
  for (uint32_t i = 0; i < victims.count; i++)
    draw_person(i / IMAGES, i % IMAGES, victims.pixels + i * PIXELS);
  open = victims; /* constants come from them */
  mask = fitted_mask(MASK_NONE, 0, 0);
  train(ARCH_FREQ_IR, 4, STEPS, attacked);
  train(ARCH_IRESNET18, 5, STEPS, evaluator);
  train(ARCH_FREQ_IR, 6, 1, ignorant);
  return 0;
}

static int known_teardown(void **state) {
  (void)state;
  mask_free(mask);
  crowd_done(&victims);
  return unlink(attacked) | unlink(evaluator) | unlink(ignorant);
}

static struct attack_context context_of(const char *model) {
  return (struct attack_context){.victims = faces_of(&victims),
                                 .members = faces_of(&victims),
                                 .mask = mask,
                                 .model = model,
                                 .undefended = attacked,
                                 .evaluator = evaluator,
                                 .loss = {.kind = HEAD_COSFACE, .options = {.scale = 16, .margin = .1f}},
                                 .effort = EFFORT_QUICK,
                                 .seed = 3,
                                 .threads = 1};
}

static void print_result(const struct attack_result *result) {
  for (uint32_t i = 0; i < result->surface[0].metrics; i++)
    print_message("%s %.3f (chance %.3f, control %.3f)\n", result->surface[0].metric[i].name,
                  result->surface[0].metric[i].value.mean, result->surface[0].metric[i].chance,
                  result->surface[0].metric[i].control.mean);
  print_message("%s: %s\n", verdict_name(result->surface[0].verdict), result->surface[0].reason);
}

static void check_schema(const struct attack_result *result) {
  json_error_t problem;
  json_t *schema =
      json_load_file(GUISE_GOLDEN "/../../schema/report.schema.json", JSON_REJECT_DUPLICATES, &problem);
  json_t *json = attack_result_json(result);
  struct schema_check check = {.root = schema};
  if (!schema_valid(&check, json_object_get(json_object_get(schema, "$defs"), "attack"), json, ""))
    fail_msg("%s", check.problem);
  json_decref(json);
  json_decref(schema);
}

static bool out_of_patience(void *patience) {
  return (*(uint32_t *)patience)-- == 0;
}
