#include "core/attack/guide.h"

#include <string.h>

#include "core/base/memory.h"
#include "core/freq/dct.h"

static const uint8_t *photograph(void *sample, uint32_t i) {
  return face_sample_image(sample, i);
}

/* The transform alone; its constants cancel out again. */
static int fit_plain(struct guide *guide, const struct face_sample *photographs, uint32_t from,
                     struct guise_error *err) {
  struct mask_options options = mask_options_default(MASK_NONE, guide->size);
  struct resized_faces resized;
  options.dct = mask_options(guide->inverted->mask)->dct;
  int r = mask_new(&options, &guide->plain, err);
  if (r < 0)
    return r;
  r = resized_faces_init(&resized, photographs, from, guide->size);
  r = r < 0 ? error_set(err, r, "out of memory for %u public faces", photographs->count)
            : mask_fit(guide->plain, photograph, &resized.sample, photographs->count, err);
  resized_faces_done(&resized);
  return r;
}

static int make_plain(struct guide *guide, const struct face_sample *photographs, uint32_t from,
                      struct guise_error *err) {
  const size_t pixels = (size_t)3 * guide->size * guide->size;
  int r = fit_plain(guide, photographs, from, err);
  if (r < 0)
    return r;
  guide->coefficients = tensor_alloc(mask_elements(guide->plain) * sizeof(float));
  guide->scratch = tensor_alloc(MAX(mask_scratch(guide->plain), (size_t)1) * sizeof(float));
  guide->rgb = malloc(pixels);
  return guide->coefficients && guide->scratch && guide->rgb
             ? 0
             : error_set(err, -ENOMEM, "out of memory for a picture of %u pixels", guide->size);
}

int guide_init(struct guide *guide, const struct inverted *inverted, uint32_t side,
               const struct face_sample *photographs, uint32_t from, struct guise_error *err) {
  *guide = (struct guide){.inverted = inverted, .side = side, .size = mask_size(inverted->mask)};
  int r = canvas_init(&guide->canvas, inverted->mask, err);
  if (r < 0)
    return r;
  guide->planes = tensor_alloc((size_t)3 * guide->size * guide->size * sizeof(float));
  if (!guide->planes)
    return error_set(err, -ENOMEM, "out of memory for a picture of %u pixels", guide->size);
  return mask_is_linear(inverted->mask) ? 0 : make_plain(guide, photographs, from, err);
}

void guide_done(struct guide *guide) {
  canvas_done(&guide->canvas);
  mask_free(guide->plain);
  tensor_free(guide->planes);
  tensor_free(guide->coefficients);
  tensor_free(guide->scratch);
  free(guide->rgb);
  memset(guide, 0, sizeof(*guide));
}

/* ---- there and back ---- */

static void to_bytes(struct guide *guide, uint8_t *ret_rgb) {
  for (size_t i = 0; i < (size_t)3 * guide->size * guide->size; i++)
    guide->planes[i] *= CANVAS_UNIT;
  ycbcr_to_rgb(guide->planes, guide->size, ret_rgb);
}

void guide_picture(struct guide *guide, const float *picture, uint8_t *ret_rgb) {
  view_show(&(struct view){.mirrored = false}, picture, guide->side, guide->size, guide->planes);
  to_bytes(guide, ret_rgb);
}

static void make_template(struct guide *guide, const struct view *view, const float *picture, uint32_t draw,
                          float *ret_template) {
  const struct mask *mask = guide->inverted->mask;
  struct rng rng;
  view_show(view, picture, guide->side, guide->size, guide->planes);
  if (!guide->plain) {
    canvas_template(&guide->canvas, guide->planes, ret_template);
    return;
  }
  to_bytes(guide, guide->rgb);
  mask_rng_inference(&rng, draw);
  mask_template(mask, guide->rgb, false, &rng, guide->canvas.scratch, ret_template);
  mask_after_mix(mask, &rng, guide->canvas.scratch, ret_template);
}

