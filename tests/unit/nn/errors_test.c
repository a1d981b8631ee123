/* Errors of a graph say what is wrong, in its description or in the order of calls. */
#include "tiny.h"

static void expect_error(struct graph *graph, const char *part) {
  struct guise_error err = {0};
  assert_int_equal(graph_build(graph, &err), -EINVAL);
  if (!strstr(err.text, part))
    fail_msg("\"%s\" does not say \"%s\"", err.text, part);
  assert_int_equal(graph_forward(graph, GRAPH_EVAL, 0, NULL), -EINVAL);
  graph_free(graph);
}

static struct graph *empty(void) {
  struct graph *graph = NULL;
  assert_int_equal(graph_new(&(struct graph_config){.batch = 2, .threads = 1}, &graph, NULL), 0);
  return graph;
}

static void description_errors(void **state) {
  (void)state;
  struct graph *graph = empty();
  int x = graph_input(graph, 8, 4, 4);
  int y = graph_conv(graph, x, "half", &(struct conv_options){8, 3, 2, 1, false, 0, false});
  assert_true(y >= 0);
  assert_int_equal(graph_add(graph, x, y), -EINVAL);
  assert_int_equal(graph_prelu(graph, x, "later"), -EINVAL); /* errors stay */
  expect_error(graph, "8 x 4 x 4 and 8 x 2 x 2");

  graph = empty();
  x = graph_input(graph, 8, 4, 4);
  (void)graph_prelu(graph, x, "same");
  (void)graph_output(graph, graph_batch_norm(graph, x, "same"));
  expect_error(graph, "two layers are named same");

  graph = empty();
  x = graph_input(graph, 8, 2, 2);
  (void)graph_output(graph, graph_conv(graph, x, "big", &(struct conv_options){8, 5, 1, 0, false, 0, false}));
  expect_error(graph, "big: a 5 x 5 kernel");

  graph = empty();
  x = graph_input(graph, 8, 2, 2);
  (void)graph_prelu(graph, x, "idle");
  (void)graph_output(graph, graph_prelu(graph, x, "busy"));
  expect_error(graph, "idle");

  graph = empty();
  (void)graph_input(graph, 8, 2, 2);
  expect_error(graph, "an input and an output");

  graph = empty();
  (void)graph_output(graph, graph_prelu(graph, 3, "nowhere"));
  expect_error(graph, "no node 3");

  graph = empty();
  (void)graph_output(graph, graph_dropout(graph, graph_input(graph, 8, 2, 2), 1.0f));
  expect_error(graph, "probability");
}

static void idct_errors(void **state) {
  (void)state;
  static const uint16_t twice[] = {3, 3}, beyond[] = {3, 192};
  static const float mean[2], deviation[] = {1, 1};
  const struct {
    const uint16_t *channel;
    uint32_t channels, grid, width;
    float scale;
    const char *part;
  } cases[] = {{twice, 2, 4, 4, 1, "listed before"},
               {beyond, 2, 4, 4, 1, "no coefficient"},
               {beyond, 1, 4, 4, 1, "template has 2"},
               {beyond, 2, 4, 5, 1, "square"},
               {beyond, 2, 4, 4, 0, "pixel scale"}};
  for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
    struct graph *graph = empty();
    int x = graph_input(graph, 2, cases[i].grid, cases[i].width);
    const struct block_idct_options options = {cases[i].channels, cases[i].channel, mean, deviation,
                                               cases[i].scale};
    (void)graph_output(graph, graph_block_idct(graph, x, &options));
    expect_error(graph, cases[i].part);
  }
}

static void running_errors(void **state) {
  (void)state;
  struct guise_error err;
  struct graph *graph = NULL;
  assert_int_equal(graph_new(&(struct graph_config){.batch = 0, .threads = 1}, &graph, &err), -EINVAL);
  assert_int_equal(graph_new(&(struct graph_config){.batch = 1, .threads = 0}, &graph, &err), -EINVAL);
  assert_null(graph);
  graph = tiny(2, 1, true, 1);
  assert_int_equal(graph_backward(graph, &err), -EINVAL); /* no forward yet */
  assert_int_equal(graph_forward(graph, GRAPH_STATISTICS, 0, &err), 0);
  assert_int_equal(graph_backward(graph, &err), -EINVAL);
  assert_int_equal(graph_build(graph, &err), -EINVAL);
  assert_int_equal(graph_forward(graph, GRAPH_TRAIN, 0, &err), 0);
  assert_int_equal(graph_backward(graph, &err), 0);
  assert_int_equal(graph_backward(graph, &err), -EINVAL); /* gradients took the place of values */
  graph_free(graph);
  graph = tiny(1, 1, true, 1);
  assert_int_equal(graph_forward(graph, GRAPH_TRAIN, 0, &err), -EINVAL);
  assert_non_null(strstr(err.text, "batches of 2"));
  graph_free(graph);
  graph = tiny(2, 1, false, 1);
  assert_int_equal(graph_forward(graph, GRAPH_EVAL, 0, &err), 0);
  assert_int_equal(graph_backward(graph, &err), -EINVAL);
  graph_free(graph);
}

static void bfloat16_needs_its_processor(void **state) {
  (void)state;
  struct guise_error err = {0};
  struct graph *graph = NULL;
  const struct graph_config config = {.batch = 2, .threads = 1, .bfloat16 = true};
  setenv("GUISE_KERNELS", "avx2", 1);
  assert_false(graph_bfloat16_supported());
  assert_int_equal(graph_new(&config, &graph, &err), -ENOTSUP);
  unsetenv("GUISE_KERNELS");
  assert_null(graph);
  assert_string_equal(
      err.text, "bfloat16 needs a processor with AVX512_BF16, which this one does not have: use float32");
}

static void architecture_table(void **state) {
  (void)state;
  enum arch arch = ARCHS;
  for (enum arch i = 0; i < ARCHS; i++) {
    assert_int_equal(arch_from_name(arch_name(i), &arch), 0);
    assert_int_equal(arch, i);
    assert_int_equal(arch_default_embedding(i), i >= ARCH_IRESNET18 ? 512 : 128);
  }
  assert_int_equal(arch_from_name("resnet", &arch), -ENOENT);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(description_errors), cmocka_unit_test(idct_errors),
      cmocka_unit_test(running_errors),     cmocka_unit_test(bfloat16_needs_its_processor),
      cmocka_unit_test(architecture_table),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
