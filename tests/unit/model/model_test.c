/* The model container: what is saved embeds the same after loading; what does not fit is refused by name. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
// cmocka needs the four headers above
#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "core/base/file.h"
#include "core/base/memory.h"
#include "core/base/philox.h"
#include "core/mask/dctdp.h"
#include "core/mask/decoys.h"
#include "core/mask/key.h"
#include "core/model/embed.h"
#include "core/model/model.h"
#include "core/model/safetensors.h"
#include "unit/mask/weights.h"

#define SIZE 32
#define EMBEDDING 24
#define FACES 7
#define PIXELS ((size_t)SIZE * SIZE * 3)

static char directory[64], path[128], decoyed[128], damaged[128];
static uint8_t pixels[FACES][PIXELS];
static struct mask *mask;
static struct model_info info;
static struct graph *graph;

static const uint8_t *test_image(void *context, uint32_t i) {
  (void)context;
  return pixels[i];
}

static void draw_faces(void) {
  struct rng rng;
  rng_init(&rng, 1, RNG_SYNTH, 1, 1);
  for (uint32_t f = 0; f < FACES; f++)
    for (uint32_t i = 0; i < PIXELS; i++)
      pixels[f][i] = (uint8_t)((i * (f + 1) / 40 + rng_below(&rng, 60)) & 255);
}

static struct graph *new_graph(uint32_t batch, uint64_t seed) {
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

static int set_up(void **state) {
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

static int tear_down(void **state) {
  (void)state;
  graph_free(graph);
  mask_free(mask);
  return directory_remove(directory);
}

static void embed(struct graph *with, uint32_t batch, bool flip_sum, float *ret_embeddings) {
  struct guise_error err = {0};
  if (embed_images(with, mask, batch, EMBEDDING, test_image, NULL, FACES, flip_sum, ret_embeddings, NULL,
                   NULL, &err) != 0)
    fail_msg("%s", err.text);
}

static double cosine(const float *a, const float *b) {
  double sum = 0;
  for (int i = 0; i < EMBEDDING; i++)
    sum += (double)a[i] * (double)b[i];
  return sum;
}

static void loaded_model_embeds_the_same(void **state) {
  (void)state;
  float before[FACES * EMBEDDING], after[FACES * EMBEDDING], single[FACES * EMBEDDING];
  const uint8_t *rgb[FACES];
  struct guise_error err = {0};
  for (uint32_t batch = 1; batch <= 16; batch += 15) {
    _cleanup_(model_freep) struct model *model = NULL;
    if (model_load(path, batch, 2, &model, &err) != 0)
      fail_msg("%s", err.text);
    for (uint32_t i = 0; i < FACES; i++)
      rgb[i] = pixels[i];
    for (int flip = 0; flip < 2; flip++) {
      embed(graph, 4, flip == 1, before);
      assert_int_equal(model_embed(model, rgb, FACES, flip == 1, after, NULL), 0);
      for (uint32_t i = 0; i < FACES; i++) {
        assert_true(fabs(cosine(after + i * EMBEDDING, after + i * EMBEDDING) - 1) < 1e-5);
        assert_true(cosine(before + i * EMBEDDING, after + i * EMBEDDING) > 1 - 1e-5);
      }
    }
    assert_int_equal(model_embed(model, rgb + 2, 1, true, single, NULL), 0);
    assert_true(cosine(single, after + 2 * EMBEDDING) > 1 - 1e-5); /* whatever else is in the batch */
  }
}

