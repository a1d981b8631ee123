/* guise-bench onnx: models of every architecture and mask with their ONNX files, and what the engine makes of
 * real faces, for tests/bench/onnx/compare.mjs to compare with ONNX Runtime. Weights are drawn, batch-norm
 * statistics are those of the faces, so that the networks tell them apart. */
#include <getopt.h>
#include <jansson.h>
#include <omp.h>
#include <stdio.h>
#include <string.h>

#include "core/base/memory.h"
#include "core/image/pack.h"
#include "core/model/onnx.h"
#include "tests/bench/bench.h"

#define FACES_MAX 1000u
#define BATCH 10u

struct bench {
  const char *directory;
  struct pack *pack;
  uint32_t faces, size, threads;
  uint8_t *pixels;                 /* (faces,size,size,3) */
  const uint8_t *image[FACES_MAX]; /* into pixels */
  json_t *entries;
};

static const uint8_t *listed_image(void *context, uint32_t i) {
  return ((const struct bench *)context)->image[i];
}

static int write_file(const struct bench *b, const char *folder, const char *name, const void *data,
                      size_t bytes, struct guise_error *err) {
  char path[4096];
  (void)snprintf(path, sizeof(path), "%s/%s/%s", b->directory, folder, name);
  return file_write_atomic(path, data, bytes, err);
}

/* A graph in GRAPH_STATISTICS over all faces, whole batches at a time. */
static int learn_statistics(const struct bench *b, const struct mask *mask, struct graph *graph,
                            struct guise_error *err) {
  float *scratch = tensor_alloc(mask_scratch(mask) * sizeof(float));
  int r = scratch ? 0 : error_set(err, -ENOMEM, "out of memory");
  graph_statistics_reset(graph);
  for (uint32_t first = 0; r == 0 && first < b->faces; first += BATCH) {
    for (uint32_t i = 0; i < BATCH; i++) {
      struct rng rng;
      float *to = graph_input_data(graph) + i * mask_elements(mask);
      mask_rng_inference(&rng, first + i);
      mask_inference_template(mask, b->image[first + i], false, 0, &rng, scratch, to);
    }
    r = graph_forward(graph, GRAPH_STATISTICS, 0, err);
  }
  graph_statistics_finish(graph);
  tensor_free(scratch);
  return r;
}

/* The model as a job leaves it, at `path`. */
static int make_model(const struct bench *b, enum arch arch, enum mask_method method, const char *path,
                      struct guise_error *err) {
  const struct graph_config config = {.batch = BATCH, .threads = b->threads, .winograd = true, .seed = 1};
  struct mask_options options = mask_options_default(method, b->size);
  options.select = MASK_SELECT_ZIGZAG; /* nothing was learnt */
  struct model_info info = {.arch = arch,
                            .input = b->size,
                            .embedding = arch_default_embedding(arch),
                            .width = 1,
                            .dropout = 0.2f,
                            .mask = options};
  struct mask *mask = NULL;
  struct graph *graph = NULL;
  int r = mask_new(&options, &mask, err);
  if (r == 0)
    r = mask_fit(mask, listed_image, (void *)b, b->faces, err);
  if (r == 0)
    r = graph_new(&config, &graph, err);
  if (r == 0) {
    const struct arch_options described = model_arch_options(&info, mask);
    info.constants = *mask_constants(mask);
    (void)arch_describe(graph, arch, &described);
    r = graph_build(graph, err);
  }
  if (r == 0)
    r = learn_statistics(b, mask, graph, err);
  if (r == 0)
    r = model_save(path, graph, &info, err);
  graph_free(graph);
  mask_free(mask);
  return r;
}

static int write_templates(const struct bench *b, const struct model *model, const char *folder,
                           struct guise_error *err) {
  const size_t elements = mask_elements(model->mask);
  float *templates = tensor_alloc(b->faces * elements * sizeof(float));
  float *scratch = tensor_alloc(mask_scratch(model->mask) * sizeof(float));
  int r = templates && scratch ? 0 : error_set(err, -ENOMEM, "out of memory");
  for (uint32_t i = 0; r == 0 && i < b->faces; i++) {
    struct rng rng;
    mask_rng_inference(&rng, i);
    mask_inference_template(model->mask, b->image[i], false, 0, &rng, scratch, templates + i * elements);
  }
  if (r == 0)
    r = write_file(b, folder, "templates.f32", templates, b->faces * elements * sizeof(float), err);
  tensor_free(templates);
  tensor_free(scratch);
  return r;
}

static int write_embeddings(const struct bench *b, struct model *model, const char *folder,
                            struct guise_error *err) {
  const size_t floats = (size_t)b->faces * model->info.embedding;
  float *embeddings = tensor_alloc(floats * sizeof(float));
  int r = embeddings ? model_embed(model, b->image, b->faces, false, embeddings, err)
                     : error_set(err, -ENOMEM, "out of memory");
  if (r == 0)
    r = write_file(b, folder, "embeddings.f32", embeddings, floats * sizeof(float), err);
  tensor_free(embeddings);
  return r;
}

static int write_onnx(const struct bench *b, const struct model *model, const char *folder, bool image,
                      struct guise_error *err) {
  char path[4096];
  int r = 0;
  (void)snprintf(path, sizeof(path), "%s/%s/model.onnx", b->directory, folder);
  if (image)
    r = model_save_onnx(path, model->graph, model->mask, &model->info, ONNX_IMAGE, NULL, err);
  (void)snprintf(path, sizeof(path), "%s/%s/model-template.onnx", b->directory, folder);
  return r < 0 ? r : model_save_onnx(path, model->graph, model->mask, &model->info, ONNX_TEMPLATE, NULL, err);
}

