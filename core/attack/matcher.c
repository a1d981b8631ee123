/* Gradient matching (Geiping et al., "Inverting Gradients", NeurIPS 2020): the template whose gradient points
 * where the shared one points,
 *
 *   min_x 1 - <g(x), s> / (|g(x)| |s|) + smoothness(x),   g(x) = d loss(x) / d weights,
 *
 * by Adam. What the last linear layer saw is known exactly (core/attack/features.c), and matching it needs no
 * second derivative: a search may begin with that, and leave the last word to the gradient as a whole. Of
 * trained networks this finds faces where the cosine alone does not; of initial weights the cosine finds
 * more.
 *
 * The cosine's derivative by x needs the loss's mixed second derivative along one direction of weights,
 * v = d(1 - cos) / dg, which is had from first derivatives:
 *
 *   d/dx <g(x), v> ~ (d loss/dx at weights + e v  -  d loss/dx at weights - e v) / 2e,   e = step / |v|.
 *
 * A shorter move is not a better one: where a unit of the network changes sign on the way, the derivative
 * jumps, and what jumps is divided by the move. Moves as long as the weights' own differences average over
 * many such units; the search takes what noise is left as it takes that of a batch.
 *
 * Templates are standardised, so that Adam moves every coefficient at the pace of its own deviation: faces'
 * statistics are the search's metric. Smoothness is the total variation of the picture that the network sees,
 * where the mask's inverse leads to one. */
#include "core/attack/matcher.h"

#include <math.h>
#include <string.h>

#include "core/attack/descent.h"
#include "core/attack/features.h"
#include "core/attack/variation.h"
#include "core/base/memory.h"
#include "core/base/philox.h"

#define STEP 0.05 /* length of the move in weights: see the top */
#define RATE 0.2f /* Adam's, deviations */
#define SMOOTHNESS 2.0
#define FEATURE_SHARE 0.8 /* of the steps, by what the last layer saw */
#define FEATURE_SMOOTHNESS 0.3
#define START 0.1f              /* deviation of where the search begins */
#define DRAW_START (1ull << 37) /* sequence of RNG_ATTACK, beyond those of the other files */

struct matcher {
  struct matcher_options options;
  struct variation *variation;     /* NULL: no picture */
  size_t numbers;                  /* of network and rows */
  float *weights;                  /* (numbers) as they are known */
  float *shared, *own, *direction; /* (numbers) */
  size_t elements;
  float *x, *derivative; /* (elements) of the search */
  struct descent descent;
  struct features *features; /* NULL: the network does not tell them */
  bool seen;                 /* the shared gradient does */
};

/* ---- weights and their gradients as one vector: network, then rows ---- */

enum part { VALUES, GRADIENTS };

/* Nobody computes, and so nobody shares, gradients of statistics and of layers that are not trained. */
static bool is_shared(const struct matcher *matcher, const struct graph_parameter *p) {
  return p->gradient && !arch_freezes(p->name, matcher->options.classifier->frozen);
}

static size_t count_shared(const struct matcher *matcher) {
  const struct classifier *classifier = matcher->options.classifier;
  size_t count = (size_t)classifier->classes * classifier->embedding;
  for (uint32_t i = 0; i < graph_parameters(classifier->graph); i++) {
    const struct graph_parameter *p = graph_parameter(classifier->graph, i);
    count += is_shared(matcher, p) ? p->count : 0;
  }
  return count;
}

static void collect(const struct matcher *matcher, enum part part, float *ret) {
  struct graph *graph = matcher->options.classifier->graph;
  struct head *head = matcher->options.classifier->head;
  for (uint32_t i = 0; i < graph_parameters(graph); i++) {
    const struct graph_parameter *p = graph_parameter(graph, i);
    if (!is_shared(matcher, p))
      continue;
    memcpy(ret, part == VALUES ? p->value : p->gradient, p->count * sizeof(float));
    ret += p->count;
  }
  memcpy(ret, part == VALUES ? head_weights(head) : head_gradient(head),
         (size_t)head_classes(head) * matcher->options.classifier->embedding * sizeof(float));
}

static void move_part(float *value, const float *from, double length, const float *direction, size_t count) {
  for (size_t i = 0; i < count; i++)
    value[i] = from[i] + (float)length * direction[i];
}

/* weights := known weights + length * direction */
static void move_weights(struct matcher *matcher, double length) {
  struct graph *graph = matcher->options.classifier->graph;
  struct head *head = matcher->options.classifier->head;
  const float *from = matcher->weights, *along = matcher->direction;
  for (uint32_t i = 0; i < graph_parameters(graph); i++) {
    struct graph_parameter *p = graph_parameter(graph, i);
    if (!is_shared(matcher, p))
      continue;
    move_part(p->value, from, length, along, p->count);
    from += p->count;
    along += p->count;
  }
  move_part(head_weights(head), from, length, along,
            (size_t)head_classes(head) * matcher->options.classifier->embedding);
  graph_parameters_changed(graph);
}