static void information_comes_back(void **state) {
  (void)state;
  _cleanup_(model_freep) struct model *model = NULL;
  assert_int_equal(model_load(path, 1, 1, &model, NULL), 0);
  const struct model_info *back = &model->info;
  assert_int_equal(back->arch, info.arch);
  assert_int_equal(back->input, SIZE);
  assert_int_equal(back->embedding, EMBEDDING);
  assert_true(back->width == info.width && back->dropout == info.dropout);
  assert_int_equal(back->mask.method, MASK_AHM);
  assert_int_equal(back->mask.drop_low, 3);
  assert_int_equal(back->constants.channels, info.constants.channels);
  assert_memory_equal(back->constants.channel, info.constants.channel,
                      info.constants.channels * sizeof(uint16_t));
  assert_memory_equal(back->constants.mean, info.constants.mean, info.constants.channels * sizeof(float));
  assert_memory_equal(back->constants.deviation, info.constants.deviation,
                      info.constants.channels * sizeof(float));
  assert_true(back->constants.clip == info.constants.clip);
  assert_true(back->constants.pixel_scale == info.constants.pixel_scale);
  assert_string_equal(back->training.job, "job_1");
  assert_string_equal(back->training.dataset, info.training.dataset);
  assert_true(back->training.steps == 1ull << 40);
  assert_int_equal(back->training.images, FACES);
}

/* Method, transform, seed, numbers and all constants, so that a loaded model masks as it was trained. */
static void mask_comes_back(enum mask_method method) {
  const struct mask_traits *traits = mask_traits(method);
  _cleanup_(model_freep) struct model *model = NULL;
  struct guise_error err = {0};
  struct model_info written = info;
  struct graph *small = NULL;
  struct mask *one = NULL;
  written.arch = traits->located ? ARCH_FREQ_IR : ARCH_FREQ_CONV;
  written.width = 0.25f;
  written.mask = mask_options_default(method, SIZE);
  written.mask.seed = 1ull << 40;
  if (traits->parameter_count > 0)
    written.mask.parameter[0] = 0.3;
  if (method == MASK_DCTDP)
    written.mask.parameter[DCTDP_LEARNT] = 1;
  assert_int_equal(mask_new(&written.mask, &one, &err), 0);
  if (mask_learns(&written.mask)) {
    float gates[192];
    for (uint32_t c = 0; c < 192; c++)
      gates[c] = (float)(41 * c % 192) / 192;
    assert_int_equal(mask_set_learnt(one, gates, 192, &err), 0);
  }
  assert_int_equal(give_weights(one, NULL), 0);
  assert_int_equal(mask_fit(one, test_image, NULL, FACES, &err), 0);
  written.constants = *mask_constants(one);
  written.weights = mask_weights(one);
  struct graph_config config = {.batch = 1, .threads = 1, .seed = 3};
  struct arch_options options = arch_options_for(one, EMBEDDING, written.width, written.dropout);
  assert_int_equal(graph_new(&config, &small, &err), 0);
  (void)arch_describe(small, written.arch, &options);
  assert_int_equal(graph_build(small, &err), 0);
  assert_int_equal(model_save(damaged, small, &written, &err), 0);
  if (model_load(damaged, 1, 1, &model, &err) < 0)
    fail_msg("%s: %s", traits->name, err.text);
  assert_int_equal(model->info.mask.method, method);
  assert_true(model->info.mask.seed == written.mask.seed);
  for (uint32_t i = 0; i < traits->parameter_count; i++)
    assert_true((float)model->info.mask.parameter[i] == (float)written.mask.parameter[i]);
  assert_memory_equal(mask_constants(model->mask), &written.constants, sizeof(written.constants));
  const size_t weights = mask_weight_count(&written.mask);
  if (weights > 0) {
    assert_memory_equal(mask_weights(model->mask), written.weights, weights * sizeof(float));
    assert_ptr_equal(model->info.weights, mask_weights(model->mask));
    written.weights = NULL; /* a file without them is damaged */
    model = model_free(model);
    assert_int_equal(model_save(damaged, small, &written, &err), 0);
    assert_int_equal(model_load(damaged, 1, 1, &model, &err), -EBADMSG);
  }
  graph_free(small);
  mask_free(one);
}

static void every_mask_comes_back(void **state) {
  (void)state;
  for (int method = 0; method < MASK_METHODS; method++)
    mask_comes_back((enum mask_method)method);
}

