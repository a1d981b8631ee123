/* Writes the seeds that are binary files: seeds DIRECTORY makes DIRECTORY/TARGET/NAME. Those that are text
 * lie in corpus/. The same program gives the same seeds. */
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/base/file.h"
#include "core/image/pack_format.h"
#include "core/image/synth.h"
#include "core/mask/key.h"
#include "core/mask/mask.h"
#include "core/model/model.h"
#include "core/model/safetensors.h"
#include "core/template/templates.h"
#include "tests/fuzz/samples.h"

#define SIDE 32u
#define FACES 6u

static void fail(const char *what, const struct guise_error *err) {
  (void)fprintf(stderr, "seeds: %s: %s\n", what, err->text);
  exit(1);
}

static void path_of(const char *root, const char *target, const char *name, char ret_path[PATH_MAX]) {
  struct guise_error err = {0, ""};
  (void)snprintf(ret_path, PATH_MAX, "%s/%s", root, target);
  if (directory_make(ret_path, &err) < 0)
    fail(target, &err);
  (void)snprintf(ret_path, PATH_MAX, "%s/%s/%s", root, target, name);
}

/* Takes the sample. */
static void put(const char *root, const char *target, const char *name, struct sample sample) {
  struct guise_error err = {0, ""};
  char path[PATH_MAX];
  path_of(root, target, name, path);
  if (file_write_atomic(path, sample.data, sample.size, &err) < 0)
    fail(path, &err);
  sample_free(&sample);
}

static void put_images_and_archives(const char *root) {
  for (enum image_kind kind = 0; kind < IMAGE_KINDS; kind++)
    put(root, "image", sample_image_name(kind), sample_image(kind, SIDE, (uint32_t)kind));
  put(root, "image", "png-header-alone", sample_png_header(40000, 40000));
  for (enum archive_kind kind = 0; kind < ARCHIVE_KINDS; kind++) {
    put(root, "archive", sample_archive_name(kind), sample_archive(kind, SIDE));
    struct archive_writer *writer = archive_begin(kind);
    archive_add(writer, "../up/1.pgm", 'f', NULL, "P5 1 1 255\n\x07", 12);
    archive_add(writer, "/absolute/1.pgm", 'f', NULL, "P5 1 1 255\n\x07", 12);
    archive_add(writer, "a/1.pgm", 'f', NULL, "P5 1 1 255\n\x07", 12);
    archive_add(writer, "a/2.pgm", 'h', "a/1.pgm", NULL, 0);
    archive_add(writer, "a/3.pgm", 'c', NULL, NULL, 0);
    char name[32];
    (void)snprintf(name, sizeof(name), "tricks.%s", sample_archive_name(kind));
    put(root, "archive", name, archive_end(writer));
  }
}

static void put_pack(const char *root) {
  struct guise_error err = {0, ""};
  struct ingest_result result = {0};
  struct pack_entry entries[FACES];
  char path[PATH_MAX], slots[] = "/tmp/guise-seeds-XXXXXX", names[FACES][16], people[FACES][16];
  uint8_t rgb[SIDE * SIDE * 3];
  int fd = mkostemp(slots, O_CLOEXEC);
  for (uint32_t i = 0; i < FACES; i++) {
    synth_face(1, i / 2, i, SIDE, rgb); /* any pixels do: a corner of it */
    (void)snprintf(names[i], sizeof(names[i]), "%u.pgm", i);
    (void)snprintf(people[i], sizeof(people[i]), "person-%u", i / 2);
    entries[i] = (struct pack_entry){people[i], names[i], i, true};
    if (fd < 0 || pwrite(fd, rgb, (size_t)16 * 16 * 3, (off_t)i * 16 * 16 * 3) < 0)
      exit(1);
  }
  path_of(root, "pack", "three-people", path);
  if (pack_write(path, fd, 0, 16, entries, FACES, NULL, &result, &err) < 0)
    fail(path, &err);
  (void)close(fd);
  (void)unlink(slots);
}

