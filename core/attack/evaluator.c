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
  double *length;     /* (classes) of the sum of a class's photographs */
  float *pictures;    /* (count, dimension) */
};

/* The cosine, of vectors of length 1. */
static double product(const float *a, const float *b, uint32_t n) {
  double sum = 0;
  for (uint32_t d = 0; d < n; d++)
    sum += (double)a[d] * (double)b[d];
  return sum;
}

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
  evaluator->length = calloc(known->people, sizeof(*evaluator->length));
  if (!evaluator->person || !evaluator->photographs || !evaluator->prototypes || !evaluator->length)
    return error_set(err, -ENOMEM, "out of memory for the embeddings of %u photographs", known->count);
  memcpy(evaluator->person, known->person, known->count * sizeof(*evaluator->person));
  r = teacher_embed(evaluator->model, known, size, false, options, evaluator->photographs, err);
  if (r < 0)
    return r;
  for (uint32_t i = 0; i < known->count; i++)
    for (uint32_t d = 0; d < n; d++)
      evaluator->prototypes[(size_t)known->person[i] * n + d] += evaluator->photographs[(size_t)i * n + d];
  for (uint32_t c = 0; c < evaluator->classes; c++) {
    float *prototype = evaluator->prototypes + (size_t)c * n;
    evaluator->length[c] = sqrt(product(prototype, prototype, n));
    (void)embedding_normalise(prototype, n);
  }
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
  free(evaluator->length);
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

struct judgement evaluator_judge(const struct evaluator *evaluator, uint32_t picture, uint32_t class_) {
  const uint32_t n = evaluator->dimension;
  const float *shown = evaluator->pictures + (size_t)picture * n;
  const double own = product(shown, evaluator->prototypes + (size_t)class_ * n, n);
  struct judgement judgement = {0, 2};
  for (uint32_t c = 0; c < evaluator->classes; c++)
    judgement.rank += c != class_ && product(shown, evaluator->prototypes + (size_t)c * n, n) >= own;
  for (uint32_t i = 0; i < evaluator->known; i++)
    if (evaluator->person[i] == class_)
      judgement.distance =
          fmin(judgement.distance, 1 - product(shown, evaluator->photographs + (size_t)i * n, n));
  return judgement;
}

/* Whether photograph i is nearer to the mean of its person's others than to anybody else's; -1: there is no
 * other. With e of length 1 and s the sum of all of them, the cosine to s - e is (es - 1) / |s - e|. */
static int finds_its_person(const struct evaluator *evaluator, uint32_t i) {
  const uint32_t n = evaluator->dimension, own = evaluator->person[i];
  const float *e = evaluator->photographs + (size_t)i * n;
  const double s = evaluator->length[own], es = s * product(e, evaluator->prototypes + (size_t)own * n, n);
  uint32_t others = 0;
  for (uint32_t k = 0; k < evaluator->known; k++)
    others += k != i && evaluator->person[k] == own;
  if (others == 0)
    return -1;
  const double nearness = (es - 1) / sqrt(fmax(s * s - 2 * es + 1, 1e-12));
  for (uint32_t c = 0; c < evaluator->classes; c++)
    if (c != own && product(e, evaluator->prototypes + (size_t)c * n, n) >= nearness)
      return 0;
  return 1;
}

struct attack_evaluator evaluator_facts(const struct evaluator *evaluator, bool unseen) {
  const struct model_info *info = &evaluator->model->info;
  uint32_t asked = 0, right = 0;
  for (uint32_t i = 0; i < evaluator->known; i++) {
    const int found = finds_its_person(evaluator, i);
    asked += found >= 0;
    right += found == 1;
  }
  return (struct attack_evaluator){.arch = arch_name(info->arch),
                                   .images = info->training.images,
                                   .unseen = unseen,
                                   .accuracy = asked ? (double)right / asked : (double)NAN};
}
