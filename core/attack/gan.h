/* A generative adversarial network of small faces: the prior of attacks that search for a picture among those
 * that look like one. Reconstructed after Yuan et al. (AAAI 2023) and Miyato and Koyama, "cGANs with
 * Projection Discriminator" (ICLR 2018), smaller:
 *
 *   generator G(z, y): linear to (96, side/8, side/8), three transposed convolutions 4x4, each after a batch
 *   norm conditioned on y and a ReLU, convolution 3x3, tanh
 *   critic D(x, y) = w phi(x) + v_y phi(x) + b, phi: convolutions with spectral norm, summed over the
 *   places; the rows w and v_y with spectral norms of their own
 *
 *   D learns  mean max(0, 1 - D(x, y)) + mean max(0, 1 + D(G(z, y), y))
 *   G learns  -mean D(G(z, y), y) + what else the caller wants of it
 *
 * both by Adam, a step of G for each of D. One class makes it unconditional. Internal to core/attack. */
#pragma once

#include "core/model/graph_state.h"

#define GAN_BATCH 32u
#define GAN_LATENT 64u /* numbers of z ~ N(0,1) */

struct gan_options {
  uint32_t side;    /* pixels, a multiple of 8 from 16 on */
  uint32_t classes; /* at least 1 */
  uint32_t threads;
  uint64_t seed;
};

struct gan;
int gan_new(const struct gan_options *options, struct gan **ret_gan, struct guise_error *err);
struct gan *gan_free(struct gan *gan);
DEFINE_CLEANUP(struct gan *, gan_free)
uint64_t gan_parameters(const struct gan *gan); /* trained numbers of both networks */

struct gan_losses {
  double critic, generator; /* as above, before the step; of the generator without the caller's part */
};
/* Step `step`, from 0. photographs: (GAN_BATCH, 3, side, side) YCbCr about the middle grey in units of 64
 * grey levels, as are all pictures here; classes: (GAN_BATCH), of the photographs and of what is generated.
 * more: adds what the caller wants to the gradient by the pictures; may be NULL. -EDOM when it diverged. */
int gan_step(struct gan *gan, uint64_t step, const float *photographs, const uint32_t *classes,
             int (*more)(void *context, const float *pictures, float *gradient, struct guise_error *err),
             void *context, struct gan_losses *ret_losses, struct guise_error *err);
/* After the last step: the statistics of the generator's norms become those of what it draws. */
int gan_settle(struct gan *gan, struct guise_error *err);

/* Both networks with what their optimisers remember; metadata as of safetensors_write. */
int gan_write(struct gan *gan, const char *path, const json_t *metadata, struct guise_error *err);
int gan_read(struct gan *gan, const struct safetensors *file, struct guise_error *err);

/* A settled network, drawing from given latents in batches of another size. */
struct artist;
/* critic: whether artist_doubt will be asked. */
int artist_new(struct gan *gan, uint32_t batch, bool critic, struct artist **ret_artist,
               struct guise_error *err);
struct artist *artist_free(struct artist *artist);
DEFINE_CLEANUP(struct artist *, artist_free)

/* latents: (batch, GAN_LATENT). The pictures, (batch, 3, side, side), are valid until the next call. */
int artist_draw(struct artist *artist, const float *latents, const uint32_t *classes,
                const float **ret_pictures, struct guise_error *err);
/* Adds the gradient of -weight mean D by the pictures drawn last to `gradient`. */
int artist_doubt(struct artist *artist, const uint32_t *classes, float weight, float *gradient,
                 struct guise_error *err);
/* The derivative by the pictures drawn last -> by the latents. */
int artist_pull_back(struct artist *artist, const float *of_pictures, float *ret_of_latents,
                     struct guise_error *err);
