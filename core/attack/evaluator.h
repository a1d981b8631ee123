/* A judge of pictures that were drawn out of a network: another network, of another architecture and seed,
 * trained on the same people's photographs, that says whom a picture shows. Internal to core/attack. */
#pragma once

#include "core/attack/lessons.h"
#include "core/model/model.h"

struct evaluator;

/* path: a model without a mask; known: photographs of the people, (size, size, 3), person p being class p. Of
 * the options threads and should_stop count. */
int evaluator_new(const char *path, const struct face_sample *known, uint32_t size,
                  const struct lessons_options *options, struct evaluator **ret_evaluator,
                  struct guise_error *err);
struct evaluator *evaluator_free(struct evaluator *evaluator);
DEFINE_CLEANUP(struct evaluator *, evaluator_free)

/* Looks at `count` pictures, (size, size, 3) bytes each; those of before are forgotten. */
int evaluator_look(struct evaluator *evaluator, const uint8_t *rgb, uint32_t count, uint32_t size,
                   const struct lessons_options *options, struct guise_error *err);

/* What to think of its judgements; `unseen` is the caller's to know. */
struct attack_evaluator evaluator_facts(const struct evaluator *evaluator, bool unseen);

/* How picture i stands to a class. */
struct judgement {
  uint32_t rank;   /* of the class among all, by the cosine to the mean of its photographs; 0 = the first */
  double distance; /* 1 - cos to the nearest photograph of the class */
};
struct judgement evaluator_judge(const struct evaluator *evaluator, uint32_t picture, uint32_t class_);
