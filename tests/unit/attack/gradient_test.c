/* The gradient attack on a small network that has learnt nothing yet: what the gradient of an undefended face
 * must give back, what the first-order form is worth, and that a weak search is not taken for a private mask.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
// cmocka needs the four headers above
#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define SIZE 40u /* at 32 the library has slow convolutions for the last layers alone */

#include "core/attack/features.h"
#include "core/attack/gradient.h"
#include "core/attack/matcher.h"
#include "core/base/philox.h"
#include "core/model/model.h"
#include "schema.h"
#include "unit/attack/crowd.h"
#include "unit/attack/units.h"

#define EMBEDDING 32u
#define PEOPLE 8u
#define IMAGES 4u

static char path[] = "/tmp/guise-gradient-XXXXXX";
static const struct attack_loss loss = {.kind = HEAD_COSFACE, .options = {.scale = 30, .margin = .3f}};

/* The network of a federation's first round: initial weights, norms that know what templates are like. */
static void save_network(const struct mask *mask, enum arch_norm norm) {
  const struct graph_config config = {.batch = PEOPLE * IMAGES, .threads = 1, .seed = 4};
  const struct model_info info = {.arch = ARCH_FREQ_IR,
                                  .input = SIZE,
                                  .embedding = EMBEDDING,
                                  .width = .25f,
                                  .norm = norm,
                                  .mask = *mask_options(mask),
                                  .constants = *mask_constants(mask)};
  const struct arch_options options = model_arch_options(&info, mask);
  struct graph *graph = NULL;
  float *scratch = malloc(mask_scratch(mask) * sizeof(float));
  assert_int_equal(graph_new(&config, &graph, NULL), 0);
  assert_true(arch_describe(graph, info.arch, &options) >= 0);
  assert_int_equal(graph_build(graph, NULL), 0);
  graph_statistics_reset(graph);
  for (uint32_t i = 0; i < victims.count; i++)
    mask_template(mask, crowd_image(&victims, i), false, NULL, scratch,
                  graph_input_data(graph) + i * mask_elements(mask));
  assert_int_equal(graph_forward(graph, GRAPH_STATISTICS, 0, NULL), 0);
  graph_statistics_finish(graph);
  assert_int_equal(model_save(path, graph, &info, NULL), 0);
  graph_free(graph);
  free(scratch);
}

static int draw_faces(void **state) {
  (void)state;
  open = crowd_of(1000, 16, 2);
  victims = crowd_of(2000, PEOPLE, IMAGES);
  int fd = mkstemp(path);
  assert_true(fd >= 0);
  (void)close(fd);
  return 0;
}

static int forget_faces(void **state) {
  (void)state;
  crowd_done(&open);
  crowd_done(&victims);
  return unlink(path);
}

static struct attack_context context_of(const struct mask *mask, uint32_t k) {
  struct attack_context context = {.victims = faces_of(&victims),
                                   .members = faces_of(&victims),
                                   .mask = mask,
                                   .model = path,
                                   .loss = loss,
                                   .effort = EFFORT_QUICK,
                                   .seed = 3,
                                   .threads = 1};
  save_network(mask, ARCH_NORM_BATCH);
  if (k > 1)
    context.mixing.probability[k] = 1;
  else
    context.mixing.unmixed = 1;
  return context;
}

static struct attack_result run(const struct attack_context *context, uint32_t faces, uint32_t steps) {
  const struct gradient_budget budget = {.faces = faces, .known = victims.count, .steps = steps};
  struct attack_result result = {.name = "gradient", .summary = "", .effort = context->effort, .size = SIZE};
  struct guise_error err = {0};
  if (gradient_run(context, &budget, &result, &err) != 0)
    fail_msg("%s", err.text);
  return result;
}

static void print(const struct attack_surface_result *surface) {
  for (uint32_t i = 0; i < surface->metrics; i++)
    print_message("%s %.3f (chance %.3f, control %.3f)\n", surface->metric[i].name,
                  surface->metric[i].value.mean, surface->metric[i].chance, surface->metric[i].control.mean);
  print_message("%s: %s\n", verdict_name(surface->verdict), surface->reason);
}

/* ---- the search's parts ---- */

