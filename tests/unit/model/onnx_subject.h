/* Models as jobs leave them, of every architecture and mask, for whoever looks at their ONNX files:
 * onnx_test, onnx_checker_test and tests/bench/onnx.c. Weights are drawn; batch-norm statistics are those of
 * the faces, so that the networks tell them apart. Errors are returned, as a benchmark has no cmocka. */
#pragma once

#include <stdio.h>
#include <string.h>

#include "core/base/memory.h"
#include "core/base/philox.h"
#include "core/mask/decoys.h"
#include "core/mask/key.h"
#include "core/model/onnx.h"
#include "tests/unit/mask/weights.h"

struct onnx_case {
  char name[48]; /* of the mask, and what is unusual: "ahm", "ahm-keyed" */
  enum arch_norm norm;
  struct mask_options mask;
  bool keyed;
  uint32_t decoys; /* so many of the faces; 0 = none */
};

#define ONNX_CASES_MAX (MASK_METHODS + 8)

/* Where mask_rng_inference and embed_images see them: image i of a call is face i. */
struct onnx_faces {
  const uint8_t *(*image)(void *context, uint32_t i);
  void *context;
  uint32_t count; /* whole batches */
  uint32_t batch;
};

struct onnx_subject {
  struct model_info info;
  struct mask *mask;
  struct graph *graph; /* folded; forward only */
  struct onnx_faces faces;
  uint32_t threads;
};

static inline struct mask_key onnx_subject_key(void) {
  struct mask_key key;
  memset(&key, 5, sizeof(key));
  return key;
}

static inline struct onnx_case onnx_case_of(enum mask_method method, uint32_t size, const char *unusual) {
  struct onnx_case c = {.mask = mask_options_default(method, size)};
  c.mask.select = MASK_SELECT_ZIGZAG; /* nothing was learnt */
  (void)snprintf(c.name, sizeof(c.name), "%s%s%s", mask_traits(method)->name, *unusual ? "-" : "", unusual);
  return c;
}

/* Every mask, and what can be unusual about one. Returns how many. */
static inline uint32_t onnx_cases(uint32_t size, struct onnx_case ret_cases[ONNX_CASES_MAX]) {
  static const enum mask_method upsampled[] = {MASK_AHM, MASK_BLUR, MASK_PPFR_FD};
  uint32_t count = 0;
  for (enum mask_method method = 0; method < MASK_METHODS; method++)
    ret_cases[count++] = onnx_case_of(method, size, "");
  for (size_t i = 0; i < ARRAY_SIZE(upsampled); i++) {
    ret_cases[count] = onnx_case_of(upsampled[i], size, "upsampled");
    ret_cases[count++].mask.dct = MASK_DCT_UPSAMPLED;
  }
  ret_cases[count] = onnx_case_of(MASK_AHM, size, "group");
  ret_cases[count++].norm = ARCH_NORM_GROUP;
  ret_cases[count] = onnx_case_of(MASK_AHM, size, "keyed");
  ret_cases[count++].keyed = true;
  ret_cases[count] = onnx_case_of(MASK_AHM, size, "decoys");
  ret_cases[count++].decoys = 2;
  return count;
}

/* ---- the mask ---- */

static inline int onnx_subject_decoys(const struct onnx_subject *s, uint32_t count, struct guise_error *err) {
  const size_t elements = mask_elements(s->mask);
  float *templates = tensor_alloc(count * elements * sizeof(float)),
        *scratch = tensor_alloc(mask_scratch(s->mask) * sizeof(float));
  struct decoys *decoys = NULL;
  int r = templates && scratch ? 0 : error_set(err, -ENOMEM, "out of memory");
  for (uint32_t i = 0; r == 0 && i < count; i++) {
    struct rng rng;
    mask_rng_inference(&rng, i);
    mask_template(s->mask, s->faces.image(s->faces.context, i), false, &rng, scratch,
                  templates + i * elements);
  }
  if (r == 0)
    r = decoys_new(count, DECOY_MIXES, elements, templates, &decoys, err);
  if (r == 0)
    r = mask_set_decoys(s->mask, decoys, err);
  tensor_free(templates);
  tensor_free(scratch);
  return r;
}

static inline int onnx_subject_mask(struct onnx_subject *s, const struct onnx_case *c,
                                    struct guise_error *err) {
  const struct mask_key key = onnx_subject_key();
  int r = mask_new(&c->mask, &s->mask, err);
  if (r == 0)
    r = give_weights(s->mask, err);
  if (r == 0)
    r = mask_fit(s->mask, s->faces.image, s->faces.context, s->faces.count, err);
  if (r == 0 && c->keyed)
    r = mask_set_key(s->mask, &key, err);
  return r == 0 && c->decoys ? onnx_subject_decoys(s, c->decoys, err) : r;
}

/* ---- the network ---- */

