#include "core/train/trainer.h"

#include <limits.h>
#include <math.h>
#include <omp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "core/base/memory.h"
#include "core/model/model.h"
#include "core/train/analysis.h"
#include "core/train/given.h"
#include "core/train/partners.h"
#include "core/train/weights.h"

#define LOSS_EVERY 10u /* steps between two step-resolution values of the loss */
static const int64_t checkpoint_every_ns = 60LL * 1000000000;
static const int64_t progress_every_ns = 400000000;

/* ---- construction
 * ----------------------------------------------------------------------------------------------------- */

enum purpose { FOR_TRAINING, FOR_STATISTICS, FOR_EVALUATION };

static int describe(const struct trainer *t, uint32_t batch, enum purpose purpose, struct graph **ret_graph,
                    struct guise_error *err) {
  struct graph_config config = {.batch = batch,
                                .threads = t->threads,
                                .training = purpose == FOR_TRAINING,
                                .folded = purpose == FOR_EVALUATION,
                                .low_memory = purpose == FOR_TRAINING && t->spec->train.memory == MEMORY_LOW,
                                .winograd = true,
                                .bfloat16 =
                                    purpose == FOR_TRAINING && t->spec->train.precision == PRECISION_BF16,
                                .seed = t->spec->train.seed};
  struct arch_options options = arch_options_for(t->mask, t->spec->model.embedding,
                                                 (float)t->spec->model.width, (float)t->spec->model.dropout);
  struct graph *graph = NULL;
  options.norm = t->spec->model.norm;
  if (purpose != FOR_EVALUATION)
    defences_describe(t, &config, &options);
  int r = graph_new(&config, &graph, err);
  if (r < 0)
    return r;
  (void)arch_describe(graph, t->spec->model.arch, &options); /* errors stay with the graph */
  r = graph_build(graph, err);
  if (r < 0)
    graph = graph_free(graph);
  else
    *ret_graph = graph;
  return r;
}

/* A key is no function of the seed, which the report has. It lies in the work directory from before the first
 * step on. */
static int make_key(struct trainer *t, const struct job_inputs *inputs, struct guise_error *err) {
  char path[PATH_MAX];
  if (snprintf(path, sizeof(path), "%s/" MASK_KEY_FILE, inputs->work_directory) >= (int)sizeof(path))
    return error_set(err, -ENAMETOOLONG, "the path of the work directory is too long");
  int r = mask_key_read(path, &t->key, err);
  if (r == -ENOENT && inputs->resume)
    return error_set(err, r,
                     "the job's key is lost, and without it the checkpoint is of no use: start it anew");
  if (r == -ENOENT && (r = mask_key_generate(&t->key, err)) == 0)
    r = mask_key_write(path, &t->key, err);
  return r < 0 ? r : mask_set_key(t->mask, &t->key, err);
}

static int make_mask(struct trainer *t, const struct job_inputs *inputs, struct guise_error *err) {
  if (trainer_is_given(t))
    return given_mask(t, err);
  const struct job_data *faces = job_spec_public_constants(t->spec) ? &t->open : &t->data;
  struct face_view view = {faces, faces->train.image};
  const struct mask_options options = job_spec_mask(t->spec);
  int r = mask_new(&options, &t->mask, err);
  if (r == 0 && mask_learns(&options)) {
    r = analysis_learn(t, inputs, err);
    if (r == 0)
      r = mask_set_learnt(t->mask, t->learnt, MASK_CHANNELS_MAX, err);
    if (r == 0)
      analysis_log(t);
  }
  if (r == 0 && mask_weight_count(&options) > 0) {
    r = weights_learn(t, inputs, err);
    if (r == 0)
      r = mask_set_weights(t->mask, t->weights, t->weight_count, err);
  }
  if (r == 0 && t->spec->mask.key)
    r = make_key(t, inputs, err);
  if (r == 0)
    r = mask_fit(t->mask, face_view_image, &view, faces->train.count, err);
  return r < 0 ? r : trainer_set_decoys(t, err);
}

