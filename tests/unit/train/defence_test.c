/* Defences of the weights: what each does to a step's loss and gradients, against plain loops and
 * differences; that jobs with them end in a model and are the same after a stop. dp_sgd has a test of its
 * own. */
#include "core/train/audit.h"
#include "unit/train/defences.h"

/* ---- negative_ls ---- */

static void smoothing_is_ramped_in(void **state) {
  (void)state;
  struct bench *b = open_bench(PLAIN, "{\"method\":\"negative_ls\",\"alpha\":-0.2,\"start\":0.6}",
                               "\"batch\":5,\"epochs\":20", "ramp");
  static const struct {
    uint64_t step;
    double smoothing;
  } rows[] = {{0, 0}, {59, 0}, {60, 0}, {70, -0.1}, {80, -0.2}, {99, -0.2}};
  assert_int_equal(b->t.total, 100);
  for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
    struct head_options options = plain_head;
    b->t.step = rows[i].step;
    defences_head(&b->t, &options);
    assert_true(fabs((double)options.smoothing - rows[i].smoothing) < 1e-6);
  }
  close_bench(b);
}

/* ---- at_at ---- */

static void fill(struct trainer *t) {
  assert_int_equal(trainer_fill(t, t->order, t->batch, graph_input_data(t->graph), NULL), 0);
}

/* Forward and backward in training mode, towards the given labels. */
static double pass(struct trainer *t, const struct head_label *labels, uint32_t stride,
                   const uint32_t *counts) {
  assert_int_equal(graph_forward(t->graph, GRAPH_TRAIN, t->step, NULL), 0);
  const double loss = head_step(t->head, &plain_head, graph_output_data(t->graph), t->batch, labels, stride,
                                counts, graph_output_gradient(t->graph), NULL, NULL);
  assert_int_equal(graph_backward(t->graph, NULL), 0);
  return loss;
}

static void losses_in_use(struct trainer *t, const struct head_label *target, const uint32_t *ones,
                          float *ret_losses) {
  assert_int_equal(graph_forward(t->graph, GRAPH_EVAL, t->step, NULL), 0);
  head_losses(t->head, &plain_head, graph_output_data(t->graph), t->batch, target, 1, ones, ret_losses);
}

/* d stays within the radius and lowers the loss of each sample towards its target, who is not in the mix; the
 * step leaves the gradient of L(x, y) + weight L(x + d, y'). */
static void what_is_pushed(void **state) {
  (void)state;
  enum { BATCH = 6 };
  struct bench *b =
      open_bench(MIXED, "{\"method\":\"at_at\",\"weight\":0.5,\"radius\":0.05}", "\"batch\":6", "pushed");
  struct trainer *t = &b->t;
  const size_t values = BATCH * mask_elements(t->mask);
  float *clean = malloc(values * sizeof(float)), *pushed = malloc(values * sizeof(float));
  struct head_label target[BATCH];
  const uint32_t ones[BATCH] = {1, 1, 1, 1, 1, 1};
  float before[BATCH], after[BATCH];
  double largest = 0;
  assert_non_null(clean);
  assert_non_null(pushed);
  t->step = 2;
  fill(t);
  memcpy(clean, graph_input_data(t->graph), values * sizeof(float));
  for (uint32_t i = 0; i < BATCH; i++) {
    target[i] = (struct head_label){at_at_target(t, i), 1};
    for (uint32_t j = 0; j < t->label_counts[i]; j++)
      assert_int_not_equal(t->labels[i * MIX_MAX + j].identity, target[i].identity);
  }
  struct sums wanted = new_sums(t);
  double loss = pass(t, t->labels, MIX_MAX, t->label_counts);
  const double first = loss;
  add_gradients(t, &wanted, 1);
  assert_int_equal(defences_after_backward(t, &plain_head, &loss, NULL), 0);
  struct sums got = new_sums(t);
  add_gradients(t, &got, 1);
  memcpy(pushed, graph_input_data(t->graph), values * sizeof(float));
  for (size_t i = 0; i < values; i++)
    largest = fmax(largest, fabs((double)pushed[i] - (double)clean[i]));
  assert_true(largest <= 0.05 + 1e-5 && largest > 0.025);
  const double second = pass(t, target, 1, ones);
  add_gradients(t, &wanted, 0.5);
  assert_true(fabs(loss - (first + 0.5 * second)) < 1e-4 * loss);
  for (uint64_t k = 0; k < got.network_count; k++)
    graph_gradients(t->graph, NULL)[k] = (float)got.network[k];
  for (uint64_t k = 0; k < got.head_count; k++)
    head_gradient(t->head)[k] = (float)got.head[k];
  double length;
  const double error = difference(t, &wanted, 1, &length);
  if (!(error < 1e-3 * length))
    fail_msg("differs by %g of %g", error, length);
  losses_in_use(t, target, ones, after);
  memcpy(graph_input_data(t->graph), clean, values * sizeof(float));
  losses_in_use(t, target, ones, before); /* with the same running statistics */
  for (uint32_t i = 0; i < BATCH; i++)
    assert_true(after[i] < before[i]);
  free(clean);
  free(pushed);
  free_sums(&wanted);
  free_sums(&got);
  close_bench(b);
}

