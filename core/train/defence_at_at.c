/* AT-AT: besides L(x, y) the network learns to take x + d, a template pushed a little way towards somebody
 * else, for that somebody:
 *
 *   L(x, y) + weight L(x + d, y'),   y' a person drawn for each sample who is not in its mix
 *
 * Whoever climbs a person's logit from some picture then arrives at such noise instead of at the face. d is
 * found by targeted PGD (Madry et al., arXiv 1706.06083) in evaluation mode: from d = 0, `steps` times
 *
 *   d <- clip(d - 2.5 radius / steps sign(grad_x L(x + d, y')), +-radius)
 *
 * radius is the largest change of any value of the template, in its deviations [R]. The second pass has batch
 * statistics of its own, and moves the running ones too: x + d is what the network is to know. A step costs
 * `steps` + 2 passes instead of one. */
#include <math.h>
#include <string.h>

#include "core/base/memory.h"
#include "core/train/defence_rows.h"

enum { WEIGHT, RADIUS, STEPS };

static const struct defence_parameter parameters[] = {
    {"weight", "of the loss of what was pushed", 1e-4, 10, 0.08, false},
    {"radius", "largest change of a value of the template, deviations", 1e-6, 1, 5e-4, false},
    {"steps", "of the search for it", 1, 50, 5, true},
};

struct at_at {
  float *clean, *pushed;     /* (batch, elements): x, d */
  float *network, *head;     /* gradients of L(x, y) */
  struct head_label *target; /* (batch) */
  uint32_t *ones;            /* (batch) labels a sample */
};

static void describe(const struct defence *d, struct graph_config *config, struct arch_options *options) {
  (void)d;
  (void)options;
  config->input_gradient = config->training;
}

static void release(void *state) {
  struct at_at *a = state;
  tensor_free(a->clean);
  tensor_free(a->pushed);
  tensor_free(a->network);
  tensor_free(a->head);
  tensor_free(a->target);
  tensor_free(a->ones);
  free(a);
}

static uint64_t head_count(const struct trainer *t) {
  return (uint64_t)head_classes(t->head) * t->spec->model.embedding;
}

static int setup(struct trainer *t, struct defence *d, const struct job_inputs *inputs,
                 struct guise_error *err) {
  struct at_at *a = calloc(1, sizeof(*a));
  const size_t values = t->batch * mask_elements(t->mask);
  uint64_t network;
  (void)inputs;
  if (!a)
    return error_set(err, -ENOMEM, "out of memory for at_at");
  d->state = a;
  (void)graph_gradients(t->graph, &network);
  a->clean = tensor_alloc(values * sizeof(float));
  a->pushed = tensor_alloc(values * sizeof(float));
  a->network = tensor_alloc(network * sizeof(float));
  a->head = tensor_alloc(head_count(t) * sizeof(float));
  a->target = tensor_alloc(t->batch * sizeof(*a->target));
  a->ones = tensor_alloc(t->batch * sizeof(*a->ones));
  if (!a->clean || !a->pushed || !a->network || !a->head || !a->target || !a->ones)
    return error_set(err, -ENOMEM, "out of memory for at_at: choose a smaller train.batch");
  for (uint32_t i = 0; i < t->batch; i++)
    a->ones[i] = 1;
  return t->data.train.identities > MIX_MAX ? 0
                                            : error_set(err, -EINVAL,
                                                        "at_at pushes a mix of up to %d people towards "
                                                        "another one: the data set leaves %u people, "
                                                        "which are too few",
                                                        MIX_MAX, t->data.train.identities);
}

uint32_t at_at_target(const struct trainer *t, uint32_t i) {
  const struct head_label *mix = t->labels + (size_t)i * MIX_MAX;
  struct rng rng;
  rng_init(&rng, t->spec->train.seed, RNG_DEFENCE, t->step, i);
  for (;;) {
    const uint32_t person = rng_below(&rng, t->data.train.identities);
    bool own = false;
    for (uint32_t j = 0; j < t->label_counts[i]; j++)
      own |= mix[j].identity == person;
    if (!own)
      return person;
  }
}

