/* InstaHide (Huang et al., ICML 2020): k faces are mixed and every value of the mix's picture, standardised
 * by the mean of each colour, gets a random sign that is drawn anew for each template. The values are RGB, as
 * published.
 *
 * A picture whose signs are unknown is a picture of magnitudes: |x| is what everybody may compute, and it
 * shows edges and shapes. Of one face (k = 1, in use) it is all of the face but for the side of the mean on
 * which each value lies; mixing alone stands between |x| and the faces of the training. */
#include <math.h>

#include "core/freq/dct.h"
#include "core/mask/methods.h"

static void apply(const float matrix[3][3], const float in[3], float ret_out[3]) {
  for (int i = 0; i < 3; i++)
    ret_out[i] = matrix[i][0] * in[0] + matrix[i][1] * in[1] + matrix[i][2] * in[2];
}

/* The mean of each colour of the images of the fit, YCbCr minus 128, from the DC coefficients: of the
 * orthonormal transform DC is 8 times the mean of a block. The up-sampled picture has the same mean but for
 * the weight of its border. */
static void mean_colour(const struct mask *mask, float ret_mean[3]) {
  const struct mask_constants *k = &mask->constants;
  for (uint32_t c = 0; c < k->channels; c++)
    if (k->channel[c] % DCT_COEFFICIENTS == 0)
      ret_mean[k->channel[c] / DCT_COEFFICIENTS] = k->mean[c] / DCT_BLOCK;
}

/* Signs for the three values of a pixel; one word serves ten pixels. */
static void draw_signs(struct rng *rng, uint32_t *bits, uint32_t *left, float rgb[3]) {
  if (*left < 3) {
    *bits = rng_u32(rng);
    *left = 32;
  }
  for (uint32_t c = 0; c < 3; c++, *bits >>= 1)
    rgb[c] = *bits & 1 ? -rgb[c] : rgb[c];
  *left -= 3;
}

/* In place on YCbCr planes: the RGB values minus their means get signs, or lose them when rng is NULL. */
static void change_signs(const struct mask *mask, struct rng *rng, float *planar) {
  const size_t area = (size_t)mask->options.size * mask->options.size;
  float mean[3] = {0, 0, 0};
  uint32_t bits = 0, left = 0;
  mean_colour(mask, mean);
  for (size_t i = 0; i < area; i++) {
    float ycbcr[3], rgb[3];
    for (size_t c = 0; c < 3; c++)
      ycbcr[c] = planar[c * area + i] - mean[c];
    apply(ycbcr_rgb_matrix, ycbcr, rgb);
    if (rng)
      draw_signs(rng, &bits, &left, rgb);
    else
      for (size_t c = 0; c < 3; c++)
        rgb[c] = fabsf(rgb[c]);
    apply(rgb_ycbcr_matrix, rgb, ycbcr);
    for (size_t c = 0; c < 3; c++)
      planar[c * area + i] = ycbcr[c] + mean[c];
  }
}

static void after_mix(const struct mask *mask, struct rng *rng, float *template_, float *scratch) {
  float *coefficients = scratch + mask_pixels(mask);
  mask_spread(mask, 0, template_, false, NULL, coefficients);
  mask_transform_inverse(mask->transform, coefficients, scratch);
  change_signs(mask, rng, scratch);
  mask_transform_forward(mask->transform, scratch, coefficients);
  const size_t n = mask_cells(mask);
  const struct mask_constants *k = &mask->constants;
  for (uint32_t c = 0; c < mask->channels; c++)
    for (size_t i = 0; i < n; i++)
      template_[c * n + i] = (coefficients[k->channel[c] * n + i] - k->mean[c]) / k->deviation[c];
}

static void invert(const struct mask *mask, const float *template_, float *scratch, float *ret_planar) {
  mask_spread(mask, 0, template_, false, NULL, scratch);
  mask_transform_inverse(mask->transform, scratch, ret_planar);
  change_signs(mask, NULL, ret_planar);
}

const struct mask_row mask_instahide = {
    .traits = {.name = "instahide",
               .summary = "k faces mixed, a random sign for each value of the picture",
               .mixes = true,
               .chooses_k = true,
               .default_k = 4,
               .random = true,
               .located = true,
               .own_channels = true},
    .after_mix = after_mix,
    .invert = invert};
