#include "core/train/analysis.h"

#include <math.h>
#include <omp.h>
#include <stdio.h>

#include "core/base/memory.h"
#include "core/freq/dct.h"
#include "core/model/model.h"
#include "core/train/augment.h"
#include "core/train/gates.h"
#include "core/train/learnt.h"

#define VISIBLE_IMAGES 2048u /* evenly spaced, for the mean magnitudes */

struct analysis {
  struct trainer *t;
  struct mask *plain; /* all coefficients, standardised, of the job's transform */
  struct graph *graph;
  struct head *head;
  struct gates gates;
  uint64_t step, total;
  float *templates, *scratch; /* (batch, elements) before the gates; (threads, mask_scratch) */
  uint8_t *shifted;           /* (threads, size*size*3) */
  uint32_t *order;            /* (train.count) */
  struct head_label *labels;  /* (batch) */
  uint32_t *label_counts;
};

uint64_t analysis_steps(const struct trainer *t) {
  const struct mask_options options = job_spec_mask(t->spec);
  const bool learns = mask_learns(&options) || mask_weight_count(&options) > 0;
  return learns ? (uint64_t)t->spec->mask.analysis.epochs * t->steps_per_epoch : 0;
}

/* ---- construction ---- */

static int make_plain(struct analysis *a, struct guise_error *err) {
  const struct trainer *t = a->t;
  struct face_view view = {&t->data, t->data.train.image};
  struct mask_options options = mask_options_default(MASK_NONE, t->spec->model.input);
  options.dct = t->spec->mask.dct;
  int r = mask_new(&options, &a->plain, err);
  return r < 0 ? r : mask_fit(a->plain, face_view_image, &view, t->data.train.count, err);
}

/* As published, the gates stand before convolutions on the channels themselves. Behind an inverse DCT, which
 * undoes the standardisation, a gate's say in the loss goes with its channel's size, and chance decides about
 * all but the largest. */
static enum arch network_of(const struct job_spec *spec) {
  return spec->mask.dct == MASK_DCT_NATIVE ? ARCH_FREQ_CONV : spec->model.arch;
}

static int make_network(struct analysis *a, struct guise_error *err) {
  const struct trainer *t = a->t;
  const struct job_spec *spec = t->spec;
  const struct graph_config config = {.batch = t->batch,
                                      .threads = t->threads,
                                      .training = true,
                                      .input_gradient = true,
                                      .low_memory = spec->train.memory == MEMORY_LOW,
                                      .winograd = true,
                                      .seed = spec->train.seed};
  const struct arch_options options =
      arch_options_for(a->plain, spec->model.embedding, (float)spec->model.width, (float)spec->model.dropout);
  int r = graph_new(&config, &a->graph, err);
  if (r < 0)
    return r;
  (void)arch_describe(a->graph, network_of(spec), &options); /* errors stay with the graph */
  r = graph_build(a->graph, err);
  return r < 0 ? r
               : head_new(t->data.train.identities, spec->model.embedding, t->batch, t->threads,
                          spec->train.head, spec->train.seed, &a->head, err);
}

static int make_buffers(struct analysis *a, struct guise_error *err) {
  const size_t batch = a->t->batch, threads = a->t->threads;
  a->templates = tensor_alloc(batch * mask_elements(a->plain) * sizeof(float));
  a->scratch = tensor_alloc(threads * mask_scratch(a->plain) * sizeof(float));
  a->shifted = tensor_alloc(threads * a->t->data.size * a->t->data.size * 3);
  a->order = tensor_alloc(a->t->data.train.count * sizeof(*a->order));
  a->labels = tensor_alloc(batch * sizeof(*a->labels));
  a->label_counts = tensor_alloc(batch * sizeof(*a->label_counts));
  if (!a->templates || !a->scratch || !a->shifted || !a->order || !a->labels || !a->label_counts)
    return error_set(err, -ENOMEM, "out of memory for a batch of %u: choose a smaller train.batch",
                     a->t->batch);
  for (uint32_t i = 0; i < a->t->batch; i++)
    a->label_counts[i] = 1;
  return 0;
}

static void analysis_done(struct analysis *a) {
  tensor_free(a->templates);
  tensor_free(a->scratch);
  tensor_free(a->shifted);
  tensor_free(a->order);
  tensor_free(a->labels);
  tensor_free(a->label_counts);
  head_free(a->head);
  graph_free(a->graph);
  mask_free(a->plain);
}

/* ---- what a viewer sees ---- */

/* Adds sum |x_c| of the batch's templates, as coefficients, not standardised. */
static void add_magnitudes(const struct analysis *a, uint32_t count, double *sum) {
  const struct mask_constants *k = mask_constants(a->plain);
  const size_t cells = (size_t)mask_grid(a->plain) * mask_grid(a->plain);
#pragma omp parallel for schedule(static)
  for (size_t c = 0; c < DCT_CHANNELS; c++)
    for (uint32_t image = 0; image < count; image++) {
      const float *x = a->templates + (image * (size_t)DCT_CHANNELS + c) * cells;
      for (size_t i = 0; i < cells; i++)
        sum[c] += (double)fabsf(x[i] * k->deviation[c] + k->mean[c]);
    }
}

