/* A small multilayer perceptron (ReLU) by plain loops: a quarter of a batch every fourth step costs nothing
 * beside the recognition network. All numbers stand in one block, parameters first, then Adam's moments, so
 * that saving is one copy. */
#include "core/train/strategy.h"

#include <math.h>
#include <string.h>

#include "core/base/memory.h"

#define HIDDEN1 64u
#define HIDDEN2 32u
#define RATE 3.5e-4f        /* published */
#define RATE_STANDARD 2e-3f /* of a standardised state */
#define BLOCK_NORM 3.0f     /* of the entries that come from the template, about that of the others */
#define STATISTICS 0.01f    /* weight of the newest batch */
#define DEVIATIONS_MOST 3.0f
#define BETA1 0.9f
#define BETA2 0.999f
#define EPSILON 1e-8f
#define LEAST 1e-6f         /* a probability in a logarithm or a quotient: without a floor it may vanish */
#define INIT_SAMPLE 0x5357u /* apart from the recognition network's draws of the same stream */

static const struct ablation_traits ablations[ABLATIONS] = {
    [ABLATION_NONE] = {.name = "none"},
    [ABLATION_RANDOM] = {.name = "random", .marginal = true},
    [ABLATION_BANDIT] = {.name = "bandit", .no_state = true},
    [ABLATION_SHUFFLED] = {.name = "shuffled", .shuffled = true},
    [ABLATION_NO_DUAL] = {.name = "no_dual", .no_dual = true},
    [ABLATION_NO_EXPLORATION] = {.name = "no_exploration", .no_explore = true},
};

const struct ablation_traits *ablation_traits(enum strategy_ablation ablation) {
  return &ablations[ablation];
}

struct strategy {
  uint32_t channels, inputs, actions;
  float floor; /* pi' = (1 - floor) pi + floor/|K| */
  bool standard;
  size_t parameters;
  uint64_t updates;
  float *value;    /* (parameters): w1 (H1,in) b1 w2 (H2,H1) b2 w3 (K,H2) b3 */
  float *moment1;  /* (parameters) */
  float *moment2;  /* (parameters) */
  float *mean;     /* (2C) of the template's entries, their variance (2C), and of how many batches */
  float *gradient; /* (parameters); not saved, as what follows */
};

/* Of value, moments and statistics. */
static size_t state_size(const struct strategy *s) {
  return 3 * s->parameters + 4 * (size_t)s->channels + 1;
}

/* Where each layer stands in the block. */
struct layer {
  size_t weight, bias;
  uint32_t inputs, outputs;
};

static void layers_of(const struct strategy *s, struct layer layers[3]) {
  const uint32_t sizes[4] = {s->inputs, HIDDEN1, HIDDEN2, s->actions};
  size_t at = 0;
  for (int l = 0; l < 3; l++) {
    layers[l] = (struct layer){at, at + (size_t)sizes[l] * sizes[l + 1], sizes[l], sizes[l + 1]};
    at = layers[l].bias + sizes[l + 1];
  }
}