/* ---- bido ---- */

/* tr(K J L J) / (B - 1)^2 by the definition; rows (batch, size) are scaled to length 1 unless they are
 * labels. */
static double kernel(const float *x, size_t size, uint32_t i, uint32_t k) {
  double product = 0, a = 0, b = 0;
  for (size_t e = 0; e < size; e++) {
    product += (double)x[i * size + e] * (double)x[k * size + e];
    a += (double)x[i * size + e] * (double)x[i * size + e];
    b += (double)x[k * size + e] * (double)x[k * size + e];
  }
  return product / sqrt(a * b);
}

static double label_kernel(const struct trainer *t, uint32_t i, uint32_t k) {
  double sum = 0;
  for (uint32_t person = 0; person < t->data.train.identities; person++) {
    double a = 0, b = 0;
    for (uint32_t j = 0; j < t->label_counts[i]; j++)
      a += t->labels[i * MIX_MAX + j].identity == person ? (double)t->labels[i * MIX_MAX + j].weight : 0;
    for (uint32_t j = 0; j < t->label_counts[k]; j++)
      b += t->labels[k * MIX_MAX + j].identity == person ? (double)t->labels[k * MIX_MAX + j].weight : 0;
    sum += a * b;
  }
  return sum;
}

#define SIX 6u

static double hsic(const double k[SIX][SIX], const double l[SIX][SIX]) {
  double trace = 0;
  for (uint32_t i = 0; i < SIX; i++)
    for (uint32_t j = 0; j < SIX; j++) {
      double centred = l[i][j];
      for (uint32_t m = 0; m < SIX; m++) {
        centred -= (l[m][j] + l[i][m]) / SIX;
        for (uint32_t n = 0; n < SIX; n++)
          centred += l[m][n] / (SIX * SIX);
      }
      trace += k[i][j] * centred;
    }
  return trace / ((SIX - 1) * (SIX - 1));
}

static double dependence(struct trainer *t, double input_weight, double label_weight) {
  double x[SIX][SIX], y[SIX][SIX], h[SIX][SIX], sum = 0;
  for (uint32_t i = 0; i < SIX; i++)
    for (uint32_t k = 0; k < SIX; k++) {
      x[i][k] = kernel(graph_input_data(t->graph), mask_elements(t->mask), i, k);
      y[i][k] = label_kernel(t, i, k);
    }
  for (uint32_t tap = 0; tap < graph_taps(t->graph); tap++) {
    const struct graph_tap layer = graph_tap_data(t->graph, tap);
    for (uint32_t i = 0; i < SIX; i++)
      for (uint32_t k = 0; k < SIX; k++)
        h[i][k] = kernel(layer.value, layer.count, i, k);
    sum += input_weight * hsic(h, x) - label_weight * hsic(h, y);
  }
  return sum;
}

/* The whole loss of the step, ready for a backward pass; ret_head: without the dependence. */
static double whole_loss(struct trainer *t, double *ret_head) {
  fill(t);
  assert_int_equal(graph_forward(t->graph, GRAPH_TRAIN, t->step, NULL), 0);
  double loss = head_step(t->head, &plain_head, graph_output_data(t->graph), t->batch, t->labels, MIX_MAX,
                          t->label_counts, graph_output_gradient(t->graph), NULL, NULL);
  *ret_head = loss;
  assert_int_equal(defences_after_forward(t, &loss, NULL), 0);
  return loss;
}

static void nudge(struct trainer *t, const struct sums *direction, double by) {
  const float *base = graph_gradients(t->graph, NULL);
  for (uint32_t i = 0; i < graph_parameters(t->graph); i++) {
    struct graph_parameter *p = graph_parameter(t->graph, i);
    for (size_t k = 0; p->gradient && k < p->count; k++)
      p->value[k] += (float)(by * direction->network[(size_t)(p->gradient - base) + k]);
  }
  graph_parameters_changed(t->graph);
}

