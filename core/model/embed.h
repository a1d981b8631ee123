/* From face images to embeddings: mask, network, normalisation. Shared by the trainer (verification), the
 * daemon (`embed`) and attacks. */
#pragma once

#include <stdint.h>

#include "core/base/base.h"
#include "core/mask/mask.h"
#include "core/nn/graph.h"

/* Embeds `count` images in batches of the graph's own batch size.
 *
 * graph: built, its input is the mask's template (C,G,G), its output (embedding,1,1); used in GRAPH_EVAL.
 * batch: the batch size the graph was built with; the last batch is filled up with its first image.
 * image(context, i): (size,size,3) RGB bytes, valid until the call returns; called from the threads of an
 * OpenMP loop, so it must be thread-safe (a memory-mapped pack is). flip_sum: raw embeddings of the image and
 * of its mirror are added before normalisation (twice the work). With decoys each view is embedded T times
 * and the normalised embeddings are added (T times the work). ret_embeddings: count * embedding floats, each
 * row of length 1 (an all-zero row stays zero). should_stop(stop_context): asked between batches, may be
 * NULL. 0; -EINVAL; -ENOMEM; -ECANCELED when should_stop said so; -EIO from the kernel library; -EDOM when an
 * embedding is not finite. Rows already done are written even when a later batch fails. One call at a time
 * for a graph. */
int embed_images(struct graph *graph, const struct mask *mask, uint32_t batch, uint32_t embedding,
                 const uint8_t *(*image)(void *context, uint32_t i), void *context, uint32_t count,
                 bool flip_sum, float *ret_embeddings, bool (*should_stop)(void *stop_context),
                 void *stop_context, struct guise_error *err);

/* The same without and with flip_sum at once, to the bit, for the work of the latter. */
int embed_both(struct graph *graph, const struct mask *mask, uint32_t batch, uint32_t embedding,
               const uint8_t *(*image)(void *context, uint32_t i), void *context, uint32_t count,
               float *ret_one_view, float *ret_flip_sum, bool (*should_stop)(void *stop_context),
               void *stop_context, struct guise_error *err);

/* Scales to length 1 (zeros stay zeros); false when a value is not finite. */
bool embedding_normalise(float *embedding, uint32_t n);