/* Both flips: the raw embeddings are added, then scaled. Mirrored images must give the same sum. */
static void flip_sum_is_symmetric(void **state) {
  (void)state;
  float straight[FACES * EMBEDDING], mirrored[FACES * EMBEDDING], one[FACES * EMBEDDING];
  static uint8_t saved[FACES][PIXELS];
  embed(graph, 4, true, straight);
  embed(graph, 4, false, one);
  memcpy(saved, pixels, sizeof(pixels));
  for (uint32_t f = 0; f < FACES; f++)
    for (uint32_t y = 0; y < SIZE; y++)
      for (uint32_t x = 0; x < SIZE; x++)
        memcpy(&pixels[f][(y * SIZE + x) * 3], &saved[f][(y * SIZE + SIZE - 1 - x) * 3], 3);
  embed(graph, 4, true, mirrored);
  memcpy(pixels, saved, sizeof(pixels));
  for (uint32_t i = 0; i < FACES; i++) {
    assert_true(cosine(straight + i * EMBEDDING, mirrored + i * EMBEDDING) > 1 - 1e-5);
    assert_true(cosine(straight + i * EMBEDDING, one + i * EMBEDDING) < 1 - 1e-4);
  }
}

static bool stop_second(void *count) {
  return (*(uint32_t *)count)++ == 1;
}

static void embedding_stops_and_refuses(void **state) {
  (void)state;
  float out[FACES * EMBEDDING];
  uint32_t asked = 0;
  assert_int_equal(
      embed_images(graph, mask, 4, EMBEDDING, test_image, NULL, FACES, false, out, stop_second, &asked, NULL),
      -ECANCELED);
  assert_int_equal(asked, 2);
  assert_int_equal(
      embed_images(graph, mask, 0, EMBEDDING, test_image, NULL, FACES, false, out, NULL, NULL, NULL),
      -EINVAL);
  struct graph *broken = new_graph(4, 1);
  struct graph_parameter *p = graph_parameter(broken, graph_parameters(broken) - 1);
  struct guise_error err = {0};
  for (size_t i = 0; i < p->count; i++)
    p->value[i] = NAN;
  graph_parameters_changed(broken);
  assert_int_equal(
      embed_images(broken, mask, 4, EMBEDDING, test_image, NULL, FACES, false, out, NULL, NULL, &err), -EDOM);
  graph_free(broken);
}

static void no_class_head_and_no_names(void **state) {
  (void)state;
  struct safetensors *file = NULL;
  assert_int_equal(safetensors_open(path, &file, NULL), 0);
  assert_int_equal(safetensors_count(file), graph_parameters(graph) + 3);
  for (uint32_t i = 0; i < safetensors_count(file); i++)
    assert_null(strstr(safetensors_at(file, i)->name, "head"));
  assert_string_equal(json_string_value(json_object_get(safetensors_metadata(file), "format")),
                      "guise-model-1");
  safetensors_free(file);
}

/* Writes the model again with one metadata entry or one tensor changed. */
struct damage {
  const char *key, *value; /* metadata: value NULL removes it */
  const char *tensor;      /* this one is dropped, or changed as follows */
  bool transpose, relabel, nan, shift;
};

static int load_damaged(const char *whole, const struct damage *damage, struct guise_error *err) {
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

static void damaged_models_are_refused(void **state) {
  (void)state;
  const char *weight = graph_parameter(graph, 0)->name;
  const struct damage cases[] = {
      {.key = "format", .value = "guise-model-2"},
      {.key = "format"},
      {.key = "arch", .value = "resnet9000"},
      {.key = "mask", .value = "paint"},
      {.key = "input", .value = "33"},
      {.key = "input", .value = "1000000"},
      {.key = "input", .value = "-32"},
      {.key = "input", .value = "32 "},
      {.key = "input"},
      {.key = "embedding", .value = "0"},
      {.key = "embedding", .value = "23"},
      {.key = "embedding", .value = "99999999999999999999999"},
      {.key = "width", .value = "nan"},
      {.key = "width", .value = "1"},
      {.key = "width", .value = "1e9"},
      {.key = "dropout", .value = "1"},
      {.key = "mask.drop_low", .value = "61"},
      {.key = "mask.clip", .value = "inf"},
      {.key = "mask.pixel_scale", .value = "0"},
      {.tensor = weight},
      {.tensor = weight, .transpose = true},
      {.tensor = weight, .relabel = true},
      {.tensor = weight, .nan = true},
      {.tensor = "mask.mean"},
      {.tensor = "mask.mean", .nan = true},
      {.tensor = "mask.deviation", .nan = true},
      {.tensor = "mask.deviation", .transpose = true},
      {.tensor = "mask.channel", .relabel = true},
      {.tensor = "mask.channel", .shift = true},
      {.tensor = "mask.channel"},
  };
  for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
    struct guise_error err = {0};
    int r = load_damaged(path, &cases[i], &err);
    if (r != -EBADMSG)
      fail_msg("case %zu (%s%s): %d %s", i, cases[i].key ? cases[i].key : "",
               cases[i].tensor ? cases[i].tensor : "", r, err.text);
    assert_true(strlen(err.text) > 10);
  }
  const struct damage harmless = {.key = "training.job"};
  assert_int_equal(load_damaged(path, &harmless, NULL), 0);
}