/* Everything of one architecture and mask; embeddings come from the file that was written, as the daemon's
 * do. */
static int write_case(struct bench *b, enum arch arch, enum mask_method method, struct guise_error *err) {
  char folder[128], path[4096];
  _cleanup_(model_freep) struct model *model = NULL;
  (void)snprintf(folder, sizeof(folder), "%s-%s", arch_name(arch), mask_traits(method)->name);
  (void)snprintf(path, sizeof(path), "%s/%s", b->directory, folder);
  int r = directory_make(path, err);
  (void)snprintf(path, sizeof(path), "%s/%s/model.safetensors", b->directory, folder);
  if (r == 0)
    r = make_model(b, arch, method, path, err);
  if (r == 0)
    r = model_load(path, BATCH, b->threads, &model, err);
  const bool image = r == 0 && mask_is_exportable(model->mask);
  if (r == 0)
    r = write_embeddings(b, model, folder, err);
  if (r == 0)
    r = write_templates(b, model, folder, err);
  if (r == 0)
    r = write_onnx(b, model, folder, image, err);
  if (r < 0)
    return r;
  (void)printf("%s\n", folder);
  (void)fflush(stdout);
  return json_array_append_new(
      b->entries, json_pack("{s:s, s:s, s:s, s:b, s:i, s:i, s:i}", "arch", arch_name(arch), "mask",
                            mask_traits(method)->name, "folder", folder, "image", (int)image, "embedding",
                            (int)model->info.embedding, "channels", (int)mask_channels(model->mask), "grid",
                            (int)mask_grid(model->mask)));
}

static int read_faces(struct bench *b, const char *pack, struct guise_error *err) {
  int r = pack_open(pack, &b->pack, err);
  if (r < 0)
    return r;
  const size_t bytes = (size_t)b->size * b->size * 3;
  b->pixels = tensor_alloc(b->faces * bytes);
  if (!b->pixels)
    return error_set(err, -ENOMEM, "out of memory");
  if (pack_images(b->pack) < b->faces)
    return error_set(err, -EINVAL, "%s has %u images; %u are wanted", pack, pack_images(b->pack), b->faces);
  for (uint32_t i = 0; i < b->faces; i++) {
    const uint32_t at = (uint32_t)((uint64_t)i * pack_images(b->pack) / b->faces);
    b->image[i] = b->pixels + i * bytes;
    image_resize(pack_image(b->pack, at), pack_size(b->pack), pack_size(b->pack), b->pixels + i * bytes,
                 b->size);
  }
  return write_file(b, ".", "faces.u8", b->pixels, b->faces * bytes, err);
}

static int write_index(struct bench *b, struct guise_error *err) {
  json_t *index =
      json_pack("{s:i, s:i, s:O}", "faces", (int)b->faces, "size", (int)b->size, "models", b->entries);
  _cleanup_(freep) char *text = index ? json_dumps(index, JSON_INDENT(1)) : NULL;
  json_decref(index);
  return text ? write_file(b, ".", "index.json", text, strlen(text), err)
              : error_set(err, -ENOMEM, "out of memory");
}

int bench_onnx(int argc, char **argv) {
  enum arch least = 0, most = ARCHS - 1;
  static const struct option longs[] = {{"arch", required_argument, NULL, 'a'},
                                        {"faces", required_argument, NULL, 'f'},
                                        {"size", required_argument, NULL, 's'},
                                        {"threads", required_argument, NULL, 't'},
                                        {NULL, 0, NULL, 0}};
  struct bench b = {.faces = 100, .size = 112, .threads = (uint32_t)omp_get_num_procs()};
  struct guise_error err = {0};
  bool bad = false;
  optind = 0; /* argv[0] is an argument here, not a program's name */
  argv--, argc++;
  for (int c; (c = getopt_long(argc, argv, "", longs, NULL)) != -1;) {
    const uint32_t value = optarg ? (uint32_t)strtoul(optarg, NULL, 10) : 0;
    if (c == 'a') {
      bad |= arch_from_name(optarg, &least) < 0;
      most = least;
    } else if (c == 'f')
      b.faces = value;
    else if (c == 's')
      b.size = value;
    else if (c == 't')
      b.threads = value;
    else
      bad = true;
  }
  if (bad || argc - optind != 2 || b.faces == 0 || b.faces > FACES_MAX || b.faces % BATCH != 0 ||
      b.threads == 0) {
    (void)fputs("usage: guise-bench onnx PACK DIRECTORY [--arch ARCH] [--faces N (a multiple of 10)] [--size "
                "PX] [--threads N]\n",
                stderr);
    return 2;
  }
  b.directory = argv[optind + 1];
  b.entries = json_array();
  int r = b.entries ? directory_make(b.directory, &err) : -ENOMEM;
  if (r == 0)
    r = read_faces(&b, argv[optind], &err);
  for (enum arch arch = least; arch <= most; arch++)
    for (enum mask_method method = 0; method < MASK_METHODS && r == 0; method++) {
      const struct mask_options options = mask_options_default(method, b.size);
      if (mask_weight_count(&options) == 0) /* else it would have to be trained first */
        r = write_case(&b, arch, method, &err);
    }
  if (r == 0)
    r = write_index(&b, &err);
  if (r < 0)
    (void)fprintf(stderr, "guise-bench onnx: %s\n", err.text);
  json_decref(b.entries);
  tensor_free(b.pixels);
  pack_free(b.pack);
  return r < 0;
}
