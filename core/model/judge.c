#include "core/model/judge.h"

#include <math.h>
#include <omp.h>
#include <string.h>

#include "core/base/memory.h"
#include "core/model/embed.h"
#include "core/model/model.h"

struct judge {
  struct model *model;
  bool own;            /* the model, which goes with the judge */
  struct graph *graph; /* the same network, with gradients */
  uint32_t batch, threads;
  float *scratch, *slopes; /* (threads, stride) of the mask; (threads, a template) */
  float *pixels;           /* (threads, 3 size size) */
  size_t stride, elements, picture;
};

bool judge_sees_through(const struct mask *mask) {
  return !mask_traits(mask_method(mask))->random && mask_is_linear(mask) && mask_layouts(mask) == 1 &&
         !mask_decoys(mask);
}

static int check(const struct model *model, uint32_t size, struct guise_error *err) {
  if (model->info.input != size)
    return error_set(err, -EINVAL,
                     "the embedder looks at %u pixels a side and the job at %u: leave mask.embedder out, and "
                     "one is trained, or name one of that size",
                     model->info.input, size);
  if (!judge_sees_through(model->mask))
    return error_set(
        err, -EINVAL,
        "a generator cannot learn from an embedder with the mask %s: leave mask.embedder out, and "
        "one is trained, or name one with the mask \"none\"",
        mask_traits(mask_method(model->mask))->name);
  return 0;
}

static int make_graph(struct judge *judge, struct graph *parameters, struct guise_error *err) {
  const struct model_info *info = &judge->model->info;
  const struct graph_config config = {.batch = judge->batch,
                                      .threads = judge->threads,
                                      .training = true,
                                      .input_gradient = true,
                                      .winograd = true};
  const struct arch_options options = model_arch_options(info, judge->model->mask);
  int r = graph_new(&config, &judge->graph, err);
  if (r < 0)
    return r;
  (void)arch_describe(judge->graph, info->arch, &options); /* errors stay with the graph */
  r = graph_build(judge->graph, err);
  return r < 0 ? r : graph_copy_parameters(judge->graph, parameters, err);
}

int judge_of(struct model *model, struct graph *parameters, uint32_t batch, uint32_t threads,
             struct judge **ret_judge, struct guise_error *err) {
  _cleanup_(judge_freep) struct judge *judge = calloc(1, sizeof(*judge));
  if (!judge)
    return error_set(err, -ENOMEM, "out of memory for an embedder");
  *judge = (struct judge){.model = model,
                          .batch = batch,
                          .threads = threads,
                          .stride = (mask_scratch(model->mask) + 15) / 16 * 16,
                          .elements = mask_elements(model->mask),
                          .picture = (size_t)3 * model->info.input * model->info.input};
  int r = make_graph(judge, parameters, err);
  if (r < 0)
    return r;
  judge->scratch = tensor_alloc(threads * judge->stride * sizeof(float));
  judge->slopes = tensor_alloc(threads * judge->elements * sizeof(float));
  judge->pixels = tensor_alloc(threads * judge->picture * sizeof(float));
  if (!judge->scratch || !judge->slopes || !judge->pixels)
    return error_set(err, -ENOMEM, "out of memory for an embedder");
  *ret_judge = TAKE(judge);
  return 0;
}

int judge_new(const char *path, uint32_t size, uint32_t batch, uint32_t threads, struct judge **ret_judge,
              struct guise_error *err) {
  _cleanup_(model_freep) struct model *model = NULL;
  struct judge *judge = NULL;
  int r = model_load(path, 1, threads, &model, err);
  if (r == 0)
    r = check(model, size, err);
  if (r == 0)
    r = judge_of(model, model->graph, batch, threads, &judge, err);
  if (r < 0)
    return r;
  judge->own = true;
  (void)TAKE(model);
  *ret_judge = judge;
  return 0;
}

struct judge *judge_free(struct judge *judge) {
  if (!judge)
    return NULL;
  tensor_free(judge->scratch);
  tensor_free(judge->slopes);
  tensor_free(judge->pixels);
  graph_free(judge->graph);
  if (judge->own)
    model_free(judge->model);
  free(judge);
  return NULL;
}

uint32_t judge_embedding(const struct judge *judge) {
  return judge->model->info.embedding;
}

