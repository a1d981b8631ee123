#include "core/train/subtraction.h"

#include <math.h>
#include <omp.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/memory.h"
#include "core/freq/dct.h"
#include "core/mask/minusface.h"
#include "core/mask/unet.h"
#include "core/model/model.h"
#include "core/train/analysis.h"
#include "core/train/augment.h"
#include "core/train/learnt.h"

#define HALF_RANGE 127.5f      /* pixels are compared as -1..1 */
#define MAGNITUDE_IMAGES 1024u /* evenly spaced, for the mean magnitudes of the rest */
#define SEED_RECOGNISER 1u     /* g and f begin from different weights */

static const struct adam_options adam = {.rate = 1e-3f, .beta1 = 0.9f, .beta2 = 0.999f, .epsilon = 1e-8f};

struct subtraction {
  struct trainer *t;
  struct mask *plain; /* all coefficients, standardised */
  struct graph *generator, *recogniser;
  struct head *head;
  struct block_dct *dct;
  uint64_t step, total;
  float *templates, *scratch; /* (batch, elements); (threads, scratch of the mask + 2 pictures) */
  size_t scratch_size;
  uint8_t *shifted; /* (threads, size*size*3) */
  uint32_t *order;  /* (train.count) */
  struct head_label *labels;
  uint32_t *label_counts;
  double *seen; /* (batch) sums of magnitudes of pixels */
};

/* ---- construction ---- */

static int make_plain(struct subtraction *s, struct guise_error *err) {
  const struct trainer *t = s->t;
  struct face_view view = {&t->data, t->data.train.image};
  const struct mask_options options = mask_options_default(MASK_NONE, t->spec->model.input);
  int r = mask_new(&options, &s->plain, err);
  return r < 0 ? r : mask_fit(s->plain, face_view_image, &view, t->data.train.count, err);
}

static int make_networks(struct subtraction *s, struct guise_error *err) {
  const struct trainer *t = s->t;
  const struct job_spec *spec = t->spec;
  struct graph_config config = {.batch = t->batch,
                                .threads = t->threads,
                                .training = true,
                                .winograd = true,
                                .optimizer = GRAPH_ADAM,
                                .seed = spec->train.seed};
  const struct arch_options options =
      arch_options_for(s->plain, spec->model.embedding, (float)spec->model.width, (float)spec->model.dropout);
  int r = graph_new(&config, &s->generator, err);
  if (r < 0)
    return r;
  (void)unet_describe(s->generator, mask_grid(s->plain)); /* errors stay with the graph */
  r = graph_build(s->generator, err);
  config.optimizer = GRAPH_SGD;
  config.input_gradient = true;
  config.seed += SEED_RECOGNISER;
  if (r == 0)
    r = graph_new(&config, &s->recogniser, err);
  if (r < 0)
    return r;
  (void)arch_describe(s->recogniser, ARCH_FREQ_CONV, &options);
  r = graph_build(s->recogniser, err);
  return r < 0 ? r
               : head_new(t->data.train.identities, spec->model.embedding, t->batch, t->threads, HEAD_ARCFACE,
                          spec->train.seed, &s->head, err);
}

static int make_buffers(struct subtraction *s, struct guise_error *err) {
  const size_t batch = s->t->batch, threads = s->t->threads, elements = mask_elements(s->plain);
  s->scratch_size = MAX(mask_scratch(s->plain), 2 * elements);
  s->templates = tensor_alloc(batch * elements * sizeof(float));
  s->scratch = tensor_alloc(threads * s->scratch_size * sizeof(float));
  s->shifted = tensor_alloc(threads * s->t->data.size * s->t->data.size * 3);
  s->order = tensor_alloc(s->t->data.train.count * sizeof(*s->order));
  s->labels = tensor_alloc(batch * sizeof(*s->labels));
  s->label_counts = tensor_alloc(batch * sizeof(*s->label_counts));
  s->seen = tensor_alloc(batch * sizeof(*s->seen));
  if (!s->templates || !s->scratch || !s->shifted || !s->order || !s->labels || !s->label_counts || !s->seen)
    return error_set(err, -ENOMEM, "out of memory for a batch of %u: choose a smaller train.batch",
                     s->t->batch);
  for (uint32_t i = 0; i < s->t->batch; i++)
    s->label_counts[i] = 1;
  return block_dct_new(s->t->spec->model.input, &s->dct, err);
}

