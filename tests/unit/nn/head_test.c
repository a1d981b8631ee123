/* The class head against the formula of head.h written out in double, its gradients against differences, and
 * its edges. */
#include "reference.h"

#include "core/nn/head.h"

#ifdef __SANITIZE_THREAD__
#define THREADS 1u
#else
#define THREADS 2u
#endif

#define CLASSES 11u
#define SIZE 9u
#define BATCH 5u
#define STRIDE 6u

struct problem {
  enum head_kind kind;
  struct head_options options;
  double embeddings[BATCH * SIZE], weights[CLASSES * SIZE];
  struct head_label labels[BATCH * STRIDE];
  uint32_t counts[BATCH];
};

static void make_problem(struct problem *p, enum head_kind kind, enum head_negatives negatives,
                         enum head_margins margins, float scale) {
  lcg_state = 31;
  memset(p, 0, sizeof(*p));
  p->kind = kind;
  p->options = (struct head_options){scale, 0.45f, negatives, margins, 0};
  for (uint32_t i = 0; i < BATCH * SIZE; i++)
    p->embeddings[i] = (double)lcg();
  for (uint32_t i = 0; i < CLASSES * SIZE; i++)
    p->weights[i] = (double)lcg();
  for (uint32_t i = 0; i < BATCH; i++) { /* 1 to 5 people, different weights, not summing to 1 in the last */
    p->counts[i] = i + 1;
    for (uint32_t j = 0; j <= i; j++)
      p->labels[i * STRIDE + j] = (struct head_label){(i * 3 + j * 2) % CLASSES, 0.1f + 0.15f * (float)j};
  }
}

static double cosine(const double *a, const double *b) {
  double dot = 0, aa = 0, bb = 0;
  for (uint32_t d = 0; d < SIZE; d++) {
    dot += a[d] * b[d];
    aa += a[d] * a[d];
    bb += b[d] * b[d];
  }
  return dot / sqrt(aa * bb);
}

static double target_cosine(const struct problem *p, double t, double margin) {
  if (p->kind == HEAD_COSFACE)
    return t - margin;
  return t < cos(M_PI - margin) ? t - margin * sin(margin) : cos(acos(t) + margin);
}

static double loss_of(const struct problem *p, uint32_t i) {
  const struct head_label *mix = p->labels + (size_t)i * STRIDE;
  const double s = (double)p->options.scale;
  double most = 0, length = 0, loss = 0;
  for (uint32_t j = 0; j < p->counts[i]; j++) {
    most = fmax(most, (double)mix[j].weight);
    length = hypot(length, (double)mix[j].weight);
  }
  for (uint32_t j = 0; j < p->counts[i]; j++) {
    const double share = p->options.margins == HEAD_MARGINS_EQUAL    ? 1
                         : p->options.margins == HEAD_MARGINS_SCALED ? (double)mix[j].weight / most
                                                                     : (double)mix[j].weight / length;
    const double margin = (double)p->options.margin * share;
    const double own = cosine(p->embeddings + i * SIZE, p->weights + mix[j].identity * SIZE);
    const double a = s * target_cosine(p, own, margin);
    double sum = 1, logits = a, classes = 1; /* sum: relative to e^a */
    for (uint32_t c = 0; c < CLASSES; c++) {
      bool left_out = c == mix[j].identity;
      for (uint32_t k = 0; k < p->counts[i] && p->options.negatives == HEAD_NEGATIVES_OTHERS; k++)
        left_out |= mix[k].identity == c;
      if (left_out)
        continue;
      const double z = s * cosine(p->embeddings + i * SIZE, p->weights + c * SIZE);
      sum += exp(z - a);
      logits += z;
      classes++;
    }
    const double smoothing = (double)p->options.smoothing, uniform = log(sum) + a - logits / classes;
    loss += (double)mix[j].weight * ((1 - smoothing) * log(sum) + smoothing * uniform);
  }
  return loss;
}

static double mean_loss(const struct problem *p) {
  double sum = 0;
  for (uint32_t i = 0; i < BATCH; i++)
    sum += loss_of(p, i) / BATCH;
  return sum;
}

