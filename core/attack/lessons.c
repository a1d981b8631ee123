#include "core/attack/lessons.h"

#include <omp.h>
#include <string.h>

#include "core/base/memory.h"
#include "core/base/philox.h"

/* Sequences of RNG_ATTACK beyond those of faces.c. */
#define DRAW_ORDER (1ull << 32)
#define DRAW_MIRROR (1ull << 33)

struct lessons {
  struct lessons_options options;
  const struct face_sample *faces;
  struct lesson lesson;
  uint32_t *order;  /* (faces->count) of this pass over the faces */
  float *scratch;   /* (threads, stride) of the mask */
  float *templates; /* (LESSON_BATCH, elements) before mixing; NULL without mixing */
  float *part;      /* (threads, elements) one member of a mix */
  float *seen;      /* (threads, decoys' mixes, elements) what was sent; NULL without decoys */
  size_t stride, elements;
};

struct lessons_options lessons_options_of(const struct attack_context *context) {
  return (struct lessons_options){.seed = context->seed,
                                  .threads = context->threads,
                                  .should_stop = context->should_stop,
                                  .stop_context = context->stop_context};
}

int lessons_check_faces(const struct face_sample *faces, struct guise_error *err) {
  if (faces->count >= LESSON_BATCH)
    return 0;
  return error_set(err, -EINVAL,
                   "an attack that learns needs at least %u public faces, not %u: name a larger data set "
                   "in audit.public_dataset",
                   LESSON_BATCH, faces->count);
}

int lessons_stop_code(const struct lessons_options *options, struct guise_error *err) {
  if (options->should_stop && options->should_stop(options->stop_context))
    return error_set(err, -ECANCELED, "the attack was stopped");
  return 0;
}

static bool takes_decoys_out(const struct lessons *lessons) {
  return lessons->options.inference && mask_decoys(lessons->options.mask) != NULL;
}

static int make_buffers(struct lessons *lessons, struct guise_error *err) {
  const uint32_t threads = lessons->options.threads;
  const size_t elements = lessons->elements * sizeof(float);
  lessons->order = calloc(lessons->faces->count, sizeof(*lessons->order));
  lessons->scratch = tensor_alloc(MAX(threads * lessons->stride, (size_t)1) * sizeof(float));
  lessons->part = tensor_alloc(threads * elements);
  if (lessons->options.mixing)
    lessons->templates = tensor_alloc(LESSON_BATCH * elements);
  if (takes_decoys_out(lessons))
    lessons->seen = tensor_alloc(threads * mask_inference_mixes(lessons->options.mask) * elements);
  if (!lessons->order || !lessons->scratch || !lessons->part ||
      (lessons->options.mixing && !lessons->templates) || (takes_decoys_out(lessons) && !lessons->seen))
    return error_set(err, -ENOMEM, "out of memory for the lessons of %u public faces", lessons->faces->count);
  return 0;
}

int lessons_new(const struct lessons_options *options, const struct face_sample *faces,
                struct lessons **ret_lessons, struct guise_error *err) {
  int r = lessons_check_faces(faces, err);
  if (r < 0)
    return r;
  struct lessons *lessons = calloc(1, sizeof(*lessons));
  if (!lessons)
    return error_set(err, -ENOMEM, "out of memory for the lessons of %u public faces", faces->count);
  *lessons = (struct lessons){.options = *options,
                              .faces = faces,
                              .stride = (mask_scratch(options->mask) + 15) / 16 * 16,
                              .elements = mask_elements(options->mask)};
  r = make_buffers(lessons, err);
  if (r < 0) {
    lessons_free(lessons);
    return r;
  }
  *ret_lessons = lessons;
  return 0;
}

struct lessons *lessons_free(struct lessons *lessons) {
  if (!lessons)
    return NULL;
  free(lessons->order);
  tensor_free(lessons->scratch);
  tensor_free(lessons->templates);
  tensor_free(lessons->part);
  tensor_free(lessons->seen);
  free(lessons);
  return NULL;
}

/* Chooses the step's faces, in a new order each time all have been seen. */
static void choose_faces(struct lessons *lessons, uint32_t step) {
  struct lesson *lesson = &lessons->lesson;
  uint32_t per_pass = lessons->faces->count / LESSON_BATCH, at = step % per_pass * LESSON_BATCH;
  struct rng rng;
  if (step % per_pass == 0) {
    rng_init(&rng, lessons->options.seed, RNG_ATTACK, DRAW_ORDER + step / per_pass, 0);
    rng_permutation(&rng, lessons->order, lessons->faces->count);
  }
  rng_init(&rng, lessons->options.seed, RNG_ATTACK, DRAW_MIRROR + step, 0);
  for (uint32_t i = 0; i < LESSON_BATCH; i++) {
    lesson->face[i] = lessons->order[at + i];
    lesson->index[i] = lessons->faces->index[lesson->face[i]];
    lesson->person[i] = lessons->faces->person[lesson->face[i]];
    lesson->target[i] = i;
    lesson->mirrored[i] = rng_u32(&rng) & 1;
  }
}

/* The template of one face: as it is sent, or as it goes into a mix. */
static void face_template(struct lessons *lessons, const uint8_t *rgb, bool mirrored, struct rng *rng,
                          float *ret_template) {
  size_t thread = (size_t)omp_get_thread_num();
  float *scratch = lessons->scratch + thread * lessons->stride;
  if (!takes_decoys_out(lessons)) {
    mask_template(lessons->options.mask, rgb, mirrored, rng, scratch, ret_template);
    return;
  }
  size_t sent = mask_inference_mixes(lessons->options.mask) * lessons->elements;
  decoyed_template(lessons->options.mask, rgb, mirrored, rng, scratch, lessons->seen + thread * sent, NULL,
                   ret_template);
}

