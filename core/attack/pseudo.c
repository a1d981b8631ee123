#include "core/attack/pseudo.h"

#include <string.h>

#include "core/base/memory.h"

/* Best first. */
struct ranking {
  uint32_t *faces;  /* (count, most) */
  float *logits;    /* likewise */
  uint32_t *filled; /* (count) */
};

static void enter(const struct ranking *ranking, uint32_t i, uint32_t most, uint32_t face, float logit) {
  uint32_t *faces = ranking->faces + (size_t)i * most;
  float *logits = ranking->logits + (size_t)i * most;
  uint32_t at = ranking->filled[i];
  if (at == most && !(logit > logits[most - 1]))
    return;
  if (at < most)
    ranking->filled[i]++;
  else
    at--;
  for (; at > 0 && logit > logits[at - 1]; at--) {
    faces[at] = faces[at - 1];
    logits[at] = logits[at - 1];
  }
  faces[at] = face;
  logits[at] = logit;
}

static int look_at(const struct inverted *inverted, const struct face_sample *faces, uint32_t first,
                   float *scratch, struct guise_error *err) {
  const struct attack_context *context = inverted->context;
  if (attack_stop_code(context, err) < 0)
    return -ECANCELED;
  for (uint32_t i = 0; i < INVERSION_BATCH; i++) {
    const uint32_t face = (first + i) % faces->count;
    float *template_ =
        graph_input_data(inverted->classifier->graph) + (size_t)i * mask_elements(inverted->mask);
    struct rng rng;
    mask_rng_inference(&rng, faces->index[face]);
    mask_template(inverted->mask, face_sample_image(faces, face), false, &rng, scratch, template_);
    mask_after_mix(inverted->mask, &rng, scratch, template_);
  }
  return classifier_look(inverted->classifier, err);
}

int pseudo_label(const struct inverted *inverted, const struct face_sample *faces, const uint32_t *wanted,
                 uint32_t count, uint32_t most, uint32_t *ret_faces, struct guise_error *err) {
  _cleanup_(freep) float *logits = calloc((size_t)count * most, sizeof(*logits));
  _cleanup_(freep) uint32_t *filled = calloc(count, sizeof(*filled));
  float *scratch = tensor_alloc(MAX(mask_scratch(inverted->mask), (size_t)1) * sizeof(float));
  const struct ranking ranking = {ret_faces, logits, filled};
  int r = logits && filled && scratch
              ? 0
              : error_set(err, -ENOMEM, "out of memory for the labels of %u public faces", faces->count);
  for (uint32_t first = 0; first < faces->count && r == 0; first += INVERSION_BATCH) {
    r = look_at(inverted, faces, first, scratch, err);
    for (uint32_t i = 0; i < MIN(INVERSION_BATCH, faces->count - first) && r == 0; i++)
      for (uint32_t c = 0; c < count; c++)
        enter(&ranking, c, most, first + i, (float)classifier_cosine(inverted->classifier, i, wanted[c]));
  }
  tensor_free(scratch);
  return r;
}