/* Central differences of the double formula. */
static void differences(struct problem *p, double *values, uint32_t count, double *ret_gradient) {
  for (uint32_t i = 0; i < count; i++) {
    const double saved = values[i], step = 1e-5;
    values[i] = saved + step;
    const double up = mean_loss(p);
    values[i] = saved - step;
    ret_gradient[i] = (up - mean_loss(p)) / (2 * step);
    values[i] = saved;
  }
}

static void check_problem(struct problem *p, uint32_t threads) {
  struct head *head = NULL;
  float embeddings[BATCH * SIZE], gradient[BATCH * SIZE], losses[BATCH], again[BATCH], margins[BATCH],
      plain[BATCH];
  uint32_t asked[BATCH];
  double want_embeddings[BATCH * SIZE], want_weights[CLASSES * SIZE], want_losses[BATCH];
  assert_int_equal(head_new(CLASSES, SIZE, BATCH, threads, p->kind, 1, &head, NULL), 0);
  for (uint32_t i = 0; i < BATCH * SIZE; i++)
    embeddings[i] = (float)p->embeddings[i];
  for (uint32_t i = 0; i < CLASSES * SIZE; i++)
    head_weights(head)[i] = (float)p->weights[i];
  for (uint32_t i = 0; i < BATCH; i++) /* of the last label, which is not the first */
    asked[i] = p->labels[i * STRIDE + p->counts[i] - 1].identity;
  const struct head_difficulty difficulty = {asked, margins, plain};
  const double loss = head_step(head, &p->options, embeddings, BATCH, p->labels, STRIDE, p->counts, gradient,
                                losses, &difficulty);
  for (uint32_t i = 0; i < BATCH; i++) {
    want_losses[i] = loss_of(p, i);
    const uint32_t own = asked[i];
    double best = -1;
    for (uint32_t c = 0; c < CLASSES; c++)
      if (c != own)
        best = fmax(best, cosine(p->embeddings + i * SIZE, p->weights + c * SIZE));
    const double margin = cosine(p->embeddings + i * SIZE, p->weights + own * SIZE) - best;
    assert_true(fabs((double)margins[i] - margin) < 1e-5);
    struct problem bare = *p; /* whatever the margin, the negatives and the smoothing are */
    bare.options = (struct head_options){p->options.scale, 0, HEAD_NEGATIVES_ALL, HEAD_MARGINS_SCALED, 0};
    const double want_plain = loss_of(&bare, i);
    assert_true(fabs((double)plain[i] - want_plain) < 1e-5 + 1e-5 * want_plain);
  }
  (void)snprintf(check_context, sizeof(check_context),
                 "kind %d, negatives %d, margins %d, scale %g, smoothing %g", (int)p->kind,
                 (int)p->options.negatives, (int)p->options.margins, (double)p->options.scale,
                 (double)p->options.smoothing);
  check_close("losses", losses, want_losses, BATCH, 1e-6, 2e-5);
  assert_true(fabs(loss - mean_loss(p)) < 2e-5 * fabs(loss));
  differences(p, p->embeddings, BATCH * SIZE, want_embeddings);
  differences(p, p->weights, CLASSES * SIZE, want_weights);
  check_close("gradient of embeddings", gradient, want_embeddings, BATCH * SIZE, 1e-6, 1e-4);
  check_close("gradient of classes", head_gradient(head), want_weights, CLASSES * SIZE, 1e-6, 1e-4);
  head_losses(head, &p->options, embeddings, BATCH, p->labels, STRIDE, p->counts, again);
  assert_memory_equal(losses, again, sizeof(losses));
  head_free(head);
}

static void all_modes(void **state) {
  (void)state;
  static const float scales[] = {1, 16, 64}, smoothings[] = {0, -0.05f, -0.5f, 0.2f};
  for (int kind = 0; kind < 2; kind++)
    for (int negatives = 0; negatives < 2; negatives++)
      for (int margins = HEAD_MARGINS_SCALED; margins <= HEAD_MARGINS_REACHABLE; margins++)
        for (size_t s = 0; s < ARRAY_SIZE(scales); s++) {
          struct problem p;
          make_problem(&p, kind ? HEAD_ARCFACE : HEAD_COSFACE,
                       negatives ? HEAD_NEGATIVES_ALL : HEAD_NEGATIVES_OTHERS, (enum head_margins)margins,
                       scales[s]);
          for (size_t a = 0; a < ARRAY_SIZE(smoothings); a++) {
            p.options.smoothing = smoothings[a];
            check_problem(&p, 1 + (uint32_t)s % THREADS);
          }
        }
}

