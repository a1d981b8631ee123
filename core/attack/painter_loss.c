#include "core/attack/painter_loss.h"

#include <math.h>
#include <string.h>

#include "core/base/memory.h"
#include "core/freq/dct.h"

#define LIKENESS 0.1f /* weight of the recogniser's part */

struct painter_loss {
  const struct face_sample *faces;
  struct recogniser *recogniser;
  uint32_t size, threads;
  size_t area;
  float *drawn, *slopes; /* (LESSON_BATCH, 3, size, size) YCbCr minus 128 and the gradient by it; or NULL */
};

int painter_loss_new(const struct painter_options *options, const struct face_sample *faces,
                     struct painter_loss **ret_loss, struct guise_error *err) {
  _cleanup_(painter_loss_freep) struct painter_loss *loss = calloc(1, sizeof(*loss));
  if (!loss)
    return error_set(err, -ENOMEM, "out of memory for a reconstructing network");
  const uint32_t size = mask_size(options->lessons.mask);
  *loss = (struct painter_loss){.faces = faces,
                                .recogniser = options->recogniser,
                                .size = size,
                                .threads = options->lessons.threads,
                                .area = (size_t)size * size};
  if (loss->recogniser) {
    const size_t bytes = LESSON_BATCH * 3 * loss->area * sizeof(float);
    loss->drawn = tensor_alloc(bytes);
    loss->slopes = tensor_alloc(bytes);
    if (!loss->drawn || !loss->slopes)
      return error_set(err, -ENOMEM, "out of memory for a reconstructing network");
  }
  *ret_loss = TAKE(loss);
  return 0;
}

struct painter_loss *painter_loss_free(struct painter_loss *loss) {
  if (!loss)
    return NULL;
  tensor_free(loss->drawn);
  tensor_free(loss->slopes);
  free(loss);
  return NULL;
}

/* ---- pixels ---- */

/* Gradient of the mean absolute error of one image; returns its sum of absolute errors. */
static double compare(const struct painter_loss *loss, const float *output, const uint8_t *rgb, bool mirrored,
                      float *gradient) {
  const uint32_t size = loss->size;
  const float unit = 1 / (float)(LESSON_BATCH * 3 * loss->area);
  double sum = 0;
  for (size_t plane = 0; plane < 3; plane++)
    for (uint32_t y = 0; y < size; y++)
      for (uint32_t x = 0; x < size; x++) {
        const size_t at = plane * loss->area + (size_t)y * size + x;
        const size_t pixel = (size_t)y * size + (mirrored ? size - 1 - x : x);
        const float difference = output[at] - ((float)rgb[3 * pixel + plane] - 128) / PAINTER_GREY;
        gradient[at] = difference > 0 ? unit : difference < 0 ? -unit : 0;
        sum += (double)fabsf(difference);
      }
  return sum;
}

/* gradient := that of the mean absolute error, which is returned. */
static double absolute_error(const struct painter_loss *loss, const float *output,
                             const struct lesson *lesson, float *gradient) {
  double sums[LESSON_BATCH], sum = 0;
#pragma omp parallel for schedule(static) num_threads(loss->threads)
  for (uint32_t i = 0; i < LESSON_BATCH; i++) {
    const uint32_t target = lesson->target[i];
    const size_t at = i * 3 * loss->area;
    sums[i] = compare(loss, output + at, face_sample_image(loss->faces, lesson->face[target]),
                      lesson->mirrored[target], gradient + at);
  }
  for (uint32_t i = 0; i < LESSON_BATCH; i++)
    sum += sums[i];
  return sum / ((double)LESSON_BATCH * 3 * (double)loss->area);
}

/* ---- whom it shows ---- */

static void to_ycbcr(struct painter_loss *loss, const float *output) {
  const size_t area = loss->area;
#pragma omp parallel for schedule(static) num_threads(loss->threads)
  for (uint32_t i = 0; i < LESSON_BATCH; i++)
    for (size_t plane = 0; plane < 3; plane++) {
      const float *m = rgb_ycbcr_matrix[plane], *rgb = output + i * 3 * area;
      float *to = loss->drawn + (i * 3 + plane) * area;
      for (size_t at = 0; at < area; at++)
        to[at] = PAINTER_GREY * (m[0] * rgb[at] + m[1] * rgb[area + at] + m[2] * rgb[2 * area + at]);
    }
}

/* gradient += the transpose of to_ycbcr applied to the slopes. */
static void add_slopes(const struct painter_loss *loss, float *gradient) {
  const size_t area = loss->area;
#pragma omp parallel for schedule(static) num_threads(loss->threads)
  for (uint32_t i = 0; i < LESSON_BATCH; i++)
    for (size_t colour = 0; colour < 3; colour++)
      for (size_t plane = 0; plane < 3; plane++) {
        const float factor = PAINTER_GREY * rgb_ycbcr_matrix[plane][colour];
        const float *from = loss->slopes + (i * 3 + plane) * area;
        float *to = gradient + (i * 3 + colour) * area;
        for (size_t at = 0; at < area; at++)
          to[at] += factor * from[at];
      }
}

int painter_loss_measure(struct painter_loss *loss, const float *output, const struct lesson *lesson,
                         double *ret_loss, float *ret_gradient, struct guise_error *err) {
  const double absolute = absolute_error(loss, output, lesson, ret_gradient);
  double distance = 0;
  if (loss->recogniser) {
    to_ycbcr(loss, output);
    memset(loss->slopes, 0, LESSON_BATCH * 3 * loss->area * sizeof(float));
    int r = recogniser_compare(loss->recogniser, loss->drawn, lesson, LIKENESS, &distance, loss->slopes, err);
    if (r < 0)
      return r;
    add_slopes(loss, ret_gradient);
  }
  *ret_loss = absolute + (double)LIKENESS * distance;
  return 0;
}