/* A classifier and a matcher of its own, for one mask. */
struct bench {
  struct mask *mask;
  struct model *model;
  struct attack_faces faces;
  struct face_sample known;
  struct classifier *classifier;
  struct matcher *matcher;
};

/* Without PReLU's kinks, where derivatives jump, the network is as smooth as the formula wants it. */
static void make_smooth(struct graph *graph) {
  for (uint32_t i = 0; i < graph_parameters(graph); i++) {
    struct graph_parameter *p = graph_parameter(graph, i);
    for (size_t k = 0; strstr(p->name, "prelu") && k < p->count; k++)
      p->value[k] = 1;
  }
  graph_parameters_changed(graph);
}

static void bench_init(struct bench *bench, struct mask *mask, const struct attack_loss *of_training,
                       bool smooth) {
  struct guise_error err = {0};
  save_network(mask, ARCH_NORM_BATCH);
  *bench = (struct bench){.mask = mask, .faces = faces_of(&victims)};
  assert_int_equal(model_load(path, 4, 1, &bench->model, &err), 0);
  assert_int_equal(face_sample_draw(&bench->faces, victims.count, 3, &bench->known), 0);
  const struct classifier_options of_network = {.model = bench->model,
                                                .mask = mask,
                                                .known = &bench->known,
                                                .loss = of_training,
                                                .batch = 1,
                                                .threads = 1,
                                                .seed = 1};
  if (classifier_new(&of_network, &bench->classifier, &err) < 0)
    fail_msg("%s", err.text);
  if (smooth)
    make_smooth(bench->classifier->graph);
  const struct matcher_options of_search = {
      .classifier = bench->classifier, .mask = mask, .steps = 10, .seed = 1};
  if (matcher_new(&of_search, &bench->matcher, &err) < 0)
    fail_msg("%s", err.text);
}

static void bench_done(struct bench *bench) {
  matcher_free(bench->matcher);
  classifier_free(bench->classifier);
  face_sample_done(&bench->known);
  model_free(bench->model);
  mask_free(bench->mask);
}

static void template_of(const struct bench *bench, uint32_t face, float *ret_template) {
  float *scratch = malloc(mask_scratch(bench->mask) * sizeof(float));
  mask_template(bench->mask, face_sample_image(&bench->known, face), false, NULL, scratch, ret_template);
  free(scratch);
}

static double distance_of(struct bench *bench, const float *x, const struct head_label *label,
                          float *derivative) {
  double distance;
  assert_int_equal(matcher_distance(bench->matcher, x, label, 1, 0, &distance, derivative, NULL), 0);
  return distance;
}

/* The derivative by the template along its own direction against differences of the distance itself, for
 * moves in weights from too short (rounding) to too long (curvature). */
static void the_first_order_form_is_right(void **state) {
  (void)state;
  static const double moves[] = {1e-6, 1e-4, 1e-3, 1e-2, 1e-1, 1};
  struct bench bench;
  bench_init(&bench, fitted_mask(MASK_NONE, 0, 0), &loss, true);
  const size_t n = mask_elements(bench.mask);
  float *truth = calloc(3 * n, sizeof(float)), *x = truth + n, *derivative = truth + 2 * n,
        *slope = calloc(n, sizeof(float));
  const struct head_label label = {bench.known.person[0], 1};
  double error[ARRAY_SIZE(moves)], distance;
  template_of(&bench, 0, truth);
  template_of(&bench, 1, x);
  assert_int_equal(matcher_share(bench.matcher, truth, &label, 1, NULL), 0);
  (void)distance_of(&bench, x, &label, derivative);
  double length = 0, forward, backward;
  for (size_t i = 0; i < n; i++)
    length += (double)derivative[i] * (double)derivative[i];
  length = sqrt(length);
  const float by = 0.02f / (float)length; /* of x, along the derivative */
  for (int side = -1; side <= 1; side += 2) {
    for (size_t i = 0; i < n; i++)
      slope[i] = x[i] + (float)side * by * derivative[i];
    *(side > 0 ? &forward : &backward) = distance_of(&bench, slope, &label, truth);
  }
  template_of(&bench, 0, truth);
  const double measured = (forward - backward) / 0.04;
  for (size_t m = 0; m < ARRAY_SIZE(moves); m++) {
    double along = 0;
    assert_int_equal(matcher_distance(bench.matcher, x, &label, 1, moves[m], &distance, slope, NULL), 0);
    for (size_t i = 0; i < n; i++)
      along += (double)slope[i] * (double)derivative[i] / length;
    error[m] = fabs(along / measured - 1);
    print_message("move %g: %.5g, measured %.5g\n", moves[m], along, measured);
  }
  assert_true(error[1] < .01 && error[2] < .01 && error[3] < .02);
  assert_true(error[0] > error[2] && error[4] > error[3] && error[5] > error[4]);
  free(truth);
  free(slope);
  bench_done(&bench);
}

