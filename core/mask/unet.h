/* The generator of masks that hold one: block-DCT channels in, and of some N more of noise; channels of the
 * same shape out. The graph that it is trained as, and a forward pass that many threads may run at once, an
 * image each. Internal to core/mask and core/train.
 *
 *   enter 192+N -> W (G)    -+-> down W -> 2W (G/2) -> deep 2W -> 2W -> nearest x2 -+
 *                            +------------------------------------- concat ---------+-> up 3W -> W -> leave W
 *                                                                                       -> 192
 *
 * Convolutions 3x3 with bias, each but the last followed by a leaky ReLU; W = UNET_WIDTH. Small, so that a
 * template costs less than its recognition. */
#pragma once

#include "core/nn/graph.h"

#define UNET_CHANNELS 192u
#define UNET_WIDTH 32u
#define UNET_CONVOLUTIONS 5u

/* Input (192+noise,G,G), G even; the output, which is the graph's, (192,G,G). */
int unet_describe(struct graph *graph, uint32_t noise, uint32_t grid);
/* Numbers: of each convolution weights (O,I,3,3), then bias (O), in the order of the graph's parameters. */
size_t unet_weights(uint32_t noise);
void unet_read(struct graph *graph, float *ret_weights);

struct unet;

/* weights: unet_weights() numbers, copied. -ENOMEM. */
int unet_new(const float *weights, uint32_t noise, uint32_t grid, struct unet **ret_unet);
struct unet *unet_free(struct unet *unet);
size_t unet_scratch(uint32_t noise, uint32_t grid); /* floats */
/* x: (192+noise,G,G), ret_y: (192,G,G), which may be the beginning of x. */
void unet_run(const struct unet *unet, const float *x, float *scratch, float *ret_y);
