/* A student network: it learns to give, from a template, the embedding that a public teacher gives to the
 * photograph. Internal to core/attack. */
#pragma once

#include "core/attack/lessons.h"
#include "core/attack/victims.h"
#include "core/model/model.h"

struct student_options {
  struct lessons_options lessons;
  uint32_t steps;    /* at least 1 */
  bool from_scratch; /* never begin with the teacher's weights */
};

/* What an attack with a teacher begins with: the teacher, the victims, public faces to learn from. */
struct lesson_plan {
  struct model *teacher;
  struct victims victims;
  struct face_sample open;
};

/* The teacher. `attack` is its name, for the message. -EINVAL without a teacher, -ENOMEM, and what
 * model_load() says; *ret_plan is to be given back in any case. */
int lesson_plan_open(const struct attack_context *context, const char *attack, struct lesson_plan *ret_plan,
                     struct guise_error *err);
/* Then the faces; `victims` and `pairs`: how many at most. -ENOMEM, and what victims_choose() says. */
int lesson_plan_faces(const struct attack_context *context, uint32_t victims, uint32_t pairs,
                      struct lesson_plan *plan, struct guise_error *err);
void lesson_plan_done(struct lesson_plan *plan);

/* Embeddings of photographs by the teacher, (count, embedding) of length 1; mirrored: of the mirrored
 * photographs. The statistics of its norms are taken from these photographs, so that it is not confused by
 * pictures of another kind than it learnt from; the student's are taken from the templates likewise. The
 * faces' size need not be the teacher's. Of the options only threads and should_stop count. 0, -ECANCELED,
 * -ENOMEM, ... as embed_images. */
int teacher_embed(struct model *teacher, const struct face_sample *faces, uint32_t size, bool mirrored,
                  const struct lessons_options *options, float *ret_embeddings, struct guise_error *err);

/* The same of pictures that an attacker made, (count, size, size, 3): row i is said to be of
 * sample->person[i]. */
int teacher_embed_pictures(struct model *teacher, const uint8_t *rgb, const struct face_sample *sample,
                           uint32_t size, const struct lessons_options *options, float *ret_embeddings,
                           struct guise_error *err);

/* The teacher's network, forward only and of the teacher's batch, with the norms' statistics of these
 * photographs; the caller's. */
int teacher_adapt(struct model *teacher, const struct face_sample *faces, uint32_t size,
                  const struct lessons_options *options, struct graph **ret_graph, struct guise_error *err);

/* Whether the student can begin with the teacher's weights: it sees pixels of the same size behind the mask's
 * inverse. */
bool student_fits(const struct model *teacher, const struct mask *mask);

struct student;

/* Trains on public faces with the teacher's embeddings of them as targets: (2, faces->count, embedding),
 * plain and mirrored, as teacher_embed gives them. At least LESSON_BATCH faces (-EINVAL). -ECANCELED;
 * -EDOM when the training diverged; -ENOMEM. The same result for the same seed and number of threads. */
int student_train(struct model *teacher, const struct student_options *options,
                  const struct face_sample *faces, const float *targets, struct student **ret_student,
                  struct guise_error *err);
struct student *student_free(struct student *student);
DEFINE_CLEANUP(struct student *, student_free)

uint64_t student_parameters(const struct student *student); /* trained numbers */

/* Embeddings of the faces' templates, (count, embedding) of length 1. Template i is composed as mixes[i] says
 * (members are faces of the sample or its partners). */
int student_embed(struct student *student, const struct face_sample *faces, const struct mix *mixes,
                  float *ret_embeddings, struct guise_error *err);
