/* Training the generator of the masks generative and hybrid (core/train/weights.h) on public faces x:
 *
 *   L = identity (1 - cos(E(x'), E(x))) + look mean |SSIM(x', x)| - realism mean D(x')
 *
 * x' the inverse DCT of what the generator u draws of x, E the job's embedder (core/model/judge.h), D an
 * adversary that learns along (core/train/adversary.h). Reconstructed, as is: SSIM of the RGB planes, of each
 * window its magnitude, since the negative of a face has SSIM near -1 and shows everything; u learns by Adam;
 * nothing of x reaches x' but through u. Always float32. */
#pragma once

#include "core/metric/quality.h"
#include "core/train/trainer.h"

/* ret_weights: the mask's (core/mask/generator.h). Deterministic in the seed. Needs batch and threads of the
 * trainer, its open faces and its embedder (-EINVAL). */
int generation_train(struct trainer *trainer, float *ret_weights, struct guise_error *err);

/* Mean |SSIM| of the RGB planes of two pictures, planar (3,size,size) YCbCr minus 128; adds `weight` times
 * its gradient by the first to gradient. scratch: GENERATION_LOOK_SCRATCH(size) floats. */
#define GENERATION_LOOK_SCRATCH(size) ((size_t)9 * (size) * (size) + QUALITY_LOSS_SCRATCH(size))
double generation_look(const float *generated, const float *real, uint32_t size, float weight, float *scratch,
                       float *gradient);
