#include "core/train/generation.h"

#include <math.h>
#include <omp.h>
#include <string.h>

#include "core/base/memory.h"
#include "core/freq/dct.h"
#include "core/mask/generator.h"
#include "core/mask/unet.h"
#include "core/model/judge.h"
#include "core/train/adversary.h"
#include "core/train/preparation.h"

#define MIDDLE 128.0f
#define INPUTS (DCT_CHANNELS + GENERATOR_NOISE)
#define MOMENT_IMAGES 1024u /* evenly spaced, for the moments of what is drawn */

static const struct adam_options adam = {.rate = 1e-3f, .beta1 = 0.9f, .beta2 = 0.999f, .epsilon = 1e-8f};

struct generation {
  struct preparation p; /* all coefficients, standardised, of public faces */
  struct graph *generator;
  struct judge *judge;
  struct adversary *adversary;
  struct block_dct *dct;
  size_t cells, picture;
  float *real, *drawn; /* (batch,3,size,size) planar YCbCr minus 128 */
  float *gradient;     /* by drawn */
  float *who;          /* (batch, D) embeddings of real */
  double *look;        /* (batch) */
  double distance, likeness, hinge;
};

/* ---- construction ---- */

static int make_generator(struct generation *g, struct guise_error *err) {
  const struct graph_config config = {.batch = g->p.batch,
                                      .threads = g->p.t->threads,
                                      .training = true,
                                      .winograd = true,
                                      .optimizer = GRAPH_ADAM,
                                      .seed = g->p.t->spec->train.seed};
  int r = graph_new(&config, &g->generator, err);
  if (r < 0)
    return r;
  (void)unet_describe(g->generator, GENERATOR_NOISE, mask_grid(g->p.plain)); /* errors stay with the graph */
  return graph_build(g->generator, err);
}

static int make_buffers(struct generation *g, struct guise_error *err) {
  const size_t batch = g->p.batch;
  g->real = tensor_alloc(batch * g->picture * sizeof(float));
  g->drawn = tensor_alloc(batch * g->picture * sizeof(float));
  g->gradient = tensor_alloc(batch * g->picture * sizeof(float));
  g->who = tensor_alloc(batch * judge_embedding(g->judge) * sizeof(float));
  g->look = tensor_alloc(batch * sizeof(*g->look));
  return g->real && g->drawn && g->gradient && g->who && g->look
             ? 0
             : error_set(err, -ENOMEM, "out of memory for a batch of %u: choose a smaller train.batch",
                         g->p.batch);
}

static int generation_init(struct generation *g, struct trainer *t, struct guise_error *err) {
  const struct mask_options plain = mask_options_default(MASK_NONE, t->spec->model.input);
  if (!t->embedder)
    return error_set(err, -EINVAL, "a generator needs an embedder: name one in mask.embedder");
  g->picture = (size_t)3 * plain.size * plain.size;
  int r = preparation_init(&g->p, t, &t->open, &plain, GENERATION_LOOK_SCRATCH(plain.size), err);
  if (r == 0)
    r = make_generator(g, err);
  if (r == 0)
    r = judge_new(t->embedder, plain.size, g->p.batch, t->threads, &g->judge, err);
  if (r == 0)
    r = adversary_new(plain.size, g->p.batch, t->threads, t->spec->train.seed, &g->adversary, err);
  if (r == 0)
    r = block_dct_new(plain.size, &g->dct, err);
  if (r < 0)
    return r;
  g->cells = (size_t)mask_grid(g->p.plain) * mask_grid(g->p.plain);
  return make_buffers(g, err);
}

static void generation_done(struct generation *g) {
  tensor_free(g->real);
  tensor_free(g->drawn);
  tensor_free(g->gradient);
  tensor_free(g->who);
  tensor_free(g->look);
  block_dct_free(g->dct);
  adversary_free(g->adversary);
  judge_free(g->judge);
  graph_free(g->generator);
  preparation_done(&g->p);
}

/* ---- a step ---- */

