#include "core/attack/evaluator.h"

#include <math.h>
#include <string.h>

#include "core/attack/student.h"
#include "core/model/embed.h"

#define BATCH 32u

struct evaluator {
  struct model *model;
  uint32_t classes, dimension, known;
  uint32_t *person;   /* (known) */
  float *photographs; /* (known, dimension) of length 1, likewise below */
  float *prototypes;  /* (classes, dimension) */
  float *pictures;    /* (count, dimension) */
};

int evaluator_new(const char *path, const struct face_sample *known, uint32_t size,
                  const struct lessons_options *options, struct evaluator **ret_evaluator,
                  struct guise_error *err) {
  _cleanup_(evaluator_freep) struct evaluator *evaluator = calloc(1, sizeof(*evaluator));
  if (!evaluator)
    return error_set(err, -ENOMEM, "out of memory for an evaluator");
  int r = model_load(path, BATCH, options->threads, &evaluator->model, err);
  if (r < 0)
    return r;
  const uint32_t n = evaluator->dimension = evaluator->model->info.embedding;
  evaluator->classes = known->people;
  evaluator->known = known->count;
  evaluator->person = calloc(known->count, sizeof(*evaluator->person));
  evaluator->photographs = calloc((size_t)known->count * n, sizeof(float));
  evaluator->prototypes = calloc((size_t)known->people * n, sizeof(float));
  if (!evaluator->person || !evaluator->photographs || !evaluator->prototypes)
    return error_set(err, -ENOMEM, "out of memory for the embeddings of %u photographs", known->count);
  memcpy(evaluator->person, known->person, known->count * sizeof(*evaluator->person));
  r = teacher_embed(evaluator->model, known, size, false, options, evaluator->photographs, err);
  if (r < 0)
    return r;
  for (uint32_t i = 0; i < known->count; i++)
    for (uint32_t d = 0; d < n; d++)
      evaluator->prototypes[(size_t)known->person[i] * n + d] += evaluator->photographs[(size_t)i * n + d];
  for (uint32_t c = 0; c < evaluator->classes; c++)
    (void)embedding_normalise(evaluator->prototypes + (size_t)c * n, n);
  *ret_evaluator = TAKE(evaluator);
  return 0;
}

struct evaluator *evaluator_free(struct evaluator *evaluator) {
  if (!evaluator)
    return NULL;
  model_free(evaluator->model);
  free(evaluator->person);
  free(evaluator->photographs);
  free(evaluator->prototypes);
  free(evaluator->pictures);
  free(evaluator);
  return NULL;
}

int evaluator_look(struct evaluator *evaluator, const uint8_t *rgb, uint32_t count, uint32_t size,
                   const struct lessons_options *options, struct guise_error *err) {
  _cleanup_(freep) uint32_t *person = calloc(count, sizeof(*person));
  float *pictures = realloc(evaluator->pictures, (size_t)count * evaluator->dimension * sizeof(float));
  if (pictures)
    evaluator->pictures = pictures;
  if (!person || !pictures)
    return error_set(err, -ENOMEM, "out of memory for the embeddings of %u pictures", count);
  const struct face_sample shown = {.person = person, .count = count, .people = 1};
  return teacher_embed_pictures(evaluator->model, rgb, &shown, size, options, pictures, err);
}

static double cosine(const float *a, const float *b, uint32_t n) {
  double sum = 0;
  for (uint32_t d = 0; d < n; d++)
    sum += (double)a[d] * (double)b[d];
  return sum;
}

struct judgement evaluator_judge(const struct evaluator *evaluator, uint32_t picture, uint32_t class_) {
  const uint32_t n = evaluator->dimension;
  const float *shown = evaluator->pictures + (size_t)picture * n;
  const double own = cosine(shown, evaluator->prototypes + (size_t)class_ * n, n);
  struct judgement judgement = {0, 2};
  for (uint32_t c = 0; c < evaluator->classes; c++)
    judgement.rank += c != class_ && cosine(shown, evaluator->prototypes + (size_t)c * n, n) >= own;
  for (uint32_t i = 0; i < evaluator->known; i++)
    if (evaluator->person[i] == class_)
      judgement.distance =
          fmin(judgement.distance, 1 - cosine(shown, evaluator->photographs + (size_t)i * n, n));
  return judgement;
}