/* Models of before do not say how faces were mixed, and load all the same; so do those that say it wrongly.
 */
static void mixing_comes_back(void **state) {
  (void)state;
  struct model_info with = info;
  struct guise_error err = {0};
  const struct damage harmless[] = {{.key = "mix.format"},
                                    {.key = "mix.format", .value = "2"},
                                    {.key = "mix.probability", .value = "1 1 0 0 0"},
                                    {.key = "mix.unmixed", .value = "-1"}};
  with.mixing =
      (struct mask_mixing){.mixes = true, .unmixed = 0.3f, .probability = {0, 0, 0.1f, 0.2f, 0, 0, 0.7f}};
  if (model_save(decoyed, graph, &with, &err) != 0)
    fail_msg("%s", err.text);
  for (size_t i = 0; i <= ARRAY_SIZE(harmless); i++) {
    _cleanup_(model_freep) struct model *model = NULL;
    if (i < ARRAY_SIZE(harmless)) {
      assert_int_equal(load_damaged(decoyed, &harmless[i], NULL), 0);
      continue;
    }
    assert_int_equal(model_load(decoyed, 1, 1, &model, NULL), 0);
    assert_memory_equal(&model->info.mixing, &with.mixing, sizeof(with.mixing));
  }
  _cleanup_(model_freep) struct model *model = NULL;
  assert_int_equal(model_load(path, 1, 1, &model, NULL), 0);
  assert_false(model->info.mixing.mixes);
}

/* ---- decoys ---- */

/* Two faces of the set as decoys; the mask owns them until it gets others or none. */
static void set_decoys(struct mask *of, uint32_t mixes) {
  const size_t elements = mask_elements(of);
  float *templates = tensor_alloc(2 * elements * sizeof(float)),
        *scratch = tensor_alloc(mask_scratch(of) * sizeof(float));
  struct decoys *decoys = NULL;
  for (uint32_t d = 0; d < 2; d++)
    mask_template(of, pixels[5 + d], false, NULL, scratch, templates + d * elements);
  assert_int_equal(decoys_new(2, mixes, elements, templates, &decoys, NULL), 0);
  assert_int_equal(mask_set_decoys(of, decoys, NULL), 0);
  tensor_free(templates);
  tensor_free(scratch);
}

static void save_with_decoys(void) {
  struct guise_error err = {0};
  set_decoys(mask, 3);
  struct model_info with = info;
  with.decoys = mask_decoys(mask);
  if (model_save(decoyed, graph, &with, &err) != 0)
    fail_msg("%s", err.text);
}

/* The embedding of face `f` written out: each view's mixes, made from the plain templates, run alone and
 * normalised, then their sum normalised. */
