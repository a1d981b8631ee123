/* The training before the training of masks that hold a network (mask_weight_count): minusface's generator.
 *
 * On standardised coefficients x of the training images, generator g and recogniser f learn together:
 *
 *   L = visible * mean |inverse DCT of (x - g(x))| / 127.5 + ArcFace(f(x - g(x)))
 *
 * since X - idct(g(x)) is the inverse transform of the rest. As published, but for this: the mean is over
 * YCbCr, not RGB; f is freq_conv with the job's width and embedding, takes the rest in deviations of x and
 * has margin 0, since the job's warm-up would hardly have begun; g (core/mask/unet.h) is small, without
 * norms, and learns by Adam. Always float32. */
#pragma once

#include "core/freq/dct.h"
#include "core/train/trainer.h"

/* Fills trainer->weights, which it allocates. Deterministic in the seed. Needs what analysis_learn needs;
 * -ECANCELED, -EINTR, -EDOM, -ENOMEM likewise. */
int subtraction_learn(struct trainer *trainer, const struct job_inputs *inputs, struct guise_error *err);

/* Of one image, the gradient by g(x) of  unit * sum |pixels of the rest| + what the recogniser says. rest:
 * x - g(x), standardised; deviation: (192) that undoes it; recognition: its loss by the rest; all
 * (192,cells). scratch: two of these. Returns the sum of the magnitudes, grey levels. */
double subtraction_gradient(const struct block_dct *dct, const float *deviation, size_t cells, double unit,
                            const float *rest, const float *recognition, float *scratch, float *ret_gradient);