int strategy_new(uint32_t channels, const uint32_t *k, uint32_t actions, float floor, bool standard,
                 uint64_t seed, struct strategy **ret_strategy, struct guise_error *err) {
  struct layer layers[3];
  struct rng rng;
  if (actions == 0 || actions > STRATEGY_ACTIONS_MAX)
    return error_set(err, -EINVAL, "a strategy has 1 to %d actions, not %u", STRATEGY_ACTIONS_MAX, actions);
  for (uint32_t i = 0; i < actions; i++)
    if (k[i] < 1 || k[i] > MIX_MAX || (i > 0 && k[i] <= k[i - 1]))
      return error_set(err, -EINVAL, "the actions of a strategy are ascending numbers from 1 to %d", MIX_MAX);
  struct strategy *s = calloc(1, sizeof(*s));
  if (!s)
    return error_set(err, -ENOMEM, "out of memory for the strategy network");
  s->channels = channels;
  s->inputs = 2 * channels + STRATEGY_EXTRA;
  s->actions = actions;
  s->floor = floor;
  s->standard = standard;
  layers_of(s, layers);
  s->parameters = layers[2].bias + actions;
  s->value = tensor_alloc((state_size(s) + s->parameters) * sizeof(float));
  if (!s->value) {
    strategy_free(s);
    return error_set(err, -ENOMEM, "out of memory for the strategy network");
  }
  s->moment1 = s->value + s->parameters;
  s->moment2 = s->moment1 + s->parameters;
  s->mean = s->moment2 + s->parameters;
  s->gradient = s->value + state_size(s);
  rng_init(&rng, seed, RNG_INIT, UINT32_MAX, INIT_SAMPLE);
  for (int l = 0; l < 3; l++) { /* He; the last layer small, so that the first policy is nearly uniform */
    const float inputs = l == 0 && standard ? 2.0f * STRATEGY_EXTRA : (float)layers[l].inputs;
    float deviation = sqrtf(2.0f / inputs) * (l == 2 ? 0.1f : 1.0f);
    for (size_t i = layers[l].weight; i < layers[l].bias; i++)
      s->value[i] = deviation * rng_normal(&rng);
  }
  *ret_strategy = s;
  return 0;
}

struct strategy *strategy_free(struct strategy *s) {
  if (s) {
    tensor_free(s->value);
    free(s);
  }
  return NULL;
}

void strategy_begin(struct strategy *s, float first) {
  struct layer layers[3];
  const float least = s->floor / (float)s->actions, share = (first - least) / (1 - s->floor);
  layers_of(s, layers);
  s->value[layers[2].bias] = logf(share * (float)(s->actions - 1) / (1 - share));
}

uint32_t strategy_state_size(const struct strategy *s) {
  return s->inputs;
}

void strategy_state(const struct strategy *s, const float *template_, uint32_t cells,
                    const struct strategy_context *context, float *ret_state) {
  for (uint32_t c = 0; c < s->channels; c++) {
    const float *x = template_ + (size_t)c * cells;
    float magnitude = 0, sum = 0, square = 0, n = (float)cells;
    for (uint32_t i = 0; i < cells; i++) {
      magnitude += fabsf(x[i]);
      sum += x[i];
      square += x[i] * x[i];
    }
    ret_state[c] = magnitude / n;
    ret_state[s->channels + c] = sqrtf(fmaxf(square / n - sum / n * (sum / n), 0));
  }
  const float extra[STRATEGY_EXTRA] = {context->margin_sample, context->margin_person, context->excess_sample,
                                       context->excess_person, context->alike,         context->log_images,
                                       context->progress,      context->dual};
  memcpy(ret_state + 2 * s->channels, extra, sizeof(extra));
}

void strategy_standardise(struct strategy *s, float *states, uint32_t batch) {
  const uint32_t entries = 2 * s->channels;
  float *variance = s->mean + entries, *batches = variance + entries;
  if (!s->standard)
    return;
  *batches = fminf(*batches + 1, 1 / STATISTICS);
  for (uint32_t e = 0; e < entries; e++) {
    double sum = 0, square = 0;
    for (uint32_t b = 0; b < batch; b++)
      sum += (double)states[(size_t)b * s->inputs + e] / batch;
    for (uint32_t b = 0; b < batch; b++) {
      const double off = (double)states[(size_t)b * s->inputs + e] - sum;
      square += off * off / batch;
    }
    s->mean[e] += ((float)sum - s->mean[e]) / *batches;
    variance[e] += ((float)square - variance[e]) / *batches;
    const float unit = 1 / (sqrtf(variance[e]) + 1e-4f), weight = BLOCK_NORM / sqrtf((float)entries);
    for (uint32_t b = 0; b < batch; b++) {
      float *x = states + (size_t)b * s->inputs + e;
      *x = weight * fmaxf(-DEVIATIONS_MOST, fminf(DEVIATIONS_MOST, (*x - s->mean[e]) * unit));
    }
  }
}