static void embed_by_hand(const struct decoys *decoys, uint32_t f, bool flip_sum, float *ret_embedding) {
  const size_t elements = mask_elements(mask);
  float *plain = tensor_alloc(elements * sizeof(float)),
        *scratch = tensor_alloc(mask_scratch(mask) * sizeof(float));
  double sum[EMBEDDING] = {0}, length = 0;
  for (int flip = 0; flip <= flip_sum; flip++)
    for (uint32_t t = 0; t < decoys->mixes; t++) {
      struct mix mix;
      double squares = 0;
      mask_template(mask, pixels[f], flip == 1, NULL, scratch, plain);
      decoys_draw(decoys, decoys_seed(pixels[f], PIXELS), flip == 1, t, &mix);
      float *input = graph_input_data(graph);
      memset(input, 0, 4 * elements * sizeof(float));
      for (size_t e = 0; e < elements; e++) {
        input[e] = mix.lambda[0] * plain[e];
        for (uint32_t j = 1; j < mix.k; j++)
          input[e] += mix.lambda[j] * decoys->templates[mix.member[j] * elements + e];
      }
      assert_int_equal(graph_forward(graph, GRAPH_EVAL, 0, NULL), 0);
      for (int d = 0; d < EMBEDDING; d++)
        squares += (double)graph_output_data(graph)[d] * (double)graph_output_data(graph)[d];
      for (int d = 0; d < EMBEDDING; d++)
        sum[d] += (double)graph_output_data(graph)[d] / sqrt(squares);
    }
  for (int d = 0; d < EMBEDDING; d++)
    length += sum[d] * sum[d];
  for (int d = 0; d < EMBEDDING; d++)
    ret_embedding[d] = (float)(sum[d] / sqrt(length));
  tensor_free(plain);
  tensor_free(scratch);
}

static void decoys_are_mixed_in(void **state) {
  (void)state;
  float without[FACES * EMBEDDING], with[FACES * EMBEDDING], loaded[FACES * EMBEDDING], want[EMBEDDING];
  const uint8_t *rgb[FACES];
  struct guise_error err = {0};
  _cleanup_(model_freep) struct model *model = NULL;
  for (uint32_t i = 0; i < FACES; i++)
    rgb[i] = pixels[i];
  embed(graph, 4, false, without);
  save_with_decoys();
  if (model_load(decoyed, 1, 1, &model, &err) != 0)
    fail_msg("%s", err.text);
  const struct decoys *back = mask_decoys(model->mask), *sent = mask_decoys(mask);
  assert_non_null(back);
  assert_ptr_equal(model->info.decoys, back);
  assert_int_equal(back->count, 2);
  assert_int_equal(back->mixes, 3);
  assert_memory_equal(back->templates, sent->templates, 2 * sent->elements * sizeof(float));
  for (int flip = 0; flip < 2; flip++) {
    embed(graph, 4, flip == 1, with);
    assert_int_equal(model_embed(model, rgb, FACES, flip == 1, loaded, NULL), 0);
    for (uint32_t f = 0; f < FACES; f++) {
      embed_by_hand(sent, f, flip == 1, want);
      assert_true(cosine(with + f * EMBEDDING, want) > 1 - 1e-5);
      assert_true(cosine(loaded + f * EMBEDDING, want) > 1 - 1e-5); /* wherever it stands in a batch */
      assert_true(flip == 1 || cosine(without + f * EMBEDDING, want) < 1 - 1e-4);
    }
  }
  assert_int_equal(mask_set_decoys(mask, NULL, NULL), 0);
}

static void damaged_decoys_are_refused(void **state) {
  (void)state;
  static const struct damage cases[] = {
      {.key = "mask.decoys"},
      {.key = "mask.decoys", .value = "0"},
      {.key = "mask.decoys", .value = "1"},
      {.key = "mask.decoys", .value = "3"},
      {.key = "mask.decoys", .value = "17"},
      {.key = "mask.decoys", .value = "4294967298"},
      {.key = "mask.decoy_mixes"},
      {.key = "mask.decoy_mixes", .value = "0"},
      {.key = "mask.decoy_mixes", .value = "1000000"},
      {.key = "mask.drop_low", .value = "4"}, /* other templates */
      {.tensor = "mask.decoys"},
      {.tensor = "mask.decoys", .transpose = true},
      {.tensor = "mask.decoys", .relabel = true},
      {.tensor = "mask.decoys", .nan = true},
  };
  save_with_decoys();
  assert_int_equal(mask_set_decoys(mask, NULL, NULL), 0);
  for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
    struct guise_error err = {0};
    int r = load_damaged(decoyed, &cases[i], &err);
    if (r != -EBADMSG)
      fail_msg("case %zu: %d %s", i, r, err.text);
    assert_true(strlen(err.text) > 10);
  }
  const struct damage added = {.key = "mask.decoys", .value = "2"}; /* to a model that has none */
  assert_int_equal(load_damaged(path, &added, NULL), -EBADMSG);
}

