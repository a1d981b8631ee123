/* What the last linear layer of a network saw, read off a shared gradient, and the way back to what makes a
 * network see it. Internal to core/attack. */
#pragma once

#include "core/nn/graph.h"

struct features;

/* Of a graph for a batch of one that was described by arch_describe. *ret_features is NULL where the last
 * layer has no bias, whose gradient is needed. -ENOMEM. */
int features_new(struct graph *graph, uint64_t seed, struct features **ret_features, struct guise_error *err);
struct features *features_free(struct features *features);
DEFINE_CLEANUP(struct features *, features_free)

/* From the gradients of the graph's last backward pass; false when they tell nothing. */
bool features_read(struct features *features);

/* ret_derivative := d |f(x) - f|^2 / |f|^2 / dx at the graph's input x, for the f that was read last, as far
 * as a seeded random projection of `step` sees it: right on average. The graph's last layers hold the
 * projection afterwards, and must be written anew. */
int features_pull(struct features *features, uint64_t step, float *ret_derivative, size_t elements,
                  struct guise_error *err);