static void put_key(const char *root) {
  struct guise_error err = {0, ""};
  struct mask_key key;
  char path[PATH_MAX];
  for (size_t i = 0; i < sizeof(key.secret); i++)
    key.secret[i] = (uint8_t)(7 * i + 1);
  path_of(root, "key", "key", path);
  if (mask_key_write(path, &key, &err) < 0)
    fail(path, &err);
}

/* ---- models ---- */

static const uint8_t *face(void *context, uint32_t i) {
  static uint8_t rgb[FACES][SIDE * SIDE * 3];
  (void)context;
  synth_face(2, i, 0, SIDE, rgb[i]);
  return rgb[i];
}

/* A model of random weights, as small as the table of networks allows. */
static void save_model(const char *path, enum mask_method method, enum arch arch) {
  struct guise_error err = {0, ""};
  struct model_info info = {.arch = arch, .input = SIDE, .embedding = 8, .width = 0.01f};
  struct graph_config config = {.batch = 1, .threads = 1, .seed = 1};
  struct graph *graph = NULL;
  struct mask *mask = NULL;
  info.mask = mask_options_default(method, SIDE);
  if (mask_new(&info.mask, &mask, &err) < 0 || mask_fit(mask, face, NULL, FACES, &err) < 0)
    fail("mask", &err);
  info.constants = *mask_constants(mask);
  struct arch_options options = arch_options_for(mask, info.embedding, info.width, 0);
  if (graph_new(&config, &graph, &err) < 0)
    fail("graph", &err);
  (void)arch_describe(graph, arch, &options);
  if (graph_build(graph, &err) < 0 || model_save(path, graph, &info, &err) < 0)
    fail("model", &err);
  graph_free(graph);
  mask_free(mask);
}

/* The tensors with the mask's first. */
static uint32_t mask_first(const struct safetensors *file, struct safetensor *ret_tensors,
                           size_t *ret_bytes) {
  uint32_t count = 0;
  *ret_bytes = 0;
  for (int weights = 0; weights < 2; weights++)
    for (uint32_t i = 0; i < safetensors_count(file); i++) {
      const struct safetensor *tensor = safetensors_at(file, i);
      const bool of_mask = strncmp(tensor->name, "mask.", 5) == 0;
      if (of_mask == (weights == 1))
        continue;
      ret_tensors[count++] = *tensor;
      *ret_bytes += of_mask ? tensor->bytes : 0;
    }
  return count;
}

/* model_fuzz.c's form of a model: header, NUL, the mask's tensors. */
static void put_model(const char *root, const char *name, const char *path) {
  struct guise_error err = {0, ""};
  struct safetensors *file = NULL;
  struct safetensor tensors[256];
  char *text = NULL;
  size_t constants = 0, size = 0;
  if (safetensors_open(path, &file, &err) < 0 || safetensors_count(file) > ARRAY_SIZE(tensors))
    fail(path, &err);
  const uint32_t count = mask_first(file, tensors, &constants);
  if (safetensors_write(path, tensors, count, safetensors_metadata(file), &err) < 0 ||
      file_read(path, 64 << 20, &text, &size, &err) < 0)
    fail(path, &err);
  size_t header = 0;
  for (int i = 0; i < 8; i++)
    header |= (size_t)(uint8_t)text[i] << (8 * i);
  const char *end = memrchr(text + 8, '}', header);
  const size_t used = (size_t)(end + 1 - (text + 8));
  struct sample sample = {calloc(used + 1 + constants, 1), used + 1 + constants};
  memcpy(sample.data, text + 8, used);
  memcpy(sample.data + used + 1, text + 8 + header, constants);
  put(root, "model", name, sample);
  put(root, "safetensors", name, (struct sample){(uint8_t *)text, MIN(size, 8 + header + constants)});
  safetensors_free(file);
}

