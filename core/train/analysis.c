#include "core/train/analysis.h"

#include <math.h>
#include <omp.h>
#include <stdio.h>

#include "core/freq/dct.h"
#include "core/train/gates.h"
#include "core/train/learnt.h"
#include "core/train/preparation.h"

#define VISIBLE_IMAGES 2048u /* evenly spaced, for the mean magnitudes */

struct analysis {
  struct preparation p; /* all coefficients, standardised, of the job's transform */
  struct gates gates;
  double loss;
};

uint64_t analysis_steps(const struct trainer *t) {
  const struct mask_options options = job_spec_mask(t->spec);
  return mask_learns(&options) && !t->data.templates ? preparation_steps(t, &t->data) : 0;
}

/* As published, the gates stand before convolutions on the channels themselves. Behind an inverse DCT, which
 * undoes the standardisation, a gate's say in the loss goes with its channel's size, and chance decides about
 * all but the largest. */
static enum arch network_of(const struct job_spec *spec) {
  return spec->mask.dct == MASK_DCT_NATIVE ? ARCH_FREQ_CONV : spec->model.arch;
}

/* ---- what a viewer sees ---- */

/* Adds sum |x_c| of the batch's templates, as coefficients, not standardised. */
static void add_magnitudes(const struct preparation *p, uint32_t count, double *sum) {
  const struct mask_constants *k = mask_constants(p->plain);
  const size_t cells = (size_t)mask_grid(p->plain) * mask_grid(p->plain);
#pragma omp parallel for schedule(static)
  for (size_t c = 0; c < DCT_CHANNELS; c++)
    for (uint32_t image = 0; image < count; image++) {
      const float *x = p->templates + (image * (size_t)DCT_CHANNELS + c) * cells;
      for (size_t i = 0; i < cells; i++)
        sum[c] += (double)fabsf(x[i] * k->deviation[c] + k->mean[c]);
    }
}

static int measure_visible(struct analysis *a) {
  const struct preparation *p = &a->p;
  const struct trainer *t = p->t;
  const uint32_t used = MIN(t->data.train.count, VISIBLE_IMAGES);
  const size_t elements = mask_elements(p->plain);
  double sum[DCT_CHANNELS] = {0};
  for (uint32_t first = 0; first < used; first += p->batch) {
    const uint32_t count = MIN(p->batch, used - first);
    int r = trainer_stop_code(t);
    if (r < 0)
      return r;
#pragma omp parallel for schedule(static)
    for (uint32_t i = 0; i < count; i++) {
      const uint64_t at = (uint64_t)(first + i) * t->data.train.count / used;
      mask_template(p->plain, job_data_image(&t->data, t->data.train.image[at]), false, NULL,
                    p->scratch + (size_t)omp_get_thread_num() * p->scratch_size, p->templates + i * elements);
    }
    add_magnitudes(p, count, sum);
  }
  gates_init(&a->gates, sum);
  return 0;
}

/* ---- steps ---- */

static int step(void *context, struct guise_error *err) {
  struct analysis *a = context;
  struct preparation *p = &a->p;
  const size_t cells = (size_t)mask_grid(p->plain) * mask_grid(p->plain);
  double gradient[DCT_CHANNELS];
  preparation_fill(p);
  gates_apply(&a->gates, p->templates, p->batch, cells, graph_input_data(p->recogniser));
  int r = preparation_recognise(p, &a->loss, err);
  if (r < 0)
    return r;
  gates_gradient(&a->gates, p->templates, graph_input_gradient(p->recogniser), p->batch, cells,
                 p->t->spec->mask.analysis.gamma, gradient);
  gates_step(&a->gates, gradient, fmin(0.05, 4 / (double)p->total), p->step + 1);
  preparation_teach(p);
  return 0;
}

int analysis_train(struct trainer *t, float *ret_gates, struct guise_error *err) {
  const struct job_spec *spec = t->spec;
  struct mask_options plain = mask_options_default(MASK_NONE, spec->model.input);
  struct analysis *a = calloc(1, sizeof(*a));
  if (!a)
    return error_set(err, -ENOMEM, "out of memory for the analysis network");
  plain.dct = spec->mask.dct;
  int r = preparation_init(&a->p, t, &t->data, &plain, 0, err);
  if (r == 0)
    r = preparation_add_recogniser(&a->p, network_of(spec), spec->train.head, spec->train.seed, err);
  if (r == 0)
    r = measure_visible(a);
  if (r == 0)
    r = preparation_run(&a->p, step, a, err);
  if (r == 0) {
    gates_values(&a->gates, ret_gates);
    trainer_log(t, "info",
                "analysis network: %llu steps, loss %.3f, open gates show %.1f %% of the magnitude",
                (unsigned long long)a->p.total, a->loss, 100 * gates_penalty(&a->gates));
  }
  preparation_done(&a->p);
  free(a);
  return r;
}

void analysis_log(const struct trainer *t) {
  static const char *const colours[3] = {"Y", "Cb", "Cr"};
  const struct mask_constants *k = mask_constants(t->mask);
  bool kept[DCT_CHANNELS] = {false};
  for (uint32_t c = 0; c < k->channels; c++)
    kept[k->channel[c]] = true;
  for (uint32_t colour = 0; colour < 3; colour++) {
    char text[4 * DCT_COEFFICIENTS];
    int length = 0;
    for (uint32_t i = 0; i < DCT_COEFFICIENTS; i++)
      if (!kept[colour * DCT_COEFFICIENTS + i])
        length += snprintf(text + length, sizeof(text) - (size_t)length, " %u", i);
    if (length > 0)
      trainer_log(t, "info", "coefficients (8 u + v) of %s that are dropped:%s", colours[colour], text);
  }
}

/* ---- what is kept ---- */

static bool are_gates(const float *values, uint64_t count) {
  for (uint64_t c = 0; c < count; c++)
    if (!(values[c] >= 0 && values[c] <= 1))
      return false;
  return true;
}

int analysis_learn(struct trainer *t, const struct job_inputs *inputs, struct guise_error *err) {
  return learnt_fetch(
      t, inputs,
      &(struct learnt){TRAINER_LEARNT, JOB_ANALYSIS_FILE, t->learnt, DCT_CHANNELS, are_gates, analysis_train},
      err);
}
