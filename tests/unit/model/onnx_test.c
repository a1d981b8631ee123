/* The ONNX files: read back with protobuf and evaluated operator by operator they give the engine's
 * embeddings, for every architecture and mask; their structure is what the documentation promises; what
 * cannot be exported is refused by name. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
// cmocka needs the four headers above
#include <cmocka.h>
#include <stdio.h>
#include <unistd.h>

#include "core/base/philox.h"
#include "core/freq/dct.h"
#include "core/mask/decoys.h"
#include "core/mask/key.h"
#include "core/model/embed.h"
#include "core/model/onnx.h"
#include "core/nn/visit.h"
#include "unit/mask/weights.h"
#include "unit/model/onnx_reference.h"

#define SIZE 32
#define EMBEDDING 16
#define FACES 3
#define PIXELS ((size_t)SIZE * SIZE * 3)

static char directory[64], path[128];
static uint8_t pixels[FACES][PIXELS];

static const uint8_t *test_image(void *context, uint32_t i) {
  (void)context;
  return pixels[i];
}

static int set_up(void **state) {
  struct rng rng;
  (void)state;
  rng_init(&rng, 1, RNG_SYNTH, 1, 1);
  for (uint32_t f = 0; f < FACES; f++)
    for (uint32_t i = 0; i < PIXELS; i++)
      pixels[f][i] = (uint8_t)((i * (f + 1) / 40 + rng_below(&rng, 60)) & 255);
  (void)snprintf(directory, sizeof(directory), "/tmp/guise-onnx-XXXXXX");
  if (!mkdtemp(directory))
    return -1;
  (void)snprintf(path, sizeof(path), "%s/model.onnx", directory);
  return 0;
}

static int tear_down(void **state) {
  (void)state;
  return directory_remove(directory);
}

/* A network of random weights that tells the faces apart: its statistics are those of the faces. Gains,
 * biases and slopes are not the initial ones either. */
struct subject {
  struct model_info info;
  struct mask *mask;
  struct graph *graph;
};

static void stir(struct graph *graph) {
  struct rng rng;
  rng_init(&rng, 5, RNG_SYNTH, 2, 2);
  for (uint32_t i = 0; i < graph_parameters(graph); i++) {
    struct graph_parameter *p = graph_parameter(graph, i);
    for (size_t k = 0; p->rank == 1 && !strstr(p->name, "running") && k < p->count; k++)
      p->value[k] += 0.2f * rng_normal(&rng);
  }
  graph_parameters_changed(graph);
}

static struct graph *new_graph(const struct subject *s, bool folded) {
  const struct graph_config config = {.batch = FACES, .threads = 2, .seed = 3, .folded = folded};
  struct arch_options options = arch_options_for(s->mask, s->info.embedding, s->info.width, s->info.dropout);
  struct guise_error err = {0};
  struct graph *graph = NULL;
  options.norm = s->info.norm;
  assert_int_equal(graph_new(&config, &graph, &err), 0);
  (void)arch_describe(graph, s->info.arch, &options);
  if (graph_build(graph, &err) != 0)
    fail_msg("%s", err.text);
  return graph;
}

/* As embed_images makes it, draws included. */
static void make_template(const struct subject *s, uint32_t face, float *scratch, float *ret_template) {
  struct rng rng;
  mask_rng_inference(&rng, face);
  mask_template(s->mask, pixels[face], false, &rng, scratch, ret_template);
  mask_after_mix(s->mask, &rng, scratch, ret_template);
}

static void learn_statistics(const struct subject *s) {
  struct graph *graph = new_graph(s, false);
  float *scratch = calloc(mask_scratch(s->mask), sizeof(float));
  struct guise_error err = {0};
  assert_non_null(scratch);
  stir(graph);
  for (uint32_t f = 0; f < FACES; f++)
    make_template(s, f, scratch, graph_input_data(graph) + f * mask_elements(s->mask));
  graph_statistics_reset(graph);
  assert_int_equal(graph_forward(graph, GRAPH_STATISTICS, 0, &err), 0);
  graph_statistics_finish(graph);
  assert_int_equal(graph_copy_parameters(s->graph, graph, &err), 0);
  graph_free(graph);
  free(scratch);
}

