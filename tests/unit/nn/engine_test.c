/* What a graph promises as a whole: no allocation in steps, the same losses for the same seed, and several
 * graphs at once. */
#include "tiny.h"

#include <malloc.h>
#include <pthread.h>

#include "core/base/memory.h"
#include "core/nn/kernels.h"

/* ---- memory ---- */

#ifdef GUISE_SANITIZED
#define LONG_RUN 200u
#else
#define LONG_RUN 2000u
#endif

static size_t live[2], heap[2];
static uint32_t last_step;

static void note_memory(uint32_t step) {
  if (step != 9 && step != last_step)
    return;
  live[step > 9] = memory_live_bytes();
  const struct mallinfo2 now = mallinfo2();
  heap[step > 9] = now.uordblks + now.hblkhd; /* large blocks are mapped, and not among the former */
}

/* What is live after the tenth step is all that is live after the last. A long run with one thread only: with
 * two each step costs many meetings of threads, which is slow on a busy machine. */
static void steps_allocate_nothing(void **state) {
  (void)state;
  for (uint32_t threads = 1; threads <= THREADS; threads++) {
    last_step = threads == 1 ? LONG_RUN - 1 : 59;
    struct graph *graph = tiny(2, threads, true, 1);
    train(graph, 2, threads, last_step + 1, NULL, note_memory);
    assert_int_equal(live[0], live[1]);
#ifndef GUISE_SANITIZED
    assert_int_equal(heap[0], heap[1]);
#endif
    graph_free(graph);
  }
}

static struct graph *wide(bool half, bool low_memory, bool *ret_winograd) {
  struct graph *graph = tiny_wide(&(struct graph_config){.batch = WIDE_BATCH,
                                                         .threads = THREADS,
                                                         .training = true,
                                                         .winograd = true,
                                                         .low_memory = low_memory,
                                                         .bfloat16 = half,
                                                         .seed = 7});
  static const char *const passes[] = {"forward winograd", "backward-data winograd",
                                       "backward-weights winograd"};
  char *algorithms = graph_algorithms(graph);
  assert_non_null(algorithms);
  *ret_winograd = true;
  for (size_t i = 0; i < ARRAY_SIZE(passes); i++)
    *ret_winograd &= strstr(algorithms, passes[i]) != NULL;
  if (!low_memory && *ret_winograd == half)
    fail_msg("%s, %s: %s", kernels_choose()->name, half ? "bfloat16" : "float", algorithms);
  free(algorithms);
  return graph;
}

/* What large networks are computed with: Winograd of each kernel set, and bfloat16. `check` is called with
 * each that this processor has. */
static void with_each_arithmetic(void (*check)(bool half)) {
  static const char *const sets[] = {"avx512", "avx2"};
  for (size_t k = 0; k < ARRAY_SIZE(sets); k++) {
    setenv("GUISE_KERNELS", sets[k], 1);
    if (strcmp(kernels_choose()->name, sets[k]) == 0)
      check(false);
    else
      print_message("skipped: no %s here\n", sets[k]);
  }
  unsetenv("GUISE_KERNELS");
  if (graph_bfloat16_supported())
    check(true);
  else
    print_message("skipped: no AVX512_BF16 here\n");
}

static void check_allocates_nothing(bool half) {
  last_step = 19;
  bool winograd;
  struct graph *graph = wide(half, false, &winograd);
  train_sized(graph, WIDE_GRID, WIDE_BATCH, THREADS, last_step + 1, NULL, note_memory);
  assert_int_equal(live[0], live[1]);
#ifndef GUISE_SANITIZED
  assert_int_equal(heap[0], heap[1]);
#endif
  graph_free(graph);
}

static void fast_steps_allocate_nothing(void **state) {
  (void)state;
  with_each_arithmetic(check_allocates_nothing);
}

static void free_returns_everything(void **state) {
  (void)state;
  const size_t before = memory_live_bytes();
  struct graph *graph = tiny(4, 1, true, 1);
  assert_true(memory_live_bytes() >= before + graph_arena_bytes(graph));
  graph_free(graph);
  assert_int_equal(memory_live_bytes(), before);
  assert_null(graph_free(NULL));
}

/* A forward-only graph gets by with far less; training may, too. */
static void memory_by_purpose(void **state) {
  (void)state;
  static const uint16_t channel[] = {1};
  static const float mean[1], deviation[] = {20};
  const struct arch_options options = {
      .embedding = 16, .width = 1, .grid = 8, .inverse = true, .mask = {1, channel, mean, deviation, 1}};
  size_t bytes[3];
  for (int kind = 0; kind < 3; kind++) {
    const struct graph_config config = {
        .batch = 32, .threads = 1, .training = kind > 0, .low_memory = kind == 2, .winograd = false};
    struct graph *graph = NULL;
    assert_int_equal(graph_new(&config, &graph, NULL), 0);
    (void)arch_describe(graph, ARCH_FREQ_IR, &options);
    assert_int_equal(graph_build(graph, NULL), 0);
    bytes[kind] = graph_arena_bytes(graph);
    graph_free(graph);
  }
  assert_true(bytes[0] * 3 < bytes[1]);
  assert_true(bytes[2] * 10 < bytes[1] * 7);
}