static void fill_generator(struct generation *g) {
  struct preparation *p = &g->p;
  const size_t elements = DCT_CHANNELS * g->cells, inputs = INPUTS * g->cells;
  float *input = graph_input_data(g->generator);
  preparation_fill(p);
#pragma omp parallel for schedule(static)
  for (uint32_t i = 0; i < p->batch; i++) {
    struct rng rng; /* samples behind those of the augmentation */
    rng_init(&rng, p->t->spec->train.seed, RNG_ANALYSIS, p->step, p->batch + 1 + i);
    memcpy(input + i * inputs, p->templates + i * elements, elements * sizeof(float));
    for (size_t n = elements; n < inputs; n++)
      input[i * inputs + n] = rng_normal(&rng);
  }
}

/* Standardised coefficients of the batch -> pictures. */
static void to_pictures(struct generation *g, const float *standardised, float *ret_planar) {
  const struct preparation *p = &g->p;
  const struct mask_constants *k = mask_constants(p->plain);
  const size_t n = g->cells, elements = DCT_CHANNELS * n;
#pragma omp parallel for schedule(static)
  for (uint32_t image = 0; image < p->batch; image++) {
    float *coefficients = p->scratch + (size_t)omp_get_thread_num() * p->scratch_size;
    for (size_t i = 0; i < elements; i++)
      coefficients[i] = k->deviation[i / n] * standardised[image * elements + i] + k->mean[i / n];
    block_dct_inverse(g->dct, coefficients, ret_planar + image * g->picture);
  }
}

/* The gradient at the pictures -> at the generator's output. The transform is orthonormal: the transpose of
 * its inverse is the transform. */
static void to_generator(struct generation *g) {
  const struct mask_constants *k = mask_constants(g->p.plain);
  const size_t n = g->cells, elements = DCT_CHANNELS * n;
  float *gradient = graph_output_gradient(g->generator);
#pragma omp parallel for schedule(static)
  for (uint32_t image = 0; image < g->p.batch; image++) {
    block_dct_forward(g->dct, g->gradient + image * g->picture, gradient + image * elements);
    for (size_t i = 0; i < elements; i++)
      gradient[image * elements + i] *= k->deviation[i / n];
  }
}

static void to_rgb(const float *planar, size_t area, float *ret_rgb) {
  for (size_t colour = 0; colour < 3; colour++) {
    const float *m = ycbcr_rgb_matrix[colour];
    for (size_t i = 0; i < area; i++)
      ret_rgb[colour * area + i] =
          m[0] * planar[i] + m[1] * planar[area + i] + m[2] * planar[2 * area + i] + MIDDLE;
  }
}

double generation_look(const float *generated, const float *real, uint32_t size, float weight, float *scratch,
                       float *gradient) {
  const size_t area = (size_t)size * size;
  float *a = scratch, *b = a + 3 * area, *slope = b + 3 * area, *rest = slope + 3 * area;
  double sum = 0;
  to_rgb(generated, area, a);
  to_rgb(real, area, b);
  for (size_t colour = 0; colour < 3; colour++) {
    sum += quality_likeness(a + colour * area, b + colour * area, size, rest, slope);
    for (size_t plane = 0; plane < 3; plane++)
      for (size_t i = 0; i < area; i++)
        gradient[plane * area + i] += weight / 3 * ycbcr_rgb_matrix[colour][plane] * slope[i];
  }
  return sum / 3;
}

static void add_look(struct generation *g) {
  const struct preparation *p = &g->p;
  const float weight = (float)(p->t->spec->mask.parameter[GENERATOR_LOOK] / p->batch);
#pragma omp parallel for schedule(static)
  for (uint32_t i = 0; i < p->batch; i++)
    g->look[i] = generation_look(g->drawn + i * g->picture, g->real + i * g->picture, p->t->spec->model.input,
                                 weight, p->scratch + (size_t)omp_get_thread_num() * p->scratch_size,
                                 g->gradient + i * g->picture);
  g->likeness = 0;
  for (uint32_t i = 0; i < p->batch; i++)
    g->likeness += g->look[i] / p->batch;
}

/* Whatever has a say in the pictures. */
static int add_gradients(struct generation *g, struct guise_error *err) {
  const double *weight = g->p.t->spec->mask.parameter;
  memset(g->gradient, 0, g->p.batch * g->picture * sizeof(float));
  add_look(g);
  int r = judge_embed(g->judge, g->real, g->who, err);
  if (r == 0)
    r = judge_compare(g->judge, g->drawn, g->who, (float)weight[GENERATOR_IDENTITY], &g->distance,
                      g->gradient, err);
  if (r < 0 || weight[GENERATOR_REALISM] <= 0)
    return r;
  r = adversary_learn(g->adversary, g->real, g->drawn, &g->hinge, err);
  return r < 0 ? r
               : adversary_blame(g->adversary, g->drawn, (float)weight[GENERATOR_REALISM], g->gradient, err);
}

