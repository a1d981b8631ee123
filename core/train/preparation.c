#include "core/train/preparation.h"

#include <math.h>
#include <omp.h>

#include "core/base/memory.h"
#include "core/model/model.h"
#include "core/train/augment.h"

/* ---- construction ---- */

static uint32_t batch_of(const struct trainer *t, const struct job_data *data) {
  return MIN(t->batch, data->train.count);
}

uint64_t preparation_steps(const struct trainer *t, const struct job_data *data) {
  return (uint64_t)t->spec->mask.analysis.epochs * (data->train.count / batch_of(t, data));
}

static int make_buffers(struct preparation *p, size_t scratch, struct guise_error *err) {
  const size_t batch = p->batch, threads = p->t->threads, size = p->data->size;
  p->scratch_size = mask_scratch(p->plain) + scratch;
  p->templates = tensor_alloc(batch * mask_elements(p->plain) * sizeof(float));
  p->scratch = tensor_alloc(threads * p->scratch_size * sizeof(float));
  p->shifted = tensor_alloc(threads * size * size * 3);
  p->order = tensor_alloc(p->data->train.count * sizeof(*p->order));
  p->labels = tensor_alloc(batch * sizeof(*p->labels));
  p->label_counts = tensor_alloc(batch * sizeof(*p->label_counts));
  if (!p->templates || !p->scratch || !p->shifted || !p->order || !p->labels || !p->label_counts)
    return error_set(err, -ENOMEM, "out of memory for a batch of %u: choose a smaller train.batch", p->batch);
  for (uint32_t i = 0; i < p->batch; i++)
    p->label_counts[i] = 1;
  return 0;
}

int preparation_init(struct preparation *p, struct trainer *t, const struct job_data *data,
                     const struct mask_options *plain, size_t scratch, struct guise_error *err) {
  struct face_view view = {data, data->train.image};
  *p = (struct preparation){.t = t,
                            .data = data,
                            .batch = batch_of(t, data),
                            .steps_per_epoch = data->train.count / batch_of(t, data),
                            .total = preparation_steps(t, data)};
  int r = mask_new(plain, &p->plain, err);
  if (r == 0)
    r = mask_fit(p->plain, face_view_image, &view, data->train.count, err);
  return r < 0 ? r : make_buffers(p, scratch, err);
}

void preparation_done(struct preparation *p) {
  tensor_free(p->templates);
  tensor_free(p->scratch);
  tensor_free(p->shifted);
  tensor_free(p->order);
  tensor_free(p->labels);
  tensor_free(p->label_counts);
  head_free(p->head);
  graph_free(p->recogniser);
  mask_free(p->plain);
}

/* ---- the recogniser ---- */

int preparation_add_recogniser(struct preparation *p, enum arch arch, enum head_kind head, uint64_t seed,
                               struct guise_error *err) {
  const struct job_spec *spec = p->t->spec;
  const struct graph_config config = {.batch = p->batch,
                                      .threads = p->t->threads,
                                      .training = true,
                                      .input_gradient = true,
                                      .low_memory = spec->train.memory == MEMORY_LOW,
                                      .winograd = spec->train.winograd,
                                      .seed = seed};
  const struct arch_options options =
      arch_options_for(p->plain, spec->model.embedding, (float)spec->model.width, (float)spec->model.dropout);
  int r = graph_new(&config, &p->recogniser, err);
  if (r < 0)
    return r;
  (void)arch_describe(p->recogniser, arch, &options); /* errors stay with the graph */
  r = graph_build(p->recogniser, err);
  return r < 0 ? r
               : head_new(p->data->train.identities, spec->model.embedding, p->batch, p->t->threads, head,
                          spec->train.seed, &p->head, err);
}

int preparation_recognise(struct preparation *p, double *ret_loss, struct guise_error *err) {
  const struct job_spec *spec = p->t->spec;
  const struct head_options head = {.scale = (float)spec->train.scale, .negatives = HEAD_NEGATIVES_OTHERS};
  int r = graph_forward(p->recogniser, GRAPH_TRAIN, p->step, err);
  if (r < 0)
    return r;
  *ret_loss = head_step(p->head, &head, graph_output_data(p->recogniser), p->batch, p->labels, 1,
                        p->label_counts, graph_output_gradient(p->recogniser), NULL, NULL);
  if (!isfinite(*ret_loss))
    return error_set(err, -EDOM, "the loss before the training is not a number: lower train.lr (it is %.4g)",
                     spec->train.lr);
  return graph_backward(p->recogniser, err);
}

void preparation_teach(struct preparation *p) {
  const struct job_spec *spec = p->t->spec;
  const float rate = (float)trainer_rate(spec, p->step, p->total);
  graph_sgd(p->recogniser, rate, (float)spec->train.momentum, (float)spec->train.weight_decay);
  head_sgd(p->head, rate, (float)spec->train.momentum, (float)spec->train.weight_decay);
}

/* ---- steps ---- */

void preparation_fill(struct preparation *p) {
  const struct face_list *faces = &p->data->train;
  const size_t elements = mask_elements(p->plain), pixels = (size_t)p->data->size * p->data->size * 3;
  const uint32_t *order = p->order + (size_t)(p->step % p->steps_per_epoch) * p->batch;
  const struct augmentation augmentation = trainer_augmentation(p->t);
#pragma omp parallel for schedule(static)
  for (uint32_t i = 0; i < p->batch; i++) {
    const size_t thread = (size_t)omp_get_thread_num();
    struct rng rng;
    rng_init(&rng, p->t->spec->train.seed, RNG_ANALYSIS, p->step, i + 1);
    p->labels[i] = (struct head_label){faces->identity[order[i]], 1};
    augment_template(p->plain, &augmentation, &rng, job_data_image(p->data, faces->image[order[i]]),
                     p->shifted + thread * pixels, p->scratch + thread * p->scratch_size,
                     p->templates + i * elements);
  }
}

int preparation_run(struct preparation *p, int (*step)(void *context, struct guise_error *err), void *context,
                    struct guise_error *err) {
  int64_t told = 0;
  int r = 0;
  for (; p->step < p->total && r == 0; p->step++) {
    if (p->step % p->steps_per_epoch == 0) {
      struct rng rng;
      rng_init(&rng, p->t->spec->train.seed, RNG_ANALYSIS, p->step / p->steps_per_epoch, 0);
      rng_permutation(&rng, p->order, p->data->train.count);
    }
    r = trainer_stop_code(p->t);
    if (r == 0)
      r = step(context, err);
    trainer_report_preparing(p->t, (double)(p->step + 1) / (double)p->total, &told);
  }
  return r;
}