/* Gains, biases and slopes that are not the initial ones either. */
static inline void onnx_subject_stir(struct graph *graph) {
  struct rng rng;
  rng_init(&rng, 5, RNG_SYNTH, 2, 2);
  for (uint32_t i = 0; i < graph_parameters(graph); i++) {
    struct graph_parameter *p = graph_parameter(graph, i);
    for (size_t k = 0; p->rank == 1 && !strstr(p->name, "running") && k < p->count; k++)
      p->value[k] += 0.2f * rng_normal(&rng);
  }
  graph_parameters_changed(graph);
}

static inline int onnx_subject_graph(const struct onnx_subject *s, bool folded, struct graph **ret_graph,
                                     struct guise_error *err) {
  const struct graph_config config = {
      .batch = s->faces.batch, .threads = s->threads, .seed = 3, .folded = folded};
  const struct arch_options options = model_arch_options(&s->info, s->mask);
  int r = graph_new(&config, ret_graph, err);
  if (r == 0)
    (void)arch_describe(*ret_graph, s->info.arch, &options);
  return r == 0 ? graph_build(*ret_graph, err) : r;
}

/* The template of face i as embed_images makes it, or its mix t. */
static inline void onnx_subject_template(const struct onnx_subject *s, uint32_t face, uint32_t t,
                                         float *scratch, float *ret_template) {
  struct rng rng;
  mask_rng_inference(&rng, face);
  mask_inference_template(s->mask, s->faces.image(s->faces.context, face), false, t, &rng, scratch,
                          ret_template);
}

/* Gives s->graph drawn weights and the statistics of all faces. */
static inline int onnx_subject_learn(const struct onnx_subject *s, struct guise_error *err) {
  struct graph *graph = NULL;
  float *scratch = tensor_alloc(mask_scratch(s->mask) * sizeof(float));
  int r = scratch ? onnx_subject_graph(s, false, &graph, err) : error_set(err, -ENOMEM, "out of memory");
  if (r == 0) {
    onnx_subject_stir(graph);
    graph_statistics_reset(graph);
  }
  for (uint32_t first = 0; r == 0 && first < s->faces.count; first += s->faces.batch) {
    for (uint32_t i = 0; i < s->faces.batch; i++)
      onnx_subject_template(s, first + i, 0, scratch, graph_input_data(graph) + i * mask_elements(s->mask));
    r = graph_forward(graph, GRAPH_STATISTICS, 0, err);
  }
  if (r == 0) {
    graph_statistics_finish(graph);
    r = graph_copy_parameters(s->graph, graph, err);
  }
  graph_free(graph);
  tensor_free(scratch);
  return r;
}

/* After the mask has changed. */
static inline int onnx_subject_network(struct onnx_subject *s, struct guise_error *err) {
  s->graph = graph_free(s->graph);
  s->info.constants = *mask_constants(s->mask);
  int r = onnx_subject_graph(s, true, &s->graph, err);
  return r == 0 ? onnx_subject_learn(s, err) : r;
}

/* ---- the whole ---- */

static inline void onnx_subject_free(struct onnx_subject *s) {
  s->graph = graph_free(s->graph);
  s->mask = mask_free(s->mask);
}

/* Free it also after an error. */
static inline int onnx_subject_make(enum arch arch, const struct onnx_case *c, uint32_t embedding,
                                    float width, const struct onnx_faces *faces, uint32_t threads,
                                    struct onnx_subject *ret_subject, struct guise_error *err) {
  struct onnx_subject *s = ret_subject;
  *s = (struct onnx_subject){.info = {.arch = arch,
                                      .input = c->mask.size,
                                      .embedding = embedding,
                                      .width = width,
                                      .dropout = 0.2f,
                                      .norm = c->norm,
                                      .mask = c->mask},
                             .faces = *faces,
                             .threads = threads};
  int r = onnx_subject_mask(s, c, err);
  if (r < 0)
    return r;
  s->info.decoys = mask_decoys(s->mask);
  s->info.weights = mask_weights(s->mask);
  (void)snprintf(s->info.key_id, sizeof(s->info.key_id), "%s", mask_keyed_by(s->mask));
  return onnx_subject_network(s, err);
}

/* model.onnx and model-template.onnx in this directory, as a job writes them: a mask that cannot be part of a
 * graph leaves both starting at the template. */
static inline int onnx_export(const struct graph *graph, const struct mask *mask,
                              const struct model_info *info, const char *directory, struct guise_error *err) {
  const enum onnx_start first = mask_is_exportable(mask) ? ONNX_IMAGE : ONNX_TEMPLATE;
  char path[4096];
  if (strlen(directory) > sizeof(path) - 40)
    return error_set(err, -ENAMETOOLONG, "the path %s is too long", directory);
  (void)snprintf(path, sizeof(path), "%s/model.onnx", directory);
  int r = model_save_onnx(path, graph, mask, info, first, NULL, err);
  (void)snprintf(path, sizeof(path), "%s/model-template.onnx", directory);
  return r < 0 ? r : model_save_onnx(path, graph, mask, info, ONNX_TEMPLATE, NULL, err);
}