/* A part of the mix that is nobody's: the labels' weights add up to less than 1 and are taken as they are, so
 * half the weights give half the loss and half the gradients. */
static void weights_are_not_scaled_up(void **state) {
  (void)state;
  struct problem p;
  struct head *head = NULL;
  float embeddings[BATCH * SIZE], gradient[2][BATCH * SIZE], classes[CLASSES * SIZE];
  make_problem(&p, HEAD_COSFACE, HEAD_NEGATIVES_OTHERS, HEAD_MARGINS_SCALED, 16);
  assert_int_equal(head_new(CLASSES, SIZE, BATCH, 1, HEAD_COSFACE, 1, &head, NULL), 0);
  for (uint32_t i = 0; i < BATCH * SIZE; i++)
    embeddings[i] = (float)p.embeddings[i];
  const double whole =
      head_step(head, &p.options, embeddings, BATCH, p.labels, STRIDE, p.counts, gradient[0], NULL, NULL);
  memcpy(classes, head_gradient(head), sizeof(classes));
  for (uint32_t i = 0; i < BATCH * STRIDE; i++)
    p.labels[i].weight /= 2;
  const double half =
      head_step(head, &p.options, embeddings, BATCH, p.labels, STRIDE, p.counts, gradient[1], NULL, NULL);
  assert_true(whole > 0.1 && fabs(half - whole / 2) < 1e-6 * whole);
  for (uint32_t i = 0; i < BATCH * SIZE; i++)
    assert_true(fabsf(gradient[1][i] - gradient[0][i] / 2) < 1e-5f);
  for (uint32_t i = 0; i < CLASSES * SIZE; i++)
    assert_true(fabsf(head_gradient(head)[i] - classes[i] / 2) < 1e-5f);
  head_free(head);
}

/* Cosines of 1 and -1, where the formulas divide by a sine of 0 and exponentials leave float's range. */
static void extreme_cosines(void **state) {
  (void)state;
  for (int kind = 0; kind < 2; kind++)
    for (int negatives = 0; negatives < 2; negatives++) {
      struct head *head = NULL;
      float embeddings[8] = {1, 0, 0, 0, -3, 0, 0, 0}, gradient[8], losses[2];
      const struct head_label labels[] = {{0, 0.5f}, {1, 0.5f}, {0, 1}, {0, 0}};
      const uint32_t counts[] = {2, 1};
      assert_int_equal(head_new(3, 4, 2, 1, kind ? HEAD_ARCFACE : HEAD_COSFACE, 1, &head, NULL), 0);
      const float weights[12] = {1, 0, 0, 0, -1, 0, 0, 0, 0, 1, 0, 0};
      memcpy(head_weights(head), weights, sizeof(weights));
      const struct head_options options = {64, 0.5f, negatives ? HEAD_NEGATIVES_ALL : HEAD_NEGATIVES_OTHERS,
                                           HEAD_MARGINS_SCALED, 0};
      const double loss = head_step(head, &options, embeddings, 2, labels, 2, counts, gradient, losses, NULL);
      assert_true(isfinite(loss) && losses[1] > 100); /* all wrong: about 64 (2 + m) */
      for (int i = 0; i < 8; i++)
        assert_true(isfinite(gradient[i]));
      for (int i = 0; i < 12; i++)
        assert_true(isfinite(head_gradient(head)[i]));
      head_free(head);
    }
}

/* A mix of all classes leaves no negatives: nothing to learn, nothing divided by zero. */
static void everybody_in_the_mix(void **state) {
  (void)state;
  struct head *head = NULL;
  float embeddings[3] = {1, 2, 3}, gradient[3] = {9, 9, 9}, losses[1];
  const struct head_label labels[] = {{0, 0.5f}, {1, 0.5f}};
  const uint32_t counts[] = {2};
  assert_int_equal(head_new(2, 3, 1, 1, HEAD_COSFACE, 1, &head, NULL), 0);
  const struct head_options options = {30, 0.3f, HEAD_NEGATIVES_OTHERS, HEAD_MARGINS_SCALED, 0};
  assert_true(head_step(head, &options, embeddings, 1, labels, 2, counts, gradient, losses, NULL) == 0);
  for (int i = 0; i < 3; i++)
    assert_true(gradient[i] == 0);
  const float zero[3] = {
      0}; /* an embedding without length has no direction, but no gradient of infinity either */
  (void)head_step(head, &options, zero, 1, labels, 2, counts, gradient, losses, NULL);
  assert_true(isfinite(losses[0]) && isfinite(gradient[0]));
  head_free(head);
}