/* The loss has the terms of the definition, and the gradients that come out of the network are its slope: a
 * step along them changes the loss by their length. */
static void dependence_has_its_slope(void **state) {
  (void)state;
  static const char *const masks[] = {PLAIN, MIXED};
  static const char *const memory[] = {"\"batch\":6", "\"batch\":6,\"memory\":\"low\""};
  for (size_t m = 0; m < ARRAY_SIZE(masks); m++) {
    struct bench *b = open_bench(masks[m], "{\"method\":\"bido\",\"input_weight\":300,\"label_weight\":500}",
                                 memory[m], "slope");
    struct trainer *t = &b->t;
    double plain, unused, length = 0;
    assert_int_equal(graph_taps(t->graph), 2); /* freq_conv has two stages */
    for (uint32_t i = 0; i < TRAINED; i++)
      t->order[i] = i / 2 * 4 % TRAINED + i % 2; /* two of a person */
    const double loss = whole_loss(t, &plain), wanted = dependence(t, 300, 500);
    assert_true(fabs(wanted) > 1);
    if (!(fabs(loss - plain - wanted) < 1e-3 * fabs(wanted)))
      fail_msg("dependence %g, %g expected", loss - plain, wanted);
    assert_int_equal(graph_backward(t->graph, NULL), 0);
    for (uint32_t tap = 0; tap < 2; tap++) { /* spent */
      const struct graph_tap layer = graph_tap_data(t->graph, tap);
      for (size_t i = 0; i < SIX * layer.count; i++)
        assert_true(layer.gradient[i] == 0);
    }
    struct sums slope = new_sums(t);
    add_gradients(t, &slope, 1);
    for (uint64_t k = 0; k < slope.network_count; k++)
      length += slope.network[k] * slope.network[k];
    const double by = 0.02 / length; /* changes the loss by .02 each way */
    nudge(t, &slope, by);
    const double up = whole_loss(t, &unused);
    nudge(t, &slope, -2 * by);
    const double down = whole_loss(t, &unused), got = (up - down) / (2 * by);
    if (!(fabs(got - length) < 0.02 * length))
      fail_msg("mask %zu: slope %g, %g by the gradients", m, got, length);
    free_sums(&slope);
    close_bench(b);
  }
}

/* ---- tl_dmi ---- */

static bool same_tensor(const struct safetensors *a, const struct safetensors *b, const char *name) {
  const struct safetensor *one = safetensors_find(a, name), *other = safetensors_find(b, name);
  assert_non_null(one);
  assert_non_null(other);
  return one->bytes == other->bytes && memcmp(one->data, other->data, one->bytes) == 0;
}

/* What is frozen is the public network's to the bit, statistics included; what is not has been trained on. */
static void early_blocks_stay(void **state) {
  (void)state;
  static const struct {
    const char *defences, *norm;
  } rows[] = {
      {"{\"method\":\"tl_dmi\",\"blocks\":1}", "body.0.norm3.running_var"},
      {"{\"method\":\"tl_dmi\",\"blocks\":1},{\"method\":\"dp_sgd\",\"noise\":0.5}", "body.0.norm3.weight"}};
  static const char *const frozen[] = {"stem.conv.weight",    "stem.norm.bias",      "stem.prelu.weight",
                                       "body.0.conv1.weight", "body.0.norm1.weight", "body.0.conv2.weight"};
  static const char *const trained[] = {"body.1.conv1.weight", "body.1.norm1.bias", "body.4.prelu.weight",
                                        "tail.linear.weight"};
  for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
    struct job_spec spec = parse(MIXED, rows[i].defences, SHORT);
    char path[512], name[16];
    struct safetensors *before = NULL, *after = NULL;
    (void)snprintf(name, sizeof(name), "frozen-%zu", i);
    run_whole(&spec, name);
    job_spec_free(&spec);
    (void)snprintf(path, sizeof(path), "%s/work-%s/pretrained/pretrained.safetensors", root, name);
    assert_int_equal(safetensors_open(path, &before, NULL), 0);
    (void)snprintf(path, sizeof(path), "%s/out-%s/model.safetensors", root, name);
    assert_int_equal(safetensors_open(path, &after, NULL), 0);
    for (size_t k = 0; k < ARRAY_SIZE(frozen); k++)
      assert_true(same_tensor(before, after, frozen[k]));
    assert_true(same_tensor(before, after, rows[i].norm));
    for (size_t k = 0; k < ARRAY_SIZE(trained); k++)
      assert_false(same_tensor(before, after, trained[k]));
    safetensors_free(before);
    safetensors_free(after);
  }
}