static void put_models(const char *root) {
  static const struct {
    const char *name;
    enum mask_method method;
    enum arch arch;
  } models[] = {{"none", MASK_NONE, ARCH_FREQ_IR},
                {"ahm", MASK_AHM, ARCH_FREQ_IR},
                {"channels", MASK_AHM, ARCH_FREQ_CONV},
                {"partialface", MASK_PARTIALFACE, ARCH_FREQ_IR},
                {"ldp-slicing", MASK_LDP_SLICING, ARCH_FREQ_CONV}};
  char path[] = "/tmp/guise-seeds-XXXXXX";
  int fd = mkostemp(path, O_CLOEXEC);
  if (fd < 0)
    exit(1);
  for (size_t i = 0; i < ARRAY_SIZE(models); i++) {
    save_model(path, models[i].method, models[i].arch);
    put_model(root, models[i].name, path);
  }
  (void)close(fd);
  (void)unlink(path);
}

static void put_safetensors(const char *root) {
  static const double numbers[] = {1, 2, 3, 4};
  static const uint8_t bytes[] = {1, 2, 3};
  const struct safetensor tensors[] = {
      {.name = "a", .dtype = "F64", .rank = 2, .shape = {2, 2}, .data = numbers, .bytes = sizeof(numbers)},
      {.name = "empty", .dtype = "F32", .rank = 1, .shape = {0}, .data = numbers, .bytes = 0},
      {.name = "b", .dtype = "U8", .rank = 1, .shape = {3}, .data = bytes, .bytes = sizeof(bytes)}};
  struct guise_error err = {0, ""};
  char path[PATH_MAX];
  json_t *metadata = json_pack("{s:s}", "format", "test");
  path_of(root, "safetensors", "mixed", path);
  if (safetensors_write(path, tensors, ARRAY_SIZE(tensors), metadata, &err) < 0)
    fail(path, &err);
  json_decref(metadata);
}

/* Small: one kept channel, 2 x 2 cells. */
static void put_templates(const char *root) {
  static const uint32_t person[] = {0, 0, 1, 0};
  static const float weight[] = {1, 0, 0.75f, 0.25f}, values[] = {1, -1, 0.5f, 0, 2, 3, -3, 0.25f};
  static const uint16_t halves[] = {0x3c00, 0xbc00, 0x3800, 0, 0x4000, 0x4200, 0xc200, 0x3400};
  const struct mask_constants constants = {
      .channels = 1, .channel = {9}, .mean = {1}, .deviation = {2}, .clip = 3};
  json_t *metadata = json_pack("{s:s, s:s, s:s, s:s, s:s}", "input", "16", "mask", "ahm", "mask.dct",
                               "native", "mask.clip", "3", "mask.pixel_scale", "1");
  struct templates_content content = {.metadata = metadata,
                                      .constants = &constants,
                                      .mixing = {.mixes = true, .unmixed = 0.5f, .probability = {0, 0, 1}},
                                      .count = 2,
                                      .people = 2,
                                      .grid = 2,
                                      .labels = 2,
                                      .person = person,
                                      .weight = weight};
  struct guise_error err = {0, ""};
  for (int half = 0; half < 2; half++) {
    char path[PATH_MAX];
    content.half = half == 1;
    content.values = half ? (const void *)halves : values;
    path_of(root, "templates", half ? "f16" : "f32", path);
    if (templates_write(path, &content, &err) < 0)
      fail(path, &err);
  }
  json_decref(metadata);
}

int main(int argc, char **argv) {
  if (argc != 2) {
    (void)fputs("usage: seeds DIRECTORY\n", stderr);
    return 2;
  }
  put_images_and_archives(argv[1]);
  put_pack(argv[1]);
  put_key(argv[1]);
  put_safetensors(argv[1]);
  put_templates(argv[1]);
  put_models(argv[1]);
  return 0;
}