struct activations {
  float hidden1[HIDDEN1], hidden2[HIDDEN2];
  float pi[STRATEGY_ACTIONS_MAX];    /* softmax */
  float floor[STRATEGY_ACTIONS_MAX]; /* pi' */
};

static void apply(const float *value, const struct layer *layer, const float *x, bool relu, float *out) {
  for (uint32_t o = 0; o < layer->outputs; o++) {
    const float *w = value + layer->weight + (size_t)o * layer->inputs;
    float sum = value[layer->bias + o];
    for (uint32_t i = 0; i < layer->inputs; i++)
      sum += w[i] * x[i];
    out[o] = relu ? fmaxf(sum, 0) : sum;
  }
}

static void run(const struct strategy *s, const struct layer layers[3], const float *state,
                struct activations *a) {
  float logits[STRATEGY_ACTIONS_MAX], largest = -INFINITY, sum = 0;
  apply(s->value, &layers[0], state, true, a->hidden1);
  apply(s->value, &layers[1], a->hidden1, true, a->hidden2);
  apply(s->value, &layers[2], a->hidden2, false, logits);
  for (uint32_t i = 0; i < s->actions; i++)
    largest = fmaxf(largest, logits[i]);
  for (uint32_t i = 0; i < s->actions; i++)
    sum += a->pi[i] = expf(logits[i] - largest);
  for (uint32_t i = 0; i < s->actions; i++) {
    a->pi[i] /= sum;
    a->floor[i] = (1 - s->floor) * a->pi[i] + s->floor / (float)s->actions;
  }
}

void strategy_policy(struct strategy *s, const float *states, uint32_t batch, float *ret_probability) {
  struct layer layers[3];
  layers_of(s, layers);
#pragma omp parallel for schedule(static)
  for (uint32_t i = 0; i < batch; i++) {
    struct activations a;
    run(s, layers, states + (size_t)i * s->inputs, &a);
    memcpy(ret_probability + (size_t)i * s->actions, a.floor, s->actions * sizeof(float));
  }
}

uint32_t strategy_draw(struct rng *rng, const float *probability, uint32_t actions) {
  float u = rng_uniform(rng), sum = 0;
  for (uint32_t i = 0; i + 1 < actions; i++) {
    sum += probability[i];
    if (u < sum)
      return i;
  }
  return actions - 1;
}

/* Adds the gradient of a layer's parameters and gives that of its input (NULL for the first layer). */
static void backward(const struct strategy *s, const struct layer *layer, const float *x, const float *d_out,
                     float *d_x) {
  if (d_x)
    memset(d_x, 0, layer->inputs * sizeof(*d_x));
  for (uint32_t o = 0; o < layer->outputs; o++) {
    float *g = s->gradient + layer->weight + (size_t)o * layer->inputs;
    const float *w = s->value + layer->weight + (size_t)o * layer->inputs;
    s->gradient[layer->bias + o] += d_out[o];
    for (uint32_t i = 0; i < layer->inputs; i++)
      g[i] += d_out[o] * x[i];
    for (uint32_t i = 0; d_x && i < layer->inputs; i++)
      d_x[i] += d_out[o] * w[i];
  }
}

/* Accumulates d objective / d parameters of one anchor from d objective / d pi'. */
static void ascend(const struct strategy *s, const struct layer layers[3], const float *state,
                   const struct activations *a, const float *d_floor) {
  float d_logit[STRATEGY_ACTIONS_MAX], d2[HIDDEN2], d1[HIDDEN1], mean = 0;
  for (uint32_t i = 0; i < s->actions; i++)
    mean += (1 - s->floor) * d_floor[i] * a->pi[i];
  for (uint32_t i = 0; i < s->actions; i++)
    d_logit[i] = a->pi[i] * ((1 - s->floor) * d_floor[i] - mean);
  backward(s, &layers[2], a->hidden2, d_logit, d2);
  for (uint32_t i = 0; i < HIDDEN2; i++)
    d2[i] = a->hidden2[i] > 0 ? d2[i] : 0;
  backward(s, &layers[1], a->hidden1, d2, d1);
  for (uint32_t i = 0; i < HIDDEN1; i++)
    d1[i] = a->hidden1[i] > 0 ? d1[i] : 0;
  backward(s, &layers[0], state, d1, NULL);
}

