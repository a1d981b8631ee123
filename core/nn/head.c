/* Margin softmax on cosines. A step is three products (cosines, gradients of embeddings and of classes) on
 * OpenBLAS and one pass over the cosines; rows are shared out over the job's threads.
 *
 * Lengths never leave the products: with W as it is and i = 1 / |w| a class, cos = i (u . w), and where G
 * holds d L / d cos times i, the embeddings' gradient is G W and a class's is A - (A . w) i^2 w with A = G^T
 * U. So nothing of the size of the classes exists beside their weights, momentum and gradient.
 *
 * Of the softmax, only the sum over classes outside the mix is common to a sample's labels: with z = s cos, Z
 * = max and S = sum e^(z - Z) over them, label j's log-sum-exp is that of {a_j, Z + log S, and the mix's
 * other z when they count as negatives}, a_j = s times the target with its margin. All of that is done in
 * double, so that s = 64 never overflows.
 *
 * Smoothing by a: with p_c label j's softmax, d l_j / d z_c = p_c - [c = y_j], d u_j / d z_c = p_c - 1 / n_j,
 * and so together p_c - (1 - a) [c = y_j] - a / n_j. */
#include "core/nn/head.h"

#include <math.h>
#include <string.h>

#include "core/base/log_add.h"
#include "core/base/memory.h"
#include "core/base/philox.h"
#include "core/nn/blas.h"

#define INIT_STEP ((uint64_t)1 << 30) /* the graph's parameters use steps from 0 */
#define INIT_DEVIATION 0.01f
#define NORM_MIN 1e-12f
#define LABELS_MAX 6u

struct head {
  uint32_t classes, embedding, batch, threads;
  enum head_kind kind;
  float *weights, *momentum, *gradient; /* (classes, D) */
  float *weight_inverse;                /* 1 / |w| */
  float *unit, *unit_inverse;           /* e / |e|, 1 / |e| */
  float *cosines;                       /* (batch, classes), then their gradients */
  float *sample_losses;                 /* (batch) */
};

DEFINE_CLEANUP(struct head *, head_free)

int head_new(uint32_t classes, uint32_t embedding, uint32_t batch, uint32_t threads, enum head_kind kind,
             uint64_t seed, struct head **ret_head, struct guise_error *err) {
  if (classes < 2 || classes > 1u << 24 || embedding == 0 || embedding > 65536 || batch == 0 ||
      batch > 65536 || threads == 0)
    return error_set(
        err, -EINVAL,
        "a class head needs 2 to 2^24 people, embeddings of 1 to 65536 and batches of 1 to 65536, not %u, "
        "%u and %u",
        classes, embedding, batch);
  _cleanup_(head_freep) struct head *head = calloc(1, sizeof(*head));
  if (!head)
    return error_set(err, -ENOMEM, "out of memory");
  const size_t size = (size_t)classes * embedding * sizeof(float);
  *head = (struct head){
      .classes = classes, .embedding = embedding, .batch = batch, .threads = threads, .kind = kind};
  head->weights = tensor_alloc(size);
  head->momentum = tensor_alloc(size);
  head->gradient = tensor_alloc(size);
  head->weight_inverse = tensor_alloc(classes * sizeof(float));
  head->unit = tensor_alloc((size_t)batch * embedding * sizeof(float));
  head->unit_inverse = tensor_alloc(batch * sizeof(float));
  head->cosines = tensor_alloc((size_t)batch * classes * sizeof(float));
  head->sample_losses = tensor_alloc(batch * sizeof(float));
  if (!head->sample_losses || !head->weights || !head->momentum || !head->gradient || !head->weight_inverse ||
      !head->unit || !head->unit_inverse || !head->cosines)
    return error_set(err, -ENOMEM, "a class head for %u people does not fit into memory", classes);
#pragma omp parallel for num_threads((int)threads)
  for (uint32_t c = 0; c < classes; c++) {
    struct rng rng;
    rng_init(&rng, seed, RNG_INIT, INIT_STEP, c);
    for (uint32_t d = 0; d < embedding; d++)
      head->weights[(size_t)c * embedding + d] = INIT_DEVIATION * rng_normal(&rng);
  }
  *ret_head = TAKE(head);
  return 0;
}

