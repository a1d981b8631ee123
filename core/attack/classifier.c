#include "core/attack/classifier.h"

#include <math.h>
#include <omp.h>
#include <string.h>

#include "core/base/memory.h"
#include "core/model/embed.h"

#define EMBED_BATCH 32u

/* ---- the network ---- */

/* Whether the model's weights fit behind the options' mask: pixels reach them as they did, or channels of the
 * same number. */
static bool weights_fit(const struct classifier_options *options) {
  const struct model *model = options->model;
  if (model->info.arch != ARCH_FREQ_CONV && mask_inverts_to_pixels(model->mask) &&
      mask_inverts_to_pixels(options->mask))
    return true;
  return mask_channels(model->mask) == mask_channels(options->mask) &&
         mask_grid(model->mask) == mask_grid(options->mask);
}

static int make_graph(const struct classifier_options *options, uint32_t batch, bool gradients,
                      struct graph **ret_graph, struct guise_error *err) {
  const struct model_info *info = &options->model->info;
  const struct graph_config config = {.batch = batch,
                                      .threads = options->threads,
                                      .training = gradients,
                                      .input_gradient = gradients,
                                      .seed = options->seed};
  struct arch_options described = model_arch_options(info, options->mask);
  struct graph *graph = NULL;
  described.mask.pixel_scale = info->constants.pixel_scale;
  int r = graph_new(&config, &graph, err);
  if (r < 0)
    return r;
  (void)arch_describe(graph, info->arch, &described); /* graph_build tells what it says */
  r = graph_build(graph, err);
  if (r < 0)
    graph_free(graph);
  else
    *ret_graph = graph;
  return r;
}

/* ---- its norms' statistics, from undefended templates ---- */

static int look_at(const struct classifier_options *options, struct graph *graph, uint32_t pass,
                   uint32_t passes, float *scratch, struct guise_error *err) {
  const size_t elements = mask_elements(options->mask), stride = mask_scratch(options->mask);
  if (options->should_stop && options->should_stop(options->stop_context))
    return error_set(err, -ECANCELED, "the attack was stopped");
#pragma omp parallel for schedule(static) num_threads(options->threads)
  for (uint32_t i = 0; i < EMBED_BATCH; i++) {
    const uint32_t face = graph_statistics_image(pass, passes, EMBED_BATCH, i, options->known->count);
    struct rng rng;
    mask_rng_inference(&rng, options->known->index[face]);
    mask_template(options->mask, face_sample_image(options->known, face), false, &rng,
                  scratch + (size_t)omp_get_thread_num() * stride, graph_input_data(graph) + i * elements);
  }
  return graph_forward(graph, GRAPH_STATISTICS, 0, err);
}

static int adapt(const struct classifier_options *options, struct graph *graph, struct guise_error *err) {
  const uint32_t passes = (options->known->count + EMBED_BATCH - 1) / EMBED_BATCH;
  float *scratch =
      tensor_alloc(MAX(options->threads * mask_scratch(options->mask), (size_t)1) * sizeof(float));
  int r = scratch ? 0 : error_set(err, -ENOMEM, "out of memory for a control's network");
  if (r == 0)
    graph_statistics_reset(graph);
  for (uint32_t pass = 0; pass < passes && r == 0; pass++)
    r = look_at(options, graph, pass, passes, scratch, err);
  if (r == 0)
    graph_statistics_finish(graph);
  tensor_free(scratch);
  return r;
}

/* ---- the class head ---- */

static const uint8_t *known_image(void *sample, uint32_t i) {
  return face_sample_image(sample, i);
}

static int make_rows(const struct classifier_options *options, struct graph *graph,
                     struct classifier *classifier, struct guise_error *err) {
  const struct face_sample *known = options->known;
  const uint32_t n = classifier->embedding;
  float *rows = head_weights(classifier->head);
  _cleanup_(freep) float *embeddings = calloc((size_t)known->count * n, sizeof(float));
  if (!embeddings)
    return error_set(err, -ENOMEM, "out of memory for the embeddings of %u images", known->count);
  int r = embed_images(graph, options->mask, EMBED_BATCH, n, known_image, (void *)known, known->count, false,
                       embeddings, options->should_stop, options->stop_context, err);
  if (r < 0)
    return r;
  memset(rows, 0, (size_t)classifier->classes * n * sizeof(float));
  for (uint32_t i = 0; i < known->count; i++)
    for (uint32_t d = 0; d < n; d++)
      rows[(size_t)known->person[i] * n + d] += embeddings[(size_t)i * n + d];
  for (uint32_t c = 0; c < classifier->classes; c++)
    (void)embedding_normalise(rows + (size_t)c * n, n);
  return 0;
}

/* ---- all of it ---- */