/* ---- determinism ---- */

#define STEPS 16

static void same_seed_same_losses(void **state) {
  (void)state;
  double first[STEPS], again[STEPS], other[STEPS], one[STEPS];
  double *const runs[] = {first, again, other, one};
  static const uint64_t seeds[] = {7, 7, 8, 7};
  static const uint32_t threads[] = {THREADS, THREADS, THREADS, 1};
  for (int i = 0; i < 4; i++) {
    struct graph *graph = tiny(6, threads[i], true, seeds[i]);
    train(graph, 6, threads[i], STEPS, runs[i], NULL);
    graph_free(graph);
  }
  assert_memory_equal(first, again, sizeof(first));
  assert_true(first[0] != other[0]);
  assert_true(fabs(first[0] - one[0]) <
              1e-4 * first[0]);                   /* threads change sums' order, not the numbers drawn */
  assert_true(first[STEPS - 1] < 0.8 * first[0]); /* and it learns */
}

/* Computing again instead of keeping changes nothing but the memory. In bfloat16 the gradients of a shortcut
 * are added in another order, and so rounded differently: the first steps agree. */
static void low_memory_same_losses(void **state) {
  (void)state;
  enum { steps = 4 };
  for (enum arch arch = 0; arch < ARCHS; arch++)
    for (int half = 0; half <= graph_bfloat16_supported(); half++) {
      double losses[2][STEPS];
      size_t bytes[2];
      for (int low = 0; low < 2; low++) {
        const struct graph_config config = {.batch = 12,
                                            .threads = THREADS,
                                            .training = true,
                                            .winograd = true,
                                            .low_memory = low,
                                            .bfloat16 = half,
                                            .seed = 7};
        struct graph *graph = tiny_of(arch, &config);
        bytes[low] = graph_arena_bytes(graph);
        train(graph, 12, THREADS, steps, losses[low], NULL);
        graph_free(graph);
      }
      const bool same = half ? fabs(losses[0][1] - losses[1][1]) < 0.01 * losses[0][1]
                             : memcmp(losses[0], losses[1], steps * sizeof(double)) == 0;
      if (!same || bytes[1] > bytes[0])
        fail_msg("%s, %s: last losses %.17g and %.17g, %zu and %zu bytes", arch_name(arch),
                 half ? "bfloat16" : "float", losses[0][steps - 1], losses[1][steps - 1], bytes[0], bytes[1]);
    }
}

/* Bit for bit, also with several threads. Little memory changes nothing in float where it leaves Winograd in.
 */
static void check_same_losses(bool half) {
  enum { steps = 5 };
  double losses[3][steps];
  bool winograd[3];
  for (int i = 0; i < 3; i++) {
    struct graph *graph = wide(half, i == 2, &winograd[i]);
    train_sized(graph, WIDE_GRID, WIDE_BATCH, THREADS, steps, losses[i], NULL);
    graph_free(graph);
  }
  const bool same = memcmp(losses[0], losses[1], sizeof(losses[0])) == 0;
  const bool low_same = half || winograd[0] != winograd[2]
                            ? fabs(losses[0][1] - losses[2][1]) < 0.01 * losses[0][1]
                            : memcmp(losses[0], losses[2], sizeof(losses[0])) == 0;
  if (!same || !low_same || losses[0][steps - 1] >= losses[0][0])
    fail_msg("%s, %s: last losses %.17g, again %.17g, low memory %.17g", kernels_choose()->name,
             half ? "bfloat16" : "float", losses[0][steps - 1], losses[1][steps - 1], losses[2][steps - 1]);
}

static void fast_steps_same_losses(void **state) {
  (void)state;
  with_each_arithmetic(check_same_losses);
}