static double dot(const float *a, const float *b, size_t count) {
  double sum = 0;
  for (size_t i = 0; i < count; i++)
    sum += (double)a[i] * (double)b[i];
  return sum;
}

/* ---- construction ---- */

int matcher_new(const struct matcher_options *options, struct matcher **ret_matcher,
                struct guise_error *err) {
  _cleanup_(matcher_freep) struct matcher *matcher = calloc(1, sizeof(*matcher));
  if (!matcher)
    return error_set(err, -ENOMEM, "out of memory for matching gradients");
  *matcher = (struct matcher){.options = *options, .elements = mask_elements(options->mask)};
  matcher->numbers = count_shared(matcher);
  float **vectors[] = {&matcher->weights, &matcher->shared, &matcher->own, &matcher->direction};
  matcher->x = tensor_alloc(matcher->elements * sizeof(float));
  matcher->derivative = tensor_alloc(matcher->elements * sizeof(float));
  bool complete =
      descent_init(&matcher->descent, matcher->elements) == 0 && matcher->x && matcher->derivative;
  for (size_t i = 0; i < ARRAY_SIZE(vectors); i++)
    complete = (*vectors[i] = tensor_alloc(matcher->numbers * sizeof(float))) && complete;
  if (!complete)
    return error_set(err, -ENOMEM, "out of memory for gradients of %zu numbers", matcher->numbers);
  int r = mask_inverts_to_pixels(options->mask) ? variation_new(options->mask, &matcher->variation, err) : 0;
  if (r < 0)
    return r;
  collect(matcher, VALUES, matcher->weights);
  r = features_new(options->classifier->graph, options->seed, &matcher->features, err);
  if (r < 0)
    return r;
  *ret_matcher = TAKE(matcher);
  return 0;
}

struct matcher *matcher_free(struct matcher *matcher) {
  if (!matcher)
    return NULL;
  float *const vectors[] = {matcher->weights,   matcher->shared, matcher->own,
                            matcher->direction, matcher->x,      matcher->derivative};
  for (size_t i = 0; i < ARRAY_SIZE(vectors); i++)
    tensor_free(vectors[i]);
  variation_free(matcher->variation);
  features_free(matcher->features);
  descent_done(&matcher->descent);
  free(matcher);
  return NULL;
}

/* ---- what is shared ---- */

static int differentiate(struct matcher *matcher, const float *template_, const struct head_label *labels,
                         uint32_t count, struct guise_error *err) {
  struct classifier *classifier = matcher->options.classifier;
  memcpy(graph_input_data(classifier->graph), template_, matcher->elements * sizeof(float));
  return classifier_differentiate(classifier, labels, MIX_MAX, &count, NULL, err);
}

int matcher_share(struct matcher *matcher, const float *template_, const struct head_label *labels,
                  uint32_t count, struct guise_error *err) {
  int r = differentiate(matcher, template_, labels, count, err);
  if (r < 0)
    return r;
  collect(matcher, GRADIENTS, matcher->shared);
  matcher->seen = matcher->features && features_read(matcher->features);
  return 0;
}

/* Rows are pushed away from the template's embedding but for those of its labels, which are drawn to it. A
 * row's gradient is a (u - (u w) w) / |w|, u and w the unit embedding and row: u is about the mean direction
 * of all rows' gradients, since most are no labels. */
uint32_t matcher_labels(const struct matcher *matcher, struct head_label ret_labels[MIX_MAX]) {
  const struct classifier *classifier = matcher->options.classifier;
  const uint32_t n = classifier->embedding;
  const float *rows = matcher->shared + matcher->numbers - (size_t)classifier->classes * n;
  double mean[n], total = 0;
  uint32_t found = 0;
  memset(mean, 0, sizeof(mean));
  for (uint32_t c = 0; c < classifier->classes; c++) {
    const float *row = rows + (size_t)c * n;
    const double length = sqrt(dot(row, row, n));
    for (uint32_t d = 0; d < n && length > 0; d++)
      mean[d] += (double)row[d] / length;
  }
  for (uint32_t c = 0; c < classifier->classes; c++) {
    const float *row = rows + (size_t)c * n;
    double against = 0;
    for (uint32_t d = 0; d < n; d++)
      against -= mean[d] * (double)row[d];
    if (found > 0 && !(against > 0))
      continue;
    /* insertion, largest first; the first row stands until one points against the others */
    uint32_t place = MIN(found, MIX_MAX - 1u);
    if (found == MIX_MAX && ret_labels[place].weight >= (float)against)
      continue;
    while (place > 0 && ret_labels[place - 1].weight < (float)against) {
      ret_labels[place] = ret_labels[place - 1];
      place--;
    }
    ret_labels[place] = (struct head_label){c, (float)against};
    found = MIN(found + 1, (uint32_t)MIX_MAX);
  }
  while (found > 1 && !(ret_labels[found - 1].weight > 0))
    found--;
  for (uint32_t j = 0; j < found; j++)
    total += (double)ret_labels[j].weight;
  for (uint32_t j = 0; j < found; j++)
    ret_labels[j].weight = found == 1 ? 1 : (float)((double)ret_labels[j].weight / total);
  return found;
}

