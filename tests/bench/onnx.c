/* guise-bench onnx: models of every architecture and mask with their ONNX files, and what the engine makes of
 * real faces, for tests/bench/onnx/compare.mjs to compare with ONNX Runtime. Beside the masks as they are:
 * the up-sampled transform, group norms, a key, decoys. Weights are drawn (of masks that learn some, too);
 * batch-norm statistics are those of the first faces, so that the networks tell them apart. */
#include <getopt.h>
#include <jansson.h>
#include <omp.h>
#include <stdio.h>
#include <string.h>

#include "core/base/memory.h"
#include "core/image/pack.h"
#include "tests/bench/bench.h"
#include "tests/unit/model/onnx_subject.h"

#define FACES_MAX 1000u
#define BATCH 10u
#define STATISTICS_OF 20u /* faces */

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

/* Of the model as it was read: (faces,mixes,C,G,G), one mix without decoys. */
static int write_templates(const struct bench *b, const struct model *model, uint32_t faces,
                           const char *folder, struct guise_error *err) {
  const size_t elements = mask_elements(model->mask);
  const uint32_t mixes = mask_inference_mixes(model->mask);
  float *templates = tensor_alloc((size_t)faces * mixes * elements * sizeof(float));
  float *scratch = tensor_alloc(mask_scratch(model->mask) * sizeof(float));
  int r = templates && scratch ? 0 : error_set(err, -ENOMEM, "out of memory");
  for (uint32_t i = 0; r == 0 && i < faces * mixes; i++) {
    struct rng rng;
    mask_rng_inference(&rng, i / mixes);
    mask_inference_template(model->mask, b->image[i / mixes], false, i % mixes, &rng, scratch,
                            templates + i * elements);
  }
  if (r == 0)
    r = write_file(b, folder, "templates.f32", templates, (size_t)faces * mixes * elements * sizeof(float),
                   err);
  tensor_free(templates);
  tensor_free(scratch);
  return r;
}

static int write_embeddings(const struct bench *b, struct model *model, uint32_t faces, const char *folder,
                            struct guise_error *err) {
  const size_t floats = (size_t)faces * model->info.embedding;
  float *embeddings = tensor_alloc(floats * sizeof(float));
  int r = embeddings ? model_embed(model, b->image, faces, false, embeddings, err)
                     : error_set(err, -ENOMEM, "out of memory");
  if (r == 0)
    r = write_file(b, folder, "embeddings.f32", embeddings, floats * sizeof(float), err);
  tensor_free(embeddings);
  return r;
}

/* The model as a job leaves it, at `path`. */
static int make_model(const struct bench *b, enum arch arch, const struct onnx_case *c, const char *path,
                      struct guise_error *err) {
  const struct onnx_faces faces = {listed_image, (void *)(uintptr_t)b, MIN(b->faces, STATISTICS_OF), BATCH};
  struct onnx_subject s;
  int r = onnx_subject_make(arch, c, arch_default_embedding(arch), 1, &faces, b->threads, &s, err);
  if (r == 0)
    r = model_save(path, s.graph, &s.info, err);
  onnx_subject_free(&s);
  return r;
}

/* Everything of one architecture and mask; all of it comes from the file that was written, as with the
 * daemon. */
