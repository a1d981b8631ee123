/* The adversary of a generator: a small convolutional network with spectral norms (Miyato et al., "Spectral
 * normalization for generative adversarial networks", ICLR 2018) that tells photographs from what was
 * generated, patch by patch, with the hinge loss
 *
 *   mean max(0, 1 - D(x)) + mean max(0, 1 + D(x'))
 *
 * of which the generator gets -mean D(x'). */
#pragma once

#include <stdint.h>

#include "core/base/base.h"

struct adversary;

/* For `batch` pictures of each kind, (3,size,size), size a multiple of 8. */
int adversary_new(uint32_t size, uint32_t batch, uint32_t threads, uint64_t seed,
                  struct adversary **ret_adversary, struct guise_error *err);
struct adversary *adversary_free(struct adversary *adversary);

/* One step of Adam on real and generated pictures, (batch,3,size,size) YCbCr minus 128 each. *ret_loss: the
 * hinge loss before it. */
int adversary_learn(struct adversary *adversary, const float *real, const float *generated, double *ret_loss,
                    struct guise_error *err);
/* Adds the gradient of -weight mean D(generated) by the generated pixels to gradient. */
int adversary_blame(struct adversary *adversary, const float *generated, float weight, float *gradient,
                    struct guise_error *err);