/* What a random mask draws for the step's i-th template; from LESSON_BATCH on: for the partners of mix i. */
static void draws_of(const struct lessons *lessons, uint32_t step, uint32_t i, struct rng *ret_rng) {
  rng_init(ret_rng, lessons->options.seed, RNG_MASK, step + 1ull, i);
}

/* ret_template := mix i of the batch's templates and of public faces. */
static void blend(struct lessons *lessons, const struct face_sample *batch, uint32_t step, uint32_t i,
                  float *ret_template) {
  const struct mix *mix = &lessons->lesson.mix[i];
  float *part = lessons->part + (size_t)omp_get_thread_num() * lessons->elements;
  memset(ret_template, 0, lessons->elements * sizeof(float));
  for (uint32_t j = 0; j < mix->k; j++) {
    const float *member = lessons->templates + (size_t)mix->member[j] * lessons->elements;
    if (!face_sample_owns(batch, mix->member[j])) {
      struct rng rng;
      draws_of(lessons, step, LESSON_BATCH + i * MIX_MAX + j, &rng);
      face_template(lessons, face_sample_image(batch, mix->member[j]), false, &rng, part);
      member = part;
    }
    for (size_t e = 0; e < lessons->elements; e++)
      ret_template[e] += mix->lambda[j] * member[e];
  }
  mask_lower(lessons->options.mask, mix->drop, ret_template);
}

/* Mixes within the batch and with the pool's public faces, as the training that is attacked does, anew each
 * step. */
static void mix_faces(struct lessons *lessons, uint32_t step, float *ret_templates) {
  struct lesson *lesson = &lessons->lesson;
  const struct attack_mixing *mixing = lessons->options.mixing;
  const struct face_sample batch = {.from = lessons->faces->from,
                                    .index = lesson->index,
                                    .person = lesson->person,
                                    .count = LESSON_BATCH,
                                    .partners = mixing->partners.count > 0 ? &mixing->partners : NULL};
  uint64_t seed = lessons->options.seed + (step + 1) * 0x9E3779B97F4A7C15ull;
#pragma omp parallel for schedule(static) num_threads(lessons->options.threads)
  for (uint32_t i = 0; i < LESSON_BATCH; i++) {
    face_sample_mix(&batch, mixing, i, seed, &lesson->mix[i]);
    lesson->target[i] = lesson->mix[i].member[mix_heaviest(&batch, &lesson->mix[i])];
    blend(lessons, &batch, step, i, ret_templates + i * lessons->elements);
  }
}

/* The last step of methods that hide the mix itself; part of a template that is sent. */
static void hide_mixes(struct lessons *lessons, uint32_t step, float *templates) {
  if (!mask_has_after_mix(lessons->options.mask) || takes_decoys_out(lessons))
    return;
#pragma omp parallel for schedule(static) num_threads(lessons->options.threads)
  for (uint32_t i = 0; i < LESSON_BATCH; i++) {
    struct rng rng;
    rng_init(&rng, lessons->options.seed, RNG_AFTER_MIX, step + 1ull, i);
    mask_after_mix(lessons->options.mask, &rng,
                   lessons->scratch + (size_t)omp_get_thread_num() * lessons->stride,
                   templates + i * lessons->elements);
  }
}

static void denoise(struct lessons *lessons, float *templates) {
  if (!lessons->options.denoised || !mask_denoises(lessons->options.mask))
    return;
#pragma omp parallel for schedule(static) num_threads(lessons->options.threads)
  for (uint32_t i = 0; i < LESSON_BATCH; i++)
    mask_denoise(lessons->options.mask, templates + i * lessons->elements,
                 lessons->scratch + (size_t)omp_get_thread_num() * lessons->stride);
}

const struct lesson *lessons_draw(struct lessons *lessons, uint32_t step, float *ret_templates) {
  struct lesson *lesson = &lessons->lesson;
  float *templates = lessons->options.mixing ? lessons->templates : ret_templates;
  choose_faces(lessons, step);
#pragma omp parallel for schedule(static) num_threads(lessons->options.threads)
  for (uint32_t i = 0; i < LESSON_BATCH; i++) {
    struct rng rng;
    draws_of(lessons, step, i, &rng); /* a random mask draws anew each time */
    face_template(lessons, face_sample_image(lessons->faces, lesson->face[i]), lesson->mirrored[i], &rng,
                  templates + i * lessons->elements);
  }
  if (lessons->options.mixing)
    mix_faces(lessons, step, ret_templates);
  hide_mixes(lessons, step, ret_templates);
  denoise(lessons, ret_templates);
  return lesson;
}

void lessons_templates(struct lessons *lessons, const struct face_sample *faces, const struct mix *mixes,
                       uint32_t first, float *ret_templates) {
#pragma omp parallel for schedule(static) num_threads(lessons->options.threads)
  for (uint32_t i = 0; i < LESSON_BATCH; i++) {
    const struct mix *mix = &mixes[(first + i) % faces->count];
    size_t thread = (size_t)omp_get_thread_num();
    struct rng rng;
    mask_rng_inference(&rng, faces->index[mix->member[0]]);
    if (takes_decoys_out(lessons))
      face_template(lessons, face_sample_image(faces, mix->member[0]), false, &rng,
                    ret_templates + i * lessons->elements);
    else
      face_sample_template(faces, lessons->options.mask, mix, 0, lessons->scratch + thread * lessons->stride,
                           lessons->part + thread * lessons->elements, ret_templates + i * lessons->elements);
  }
  denoise(lessons, ret_templates);
}
