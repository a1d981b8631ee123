#include "core/train/data.h"

#include <math.h>
#include <string.h>

#include "core/base/memory.h"
#include "core/base/philox.h"
#include "core/train/job.h"

#define RESIZED_AT_ONCE 64u /* images, between two questions whether to stop: some milliseconds */

static void face_list_done(struct face_list *list) {
  free(list->image);
  free(list->identity);
  memset(list, 0, sizeof(*list));
}

static int face_list_init(struct face_list *list, uint32_t most) {
  list->image = malloc(sizeof(uint32_t) * (most + 1u));
  list->identity = malloc(sizeof(uint32_t) * (most + 1u));
  return list->image && list->identity ? 0 : -ENOMEM;
}

static void face_list_add(struct face_list *list, uint32_t image, uint32_t identity) {
  list->image[list->count] = image;
  list->identity[list->count++] = identity;
}

enum { TRAINED, HELD, LEFT_OUT }; /* what becomes of a person */

/* Which of `count` images of a person are not trained on: at least one stays. */
static void choose_unseen(const struct data_split *split, uint32_t person, uint32_t count, uint32_t *order,
                          uint8_t *ret_unseen) {
  uint32_t keep_out = (uint32_t)lround(split->images * count);
  struct rng rng;
  memset(ret_unseen, 0, count);
  if (split->images <= 0 || count < 2)
    return;
  keep_out = MIN(MAX(keep_out, 1u), count - 1);
  rng_init(&rng, split->seed, RNG_SPLIT, 1, person);
  rng_permutation(&rng, order, count);
  for (uint32_t i = 0; i < keep_out; i++)
    ret_unseen[order[i]] = 1;
}

/* Puts every image of the pack into one of the lists. */
static int fill_lists(struct job_data *data, const struct data_split *split, const uint8_t *held) {
  const uint32_t people = pack_identities(data->pack), images = pack_images(data->pack);
  _cleanup_(freep) uint32_t *order = malloc(sizeof(uint32_t) * (images + 1u));
  _cleanup_(freep) uint8_t *unseen = malloc(images + 1u);
  if (!order || !unseen || face_list_init(&data->train, images) < 0 ||
      face_list_init(&data->held, images) < 0 || face_list_init(&data->unseen, images) < 0)
    return -ENOMEM;
  for (uint32_t person = 0; person < people; person++) {
    struct face_list *list = held[person] == HELD ? &data->held : &data->train;
    uint32_t first, count;
    pack_identity_range(data->pack, person, &first, &count);
    if (count == 0 || held[person] == LEFT_OUT)
      continue;
    if (split->complement && held[person] == TRAINED && count < 2)
      continue; /* none is kept out */
    memset(unseen, 0, count);
    if (held[person] == TRAINED)
      choose_unseen(split, person, count, order, unseen);
    for (uint32_t i = 0; split->complement && held[person] == TRAINED && i < count; i++)
      unseen[i] = !unseen[i];
    for (uint32_t i = 0; i < count; i++)
      face_list_add(unseen[i] ? &data->unseen : list, first + i, list->identities);
    list->identities++;
  }
  for (uint32_t i = 0; i < data->unseen.count; i++)
    data->unseen.identities += i == 0 || data->unseen.identity[i] != data->unseen.identity[i - 1];
  return 0;
}

static size_t put_number(uint8_t *bytes, size_t used, uint32_t number) {
  for (int shift = 0; shift < 32; shift += 8)
    bytes[used++] = (uint8_t)(number >> shift);
  return used;
}

static int hash_split(struct job_data *data, const uint8_t *held) {
  const uint32_t people = pack_identities(data->pack);
  size_t used = 0;
  _cleanup_(freep) uint8_t *bytes = malloc(((size_t)people + data->unseen.count) * 4 + 1);
  if (!bytes)
    return -ENOMEM;
  for (uint32_t person = 0; person < people; person++)
    if (held[person] == HELD)
      used = put_number(bytes, used, person);
  for (uint32_t i = 0; i < data->unseen.count; i++)
    used = put_number(bytes, used, data->unseen.image[i]);
  if (used > 0)
    sha256_data(bytes, used, data->split_sha256);
  return 0;
}

static int split_people(struct job_data *data, const struct data_split *split, struct guise_error *err) {
  uint32_t people = pack_identities(data->pack);
  uint32_t keep_out = (uint32_t)lround(split->identities * people);
  if (split->identities > 0 && keep_out < 2)
    keep_out = 2;
  if (people < keep_out + 2)
    return error_set(err, -EINVAL,
                     "the data set has %u people and %u of them would be held out: training needs at least "
                     "2; add people or "
                     "lower holdout.identities",
                     people, keep_out);
  _cleanup_(freep) uint8_t *held = calloc(people, 1);
  _cleanup_(freep) uint32_t *order = malloc(sizeof(uint32_t) * people);
  if (!held || !order)
    return error_set(err, -ENOMEM, "out of memory splitting %u people", people);
  struct rng rng;
  rng_init(&rng, split->seed, RNG_SPLIT, 0, 0);
  rng_permutation(&rng, order, people);
  for (uint32_t i = 0; i < keep_out; i++)
    held[order[i]] = HELD;
  for (uint32_t i = 0; split->most_people > 0 && i < people; i++)
    if ((i < keep_out ? i : i - keep_out) >= split->most_people)
      held[order[i]] = LEFT_OUT;
  if (fill_lists(data, split, held) < 0 || hash_split(data, held) < 0)
    return error_set(err, -ENOMEM, "out of memory listing %u images", pack_images(data->pack));
  return 0;
}

