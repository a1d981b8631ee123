/* Gates of the analysis network: gradients against finite differences through a small network, Adam's steps,
 * and what a whole analysis learns from faces of which it is known where the identity is. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <omp.h>
#include <stdio.h>
#include <string.h>

#include "core/train/analysis.h"
#include "core/train/gates.h"
#include "unit/train/telling.h"

/* ---- one gradient ---- */

enum { BATCH = 4, GRID = 2, CELLS = GRID * GRID, CLASSES = 3, EMBEDDING = 16 };
static const double gamma_weight = 0.5;

struct bench {
  struct graph *graph;
  struct head *head;
  struct gates gates;
  float x[BATCH * 192 * CELLS];
};

/* L_FR + gamma sum a e; leaves the gradient at the gated input in the graph when `backward`. */
static double loss_of(struct bench *b, bool backward) {
  static const uint32_t counts[BATCH] = {1, 1, 1, 1};
  static const struct head_label labels[BATCH] = {{0, 1}, {1, 1}, {2, 1}, {1, 1}};
  const struct head_options options = {.scale = 8};
  gates_apply(&b->gates, b->x, BATCH, CELLS, graph_input_data(b->graph));
  assert_int_equal(graph_forward(b->graph, GRAPH_TRAIN, 0, NULL), 0);
  const double loss = head_step(b->head, &options, graph_output_data(b->graph), BATCH, labels, 1, counts,
                                graph_output_gradient(b->graph), NULL, NULL);
  if (backward)
    assert_int_equal(graph_backward(b->graph, NULL), 0);
  return loss + gamma_weight * gates_penalty(&b->gates);
}

static void make_bench(struct bench *b) {
  const struct graph_config config = {
      .batch = BATCH, .threads = 1, .training = true, .input_gradient = true, .seed = 3};
  double magnitude[192];
  struct rng rng;
  assert_int_equal(graph_new(&config, &b->graph, NULL), 0);
  int x = graph_input(b->graph, 192, GRID, GRID);
  x = graph_conv(b->graph, x, "a", &(struct conv_options){.out_channels = 16, .kernel = 1, .stride = 1});
  x = graph_tanh(b->graph, graph_batch_norm(b->graph, x, "b"));
  (void)graph_output(b->graph, graph_linear(b->graph, x, "c", EMBEDDING, true));
  assert_int_equal(graph_build(b->graph, NULL), 0);
  assert_int_equal(head_new(CLASSES, EMBEDDING, BATCH, 1, HEAD_COSFACE, 5, &b->head, NULL), 0);
  rng_init(&rng, 9, RNG_ATTACK, 0, 0);
  for (size_t i = 0; i < ARRAY_SIZE(b->x); i++)
    b->x[i] = rng_normal(&rng);
  for (int c = 0; c < 192; c++)
    magnitude[c] = c == 0 ? 100 : (double)rng_uniform(&rng);
  gates_init(&b->gates, magnitude);
  for (int c = 0; c < 192; c++)
    b->gates.w[c] = rng_normal(&rng);
}

/* The five-point rule: its own error falls with h^4, so that h can be large against the loss's roundings. */
static double difference(struct bench *b, int channel) {
  static const double at[4] = {-2, -1, 1, 2}, weight[4] = {1, -8, 8, -1};
  const float w = b->gates.w[channel], h = 0.125f;
  double sum = 0;
  for (int i = 0; i < 4; i++) {
    b->gates.w[channel] = w + (float)at[i] * h;
    sum += weight[i] * loss_of(b, false);
  }
  b->gates.w[channel] = w;
  return sum / (12 * (double)h);
}

static void gradient_of_gates(void **state) {
  (void)state;
  struct bench *b = calloc(1, sizeof(*b));
  double gradient[192], error = 0, norm = 0;
  make_bench(b);
  (void)loss_of(b, true);
  gates_gradient(&b->gates, b->x, graph_input_gradient(b->graph), BATCH, CELLS, gamma_weight, gradient);
  for (int c = 0; c < 192; c++) {
    const double wanted = difference(b, c);
    error += (wanted - gradient[c]) * (wanted - gradient[c]);
    norm += wanted * wanted;
  }
  if (!(sqrt(error / norm) < 1e-3))
    fail_msg("gradients differ by %g of their length %g", sqrt(error / norm), sqrt(norm));
  graph_free(b->graph);
  head_free(b->head);
  free(b);
}

