/* A small model in a file, the graph and the mask that it was made of, and files of it that are damaged. */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/file.h"
#include "core/base/philox.h"
#include "core/model/embed.h"
#include "core/model/model.h"
#include "core/model/safetensors.h"

#define SIZE 32
#define EMBEDDING 24
#define FACES 7
#define PIXELS ((size_t)SIZE * SIZE * 3)

static char directory[64], path[128], decoyed[128], damaged[128];
static uint8_t pixels[FACES][PIXELS];
static struct mask *mask;
static struct model_info info;
static struct graph *graph;

static inline const uint8_t *test_image(void *context, uint32_t i) {
  (void)context;
  return pixels[i];
}

static inline void draw_faces(void) {
  struct rng rng;
  rng_init(&rng, 1, RNG_SYNTH, 1, 1);
  for (uint32_t f = 0; f < FACES; f++)
    for (uint32_t i = 0; i < PIXELS; i++)
      pixels[f][i] = (uint8_t)((i * (f + 1) / 40 + rng_below(&rng, 60)) & 255);
}

static inline struct graph *new_graph(uint32_t batch, uint64_t seed) {
  struct graph *made = NULL;
  struct graph_config config = {.batch = batch, .threads = 2, .seed = seed};
  struct arch_options options = arch_options_for(mask, info.embedding, info.width, info.dropout);
  struct guise_error err = {0};
  if (graph_new(&config, &made, &err) != 0)
    fail_msg("%s", err.text);
  (void)arch_describe(made, info.arch, &options);
  if (graph_build(made, &err) != 0)
    fail_msg("%s", err.text);
  return made;
}

static inline int set_up(void **state) {
  (void)state;
  struct guise_error err = {0};
  draw_faces();
  (void)snprintf(directory, sizeof(directory), "/tmp/guise-model-XXXXXX");
  if (!mkdtemp(directory))
    return -1;
  (void)snprintf(path, sizeof(path), "%s/model.safetensors", directory);
  (void)snprintf(decoyed, sizeof(decoyed), "%s/decoyed.safetensors", directory);
  (void)snprintf(damaged, sizeof(damaged), "%s/damaged.safetensors", directory);
  const struct mask_options options = mask_options_default(MASK_AHM, SIZE);
  if (mask_new(&options, &mask, &err) != 0 || mask_fit(mask, test_image, NULL, FACES, &err) != 0)
    fail_msg("%s", err.text);
  info = (struct model_info){
      .arch = ARCH_FREQ_IR,
      .input = SIZE,
      .embedding = EMBEDDING,
      .width = 0.5f,
      .dropout = 0.2f,
      .mask = options,
      .constants = *mask_constants(mask),
      .training = {.identities = 3, .images = FACES, .epochs = 2, .steps = 1ull << 40, .seed = 9}};
  (void)snprintf(info.training.job, sizeof(info.training.job), "job_1");
  (void)snprintf(info.training.dataset, sizeof(info.training.dataset), "faces \u00e9 \"x\"");
  graph = new_graph(4, 3);
  if (model_save(path, graph, &info, &err) != 0)
    fail_msg("%s", err.text);
  return 0;
}

static inline int tear_down(void **state) {
  (void)state;
  graph_free(graph);
  mask_free(mask);
  return directory_remove(directory);
}

static inline void embed(struct graph *with, uint32_t batch, bool flip_sum, float *ret_embeddings) {
  struct guise_error err = {0};
  if (embed_images(with, mask, batch, EMBEDDING, test_image, NULL, FACES, flip_sum, ret_embeddings, NULL,
                   NULL, &err) != 0)
    fail_msg("%s", err.text);
}

static inline const uint8_t *counted_image(void *asked, uint32_t i) {
  (void)atomic_fetch_add((atomic_uint *)asked, 1);
  return test_image(NULL, i);
}

/* One view and both at once: the same bytes as one after the other, for two thirds of the work. */
static inline void check_both(uint32_t mixes) {
  float one[FACES * EMBEDDING], sum[FACES * EMBEDDING], want[FACES * EMBEDDING];
  struct guise_error err = {0};
  atomic_uint asked = 0;
  if (embed_both(graph, mask, 4, EMBEDDING, counted_image, &asked, FACES, one, sum, NULL, NULL, &err) != 0)
    fail_msg("%s", err.text);
  assert_int_equal(atomic_load(&asked), 2 * FACES * mixes);
  embed(graph, 4, false, want);
  assert_memory_equal(one, want, sizeof(want));
  embed(graph, 4, true, want);
  assert_memory_equal(sum, want, sizeof(want));
}

static inline double cosine(const float *a, const float *b) {
  double sum = 0;
  for (int i = 0; i < EMBEDDING; i++)
    sum += (double)a[i] * (double)b[i];
  return sum;
}

/* Writes the model again with one metadata entry or one tensor changed. */
struct damage {
  const char *key, *value; /* metadata: value NULL removes it */
  const char *tensor;      /* this one is dropped, or changed as follows */
  bool transpose, relabel, nan, shift;
};

static inline int load_damaged(const char *whole, const struct damage *damage, struct guise_error *err) {
  struct safetensors *file = NULL;
  assert_int_equal(safetensors_open(whole, &file, NULL), 0);
  json_t *metadata = json_deep_copy(safetensors_metadata(file));
  struct safetensor tensors[512];
  uint32_t count = 0;
  float *copy = NULL;
  if (damage->key && damage->value)
    assert_int_equal(json_object_set_new(metadata, damage->key, json_string(damage->value)), 0);
  else if (damage->key)
    assert_int_equal(json_object_del(metadata, damage->key), 0);
  for (uint32_t i = 0; i < safetensors_count(file); i++) {
    struct safetensor tensor = *safetensors_at(file, i);
    bool hit = damage->tensor && strcmp(tensor.name, damage->tensor) == 0;
    if (hit && !damage->transpose && !damage->relabel && !damage->nan && !damage->shift)
      continue;
    if (hit && damage->transpose) {
      uint64_t first = tensor.shape[0];
      tensor.shape[0] = tensor.shape[tensor.rank - 1];
      tensor.shape[tensor.rank - 1] = first;
      if (tensor.rank == 1)
        tensor.shape[tensor.rank++] = 1;
    }
    if (hit && damage->relabel)
      tensor.dtype = strcmp(tensor.dtype, "F32") == 0 ? "U32" : "F32";
    if (hit && (damage->nan || damage->shift)) {
      copy = malloc(tensor.bytes);
      memcpy(copy, tensor.data, tensor.bytes);
      if (damage->nan)
        copy[0] = NAN;
      else
        memset(copy, 0xff, 4); /* a channel number of four billion */
      tensor.data = copy;
    }
    tensors[count++] = tensor;
  }
  assert_int_equal(safetensors_write(damaged, tensors, count, metadata, NULL), 0);
  json_decref(metadata);
  free(copy);
  safetensors_free(file);
  struct model *model = NULL;
  int r = model_load(damaged, 1, 1, &model, err);
  model_free(model);
  return r;
}