static int write_case(struct bench *b, enum arch arch, const struct onnx_case *c, struct guise_error *err) {
  const struct mask_key key = onnx_subject_key();
  const uint32_t faces = b->faces;
  char folder[128], path[4000], file[4096];
  _cleanup_(model_freep) struct model *model = NULL;
  (void)snprintf(folder, sizeof(folder), "%s-%.48s", arch_name(arch), c->name);
  (void)snprintf(path, sizeof(path), "%s/%s", b->directory, folder);
  (void)snprintf(file, sizeof(file), "%s/model.safetensors", path);
  int r = directory_make(path, err);
  if (r == 0)
    r = make_model(b, arch, c, file, err);
  if (r == 0)
    r = model_load_keyed(file, c->keyed ? &key : NULL, BATCH, b->threads, &model, err);
  if (r == 0)
    r = write_embeddings(b, model, faces, folder, err);
  if (r == 0)
    r = write_templates(b, model, faces, folder, err);
  if (r == 0)
    r = onnx_export(model->graph, model->mask, &model->info, path, err);
  if (r < 0)
    return r;
  (void)printf("%s\n", folder);
  (void)fflush(stdout);
  return json_array_append_new(
      b->entries,
      json_pack("{s:s, s:s, s:s, s:i, s:b, s:i, s:i, s:i, s:i}", "arch", arch_name(arch), "mask", c->name,
                "folder", folder, "faces", (int)faces, "image", (int)mask_is_exportable(model->mask),
                "embedding", (int)model->info.embedding, "channels", (int)mask_channels(model->mask), "grid",
                (int)mask_grid(model->mask), "mixes", (int)mask_inference_mixes(model->mask)));
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

_Static_assert(ONNX_CASES_MAX <= 32, "a bit each");

static bool choose(const struct onnx_case *cases, uint32_t count, const char *name, uint32_t *chosen) {
  for (uint32_t i = 0; i < count; i++)
    if (strcmp(cases[i].name, name) == 0) {
      *chosen |= 1u << i;
      return true;
    }
  return false;
}

int bench_onnx(int argc, char **argv) {
  enum arch least = 0, most = ARCHS - 1;
  static const struct option longs[] = {
      {"arch", required_argument, NULL, 'a'},    {"faces", required_argument, NULL, 'f'},
      {"mask", required_argument, NULL, 'm'},    {"size", required_argument, NULL, 's'},
      {"threads", required_argument, NULL, 't'}, {NULL, 0, NULL, 0}};
  struct bench b = {.faces = 100, .size = 112, .threads = (uint32_t)omp_get_num_procs()};
  struct onnx_case cases[ONNX_CASES_MAX];
  const uint32_t count = onnx_cases(b.size, cases);
  uint32_t chosen = 0; /* bits; 0 = all */
  struct guise_error err = {0};
  bool bad = false;
  optind = 0; /* argv[0] is an argument here, not a program's name */
  argv--, argc++;
  for (int c; (c = getopt_long(argc, argv, "", longs, NULL)) != -1;) {
    const uint32_t value = optarg ? (uint32_t)strtoul(optarg, NULL, 10) : 0;
    if (c == 'a') {
      bad |= arch_from_name(optarg, &least) < 0;
      most = least;
    } else if (c == 'm')
      bad |= !choose(cases, count, optarg, &chosen);
    else if (c == 'f')
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
    (void)fputs(
        "usage: guise-bench onnx PACK DIRECTORY [--arch ARCH] [--mask MASK]... [--faces N (a multiple of "
        "10)] [--size PX] [--threads N]\nmasks:",
        stderr);
    for (uint32_t i = 0; i < count; i++)
      (void)fprintf(stderr, " %s", cases[i].name);
    (void)fputs("\n", stderr);
    return 2;
  }
  (void)onnx_cases(b.size, cases); /* by now it is known */
  b.directory = argv[optind + 1];
  b.entries = json_array();
  int r = b.entries ? directory_make(b.directory, &err) : -ENOMEM;
  if (r == 0)
    r = read_faces(&b, argv[optind], &err);
  for (enum arch arch = least; arch <= most; arch++)
    for (uint32_t i = 0; i < count && r == 0; i++)
      if (!chosen || chosen & 1u << i)
        r = write_case(&b, arch, &cases[i], &err);
  if (r == 0)
    r = write_index(&b, &err);
  if (r < 0)
    (void)fprintf(stderr, "guise-bench onnx: %s\n", err.text);
  json_decref(b.entries);
  tensor_free(b.pixels);
  pack_free(b.pack);
  return r < 0;
}