/* At the true template the distance is nothing, elsewhere it is not. */
static void the_truth_is_the_least(void **state) {
  (void)state;
  struct bench bench;
  bench_init(&bench, fitted_mask(MASK_AHM, 3, 3), &loss, false);
  const size_t n = mask_elements(bench.mask);
  float *truth = calloc(3 * n, sizeof(float)), *x = truth + n, *derivative = truth + 2 * n;
  const struct head_label label = {bench.known.person[0], 1};
  template_of(&bench, 0, truth);
  template_of(&bench, 1, x);
  assert_int_equal(matcher_share(bench.matcher, truth, &label, 1, NULL), 0);
  assert_true(distance_of(&bench, truth, &label, derivative) < 1e-5);
  assert_true(distance_of(&bench, x, &label, derivative) > .1);
  free(truth);
  bench_done(&bench);
}

/* 1 - cos of the gradients at two templates, by hand, without parameters of the listed beginnings. */
static double plain_distance(struct bench *bench, const float *const x[2], const struct head_label *label,
                             const char *const *left_out) {
  struct graph *graph = bench->classifier->graph;
  const size_t rows = (size_t)bench->classifier->classes * EMBEDDING;
  float *gradient[2];
  size_t n = 0;
  for (int side = 0; side < 2; side++) {
    n = 0;
    gradient[side] = calloc(graph_trained_numbers(graph) + rows, sizeof(float));
    memcpy(graph_input_data(graph), x[side], mask_elements(bench->mask) * sizeof(float));
    assert_int_equal(classifier_differentiate(bench->classifier, label, 1, (uint32_t[]){1}, NULL, NULL), 0);
    for (uint32_t i = 0; i < graph_parameters(graph); i++) {
      const struct graph_parameter *p = graph_parameter(graph, i);
      bool counts = p->gradient != NULL;
      for (const char *const *start = left_out; *start; start++)
        counts &= strncmp(p->name, *start, strlen(*start)) != 0;
      if (counts)
        memcpy(gradient[side] + n, p->gradient, p->count * sizeof(float));
      n += counts ? p->count : 0;
    }
    memcpy(gradient[side] + n, head_gradient(bench->classifier->head), rows * sizeof(float));
    n += rows;
  }
  double sums[3] = {0, 0, 0};
  for (size_t i = 0; i < n; i++)
    for (int s = 0; s < 3; s++)
      sums[s] += (double)gradient[s / 2][i] * (double)gradient[(s + 1) / 2][i];
  free(gradient[0]);
  free(gradient[1]);
  return 1 - sums[1] / sqrt(sums[0] * sums[2]);
}

/* Blocks that are not trained share no gradients: they do not count. Of the loss, its smoothing does. */
static void the_defences_of_the_training_count(void **state) {
  (void)state;
  static const char *const whole[] = {NULL}, *const frozen[] = {"stem.", "body.0.", "body.1.", NULL};
  struct attack_loss losses[] = {loss, loss, loss};
  double distance[3];
  losses[1].frozen = 2;
  losses[2].options.smoothing = -.5f;
  for (size_t i = 0; i < ARRAY_SIZE(losses); i++) {
    struct bench bench;
    bench_init(&bench, fitted_mask(MASK_NONE, 0, 0), &losses[i], false);
    const size_t n = mask_elements(bench.mask);
    float *truth = calloc(3 * n, sizeof(float)), *x = truth + n, *derivative = truth + 2 * n;
    const struct head_label label = {bench.known.person[0], 1};
    template_of(&bench, 0, truth);
    template_of(&bench, 1, x);
    assert_int_equal(matcher_share(bench.matcher, truth, &label, 1, NULL), 0);
    distance[i] = distance_of(&bench, x, &label, derivative);
    assert_true(fabs(distance[i] - plain_distance(&bench, (const float *[]){truth, x}, &label,
                                                  i == 1 ? frozen : whole)) < 1e-5);
    free(truth);
    bench_done(&bench);
  }
  assert_true(fabs(distance[1] - distance[0]) > 1e-3 && fabs(distance[2] - distance[0]) > 1e-3);
}

