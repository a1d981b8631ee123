/* Regions of the face hidden by how much they tell. Each block belongs to the eyes with the brows, the nose,
 * the mouth or the rest; with the strength s of its region every standardised coefficient z of the block
 * becomes (1 - s) z + s n, n ~ N(0,1): at 1 nothing of the face is left, only noise that looks alike.
 *
 * DC is treated as the rest. Were it spared, 14 x 14 means of blocks would remain of a face of 112 pixels, a
 * thumbnail that people and networks recognise. Towards 0 of the standardised value means towards the mean
 * face, not towards black.
 *
 * The regions are those of the framing of the training sets (112 pixels, eyes near (33,37) and (76,37), mouth
 * near (56,79)); faces that are framed otherwise need their own. */
#include "core/mask/regional.h"

#include <stdlib.h>

#include "core/mask/methods.h"

#define FRAME 112.0f

/* Half-open, pixels of the frame, on the borders of its blocks; the first that holds a block's centre. */
static const struct {
  uint8_t region, left, right, top, bottom;
} areas[] = {{REGION_EYES, 16, 96, 24, 48}, {REGION_NOSE, 40, 72, 48, 72}, {REGION_MOUTH, 32, 80, 72, 96}};

static uint8_t region_at(float x, float y) {
  for (size_t i = 0; i < ARRAY_SIZE(areas); i++)
    if (x >= areas[i].left && x < areas[i].right && y >= areas[i].top && y < areas[i].bottom)
      return areas[i].region;
  return REGION_REST;
}

void regional_strengths(uint32_t grid, const double *of_region, float *ret_strength) {
  const float step = FRAME / (float)grid;
  for (size_t i = 0; i < (size_t)grid * grid; i++) {
    const size_t row = i / grid, column = i % grid;
    const uint8_t region = region_at(((float)column + 0.5f) * step, ((float)row + 0.5f) * step);
    ret_strength[i] = (float)of_region[region];
  }
}

static int setup(struct mask *mask, struct guise_error *err) {
  float *strength = calloc(mask_cells(mask), sizeof(*strength));
  if (!strength)
    return error_set(err, -ENOMEM, "out of memory making a mask");
  regional_strengths(mask->grid, mask->options.parameter, strength);
  mask->state = strength;
  return 0;
}

static void perturb(const struct mask *mask, struct rng *rng, float *template_) {
  const float *strength = mask->state;
  const size_t n = mask_cells(mask);
  for (uint32_t c = 0; c < mask->channels; c++)
    for (size_t i = 0; i < n; i++)
      if (strength[i] > 0)
        template_[c * n + i] = (1 - strength[i]) * template_[c * n + i] + strength[i] * rng_normal(rng);
}

/* The linear estimate of least mean square error, variance 1 of what is sought. */
static void restore(const struct mask *mask, float *template_) {
  const float *strength = mask->state;
  const size_t n = mask_cells(mask);
  for (size_t i = 0; i < n; i++) {
    const float s = strength[i], gain = (1 - s) / ((1 - s) * (1 - s) + s * s);
    for (uint32_t c = 0; c < mask->channels; c++)
      template_[c * n + i] *= gain;
  }
}

static const struct mask_parameter parameters[REGIONS] = {REGIONAL_PARAMETERS};

const struct mask_row mask_regional = {
    .traits = {.name = "regional",
               .summary = "regions of the face attenuated and covered with noise by their strength",
               .random = true,
               .located = true,
               .parameters = parameters,
               .parameter_count = ARRAY_SIZE(parameters)},
    .setup = setup,
    .release = free,
    .perturb = perturb,
    .restore = restore};
