/* dp_sgd: gradients clipped one by one, Poisson samples, noise as it says, constants of public faces; that
 * private jobs are the same after a stop, what is promised, and what would void the promise. */
#include "unit/train/defences.h"

#include "core/train/accountant.h"

static void write_secret(const char *name, uint8_t byte) {
  struct mask_key secret;
  char path[512];
  memset(&secret, byte, sizeof(secret));
  (void)snprintf(path, sizeof(path), "%s/work-%s", root, name);
  assert_int_equal(directory_make(path, NULL), 0);
  (void)snprintf(path, sizeof(path), "%s/work-%s/noise.json", root, name);
  assert_int_equal(mask_key_write(path, &secret, NULL), 0);
}

/* Gradients of all parameters by name, so that gaps between them are not looked at. */
static double length_of(struct trainer *t) {
  double sum = 0;
  for (uint32_t i = 0; i < graph_parameters(t->graph); i++) {
    const struct graph_parameter *p = graph_parameter(t->graph, i);
    for (size_t k = 0; p->gradient && k < p->count; k++)
      sum += (double)p->gradient[k] * (double)p->gradient[k];
  }
  for (size_t k = 0; k < (size_t)head_classes(t->head) * 16; k++)
    sum += (double)head_gradient(t->head)[k] * (double)head_gradient(t->head)[k];
  return sqrt(sum);
}

/* The plain way: one image after the other, each clipped, by the definition. */
static struct sums clipped_sum(struct trainer *t, double clip, double *ret_longest, double *ret_shortest) {
  struct sums s = new_sums(t);
  *ret_longest = 0;
  *ret_shortest = INFINITY;
  for (uint32_t i = 0; i < TRAINED; i++) {
    assert_int_equal(trainer_fill(t, &i, 1, graph_input_data(t->graph), NULL), 0);
    assert_int_equal(graph_forward(t->graph, GRAPH_TRAIN, t->step * TRAINED + i, NULL), 0);
    (void)head_step(t->head, &plain_head, graph_output_data(t->graph), 1, t->labels, MIX_MAX, t->label_counts,
                    graph_output_gradient(t->graph), NULL, NULL);
    assert_int_equal(graph_backward(t->graph, NULL), 0);
    const double length = length_of(t), scale = fmin(1, clip / length);
    *ret_longest = fmax(*ret_longest, length);
    *ret_shortest = fmin(*ret_shortest, length);
    for (uint64_t k = 0; k < s.network_count; k++)
      s.network[k] += scale * (double)graph_gradients(t->graph, NULL)[k];
    for (uint64_t k = 0; k < s.head_count; k++)
      s.head[k] += scale * (double)head_gradient(t->head)[k];
  }
  return s;
}

/* With every image in the sample and no noise, the step's gradient is the mean of clipped gradients: whatever
 * an image draws is its own, wherever it stands in the sample. No image counts for more than the clip. */
static void gradients_are_clipped_one_by_one(void **state) {
  (void)state;
  static const char *const masks[] = {MIXED, PLAIN, MIXED ",\"recipes_per_image\":2"};
  for (size_t m = 0; m < ARRAY_SIZE(masks); m++) {
    struct bench *b =
        open_bench(masks[m], "{\"method\":\"dp_sgd\",\"noise\":0,\"clip\":8}", "\"batch\":28", "clip");
    struct trainer *t = &b->t;
    double loss = 0, longest, shortest, length;
    t->step = 3;
    struct sums wanted = clipped_sum(t, 8, &longest, &shortest);
    assert_true(longest > 8); /* the clip clips */
    assert_int_equal(defences_gradients(t, &plain_head, &loss, NULL), 0);
    assert_true(isfinite(loss) && loss > 0);
    const double error = difference(t, &wanted, TRAINED, &length);
    if (!(error < 1e-4 * length))
      fail_msg("mask %zu: differs by %g of %g", m, error, length);
    assert_true(length_of(t) <= 8);
    free_sums(&wanted);
    close_bench(b);
  }
}