/* Every label of a mix is read off the rows, and no other. */
static void labels_are_read_off_the_rows(void **state) {
  (void)state;
  struct bench bench;
  bench_init(&bench, fitted_mask(MASK_AHM, 3, 3), &loss, false);
  const size_t n = mask_elements(bench.mask);
  float *one = calloc(2 * n, sizeof(float)), *two = one + n;
  struct head_label labels[MIX_MAX];
  for (uint32_t p = 0; p < PEOPLE; p++) {
    const struct head_label own = {bench.known.person[p], 1};
    template_of(&bench, p, one);
    assert_int_equal(matcher_share(bench.matcher, one, &own, 1, NULL), 0);
    assert_int_equal(matcher_labels(bench.matcher, labels), 1);
    assert_int_equal(labels[0].identity, own.identity);
    assert_true(labels[0].weight == 1);
  }
  const struct head_label pair[] = {{bench.known.person[2], .65f}, {bench.known.person[5], .35f}};
  template_of(&bench, 2, one);
  template_of(&bench, 5, two);
  for (size_t i = 0; i < n; i++)
    one[i] = .65f * one[i] + .35f * two[i];
  assert_int_equal(matcher_share(bench.matcher, one, pair, 2, NULL), 0);
  assert_int_equal(matcher_labels(bench.matcher, labels), 2);
  assert_int_equal(MIN(labels[0].identity, labels[1].identity), MIN(pair[0].identity, pair[1].identity));
  assert_int_equal(MAX(labels[0].identity, labels[1].identity), MAX(pair[0].identity, pair[1].identity));
  assert_true(fabsf(labels[0].weight + labels[1].weight - 1) < 1e-5f);
  free(one);
  bench_done(&bench);
}

/* What the last layer saw is in the gradient, scale and all: pulled there, the template's own derivative is
 * nothing, another's is not. */
static void the_last_layers_input_is_read(void **state) {
  (void)state;
  struct bench bench;
  _cleanup_(features_freep) struct features *features = NULL;
  bench_init(&bench, fitted_mask(MASK_NONE, 0, 0), &loss, false);
  const size_t n = mask_elements(bench.mask);
  float *truth = calloc(3 * n, sizeof(float)), *x = truth + n, *derivative = truth + 2 * n;
  double length[2] = {0, 0};
  struct graph *graph = bench.classifier->graph;
  const struct head_label label = {bench.known.person[0], 1};
  template_of(&bench, 0, truth);
  template_of(&bench, 1, x);
  assert_int_equal(features_new(graph, 1, &features, NULL), 0);
  assert_non_null(features);
  assert_int_equal(matcher_share(bench.matcher, truth, &label, 1, NULL), 0);
  assert_true(features_read(features));
  for (int other = 0; other < 2; other++) {
    memcpy(graph_input_data(graph), other ? x : truth, n * sizeof(float));
    assert_int_equal(features_pull(features, 0, derivative, n, NULL), 0);
    for (size_t i = 0; i < n; i++)
      length[other] += (double)derivative[i] * (double)derivative[i];
  }
  print_message("pull at the truth %.3g, elsewhere %.3g\n", sqrt(length[0]), sqrt(length[1]));
  assert_true(length[0] < 1e-6 * length[1]);
  free(truth);
  bench_done(&bench);
}

/* ---- the attack ---- */

/* What the search finds takes a minute under a sanitizer, which sees the same code in the short tests. */
static void skip_when_slow(void) {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  print_message("SKIPPED: what gradients give back is tested without a sanitizer\n");
  skip();
#endif
}