static int measure_visible(struct analysis *a) {
  const struct trainer *t = a->t;
  const uint32_t used = MIN(t->data.train.count, VISIBLE_IMAGES);
  const size_t elements = mask_elements(a->plain), scratch = mask_scratch(a->plain);
  double sum[DCT_CHANNELS] = {0};
  for (uint32_t first = 0; first < used; first += t->batch) {
    const uint32_t count = MIN(t->batch, used - first);
    int r = trainer_stop_code(t);
    if (r < 0)
      return r;
#pragma omp parallel for schedule(static)
    for (uint32_t i = 0; i < count; i++) {
      const uint64_t at = (uint64_t)(first + i) * t->data.train.count / used;
      mask_template(a->plain, job_data_image(&t->data, t->data.train.image[at]), false, NULL,
                    a->scratch + (size_t)omp_get_thread_num() * scratch, a->templates + i * elements);
    }
    add_magnitudes(a, count, sum);
  }
  gates_init(&a->gates, sum);
  return 0;
}

/* ---- steps ---- */

static void fill_batch(struct analysis *a) {
  const struct trainer *t = a->t;
  const size_t elements = mask_elements(a->plain), scratch = mask_scratch(a->plain),
               pixels = (size_t)t->data.size * t->data.size * 3;
  const uint32_t *order = a->order + (size_t)(a->step % t->steps_per_epoch) * t->batch;
  const struct augmentation augmentation = {t->spec->train.shift, t->spec->train.flip};
#pragma omp parallel for schedule(static)
  for (uint32_t i = 0; i < t->batch; i++) {
    const size_t thread = (size_t)omp_get_thread_num();
    struct rng rng;
    rng_init(&rng, t->spec->train.seed, RNG_ANALYSIS, a->step, i + 1);
    a->labels[i] = (struct head_label){t->data.train.identity[order[i]], 1};
    augment_template(a->plain, &augmentation, &rng, job_data_image(&t->data, t->data.train.image[order[i]]),
                     a->shifted + thread * pixels, a->scratch + thread * scratch,
                     a->templates + i * elements);
  }
}

static int step(struct analysis *a, double *ret_loss, struct guise_error *err) {
  const struct job_spec *spec = a->t->spec;
  const struct head_options head = {.scale = (float)spec->train.scale, .negatives = HEAD_NEGATIVES_OTHERS};
  const uint32_t batch = a->t->batch;
  const size_t cells = (size_t)mask_grid(a->plain) * mask_grid(a->plain);
  const float rate = (float)trainer_rate(spec, a->step, a->total);
  double gradient[DCT_CHANNELS];
  fill_batch(a);
  gates_apply(&a->gates, a->templates, batch, cells, graph_input_data(a->graph));
  int r = graph_forward(a->graph, GRAPH_TRAIN, a->step, err);
  if (r < 0)
    return r;
  *ret_loss = head_step(a->head, &head, graph_output_data(a->graph), batch, a->labels, 1, a->label_counts,
                        graph_output_gradient(a->graph), NULL, NULL);
  if (!isfinite(*ret_loss))
    return error_set(err, -EDOM, "the analysis network's loss is not a number: lower train.lr (it is %.4g)",
                     spec->train.lr);
  r = graph_backward(a->graph, err);
  if (r < 0)
    return r;
  gates_gradient(&a->gates, a->templates, graph_input_gradient(a->graph), batch, cells,
                 spec->mask.analysis.gamma, gradient);
  gates_step(&a->gates, gradient, fmin(0.05, 4 / (double)a->total), a->step + 1);
  graph_sgd(a->graph, rate, (float)spec->train.momentum, (float)spec->train.weight_decay);
  head_sgd(a->head, rate, (float)spec->train.momentum, (float)spec->train.weight_decay);
  return 0;
}

static int train(struct analysis *a, struct guise_error *err) {
  struct trainer *t = a->t;
  double loss = 0;
  int64_t told = 0;
  int r = 0;
  for (; a->step < a->total && r == 0; a->step++) {
    if (a->step % t->steps_per_epoch == 0) {
      struct rng rng;
      rng_init(&rng, t->spec->train.seed, RNG_ANALYSIS, a->step / t->steps_per_epoch, 0);
      rng_permutation(&rng, a->order, t->data.train.count);
    }
    r = trainer_stop_code(t);
    if (r == 0)
      r = step(a, &loss, err);
    trainer_report_preparing(t, (double)(a->step + 1) / (double)a->total, &told);
  }
  if (r == 0)
    trainer_log(t, "info",
                "analysis network: %llu steps, loss %.3f, open gates show %.1f %% of the magnitude",
                (unsigned long long)a->total, loss, 100 * gates_penalty(&a->gates));
  return r;
}

int analysis_train(struct trainer *t, float *ret_gates, struct guise_error *err) {
  struct analysis *a = calloc(1, sizeof(*a));
  if (!a)
    return error_set(err, -ENOMEM, "out of memory for the analysis network");
  a->t = t;
  a->total = analysis_steps(t);
  int r = make_plain(a, err);
  if (r == 0)
    r = make_network(a, err);
  if (r == 0)
    r = make_buffers(a, err);
  if (r == 0)
    r = measure_visible(a);
  if (r == 0)
    r = train(a, err);
  if (r == 0)
    gates_values(&a->gates, ret_gates);
  analysis_done(a);
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
