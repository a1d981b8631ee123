/* Faces drawn by a trained generator in the place of faces: what the masks generative and hybrid share.
 *
 * On coefficients z in deviations, constants of the generator's own, noise channels n ~ N(0,1), and a
 * strength s for each block:
 *
 *   z <- (1 - s) ((1 - s) z + s e) + s u(z, n),   e ~ N(0,1)
 *
 * what `regional` makes of the block, blended with what the generator u (core/mask/unet.h) draws there; at 1
 * nothing but that. Internal to core/mask and core/train. */
#pragma once

#include "core/mask/mask.h"

#define GENERATOR_NOISE 16u /* channels of n */

/* A row's parameters: how the generator is trained (core/train/generation.h). */
enum { GENERATOR_IDENTITY, GENERATOR_LOOK, GENERATOR_REALISM, GENERATOR_PARAMETER_COUNT };
#define GENERATOR_PARAMETERS                                                                               \
  [GENERATOR_IDENTITY] = {"identity", "weight of 1 - cosine of the embeddings while the generator learns", \
                          0, 1000, 1},                                                                     \
  [GENERATOR_LOOK] = {"look", "weight of the likeness to the face, SSIM", 0, 1000, 1},                     \
  [GENERATOR_REALISM] = {"realism", "weight of the adversary that knows faces", 0, 1000, 0.01}

/* Where things stand in the weights of such a mask. */
enum {
  GENERATOR_MEAN = 0, /* (192) of coefficients, that the generator's input is standardised by */
  GENERATOR_DEVIATION = MASK_CHANNELS_MAX,
  GENERATOR_POWER = 2 * MASK_CHANNELS_MAX, /* (192) mean of u^2, and of z u, over public faces */
  GENERATOR_ECHO = 3 * MASK_CHANNELS_MAX,
  GENERATOR_NETWORK = 4 * MASK_CHANNELS_MAX, /* unet_weights(GENERATOR_NOISE) of them */
};

/* Hooks of a row; setup takes the strength of each block, NULL = 1 everywhere. */
int generator_setup(struct mask *mask, const float *strength, struct guise_error *err);
void generator_release(void *state);
int generator_check(const struct mask_options *options, struct guise_error *err);
size_t generator_weights(const struct mask_options *options);
int generator_accept_weights(struct mask *mask, const float *weights, struct guise_error *err);
size_t generator_scratch(const struct mask *mask);
void generator_coefficients(const struct mask *mask, struct rng *rng, float *coefficients, float *scratch);
/* The linear estimate of least mean square error of z, channel by channel, from the moments in the weights.
 */
void generator_invert(const struct mask *mask, const float *template_, float *scratch, float *ret_planar);

/* What the generator draws, (192,G,G) in deviations, for the standardised coefficients at the beginning of
 * `input`, (192 + GENERATOR_NOISE, G, G), whose noise is drawn from rng. ret_drawn may be the same. scratch:
 * that of unet_run. */
struct unet;
void generator_draw(const struct unet *unet, size_t cells, struct rng *rng, float *input, float *scratch,
                    float *ret_drawn);

/* What masks with a generator have in common, of a mask's row. */
#define GENERATOR_HOOKS                                                                 \
  .check = generator_check, .release = generator_release, .weights = generator_weights, \
  .accept_weights = generator_accept_weights, .scratch = generator_scratch,             \
  .coefficients = generator_coefficients, .invert = generator_invert