struct head *head_free(struct head *head) {
  if (!head)
    return NULL;
  tensor_free(head->weights);
  tensor_free(head->momentum);
  tensor_free(head->gradient);
  tensor_free(head->weight_inverse);
  tensor_free(head->unit);
  tensor_free(head->unit_inverse);
  tensor_free(head->cosines);
  tensor_free(head->sample_losses);
  free(head);
  return NULL;
}

/* In double, in LANES partial sums of every LANES-th product: one sum would wait for each addition. */
#define LANES 8u
static double dot(const float *a, const float *b, uint32_t size) {
  double part[LANES] = {0}, sum = 0;
  uint32_t d = 0;
  for (; size - d >= LANES; d += LANES)
    for (uint32_t lane = 0; lane < LANES; lane++)
      part[lane] += (double)a[d + lane] * (double)b[d + lane];
  for (; d < size; d++)
    part[d % LANES] += (double)a[d] * (double)b[d];
  for (uint32_t lane = 0; lane < LANES; lane++)
    sum += part[lane];
  return sum;
}

/* ret_inverse: 1 / |x| of the rows of x (rows, size). */
static void inverse_lengths(uint32_t threads, const float *x, uint32_t rows, uint32_t size,
                            float *ret_inverse) {
#pragma omp parallel for num_threads((int)threads)
  for (uint32_t i = 0; i < rows; i++) {
    const float *row = x + (size_t)i * size;
    ret_inverse[i] = 1.0f / fmaxf((float)sqrt(dot(row, row, size)), NORM_MIN);
  }
}

/* Rows of x (rows, size) scaled to length 1. */
static void normalise(uint32_t threads, const float *x, uint32_t rows, uint32_t size, float *ret_unit,
                      float *ret_inverse) {
  inverse_lengths(threads, x, rows, size, ret_inverse);
#pragma omp parallel for num_threads((int)threads)
  for (uint32_t i = 0; i < rows; i++)
    for (uint32_t d = 0; d < size; d++)
      ret_unit[(size_t)i * size + d] = x[(size_t)i * size + d] * ret_inverse[i];
}

/* g, the gradient of the unit rows, becomes that of the rows: (g - (g . u) u) / |x|. In place allowed. */
static void normalise_backward(uint32_t threads, const float *g, const float *unit, const float *inverse,
                               uint32_t rows, uint32_t size, float *ret_gradient) {
#pragma omp parallel for num_threads((int)threads)
  for (uint32_t i = 0; i < rows; i++) {
    const float *row = g + (size_t)i * size, *u = unit + (size_t)i * size;
    float *to = ret_gradient + (size_t)i * size;
    const float projection = (float)dot(row, u, size), scale = inverse[i];
    for (uint32_t d = 0; d < size; d++)
      to[d] = (row[d] - projection * u[d]) * scale;
  }
}

/* A becomes A - (A . w) i^2 w, a row a class. */
static void project_classes(struct head *head) {
  const uint32_t size = head->embedding;
#pragma omp parallel for num_threads((int)head->threads)
  for (uint32_t c = 0; c < head->classes; c++) {
    float *g = head->gradient + (size_t)c * size;
    const float *w = head->weights + (size_t)c * size;
    const double inverse = (double)head->weight_inverse[c];
    const float along = (float)(dot(g, w, size) * inverse * inverse);
    for (uint32_t d = 0; d < size; d++)
      g[d] -= along * w[d];
  }
}

/* ---- the loss of one sample ---- */

struct target {
  uint32_t identity;
  double weight;  /* lambda_j */
  double logit;   /* s cos, without margin */
  double shifted; /* a_j, with margin */
  double slope;   /* d a_j / d (s cos) */
  double log_sum; /* of label j's softmax */
};