static void undefended_gradients_give_the_face_back(void **state) {
  (void)state;
  skip_when_slow();
  struct mask *mask = fitted_mask(MASK_NONE, 0, 0);
  struct attack_context context = context_of(mask, 1);
  struct attack_result result = run(&context, 2, 150);
  const struct attack_surface_result *surface = surface_of(&result, SURFACE_GRADIENTS);
  const struct attack_metric *ssim = metric_of(surface, "ssim");
  print(surface);
  assert_int_equal(result.surfaces, 1);
  assert_int_equal(result.faces, 2);
  assert_int_equal(surface->verdict, VERDICT_LEAKS);
  assert_true(ssim->value.mean > .33 && ssim->value.mean > ssim->chance + .12);
  assert_true(fabs(ssim->control.mean - ssim->value.mean) < .1); /* which is the same but for the constants */
  assert_true(metric_of(surface, "label")->value.mean == 1);
  assert_true(metric_of(surface, "ssim_template")->value.mean > .99);
  assert_true(metric_of(surface, "cosine")->value.mean > metric_of(surface, "cosine")->chance);
  attack_result_done(&result);
  mask_free(mask);
}

/* One step: the control fails, so nothing is said about the mask, which here is none. */
static void a_weak_search_is_inconclusive(void **state) {
  (void)state;
  struct mask *mask = fitted_mask(MASK_NONE, 0, 0);
  struct attack_context context = context_of(mask, 1);
  struct attack_result result = run(&context, 2, 1);
  const struct attack_surface_result *surface = surface_of(&result, SURFACE_GRADIENTS);
  assert_int_equal(surface->verdict, VERDICT_INCONCLUSIVE);
  assert_non_null(strstr(surface->reason, "On its control"));
  attack_result_done(&result);
  mask_free(mask);
}

/* Clipped to nothing: the gradient is that of no face at all. */
static void a_mask_that_destroys_gives_chance(void **state) {
  (void)state;
  skip_when_slow();
  struct mask *mask = fitted_mask(MASK_NONE, 3, 1e-20f);
  struct attack_context context = context_of(mask, 1);
  struct attack_result result = run(&context, 2, 150);
  const struct attack_surface_result *surface = surface_of(&result, SURFACE_GRADIENTS);
  const struct attack_metric *ssim = metric_of(surface, "ssim");
  print(surface);
  assert_true(surface->verdict != VERDICT_LEAKS);
  assert_true(ssim->value.mean < ssim->chance + .05 && ssim->control.mean > ssim->value.mean + .15);
  attack_result_done(&result);
  mask_free(mask);
}

/* ---- properties ---- */

static void the_seed_decides_and_the_schema_holds(void **state) {
  (void)state;
  json_error_t problem;
  json_t *schema =
      json_load_file(GUISE_GOLDEN "/../../schema/report.schema.json", JSON_REJECT_DUPLICATES, &problem);
  struct mask *mask = fitted_mask(MASK_AHM, 3, 3);
  struct attack_context context = context_of(mask, 3);
  json_t *json[3];
  context.loss.granted[0] = "Is spared the noise.";
  for (uint32_t i = 0; i < 3; i++) {
    context.seed = i < 2 ? 3 : 4;
    struct attack_result result = run(&context, 4, 2);
    const struct attack_surface_result *surface = &result.surface[0];
    assert_true(surface->mean_k == 3);
    assert_int_equal(surface->pictures, ATTACK_PICTURES_MAX);
    for (uint32_t k = 0; k < surface->pictures; k++)
      assert_true(surface->picture[k].victim);
    json[i] = attack_result_json(&result);
    const json_t *written = json_array_get(json_object_get(json[i], "surfaces"), 0);
    assert_non_null(
        strstr(json_string_value(json_object_get(written, "threat_model")), " Is spared the noise."));
    struct schema_check check = {.root = schema};
    if (!schema_valid(&check, json_object_get(json_object_get(schema, "$defs"), "attack"), json[i], ""))
      fail_msg("%s", check.problem);
    (void)json_object_del(json[i], "seed");
    attack_result_done(&result);
  }
  assert_true(json_equal(json[0], json[1]));
  assert_false(json_equal(json[0], json[2]));
  for (uint32_t i = 0; i < 3; i++)
    json_decref(json[i]);
  json_decref(schema);
  mask_free(mask);
}

