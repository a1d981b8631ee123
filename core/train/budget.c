#include "core/train/budget.h"

#include <math.h>
#include <omp.h>
#include <string.h>

#include "core/base/memory.h"
#include "core/mask/dctdp.h"
#include "core/nn/adam.h"
#include "core/train/preparation.h"

#define RHO_MOST 5.0
#define RATE_MOST 0.1

struct budget {
  struct preparation p; /* the values, standardised, clipped and without noise */
  struct mask_options options;
  struct mask_constants constants; /* of dctdp, with the ranges */
  size_t count;                    /* N */
  float *rho, *shares;             /* (N) */
  double *first, *second;          /* (N) Adam's moments */
  double *slope, *gradient;        /* (N) */
  float *noise;                    /* (batch, N) s l */
  double loss;
};

void budget_shares(const float *rho, size_t count, float *ret_shares) {
  double sum = 0;
  for (size_t i = 0; i < count; i++)
    sum += exp((double)rho[i]);
  for (size_t i = 0; i < count; i++)
    ret_shares[i] = (float)((double)count * exp((double)rho[i]) / sum);
}

void budget_gradient(const float *shares, const double *slope, size_t count, double *ret_gradient) {
  double sum = 0;
  for (size_t i = 0; i < count; i++)
    sum += slope[i];
  for (size_t i = 0; i < count; i++)
    ret_gradient[i] = (double)shares[i] / (double)count * sum - slope[i];
}

/* ---- construction ---- */

/* The mask with equal budgets knows the ranges. */
static int fit_constants(struct budget *b, const struct trainer *t, struct guise_error *err) {
  struct face_view view = {&t->data, t->data.train.image};
  struct mask *mask = NULL;
  b->options = job_spec_mask(t->spec);
  b->options.parameter[DCTDP_LEARNT] = 0;
  int r = mask_new(&b->options, &mask, err);
  if (r == 0)
    r = mask_fit(mask, face_view_image, &view, t->data.train.count, err);
  if (r == 0)
    b->constants = *mask_constants(mask);
  mask_free(mask);
  return r;
}

static int make_buffers(struct budget *b, struct guise_error *err) {
  b->count = mask_elements(b->p.plain);
  b->rho = tensor_alloc(b->count * sizeof(*b->rho));
  b->shares = tensor_alloc(b->count * sizeof(*b->shares));
  b->first = tensor_alloc(b->count * sizeof(*b->first));
  b->second = tensor_alloc(b->count * sizeof(*b->second));
  b->slope = tensor_alloc(b->count * sizeof(*b->slope));
  b->gradient = tensor_alloc(b->count * sizeof(*b->gradient));
  b->noise = tensor_alloc(b->p.batch * b->count * sizeof(*b->noise));
  if (!b->rho || !b->shares || !b->first || !b->second || !b->slope || !b->gradient || !b->noise)
    return error_set(err, -ENOMEM, "out of memory for the budgets of %zu values", b->count);
  return 0;
}

static void budget_done(struct budget *b) {
  void *const buffers[] = {b->rho, b->shares, b->first, b->second, b->slope, b->gradient, b->noise};
  for (size_t i = 0; i < ARRAY_SIZE(buffers); i++)
    tensor_free(buffers[i]);
  preparation_done(&b->p);
}

static int budget_init(struct budget *b, struct trainer *t, struct guise_error *err) {
  const struct job_spec *spec = t->spec;
  const bool native = spec->mask.dct == MASK_DCT_NATIVE;
  struct mask_options plain = mask_options_default(MASK_NONE, spec->model.input);
  int r = fit_constants(b, t, err);
  plain.dct = spec->mask.dct;
  plain.drop_low = spec->mask.drop_low;
  plain.clip = (float)spec->mask.clip;
  if (r == 0)
    r = preparation_init(&b->p, t, &t->data, &plain, 0, err);
  if (r == 0)
    r = preparation_add_recogniser(&b->p, native ? ARCH_FREQ_CONV : spec->model.arch, spec->train.head,
                                   spec->train.seed, err);
  return r < 0 ? r : make_buffers(b, err);
}

