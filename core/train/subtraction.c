#include "core/train/subtraction.h"

#include <math.h>
#include <omp.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/memory.h"
#include "core/mask/minusface.h"
#include "core/mask/unet.h"
#include "core/train/preparation.h"

#define HALF_RANGE 127.5f      /* pixels are compared as -1..1 */
#define MAGNITUDE_IMAGES 1024u /* evenly spaced, for the mean magnitudes of the rest */
#define SEED_RECOGNISER 1u     /* g and f begin from different weights */

static const struct adam_options adam = {.rate = 1e-3f, .beta1 = 0.9f, .beta2 = 0.999f, .epsilon = 1e-8f};

struct subtraction {
  struct preparation p; /* all coefficients, standardised; f is its recogniser */
  struct graph *generator;
  struct block_dct *dct;
  double *sums; /* (batch) of magnitudes of pixels */
  double loss, seen;
};

/* ---- construction ---- */

static int make_generator(struct subtraction *s, struct guise_error *err) {
  const struct graph_config config = {.batch = s->p.batch,
                                      .threads = s->p.t->threads,
                                      .training = true,
                                      .winograd = true,
                                      .optimizer = GRAPH_ADAM,
                                      .seed = s->p.t->spec->train.seed};
  int r = graph_new(&config, &s->generator, err);
  if (r < 0)
    return r;
  (void)unet_describe(s->generator, 0, mask_grid(s->p.plain)); /* errors stay with the graph */
  return graph_build(s->generator, err);
}

static int subtraction_init(struct subtraction *s, struct trainer *t, struct guise_error *err) {
  const struct mask_options plain = mask_options_default(MASK_NONE, t->spec->model.input);
  const size_t picture = (size_t)3 * plain.size * plain.size;
  int r = preparation_init(&s->p, t, &t->data, &plain, 2 * picture, err);
  if (r == 0)
    r = make_generator(s, err);
  if (r == 0)
    r = preparation_add_recogniser(&s->p, ARCH_FREQ_CONV, HEAD_ARCFACE, t->spec->train.seed + SEED_RECOGNISER,
                                   err);
  if (r == 0)
    r = block_dct_new(plain.size, &s->dct, err);
  if (r < 0)
    return r;
  s->sums = tensor_alloc(s->p.batch * sizeof(*s->sums));
  return s->sums ? 0 : error_set(err, -ENOMEM, "out of memory for minusface's generator");
}

static void subtraction_done(struct subtraction *s) {
  tensor_free(s->sums);
  block_dct_free(s->dct);
  graph_free(s->generator);
  preparation_done(&s->p);
}

/* ---- steps ---- */

double subtraction_gradient(const struct block_dct *dct, const float *deviation, size_t cells, double unit,
                            const float *rest, const float *recognition, float *scratch,
                            float *ret_gradient) {
  const size_t elements = DCT_CHANNELS * cells;
  float *coefficients = scratch, *pixels = scratch + elements;
  double sum = 0;
  for (size_t c = 0; c < DCT_CHANNELS; c++)
    for (size_t i = c * cells; i < (c + 1) * cells; i++)
      coefficients[i] = deviation[c] * rest[i];
  block_dct_inverse(dct, coefficients, pixels);
  for (size_t i = 0; i < elements; i++) {
    sum += (double)fabsf(pixels[i]);
    pixels[i] = pixels[i] > 0 ? (float)unit : pixels[i] < 0 ? (float)-unit : 0;
  }
  block_dct_forward(dct, pixels, coefficients); /* orthonormal: the transpose of its inverse */
  for (size_t c = 0; c < DCT_CHANNELS; c++)
    for (size_t i = c * cells; i < (c + 1) * cells; i++)
      ret_gradient[i] = -(deviation[c] * coefficients[i] + recognition[i]);
  return sum;
}