/* As dp_sgd trains them: the same network is built for the search, which ends with something. */
static void networks_with_group_norms_are_attacked(void **state) {
  (void)state;
  struct mask *mask = fitted_mask(MASK_NONE, 0, 0);
  const struct attack_context context = context_of(mask, 1);
  save_network(mask, ARCH_NORM_GROUP);
  struct attack_result result = run(&context, 2, 3);
  assert_int_equal(result.faces, 2);
  assert_true(isfinite(metric_of(surface_of(&result, SURFACE_GRADIENTS), "cosine")->value.mean));
  attack_result_done(&result);
  mask_free(mask);
}

/* ---- an attack that is begun again ---- */

static int run_briefly(const struct attack_context *context, struct attack_result *ret_result,
                       struct guise_error *err) {
  const struct gradient_budget budget = {.faces = 4, .known = victims.count, .steps = 2};
  return gradient_run(context, &budget, ret_result, err);
}

/* Four faces by either way on the control, and by one on what is attacked. */
static void finished_faces_are_kept(void **state) {
  (void)state;
  struct mask *mask = fitted_mask(MASK_AHM, 3, 3);
  const struct attack_context context = context_of(mask, 3);
  check_units(run_briefly, &context, 12, "gradient-control-0", 2);
  mask_free(mask);
}

/* The same name and seed, other weights, faces or mixes: nothing is taken. */
static void faces_of_other_gradients_are_not_taken(void **state) {
  (void)state;
  char directory[] = "/tmp/guise-units-XXXXXX";
  struct mask *mask = fitted_mask(MASK_AHM, 3, 3);
  struct attack_context context = context_of(mask, 3);
  json_t *found = NULL;
  assert_non_null(mkdtemp(directory));
  context.work_directory = directory;
  assert_int_equal(finish_units(run_briefly, &context, &found), 12);
  json_decref(found);
  context.mixing.probability[2] = context.mixing.probability[3];
  context.mixing.probability[3] = 0;
  assert_int_equal(finish_units(run_briefly, &context, &found), 4); /* the control is not mixed */
  json_decref(found);
  for (uint32_t i = 0; i < victims.count * PIXELS; i += PIXELS)
    victims.pixels[i] ^= 1;
  assert_int_equal(finish_units(run_briefly, &context, &found), 12);
  json_decref(found);
  for (uint32_t i = 0; i < victims.count * PIXELS; i += PIXELS)
    victims.pixels[i] ^= 1;
  context.loss.options.margin = .2f;
  assert_int_equal(finish_units(run_briefly, &context, &found), 12);
  json_decref(found);
  save_network(mask, ARCH_NORM_GROUP);
  assert_int_equal(finish_units(run_briefly, &context, &found), 12);
  json_decref(found);
  assert_int_equal(directory_remove(directory), 0);
  mask_free(mask);
}

static bool out_of_patience(void *patience) {
  return (*(uint32_t *)patience)-- == 0;
}

static void stops_when_asked(void **state) {
  (void)state;
  struct mask *mask = fitted_mask(MASK_NONE, 0, 0);
  struct attack_context context = context_of(mask, 1);
  uint32_t patience = 5;
  struct attack_result result = {.faces = 77};
  struct guise_error err = {0};
  context.should_stop = out_of_patience;
  context.stop_context = &patience;
  assert_int_equal(attack_run(attack_find("gradient"), &context, &result, &err), -ECANCELED);
  assert_int_equal(result.faces, 77);
  context.model = NULL;
  assert_int_equal(attack_run(attack_find("gradient"), &context, &result, &err), -EINVAL);
  mask_free(mask);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(the_first_order_form_is_right),
      cmocka_unit_test(the_truth_is_the_least),
      cmocka_unit_test(the_defences_of_the_training_count),
      cmocka_unit_test(labels_are_read_off_the_rows),
      cmocka_unit_test(the_last_layers_input_is_read),
      cmocka_unit_test(undefended_gradients_give_the_face_back),
      cmocka_unit_test(a_weak_search_is_inconclusive),
      cmocka_unit_test(a_mask_that_destroys_gives_chance),
      cmocka_unit_test(the_seed_decides_and_the_schema_holds),
      cmocka_unit_test(networks_with_group_norms_are_attacked),
      cmocka_unit_test(finished_faces_are_kept),
      cmocka_unit_test(faces_of_other_gradients_are_not_taken),
      cmocka_unit_test(stops_when_asked),
  };
  return cmocka_run_group_tests(tests, draw_faces, forget_faces);
}
