/* A student network: it learns to give, from a template, the embedding that a public teacher gives to the
 * photograph. Internal to core/attack. */
#pragma once

#include "core/attack/faces.h"
#include "core/model/model.h"

struct student_options {
  const struct mask *mask;            /* whose templates it reads */
  const struct attack_mixing *mixing; /* how they are mixed; NULL: they are not */
  bool inference;    /* templates as sent for recognition, the mask's decoys taken out where it has some */
  uint32_t steps;    /* at least 1 */
  bool from_scratch; /* never begin with the teacher's weights */
  uint64_t seed;
  uint32_t threads;
  bool (*should_stop)(void *stop_context); /* may be NULL; asked in the calling thread */
  void *stop_context;
};

#define STUDENT_BATCH 32u
#define STUDENT_FACES_LEAST STUDENT_BATCH /* public faces */

/* Embeddings of photographs by the teacher, (count, embedding) of length 1; mirrored: of the mirrored
 * photographs. The statistics of its norms are taken from these photographs, so that it is not confused by
 * pictures of another kind than it learnt from; the student's are taken from the templates likewise. The
 * faces' size need not be the teacher's. 0, -ECANCELED, -ENOMEM, ... as embed_images. */
int teacher_embed(struct model *teacher, const struct face_sample *faces, uint32_t size, bool mirrored,
                  const struct student_options *options, float *ret_embeddings, struct guise_error *err);

/* Whether the student can begin with the teacher's weights: it sees pixels of the same size behind the mask's
 * inverse. */
bool student_fits(const struct model *teacher, const struct mask *mask);

struct student;

/* Trains on public faces with the teacher's embeddings of them as targets: (2, faces->count, embedding),
 * plain and mirrored, as teacher_embed gives them. At least STUDENT_FACES_LEAST faces (-EINVAL). -ECANCELED;
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