static struct subject make_subject_with(enum arch arch, enum arch_norm norm,
                                        const struct mask_options *mask) {
  struct subject s = {.mask = NULL};
  struct guise_error err = {0};
  int r = mask_new(mask, &s.mask, &err);
  if (r == 0)
    give_weights(s.mask);
  if (r == 0)
    r = mask_fit(s.mask, test_image, NULL, FACES, &err);
  assert_int_equal(r, 0);
  s.info = (struct model_info){.arch = arch,
                               .input = SIZE,
                               .embedding = EMBEDDING,
                               .width = 0.25f,
                               .dropout = 0.2f,
                               .norm = norm,
                               .mask = *mask,
                               .constants = *mask_constants(s.mask)};
  s.graph = new_graph(&s, true);
  learn_statistics(&s);
  return s;
}

static struct subject make_subject(enum arch arch, const struct mask_options *mask) {
  return make_subject_with(arch, ARCH_NORM_BATCH, mask);
}

static void free_subject(struct subject *s) {
  graph_free(s->graph);
  mask_free(s->mask);
}

static void save(const struct subject *s, enum onnx_start start, const json_t *metadata) {
  struct guise_error err = {0};
  if (model_save_onnx(path, s->graph, s->mask, &s->info, start, metadata, &err) != 0)
    fail_msg("%s", err.text);
}

/* (FACES,3,SIZE,SIZE) or (FACES,C,G,G) */
static float *make_input(const struct subject *s, enum onnx_start start) {
  const size_t plane = (size_t)SIZE * SIZE,
               elements = start == ONNX_IMAGE ? 3 * plane : mask_elements(s->mask);
  float *input = calloc(FACES * elements, sizeof(float)),
        *scratch = calloc(mask_scratch(s->mask), sizeof(float));
  assert_non_null(input);
  assert_non_null(scratch);
  for (uint32_t f = 0; f < FACES; f++)
    if (start == ONNX_IMAGE)
      for (size_t i = 0; i < 3 * plane; i++)
        input[f * elements + i] = pixels[f][i % plane * 3 + i / plane];
    else
      make_template(s, f, scratch, input + f * elements);
  free(scratch);
  return input;
}

static void compare(const struct subject *s, enum onnx_start start) {
  float expected[FACES * EMBEDDING];
  struct guise_error err = {0};
  if (embed_images(s->graph, s->mask, FACES, EMBEDDING, test_image, NULL, FACES, false, expected, NULL, NULL,
                   &err) != 0)
    fail_msg("%s", err.text);
  save(s, start, NULL);
  struct interpreter *in = open_onnx(path);
  float *input = make_input(s, start);
  const struct tensor *got = run_onnx(in, FACES, input);
  assert_int_equal(got->rank, 2);
  assert_int_equal(got->shape[0], FACES);
  assert_int_equal(got->shape[1], EMBEDDING);
  for (size_t f = 0; f < FACES; f++) {
    double cosine = 0, length = 0;
    for (size_t i = f * EMBEDDING; i < (f + 1) * EMBEDDING; i++) {
      cosine += (double)expected[i] * (double)got->values[i];
      length += (double)got->values[i] * (double)got->values[i];
    }
    if (!(cosine > 1 - 1e-5) || fabs(length - 1) > 1e-5)
      fail_msg("%s, %s, face %zu: cosine %.8f, length %.8f", arch_name(s->info.arch),
               mask_traits(s->info.mask.method)->name, f, cosine, length);
  }
  /* the comparison means something: the faces are not all the same to this network */
  double between = 0;
  for (size_t i = 0; i < EMBEDDING; i++)
    between += (double)expected[i] * (double)expected[EMBEDDING + i];
  assert_true(between < 0.99);
  free(input);
  close_onnx(in);
}

