#include "core/attack/paper.h"

#include <math.h>

#include "core/attack/recover.h"
#include "core/metric/quality.h"

/* Mean structural similarity of the pictures and their faces; NAN without memory. */
static double mean_ssim(const struct paper_input *input, const uint8_t *pictures) {
  const struct face_sample *victims = input->victims;
  const size_t bytes = (size_t)3 * input->size * input->size;
  _cleanup_(freep) double *values = calloc(victims->count + 1u, sizeof(*values));
  bool failed = !values;
#pragma omp parallel num_threads(input->options->threads)
  {
    float *planes = calloc(2 * bytes, sizeof(*planes));
    if (!planes) {
#pragma omp atomic write
      failed = true;
    }
#pragma omp for schedule(static)
    for (uint32_t i = 0; i < victims->count; i++) {
      const struct mix *mix = &input->mixes[i];
      if (!planes || !values)
        continue;
      split_planes(pictures + i * bytes, bytes / 3, planes);
      split_planes(face_sample_image(victims, mix->member[mix_heaviest(victims, mix)]), bytes / 3,
                   planes + bytes);
      values[i] = quality_ssim(planes, planes + bytes, 3, input->size);
    }
    free(planes);
  }
  return failed ? (double)NAN : mean_of(values, victims->count);
}

/* Mean cosine of the embeddings of pictures and photographs. */
static double mean_cosine(const struct paper_input *input, const float *embeddings) {
  const struct face_sample *victims = input->victims;
  const uint32_t dimension = input->teacher->info.embedding;
  double sum = 0;
  for (uint32_t i = 0; i < victims->count; i++) {
    const struct mix *mix = &input->mixes[i];
    const float *made = embeddings + (size_t)i * dimension,
                *own = input->photographs + (size_t)mix->member[mix_heaviest(victims, mix)] * dimension;
    for (uint32_t d = 0; d < dimension; d++)
      sum += (double)made[d] * (double)own[d];
  }
  return sum / victims->count;
}

int paper_scores(const struct paper_input *input, double ret_scores[PAPER_SCORES], struct guise_error *err) {
  const size_t floats = (size_t)input->victims->count * input->teacher->info.embedding;
  _cleanup_(freep) float *embeddings = calloc(floats + 1, sizeof(*embeddings));
  if (!embeddings)
    return error_set(err, -ENOMEM, "out of memory comparing %u faces", input->victims->count);
  for (int which = 0; which < 2; which++) {
    const uint8_t *pictures = input->pictures[which];
    int r = teacher_embed_pictures(input->teacher, pictures, input->victims, input->size, input->options,
                                   embeddings, err);
    if (r < 0)
      return r;
    const double ssim = mean_ssim(input, pictures);
    if (isnan(ssim))
      return error_set(err, -ENOMEM, "out of memory comparing %u faces", input->victims->count);
    ret_scores[2 * which] = 1 - ssim;
    ret_scores[2 * which + 1] = 1 - mean_cosine(input, embeddings);
  }
  return 0;
}
