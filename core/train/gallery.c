#include "core/train/gallery.h"

#include <math.h>
#include <stdlib.h>

#include "core/base/memory.h"
#include "core/model/model.h"

#define ALIKE_MOST 3.0f

struct gallery {
  uint32_t most, embedding;
  uint32_t *first; /* (people + 1) of the photographs that are kept */
  uint32_t *image; /* (photographs) */
  float *features; /* (photographs, embedding) */
  float *alike;    /* (people) */
  float scale;
};

struct gallery *gallery_free(struct gallery *gallery) {
  if (!gallery)
    return NULL;
  tensor_free(gallery->first);
  tensor_free(gallery->image);
  tensor_free(gallery->features);
  tensor_free(gallery->alike);
  free(gallery);
  return NULL;
}

static uint32_t photographs_of(const struct gallery *gallery, uint32_t person) {
  return gallery->first[person + 1] - gallery->first[person];
}

static const float *features_of(const struct gallery *gallery, uint32_t photograph) {
  return gallery->features + (size_t)photograph * gallery->embedding;
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
  uint32_t photographs = 0, next = 0;
  for (uint32_t person = 0; person < faces->people; person++) {
    const uint32_t first = next;
    while (next < faces->count && faces->identity[next] == person)
      next++;
    const uint32_t all = next - first, kept = MIN(all, gallery->most);
    gallery->first[person] = photographs;
    for (uint32_t i = 0; i < kept; i++)
      gallery->image[photographs++] = first + (uint32_t)((uint64_t)i * all / kept);
  }
  gallery->first[faces->people] = photographs;
}

static bool everybody_has_one(const struct gallery *gallery, uint32_t people) {
  for (uint32_t p = 0; p < people; p++)
    if (photographs_of(gallery, p) == 0)
      return false;
  return true;
}

struct kept_faces {
  const struct gallery_faces *faces;
  const uint32_t *image;
};

static const uint8_t *kept_face(void *context, uint32_t i) {
  const struct kept_faces *kept = context;
  return kept->faces->face(kept->faces->context, kept->image[i]);
}

/* Mean cosine of two photographs of a person; there are two. */
static float mean_alike(const struct gallery *gallery, uint32_t person) {
  float sum = 0;
  for (uint32_t i = gallery->first[person]; i < gallery->first[person + 1]; i++)
    sum += gallery_cosine(gallery, person, gallery->image[i], features_of(gallery, i));
  return sum / (float)photographs_of(gallery, person);
}

/* Mean cosine of everybody's first photograph and those of the next person. */
static double mean_strange(const struct gallery *gallery, uint32_t people) {
  double sum = 0;
  for (uint32_t p = 0; p < people; p++)
    sum += (double)gallery_cosine(gallery, (p + 1) % people, UINT32_MAX,
                                  features_of(gallery, gallery->first[p]));
  return sum / people;
}

static void measure_alike(struct gallery *gallery, uint32_t people) {
  double sum = 0, squares = 0;
  uint32_t known = 0;
  for (uint32_t p = 0; p < people; p++) {
    if (photographs_of(gallery, p) < 2)
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
    if (photographs_of(gallery, p) >= 2)
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
  const size_t photographs = MIN(people * gallery->most, (size_t)faces->count);
  gallery->first = tensor_alloc((people + 1) * sizeof(*gallery->first));
  gallery->image = tensor_alloc(photographs * sizeof(*gallery->image) + 1);
  gallery->features = tensor_alloc(photographs * n * sizeof(float) + 1);
  gallery->alike = tensor_alloc(people * sizeof(float) + 1);
  int r = 0;
  if (!gallery->first || !gallery->image || !gallery->features || !gallery->alike)
    r = error_set(err, -ENOMEM, "out of memory for photographs of %u people to compare with", faces->people);
  if (r == 0) {
    choose(gallery, faces);
    if (!everybody_has_one(gallery, faces->people))
      r = error_set(err, -EINVAL, "a person without a photograph cannot be compared with");
  }
  if (r == 0) {
    struct kept_faces kept = {faces, gallery->image};
    r = model_embed_faces(embedder, kept_face, &kept, faces->size, gallery->first[people], gallery->features,
                          faces->should_stop, faces->stop_context, err);
  }
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
  float sum = 0, own = 0;
  uint32_t others = 0;
  for (uint32_t i = gallery->first[person]; i < gallery->first[person + 1]; i++) {
    const float cosine = dot(embedding, features_of(gallery, i), gallery->embedding);
    if (gallery->image[i] == masked) {
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
