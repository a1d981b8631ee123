#include "core/train/adversary.h"

#include <math.h>
#include <string.h>

#include "core/nn/graph.h"

#define SLOPE 0.2f
#define GREY 64.0f /* the network's unit in grey levels */
#define LEVELS 3u  /* each halves the picture */
/* Channels of the input: three of pixels, the rest zeros, since the kernel library has fast convolutions for
 * whole blocks of channels only. */
#define SEEN 16u
#define SEED_ADVERSARY 0x4144564552534152u

static const uint32_t channels_of[LEVELS] = {16, 32, 64};

static const struct adam_options adam = {.rate = 4e-4f, .beta1 = 0.5f, .beta2 = 0.999f, .epsilon = 1e-8f};

struct adversary {
  struct graph *graph; /* real pictures first, then generated ones */
  uint32_t batch;
  size_t area, patches; /* pixels of a picture, verdicts on it */
  uint64_t steps;
};

static int convolution(struct graph *graph, int x, const char *name, uint32_t channels, uint32_t kernel,
                       uint32_t stride) {
  return graph_conv(graph, x, name,
                    &(struct conv_options){.out_channels = channels,
                                           .kernel = kernel,
                                           .stride = stride,
                                           .padding = 1,
                                           .bias = true,
                                           .spectral_norm = true});
}

static int describe(struct graph *graph, uint32_t size) {
  static const char *const names[LEVELS] = {"down.0", "down.1", "down.2"};
  int x = graph_input(graph, SEEN, size, size);
  for (uint32_t level = 0; level < LEVELS; level++)
    x = graph_leaky_relu(graph, convolution(graph, x, names[level], channels_of[level], 4, 2), SLOPE);
  return graph_output(graph, convolution(graph, x, "verdict", 1, 3, 1));
}

int adversary_new(uint32_t size, uint32_t batch, uint32_t threads, uint64_t seed,
                  struct adversary **ret_adversary, struct guise_error *err) {
  const struct graph_config config = {.batch = 2 * batch,
                                      .threads = threads,
                                      .training = true,
                                      .input_gradient = true,
                                      .winograd = true,
                                      .optimizer = GRAPH_ADAM,
                                      .seed = seed ^ SEED_ADVERSARY};
  struct adversary *adversary = calloc(1, sizeof(*adversary));
  if (!adversary)
    return error_set(err, -ENOMEM, "out of memory for a generator's adversary");
  adversary->batch = batch;
  adversary->area = (size_t)size * size;
  adversary->patches = (size_t)(size >> LEVELS) * (size >> LEVELS);
  int r = graph_new(&config, &adversary->graph, err);
  if (r == 0) {
    (void)describe(adversary->graph, size); /* errors stay with the graph */
    r = graph_build(adversary->graph, err);
  }
  if (r < 0) {
    adversary_free(adversary);
    return r;
  }
  *ret_adversary = adversary;
  return 0;
}

struct adversary *adversary_free(struct adversary *adversary) {
  if (adversary)
    graph_free(adversary->graph);
  free(adversary);
  return NULL;
}

static int look(struct adversary *a, const float *real, const float *generated, struct guise_error *err) {
  const size_t picture = 3 * a->area;
  for (size_t i = 0; i < 2 * (size_t)a->batch; i++) {
    const float *from = i < a->batch ? real + i * picture : generated + (i - a->batch) * picture;
    float *to = graph_input_data(a->graph) + i * SEEN * a->area;
    for (size_t k = 0; k < picture; k++)
      to[k] = from[k] / GREY;
  }
  return graph_forward(a->graph, GRAPH_TRAIN, a->steps, err);
}

int adversary_learn(struct adversary *a, const float *real, const float *generated, double *ret_loss,
                    struct guise_error *err) {
  const size_t half = a->batch * a->patches;
  double sum = 0;
  int r = look(a, real, generated, err);
  if (r < 0)
    return r;
  const float *verdict = graph_output_data(a->graph);
  float *gradient = graph_output_gradient(a->graph);
  for (size_t i = 0; i < 2 * half; i++) {
    const float sign = i < half ? -1.0f : 1.0f, short_of = 1 + sign * verdict[i];
    gradient[i] = short_of > 0 ? sign / (float)half : 0;
    sum += (double)fmaxf(short_of, 0);
  }
  *ret_loss = sum / (double)half;
  if (!isfinite(*ret_loss))
    return error_set(err, -EDOM, "the generator's adversary has diverged: lower the mask's realism");
  r = graph_backward(a->graph, err);
  return r < 0 ? r : graph_adam(a->graph, &adam, ++a->steps, err);
}

int adversary_blame(struct adversary *a, const float *generated, float weight, float *gradient,
                    struct guise_error *err) {
  const size_t half = a->batch * a->patches, picture = 3 * a->area;
  int r = look(a, generated, generated, err); /* the first half is of no account */
  if (r < 0)
    return r;
  float *verdicts = graph_output_gradient(a->graph);
  memset(verdicts, 0, half * sizeof(float));
  for (size_t i = half; i < 2 * half; i++)
    verdicts[i] = -weight / (float)half;
  r = graph_backward(a->graph, err);
  const float *slopes = graph_input_gradient(a->graph);
  for (size_t i = 0; i < a->batch && r == 0; i++)
    for (size_t k = 0; k < picture; k++)
      gradient[i * picture + k] += slopes[(a->batch + i) * SEEN * a->area + k] / GREY;
  return r;
}
