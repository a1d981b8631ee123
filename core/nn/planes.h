/* Layers that look at one channel of one image at a time: pooling, resizing, activations.
 *
 * A plane is one block of channels of one image, rows x block floats; the layer says what becomes of a plane,
 * planes.c shares the planes out over the threads and turns bfloat16 into float and back. */
#pragma once

#include "core/nn/graph_internal.h"

struct plane {
  const struct node *node;
  struct shape in, out; /* of the whole images */
  uint32_t block;
  uint32_t lanes;  /* channels of the block that are real; the others are zero and must stay so */
  const float *x;  /* in.h x in.w x block; NULL where the backward pass did not ask for it */
  float *y;        /* out.h x out.w x block: written forwards, read backwards where asked for */
  const float *dy; /* backward */
  float *dx;       /* backward: written, whole */
};

/* Appends the layer's forward operation and sets node->value. `in_place`: y may be x's memory. */
int planes_forward(struct graph *graph, int index,
                   int (*run)(struct graph *graph, const struct op *op, struct guise_error *err),
                   bool in_place);
/* Appends its backward operation and hands dx to its input. `in_place`: dx may be dy's memory. */
int planes_backward(struct graph *graph, int index, int dy,
                    int (*run)(struct graph *graph, const struct op *op, struct guise_error *err),
                    bool reads_x, bool reads_y, bool in_place);

/* What such a run function does. */
int planes_run(struct graph *graph, const struct op *op, void (*work)(const struct plane *plane));
