/* guise-bench alike: whether how alike a person's photographs are to one recogniser (core/train/gallery.h)
 * tells how well another one, the attacker's, finds the person by a photograph. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/memory.h"
#include "core/image/pack.h"
#include "core/model/model.h"
#include "core/train/data.h"
#include "core/train/gallery.h"
#include "tests/bench/bench.h"

enum { BATCH = 64, PARTS = 4 };
#define WRONG_MOST 2000000u /* pairs of two people that set the threshold */

/* Unit embeddings of all images, (count, model's embedding). */
static float *embed_all(struct face_view *view, const struct gallery_faces *faces, struct model *model,
                        struct guise_error *err) {
  float *embeddings = malloc((size_t)faces->count * model->info.embedding * sizeof(float));
  const int r = embeddings ? model_embed_faces(model, faces->face, view, faces->size, faces->count,
                                               embeddings, NULL, NULL, err)
                           : error_set(err, -ENOMEM, "out of memory");
  if (r == 0)
    return embeddings;
  free(embeddings);
  return NULL;
}

static float cosine(const float *embeddings, uint32_t dimension, uint32_t i, uint32_t j) {
  const float *x = embeddings + (size_t)i * dimension, *y = embeddings + (size_t)j * dimension;
  float sum = 0;
  for (uint32_t k = 0; k < dimension; k++)
    sum += x[k] * y[k];
  return sum;
}

static int descending(const void *a, const void *b) {
  const float x = *(const float *)a, y = *(const float *)b;
  return (x < y) - (x > y);
}

/* Which accepts 1 % of the pairs of two people: every 7th image with every 13th behind it. */
static float threshold(const struct job_data *data, const float *embeddings, uint32_t dimension) {
  float *wrong = malloc(WRONG_MOST * sizeof(float)), found = 2;
  uint32_t count = 0;
  for (uint32_t i = 0; wrong && i < data->train.count; i += 7)
    for (uint32_t j = i + 1; j < data->train.count && count < WRONG_MOST; j += 13)
      if (data->train.identity[i] != data->train.identity[j])
        wrong[count++] = cosine(embeddings, dimension, i, j);
  if (count > 0) {
    qsort(wrong, count, sizeof(float), descending);
    found = wrong[count / 100];
  }
  free(wrong);
  return found;
}

struct person {
  double alike, tar;
  uint32_t pairs, images;
};

static void count_found(const struct job_data *data, const float *embeddings, uint32_t dimension,
                        struct person *people) {
  const float least = threshold(data, embeddings, dimension);
  const uint32_t *identity = data->train.identity;
  for (uint32_t i = 0; i < data->train.count; i++) {
    people[identity[i]].images++;
    for (uint32_t j = i + 1; j < data->train.count && identity[j] == identity[i]; j++) {
      people[identity[i]].tar += cosine(embeddings, dimension, i, j) > least;
      people[identity[i]].pairs++;
    }
  }
}

static int by_alike(const void *a, const void *b) {
  const struct person *x = a, *y = b;
  return (x->alike > y->alike) - (x->alike < y->alike);
}

static void print(struct person *people, uint32_t count) {
  double sum[2] = {0}, product[3] = {0}, images = 0;
  qsort(people, count, sizeof(*people), by_alike);
  for (uint32_t p = 0; p < count; p++) {
    sum[0] += people[p].alike / count;
    sum[1] += people[p].tar / count;
    product[0] += people[p].alike * people[p].alike / count;
    product[1] += people[p].tar * people[p].tar / count;
    product[2] += people[p].alike * people[p].tar / count;
    images += people[p].images;
  }
  const double variance = product[1] - sum[1] * sum[1];
  (void)printf(
      "%u people with two photographs or more: TAR at FAR 1e-2 of another photograph %.3f, deviation "
      "between people %.3f, correlation with how alike %.2f\n",
      count, sum[1], sqrt(variance),
      (product[2] - sum[0] * sum[1]) / sqrt((product[0] - sum[0] * sum[0]) * variance));
  for (uint32_t part = 0; part < PARTS; part++) {
    const uint32_t first = count * part / PARTS, next = count * (part + 1) / PARTS;
    double tar = 0, own = 0;
    for (uint32_t p = first; p < next; p++) {
      tar += people[p].tar / (next - first);
      own += people[p].images;
    }
    (void)printf("quarter %u by how alike: %.3f; %.1f photographs a person, %.1f %% of all\n", part + 1, tar,
                 own / (next - first), 100 * own / images);
  }
}

static int measure(const char *const argv[3], struct guise_error *err) {
  struct job_data data = {.pack = NULL};
  struct model *embedder = NULL, *teacher = NULL;
  struct gallery *gallery = NULL;
  float *embeddings = NULL;
  int r = model_load(argv[1], BATCH, 1, &embedder, err);
  if (r == 0)
    r = model_load(argv[2], BATCH, 1, &teacher, err);
  if (r == 0)
    r = job_data_open(argv[0], teacher->info.input, NULL, &data, err);
  struct face_view view = {&data, data.train.image};
  const struct gallery_faces faces = {.face = face_view_image,
                                      .context = &view,
                                      .identity = data.train.identity,
                                      .count = data.train.count,
                                      .people = data.train.identities,
                                      .size = data.size};
  if (r == 0)
    r = gallery_new(embedder, &faces, &gallery, err);
  if (r == 0) {
    embeddings = embed_all(&view, &faces, teacher, err);
    r = embeddings ? 0 : -ENOMEM;
  }
  struct person *people = calloc((size_t)data.train.identities + 1, sizeof(*people));
  if (r == 0 && !people)
    r = error_set(err, -ENOMEM, "out of memory");
  if (r == 0) {
    uint32_t known = 0;
    count_found(&data, embeddings, teacher->info.embedding, people);
    for (uint32_t p = 0; p < data.train.identities; p++)
      if (people[p].pairs > 0)
        people[known++] = (struct person){(double)gallery_alike(gallery, p), people[p].tar / people[p].pairs,
                                          people[p].pairs, people[p].images};
    if (known >= PARTS)
      print(people, known);
    else
      r = error_set(err, -EINVAL, "%u people with two photographs are too few to compare: at least %u", known,
                    (uint32_t)PARTS);
  }
  free(people);
  free(embeddings);
  gallery_free(gallery);
  model_free(embedder);
  model_free(teacher);
  job_data_close(&data);
  return r;
}

int bench_alike(int argc, char **argv) {
  struct guise_error err = {0};
  if (argc != 3) {
    (void)fputs("guise-bench alike: a pack and two models\n", stderr);
    return 2;
  }
  const char *const paths[3] = {argv[0], argv[1], argv[2]};
  if (measure(paths, &err) < 0) {
    (void)fprintf(stderr, "guise-bench alike: %s\n", err.text);
    return 1;
  }
  return 0;
}
