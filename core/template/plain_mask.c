#include "core/template/plain_mask.h"

#include <math.h>
#include <string.h>

#include "core/freq/dct.h"
#include "core/mask/standardise.h"

#define INPUT_MAX 224u

/* ---- opening ---- */

/* What of the model's metadata a file of templates repeats. */
static json_t *copy_metadata(const json_t *metadata) {
  json_t *copy = json_object();
  const char *key;
  json_t *value;
  json_object_foreach((json_t *)metadata, key, value) {
    if (strcmp(key, "input") == 0 || strcmp(key, "mask") == 0 || strncmp(key, "mask.", 5) == 0)
      (void)json_object_set(copy, key, value);
  }
  return copy;
}

static int check_constants(const struct mask_constants *constants, struct guise_error *err) {
  for (uint32_t c = 0; c < constants->channels; c++)
    if ((c > 0 && constants->channel[c] <= constants->channel[c - 1]) || !isfinite(constants->mean[c]) ||
        !isfinite(constants->deviation[c]) || constants->deviation[c] <= 0)
      return error_set(err, -EBADMSG, "channel %u of the mask's constants is damaged", c);
  return 0;
}

static int read_mask(const struct safetensors *file, struct plain_mask *mask, struct guise_error *err) {
  const json_t *metadata = safetensors_metadata(file);
  uint64_t input = 0;
  if (strcmp(mask_file_text(metadata, "format"), "guise-model-1") != 0)
    return error_set(err, -EBADMSG, "the file is no model of guise: name a model.safetensors");
  if (!mask_file_is_plain(metadata, &mask->mixes))
    return error_set(
        err, -ENOTSUP,
        "the model's mask is %.40s, transform %.40s: faces can be masked here with " MASK_PLAIN_METHODS
        ", native block DCT; name a model of one of these",
        mask_file_text(metadata, "mask"), mask_file_text(metadata, "mask.dct"));
  if (*mask_file_text(metadata, "mask.key") || safetensors_find(file, "mask.decoys"))
    return error_set(err, -ENOTSUP, "the model has a key or decoys: name a model without");
  int r = mask_file_number(metadata, "input", 16, INPUT_MAX, &input, err);
  if (r == 0 && input % DCT_BLOCK)
    r = error_set(err, -EBADMSG, "the model's input is no multiple of 8");
  if (r == 0)
    r = mask_file_real(metadata, "mask.clip", 0, 1e6, &mask->constants.clip, err);
  if (r == 0)
    r = mask_file_constants(file, &mask->constants, err);
  if (r == 0)
    r = check_constants(&mask->constants, err);
  if (r < 0)
    return r;
  mask->size = (uint32_t)input;
  mask->grid = mask->size / DCT_BLOCK;
  r = mask->mixes ? mask_file_mixing(metadata, &mask->mixing, err) : 0;
  mask->mixing_known = r == 0;
  return r == -ENOENT ? 0 : r;
}

int plain_mask_open(const char *path, struct plain_mask *ret_mask, struct guise_error *err) {
  _cleanup_(safetensors_freep) struct safetensors *file = NULL;
  struct plain_mask mask = {.size = 0};
  int r = safetensors_open(path, &file, err);
  if (r == 0)
    r = read_mask(file, &mask, err);
  if (r == 0 && !(mask.metadata = copy_metadata(safetensors_metadata(file))))
    r = error_set(err, -ENOMEM, "out of memory reading a model");
  if (r < 0)
    return r;
  mask.method = mask_file_text(mask.metadata, "mask");
  for (int u = 0; u < DCT_BLOCK; u++)
    for (int n = 0; n < DCT_BLOCK; n++)
      mask.matrix[u][n] = (u ? 0.5 : sqrt(0.125)) * cos(M_PI * (2 * n + 1) * u / 16);
  *ret_mask = mask;
  return 0;
}

void plain_mask_close(struct plain_mask *mask) {
  json_decref(mask->metadata);
  mask->metadata = NULL;
}

/* ---- templates ---- */

static size_t cells(const struct plain_mask *mask) {
  return (size_t)mask->grid * mask->grid;
}

size_t plain_mask_elements(const struct plain_mask *mask) {
  return mask->constants.channels * cells(mask);
}

/* pixels, then coefficients: as many */
size_t plain_mask_scratch(const struct plain_mask *mask) {
  return 2 * DCT_CHANNELS * cells(mask);
}

/* One block: M x M^T in double precision, so that nothing but the result is rounded. */
static void transform_block(const double matrix[8][8], const float *pixels, size_t stride,
                            float *coefficients, size_t step) {
  double rows[8][8]; /* [u][x] */
  for (int u = 0; u < 8; u++)
    for (int x = 0; x < 8; x++) {
      double sum = 0;
      for (int y = 0; y < 8; y++)
        sum += matrix[u][y] * (double)pixels[(size_t)y * stride + (size_t)x];
      rows[u][x] = sum;
    }
  for (size_t u = 0; u < 8; u++)
    for (size_t v = 0; v < 8; v++) {
      double sum = 0;
      for (int x = 0; x < 8; x++)
        sum += rows[u][x] * matrix[v][x];
      coefficients[(u * 8 + v) * step] = (float)sum;
    }
}

void plain_mask_template(const struct plain_mask *mask, const uint8_t *rgb, float *scratch,
                         float *ret_template) {
  const struct mask_constants *k = &mask->constants;
  const size_t n = cells(mask), grid = mask->grid, size = mask->size;
  float *coefficients = scratch + DCT_CHANNELS * n;
  rgb_to_ycbcr(rgb, mask->size, false, scratch);
  for (size_t colour = 0; colour < 3; colour++)
    for (size_t y = 0; y < grid; y++)
      for (size_t x = 0; x < grid; x++)
        transform_block(mask->matrix, scratch + (colour * size + y * DCT_BLOCK) * size + x * DCT_BLOCK, size,
                        coefficients + colour * DCT_COEFFICIENTS * n + y * grid + x, n);
  for (uint32_t c = 0; c < k->channels; c++)
    standardise(coefficients + k->channel[c] * n, n, k->mean[c], 1 / k->deviation[c], k->clip,
                ret_template + c * n);
}