/* The network undoes the key, whatever it is: the same weights under two keys embed alike. Without its key a
 * model does not load, and nothing of the key is in its file. */
static void keyed_models_need_their_key(void **state) {
  (void)state;
  float without[FACES * EMBEDDING], with[FACES * EMBEDDING], loaded[FACES * EMBEDDING];
  const uint8_t *rgb[FACES];
  struct guise_error err = {0};
  struct mask_key key, other;
  _cleanup_(model_freep) struct model *model = NULL;
  memset(&key, 5, sizeof(key));
  memset(&other, 6, sizeof(other));
  for (uint32_t i = 0; i < FACES; i++)
    rgb[i] = pixels[i];
  embed(graph, 4, false, without);
  assert_int_equal(mask_set_key(mask, &key, NULL), 0);
  struct graph *keyed = new_graph(4, 3);
  embed(keyed, 4, false, with);
  assert_memory_equal(without, with, sizeof(with));
  struct model_info named = info;
  mask_key_id(&key, named.key_id);
  assert_int_equal(model_save(damaged, keyed, &named, NULL), 0);
  assert_int_equal(mask_set_key(mask, NULL, NULL), 0);
  graph_free(keyed);
  assert_int_equal(model_load(damaged, 1, 1, &model, &err), -ENOKEY);
  assert_non_null(strstr(err.text, named.key_id));
  assert_int_equal(model_load_keyed(damaged, &other, 1, 1, &model, &err), -ENOKEY);
  assert_int_equal(model_load_keyed(path, &key, 1, 1, &model, &err), -EINVAL);
  assert_null(model);
  if (model_load_keyed(damaged, &key, 4, 1, &model, &err) != 0)
    fail_msg("%s", err.text);
  assert_string_equal(mask_keyed_by(model->mask), named.key_id);
  assert_int_equal(model_embed(model, rgb, FACES, false, loaded, &err), 0);
  for (uint32_t i = 0; i < FACES; i++)
    assert_true(cosine(loaded + i * EMBEDDING, with + i * EMBEDDING) > 0.9999);
  char *a = NULL, *b = NULL;
  size_t bytes = 0, more = 0;
  assert_int_equal(file_read(path, 1u << 26, &a, &bytes, NULL), 0);
  assert_int_equal(file_read(damaged, 1u << 26, &b, &more, NULL), 0);
  /* the same tensors, to the byte; the head tells the key's id alone */
  const size_t tail = bytes - 65536;
  assert_true(bytes > 131072 && more > bytes - 8);
  assert_memory_equal(a + tail, b + more - 65536, 65536);
  assert_null(memmem(b, more, key.secret, sizeof(key.secret)));
  free(a);
  free(b);
}

static void other_files_are_refused(void **state) {
  (void)state;
  struct model *model = NULL;
  struct guise_error err;
  assert_int_equal(model_load("/nonexistent", 1, 1, &model, &err), -ENOENT);
  assert_int_equal(model_load(path, 0, 1, &model, &err), -EINVAL);
  assert_int_equal(safetensors_write(damaged, NULL, 0, NULL, NULL), 0);
  assert_int_equal(model_load(damaged, 1, 1, &model, &err), -EBADMSG);
  assert_null(model);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(loaded_model_embeds_the_same),
      cmocka_unit_test(information_comes_back),
      cmocka_unit_test(mixing_comes_back),
      cmocka_unit_test(every_mask_comes_back),
      cmocka_unit_test(flip_sum_is_symmetric),
      cmocka_unit_test(embedding_stops_and_refuses),
      cmocka_unit_test(no_class_head_and_no_names),
      cmocka_unit_test(damaged_models_are_refused),
      cmocka_unit_test(decoys_are_mixed_in),
      cmocka_unit_test(damaged_decoys_are_refused),
      cmocka_unit_test(keyed_models_need_their_key),
      cmocka_unit_test(other_files_are_refused),
  };
  return cmocka_run_group_tests(tests, set_up, tear_down);
}
