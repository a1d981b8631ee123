/* What attacks that learn are given: templates of public faces, composed anew each step as the client
 * composes them, and after the lessons the templates that are attacked. Internal to core/attack. */
#pragma once

#include "core/attack/faces.h"

#define LESSON_BATCH 32u

struct lessons_options {
  const struct mask *mask;            /* whose templates they are */
  const struct attack_mixing *mixing; /* how they are mixed; NULL: they are not */
  bool inference; /* templates as sent for recognition, the mask's decoys taken out where it has some */
  bool denoised;  /* after mask_denoise */
  uint64_t seed;
  uint32_t threads;
  bool (*should_stop)(void *stop_context); /* may be NULL; asked in the calling thread */
  void *stop_context;
};

/* Those of any attack: seed, threads and whom to ask whether to stop. */
struct lessons_options lessons_options_of(const struct attack_context *context);

/* Whether they are enough to learn from: 0, or -EINVAL with fewer than LESSON_BATCH. */
int lessons_check_faces(const struct face_sample *faces, struct guise_error *err);

/* 0, or -ECANCELED when should_stop says so. */
int lessons_stop_code(const struct lessons_options *options, struct guise_error *err);

/* One batch. Template i counts as face[target[i]], that of the largest share, mirrored as
 * mirrored[target[i]] says. */
struct lesson {
  uint32_t face[LESSON_BATCH]; /* of the sample that is learnt from */
  uint32_t index[LESSON_BATCH], person[LESSON_BATCH];
  bool mirrored[LESSON_BATCH];
  uint32_t target[LESSON_BATCH]; /* 0..LESSON_BATCH-1 */
  struct mix mix[LESSON_BATCH];  /* set where there is a mixing */
};

struct lessons;

/* faces, at least LESSON_BATCH of them (-EINVAL), and what options point to are kept by reference. -ENOMEM.
 */
int lessons_new(const struct lessons_options *options, const struct face_sample *faces,
                struct lessons **ret_lessons, struct guise_error *err);
struct lessons *lessons_free(struct lessons *lessons);
DEFINE_CLEANUP(struct lessons *, lessons_free)

/* The batch of `step`, steps in rising order from 0: each face once before any comes again. ret_templates:
 * (LESSON_BATCH, elements). The lesson is valid until the next call. */
const struct lesson *lessons_draw(struct lessons *lessons, uint32_t step, float *ret_templates);

/* The attacked templates from `first` on, LESSON_BATCH of them, beginning anew after the last: template i is
 * composed as mixes[i] says (members are faces of the sample or its partners). */
void lessons_templates(struct lessons *lessons, const struct face_sample *faces, const struct mix *mixes,
                       uint32_t first, float *ret_templates);