/* One image alone, longer than the clip, leaves exactly the clip or a hair less. */
static void no_image_counts_for_more(void **state) {
  (void)state;
  static const char *const clips[] = {"0.01", "1", "1000"};
  for (size_t c = 0; c < ARRAY_SIZE(clips); c++) {
    char defence[128];
    const double clip = strtod(clips[c], NULL);
    (void)snprintf(defence, sizeof(defence), "{\"method\":\"dp_sgd\",\"noise\":0,\"clip\":%s}", clips[c]);
    struct bench *b = open_bench(PLAIN, defence, "\"batch\":2", "one");
    struct trainer *t = &b->t;
    uint32_t alone = 0;
    for (t->step = 0; t->step < 60; t->step++) {
      double loss = 0;
      memset(t->label_counts, 0, t->batch * sizeof(*t->label_counts));
      assert_int_equal(defences_gradients(t, &plain_head, &loss, NULL), 0);
      const double images = length_of(t) * 2 / clip;            /* the batch divides */
      if (t->label_counts[0] == 1 && t->label_counts[1] == 0) { /* one image was drawn */
        alone++;
        assert_true(images <= 1);
        if (clip < 10)
          assert_true(images > 0.9999);
      }
      if (t->label_counts[0] == 0)
        assert_true(images == 0 && loss == 0);
    }
    assert_true(alone > 3);
    close_bench(b);
  }
}

/* Each image takes part with chance batch / images, whatever the others do. */
static void samples_are_poisson(void **state) {
  (void)state;
  enum { STEPS = 120 };
  struct bench *b = open_bench(MIXED, "{\"method\":\"dp_sgd\",\"noise\":0}", "\"batch\":5", "poisson");
  struct trainer *t = &b->t;
  double mean = 0, square = 0;
  for (t->step = 0; t->step < STEPS; t->step++) {
    double loss = 0;
    const double before = t->sums.mixed + t->sums.unmixed;
    assert_int_equal(defences_gradients(t, &plain_head, &loss, NULL), 0);
    const double count = t->sums.mixed + t->sums.unmixed - before;
    mean += count / STEPS;
    square += count * count / STEPS;
  }
  const double q = 5.0 / TRAINED, variance = TRAINED * q * (1 - q);
  assert_true(fabs(mean - 5) < 4 * sqrt(variance / STEPS));
  assert_true(fabs((square - mean * mean) / variance - 1) < 4 * sqrt(2.0 / STEPS));
  close_bench(b);
}

/* What is added is N(0, (noise clip)^2) over the expected number of images, the same for the same secret and
 * step and another for the next. */
