/* Photographs of the people who are trained on, as a recogniser E knows them: what somebody who has other
 * photographs of a person than the one that was masked compares a picture with. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "core/base/base.h"

struct model;

/* Photographs of one person that are kept at most; evenly taken from all. */
#define GALLERY_MOST 8u
/* Where so many would need more bytes than this, fewer are kept, two at least. */
#define GALLERY_BYTES ((size_t)128 << 20)

#define GALLERY_SCALE_LEAST 0.05f /* of an embedder that hardly tells people apart */

struct gallery_faces {
  const uint8_t *(*face)(void *context, uint32_t i); /* (size,size,3) bytes of image i */
  void *context;
  const uint32_t *identity; /* (count) ascending, 0..people-1, each at least once */
  uint32_t count, people, size;
  bool (*should_stop)(void *context); /* NULL: never */
  void *stop_context;
};

struct gallery;

/* Embeds the photographs. -ECANCELED when asked to stop. */
int gallery_new(struct model *embedder, const struct gallery_faces *faces, struct gallery **ret_gallery,
                struct guise_error *err);
struct gallery *gallery_free(struct gallery *gallery);

/* Mean cosine of an embedding of length 1 and the person's photographs but image `masked`; that one where it
 * is all there is. masked: UINT32_MAX = none is left out. */
float gallery_cosine(const struct gallery *gallery, uint32_t person, uint32_t masked, const float *embedding);
/* How well E recognises the person from one photograph on another: the mean cosine of two of theirs, in
 * deviations from everybody's mean, -3..3; 0 of who has one photograph. */
float gallery_alike(const struct gallery *gallery, uint32_t person);
/* How much more alike two photographs of a person are than two of different people: the difference of the
 * mean cosines, GALLERY_SCALE_LEAST at least. Of people with one photograph each, theirs with itself counts.
 */
float gallery_scale(const struct gallery *gallery);
