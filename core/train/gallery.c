#include "core/train/gallery.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/memory.h"
#include "core/image/pack.h"
#include "core/model/model.h"

#define ALIKE_MOST 3.0f
#define CHUNK 64u /* photographs between two looks at should_stop */

struct gallery {
  uint32_t most, embedding;
  uint32_t *count; /* (people) */
  uint32_t *image; /* (people, most) */
  float *features; /* (people, most, embedding) */
  float *alike;    /* (people) */
  float scale;
};

struct gallery *gallery_free(struct gallery *gallery) {
  if (!gallery)
    return NULL;
  tensor_free(gallery->count);
  tensor_free(gallery->image);
  tensor_free(gallery->features);
  tensor_free(gallery->alike);
  free(gallery);
  return NULL;
}

static const float *features_of(const struct gallery *gallery, uint32_t person, uint32_t i) {
  return gallery->features + ((size_t)person * gallery->most + i) * gallery->embedding;
}

static float dot(const float *x, const float *y, uint32_t n) {
  float sum = 0;
#pragma omp simd reduction(+ : sum)
  for (uint32_t i = 0; i < n; i++)
    sum += x[i] * y[i];
  return sum;
}

/* Which images are kept of each person. */
static void choose(struct gallery *gallery, const struct gallery_faces *faces) {
  for (uint32_t first = 0, next; first < faces->count; first = next) {
    const uint32_t person = faces->identity[first];
    for (next = first; next < faces->count && faces->identity[next] == person;)
      next++;
    const uint32_t all = next - first, kept = MIN(all, gallery->most);
    for (uint32_t i = 0; i < kept; i++)
      gallery->image[(size_t)person * gallery->most + i] = first + (uint32_t)((uint64_t)i * all / kept);
    gallery->count[person] = kept;
  }
}

/* Embeds images[0, count) to `to`. */
static int embed(struct model *embedder, const struct gallery_faces *faces, const uint32_t *images,
                 uint32_t count, float *to, struct guise_error *err) {
  const uint32_t side = embedder->info.input;
  const uint8_t *list[GALLERY_MOST + CHUNK];
  _cleanup_(freep) uint8_t *pictures = malloc((size_t)count * side * side * 3 + 1);
  if (!pictures)
    return error_set(err, -ENOMEM, "out of memory for photographs to compare with");
  for (uint32_t i = 0; i < count; i++) {
    uint8_t *picture = pictures + (size_t)i * side * side * 3;
    image_resize(faces->face(faces->context, images[i]), faces->size, faces->size, picture, side);
    list[i] = picture;
  }
  return model_embed(embedder, list, count, false, to, err);
}

/* Some people at a time, whose photographs lie one behind the other in `batch`. */
static int embed_all(struct gallery *gallery, struct model *embedder, const struct gallery_faces *faces,
                     float *batch, struct guise_error *err) {
  const size_t most = gallery->most, n = gallery->embedding;
  uint32_t images[GALLERY_MOST + CHUNK];
  int r = 0;
  for (uint32_t person = 0, from; person < faces->people && r == 0;) {
    uint32_t count = 0;
    if (faces->should_stop && faces->should_stop(faces->stop_context))
      return -ECANCELED;
    for (from = person; person < faces->people && count < CHUNK; person++)
      for (uint32_t i = 0; i < gallery->count[person]; i++)
        images[count++] = gallery->image[person * most + i];
    r = embed(embedder, faces, images, count, batch, err);
    const float *next = batch;
    for (uint32_t p = from; p < person && r == 0; p++) {
      memcpy(gallery->features + p * most * n, next, gallery->count[p] * n * sizeof(float));
      next += gallery->count[p] * n;
    }
  }
  return r;
}

/* Mean cosine of two photographs of a person; there are two. */
static float mean_alike(const struct gallery *gallery, uint32_t person) {
  const uint32_t count = gallery->count[person];
  float sum = 0;
  for (uint32_t i = 0; i < count; i++)
    sum += gallery_cosine(gallery, person, gallery->image[(size_t)person * gallery->most + i],
                          features_of(gallery, person, i));
  return sum / (float)count;
}

