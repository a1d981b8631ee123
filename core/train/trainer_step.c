/* Steps of the recognition network: a batch is drawn, masked and mixed, and the network learns from it. */
#include <math.h>
#include <omp.h>
#include <string.h>

#include "core/train/auxiliary.h"
#include "core/train/given.h"
#include "core/train/partners.h"
#include "core/train/trainer.h"

#define LOSS_EVERY 10u /* steps between two step-resolution values of the loss */
static const int64_t checkpoint_every_ns = 60LL * 1000000000;

bool trainer_in_warmup(const struct trainer *t) {
  return (double)t->step < t->spec->train.margin_warmup * (double)t->total;
}

double trainer_rate(const struct job_spec *spec, uint64_t step, uint64_t total) {
  const double pi = 3.14159265358979323846;
  /* short jobs: the warm-up never takes more than a fifth of the training */
  double warmup = MIN((double)spec->train.warmup_steps, (double)total / 5);
  double rise = warmup > 0 ? MIN(1.0, (double)(step + 1) / warmup) : 1;
  return spec->train.lr * rise * 0.5 * (1 + cos(pi * (double)step / (double)total));
}

static struct head_options head_now(const struct trainer *t) {
  double warmup = t->spec->train.margin_warmup * (double)t->total;
  double rise = warmup > 0 ? MIN(1.0, (double)t->step / warmup) : 1;
  struct head_options options = {.scale = (float)t->spec->train.scale,
                                 .margin = (float)(t->spec->train.margin * rise),
                                 .negatives = t->spec->mask.negatives,
                                 .margins = t->spec->mask.margins};
  defences_head(t, &options);
  return options;
}

struct augmentation trainer_augmentation(const struct trainer *t) {
  return (struct augmentation){t->spec->train.shift, t->spec->train.flip};
}

/* Augments and masks the images into `target` (count, elements). */
static void make_templates(struct trainer *t, const uint32_t *images, uint32_t count, float *target) {
  size_t elements = mask_elements(t->mask), scratch = mask_scratch(t->mask),
         pixels = (size_t)t->data.size * t->data.size * 3;
  const struct augmentation augmentation = trainer_augmentation(t);
#pragma omp parallel for schedule(static)
  for (uint32_t i = 0; i < count; i++) {
    size_t thread = (size_t)omp_get_thread_num();
    struct rng rng;
    trainer_view(t, i, images[i], &rng);
    t->sample[i] = images[i];
    t->identity[i] = t->data.train.identity[images[i]];
    augment_template(t->mask, &augmentation, &rng, job_data_image(&t->data, t->data.train.image[images[i]]),
                     t->shifted + thread * pixels, t->scratch + thread * scratch, target + i * elements);
  }
}

void trainer_labels(const struct mix *mixes, uint32_t count, struct head_label *ret_labels,
                    uint32_t *ret_counts) {
  for (uint32_t i = 0; i < count; i++) {
    ret_counts[i] = mixes[i].labels;
    for (uint32_t j = 0; j < mixes[i].labels; j++)
      ret_labels[i * MIX_MAX + j] = (struct head_label){mixes[i].label[j].identity, mixes[i].label[j].weight};
  }
}

/* The last step of methods that hide the mix itself. */
static void after_mix(const struct trainer *t, uint32_t count, float *templates) {
  if (!mask_has_after_mix(t->mask))
    return;
#pragma omp parallel for schedule(static)
  for (uint32_t i = 0; i < count; i++) {
    struct rng rng;
    trainer_after_mix(t, i, &rng);
    mask_after_mix(t->mask, &rng, t->scratch + (size_t)omp_get_thread_num() * mask_scratch(t->mask),
                   templates + i * mask_elements(t->mask));
  }
}

/* Of the n-th template of an image the n-th part of all images keep the k. */
static void keep_one(struct trainer *t, uint32_t image, uint32_t k) {
  struct rng rng;
  if (!t->stored_k)
    return;
  rng_init(&rng, t->spec->train.seed, RNG_UNMIXED, 1 + image, t->epochs_done);
  if (t->stored_k[image] == 0 || rng_uniform(&rng) * (float)(t->epochs_done + 1) < 1)
    t->stored_k[image] = k;
}

int trainer_fill(struct trainer *t, const uint32_t *images, uint32_t count, float *ret_inputs,
                 struct guise_error *err) {
  uint32_t k[count];
  if (trainer_is_given(t)) {
    given_fill(t, images, count, ret_inputs);
    return 0;
  }
  if (!mask_traits(t->spec->mask.method)->mixes) {
    make_templates(t, images, count, ret_inputs);
    after_mix(t, count, ret_inputs);
    for (uint32_t i = 0; i < count; i++) {
      t->labels[i * MIX_MAX] = (struct head_label){t->identity[i], 1};
      t->label_counts[i] = 1;
    }
    return 0;
  }
  make_templates(t, images, count, t->templates);
  trainer_public_templates(t);
  int r = trainer_choose_k(t, count, k);
  if (r < 0)
    return error_set(err, r, "the strategy network failed: %s", strerror(-r));
  for (uint32_t i = 0; i < count; i++) {
    struct rng rng;
    rng_init(&rng, t->spec->train.seed, RNG_MIX, t->step, trainer_draw(t, i, images[i]));
    trainer_compose(t, &rng, i, MAX(k[i], 1u), &t->mixes[i]);
    t->sums.chosen[k[i]]++;
    keep_one(t, images[i], MAX(k[i], 1u));
    t->decided[k[i]] += trainer_decides_k(t);
    t->sums.mixed += k[i] > 0;
    t->sums.unmixed += k[i] == 0;
    t->sums.k += k[i];
  }
  trainer_mix(t, t->mixes, count, ret_inputs);
  after_mix(t, count, ret_inputs);
  trainer_labels(t->mixes, count, t->labels, t->label_counts);
  return 0;
}