static int make_strategy(struct trainer *t, struct guise_error *err) {
  const struct job_spec *spec = t->spec;
  float floor = ablation_traits(spec->mask.ablation)->no_explore ? 0 : STRATEGY_FLOOR;
  if (!mask_traits(spec->mask.method)->has_strategy || spec->mask.policy != POLICY_LEARNED ||
      trainer_is_given(t))
    return 0;
  int r = strategy_new(mask_channels(t->mask), spec->mask.k, spec->mask.k_count, floor, spec->train.seed,
                       &t->strategy, err);
  if (r < 0 || spec->mask.reward != REWARD_PROBE)
    return r;
  const struct probe_options options = {.batch = t->eval_batch / 2,
                                        .mixes = t->eval_batch,
                                        .faces = t->batch,
                                        .threads = t->threads,
                                        .seed = spec->train.seed,
                                        .embedder = t->embedder};
  dual_start(&t->dual);
  return probe_new(t->mask, &options, &t->probe, err);
}

static int make_networks(struct trainer *t, struct guise_error *err) {
  const struct job_spec *spec = t->spec;
  int r = describe(t, t->batch, FOR_TRAINING, &t->graph, err);
  if (r == 0)
    r = describe(t, t->eval_batch, FOR_EVALUATION, &t->eval, err);
  /* decoys come with masks that mix alone */
  if (r == 0 && mask_traits(spec->mask.method)->mixes && spec->model.norm == ARCH_NORM_BATCH)
    r = describe(t, t->eval_batch, FOR_STATISTICS, &t->pool, err);
  if (r == 0)
    r = head_new(t->data.train.identities, spec->model.embedding, t->batch, t->threads, spec->train.head,
                 spec->train.seed, &t->head, err);
  return r < 0 ? r : make_strategy(t, err);
}

static void *zeroed(size_t count, size_t size, bool *failed) {
  void *memory = tensor_alloc(count * size + 1);
  *failed |= !memory;
  return memory;
}

static int make_buffers(struct trainer *t, struct guise_error *err) {
  bool failed = false;
  size_t batch = t->batch, size = t->data.size, elements = mask_elements(t->mask);
  t->order = zeroed(t->data.train.count, sizeof(*t->order), &failed);
  t->sample = zeroed(batch, sizeof(*t->sample), &failed);
  t->identity = zeroed(batch, sizeof(*t->identity), &failed);
  t->templates = zeroed((batch + trainer_step_publics(t)) * elements, sizeof(float), &failed);
  if (t->spec->mask.recipes > 0)
    t->partner = zeroed(t->threads * elements, sizeof(float), &failed);
  t->scratch = zeroed((size_t)t->threads * mask_scratch(t->mask), sizeof(float), &failed);
  t->shifted = zeroed((size_t)t->threads * size * size, 3, &failed);
  t->mixes = zeroed(batch, sizeof(*t->mixes), &failed);
  t->labels = zeroed(batch * MIX_MAX, sizeof(*t->labels), &failed);
  t->label_counts = zeroed(batch, sizeof(*t->label_counts), &failed);
  t->margins = zeroed(batch, sizeof(float), &failed);
  t->plain = zeroed(batch, sizeof(float), &failed);
  if (t->strategy) {
    struct difficulty *d = &t->difficulty;
    t->states = zeroed(batch * strategy_state_size(t->strategy), sizeof(float), &failed);
    t->policy = zeroed(batch * t->spec->mask.k_count, sizeof(float), &failed);
    t->reward_mixes = zeroed(t->eval_batch, sizeof(*t->reward_mixes), &failed);
    d->margin_sample = zeroed(t->data.train.count, sizeof(float), &failed);
    d->excess_sample = zeroed(t->data.train.count, sizeof(float), &failed);
    d->margin_person = zeroed(t->data.train.identities, sizeof(float), &failed);
    d->excess_person = zeroed(t->data.train.identities, sizeof(float), &failed);
    d->leak_person = zeroed(t->data.train.identities, sizeof(float), &failed);
  }
  if (t->probe)
    t->faces = zeroed(batch * size * size, 3, &failed);
  if (failed)
    return error_set(err, -ENOMEM, "out of memory for a batch of %u: choose a smaller train.batch", t->batch);
  return 0;
}