/* Equal gradients: every step of Adam is the rate, whatever their size. */
static void steps_of_one_size(void **state) {
  (void)state;
  struct gates gates;
  double gradient[192];
  for (int c = 0; c < 192; c++)
    gradient[c] = (c % 2 ? -1 : 1) * pow(10, -c % 6);
  gates_init(&gates, gradient);
  for (uint64_t step = 1; step <= 3; step++)
    gates_step(&gates, gradient, 0.25, step);
  for (int c = 0; c < 192; c++)
    assert_true(fabsf(gates.w[c] - (c % 2 ? 0.75f : -0.75f)) < 1e-3f);
}

/* ---- a whole analysis ---- */

static int analyse(enum arch arch, enum mask_dct dct, uint32_t epochs, uint64_t seed, uint32_t threads,
                   enum job_stop (*should_stop)(void *), float *ret_gates) {
  double progress = 0;
  struct guise_error err = {0};
  struct job_spec spec = {
      .model = {.arch = arch, .input = SIDE, .embedding = 32, .width = 0.25},
      .mask = {.method = MASK_PPFR_FD, .dct = dct, .select = MASK_SELECT_LEARNT, .analysis = {epochs, 0.5}},
      .train = {.lr = 0.05, .momentum = 0.9, .weight_decay = 5e-4, .scale = 16, .seed = seed}};
  const struct job_callbacks callbacks = {.context = &progress,
                                          .phase = no_phase,
                                          .progress = on_progress,
                                          .log = on_log,
                                          .should_stop = should_stop};
  struct trainer trainer = telling_trainer(&spec, &callbacks, threads);
  omp_set_num_threads((int)threads);
  int r = analysis_train(&trainer, ret_gates, &err);
  if (r < 0 && r != -EINTR)
    fail_msg("%s", err.text);
  return r;
}

static bool among(int c, const uint8_t *list, size_t count) {
  for (size_t i = 0; i < count; i++)
    if (list[i] == c)
      return true;
  return false;
}

static void what_is_seen_falls_what_tells_stays(void **state) {
  (void)state;
  float a[192];
  assert_int_equal(analyse(ARCH_FREQ_CONV, MASK_DCT_NATIVE, 20, 1, 1, never, a), 0);
  for (int c = 0; c < 192; c++) {
    if (among(c, telling, ARRAY_SIZE(telling)))
      assert_true(a[c] > 0.6f);
    else if (among(c, loud, ARRAY_SIZE(loud)))
      assert_true(a[c] < 0.2f);
    else
      assert_true(a[c] > 0.2f && a[c] < 0.625f);
  }
}

static void the_seed_decides(void **state) {
  (void)state;
  float one[192], again[192], other[192];
  assert_int_equal(analyse(ARCH_FREQ_IR, MASK_DCT_NATIVE, 1, 1, 1, never, one), 0);
  assert_int_equal(analyse(ARCH_FREQ_IR, MASK_DCT_NATIVE, 1, 1, 1, never, again), 0);
  assert_int_equal(analyse(ARCH_FREQ_IR, MASK_DCT_NATIVE, 1, 2, 1, never, other), 0);
  assert_memory_equal(one, again, sizeof(one));
  assert_memory_not_equal(one, other, sizeof(one));
}

/* One block a pixel: visible energy is nearly all in the lowest coefficient. */
static void upsampled(void **state) {
  (void)state;
  float a[192];
  assert_int_equal(analyse(ARCH_FREQ_IR, MASK_DCT_UPSAMPLED, 1, 1, 2, never, a), 0);
  for (int c = 0; c < 192; c++)
    assert_true(a[c] > 0 && a[c] < 1 && a[c] != 0.5f);
  assert_true(a[0] < 0.5f);
}

static void stops(void **state) {
  (void)state;
  float a[192];
  assert_int_equal(analyse(ARCH_FREQ_CONV, MASK_DCT_NATIVE, 1, 1, 1, at_once, a), -EINTR);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(gradient_of_gates),
                                     cmocka_unit_test(steps_of_one_size),
                                     cmocka_unit_test(what_is_seen_falls_what_tells_stays),
                                     cmocka_unit_test(the_seed_decides),
                                     cmocka_unit_test(upsampled),
                                     cmocka_unit_test(stops)};
  return cmocka_run_group_tests(tests, draw_faces, NULL);
}
