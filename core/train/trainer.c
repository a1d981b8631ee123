#include "core/train/trainer.h"

#include <limits.h>
#include <omp.h>
#include <stdio.h>
#include <string.h>

#include "core/base/memory.h"
#include "core/model/model.h"
#include "core/train/analysis.h"
#include "core/train/auxiliary.h"
#include "core/train/given.h"
#include "core/train/partners.h"
#include "core/train/weights.h"

enum purpose { FOR_TRAINING, FOR_STATISTICS, FOR_EVALUATION };

static int describe(const struct trainer *t, uint32_t batch, enum purpose purpose, struct graph **ret_graph,
                    struct guise_error *err) {
  struct graph_config config = {.batch = batch,
                                .threads = t->threads,
                                .training = purpose == FOR_TRAINING,
                                .folded = purpose == FOR_EVALUATION,
                                .low_memory = purpose == FOR_TRAINING && t->spec->train.memory == MEMORY_LOW,
                                .winograd = t->spec->train.winograd,
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

static void log_scale(const struct trainer *t) {
  const double scale = (double)probe_scale(t->probe);
  const bool tells = scale > (double)GALLERY_SCALE_LEAST;
  trainer_log(
      t, tells ? "info" : "warning", "the probe's embedder tells people apart by a cosine of %.2f%s", scale,
      tells ? ""
            : ": too little to say whom a picture shows; give mask.public_dataset more people, or another "
              "mask.embedder");
}

static int make_strategy(struct trainer *t, struct guise_error *err) {
  const struct job_spec *spec = t->spec;
  float floor = ablation_traits(spec->mask.ablation)->no_explore ? 0 : STRATEGY_FLOOR;
  if (!mask_traits(spec->mask.method)->has_strategy || spec->mask.policy != POLICY_LEARNED ||
      trainer_is_given(t))
    return 0;
  int r = strategy_new(mask_channels(t->mask), spec->mask.k, spec->mask.k_count, floor,
                       spec->mask.reward == REWARD_PROBE, spec->train.seed, &t->strategy, err);
  if (r < 0 || spec->mask.reward != REWARD_PROBE)
    return r;
  struct face_view view = {&t->data, t->data.train.image};
  const struct gallery_faces people = {.face = face_view_image,
                                       .context = &view,
                                       .identity = t->data.train.identity,
                                       .count = t->data.train.count,
                                       .people = t->data.train.identities,
                                       .size = t->data.size,
                                       .should_stop = trainer_should_stop,
                                       .stop_context = t};
  const struct probe_options options = {.batch = t->eval_batch / 2,
                                        .mixes = t->eval_batch,
                                        .faces = t->batch,
                                        .threads = t->threads,
                                        .seed = spec->train.seed,
                                        .embedder = t->embedder,
                                        .people = &people};
  dual_start(&t->dual,
             (double)t->total * (1 - spec->train.margin_warmup) * (1 - spec->mask.unmixed) / STRATEGY_EVERY);
  r = probe_new(t->mask, &options, &t->probe, err);
  if (r == -ECANCELED) { /* resumed this instant, it is begun again all the same */
    const int stop = trainer_stop_code(t);
    return stop < 0 ? stop : -EINTR;
  }
  if (r == 0 && t->embedder)
    log_scale(t);
  return r;
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
  if (mask_traits(t->spec->mask.method)->chooses_k && !trainer_is_given(t) && t->spec->mask.recipes == 0)
    t->stored_k = zeroed(t->data.train.count, sizeof(*t->stored_k), &failed);
  if (t->strategy) {
    struct difficulty *d = &t->difficulty;
    t->states = zeroed(batch * strategy_state_size(t->strategy), sizeof(float), &failed);
    t->policy = zeroed(batch * t->spec->mask.k_count, sizeof(float), &failed);
    t->reward_mixes = zeroed(t->eval_batch, sizeof(*t->reward_mixes), &failed);
    d->margin_sample = zeroed(t->data.train.count, sizeof(float), &failed);
    d->excess_sample = zeroed(t->data.train.count, sizeof(float), &failed);
    d->margin_person = zeroed(t->data.train.identities, sizeof(float), &failed);
    d->excess_person = zeroed(t->data.train.identities, sizeof(float), &failed);
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
  if (r == 0)
    r = defences_setup(t, inputs, err);
  return r < 0 ? r : auxiliary_setup(t, err);
}

void trainer_done(struct trainer *t) {
  void *buffers[] = {t->weights,
                     t->norms,
                     t->kinds,
                     t->rank,
                     t->stored_k,
                     t->lowered,
                     t->alone,
                     t->left,
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

/* ---- the forward-only copy ---- */

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
      const uint32_t at = graph_statistics_image(pass, passes, t->eval_batch, i, t->data.train.count);
      struct rng rng;
      if (trainer_is_given(t)) {
        given_unmixed(t, given_whole(t, at), input + i * elements);
        continue;
      }
      const uint8_t *rgb = job_data_image(&t->data, t->data.train.image[at]);
      mask_rng_inference(&rng, at);
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