/* Many classes, shared out over threads: the same numbers as with one. */
static void many_classes(void **state) {
  (void)state;
  enum { MANY = 3001, WIDTH = 32, IMAGES = 7 };
  static float embeddings[IMAGES * WIDTH], gradients[2][IMAGES * WIDTH];
  struct head_label labels[IMAGES];
  uint32_t counts[IMAGES];
  struct head *heads[2] = {NULL, NULL};
  double losses[2];
  lcg_fill(embeddings, IMAGES * WIDTH, 1, 0);
  for (uint32_t i = 0; i < IMAGES; i++) {
    labels[i] = (struct head_label){i * 400, 1};
    counts[i] = 1;
  }
  for (uint32_t k = 0; k < 2; k++) {
    const struct head_options options = {64, 0.4f, HEAD_NEGATIVES_OTHERS, HEAD_MARGINS_SCALED, 0};
    assert_int_equal(head_new(MANY, WIDTH, 16, k == 0 ? 1 : THREADS, HEAD_COSFACE, 12, &heads[k], NULL), 0);
    losses[k] =
        head_step(heads[k], &options, embeddings, IMAGES, labels, 1, counts, gradients[k], NULL, NULL);
    head_sgd(heads[k], 0.1f, 0.9f, 5e-4f);
  }
  assert_true(fabs(losses[0] - losses[1]) < 1e-5 * losses[0]);
  for (int i = 0; i < IMAGES * WIDTH; i++)
    assert_true(fabsf(gradients[0][i] - gradients[1][i]) < 1e-5f);
  for (int i = 0; i < MANY * WIDTH; i++)
    assert_true(fabsf(head_weights(heads[0])[i] - head_weights(heads[1])[i]) < 1e-5f);
  head_free(heads[0]);
  head_free(heads[1]);
}

/* As many people as a large data set has, against plain loops in double. */
static void large_head(void **state) {
  (void)state;
  enum { MANY = 20000, WIDTH = 67, IMAGES = 6, STEP = 3331 };
  static float embeddings[IMAGES * WIDTH], gradient[IMAGES * WIDTH];
  static double cosines[MANY], lengths[MANY], want[IMAGES * WIDTH], want_classes[MANY * WIDTH];
  const struct head_options options = {32, 0.25f, HEAD_NEGATIVES_OTHERS, HEAD_MARGINS_SCALED, 0};
  struct head_label labels[IMAGES];
  uint32_t counts[IMAGES];
  struct head *head = NULL;
  assert_int_equal(head_new(MANY, WIDTH, IMAGES, THREADS, HEAD_COSFACE, 3, &head, NULL), 0);
  const float *w = head_weights(head);
  lcg_fill(embeddings, IMAGES * WIDTH, 2, 0.1f);
  double want_loss = 0;
  for (uint32_t c = 0; c < MANY; c++) {
    double square = 0;
    for (uint32_t d = 0; d < WIDTH; d++)
      square += (double)w[c * WIDTH + d] * (double)w[c * WIDTH + d];
    lengths[c] = sqrt(square);
  }
  for (uint32_t i = 0; i < IMAGES; i++) {
    const float *e = embeddings + (size_t)i * WIDTH;
    const uint32_t own = i * STEP;
    labels[i] = (struct head_label){own, 1};
    counts[i] = 1;
    double square = 0, sum = 0;
    for (uint32_t d = 0; d < WIDTH; d++)
      square += (double)e[d] * (double)e[d];
    const double length = sqrt(square);
    for (uint32_t c = 0; c < MANY; c++) {
      double dot = 0;
      for (uint32_t d = 0; d < WIDTH; d++)
        dot += (double)e[d] * (double)w[c * WIDTH + d];
      cosines[c] = dot / length / lengths[c];
      sum += exp(32 * (cosines[c] - (c == own ? 0.25 : 0)));
    }
    want_loss += (log(sum) - 32 * (cosines[own] - 0.25)) / IMAGES;
    for (uint32_t c = 0; c < MANY; c++) {
      const double share = exp(32 * (cosines[c] - (c == own ? 0.25 : 0))) / sum;
      const double slope = 32 * (share - (c == own)) / IMAGES;
      for (uint32_t d = 0; d < WIDTH; d++) {
        const double u = (double)e[d] / length, v = (double)w[c * WIDTH + d] / lengths[c];
        want[i * WIDTH + d] += slope * (v - cosines[c] * u) / length;
        want_classes[c * WIDTH + d] += slope * (u - cosines[c] * v) / lengths[c];
      }
    }
  }
  const double loss = head_step(head, &options, embeddings, IMAGES, labels, 1, counts, gradient, NULL, NULL);
  assert_true(fabs(loss - want_loss) < 1e-5 * want_loss);
  check_close("large head's embeddings", gradient, want, IMAGES * WIDTH, 1e-6, 1e-4);
  check_close("large head's classes", head_gradient(head), want_classes, MANY * WIDTH, 1e-6, 1e-4);
  head_free(head);
}