void trainer_average(float *average, float now) {
  *average = *average == 0 ? now : *average + 0.1f * (now - *average);
}

/* Of the leads: what is asked of a mix is how far its own lead is recognised in it, who need not have the
 * largest share. */
static void update_difficulty(struct trainer *t) {
  for (uint32_t i = 0; i < t->batch; i++) {
    struct difficulty *d = &t->difficulty;
    /* a unit of label: public faces in the mix have none */
    const float weight = trainer_label_weight(&t->mixes[i]);
    const float excess = (t->plain[i] - mix_label_entropy(&t->mixes[i])) / weight;
    trainer_average(&d->margin_sample[t->sample[i]], t->margins[i]);
    trainer_average(&d->margin_person[t->identity[i]], t->margins[i]);
    trainer_average(&d->excess_sample[t->sample[i]], excess);
    trainer_average(&d->excess_person[t->identity[i]], excess);
  }
}

/* Forward and backward of the next batch of the epoch's order. */
static int batch_gradients(struct trainer *t, const struct head_options *head, double *ret_loss,
                           struct guise_error *err) {
  const uint32_t *images = t->order + (size_t)(t->step % t->steps_per_epoch) * t->batch;
  int r = trainer_fill(t, images, t->batch, graph_input_data(t->graph), err);
  if (r < 0)
    return r;
  auxiliary_use(t, auxiliary_batch_mixed(t, t->batch));
  r = graph_forward(t->graph, GRAPH_TRAIN, t->step, err);
  if (r < 0)
    return r;
  const struct head_difficulty difficulty = {t->identity, t->margins, t->plain};
  *ret_loss =
      head_step(t->head, head, graph_output_data(t->graph), t->batch, t->labels, MIX_MAX, t->label_counts,
                graph_output_gradient(t->graph), NULL, t->strategy ? &difficulty : NULL);
  r = defences_after_forward(t, ret_loss, err);
  if (r == 0)
    r = graph_backward(t->graph, err);
  return r < 0 ? r : defences_after_backward(t, head, ret_loss, err);
}

static int gradient_step(struct trainer *t, double *ret_loss, struct guise_error *err) {
  const struct job_spec *spec = t->spec;
  struct head_options head = head_now(t);
  double rate = trainer_rate(spec, t->step, t->total);
  int r = (t->whole_step ? defences_gradients : batch_gradients)(t, &head, ret_loss, err);
  if (r < 0)
    return r;
  if (!isfinite(*ret_loss))
    return error_set(err, -EDOM, "the loss is not a number after step %llu: lower train.lr (it is %.4g)",
                     (unsigned long long)t->step, spec->train.lr);
  graph_sgd(t->graph, (float)rate, (float)spec->train.momentum, (float)spec->train.weight_decay);
  head_sgd(t->head, (float)rate, (float)spec->train.momentum, (float)spec->train.weight_decay);
  return 0;
}

int trainer_recognition_step(struct trainer *t, struct guise_error *err) {
  double loss = 0;
  int r = gradient_step(t, &loss, err);
  auxiliary_use(t, false);
  if (r < 0)
    return r;
  if (t->strategy)
    update_difficulty(t);
  t->sums.loss += loss;
  t->sums.steps++;
  t->sums.samples += t->batch;
  if (t->step % LOSS_EVERY == 0)
    r = trainer_add_row(t, "loss", t->epochs_done + 1, loss, false);
  return r;
}

int trainer_epoch(struct trainer *t, const char *work_directory, struct guise_error *err) {
  uint64_t end = (uint64_t)(t->epochs_done + 1) * t->steps_per_epoch;
  int64_t saved = clock_ns(), told = 0;
  auxiliary_order(t);
  while (t->step < end) {
    int64_t begin = clock_ns();
    int r = trainer_stop_code(t);
    if (r == 0)
      r = trainer_recognition_step(t, err);
    if (r < 0)
      return r;
    if (t->probe && t->step % PROBE_EVERY == 1 && (r = trainer_probe_step(t, err)) < 0)
      return r;
    bool update = t->strategy && !trainer_in_warmup(t) && t->step % STRATEGY_EVERY == STRATEGY_EVERY - 1;
    if (update && (r = trainer_strategy_step(t, err)) < 0)
      return r;
    t->step++;
    int64_t now = clock_ns();
    double seconds = (double)(now - begin) * 1e-9, speed = t->batch / seconds;
    t->sums.seconds += seconds;
    t->trained_seconds += seconds;
    t->images_per_s = t->images_per_s > 0 ? 0.9 * t->images_per_s + 0.1 * speed : speed;
    trainer_report_due(t, trainer_fraction(t), &told);
    if (now - saved > checkpoint_every_ns && t->step < end) {
      if ((r = checkpoint_write(t, work_directory, err)) < 0)
        return r;
      saved = clock_ns();
    }
  }
  return 0;
}