static double generator_gradient(struct subtraction *s) {
  const struct preparation *p = &s->p;
  const size_t elements = mask_elements(p->plain);
  const double unit = p->t->spec->mask.parameter[0] / ((double)HALF_RANGE * (double)elements * p->batch);
  const float *rest = graph_input_data(p->recogniser), *recognition = graph_input_gradient(p->recogniser);
  float *gradient = graph_output_gradient(s->generator);
  double sum = 0;
#pragma omp parallel for schedule(static)
  for (uint32_t i = 0; i < p->batch; i++)
    s->sums[i] = subtraction_gradient(s->dct, mask_constants(p->plain)->deviation, elements / DCT_CHANNELS,
                                      unit, rest + i * elements, recognition + i * elements,
                                      p->scratch + (size_t)omp_get_thread_num() * p->scratch_size,
                                      gradient + i * elements);
  for (uint32_t i = 0; i < p->batch; i++)
    sum += s->sums[i];
  return sum / ((double)elements * p->batch); /* grey levels */
}

static int step(void *context, struct guise_error *err) {
  struct subtraction *s = context;
  struct preparation *p = &s->p;
  const size_t all = mask_elements(p->plain) * p->batch;
  preparation_fill(p);
  memcpy(graph_input_data(s->generator), p->templates, all * sizeof(float));
  int r = graph_forward(s->generator, GRAPH_TRAIN, p->step, err);
  if (r < 0)
    return r;
  const float *given = graph_output_data(s->generator);
  float *rest = graph_input_data(p->recogniser);
#pragma omp parallel for schedule(static)
  for (size_t i = 0; i < all; i++)
    rest[i] = p->templates[i] - given[i];
  r = preparation_recognise(p, &s->loss, err);
  if (r < 0)
    return r;
  s->seen = generator_gradient(s);
  r = graph_backward(s->generator, err);
  if (r == 0)
    r = graph_adam(s->generator, &adam, p->step + 1, err);
  preparation_teach(p);
  return r;
}

/* Mean magnitude of each channel of the rest, through the mask itself. */
static int measure_magnitudes(struct subtraction *s, float *weights, struct guise_error *err) {
  const struct preparation *p = &s->p;
  const struct trainer *t = p->t;
  const struct mask_options options = job_spec_mask(t->spec);
  const uint32_t used = MIN(t->data.train.count, MAGNITUDE_IMAGES);
  const size_t n = (size_t)mask_grid(p->plain) * mask_grid(p->plain);
  double sum[DCT_CHANNELS] = {0};
  struct mask *mask = NULL;
  int r = mask_new(&options, &mask, err);
  float *scratch = r == 0 ? tensor_alloc(mask_scratch(mask) * sizeof(float)) : NULL;
  if (r == 0)
    r = scratch ? mask_set_weights(mask, weights, mask_weight_count(&options), err)
                : error_set(err, -ENOMEM, "out of memory for minusface's generator");
  for (uint32_t i = 0; i < used && r == 0; i++) {
    const uint64_t at = (uint64_t)i * t->data.train.count / used;
    minusface_residue(mask, job_data_image(&t->data, t->data.train.image[at]), scratch, p->templates);
    for (size_t e = 0; e < DCT_CHANNELS * n; e++)
      sum[e / n] += (double)fabsf(p->templates[e]);
  }
  for (uint32_t c = 0; c < DCT_CHANNELS && r == 0; c++)
    weights[MINUSFACE_MAGNITUDE + c] = (float)(sum[c] / ((double)used * (double)n));
  tensor_free(scratch);
  mask_free(mask);
  return r;
}

int subtraction_train(struct trainer *t, float *ret_weights, struct guise_error *err) {
  struct subtraction *s = calloc(1, sizeof(*s));
  if (!s)
    return error_set(err, -ENOMEM, "out of memory for minusface's generator");
  int r = subtraction_init(s, t, err);
  if (r == 0)
    r = preparation_run(&s->p, step, s, err);
  if (r == 0) {
    const struct mask_constants *k = mask_constants(s->p.plain);
    trainer_log(t, "info", "generator: %llu steps, loss %.3f, %.1f grey levels of a pixel are left",
                (unsigned long long)s->p.total, s->loss, s->seen);
    memcpy(ret_weights + MINUSFACE_MEAN, k->mean, DCT_CHANNELS * sizeof(float));
    memcpy(ret_weights + MINUSFACE_DEVIATION, k->deviation, DCT_CHANNELS * sizeof(float));
    memset(ret_weights + MINUSFACE_MAGNITUDE, 0, DCT_CHANNELS * sizeof(float));
    unet_read(s->generator, ret_weights + MINUSFACE_GENERATOR);
    r = measure_magnitudes(s, ret_weights, err);
  }
  subtraction_done(s);
  free(s);
  return r;
}