static void apply_margin(enum head_kind kind, double scale, double margin, double cosine,
                         struct target *target) {
  target->logit = scale * cosine;
  target->slope = 1;
  if (kind == HEAD_COSFACE) {
    target->shifted = scale * (cosine - margin);
    return;
  }
  if (cosine < -cos(margin)) { /* cos(pi - m): beyond it cos(t + m) would rise again */
    target->shifted = scale * (cosine - margin * sin(margin));
    return;
  }
  const double sine = sqrt(fmax(1 - cosine * cosine, 1e-12));
  target->shifted = scale * (cosine * cos(margin) - sine * sin(margin));
  target->slope = cos(margin) + cosine * sin(margin) / sine;
}

static float clamp_cosine(float cosine) {
  return fminf(fmaxf(cosine, -1.0f), 1.0f);
}

/* The weight of a label that has the whole margin. */
static double whole_margin(enum head_margins margins, const struct head_label *labels, uint32_t count) {
  double most = 0, squares = 0;
  for (uint32_t j = 0; j < count; j++) {
    const double weight = (double)labels[j].weight;
    most = fmax(most, weight);
    squares += weight * weight;
  }
  return margins == HEAD_MARGINS_REACHABLE ? sqrt(squares) : most;
}

static void describe_targets(const struct head *head, const struct head_options *options,
                             const float *cosines, const struct head_label *labels, uint32_t count,
                             struct target *ret_targets) {
  const double whole = whole_margin(options->margins, labels, count);
  for (uint32_t j = 0; j < count; j++) {
    struct target *target = &ret_targets[j];
    target->identity = labels[j].identity;
    target->weight = (double)labels[j].weight;
    const double share = options->margins == HEAD_MARGINS_EQUAL ? 1 : whole > 0 ? target->weight / whole : 0;
    const double margin = (double)options->margin * share;
    apply_margin(head->kind, (double)options->scale, margin, (double)clamp_cosine(cosines[target->identity]),
                 target);
  }
}

/* What smoothing needs of the classes outside the mix. */
struct rest {
  double sum; /* of their z */
  uint32_t count;
};

static bool in_mix(const struct target *targets, uint32_t count, uint32_t identity) {
  for (uint32_t j = 0; j < count; j++)
    if (targets[j].identity == identity)
      return true;
  return false;
}

/* Best class other than `own`. */
static float best_other(const float *cosines, uint32_t classes, uint32_t own) {
  float best = -2.0f;
  for (uint32_t c = 0; c < classes; c++)
    if (c != own)
      best = fmaxf(best, cosines[c]);
  return best;
}

/* The soft label's cross-entropy over all classes, without margin. */
static double plain_loss(const float *cosines, uint32_t classes, float scale, const struct head_label *labels,
                         uint32_t count) {
  float highest = -1;
  double sum = 0, loss = 0;
  for (uint32_t c = 0; c < classes; c++)
    highest = fmaxf(highest, cosines[c]);
  for (uint32_t c = 0; c < classes; c++)
    sum += (double)expf(scale * (cosines[c] - highest));
  for (uint32_t j = 0; j < count; j++)
    loss += (double)labels[j].weight * (log(sum) - (double)(scale * (cosines[labels[j].identity] - highest)));
  return loss;
}

/* Highest logit outside the mix; -inf when the mix has every class. */
static double highest_negative(const float *cosines, uint32_t classes, float scale,
                               const struct target *targets, uint32_t count) {
  float best = -INFINITY;
  for (uint32_t c = 0; c < classes; c++)
    if (cosines[c] > best && !in_mix(targets, count, c))
      best = cosines[c];
  return (double)(scale * best);
}

/* Turns the cosines into e^(z - highest), 0 inside the mix, and returns their sum. */
static double exponentials(float *cosines, uint32_t classes, float scale, double highest,
                           const struct target *targets, uint32_t count) {
  const float shift = isinf(highest) ? 0.0f : (float)highest;
  for (uint32_t j = 0; j < count; j++)
    cosines[targets[j].identity] = -INFINITY;
  double sum = 0;
  for (uint32_t c = 0; c < classes; c++) {
    cosines[c] = expf(scale * cosines[c] - shift);
    sum += (double)cosines[c];
  }
  return sum;
}

