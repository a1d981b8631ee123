/* A frozen embedder that can be differentiated: whom a picture shows, and how its pixels would have to change
 * for it to show somebody more. */
#pragma once

#include <stdint.h>

#include "core/model/model.h"

struct judge;

/* Whether pixels can be differentiated through the mask: it draws nothing, has no decoys, and is linear but
 * for the clip. */
bool judge_sees_through(const struct mask *mask);

/* path: of a model.safetensors that the judge sees through and whose input is `size` pixels; else -EINVAL.
 * batch: pictures at once. */
int judge_new(const char *path, uint32_t size, uint32_t batch, uint32_t threads, struct judge **ret_judge,
              struct guise_error *err);
/* The same of a model at hand that it sees through, kept by reference; size is the model's input. The
 * parameters are copied from a graph of the same description: the model's own, or one with other statistics.
 */
int judge_of(struct model *model, struct graph *parameters, uint32_t batch, uint32_t threads,
             struct judge **ret_judge, struct guise_error *err);
struct judge *judge_free(struct judge *judge);
DEFINE_CLEANUP(struct judge *, judge_free)

uint32_t judge_embedding(const struct judge *judge); /* D */

/* planar (batch,3,size,size), YCbCr minus 128 -> embeddings (batch, D) of length 1. */
int judge_embed(struct judge *judge, const float *planar, float *ret_embeddings, struct guise_error *err);

/* The mean of 1 - cos of the embeddings of `planar` and wanted (batch, D), of length 1; adds `weight` times
 * its gradient by the pixels to gradient, of planar's shape. */
int judge_compare(struct judge *judge, const float *planar, const float *wanted, float weight,
                  double *ret_distance, float *gradient, struct guise_error *err);
