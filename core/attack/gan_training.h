/* Training a generator of public faces for an attack, with a checkpoint, so that an attack that is begun
 * again goes on where it was; the last one is the trained generator for whoever asks again, and is kept for
 * later jobs. Internal to core/attack.
 */
#pragma once

#include "core/attack/gan.h"
#include "core/attack/guide.h"
#include "core/attack/lessons.h"

struct gan_training {
  struct gan_options gan;
  const struct face_sample *faces; /* public, (size, size, 3) */
  uint32_t size;
  const uint32_t *labelled; /* (gan.classes, each) faces that stand for a class */
  uint32_t each;
  uint32_t steps;
  /* The generator also learns to draw what the guide's network takes for the class, max-margin loss, seen
   * mirrored and a little moved at random. NULL: it does not. */
  struct guide *guide;
  const char *network;    /* the file of that network */
  float guidance;         /* that loss's weight */
  const uint32_t *wanted; /* (gan.classes) the network's classes */
  const char *path;       /* of the checkpoint; NULL = none. One of another training or damaged is replaced */
  const struct model_cache *cache; /* where generators that are trained are kept; NULL = nowhere */
  unsigned sources;                /* whose faces and weights this one learns from: enum cache_source */
  struct lessons_options stop;
  void (*kept)(void *stop_context); /* the checkpoint is on disk; may be NULL */
};

/* A settled network (gan_settle). -ECANCELED,
 * once the checkpoint is written. The same bits for the same options and number of threads, however often it
 * was stopped. */
int gan_train(const struct gan_training *training, struct gan **ret_gan, struct guise_error *err);

/* A seeded look: mirrored or not, moved by a 24th of the side at most. */
struct view random_view(struct rng *rng, uint32_t side);
