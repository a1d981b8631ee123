#include "core/model/embed.h"

#include <math.h>
#include <omp.h>
#include <string.h>

#include "core/base/memory.h"

struct embed_job {
  struct graph *graph;
  const struct mask *mask;
  uint32_t batch, embedding;
  const uint8_t *(*image)(void *context, uint32_t i);
  void *context;
  bool flip_sum;
  float *embeddings, *one_view; /* (count, embedding); one_view of the first view alone, NULL = not wanted */
  int threads;                  /* fixed for the call: the graph may set another number for its own loops */
  float *scratch;               /* one block a thread */
  size_t stride;                /* of scratch */
};

/* Fills the graph's input with mix `t` of the templates of images [first, first + count) and runs it. */
static int forward(const struct embed_job *job, uint32_t first, uint32_t count, bool flip, uint32_t t,
                   struct guise_error *err) {
  float *input = graph_input_data(job->graph);
  size_t elements = mask_elements(job->mask);
#pragma omp parallel for schedule(static) num_threads(job->threads)
  for (uint32_t i = 0; i < count; i++) {
    float *scratch = job->scratch + (size_t)omp_get_thread_num() * job->stride;
    struct rng rng;
    mask_rng_inference(&rng, first + i);
    mask_inference_template(job->mask, job->image(job->context, first + i), flip, t, &rng, scratch,
                            input + i * elements);
  }
  for (uint32_t i = count; i < job->batch; i++)
    memcpy(input + i * elements, input, elements * sizeof(float));
  return graph_forward(job->graph, GRAPH_EVAL, 0, err);
}

bool embedding_normalise(float *embedding, uint32_t n) {
  double squares = 0;
  for (uint32_t i = 0; i < n; i++)
    squares += (double)embedding[i] * (double)embedding[i];
  if (!isfinite(squares))
    return false;
  float scale = squares > 0 ? (float)(1 / sqrt(squares)) : 0;
  for (uint32_t i = 0; i < n; i++)
    embedding[i] *= scale;
  return true;
}

/* Adds the graph's output to the sums: as it is, or, where an embedding is the mean over mixes with decoys,
 * each at length 1. */
static void add_output(const struct embed_job *job, uint32_t count, float *sums) {
  const bool each = mask_decoys(job->mask) != NULL;
  const float *output = graph_output_data(job->graph);
  float embedding[job->embedding];
  for (uint32_t i = 0; i < count; i++) {
    memcpy(embedding, output + (size_t)i * job->embedding, sizeof(embedding));
    if (each)
      (void)embedding_normalise(embedding, job->embedding); /* what is not finite stays so in the sum */
    for (uint32_t d = 0; d < job->embedding; d++)
      sums[(size_t)i * job->embedding + d] += embedding[d];
  }
}

static int normalise_all(const struct embed_job *job, uint32_t first, uint32_t count, float *embeddings,
                         struct guise_error *err) {
  for (uint32_t i = 0; i < count; i++)
    if (!embedding_normalise(embeddings + (size_t)i * job->embedding, job->embedding))
      return error_set(err, -EDOM,
                       "the embedding of image %u is not a number: the model is damaged or has diverged",
                       first + i);
  return 0;
}

static int embed_batch(const struct embed_job *job, uint32_t first, uint32_t count, struct guise_error *err) {
  const size_t begin = (size_t)first * job->embedding, bytes = (size_t)count * job->embedding * sizeof(float);
  float *sums = job->embeddings + begin;
  memset(sums, 0, bytes);
  for (uint32_t view = 0; view < (job->flip_sum ? 2u : 1u); view++) {
    for (uint32_t t = 0; t < mask_inference_mixes(job->mask); t++) {
      int r = forward(job, first, count, view == 1, t, err);
      if (r < 0)
        return r;
      add_output(job, count, sums);
    }
    if (view == 0 && job->one_view) {
      memcpy(job->one_view + begin, sums, bytes);
      int r = normalise_all(job, first, count, job->one_view + begin, err);
      if (r < 0)
        return r;
    }
  }
  return normalise_all(job, first, count, sums, err);
}

static int embed_all(struct embed_job *job, uint32_t count, bool (*should_stop)(void *stop_context),
                     void *stop_context, struct guise_error *err) {
  int r = 0;
  job->threads = omp_get_max_threads();
  job->stride = (mask_scratch(job->mask) + 15) / 16 * 16;
  if (job->batch == 0 || job->embedding == 0)
    return error_set(err, -EINVAL, "batch and embedding must be at least 1");
  job->scratch = tensor_alloc((size_t)job->threads * MAX(job->stride, (size_t)16) * sizeof(float));
  if (!job->scratch)
    return error_set(err, -ENOMEM, "out of memory embedding %u images", count);
  for (uint32_t first = 0; first < count && r == 0; first += job->batch) {
    if (should_stop && should_stop(stop_context))
      r = error_set(err, -ECANCELED, "stopped after %u of %u images", first, count);
    else
      r = embed_batch(job, first, MIN(job->batch, count - first), err);
  }
  tensor_free(job->scratch);
  return r;
}

int embed_images(struct graph *graph, const struct mask *mask, uint32_t batch, uint32_t embedding,
                 const uint8_t *(*image)(void *context, uint32_t i), void *context, uint32_t count,
                 bool flip_sum, float *ret_embeddings, bool (*should_stop)(void *stop_context),
                 void *stop_context, struct guise_error *err) {
  struct embed_job job = {.graph = graph,
                          .mask = mask,
                          .batch = batch,
                          .embedding = embedding,
                          .image = image,
                          .context = context,
                          .flip_sum = flip_sum,
                          .embeddings = ret_embeddings};
  return embed_all(&job, count, should_stop, stop_context, err);
}

int embed_both(struct graph *graph, const struct mask *mask, uint32_t batch, uint32_t embedding,
               const uint8_t *(*image)(void *context, uint32_t i), void *context, uint32_t count,
               float *ret_one_view, float *ret_flip_sum, bool (*should_stop)(void *stop_context),
               void *stop_context, struct guise_error *err) {
  struct embed_job job = {.graph = graph,
                          .mask = mask,
                          .batch = batch,
                          .embedding = embedding,
                          .image = image,
                          .context = context,
                          .flip_sum = true,
                          .one_view = ret_one_view,
                          .embeddings = ret_flip_sum};
  return embed_all(&job, count, should_stop, stop_context, err);
}
