/* A model file. Input: the JSON header, a NUL, and the first bytes of the tensors; the rest of them, as far
 * as the header says they go, is ones, so that a small input makes a whole model. What loads embeds a face.
 */
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/model/model.h"
#include "tests/fuzz/fuzz.h"

#define HEADER_MAX 65536u
#define DATA_MAX (16u << 20)

/* Where the last tensor ends according to the header. */
static size_t data_size(const char *header, size_t length) {
  json_t *root = json_loadb(header, length, JSON_REJECT_DUPLICATES, NULL), *value;
  const char *name;
  json_int_t end = 0;
  json_object_foreach(root, name, value) {
    (void)name;
    json_int_t last = json_integer_value(json_array_get(json_object_get(value, "data_offsets"), 1));
    end = MAX(end, last);
  }
  json_decref(root);
  return end > 0 && end <= DATA_MAX ? (size_t)end : 0;
}

static void embed_one(struct model *model) {
  const size_t pixels = (size_t)model->info.input * model->info.input * 3;
  uint8_t *rgb = calloc(pixels, 1);
  float *embedding = calloc(model->info.embedding, sizeof(*embedding));
  FUZZ_CHECK(rgb && embedding);
  const uint8_t *images[] = {rgb};
  if (model_embed(model, images, 1, false, embedding, NULL) == 0)
    fuzz_touch(embedding, model->info.embedding * sizeof(*embedding));
  free(rgb);
  free(embedding);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  _cleanup_(model_freep) struct model *model = NULL;
  struct guise_error err = {0};
  const uint8_t *nul = size > 0 ? memchr(data, 0, size) : NULL;
  const size_t header = nul ? (size_t)(nul - data) : size, given = nul ? size - header - 1 : 0;
  if (header > HEADER_MAX)
    return 0;
  const size_t padded = (header + 63) / 64 * 64 + 56,
               floats = MAX(data_size((const char *)data, header), given);
  uint8_t *file = malloc(8 + padded + floats);
  const float one = 1;
  FUZZ_CHECK(file != NULL);
  for (int i = 0; i < 8; i++)
    file[i] = (uint8_t)((uint64_t)padded >> (8 * i));
  memset(file + 8, ' ', padded);
  memcpy(file + 8, data, header);
  for (size_t i = 0; i < floats; i++)
    file[8 + padded + i] = ((const uint8_t *)&one)[i % sizeof(one)];
  if (given > 0)
    memcpy(file + 8 + padded, nul + 1, given);
  if (model_load(fuzz_file(file, 8 + padded + floats), 1, 1, &model, &err) == 0)
    embed_one(model);
  else
    FUZZ_CHECK(err.text[0]);
  free(file);
  return 0;
}