static void noise_is_what_it_says(void **state) {
  (void)state;
  struct sums without[2];
  write_secret("noise", 9);
  struct bench *b =
      open_bench(PLAIN, "{\"method\":\"dp_sgd\",\"noise\":0,\"clip\":0.5}", "\"batch\":5", "noise");
  double loss = 0;
  for (int step = 0; step < 2; step++) {
    b->t.step = (uint64_t)step;
    assert_int_equal(defences_gradients(&b->t, &plain_head, &loss, NULL), 0);
    without[step] = new_sums(&b->t);
    for (uint64_t k = 0; k < without[step].network_count; k++)
      without[step].network[k] = (double)graph_gradients(b->t.graph, NULL)[k];
    for (uint64_t k = 0; k < without[step].head_count; k++)
      without[step].head[k] = (double)head_gradient(b->t.head)[k];
  }
  close_bench(b);
  b = open_bench(PLAIN, "{\"method\":\"dp_sgd\",\"noise\":1.5,\"clip\":0.5}", "\"batch\":5", "noise");
  const uint64_t count = without[0].network_count;
  float *first = malloc(count * sizeof(float));
  assert_non_null(first);
  double mean = 0, square = 0, fourth = 0, lag = 0, between = 0;
  for (int step = 0; step < 2; step++) {
    b->t.step = (uint64_t)step;
    assert_int_equal(defences_gradients(&b->t, &plain_head, &loss, NULL), 0);
    const double deviation = 1.5 * 0.5 / 5;
    const float *got = graph_gradients(b->t.graph, NULL);
    for (uint64_t k = 0; k < count; k++) {
      const double z = ((double)got[k] - without[step].network[k]) / deviation;
      const double next = k + 1 < count ? ((double)got[k + 1] - without[step].network[k + 1]) / deviation : 0;
      mean += z / (2 * (double)count);
      square += z * z / (2 * (double)count);
      fourth += z * z * z * z / (2 * (double)count);
      lag += z * next / (2 * (double)count);
      between += step == 1 ? z * (double)first[k] / (double)count : 0;
      if (step == 0)
        first[k] = (float)z;
    }
  }
  const double spread = 1 / sqrt(2 * (double)count);
  assert_true(count > 50000);
  assert_true(fabs(mean) < 4 * spread);
  assert_true(fabs(square - 1) < 4 * sqrt(2) * spread);
  assert_true(fabs(fourth - 3) < 4 * sqrt(96) * spread);
  assert_true(fabs(lag) < 4 * spread);
  assert_true(fabs(between) < 4 * sqrt(2) * spread);
  /* the head's noise is not the network's */
  double same = 0, head_square = 0;
  for (uint64_t k = 0; k < without[1].head_count; k++) {
    const double z = ((double)head_gradient(b->t.head)[k] - without[1].head[k]) / (1.5 * 0.5 / 5);
    const double other =
        ((double)graph_gradients(b->t.graph, NULL)[k] - without[1].network[k]) / (1.5 * 0.5 / 5);
    same += fabs(z - other) < 1e-3;
    head_square += z * z / (double)without[1].head_count;
  }
  assert_true(same < 3 && head_square > 0.3 && head_square < 2);
  free(first);
  free_sums(&without[0]);
  free_sums(&without[1]);
  close_bench(b);
}

/* The mask's constants are those of the public faces, bit for bit. */
static void constants_are_public(void **state) {
  (void)state;
  struct bench *b = open_bench(MIXED, "{\"method\":\"dp_sgd\"}", "\"batch\":5", "constants");
  const struct mask_options options = job_spec_mask(&b->spec);
  struct mask *mask = NULL;
  struct face_view view = {&b->t.open, b->t.open.train.image};
  assert_int_equal(mask_new(&options, &mask, NULL), 0);
  assert_int_equal(mask_fit(mask, face_view_image, &view, b->t.open.train.count, NULL), 0);
  assert_memory_equal(mask_constants(mask)->mean, mask_constants(b->t.mask)->mean, sizeof(float[183]));
  assert_memory_equal(mask_constants(mask)->deviation, mask_constants(b->t.mask)->deviation,
                      sizeof(float[183]));
  assert_true(mask_constants(mask)->pixel_scale == mask_constants(b->t.mask)->pixel_scale);
  assert_null(b->t.pool); /* no statistics of private faces either */
  mask_free(mask);
  close_bench(b);
}

#define DP "{\"method\":\"dp_sgd\",\"noise\":0.8,\"clip\":2,\"delta\":0.001}"

/* Under one secret a job is one job, however often it is stopped; another secret makes another, and none
 * stays. */
static void private_jobs_survive_stops(void **state) {
  (void)state;
  struct job_spec spec = parse(MIXED, DP, SHORT);
  char path[512];
  write_secret("straight", 1);
  write_secret("stopped", 1);
  run_whole(&spec, "straight");
  run_in_two(&spec, "stopped");
  assert_true(same_model("straight", "stopped"));
  run_whole(&spec, "other");
  check_model("other", "straight");
  static const char *const names[] = {"straight", "stopped", "other"};
  for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
    (void)snprintf(path, sizeof(path), "%s/work-%s/noise.json", root, names[i]);
    assert_int_equal(access(path, F_OK), -1);
  }
  job_spec_free(&spec);
}

/* The promise stands in the report and in what is made of it, with its unit; clipping alone promises nothing.
 */