static int build(const struct classifier_options *options, struct classifier *classifier,
                 struct guise_error *err) {
  struct graph *embedder = NULL;
  int r = make_graph(options, EMBED_BATCH, false, &embedder, err);
  if (r == 0 && classifier->own_weights)
    r = graph_copy_parameters(embedder, options->model->graph, err);
  if (r == 0 && options->control)
    r = adapt(options, embedder, err);
  if (r == 0)
    r = make_graph(options, options->batch, true, &classifier->graph, err);
  if (r == 0)
    r = graph_copy_parameters(classifier->graph, embedder, err);
  if (r == 0)
    r = head_new(classifier->classes, classifier->embedding, options->batch, options->threads,
                 options->loss->kind, options->seed, &classifier->head, err);
  if (r == 0)
    r = make_rows(options, embedder, classifier, err);
  graph_free(embedder);
  return r;
}

int classifier_new(const struct classifier_options *options, struct classifier **ret_classifier,
                   struct guise_error *err) {
  _cleanup_(classifier_freep) struct classifier *classifier = calloc(1, sizeof(*classifier));
  if (!classifier)
    return error_set(err, -ENOMEM, "out of memory for a classifier");
  *classifier = (struct classifier){.loss = options->loss->options,
                                    .batch = options->batch,
                                    .classes = options->known->people,
                                    .embedding = options->model->info.embedding,
                                    .frozen = options->loss->frozen,
                                    .own_weights = weights_fit(options)};
  int r = build(options, classifier, err);
  if (r == 0)
    *ret_classifier = TAKE(classifier);
  return r;
}

struct classifier *classifier_free(struct classifier *classifier) {
  if (!classifier)
    return NULL;
  graph_free(classifier->graph);
  head_free(classifier->head);
  free(classifier);
  return NULL;
}

int classifier_differentiate(struct classifier *classifier, const struct head_label *labels, uint32_t stride,
                             const uint32_t *counts, double *ret_loss, struct guise_error *err) {
  int r = classifier_look(classifier, err);
  if (r < 0)
    return r;
  const double loss =
      head_step(classifier->head, &classifier->loss, graph_output_data(classifier->graph), classifier->batch,
                labels, stride, counts, graph_output_gradient(classifier->graph), NULL, NULL);
  r = graph_backward(classifier->graph, err);
  if (r == 0 && ret_loss)
    *ret_loss = loss;
  return r;
}

/* ---- what it says ---- */

int classifier_look(struct classifier *classifier, struct guise_error *err) {
  return graph_forward(classifier->graph, GRAPH_EVAL, 0, err);
}

static double product(const float *a, const float *b, uint32_t n) {
  double sum = 0;
  for (uint32_t d = 0; d < n; d++)
    sum += (double)a[d] * (double)b[d];
  return sum;
}

/* Rows are of length 1. */
double classifier_cosine(const struct classifier *classifier, uint32_t i, uint32_t class_) {
  const uint32_t n = classifier->embedding;
  const float *embedding = graph_output_data(classifier->graph) + (size_t)i * n;
  return product(embedding, head_weights(classifier->head) + (size_t)class_ * n, n) /
         sqrt(product(embedding, embedding, n) + 1e-12);
}

static uint32_t nearest_other(const struct classifier *classifier, uint32_t i, uint32_t class_) {
  uint32_t nearest = class_ == 0;
  double most = classifier_cosine(classifier, i, nearest);
  for (uint32_t c = nearest + 1; c < classifier->classes; c++) {
    const double cosine = c == class_ ? -2 : classifier_cosine(classifier, i, c);
    if (cosine > most) {
      most = cosine;
      nearest = c;
    }
  }
  return nearest;
}

/* d cos_j / d e = (w_j - cos_j e/|e|) / |e| */
static double separate(struct classifier *classifier, uint32_t i, uint32_t class_, uint32_t other) {
  const uint32_t n = classifier->embedding;
  const float *embedding = graph_output_data(classifier->graph) + (size_t)i * n,
              *rows = head_weights(classifier->head);
  float *gradient = graph_output_gradient(classifier->graph) + (size_t)i * n;
  const double length = sqrt(product(embedding, embedding, n) + 1e-12),
               apart = classifier_cosine(classifier, i, other) - classifier_cosine(classifier, i, class_),
               scale = (double)classifier->loss.scale, factor = scale / (length * classifier->batch);
  for (uint32_t d = 0; d < n; d++) {
    const double between = (double)rows[(size_t)other * n + d] - (double)rows[(size_t)class_ * n + d];
    gradient[d] = (float)(factor * (between - apart * (double)embedding[d] / length));
  }
  return scale * apart;
}

int classifier_separate(struct classifier *classifier, const uint32_t *classes, double *ret_loss,
                        struct guise_error *err) {
  double loss = 0;
  if (classifier->classes < 2)
    return error_set(err, -EINVAL, "one class has none to be told from");
  int r = classifier_look(classifier, err);
  for (uint32_t i = 0; i < classifier->batch && r == 0; i++)
    loss += separate(classifier, i, classes[i], nearest_other(classifier, i, classes[i]));
  if (r == 0)
    r = graph_backward(classifier->graph, err);
  if (r == 0 && ret_loss)
    *ret_loss = loss / classifier->batch;
  return r;
}