/* Another network does not fit, and the error says what must agree. */
static void another_network_is_refused(void **state) {
  (void)state;
  struct job_spec spec = parse(MIXED, "{\"method\":\"tl_dmi\"}", SHORT);
  struct job_inputs inputs = inputs_of("misfit");
  struct record record = {.stop_after = 0};
  const struct job_callbacks callbacks = {&record,        on_phase, quiet_progress, quiet_log, on_checkpoint,
                                          on_should_stop, NULL};
  struct job_outcome outcome = {NULL};
  struct guise_error err = {0};
  char path[512];
  (void)snprintf(path, sizeof(path), "%s/out-frozen-1/model.safetensors", root); /* has group norms */
  inputs.pretrained_model = path;
  assert_int_equal(job_run(&spec, &inputs, &callbacks, &outcome, &err), -EINVAL);
  assert_non_null(strstr(err.text, "arch, width, embedding and norm"));
  job_spec_free(&spec);
}

/* ---- whole jobs ---- */

static void every_defence_trains(void **state) {
  (void)state;
  static const char *const defences[] = {"{\"method\":\"negative_ls\",\"start\":0}", "{\"method\":\"bido\"}",
                                         "{\"method\":\"at_at\",\"steps\":2},{\"method\":\"bido\"}",
                                         "{\"method\":\"tl_dmi\",\"blocks\":2},{\"method\":\"bido\"}"};
  struct job_spec spec = parse(MIXED, "", SHORT);
  run_whole(&spec, "undefended");
  job_spec_free(&spec);
  for (size_t i = 0; i < ARRAY_SIZE(defences); i++) {
    spec = parse(MIXED, defences[i], SHORT);
    run_whole(&spec, "defended");
    run_in_two(&spec, "defended-in-two");
    assert_true(same_model("defended", "defended-in-two"));
    check_model("defended", "undefended");
    json_t *report = report_of("defended");
    assert_int_equal(json_array_size(json_object_get(report, "defences")), spec.defences.count);
    json_decref(report);
    job_spec_free(&spec);
  }
}

/* What an attacker on gradients is told of the loss: the smoothing at its full height, which blocks share
 * nothing, and what it is spared. */
static void gradients_that_are_shared(void **state) {
  (void)state;
  static const struct {
    const char *defences;
    float smoothing;
    uint32_t frozen;
    const char *granted[ATTACK_GRANTED_MAX];
  } rows[] = {
      {"", 0, 0, {NULL}},
      {"{\"method\":\"negative_ls\",\"alpha\":-0.2},{\"method\":\"tl_dmi\",\"blocks\":2}", -0.2f, 2, {NULL}},
      {"{\"method\":\"at_at\"},{\"method\":\"bido\"}", 0, 0, {"at_at", "bido"}},
      {"{\"method\":\"dp_sgd\"},{\"method\":\"negative_ls\"}", -0.05f, 0, {"dp_sgd's noise"}},
  };
  for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
    struct job_spec spec = parse(MIXED, rows[i].defences, SHORT);
    const struct attack_loss loss = audit_loss(&spec);
    assert_true(loss.options.smoothing == rows[i].smoothing);
    assert_int_equal(loss.frozen, rows[i].frozen);
    assert_true(loss.options.margin == (float)spec.train.margin && loss.options.scale == 30);
    for (uint32_t g = 0; g < ATTACK_GRANTED_MAX; g++) {
      assert_int_equal(loss.granted[g] != NULL, rows[i].granted[g] != NULL);
      assert_true(!loss.granted[g] || strstr(loss.granted[g], rows[i].granted[g]));
    }
    job_spec_free(&spec);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(smoothing_is_ramped_in),     cmocka_unit_test(what_is_pushed),
      cmocka_unit_test(dependence_has_its_slope),   cmocka_unit_test(early_blocks_stay),
      cmocka_unit_test(another_network_is_refused), cmocka_unit_test(every_defence_trains),
      cmocka_unit_test(gradients_that_are_shared),
  };
  return cmocka_run_group_tests(tests, setup, teardown);
}