static void what_is_promised(void **state) {
  (void)state;
  char path[512], *text = NULL;
  size_t size = 0;
  json_t *report = report_of("straight"); /* of the test before */
  const json_t *formal = json_object_get(report, "formal");
  const json_t *defence = json_array_get(json_object_get(report, "defences"), 0);
  const double epsilon = accountant_epsilon(5.0 / TRAINED, 0.8, 10, 0.001, NULL);
  assert_true(fabs(json_number_value(json_object_get(formal, "epsilon")) - epsilon) < 1e-6);
  assert_true(json_number_value(json_object_get(formal, "delta")) == 0.001);
  assert_non_null(strstr(json_string_value(json_object_get(formal, "unit")), "one training image"));
  assert_non_null(
      strstr(json_string_value(json_object_get(formal, "guarantee")), "all 4 images of a person"));
  assert_true(json_equal(formal, json_object_get(defence, "formal")));
  assert_string_equal(json_string_value(json_object_get(json_object_get(report, "model"), "norm")), "group");
  assert_non_null(strstr(json_string_value(json_array_get(json_object_get(report, "notes"), 1)), "secret"));
  json_decref(report);
  (void)snprintf(path, sizeof(path), "%s/out-straight/card.md", root);
  assert_int_equal(file_read(path, 1u << 20, &text, &size, NULL), 0);
  assert_non_null(strstr(text, "differential privacy of one training image"));
  free(text);
  struct job_spec spec = parse(MIXED, "{\"method\":\"dp_sgd\",\"noise\":0}", SHORT);
  run_whole(&spec, "clipped");
  job_spec_free(&spec);
  report = report_of("clipped");
  assert_string_equal(json_string_value(json_object_get(json_object_get(report, "formal"), "guarantee")),
                      "none");
  assert_true(
      json_is_null(json_object_get(json_array_get(json_object_get(report, "defences"), 0), "formal")));
  json_decref(report);
}

static void what_voids_the_promise_is_refused(void **state) {
  (void)state;
  struct guise_error err = {0};
  struct record record = {.stop_after = 0};
  struct job_spec spec = parse(PLAIN, "{\"method\":\"dp_sgd\",\"delta\":0.05}", SHORT);
  assert_int_equal(run(&spec, "delta", NULL, &record, &err), -EINVAL); /* 1/28 */
  assert_non_null(strstr(err.text, "delta"));
  job_spec_free(&spec);
  spec = parse(PLAIN, DP, SHORT);
  char saved[256];
  memcpy(saved, public_pack, sizeof(saved));
  memcpy(public_pack, private_pack, sizeof(saved));
  assert_int_equal(run(&spec, "own", NULL, &record, &err), -EINVAL);
  memcpy(public_pack, saved, sizeof(saved));
  assert_non_null(strstr(err.text, "public faces are the private ones"));
  /* a checkpoint whose secret is lost is not continued with another */
  record.stop_after = 4;
  assert_int_equal(run(&spec, "lost", NULL, &record, &err), -EINTR);
  char path[512], checkpoint[4096];
  memcpy(checkpoint, record.checkpoint, sizeof(checkpoint));
  (void)snprintf(path, sizeof(path), "%s/work-lost/noise.json", root);
  assert_int_equal(unlink(path), 0);
  record.stop_after = 0;
  assert_int_equal(run(&spec, "lost", checkpoint, &record, &err), -ENOENT);
  assert_non_null(strstr(err.text, "noise"));
  job_spec_free(&spec);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(gradients_are_clipped_one_by_one),
      cmocka_unit_test(no_image_counts_for_more),
      cmocka_unit_test(samples_are_poisson),
      cmocka_unit_test(noise_is_what_it_says),
      cmocka_unit_test(constants_are_public),
      cmocka_unit_test(private_jobs_survive_stops),
      cmocka_unit_test(what_is_promised),
      cmocka_unit_test(what_voids_the_promise_is_refused),
  };
  return cmocka_run_group_tests(tests, setup, teardown);
}
