/* Training minusface's generator (core/train/weights.h).
 *
 * On standardised coefficients x of the training images, generator g and recogniser f learn together:
 *
 *   L = visible * mean |inverse DCT of (x - g(x))| / 127.5 + ArcFace(f(x - g(x)))
 *
 * since X - idct(g(x)) is the inverse transform of the rest. As published, but for this: the mean is over
 * YCbCr, not RGB; f is freq_conv with the job's width and embedding, takes the rest in deviations of x and
 * has margin 0; g (core/mask/unet.h) is small, without norms, and learns by Adam. Always float32. */
#pragma once

#include "core/freq/dct.h"
#include "core/train/trainer.h"

/* ret_weights: the mask's. Deterministic in the seed. Needs data, batch and threads of the trainer. */
int subtraction_train(struct trainer *trainer, float *ret_weights, struct guise_error *err);

/* Of one image, the gradient by g(x) of  unit * sum |pixels of the rest| + what the recogniser says. rest:
 * x - g(x), standardised; deviation: (192) that undoes it; recognition: its loss by the rest; all
 * (192,cells). scratch: two of these. Returns the sum of the magnitudes, grey levels. */
double subtraction_gradient(const struct block_dct *dct, const float *deviation, size_t cells, double unit,
                            const float *rest, const float *recognition, float *scratch, float *ret_gradient);