int trainer_init(struct trainer *t, const struct job_spec *spec, const struct job_inputs *inputs,
                 const struct job_callbacks *callbacks, struct guise_error *err) {
  uint32_t count = t->data.train.count;
  t->spec = spec;
  t->callbacks = callbacks;
  t->embedder = inputs->embedder_model;
  t->threads = MAX(inputs->threads, 1u);
  t->batch = MIN(spec->train.batch, count);
  if (t->batch < 2)
    return error_set(err, -EINVAL, "training needs at least 2 images; the data set leaves %u", count);
  /* a reward needs two mixes of each anchor, and a quarter of the batch are anchors */
  t->eval_batch = 2 * MAX(t->batch / 4, 1u);
  t->steps_per_epoch = count / t->batch;
  t->total = (uint64_t)t->steps_per_epoch * spec->train.epochs;
  t->started_ns = clock_ns();
  omp_set_num_threads((int)t->threads);
  defences_choose(t);
  int r = trainer_open_public(t, inputs, err);
  if (r == 0)
    r = make_mask(t, inputs, err);
  if (r == 0)
    r = make_networks(t, err);
  if (r == 0)
    r = make_buffers(t, err);
  return r < 0 ? r : defences_setup(t, inputs, err);
}

void trainer_done(struct trainer *t) {
  void *buffers[] = {t->weights,
                     t->order,
                     t->sample,
                     t->identity,
                     t->templates,
                     t->partner,
                     t->open_order,
                     t->scratch,
                     t->shifted,
                     t->mixes,
                     t->labels,
                     t->label_counts,
                     t->margins,
                     t->plain,
                     t->states,
                     t->policy,
                     t->reward_mixes,
                     t->difficulty.margin_sample,
                     t->difficulty.excess_sample,
                     t->difficulty.margin_person,
                     t->difficulty.excess_person,
                     t->difficulty.leak_person,
                     t->faces};
  for (size_t i = 0; i < ARRAY_SIZE(buffers); i++)
    tensor_free(buffers[i]);
  defences_done(t);
  free(t->rows);
  strategy_free(t->strategy);
  probe_free(t->probe);
  head_free(t->head);
  graph_free(t->pool);
  graph_free(t->eval);
  graph_free(t->graph);
  mask_free(t->mask);
  job_data_close(&t->open);
  job_data_close(&t->data);
  mask_key_erase(&t->key);
  memset(t, 0, sizeof(*t));
}

/* ---- reporting
 * -------------------------------------------------------------------------------------------------------- */

void trainer_log(const struct trainer *t, const char *level, const char *format, ...) {
  char text[512];
  va_list args;
  va_start(args, format);
  (void)vsnprintf(text, sizeof(text), format, args);
  va_end(args);
  t->callbacks->log(t->callbacks->context, level, text);
}

int trainer_stop_code(const struct trainer *t) {
  return job_stop_code(t->callbacks);
}

bool trainer_should_stop(void *trainer) {
  return trainer_stop_code(trainer) != 0;
}

int trainer_add_row(struct trainer *t, const char *name, uint32_t epoch, double value, bool per_epoch) {
  if (!isfinite(value)) /* too few pairs to say: no row is the honest answer */
    return 0;
  if (t->row_count == t->row_capacity) {
    uint32_t capacity = t->row_capacity ? 2 * t->row_capacity : 64;
    struct metric_row *rows = realloc(t->rows, capacity * sizeof(*rows));
    if (!rows)
      return -ENOMEM;
    t->rows = rows;
    t->row_capacity = capacity;
  }
  struct metric_row *row = &t->rows[t->row_count++];
  *row = (struct metric_row){.epoch = epoch, .step = t->step, .value = value, .per_epoch = per_epoch};
  (void)snprintf(row->name, sizeof(row->name), "%s", name);
  return 0;
}

void trainer_report(struct trainer *t, double fraction) {
  double elapsed = (double)(clock_ns() - t->started_ns) * 1e-9, gained = fraction - t->started_fraction;
  bool begun = t->sums.steps > 0;
  struct job_progress progress = {
      .fraction = fraction,
      .epoch = MIN(t->epochs_done + 1, t->spec->train.epochs),
      .epochs = t->spec->train.epochs,
      .step = t->step,
      .total = t->total,
      .images_per_s = t->images_per_s,
      .step_s = t->images_per_s > 0 ? t->batch / t->images_per_s : 0,
      .eta_s = gained > 0.002 ? elapsed * (1 - fraction) / gained : -1,
      .loss = begun ? t->sums.loss / t->sums.steps : (double)NAN,
  };
  t->callbacks->progress(t->callbacks->context, &progress);
}

/* Steps before the training. */
static double preparing_steps(const struct trainer *t) {
  return (double)(analysis_steps(t) + weights_steps(t));
}