/* Loss of the inputs as they are, towards the targets, and its gradients. */
static int pass(struct trainer *t, struct at_at *a, enum graph_mode mode, const struct head_options *options,
                double *ret_loss, struct guise_error *err) {
  int r = graph_forward(t->graph, mode, t->step, err);
  if (r < 0)
    return r;
  *ret_loss = head_step(t->head, options, graph_output_data(t->graph), t->batch, a->target, 1, a->ones,
                        graph_output_gradient(t->graph), NULL, NULL);
  return graph_backward(t->graph, err);
}

static void set_inputs(struct trainer *t, const struct at_at *a) {
  const size_t values = t->batch * mask_elements(t->mask);
  float *input = graph_input_data(t->graph);
#pragma omp parallel for num_threads((int)t->threads) schedule(static)
  for (size_t i = 0; i < values; i++)
    input[i] = a->clean[i] + a->pushed[i];
}

static int push(struct trainer *t, const struct defence *d, const struct head_options *options,
                struct guise_error *err) {
  struct at_at *a = d->state;
  const size_t values = t->batch * mask_elements(t->mask);
  const uint32_t steps = (uint32_t)d->choice->parameter[STEPS];
  const float radius = (float)d->choice->parameter[RADIUS], stride = 2.5f * radius / (float)steps;
  double unused;
  memcpy(a->clean, graph_input_data(t->graph), values * sizeof(float));
  memset(a->pushed, 0, values * sizeof(float));
  for (uint32_t step = 0; step < steps; step++) {
    int r = pass(t, a, GRAPH_EVAL, options, &unused, err);
    if (r < 0)
      return r;
    const float *gradient = graph_input_gradient(t->graph);
#pragma omp parallel for num_threads((int)t->threads) schedule(static)
    for (size_t i = 0; i < values; i++) {
      const float sign = (float)((gradient[i] > 0) - (gradient[i] < 0));
      a->pushed[i] = fminf(fmaxf(a->pushed[i] - stride * sign, -radius), radius);
    }
    set_inputs(t, a);
  }
  return 0;
}

static void add_first(uint32_t threads, float *restrict gradient, const float *restrict first, uint64_t count,
                      float weight) {
#pragma omp parallel for num_threads((int)threads) schedule(static)
  for (uint64_t i = 0; i < count; i++)
    gradient[i] = first[i] + weight * gradient[i];
}

static int after_backward(struct trainer *t, const struct defence *d, const struct head_options *options,
                          double *loss, struct guise_error *err) {
  struct at_at *a = d->state;
  const double weight = d->choice->parameter[WEIGHT];
  uint64_t network;
  double pushed_loss = 0;
  const float *gradients = graph_gradients(t->graph, &network);
  memcpy(a->network, gradients, network * sizeof(float));
  memcpy(a->head, head_gradient(t->head), head_count(t) * sizeof(float));
  for (uint32_t i = 0; i < t->batch; i++)
    a->target[i] = (struct head_label){at_at_target(t, i), 1};
  int r = push(t, d, options, err);
  if (r == 0)
    r = pass(t, a, GRAPH_TRAIN, options, &pushed_loss, err);
  if (r < 0)
    return r;
  add_first(t->threads, graph_gradients(t->graph, NULL), a->network, network, (float)weight);
  add_first(t->threads, head_gradient(t->head), a->head, head_count(t), (float)weight);
  *loss += weight * pushed_loss;
  return 0;
}

const struct defence_row defence_at_at = {
    .traits = {.name = "at_at",
               .summary = "templates pushed towards other people are learnt as those people",
               .granted =
                   "Is granted the gradient without the part of at_at, of the template that was pushed.",
               .parameters = parameters,
               .parameter_count = ARRAY_SIZE(parameters)},
    .describe = describe,
    .setup = setup,
    .release = release,
    .after_backward = after_backward};