/* planes := the derivative by them. The plain template's channels are all the coefficients, in order. */
static void straight_through(struct guide *guide, const float *of_template) {
  const struct mask *mask = guide->inverted->mask;
  const struct mask_constants *constants = mask_constants(mask), *plain = mask_constants(guide->plain);
  const size_t pixels = (size_t)3 * guide->size * guide->size,
               cells = (size_t)mask_grid(mask) * mask_grid(mask);
  memset(guide->coefficients, 0, mask_elements(guide->plain) * sizeof(float));
  for (uint32_t c = 0; c < MIN(constants->channels, mask_channels(mask)); c++) {
    const uint32_t channel = constants->channel[c];
    const float factor = plain->deviation[channel] / constants->deviation[c];
    for (size_t i = 0; i < cells; i++)
      guide->coefficients[channel * cells + i] = factor * of_template[c * cells + i];
  }
  mask_linear_adjoint(guide->plain, 0, guide->coefficients, guide->scratch, guide->planes);
  for (size_t i = 0; i < pixels; i++)
    guide->planes[i] *= CANVAS_UNIT;
}

static void make_templates(struct guide *guide, const float *pictures, const struct view *views,
                           uint32_t draw) {
  const size_t elements = mask_elements(guide->inverted->mask),
               picture = (size_t)3 * guide->side * guide->side;
  for (uint32_t i = 0; i < INVERSION_BATCH; i++)
    make_template(guide, &views[i], pictures + i * picture, draw + i,
                  graph_input_data(guide->inverted->classifier->graph) + i * elements);
}

static int differentiate(struct classifier *classifier, const uint32_t *classes, enum guide_loss loss,
                         double *ret_loss, struct guise_error *err) {
  struct head_label labels[INVERSION_BATCH];
  uint32_t counts[INVERSION_BATCH];
  if (loss == GUIDE_MARGIN)
    return classifier_separate(classifier, classes, ret_loss, err);
  for (uint32_t i = 0; i < INVERSION_BATCH; i++) {
    labels[i] = (struct head_label){classes[i], 1};
    counts[i] = 1;
  }
  return classifier_differentiate(classifier, labels, 1, counts, ret_loss, err);
}

int guide_add(struct guide *guide, const float *pictures, const struct view *views, const uint32_t *classes,
              enum guide_loss loss, float weight, uint32_t draw, float *gradient, double *ret_loss,
              struct guise_error *err) {
  struct classifier *classifier = guide->inverted->classifier;
  const size_t elements = mask_elements(guide->inverted->mask),
               picture = (size_t)3 * guide->side * guide->side,
               pixels = (size_t)3 * guide->size * guide->size;
  make_templates(guide, pictures, views, draw);
  int r = differentiate(classifier, classes, loss, ret_loss, err);
  for (uint32_t i = 0; i < INVERSION_BATCH && r == 0; i++) {
    const float *of_template = graph_input_gradient(classifier->graph) + i * elements;
    if (guide->plain)
      straight_through(guide, of_template);
    else
      canvas_pull_back(&guide->canvas, of_template, guide->planes);
    for (size_t k = 0; k < pixels; k++)
      guide->planes[k] *= weight;
    view_add_back(&views[i], guide->planes, guide->side, guide->size, gradient + i * picture);
  }
  return r;
}

int guide_scores(struct guide *guide, const float *pictures, const uint32_t *classes,
                 double ret_scores[INVERSION_BATCH], struct guise_error *err) {
  static const struct view as_it_is[INVERSION_BATCH];
  make_templates(guide, pictures, as_it_is, 0);
  int r = classifier_look(guide->inverted->classifier, err);
  for (uint32_t i = 0; i < INVERSION_BATCH && r == 0; i++)
    ret_scores[i] = classifier_cosine(guide->inverted->classifier, i, classes[i]);
  return r;
}