static void same_embeddings_for_every_architecture(void **state) {
  (void)state;
  const struct mask_options ahm = mask_options_default(MASK_AHM, SIZE);
  for (enum arch arch = 0; arch < ARCHS; arch++) {
    struct subject s = make_subject(arch, &ahm);
    compare(&s, ONNX_IMAGE);
    free_subject(&s);
  }
}

static void same_embeddings_with_group_norms(void **state) {
  (void)state;
  const struct mask_options ahm = mask_options_default(MASK_AHM, SIZE);
  for (enum arch arch = 0; arch < ARCHS; arch++) {
    struct subject s = make_subject_with(arch, ARCH_NORM_GROUP, &ahm);
    compare(&s, ONNX_IMAGE);
    free_subject(&s);
  }
}

static void same_embeddings_for_every_mask(void **state) {
  (void)state;
  uint32_t exported = 0;
  for (enum mask_method method = 0; method < MASK_METHODS; method++) {
    struct mask_options options = mask_options_default(method, SIZE);
    options.select = MASK_SELECT_ZIGZAG; /* nothing was learnt */
    struct subject s = make_subject(ARCH_FREQ_CONV, &options);
    if (mask_is_exportable(s.mask)) {
      compare(&s, ONNX_IMAGE);
      exported++;
    }
    compare(&s, ONNX_TEMPLATE);
    free_subject(&s);
  }
  assert_true(exported >= 3);
}

static void same_embeddings_of_upsampled_templates(void **state) {
  (void)state;
  struct mask_options options = mask_options_default(MASK_AHM, SIZE);
  options.dct = MASK_DCT_UPSAMPLED;
  struct subject s = make_subject(ARCH_FREQ_IR, &options);
  compare(&s, ONNX_IMAGE);
  free_subject(&s);
}

/* The first layer is in the key's order; a graph cannot make keyed templates. */
static void keyed_templates(void **state) {
  (void)state;
  static const enum arch networks[] = {ARCH_FREQ_IR, ARCH_FREQ_CONV};
  struct guise_error err = {0};
  struct mask_key key;
  memset(&key, 5, sizeof(key));
  for (size_t i = 0; i < ARRAY_SIZE(networks); i++) {
    const struct mask_options options = mask_options_default(MASK_AHM, SIZE);
    struct subject s = make_subject(networks[i], &options);
    assert_int_equal(mask_set_key(s.mask, &key, NULL), 0);
    graph_free(s.graph);
    s.graph = new_graph(&s, true);
    learn_statistics(&s);
    compare(&s, ONNX_TEMPLATE);
    assert_int_equal(model_save_onnx(path, s.graph, s.mask, &s.info, ONNX_IMAGE, NULL, &err), -ENOTSUP);
    free_subject(&s);
  }
}

/* A selection that keeps more channels of one colour than of another. */
static void any_selection(void **state) {
  (void)state;
  struct mask_options options = mask_options_default(MASK_AHM, SIZE);
  options.drop_low = 10;
  struct subject s = make_subject(ARCH_FREQ_IR, &options);
  struct mask_constants *k = &s.info.constants;
  struct guise_error err = {0};
  for (uint32_t c = 100; c < k->channels; c++)
    k->channel[c] = (uint16_t)(c + DCT_CHANNELS - k->channels);
  for (uint32_t c = 0; c < 100; c++)
    k->channel[c] = (uint16_t)c;
  assert_int_equal(mask_set_constants(s.mask, k, &err), 0);
  graph_free(s.graph);
  s.graph = new_graph(&s, true);
  learn_statistics(&s);
  compare(&s, ONNX_TEMPLATE);
  compare(&s, ONNX_IMAGE);
  free_subject(&s);
}

/* ---- structure ---- */

