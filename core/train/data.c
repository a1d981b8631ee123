#include "core/train/data.h"

#include <math.h>
#include <string.h>

#include "core/base/memory.h"
#include "core/base/philox.h"

static void face_list_done(struct face_list *list) {
  free(list->image);
  free(list->identity);
  memset(list, 0, sizeof(*list));
}

/* Collects the images of the people whose `held` mark is `wanted`. */
static int face_list_fill(const struct pack *pack, const uint8_t *held, uint8_t wanted,
                          struct face_list *list) {
  uint32_t people = pack_identities(pack);
  list->image = malloc(sizeof(uint32_t) * (pack_images(pack) + 1u));
  list->identity = malloc(sizeof(uint32_t) * (pack_images(pack) + 1u));
  if (!list->image || !list->identity)
    return -ENOMEM;
  for (uint32_t person = 0; person < people; person++) {
    uint32_t first, count;
    pack_identity_range(pack, person, &first, &count);
    if (held[person] != wanted || count == 0)
      continue;
    for (uint32_t i = 0; i < count; i++) {
      list->image[list->count] = first + i;
      list->identity[list->count++] = list->identities;
    }
    list->identities++;
  }
  return 0;
}

static void hash_split(const uint8_t *held, uint32_t people, uint8_t *scratch, char ret_hex[SHA256_HEX]) {
  size_t bytes = 0;
  for (uint32_t person = 0; person < people; person++) {
    if (!held[person])
      continue;
    for (int shift = 0; shift < 32; shift += 8)
      scratch[bytes++] = (uint8_t)(person >> shift);
  }
  sha256_data(scratch, bytes, ret_hex);
}

static int split_people(struct job_data *data, double share, uint64_t seed, struct guise_error *err) {
  uint32_t people = pack_identities(data->pack);
  uint32_t keep_out = (uint32_t)lround(share * people);
  if (share > 0 && keep_out < 2)
    keep_out = 2;
  if (people < keep_out + 2)
    return error_set(err, -EINVAL,
                     "the data set has %u people and %u of them would be held out: training needs at least "
                     "2; add people or "
                     "lower holdout.identities",
                     people, keep_out);
  _cleanup_(freep) uint8_t *held = calloc(people, 1);
  _cleanup_(freep) uint8_t *bytes = malloc((size_t)people * 4 + 1);
  _cleanup_(freep) uint32_t *order = malloc(sizeof(uint32_t) * people);
  if (!held || !bytes || !order)
    return error_set(err, -ENOMEM, "out of memory splitting %u people", people);
  struct rng rng;
  rng_init(&rng, seed, RNG_SPLIT, 0, 0);
  rng_permutation(&rng, order, people);
  for (uint32_t i = 0; i < keep_out; i++)
    held[order[i]] = 1;
  if (keep_out > 0)
    hash_split(held, people, bytes, data->split_sha256);
  if (face_list_fill(data->pack, held, 0, &data->train) < 0 ||
      face_list_fill(data->pack, held, 1, &data->held) < 0)
    return error_set(err, -ENOMEM, "out of memory listing %u images", pack_images(data->pack));
  return 0;
}

static int resize_all(struct job_data *data, struct guise_error *err) {
  uint32_t from = pack_size(data->pack), count = pack_images(data->pack);
  size_t bytes = (size_t)data->size * data->size * 3;
  if (data->size == from)
    return 0;
  if (data->size > from)
    return error_set(err, -EINVAL,
                     "model.input is %u but the data set holds images of %u pixels: choose at most %u, or "
                     "upload again with "
                     "?size=%u",
                     data->size, from, from, data->size);
  data->pixels = tensor_alloc(bytes * count);
  if (!data->pixels)
    return error_set(err, -ENOMEM, "out of memory for %u images of %u pixels", count, data->size);
#pragma omp parallel for schedule(static)
  for (uint32_t i = 0; i < count; i++)
    image_resize(pack_image(data->pack, i), from, from, data->pixels + bytes * i, data->size);
  return 0;
}

static int count_images(struct job_data *data, struct guise_error *err) {
  data->images_of = calloc(data->train.identities, sizeof(uint32_t));
  if (!data->images_of)
    return error_set(err, -ENOMEM, "out of memory for %u people", data->train.identities);
  for (uint32_t i = 0; i < data->train.count; i++)
    data->images_of[data->train.identity[i]]++;
  return 0;
}

int job_data_open(const char *pack_path, uint32_t size, double share, uint64_t seed,
                  struct job_data *ret_data, struct guise_error *err) {
  struct job_data data = {.size = size};
  int r = pack_open(pack_path, &data.pack, err);
  if (r == 0)
    r = split_people(&data, share, seed, err);
  if (r == 0)
    r = count_images(&data, err);
  if (r == 0)
    r = resize_all(&data, err);
  if (r < 0) {
    job_data_close(&data);
    return r;
  }
  *ret_data = data;
  return 0;
}

void job_data_close(struct job_data *data) {
  face_list_done(&data->train);
  face_list_done(&data->held);
  free(data->images_of);
  data->images_of = NULL;
  data->pixels = tensor_free(data->pixels);
  data->pack = pack_free(data->pack);
}

const uint8_t *job_data_image(const struct job_data *data, uint32_t i) {
  return data->pixels ? data->pixels + (size_t)data->size * data->size * 3 * i : pack_image(data->pack, i);
}

const uint8_t *face_view_image(void *view, uint32_t i) {
  const struct face_view *faces = view;
  return job_data_image(faces->data, faces->image[i]);
}