static void subtraction_done(struct subtraction *s) {
  tensor_free(s->templates);
  tensor_free(s->scratch);
  tensor_free(s->shifted);
  tensor_free(s->order);
  tensor_free(s->labels);
  tensor_free(s->label_counts);
  tensor_free(s->seen);
  block_dct_free(s->dct);
  head_free(s->head);
  graph_free(s->generator);
  graph_free(s->recogniser);
  mask_free(s->plain);
}

/* ---- steps ---- */

static void fill_batch(struct subtraction *s) {
  const struct trainer *t = s->t;
  const size_t elements = mask_elements(s->plain), pixels = (size_t)t->data.size * t->data.size * 3;
  const uint32_t *order = s->order + (size_t)(s->step % t->steps_per_epoch) * t->batch;
  const struct augmentation augmentation = trainer_augmentation(t);
#pragma omp parallel for schedule(static)
  for (uint32_t i = 0; i < t->batch; i++) {
    const size_t thread = (size_t)omp_get_thread_num();
    struct rng rng;
    rng_init(&rng, t->spec->train.seed, RNG_ANALYSIS, s->step, i + 1);
    s->labels[i] = (struct head_label){t->data.train.identity[order[i]], 1};
    augment_template(s->plain, &augmentation, &rng, job_data_image(&t->data, t->data.train.image[order[i]]),
                     s->shifted + thread * pixels, s->scratch + thread * s->scratch_size,
                     s->templates + i * elements);
  }
}

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

static int recognise(struct subtraction *s, double *ret_loss, struct guise_error *err) {
  const struct job_spec *spec = s->t->spec;
  const struct head_options head = {.scale = (float)spec->train.scale, .negatives = HEAD_NEGATIVES_OTHERS};
  int r = graph_forward(s->recogniser, GRAPH_TRAIN, s->step, err);
  if (r < 0)
    return r;
  *ret_loss = head_step(s->head, &head, graph_output_data(s->recogniser), s->t->batch, s->labels, 1,
                        s->label_counts, graph_output_gradient(s->recogniser), NULL, NULL);
  if (!isfinite(*ret_loss))
    return error_set(err, -EDOM, "the loss before the training is not a number: lower train.lr (it is %.4g)",
                     spec->train.lr);
  return graph_backward(s->recogniser, err);
}

static double generator_gradient(struct subtraction *s) {
  const uint32_t batch = s->t->batch;
  const size_t elements = mask_elements(s->plain);
  const double unit = s->t->spec->mask.parameter[0] / ((double)HALF_RANGE * (double)elements * batch);
  const float *rest = graph_input_data(s->recogniser), *recognition = graph_input_gradient(s->recogniser);
  float *gradient = graph_output_gradient(s->generator);
  double sum = 0;
#pragma omp parallel for schedule(static)
  for (uint32_t i = 0; i < batch; i++)
    s->seen[i] = subtraction_gradient(s->dct, mask_constants(s->plain)->deviation, elements / DCT_CHANNELS,
                                      unit, rest + i * elements, recognition + i * elements,
                                      s->scratch + (size_t)omp_get_thread_num() * s->scratch_size,
                                      gradient + i * elements);
  for (uint32_t i = 0; i < batch; i++)
    sum += s->seen[i];
  return sum / ((double)elements * batch); /* grey levels */
}

static int step(struct subtraction *s, double *ret_loss, double *ret_seen, struct guise_error *err) {
  const struct job_spec *spec = s->t->spec;
  const size_t all = mask_elements(s->plain) * s->t->batch;
  const float rate = (float)trainer_rate(spec, s->step, s->total);
  fill_batch(s);
  memcpy(graph_input_data(s->generator), s->templates, all * sizeof(float));
  int r = graph_forward(s->generator, GRAPH_TRAIN, s->step, err);
  if (r < 0)
    return r;
  const float *given = graph_output_data(s->generator);
  float *rest = graph_input_data(s->recogniser);
#pragma omp parallel for schedule(static)
  for (size_t i = 0; i < all; i++)
    rest[i] = s->templates[i] - given[i];
  r = recognise(s, ret_loss, err);
  if (r < 0)
    return r;
  *ret_seen = generator_gradient(s);
  r = graph_backward(s->generator, err);
  if (r == 0)
    r = graph_adam(s->generator, &adam, s->step + 1, err);
  graph_sgd(s->recogniser, rate, (float)spec->train.momentum, (float)spec->train.weight_decay);
  head_sgd(s->head, rate, (float)spec->train.momentum, (float)spec->train.weight_decay);
  return r;
}