/* Before the cosines are spent. */
static struct rest rest_of(const float *cosines, uint32_t classes, float scale, const struct target *targets,
                           uint32_t count) {
  struct rest rest = {.count = classes};
  for (uint32_t c = 0; c < classes; c++)
    rest.sum += (double)cosines[c];
  for (uint32_t j = 0; j < count; j++) { /* identities in a mix differ */
    rest.sum -= (double)cosines[targets[j].identity];
    rest.count--;
  }
  rest.sum *= (double)scale;
  return rest;
}

/* The sum of a lambda_j (u_j - l_j) over the labels. Its gradient with respect to s cos is added to own[j] of
 * the targets, and set in *ret_others for each class outside the mix. */
static double smooth(const struct target *targets, uint32_t count, bool all, double a,
                     const struct rest *rest, double *own, double *ret_others) {
  double loss = 0;
  *ret_others = 0;
  for (uint32_t j = 0; j < count; j++) {
    const struct target *t = &targets[j];
    const double n = rest->count + (all ? count : 1);
    double sum = rest->sum + t->shifted;
    for (uint32_t i = 0; all && i < count; i++)
      sum += i == j ? 0 : targets[i].logit;
    loss += a * t->weight * (t->shifted - sum / n); /* u_j - l_j: the softmax's sum cancels */
    own[j] += a * t->weight * (1 - 1 / n) * t->slope;
    for (uint32_t i = 0; all && i < count; i++)
      own[i] -= i == j ? 0 : a * t->weight / n;
    *ret_others -= a * t->weight / n;
  }
  return loss;
}

/* L0 of one sample; its row of cosines becomes d L0 / d cos when `gradient` is set, and is spent otherwise.
 */
static double sample_loss(const struct head *head, const struct head_options *options, float *cosines,
                          const struct head_label *labels, uint32_t count, bool gradient) {
  struct target targets[LABELS_MAX];
  const bool all = options->negatives == HEAD_NEGATIVES_ALL;
  describe_targets(head, options, cosines, labels, count, targets);
  const double a = (double)options->smoothing;
  double own_part[LABELS_MAX] = {0}, others_part = 0;
  const struct rest rest =
      a != 0 ? rest_of(cosines, head->classes, options->scale, targets, count) : (struct rest){.sum = 0};
  const double highest = highest_negative(cosines, head->classes, options->scale, targets, count);
  const double sum = exponentials(cosines, head->classes, options->scale, highest, targets, count);
  const double negatives = sum > 0 ? highest + log(sum) : -INFINITY;
  double loss = 0, common = 0;
  for (uint32_t j = 0; j < count; j++) {
    struct target *own = &targets[j];
    own->log_sum = log_add(own->shifted, negatives);
    for (uint32_t i = 0; all && i < count; i++)
      if (targets[i].identity != own->identity)
        own->log_sum = log_add(own->log_sum, targets[i].logit);
    loss += own->weight * (own->log_sum - own->shifted);
    common += isinf(highest) ? 0 : own->weight * exp(highest - own->log_sum);
  }
  if (a != 0)
    loss += smooth(targets, count, all, a, &rest, own_part, &others_part);
  if (!gradient)
    return loss;
  const float factor = (float)((double)options->scale * common);
  const float push = (float)((double)options->scale * others_part);
  for (uint32_t c = 0; c < head->classes; c++)
    cosines[c] = cosines[c] * factor + push;
  for (uint32_t j = 0; j < count; j++) {
    const struct target *own = &targets[j];
    double slope = own->weight * (exp(own->shifted - own->log_sum) - 1) * own->slope + own_part[j];
    for (uint32_t i = 0; all && i < count; i++)
      if (targets[i].identity != own->identity)
        slope += targets[i].weight * exp(own->logit - targets[i].log_sum);
    cosines[own->identity] = (float)((double)options->scale * slope);
  }
  return loss;
}