static int step(void *context, struct guise_error *err) {
  struct generation *g = context;
  fill_generator(g);
  int r = graph_forward(g->generator, GRAPH_TRAIN, g->p.step, err);
  if (r < 0)
    return r;
  to_pictures(g, g->p.templates, g->real);
  to_pictures(g, graph_output_data(g->generator), g->drawn);
  r = add_gradients(g, err);
  if (r < 0)
    return r;
  if (!isfinite(g->distance + g->likeness))
    return error_set(err, -EDOM, "the mask's generator has diverged at step %llu",
                     (unsigned long long)g->p.step);
  to_generator(g);
  r = graph_backward(g->generator, err);
  return r < 0 ? r : graph_adam(g->generator, &adam, g->p.step + 1, err);
}

/* ---- what is kept ---- */

/* Mean of u^2 and of z u of each channel. */
static int measure_moments(struct generation *g, float *weights, struct guise_error *err) {
  const struct preparation *p = &g->p;
  const struct face_list *faces = &p->data->train;
  const uint32_t used = MIN(faces->count, MOMENT_IMAGES);
  const size_t n = g->cells, elements = DCT_CHANNELS * n;
  double power[DCT_CHANNELS] = {0}, echo[DCT_CHANNELS] = {0};
  struct unet *unet = NULL;
  float *input = tensor_alloc((INPUTS * n + elements) * sizeof(float)),
        *scratch = tensor_alloc(unet_scratch(GENERATOR_NOISE, mask_grid(p->plain)) * sizeof(float));
  int r = input && scratch &&
                  unet_new(weights + GENERATOR_NETWORK, GENERATOR_NOISE, mask_grid(p->plain), &unet) == 0
              ? 0
              : error_set(err, -ENOMEM, "out of memory for the mask's generator");
  for (uint32_t i = 0; i < used && r == 0; i++) {
    const uint64_t at = (uint64_t)i * faces->count / used;
    float *drawn = input + INPUTS * n;
    struct rng rng;
    mask_rng_inference(&rng, i);
    mask_template(p->plain, job_data_image(p->data, faces->image[at]), false, NULL, p->scratch, input);
    generator_draw(unet, n, &rng, input, scratch, drawn);
    for (size_t e = 0; e < elements; e++) {
      power[e / n] += (double)drawn[e] * (double)drawn[e];
      echo[e / n] += (double)drawn[e] * (double)input[e];
    }
  }
  for (uint32_t c = 0; c < DCT_CHANNELS && r == 0; c++) {
    weights[GENERATOR_POWER + c] = (float)(power[c] / ((double)used * (double)n));
    weights[GENERATOR_ECHO + c] = (float)(echo[c] / ((double)used * (double)n));
  }
  unet_free(unet);
  tensor_free(input);
  tensor_free(scratch);
  return r;
}

int generation_train(struct trainer *t, float *ret_weights, struct guise_error *err) {
  struct generation *g = calloc(1, sizeof(*g));
  if (!g)
    return error_set(err, -ENOMEM, "out of memory for the mask's generator");
  int r = generation_init(g, t, err);
  if (r == 0)
    r = preparation_run(&g->p, step, g, err);
  if (r == 0) {
    const struct mask_constants *k = mask_constants(g->p.plain);
    trainer_log(t, "info",
                "generator: %llu steps on %u public faces; identity %.3f (1 = the same), likeness %.3f (0 = "
                "none)",
                (unsigned long long)g->p.total, t->open.train.count, 1 - g->distance, g->likeness);
    memcpy(ret_weights + GENERATOR_MEAN, k->mean, DCT_CHANNELS * sizeof(float));
    memcpy(ret_weights + GENERATOR_DEVIATION, k->deviation, DCT_CHANNELS * sizeof(float));
    unet_read(g->generator, ret_weights + GENERATOR_NETWORK);
    r = measure_moments(g, ret_weights, err);
  }
  generation_done(g);
  free(g);
  return r;
}