/* One picture's template. */
static void make_template(const struct judge *judge, const float *planar, float *ret_template) {
  const struct mask *mask = judge->model->mask;
  const struct mask_constants *k = mask_placed_constants(mask);
  const size_t cells = judge->elements / mask_channels(mask);
  mask_linear_forward(mask, 0, planar, judge->scratch + (size_t)omp_get_thread_num() * judge->stride,
                      ret_template);
  for (size_t i = 0; i < judge->elements; i++) {
    const size_t c = i / cells;
    const float value = ret_template[i] - k->mean[c] / k->deviation[c];
    ret_template[i] = k->clip > 0 ? fminf(fmaxf(value, -k->clip), k->clip) : value;
  }
}

static int look(struct judge *judge, const float *planar, struct guise_error *err) {
  float *input = graph_input_data(judge->graph);
#pragma omp parallel for schedule(static) num_threads(judge->threads)
  for (uint32_t i = 0; i < judge->batch; i++)
    make_template(judge, planar + i * judge->picture, input + i * judge->elements);
  return graph_forward(judge->graph, GRAPH_EVAL, 0, err);
}

int judge_embed(struct judge *judge, const float *planar, float *ret_embeddings, struct guise_error *err) {
  const uint32_t dimension = judge_embedding(judge);
  int r = look(judge, planar, err);
  if (r < 0)
    return r;
  memcpy(ret_embeddings, graph_output_data(judge->graph), (size_t)judge->batch * dimension * sizeof(float));
  for (uint32_t i = 0; i < judge->batch; i++)
    if (!embedding_normalise(ret_embeddings + (size_t)i * dimension, dimension))
      return error_set(err, -EDOM, "the embedder's output is not a number: its model is damaged");
  return 0;
}

/* 1 - cos of e and a w of length 1; its gradient by e, times `weight`. */
static double distance(const float *e, const float *w, uint32_t dimension, double weight,
                       float *ret_gradient) {
  double squares = 0, product = 0;
  for (uint32_t d = 0; d < dimension; d++) {
    squares += (double)e[d] * (double)e[d];
    product += (double)e[d] * (double)w[d];
  }
  const double length = sqrt(fmax(squares, 1e-12)), cosine = product / length;
  for (uint32_t d = 0; d < dimension; d++)
    ret_gradient[d] = (float)(-weight * ((double)w[d] - cosine * (double)e[d] / length) / length);
  return 1 - cosine;
}

/* From the gradient at a template to that at the pixels, which is added up. */
static void trace_back(const struct judge *judge, const float *template_, const float *slope,
                       float *gradient) {
  const struct mask *mask = judge->model->mask;
  const size_t thread = (size_t)omp_get_thread_num();
  const float clip = mask_constants(mask)->clip;
  float *slopes = judge->slopes + thread * judge->elements, *pixels = judge->pixels + thread * judge->picture;
  for (size_t i = 0; i < judge->elements; i++)
    slopes[i] = clip > 0 && fabsf(template_[i]) >= clip ? 0 : slope[i];
  mask_linear_adjoint(mask, 0, slopes, judge->scratch + thread * judge->stride, pixels);
  for (size_t i = 0; i < judge->picture; i++)
    gradient[i] += pixels[i];
}

int judge_compare(struct judge *judge, const float *planar, const float *wanted, float weight,
                  double *ret_distance, float *gradient, struct guise_error *err) {
  const uint32_t dimension = judge_embedding(judge);
  double sum = 0;
  int r = look(judge, planar, err);
  if (r < 0)
    return r;
  for (size_t i = 0; i < judge->batch; i++)
    sum += distance(graph_output_data(judge->graph) + i * dimension, wanted + i * dimension, dimension,
                    (double)weight / judge->batch, graph_output_gradient(judge->graph) + i * dimension);
  *ret_distance = sum / judge->batch;
  r = graph_backward(judge->graph, err);
  if (r < 0)
    return r;
  const float *templates = graph_input_data(judge->graph), *slopes = graph_input_gradient(judge->graph);
#pragma omp parallel for schedule(static) num_threads(judge->threads)
  for (uint32_t i = 0; i < judge->batch; i++)
    trace_back(judge, templates + i * judge->elements, slopes + i * judge->elements,
               gradient + i * judge->picture);
  return 0;
}
