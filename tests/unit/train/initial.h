/* Models as they come from their initial weights: they tell pictures apart, if not people. */
#pragma once

#include "core/mask/mask.h"
#include "core/model/model.h"

/* A freq_ir of a quarter of the width for (side,side,3) pictures face(NULL, 0..count), whose mask is fitted
 * to them. */
static inline void write_initial_model(const char *path, enum mask_method method, enum arch_norm norm,
                                       uint32_t side, const uint8_t *(*face)(void *, uint32_t),
                                       uint32_t count) {
  struct guise_error err = {0};
  struct model_info info = {.arch = ARCH_FREQ_IR,
                            .input = side,
                            .embedding = 32,
                            .width = 0.25f,
                            .norm = norm,
                            .mask = mask_options_default(method, side)};
  const struct graph_config config = {.batch = 1, .threads = 1, .seed = 3};
  struct graph *graph = NULL;
  struct mask *mask = NULL;
  assert_int_equal(mask_new(&info.mask, &mask, &err), 0);
  assert_int_equal(mask_fit(mask, face, NULL, count, &err), 0);
  info.constants = *mask_constants(mask);
  const struct arch_options options = model_arch_options(&info, mask);
  assert_int_equal(graph_new(&config, &graph, &err), 0);
  (void)arch_describe(graph, info.arch, &options);
  assert_int_equal(graph_build(graph, &err), 0);
  if (model_save(path, graph, &info, &err) < 0)
    fail_msg("%s", err.text);
  graph_free(graph);
  mask_free(mask);
}