/* ---- the search ---- */

/* direction := d(1 - cos)/dg = -(s/|s| - cos g/|g|) / |g|; returns 1 - cos. */
static double compare(struct matcher *matcher) {
  const double gg = dot(matcher->own, matcher->own, matcher->numbers),
               ss = dot(matcher->shared, matcher->shared, matcher->numbers),
               gs = dot(matcher->own, matcher->shared, matcher->numbers);
  if (!(gg > 0) || !(ss > 0)) { /* no direction */
    memset(matcher->direction, 0, matcher->numbers * sizeof(float));
    return 1;
  }
  const double g = sqrt(gg), cosine = gs / (g * sqrt(ss));
  const float of_shared = (float)(-1 / (g * sqrt(ss))), of_own = (float)(cosine / gg);
  for (size_t i = 0; i < matcher->numbers; i++)
    matcher->direction[i] = of_shared * matcher->shared[i] + of_own * matcher->own[i];
  return 1 - cosine;
}

/* derivative += factor d loss/dx at weights + length * direction */
static int add_derivative(struct matcher *matcher, const float *template_, const struct head_label *labels,
                          uint32_t count, double length, double factor, float *derivative,
                          struct guise_error *err) {
  move_weights(matcher, length);
  int r = differentiate(matcher, template_, labels, count, err);
  const float *gradient = graph_input_gradient(matcher->options.classifier->graph);
  for (size_t i = 0; r == 0 && i < matcher->elements; i++)
    derivative[i] += (float)(factor * (double)gradient[i]);
  return r;
}

int matcher_distance(struct matcher *matcher, const float *template_, const struct head_label *labels,
                     uint32_t count, double step, double *ret_distance, float *ret_derivative,
                     struct guise_error *err) {
  int r = differentiate(matcher, template_, labels, count, err);
  if (r < 0)
    return r;
  collect(matcher, GRADIENTS, matcher->own);
  *ret_distance = compare(matcher);
  const double length = sqrt(dot(matcher->direction, matcher->direction, matcher->numbers));
  memset(ret_derivative, 0, matcher->elements * sizeof(float));
  if (!(length > 0))
    return 0; /* the very gradient */
  const double e = (step > 0 ? step : STEP) / length;
  r = add_derivative(matcher, template_, labels, count, e, 0.5 / e, ret_derivative, err);
  if (r == 0)
    r = add_derivative(matcher, template_, labels, count, -e, -0.5 / e, ret_derivative, err);
  move_weights(matcher, 0);
  return r;
}

/* One step's derivative of what is searched for. */
static int look(struct matcher *matcher, const struct head_label *labels, uint32_t count, uint32_t number,
                uint32_t step, struct guise_error *err) {
  const uint32_t steps = matcher->options.steps;
  double smoothness = SMOOTHNESS, distance;
  int r;
  if (matcher->options.features && matcher->seen && step < FEATURE_SHARE * steps) {
    smoothness = FEATURE_SMOOTHNESS;
    memcpy(graph_input_data(matcher->options.classifier->graph), matcher->x,
           matcher->elements * sizeof(float));
    r = features_pull(matcher->features, (uint64_t)number * steps + step, matcher->derivative,
                      matcher->elements, err);
    move_weights(matcher, 0);
  } else {
    r = matcher_distance(matcher, matcher->x, labels, count, 0, &distance, matcher->derivative, err);
  }
  if (r == 0 && matcher->variation)
    r = variation_add(matcher->variation, matcher->x, smoothness, matcher->derivative, err);
  return r;
}

int matcher_recover(struct matcher *matcher, const struct head_label *labels, uint32_t count, uint32_t number,
                    float *ret_template, struct guise_error *err) {
  const struct matcher_options *options = &matcher->options;
  struct rng rng;
  int r = 0;
  rng_init(&rng, options->seed, RNG_ATTACK, DRAW_START, number);
  for (size_t i = 0; i < matcher->elements; i++)
    matcher->x[i] = START * rng_normal(&rng);
  descent_start(&matcher->descent);
  for (uint32_t step = 0; step < options->steps && r == 0; step++) {
    if (options->should_stop && options->should_stop(options->stop_context))
      return error_set(err, -ECANCELED, "the attack was stopped");
    r = look(matcher, labels, count, number, step, err);
    if (r == 0)
      descent_step(&matcher->descent, RATE, step, options->steps, matcher->derivative, matcher->x);
  }
  if (r == 0)
    memcpy(ret_template, matcher->x, matcher->elements * sizeof(float));
  return r;
}