static const char *metadata_of(const struct interpreter *in, const char *key) {
  for (size_t i = 0; i < in->model->n_metadata_props; i++)
    if (strcmp(in->model->metadata_props[i]->key, key) == 0)
      return in->model->metadata_props[i]->value;
  fail_msg("no %s among the metadata", key);
  return "";
}

static void check_value(const Onnx__ValueInfoProto *value, const char *name, size_t rank,
                        const int64_t *shape) {
  const Onnx__TypeProto__Tensor *tensor = value->type->tensor_type;
  assert_string_equal(value->name, name);
  assert_int_equal(tensor->elem_type, ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT);
  assert_int_equal(tensor->shape->n_dim, rank + 1);
  assert_int_equal(tensor->shape->dim[0]->value_case, ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_PARAM);
  assert_string_equal(tensor->shape->dim[0]->dim_param, "N");
  for (size_t i = 0; i < rank; i++)
    assert_int_equal(tensor->shape->dim[i + 1]->dim_value, shape[i]);
}

/* The network's constants are those of model.safetensors: same names, same sizes. */
static void check_constants(const struct interpreter *in, struct graph *graph) {
  const Onnx__GraphProto *proto = in->model->graph;
  for (uint32_t i = 0; i < graph_parameters(graph); i++) {
    const struct graph_parameter *p = graph_parameter(graph, i);
    size_t k = 0;
    while (k < proto->n_initializer && strcmp(proto->initializer[k]->name, p->name) != 0)
      k++;
    if (k == proto->n_initializer)
      fail_msg("%s is not in the file", p->name);
    assert_int_equal(proto->initializer[k]->raw_data.len, p->count * sizeof(float));
    assert_memory_equal(proto->initializer[k]->raw_data.data, p->value, p->count * sizeof(float));
  }
}

static void structure(void **state) {
  (void)state;
  const struct mask_options ahm = mask_options_default(MASK_AHM, SIZE);
  struct subject s = make_subject(ARCH_MOBILEFACENET, &ahm);
  json_t *metadata = json_pack("{s:s}", "accuracy", "0.75");
  (void)snprintf(s.info.training.dataset_sha256, sizeof(s.info.training.dataset_sha256), "%064d", 7);
  for (enum onnx_start start = ONNX_IMAGE; start <= ONNX_TEMPLATE; start++) {
    save(&s, start, metadata);
    struct interpreter *in = open_onnx(path);
    const Onnx__ModelProto *model = in->model;
    assert_int_equal(model->ir_version, 8);
    assert_int_equal(model->n_opset_import, 1);
    assert_string_equal(model->opset_import[0]->domain, "");
    assert_int_equal(model->opset_import[0]->version, 17);
    assert_string_equal(model->producer_name, "guise");
    assert_int_equal(model->graph->n_input, 1);
    assert_int_equal(model->graph->n_output, 1);
    if (start == ONNX_IMAGE)
      check_value(model->graph->input[0], "image", 3, (const int64_t[3]){3, SIZE, SIZE});
    else
      check_value(model->graph->input[0], "template", 3, (const int64_t[3]){183, SIZE / 8, SIZE / 8});
    check_value(model->graph->output[0], "embedding", 1, (const int64_t[1]){EMBEDDING});
    assert_string_equal(metadata_of(in, "format"), ONNX_FORMAT);
    assert_string_equal(metadata_of(in, "start"), start == ONNX_IMAGE ? "image" : "template");
    assert_string_equal(metadata_of(in, "arch"), "mobilefacenet");
    assert_string_equal(metadata_of(in, "mask"), "ahm");
    assert_string_equal(metadata_of(in, "mask.channels"), "183");
    assert_string_equal(metadata_of(in, "training.dataset_sha256"), s.info.training.dataset_sha256);
    assert_string_equal(metadata_of(in, "accuracy"), "0.75");
    assert_int_equal(strlen(metadata_of(in, "mask.constants_sha256")), 64);
    check_constants(in, s.graph);
    close_onnx(in);
  }
  json_decref(metadata);
  free_subject(&s);
}