static void initial_weights(void **state) {
  (void)state;
  struct head *head = NULL, *other = NULL;
  assert_int_equal(head_new(500, 64, 1, THREADS, HEAD_COSFACE, 1, &head, NULL), 0);
  assert_int_equal(head_new(500, 64, 1, 1, HEAD_COSFACE, 1, &other, NULL), 0);
  double sum = 0, square = 0;
  for (int i = 0; i < 32000; i++) {
    sum += (double)head_weights(head)[i];
    square += (double)head_weights(head)[i] * (double)head_weights(head)[i];
  }
  assert_true(fabs(sum / 32000) < 4 * 0.01 / sqrt(32000));
  assert_true(fabs(square / 32000 / 1e-4 - 1) < 0.05);
  assert_memory_equal(head_weights(head), head_weights(other), 32000 * sizeof(float));
  assert_int_equal(head_classes(head), 500);
  head_free(other);
  head_free(head);
}

static void gradient_steps(void **state) {
  (void)state;
  struct problem p;
  struct head *head = NULL;
  float embeddings[BATCH * SIZE], gradient[BATCH * SIZE];
  make_problem(&p, HEAD_COSFACE, HEAD_NEGATIVES_OTHERS, HEAD_MARGINS_SCALED, 16);
  assert_int_equal(head_new(CLASSES, SIZE, BATCH, 1, HEAD_COSFACE, 1, &head, NULL), 0);
  for (uint32_t i = 0; i < BATCH * SIZE; i++)
    embeddings[i] = (float)p.embeddings[i];
  double w = (double)head_weights(head)[3], v = 0;
  double first = 0, last = 0;
  for (int step = 0; step < 5; step++) {
    last = head_step(head, &p.options, embeddings, BATCH, p.labels, STRIDE, p.counts, gradient, NULL, NULL);
    first = step == 0 ? last : first;
    v = 0.9 * v + (double)head_gradient(head)[3] + 5e-4 * w;
    w -= 1e-4 * v;
    head_sgd(head, 1e-4f, 0.9f, 5e-4f);
    assert_true(fabs((double)head_weights(head)[3] - w) < 1e-6 &&
                fabs((double)head_momentum(head)[3] - v) < 1e-5);
  }
  assert_true(last < first);
  head_free(head);
}

static void errors(void **state) {
  (void)state;
  struct guise_error err;
  struct head *head = NULL;
  assert_int_equal(head_new(1, 8, 4, 1, HEAD_COSFACE, 1, &head, &err), -EINVAL);
  assert_non_null(strstr(err.text, "2 to 2^24 people"));
  assert_int_equal(head_new(4, 0, 4, 1, HEAD_COSFACE, 1, &head, &err), -EINVAL);
  assert_int_equal(head_new(4, 8, 0, 1, HEAD_COSFACE, 1, &head, &err), -EINVAL);
  assert_null(head);
  assert_null(head_free(NULL));
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(all_modes),       cmocka_unit_test(weights_are_not_scaled_up),
      cmocka_unit_test(extreme_cosines), cmocka_unit_test(everybody_in_the_mix),
      cmocka_unit_test(many_classes),    cmocka_unit_test(large_head),
      cmocka_unit_test(initial_weights), cmocka_unit_test(gradient_steps),
      cmocka_unit_test(errors),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
