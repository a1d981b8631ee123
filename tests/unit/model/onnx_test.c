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

#include "core/freq/dct.h"
#include "core/model/embed.h"
#include "core/nn/visit.h"
#include "unit/model/onnx_reference.h"
#include "unit/model/onnx_subject.h"

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

static const struct onnx_faces faces = {test_image, NULL, FACES, FACES};

static struct onnx_subject make_subject(enum arch arch, const struct onnx_case *c) {
  struct onnx_subject s;
  struct guise_error err = {0};
  if (onnx_subject_make(arch, c, EMBEDDING, 0.25f, &faces, 2, &s, &err) != 0)
    fail_msg("%s, %s: %s", arch_name(arch), c->name, err.text);
  return s;
}

static struct onnx_subject make_ahm(enum arch arch) {
  const struct onnx_case ahm = onnx_case_of(MASK_AHM, SIZE, "");
  return make_subject(arch, &ahm);
}

static void save(const struct onnx_subject *s, enum onnx_start start, const json_t *metadata) {
  struct guise_error err = {0};
  if (model_save_onnx(path, s->graph, s->mask, &s->info, start, metadata, &err) != 0)
    fail_msg("%s", err.text);
}

/* (FACES,3,SIZE,SIZE) or (FACES,C,G,G) */
static float *make_input(const struct onnx_subject *s, enum onnx_start start) {
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
      onnx_subject_template(s, f, 0, scratch, input + f * elements);
  free(scratch);
  return input;
}

static void compare(const struct onnx_subject *s, enum onnx_start start) {
  /* the high coefficients of a blurred picture are roundings, which the standardisation makes large */
  const double least = start == ONNX_IMAGE && mask_filters(s->mask) ? 1 - 1e-4 : 1 - 1e-5;
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
    if (!(cosine > least) || fabs(length - 1) > 1e-5)
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
  for (enum arch arch = 0; arch < ARCHS; arch++) {
    struct onnx_subject s = make_ahm(arch);
    compare(&s, ONNX_IMAGE);
    onnx_subject_free(&s);
  }
}

static void same_embeddings_with_group_norms(void **state) {
  (void)state;
  struct onnx_case c = onnx_case_of(MASK_AHM, SIZE, "group");
  c.norm = ARCH_NORM_GROUP;
  for (enum arch arch = 0; arch < ARCHS; arch++) {
    struct onnx_subject s = make_subject(arch, &c);
    compare(&s, ONNX_IMAGE);
    onnx_subject_free(&s);
  }
}

/* From the image on where the template is a fixed function of it, and else a reason that is true of it. */
static void same_embeddings_for_every_mask(void **state) {
  (void)state;
  for (enum mask_method method = 0; method < MASK_METHODS; method++) {
    const struct onnx_case c = onnx_case_of(method, SIZE, "");
    struct onnx_subject s = make_subject(ARCH_FREQ_CONV, &c);
    struct guise_error err = {0};
    assert_int_equal(mask_is_exportable(s.mask), !mask_traits(method)->random);
    if (mask_is_exportable(s.mask)) {
      compare(&s, ONNX_IMAGE);
    } else {
      assert_int_equal(model_save_onnx(path, s.graph, s.mask, &s.info, ONNX_IMAGE, NULL, &err), -ENOTSUP);
      assert_non_null(strstr(err.text, "is drawn anew"));
    }
    compare(&s, ONNX_TEMPLATE);
    onnx_subject_free(&s);
  }
}

static void same_embeddings_of_upsampled_templates(void **state) {
  (void)state;
  static const enum mask_method methods[] = {MASK_AHM, MASK_BLUR, MASK_PPFR_FD};
  for (size_t i = 0; i < ARRAY_SIZE(methods); i++) {
    struct onnx_case c = onnx_case_of(methods[i], SIZE, "upsampled");
    c.mask.dct = MASK_DCT_UPSAMPLED;
    struct onnx_subject s = make_subject(ARCH_FREQ_IR, &c);
    compare(&s, ONNX_IMAGE);
    onnx_subject_free(&s);
  }
}

/* An odd number of coefficients, in another order. */
static void another_ring(void **state) {
  (void)state;
  struct onnx_case c = onnx_case_of(MASK_PPFR_FD, SIZE, "odd");
  c.mask.drop_low = 27;
  c.mask.seed = 3;
  struct onnx_subject s = make_subject(ARCH_FREQ_CONV, &c);
  compare(&s, ONNX_IMAGE);
  onnx_subject_free(&s);
}