/* ---- what is refused ---- */

static int visit_ok(void *context, struct graph_value y) {
  (void)context;
  (void)y;
  return 0;
}

static void layers_without_a_word_are_named(void **state) {
  (void)state;
  const struct mask_options ahm = mask_options_default(MASK_AHM, SIZE);
  const struct graph_config config = {.batch = 1, .threads = 1, .seed = 1};
  struct subject s = make_subject(ARCH_FREQ_CONV, &ahm);
  struct guise_error err = {0};
  struct graph *graph = NULL;
  assert_int_equal(graph_new(&config, &graph, &err), 0);
  int x = graph_input(graph, 4, 8, 8);
  assert_int_equal(graph_visit(graph, &(struct graph_visitor){.input = visit_ok, .output = visit_ok}, &err),
                   -EINVAL);
  x = graph_conv_transpose(graph, x, "odd.conv",
                           &(struct conv_options){.out_channels = 4, .kernel = 2, .stride = 2});
  (void)graph_output(graph, graph_linear(graph, x, "last", 3, true));
  assert_int_equal(graph_build(graph, &err), 0);
  err.text[0] = 0;
  assert_int_equal(model_save_onnx(path, graph, s.mask, &s.info, ONNX_TEMPLATE, NULL, &err), -ENOTSUP);
  assert_non_null(strstr(err.text, "transposed conv odd.conv"));
  graph_free(graph);
  free_subject(&s);
}

/* With decoys an embedding is a mean over draws: no graph begins at the image. */
static void decoys_have_no_image_in_front(void **state) {
  (void)state;
  const struct mask_options ahm = mask_options_default(MASK_AHM, SIZE);
  struct subject s = make_subject(ARCH_FREQ_CONV, &ahm);
  const size_t elements = mask_elements(s.mask);
  float *templates = calloc(2 * elements, sizeof(float));
  struct decoys *decoys = NULL;
  struct guise_error err = {0};
  assert_non_null(templates);
  assert_int_equal(decoys_new(2, DECOY_MIXES, elements, templates, &decoys, &err), 0);
  assert_true(mask_is_exportable(s.mask));
  assert_int_equal(mask_set_decoys(s.mask, decoys, &err), 0);
  assert_false(mask_is_exportable(s.mask));
  assert_int_equal(model_save_onnx(path, s.graph, s.mask, &s.info, ONNX_IMAGE, NULL, &err), -ENOTSUP);
  assert_non_null(strstr(err.text, "template"));
  save(&s, ONNX_TEMPLATE, NULL);
  free(templates);
  free_subject(&s);
}

static void unwritable_places_leave_nothing(void **state) {
  (void)state;
  const struct mask_options ahm = mask_options_default(MASK_AHM, SIZE);
  char missing[160];
  struct subject s = make_subject(ARCH_FREQ_CONV, &ahm);
  struct guise_error err = {0};
  (void)snprintf(missing, sizeof(missing), "%s/missing/model.onnx", directory);
  assert_int_equal(model_save_onnx(missing, s.graph, s.mask, &s.info, ONNX_IMAGE, NULL, &err), -ENOENT);
  assert_non_null(strstr(err.text, "missing"));
  assert_int_equal(access(missing, F_OK), -1);
  free_subject(&s);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(same_embeddings_for_every_architecture),
      cmocka_unit_test(same_embeddings_with_group_norms),
      cmocka_unit_test(same_embeddings_for_every_mask),
      cmocka_unit_test(same_embeddings_of_upsampled_templates),
      cmocka_unit_test(keyed_templates),
      cmocka_unit_test(any_selection),
      cmocka_unit_test(structure),
      cmocka_unit_test(layers_without_a_word_are_named),
      cmocka_unit_test(decoys_have_no_image_in_front),
      cmocka_unit_test(unwritable_places_leave_nothing),
  };
  return cmocka_run_group_tests(tests, set_up, tear_down);
}
