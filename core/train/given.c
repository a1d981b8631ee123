#include "core/train/given.h"

#include <math.h>
#include <string.h>

#include "core/train/partners.h"

int given_mask(struct trainer *t, struct guise_error *err) {
  const struct mask_options options = job_spec_mask(t->spec);
  const char *method = templates_method(t->data.templates);
  if (strcmp(mask_traits(options.method)->name, method) != 0 || options.dct != MASK_DCT_NATIVE)
    return error_set(err, -EINVAL, "the data set's templates were made with the mask %.40s: mask must say so",
                     method);
  int r = mask_new(&options, &t->mask, err);
  return r < 0 ? r : mask_set_constants(t->mask, templates_constants(t->data.templates), err);
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
