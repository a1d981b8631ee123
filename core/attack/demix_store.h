/* The training store that the demixing attack sees: mixes of a sample of faces, several of each, turned back
 * into pictures. */
#pragma once

#include <stdatomic.h>

#include "core/attack/faces.h"
#include "core/attack/recover.h"

#define DEMIX_TURNS 16u   /* mixes of an image that are seen, at most */
#define DEMIX_SKETCH 512u /* numbers that stand for a picture when similar ones are sought */

/* What the training store holds of the sample's faces: count images, turns mixes of each, at most. Mix m is
 * of image m / turns. */
struct demix_store {
  const struct attack_context *context;
  const struct face_sample *sample;
  const struct mask *mask;
  const struct attack_mixing *mixing; /* NULL: unmixed */
  uint32_t turns;
  size_t pixels;
  float *mean;      /* (pixels) of all mixes' pictures */
  float *sums;      /* (count, pixels) of each image's */
  float *sketch;    /* (count * turns, DEMIX_SKETCH), mean-free and of length 1; 0 where there is no mix */
  uint16_t *bucket; /* (pixels) of the sketch; the lowest bit is the sign */
  double power;     /* of a face about the mean, sum of squares */
};

/* One attacking thread. */
struct demix_worker {
  struct recoverer recoverer;
  float *part, *mixed; /* templates */
  float *views;        /* (DEMIX_TURNS, pixels) mean-free pictures */
};

int demix_worker_init(struct demix_worker *worker, const struct mask *mask);
void demix_worker_done(struct demix_worker *worker);

/* Makes all pictures once: their mean, each image's sum, their sketches. What the context, the sample, the
 * mask, the mixing and turns are is set before. *ret_steps: the most iterations. -ENOMEM, -ECANCELED. */
int demix_store_init(struct demix_store *store, uint32_t *ret_steps);
void demix_store_done(struct demix_store *store);

/* Turn t is of recipe t mod R, where mixes are frozen. */
void demix_store_mix(const struct demix_store *store, uint32_t mix, struct mix *ret_mix);
/* Whether the mix is the template of an earlier turn once more: unmixed there is but one of an image, where
 * the mask draws nothing. */
bool demix_store_repeats(const struct demix_store *store, uint32_t number);
/* The mixes of an image that differ, 1 to turns of them, in the order of their turns; returns their number.
 */
uint32_t demix_store_mixes(const struct demix_store *store, uint32_t face, uint32_t ret_mixes[DEMIX_TURNS]);
/* worker->recoverer.solver.x := the picture of one mix; returns the iterations. */
uint32_t demix_store_picture(struct demix_worker *worker, const struct demix_store *store, uint32_t number);

double demix_dot(const float *a, const float *b, size_t n);

/* Only the calling thread asks, so that should_stop need not be thread-safe. */
bool demix_stop(const struct attack_context *context, atomic_int *status);