/* As core/nn/adam.h tells, but in float throughout: policies depend on its roundings. */
static void adam(struct strategy *s) {
  const float rate = s->standard ? RATE_STANDARD : RATE;
  s->updates++;
  float correct1 = 1 - powf(BETA1, (float)s->updates), correct2 = 1 - powf(BETA2, (float)s->updates);
  for (size_t i = 0; i < s->parameters; i++) {
    float g = s->gradient[i];
    s->moment1[i] = BETA1 * s->moment1[i] + (1 - BETA1) * g;
    s->moment2[i] = BETA2 * s->moment2[i] + (1 - BETA2) * g * g;
    s->value[i] +=
        rate * (s->moment1[i] / correct1) / (sqrtf(s->moment2[i] / correct2) + EPSILON); /* ascent */
  }
}

static float deviation_of(const float *a, const float *b, uint32_t count) {
  double sum = 0, square = 0, n = 2.0 * count;
  for (uint32_t i = 0; i < count; i++) {
    sum += (double)a[i] + (double)b[i];
    square += (double)a[i] * (double)a[i] + (double)b[i] * (double)b[i];
  }
  return (float)sqrt(fmax(square / n - sum / n * (sum / n), 0));
}

float strategy_entropy_weight(bool priced, double progress) {
  return priced ? 0.2f : (float)(0.02 + (0.002 - 0.02) * progress);
}

float strategy_update(struct strategy *s, const float *states, uint32_t batch, const uint32_t *action1,
                      const uint32_t *action2, const float *reward1, const float *reward2,
                      float entropy_weight) {
  struct layer layers[3];
  float scale = 1 / (deviation_of(reward1, reward2, batch) + 1e-6f), entropy = 0;
  layers_of(s, layers);
  memset(s->gradient, 0, s->parameters * sizeof(float));
  for (uint32_t b = 0; b < batch; b++) {
    const float *state = states + (size_t)b * s->inputs;
    struct activations a;
    float d_floor[STRATEGY_ACTIONS_MAX] = {0};
    run(s, layers, state, &a);
    float advantage = 0.5f * (reward1[b] - reward2[b]) * scale;
    for (uint32_t i = 0; i < s->actions; i++) {
      entropy -= a.floor[i] * logf(fmaxf(a.floor[i], LEAST));
      d_floor[i] = -entropy_weight * (logf(fmaxf(a.floor[i], LEAST)) + 1) / (float)batch;
    }
    d_floor[action1[b]] += advantage / fmaxf(a.floor[action1[b]], LEAST) / (float)batch;
    d_floor[action2[b]] -= advantage / fmaxf(a.floor[action2[b]], LEAST) / (float)batch;
    ascend(s, layers, state, &a, d_floor);
  }
  adam(s);
  return entropy / (float)batch;
}

/* value, moments, statistics, and the step counter as two halves that a float holds exactly */
size_t strategy_save_size(const struct strategy *s) {
  return state_size(s) + 2;
}

void strategy_save(const struct strategy *s, float *ret_values) {
  const size_t size = state_size(s);
  memcpy(ret_values, s->value, size * sizeof(float));
  ret_values[size] = (float)(s->updates & 0xfffff);
  ret_values[size + 1] = (float)(s->updates >> 20);
}

void strategy_load(struct strategy *s, const float *values) {
  const size_t size = state_size(s);
  memcpy(s->value, values, size * sizeof(float));
  s->updates = (uint64_t)values[size] + ((uint64_t)values[size + 1] << 20);
}