static void initial_weights(void **state) {
  (void)state;
  struct graph *graph = tiny(2, 1, true, 3), *same = tiny(5, THREADS, false, 3);
  for (uint32_t i = 0; i < graph_parameters(graph); i++) {
    const struct graph_parameter *p = graph_parameter(graph, i), *q = graph_parameter(same, i);
    assert_string_equal(p->name, q->name);
    assert_memory_equal(p->value, q->value, p->count * sizeof(float));
    assert_null(q->gradient);
    assert_int_equal(p->decay, p->rank > 1);
    if (p->rank < 2)
      continue;
    const double bound = 1 / sqrt((double)(p->count / p->shape[0]));
    double most = 0, sum = 0;
    for (size_t j = 0; j < p->count; j++) {
      most = fmax(most, fabs((double)p->value[j]));
      sum += (double)p->value[j];
    }
    assert_true(most <= bound && most > 0.9 * bound);
    assert_true(fabs(sum / (double)p->count) < 4 * bound / sqrt(3.0 * (double)p->count));
  }
  assert_string_equal(graph_parameter(graph, 0)->name, "stem.conv.weight");
  assert_null(graph_parameter(graph, graph_parameters(graph)));
  graph_free(graph);
  graph_free(same);
}

/* ---- several graphs at once ---- */

struct worker {
  uint32_t threads;
  double losses[STEPS];
};

static void *work(void *argument) {
  struct worker *worker = argument;
  struct graph *graph = tiny(6, worker->threads, true, 7), *evaluation = tiny(2, 1, false, 1);
  train(graph, 6, worker->threads, STEPS, worker->losses, NULL);
  assert_int_equal(graph_copy_parameters(evaluation, graph, NULL), 0);
  assert_int_equal(graph_forward(evaluation, GRAPH_EVAL, 0, NULL), 0);
  graph_free(evaluation);
  graph_free(graph);
  return NULL;
}

static void jobs_in_parallel(void **state) {
  (void)state;
  struct worker workers[3] = {{.threads = 1}, {.threads = THREADS}, {.threads = 1}};
  pthread_t threads[3];
  for (int i = 0; i < 3; i++)
    assert_int_equal(pthread_create(&threads[i], NULL, work, &workers[i]), 0);
  for (int i = 0; i < 3; i++)
    assert_int_equal(pthread_join(threads[i], NULL), 0);
  assert_memory_equal(workers[0].losses, workers[2].losses, sizeof(workers[0].losses));
  assert_true(fabs(workers[0].losses[0] - workers[1].losses[0]) < 1e-4 * workers[0].losses[0]);
}

/* More threads than images, blocks or processors. */
static void many_threads(void **state) {
  (void)state;
  double few[2], many[2];
  struct graph *graph = tiny(3, 1, true, 7);
  train(graph, 3, 1, 2, few, NULL);
  graph_free(graph);
  graph = tiny(3, THREADS == 1 ? 1 : 7, true, 7);
  train(graph, 3, THREADS == 1 ? 1 : 7, 2, many, NULL);
  graph_free(graph);
  assert_true(fabs(few[0] - many[0]) < 1e-4 * few[0]);
}

/* Which parameters are frozen is read off their names where a graph that freezes them cannot be built. */
static void names_tell_what_is_frozen(void **state) {
  (void)state;
  static const uint16_t channel[] = {1};
  static const float mean[1], deviation[] = {20};
  static const uint32_t blocks[] = {0, 1, 3, 64};
  const struct graph_config config = {.batch = 1, .threads = 1, .training = true};
  for (int arch = 0; arch < ARCHS; arch++) {
    struct arch_options options = {
        .embedding = 16, .width = .25f, .grid = 4, .inverse = true, .mask = {1, channel, mean, deviation, 1}};
    for (size_t b = 0; b < ARRAY_SIZE(blocks); b++) {
      struct graph *graph[2] = {NULL, NULL}; /* all of it is trained, and it is frozen */
      for (int i = 0; i < 2; i++) {
        options.frozen = i ? blocks[b] : 0;
        assert_int_equal(graph_new(&config, &graph[i], NULL), 0);
        (void)arch_describe(graph[i], (enum arch)arch, &options);
        assert_int_equal(graph_build(graph[i], NULL), 0);
      }
      for (uint32_t i = 0; i < graph_parameters(graph[0]); i++) {
        const struct graph_parameter *whole = graph_parameter(graph[0], i),
                                     *part = graph_parameter(graph[1], i);
        if (whole->gradient && arch_freezes(whole->name, blocks[b]) != !part->gradient)
          fail_msg("%s: %s of %u blocks", arch_name((enum arch)arch), whole->name, blocks[b]);
      }
      graph_free(graph[0]);
      graph_free(graph[1]);
    }
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(steps_allocate_nothing),    cmocka_unit_test(free_returns_everything),
      cmocka_unit_test(memory_by_purpose),         cmocka_unit_test(same_seed_same_losses),
      cmocka_unit_test(low_memory_same_losses),    cmocka_unit_test(initial_weights),
      cmocka_unit_test(jobs_in_parallel),          cmocka_unit_test(many_threads),
      cmocka_unit_test(names_tell_what_is_frozen), cmocka_unit_test(fast_steps_allocate_nothing),
      cmocka_unit_test(fast_steps_same_losses),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