static int run(struct subtraction *s, struct guise_error *err) {
  struct trainer *t = s->t;
  double loss = 0, seen = 0;
  int64_t told = 0;
  int r = 0;
  for (; s->step < s->total && r == 0; s->step++) {
    if (s->step % t->steps_per_epoch == 0) {
      struct rng rng;
      rng_init(&rng, t->spec->train.seed, RNG_ANALYSIS, s->step / t->steps_per_epoch, 0);
      rng_permutation(&rng, s->order, t->data.train.count);
    }
    r = trainer_stop_code(t);
    if (r == 0)
      r = step(s, &loss, &seen, err);
    trainer_report_preparing(t, (double)(s->step + 1) / (double)s->total, &told);
  }
  if (r == 0)
    trainer_log(t, "info", "generator: %llu steps, loss %.3f, %.1f grey levels of a pixel are left",
                (unsigned long long)s->total, loss, seen);
  return r;
}

/* ---- the weights ---- */

/* Mean magnitude of each channel of the rest, through the mask itself. */
static int measure_magnitudes(struct subtraction *s, float *weights, struct guise_error *err) {
  const struct trainer *t = s->t;
  const struct mask_options options = job_spec_mask(t->spec);
  const uint32_t used = MIN(t->data.train.count, MAGNITUDE_IMAGES);
  const size_t n = (size_t)mask_grid(s->plain) * mask_grid(s->plain);
  double sum[DCT_CHANNELS] = {0};
  struct mask *mask = NULL;
  int r = mask_new(&options, &mask, err);
  float *scratch = r == 0 ? tensor_alloc(mask_scratch(mask) * sizeof(float)) : NULL;
  if (r == 0)
    r = scratch ? mask_set_weights(mask, weights, mask_weight_count(&options), err)
                : error_set(err, -ENOMEM, "out of memory for minusface's generator");
  for (uint32_t i = 0; i < used && r == 0; i++) {
    const uint64_t at = (uint64_t)i * t->data.train.count / used;
    minusface_residue(mask, job_data_image(&t->data, t->data.train.image[at]), scratch, s->templates);
    for (size_t e = 0; e < DCT_CHANNELS * n; e++)
      sum[e / n] += (double)fabsf(s->templates[e]);
  }
  for (uint32_t c = 0; c < DCT_CHANNELS && r == 0; c++)
    weights[MINUSFACE_MAGNITUDE + c] = (float)(sum[c] / ((double)used * (double)n));
  tensor_free(scratch);
  mask_free(mask);
  return r;
}

static int train(struct trainer *t, float *ret_weights, struct guise_error *err) {
  struct subtraction *s = calloc(1, sizeof(*s));
  if (!s)
    return error_set(err, -ENOMEM, "out of memory for minusface's generator");
  s->t = t;
  s->total = analysis_steps(t);
  int r = make_plain(s, err);
  if (r == 0)
    r = make_networks(s, err);
  if (r == 0)
    r = make_buffers(s, err);
  if (r == 0)
    r = run(s, err);
  if (r == 0) {
    const struct mask_constants *k = mask_constants(s->plain);
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

static bool are_weights(const float *values, uint64_t count) {
  for (uint64_t i = 0; i < count; i++)
    if (!isfinite(values[i]))
      return false;
  return true;
}

int subtraction_learn(struct trainer *t, const struct job_inputs *inputs, struct guise_error *err) {
  const struct mask_options options = job_spec_mask(t->spec);
  t->weight_count = mask_weight_count(&options);
  t->weights = tensor_alloc(t->weight_count * sizeof(float));
  if (!t->weights)
    return error_set(err, -ENOMEM, "out of memory for the weights of a mask");
  return learnt_fetch(
      t, inputs,
      &(struct learnt){TRAINER_WEIGHTS, JOB_WEIGHTS_FILE, t->weights, t->weight_count, are_weights, train},
      err);
}