/* The first layer is in the key's order; a graph cannot make keyed templates. */
static void keyed_templates(void **state) {
  (void)state;
  static const enum arch networks[] = {ARCH_FREQ_IR, ARCH_FREQ_CONV};
  struct onnx_case c = onnx_case_of(MASK_AHM, SIZE, "keyed");
  struct guise_error err = {0};
  c.keyed = true;
  for (size_t i = 0; i < ARRAY_SIZE(networks); i++) {
    struct onnx_subject s = make_subject(networks[i], &c);
    compare(&s, ONNX_TEMPLATE);
    assert_int_equal(model_save_onnx(path, s.graph, s.mask, &s.info, ONNX_IMAGE, NULL, &err), -ENOTSUP);
    assert_non_null(strstr(err.text, "secret key"));
    onnx_subject_free(&s);
  }
}

/* A selection that keeps more channels of one colour than of another. */
static void any_selection(void **state) {
  (void)state;
  struct onnx_case c = onnx_case_of(MASK_AHM, SIZE, "");
  c.mask.drop_low = 10;
  struct onnx_subject s = make_subject(ARCH_FREQ_IR, &c);
  struct mask_constants *k = &s.info.constants;
  struct guise_error err = {0};
  for (uint32_t i = 100; i < k->channels; i++)
    k->channel[i] = (uint16_t)(i + DCT_CHANNELS - k->channels);
  for (uint32_t i = 0; i < 100; i++)
    k->channel[i] = (uint16_t)i;
  assert_int_equal(mask_set_constants(s.mask, k, &err), 0);
  assert_int_equal(onnx_subject_network(&s, &err), 0);
  compare(&s, ONNX_TEMPLATE);
  compare(&s, ONNX_IMAGE);
  onnx_subject_free(&s);
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
  struct onnx_subject s = make_ahm(ARCH_MOBILEFACENET);
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
  onnx_subject_free(&s);
}

/* ---- what is refused ---- */

static int visit_ok(void *context, struct graph_value y) {
  (void)context;
  (void)y;
  return 0;
}

static void layers_without_a_word_are_named(void **state) {
  (void)state;
  const struct graph_config config = {.batch = 1, .threads = 1, .seed = 1};
  struct onnx_subject s = make_ahm(ARCH_FREQ_CONV);
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
  onnx_subject_free(&s);
}

/* With decoys an embedding is a mean over draws: no graph begins at the image. */
static void decoys_have_no_image_in_front(void **state) {
  (void)state;
  struct onnx_case c = onnx_case_of(MASK_AHM, SIZE, "decoys");
  struct guise_error err = {0};
  c.decoys = 2;
  struct onnx_subject s = make_subject(ARCH_FREQ_CONV, &c);
  assert_false(mask_is_exportable(s.mask));
  assert_int_equal(model_save_onnx(path, s.graph, s.mask, &s.info, ONNX_IMAGE, NULL, &err), -ENOTSUP);
  assert_non_null(strstr(err.text, "decoys"));
  assert_non_null(strstr(err.text, "from the template on"));
  save(&s, ONNX_TEMPLATE, NULL);
  assert_int_equal(mask_set_decoys(s.mask, NULL, &err), 0);
  assert_true(mask_is_exportable(s.mask));
  s.info.decoys = NULL;
  onnx_subject_free(&s);
}

static void unwritable_places_leave_nothing(void **state) {
  (void)state;
  char missing[160];
  struct onnx_subject s = make_ahm(ARCH_FREQ_CONV);
  struct guise_error err = {0};
  (void)snprintf(missing, sizeof(missing), "%s/missing/model.onnx", directory);
  assert_int_equal(model_save_onnx(missing, s.graph, s.mask, &s.info, ONNX_IMAGE, NULL, &err), -ENOENT);
  assert_non_null(strstr(err.text, "missing"));
  assert_int_equal(access(missing, F_OK), -1);
  onnx_subject_free(&s);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(same_embeddings_for_every_architecture),
      cmocka_unit_test(same_embeddings_with_group_norms),
      cmocka_unit_test(same_embeddings_for_every_mask),
      cmocka_unit_test(same_embeddings_of_upsampled_templates),
      cmocka_unit_test(another_ring),
      cmocka_unit_test(keyed_templates),
      cmocka_unit_test(any_selection),
      cmocka_unit_test(structure),
      cmocka_unit_test(layers_without_a_word_are_named),
      cmocka_unit_test(decoys_have_no_image_in_front),
      cmocka_unit_test(unwritable_places_leave_nothing),
  };
  return cmocka_run_group_tests(tests, set_up, tear_down);
}