int resize_images(const struct resizing *resizing, const uint32_t *listed, uint32_t count,
                  const struct job_callbacks *callbacks) {
  const size_t bytes = (size_t)resizing->to * resizing->to * 3;
  const uint32_t from = resizing->from;
  for (uint32_t first = 0; first < count; first += RESIZED_AT_ONCE) {
    const uint32_t end = MIN(count, first + RESIZED_AT_ONCE);
    const int r = callbacks ? job_stop_code(callbacks) : 0;
    if (r < 0)
      return r;
#pragma omp parallel for schedule(static)
    for (uint32_t i = first; i < end; i++) {
      const uint32_t image = listed ? listed[i] : i;
      image_resize(resizing->image(resizing->context, image), from, from,
                   resizing->ret_pixels + bytes * image, resizing->to);
    }
  }
  return 0;
}

static const uint8_t *packed_image(void *pack, uint32_t i) {
  return pack_image(pack, i);
}

static int resize_all(struct job_data *data, const struct job_callbacks *callbacks, struct guise_error *err) {
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
  const struct face_list *lists[] = {&data->train, &data->held, &data->unseen};
  const struct resizing resizing = {packed_image, data->pack, from, data->size, data->pixels};
  int r = 0;
  for (size_t l = 0; l < ARRAY_SIZE(lists) && r == 0; l++)
    r = resize_images(&resizing, lists[l]->image, lists[l]->count, callbacks);
  return r;
}

static int count_images(struct job_data *data, struct guise_error *err) {
  data->images_of = calloc(data->train.identities, sizeof(uint32_t));
  if (!data->images_of)
    return error_set(err, -ENOMEM, "out of memory for %u people", data->train.identities);
  for (uint32_t i = 0; i < data->train.count; i++)
    data->images_of[data->train.identity[i]]++;
  return 0;
}

/* Nobody is held out of templates: each may show several people. */
static int open_templates(const char *path, const struct data_split *split, struct job_data *data,
                          struct guise_error *err) {
  int r = templates_open(path, &data->templates, err);
  if (r < 0)
    return r;
  const uint32_t count = templates_count(data->templates);
  if (templates_input(data->templates) != data->size)
    return error_set(err, -EINVAL, "model.input is %u but the data set's templates are of faces of %u pixels",
                     data->size, templates_input(data->templates));
  if (split->identities > 0 || split->images > 0 || templates_people(data->templates) < 2)
    return error_set(err, -EINVAL,
                     "the data set holds templates of several people each: at least 2 people are needed, and "
                     "holdout.identities and holdout.images must be 0");
  if (face_list_init(&data->train, count) < 0)
    return error_set(err, -ENOMEM, "out of memory listing %u templates", count);
  for (uint32_t i = 0; i < count; i++) {
    struct mix_label label[MIX_MAX];
    (void)templates_labels(data->templates, i, label);
    face_list_add(&data->train, i, label[0].identity);
  }
  data->train.identities = templates_people(data->templates);
  return 0;
}

static int open_pack(const char *path, const struct data_split *split, struct job_data *data,
                     struct guise_error *err) {
  int r = pack_open(path, &data->pack, err);
  return r < 0 ? r : split_people(data, split, err);
}

struct data_split job_spec_split(const struct job_spec *spec) {
  return (struct data_split){
      .identities = spec->holdout.identities, .images = spec->holdout.images, .seed = spec->train.seed};
}

int job_data_open(const char *pack_path, uint32_t size, const struct data_split *split,
                  struct job_data *ret_data, struct guise_error *err) {
  return job_data_open_for(NULL, pack_path, size, split, ret_data, err);
}

int job_data_open_for(const struct job_callbacks *callbacks, const char *pack_path, uint32_t size,
                      const struct data_split *split, struct job_data *ret_data, struct guise_error *err) {
  struct job_data data = {.size = size};
  const struct data_split none = {.seed = 0};
  const bool templates = templates_recognise(pack_path);
  if (templates && !split)
    return error_set(err, -EINVAL, "the data set holds templates, and pictures are needed: name another");
  int r = (templates ? open_templates : open_pack)(pack_path, split ? split : &none, &data, err);
  if (r == 0)
    r = count_images(&data, err);
  if (r == 0 && data.pack)
    r = resize_all(&data, callbacks, err);
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
  face_list_done(&data->unseen);
  free(data->images_of);
  data->images_of = NULL;
  data->pixels = tensor_free(data->pixels);
  data->pack = pack_free(data->pack);
  data->templates = templates_free(data->templates);
}

uint32_t job_data_identities(const struct job_data *data) {
  return data->templates ? templates_people(data->templates) : pack_identities(data->pack);
}

uint32_t job_data_images(const struct job_data *data) {
  return data->templates ? templates_count(data->templates) : pack_images(data->pack);
}

const uint8_t *job_data_image(const struct job_data *data, uint32_t i) {
  return data->pixels ? data->pixels + (size_t)data->size * data->size * 3 * i : pack_image(data->pack, i);
}

const uint8_t *face_view_image(void *view, uint32_t i) {
  const struct face_view *faces = view;
  return job_data_image(faces->data, faces->image[i]);
}