double trainer_fraction(const struct trainer *t) {
  const double before = preparing_steps(t), steps = before + (double)t->step;
  return 0.95 * steps / (before + (double)t->total);
}

void trainer_report_preparing(struct trainer *t, double done, int64_t *told) {
  const double before = preparing_steps(t);
  const int64_t now = clock_ns();
  if (now - *told > progress_every_ns) {
    *told = now;
    trainer_report(t, 0.95 * done * before / (before + (double)t->total));
  }
}

/* ---- one step
 * ---------------------------------------------------------------------------------------------------------
 */

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
    trainer_compose(t, &rng, i, k[i], &t->mixes[i]);
    t->sums.chosen[k[i]]++;
    t->decided[k[i]] += trainer_decides_k(t);
    t->sums.mixed += k[i] > 1;
    t->sums.unmixed += k[i] == 1;
    t->sums.k += k[i] > 1 ? k[i] : 0;
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
  if (r == 0)
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

int trainer_recognition_step(struct trainer *t, struct guise_error *err) {
  const struct job_spec *spec = t->spec;
  struct head_options head = head_now(t);
  double rate = trainer_rate(spec, t->step, t->total), loss = 0;
  int r = (t->whole_step ? defences_gradients : batch_gradients)(t, &head, &loss, err);
  if (r < 0)
    return r;
  if (!isfinite(loss))
    return error_set(err, -EDOM, "the loss is not a number after step %llu: lower train.lr (it is %.4g)",
                     (unsigned long long)t->step, spec->train.lr);
  graph_sgd(t->graph, (float)rate, (float)spec->train.momentum, (float)spec->train.weight_decay);
  head_sgd(t->head, (float)rate, (float)spec->train.momentum, (float)spec->train.weight_decay);
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
  struct rng rng;
  rng_init(&rng, t->spec->train.seed, RNG_SHUFFLE, t->epochs_done, 0);
  rng_permutation(&rng, t->order, t->data.train.count);
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
    if (now - told > progress_every_ns) {
      told = now;
      trainer_report(t, trainer_fraction(t));
    }
    if (now - saved > checkpoint_every_ns && t->step < end) {
      if ((r = checkpoint_write(t, work_directory, err)) < 0)
        return r;
      saved = clock_ns();
    }
  }
  return 0;
}

/* ---- the forward-only copy
 * -------------------------------------------------------------------------------------------- */

static int pool_statistics(struct trainer *t, uint32_t used, struct guise_error *err) {
  size_t elements = mask_elements(t->mask), scratch = mask_scratch(t->mask);
  float *input = graph_input_data(t->pool);
  uint32_t passes = MAX(used / t->eval_batch, 1u);
  graph_statistics_reset(t->pool);
  for (uint32_t pass = 0; pass < passes; pass++) {
    int r = trainer_stop_code(t);
    if (r < 0)
      return r;
#pragma omp parallel for schedule(static)
    for (uint32_t i = 0; i < t->eval_batch; i++) {
      uint64_t at =
          ((uint64_t)pass * t->eval_batch + i) * t->data.train.count / ((uint64_t)passes * t->eval_batch);
      struct rng rng;
      if (trainer_is_given(t)) {
        given_unmixed(t, (uint32_t)at, input + i * elements);
        continue;
      }
      const uint8_t *rgb = job_data_image(&t->data, t->data.train.image[at]);
      mask_rng_inference(&rng, (uint32_t)at);
      mask_inference_template(t->mask, rgb, false, i % mask_inference_mixes(t->mask), &rng,
                              t->scratch + (size_t)omp_get_thread_num() * scratch, input + i * elements);
    }
    if ((r = graph_forward(t->pool, GRAPH_STATISTICS, 0, err)) < 0)
      return r;
  }
  graph_statistics_finish(t->pool);
  return 0;
}

int trainer_prepare_eval(struct trainer *t, uint32_t most, struct guise_error *err) {
  uint32_t used = most == 0 ? t->data.train.count : MIN(most, t->data.train.count);
  if (!t->pool)
    return graph_copy_parameters(t->eval, t->graph, err);
  int r = graph_copy_parameters(t->pool, t->graph, err);
  if (r == 0)
    r = pool_statistics(t, used, err);
  return r < 0 ? r : graph_copy_parameters(t->eval, t->pool, err);
}
