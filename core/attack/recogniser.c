#include "core/attack/recogniser.h"

#include <string.h>

#include "core/attack/student.h"
#include "core/attack/view.h"
#include "core/base/memory.h"
#include "core/freq/dct.h"
#include "core/model/judge.h"

struct recogniser {
  struct lessons_options options;
  const struct face_sample *faces;
  struct judge *judge;
  uint32_t size, input, embedding; /* pixels a side of drawings and of what the teacher sees */
  float *pictures;                 /* (LESSON_BATCH, 3, size, size) */
  float *seen, *slopes;            /* (LESSON_BATCH, 3, input, input) */
  float *wanted;                   /* (LESSON_BATCH, embedding) */
  float *known;                    /* (2, faces, embedding), plain and mirrored */
};

static const struct view as_it_is;

/* What the teacher sees of them; a teacher of the drawings' size sees them as they are. */
static void show(struct recogniser *recogniser, const float *pictures) {
  const size_t from = (size_t)3 * recogniser->size * recogniser->size,
               to = (size_t)3 * recogniser->input * recogniser->input;
#pragma omp parallel for schedule(static) num_threads(recogniser->options.threads)
  for (uint32_t i = 0; i < LESSON_BATCH; i++)
    view_show(&as_it_is, pictures + i * from, recogniser->size, recogniser->input, recogniser->seen + i * to);
}

static void load(struct recogniser *recogniser, uint32_t first, bool mirrored) {
  const size_t picture = (size_t)3 * recogniser->size * recogniser->size;
#pragma omp parallel for schedule(static) num_threads(recogniser->options.threads)
  for (uint32_t i = 0; i < LESSON_BATCH; i++)
    rgb_to_ycbcr(face_sample_image(recogniser->faces, (first + i) % recogniser->faces->count),
                 recogniser->size, mirrored, recogniser->pictures + i * picture);
}

static int know_faces(struct recogniser *recogniser, bool mirrored, float *ret_known,
                      struct guise_error *err) {
  const uint32_t count = recogniser->faces->count, dimension = recogniser->embedding;
  int r = 0;
  for (uint32_t first = 0; first < count && r == 0; first += LESSON_BATCH) {
    if ((r = lessons_stop_code(&recogniser->options, err)) < 0)
      break;
    load(recogniser, first, mirrored);
    show(recogniser, recogniser->pictures);
    r = judge_embed(recogniser->judge, recogniser->seen, recogniser->wanted, err);
    if (r == 0)
      memcpy(ret_known + (size_t)first * dimension, recogniser->wanted,
             (size_t)MIN(LESSON_BATCH, count - first) * dimension * sizeof(float));
  }
  return r;
}

static int make_buffers(struct recogniser *recogniser, struct guise_error *err) {
  const size_t from = (size_t)LESSON_BATCH * 3 * recogniser->size * recogniser->size,
               to = (size_t)LESSON_BATCH * 3 * recogniser->input * recogniser->input,
               faces = (size_t)2 * recogniser->faces->count;
  recogniser->pictures = tensor_alloc(from * sizeof(float));
  recogniser->seen = tensor_alloc(to * sizeof(float));
  recogniser->slopes = tensor_alloc(to * sizeof(float));
  recogniser->wanted = tensor_alloc((size_t)LESSON_BATCH * recogniser->embedding * sizeof(float));
  recogniser->known = tensor_alloc(faces * recogniser->embedding * sizeof(float));
  return recogniser->pictures && recogniser->seen && recogniser->slopes && recogniser->wanted &&
                 recogniser->known
             ? 0
             : error_set(err, -ENOMEM, "out of memory for the attacker's recogniser");
}

static int make_judge(struct recogniser *recogniser, struct model *teacher, struct guise_error *err) {
  struct graph *adapted = NULL;
  int r = teacher_adapt(teacher, recogniser->faces, recogniser->size, &recogniser->options, &adapted, err);
  if (r == 0)
    r = judge_of(teacher, adapted, LESSON_BATCH, recogniser->options.threads, &recogniser->judge, err);
  graph_free(adapted);
  return r;
}

int recogniser_new(struct model *teacher, const struct face_sample *faces, uint32_t size,
                   const struct lessons_options *options, struct recogniser **ret_recogniser,
                   struct guise_error *err) {
  _cleanup_(recogniser_freep) struct recogniser *recogniser = NULL;
  int r = lessons_check_faces(faces, err);
  if (r < 0)
    return r;
  if (!judge_sees_through(teacher->mask)) {
    *ret_recogniser = NULL;
    return 0;
  }
  recogniser = calloc(1, sizeof(*recogniser));
  if (!recogniser)
    return error_set(err, -ENOMEM, "out of memory for the attacker's recogniser");
  *recogniser = (struct recogniser){.options = *options,
                                    .faces = faces,
                                    .size = size,
                                    .input = teacher->info.input,
                                    .embedding = teacher->info.embedding};
  r = make_buffers(recogniser, err);
  if (r == 0)
    r = make_judge(recogniser, teacher, err);
  for (int mirrored = 0; mirrored < 2 && r == 0; mirrored++)
    r = know_faces(recogniser, mirrored,
                   recogniser->known + (size_t)mirrored * faces->count * recogniser->embedding, err);
  if (r == 0)
    *ret_recogniser = TAKE(recogniser);
  return r;
}

struct recogniser *recogniser_free(struct recogniser *recogniser) {
  if (!recogniser)
    return NULL;
  judge_free(recogniser->judge);
  tensor_free(recogniser->pictures);
  tensor_free(recogniser->seen);
  tensor_free(recogniser->slopes);
  tensor_free(recogniser->wanted);
  tensor_free(recogniser->known);
  free(recogniser);
  return NULL;
}

static void choose_wanted(struct recogniser *recogniser, const struct lesson *lesson) {
  for (uint32_t i = 0; i < LESSON_BATCH; i++) {
    const uint32_t target = lesson->target[i];
    const size_t row =
        (lesson->mirrored[target] ? recogniser->faces->count : 0) + (size_t)lesson->face[target];
    memcpy(recogniser->wanted + (size_t)i * recogniser->embedding,
           recogniser->known + row * recogniser->embedding, recogniser->embedding * sizeof(float));
  }
}

int recogniser_compare(struct recogniser *recogniser, const float *drawn, const struct lesson *lesson,
                       float weight, double *ret_distance, float *gradient, struct guise_error *err) {
  const size_t from = (size_t)3 * recogniser->size * recogniser->size,
               to = (size_t)3 * recogniser->input * recogniser->input;
  choose_wanted(recogniser, lesson);
  show(recogniser, drawn);
  memset(recogniser->slopes, 0, LESSON_BATCH * to * sizeof(float));
  int r = judge_compare(recogniser->judge, recogniser->seen, recogniser->wanted, weight, ret_distance,
                        recogniser->slopes, err);
  if (r < 0)
    return r;
#pragma omp parallel for schedule(static) num_threads(recogniser->options.threads)
  for (uint32_t i = 0; i < LESSON_BATCH; i++)
    view_add_back(&as_it_is, recogniser->slopes + i * to, recogniser->size, recogniser->input,
                  gradient + i * from);
  return 0;
}