/* Mean cosine of everybody's first photograph and those of the next person. */
static double mean_strange(const struct gallery *gallery, uint32_t people) {
  double sum = 0;
  for (uint32_t p = 0; p < people; p++)
    sum += (double)gallery_cosine(gallery, (p + 1) % people, UINT32_MAX, features_of(gallery, p, 0));
  return sum / people;
}

static void measure_alike(struct gallery *gallery, uint32_t people) {
  double sum = 0, squares = 0;
  uint32_t known = 0;
  for (uint32_t p = 0; p < people; p++) {
    if (gallery->count[p] < 2)
      continue;
    gallery->alike[p] = mean_alike(gallery, p);
    sum += (double)gallery->alike[p];
    squares += (double)gallery->alike[p] * (double)gallery->alike[p];
    known++;
  }
  const double mean = known ? sum / known : 1, variance = known ? squares / known - mean * mean : 0;
  const float deviation = (float)sqrt(fmax(variance, 1e-8));
  gallery->scale = fmaxf((float)(mean - mean_strange(gallery, people)), GALLERY_SCALE_LEAST);
  for (uint32_t p = 0; p < people; p++)
    if (gallery->count[p] >= 2)
      gallery->alike[p] =
          fmaxf(-ALIKE_MOST, fminf(ALIKE_MOST, (gallery->alike[p] - (float)mean) / deviation));
}

int gallery_new(struct model *embedder, const struct gallery_faces *faces, struct gallery **ret_gallery,
                struct guise_error *err) {
  const size_t people = faces->people, n = embedder->info.embedding,
               room = GALLERY_BYTES / (people * n * sizeof(float) + 1);
  struct gallery *gallery = calloc(1, sizeof(*gallery));
  if (!gallery)
    return error_set(err, -ENOMEM, "out of memory for photographs to compare with");
  gallery->embedding = embedder->info.embedding;
  gallery->most = (uint32_t)MIN(MAX(room, (size_t)2), (size_t)GALLERY_MOST);
  gallery->count = tensor_alloc(people * sizeof(*gallery->count) + 1);
  gallery->image = tensor_alloc(people * gallery->most * sizeof(*gallery->image) + 1);
  gallery->features = tensor_alloc(people * gallery->most * n * sizeof(float) + 1);
  gallery->alike = tensor_alloc(people * sizeof(float) + 1);
  float *batch = tensor_alloc((GALLERY_MOST + CHUNK) * n * sizeof(float));
  int r = 0;
  if (!gallery->count || !gallery->image || !gallery->features || !gallery->alike || !batch)
    r = error_set(err, -ENOMEM, "out of memory for photographs of %u people to compare with", faces->people);
  if (r == 0) {
    choose(gallery, faces);
    r = embed_all(gallery, embedder, faces, batch, err);
  }
  tensor_free(batch);
  if (r < 0) {
    gallery_free(gallery);
    return r;
  }
  measure_alike(gallery, faces->people);
  *ret_gallery = gallery;
  return 0;
}

float gallery_cosine(const struct gallery *gallery, uint32_t person, uint32_t masked,
                     const float *embedding) {
  const uint32_t count = gallery->count[person], *image = gallery->image + (size_t)person * gallery->most;
  float sum = 0, own = 0;
  uint32_t others = 0;
  for (uint32_t i = 0; i < count; i++) {
    const float cosine = dot(embedding, features_of(gallery, person, i), gallery->embedding);
    if (image[i] == masked) {
      own = cosine;
    } else {
      sum += cosine;
      others++;
    }
  }
  return others > 0 ? sum / (float)others : own;
}

float gallery_alike(const struct gallery *gallery, uint32_t person) {
  return gallery->alike[person];
}

float gallery_scale(const struct gallery *gallery) {
  return gallery->scale;
}
