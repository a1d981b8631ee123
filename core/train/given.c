#include "core/train/given.h"

#include <math.h>
#include <string.h>

#include "core/base/memory.h"
#include "core/train/partners.h"

/* A template whose lowest frequencies are all 0, those that every template of the mask has among them. */
static int find_lowered(struct trainer *t, struct guise_error *err) {
  const uint32_t drop = templates_mixing(t->data.templates)->protection.drop, count = t->data.train.count;
  const size_t elements = mask_elements(t->mask);
  if (drop == 0)
    return 0;
  t->lowered = tensor_alloc((count + 1) * sizeof(*t->lowered));
  float *given = tensor_alloc(elements * sizeof(float)), *lowered = tensor_alloc(elements * sizeof(float));
  for (uint32_t i = 0; t->lowered && given && lowered && i < count; i++) {
    templates_get(t->data.templates, i, false, given);
    memcpy(lowered, given, elements * sizeof(float));
    mask_lower(t->mask, drop, lowered);
    t->lowered[i] = memcmp(given, lowered, elements * sizeof(float)) == 0;
  }
  const bool failed = !t->lowered || !given || !lowered;
  tensor_free(given);
  tensor_free(lowered);
  return failed ? error_set(err, -ENOMEM, "out of memory for which templates have lost frequencies") : 0;
}

int given_mask(struct trainer *t, struct guise_error *err) {
  const struct mask_options options = job_spec_mask(t->spec);
  const char *method = templates_method(t->data.templates);
  if (strcmp(mask_traits(options.method)->name, method) != 0 || options.dct != MASK_DCT_NATIVE)
    return error_set(err, -EINVAL, "the data set's templates were made with the mask %.40s: mask must say so",
                     method);
  int r = mask_new(&options, &t->mask, err);
  if (r == 0)
    r = mask_set_constants(t->mask, templates_constants(t->data.templates), err);
  return r < 0 ? r : find_lowered(t, err);
}

bool given_is_plain(const struct trainer *t, uint32_t image) {
  struct mix_label label[MIX_MAX];
  return templates_labels(t->data.templates, image, label) == 1 && !(t->lowered && t->lowered[image]);
}

uint32_t given_whole(const struct trainer *t, uint32_t image) {
  const uint32_t count = t->data.train.count;
  for (uint32_t i = 0; t->lowered && i < count; i++)
    if (!t->lowered[(image + i) % count])
      return (image + i) % count;
  return image;
}

void given_fill(struct trainer *t, const uint32_t *images, uint32_t count, float *ret_inputs) {
  const size_t elements = mask_elements(t->mask);
#pragma omp parallel for schedule(static)
  for (uint32_t i = 0; i < count; i++) {
    struct mix_label label[MIX_MAX];
    struct rng rng;
    trainer_view(t, i, images[i], &rng);
    const bool flip = (rng_u32(&rng) & 1) && t->spec->train.flip;
    const uint32_t labels = templates_labels(t->data.templates, images[i], label);
    templates_get(t->data.templates, images[i], flip, ret_inputs + i * elements);
    t->sample[i] = images[i];
    t->identity[i] = label[0].identity;
    t->label_counts[i] = labels;
    for (uint32_t j = 0; j < labels; j++)
      t->labels[i * MIX_MAX + j] = (struct head_label){label[j].identity, label[j].weight};
  }
}

void given_unmixed(const struct trainer *t, uint32_t image, float *ret_template) {
  const size_t elements = mask_elements(t->mask);
  struct mix_label label[MIX_MAX];
  const uint32_t labels = templates_labels(t->data.templates, image, label);
  float squares = 0;
  for (uint32_t j = 0; j < labels; j++)
    squares += label[j].weight * label[j].weight;
  const float scale = 1 / sqrtf(squares); /* a checked file: above 0 */
  templates_get(t->data.templates, image, false, ret_template);
  for (size_t e = 0; e < elements; e++)
    ret_template[e] *= scale;
}