/* ---- steps ---- */

/* Sample i of the batch with noise, into the recogniser's input. */
static void add_noise(struct budget *b, uint32_t i, float *ret_noisy) {
  const struct preparation *p = &b->p;
  const size_t cells = b->count / b->constants.channels;
  const float *x = p->templates + i * b->count;
  float *noise = b->noise + i * b->count;
  struct rng rng; /* samples behind those of the augmentation */
  rng_init(&rng, p->t->spec->train.seed, RNG_ANALYSIS, p->step, p->batch + 1 + i);
  for (uint32_t c = 0; c < b->constants.channels; c++) {
    const float most = dctdp_bound(&b->options, &b->constants, c),
                scale = dctdp_scale(&b->options, &b->constants, c, 1);
    for (size_t at = c * cells; at < (c + 1) * cells; at++) {
      noise[at] = scale / b->shares[at] * dctdp_draw(&rng);
      ret_noisy[at] = fminf(fmaxf(x[at], -most), most) + noise[at];
    }
  }
}

static void add_slopes(struct budget *b) {
  const float *gradient = graph_input_gradient(b->p.recogniser);
#pragma omp parallel for schedule(static)
  for (size_t i = 0; i < b->count; i++) {
    b->slope[i] = 0;
    for (size_t sample = 0; sample < b->p.batch; sample++)
      b->slope[i] += (double)gradient[sample * b->count + i] * (double)b->noise[sample * b->count + i];
  }
}

/* Adam; steps count from 1. */
static void move(struct budget *b, double rate, uint64_t step) {
  const struct adam_biases biases = adam_biases(step);
#pragma omp parallel for schedule(static)
  for (size_t i = 0; i < b->count; i++) {
    b->first[i] += (1 - ADAM_BETA1) * (b->gradient[i] - b->first[i]);
    b->second[i] += (1 - ADAM_BETA2) * (b->gradient[i] * b->gradient[i] - b->second[i]);
    const double moved = adam_moved((double)b->rho[i], rate, b->first[i], b->second[i], biases);
    b->rho[i] = (float)fmin(fmax(moved, -RHO_MOST), RHO_MOST);
  }
}

static int step(void *context, struct guise_error *err) {
  struct budget *b = context;
  struct preparation *p = &b->p;
  preparation_fill(p);
  budget_shares(b->rho, b->count, b->shares);
#pragma omp parallel for schedule(static)
  for (uint32_t i = 0; i < p->batch; i++)
    add_noise(b, i, graph_input_data(p->recogniser) + i * b->count);
  int r = preparation_recognise(p, &b->loss, err);
  if (r < 0)
    return r;
  add_slopes(b);
  budget_gradient(b->shares, b->slope, b->count, b->gradient);
  move(b, fmin(RATE_MOST, 4 / (double)p->total), p->step + 1);
  preparation_teach(p);
  return 0;
}

int budget_train(struct trainer *t, float *ret_weights, struct guise_error *err) {
  struct budget *b = calloc(1, sizeof(*b));
  if (!b)
    return error_set(err, -ENOMEM, "out of memory for dctdp's budgets");
  int r = budget_init(b, t, err);
  if (r == 0)
    r = preparation_run(&b->p, step, b, err);
  if (r == 0) {
    float least = INFINITY, most = 0;
    budget_shares(b->rho, b->count, ret_weights);
    for (size_t i = 0; i < b->count; i++) {
      least = fminf(least, ret_weights[i]);
      most = fmaxf(most, ret_weights[i]);
    }
    trainer_log(t, "info", "budgets: %llu steps, loss %.3f, from %.3g to %.3g times the mean",
                (unsigned long long)b->p.total, b->loss, (double)least, (double)most);
  }
  budget_done(b);
  free(b);
  return r;
}