static double batch_loss(struct head *head, const struct head_options *options, const float *embeddings,
                         uint32_t batch, const struct head_label *labels, uint32_t stride,
                         const uint32_t *counts, bool gradient, float *ret_losses,
                         const struct head_difficulty *difficulty) {
  const uint32_t size = head->embedding, classes = head->classes;
  normalise(head->threads, embeddings, batch, size, head->unit, head->unit_inverse);
  inverse_lengths(head->threads, head->weights, classes, size, head->weight_inverse);
  blas_multiply(head->threads, false, true, batch, classes, size, head->unit, size, head->weights, size, 0.0f,
                head->cosines, classes);
  const float scale = 1.0f / (float)batch;
  float *losses = head->sample_losses;
#pragma omp parallel for num_threads((int)head->threads)
  for (uint32_t i = 0; i < batch; i++) {
    float *cosines = head->cosines + (size_t)i * classes;
    const struct head_label *own = labels + (size_t)i * stride;
    const uint32_t count = MIN(counts[i], LABELS_MAX);
    for (uint32_t c = 0; c < classes; c++)
      cosines[c] *= head->weight_inverse[c];
    if (difficulty) {
      const uint32_t asked = difficulty->own[i];
      difficulty->ret_margins[i] = cosines[asked] - best_other(cosines, classes, asked);
      difficulty->ret_plain[i] = (float)plain_loss(cosines, classes, options->scale, own, count);
    }
    losses[i] = (float)sample_loss(head, options, cosines, own, count, gradient);
    for (uint32_t c = 0; gradient && c < classes; c++)
      cosines[c] *= scale * head->weight_inverse[c];
  }
  double mean = 0;
  for (uint32_t i = 0; i < batch; i++)
    mean += (double)losses[i] / batch;
  if (ret_losses)
    memcpy(ret_losses, losses, batch * sizeof(float));
  return mean;
}

double head_step(struct head *head, const struct head_options *options, const float *embeddings,
                 uint32_t batch, const struct head_label *labels, uint32_t stride, const uint32_t *counts,
                 float *ret_gradient, float *ret_losses, const struct head_difficulty *difficulty) {
  const uint32_t size = head->embedding, classes = head->classes;
  const double loss =
      batch_loss(head, options, embeddings, batch, labels, stride, counts, true, ret_losses, difficulty);
  blas_multiply(head->threads, false, false, batch, size, classes, head->cosines, classes, head->weights,
                size, 0.0f, ret_gradient, size);
  blas_multiply(head->threads, true, false, classes, size, batch, head->cosines, classes, head->unit, size,
                0.0f, head->gradient, size);
  normalise_backward(head->threads, ret_gradient, head->unit, head->unit_inverse, batch, size, ret_gradient);
  project_classes(head);
  return loss;
}

void head_losses(struct head *head, const struct head_options *options, const float *embeddings,
                 uint32_t batch, const struct head_label *labels, uint32_t stride, const uint32_t *counts,
                 float *ret_losses) {
  (void)batch_loss(head, options, embeddings, batch, labels, stride, counts, false, ret_losses, NULL);
}

void head_sgd(struct head *head, float rate, float momentum, float decay) {
  const size_t count = (size_t)head->classes * head->embedding;
  float *w = head->weights, *v = head->momentum;
  const float *g = head->gradient;
#pragma omp parallel for num_threads((int)head->threads)
  for (size_t i = 0; i < count; i++) {
    v[i] = momentum * v[i] + (g[i] + decay * w[i]);
    w[i] -= rate * v[i];
  }
}

uint32_t head_classes(const struct head *head) {
  return head->classes;
}

float *head_weights(struct head *head) {
  return head->weights;
}

float *head_momentum(struct head *head) {
  return head->momentum;
}

float *head_gradient(struct head *head) {
  return head->gradient;
}
