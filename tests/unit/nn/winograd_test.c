/* Winograd against plain loops in double: forward, with respect to the input and to the weights, for maps
 * that tiles do and do not fill, and the same bits from any number of threads. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
// cmocka needs the four headers above
#include <cmocka.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/base.h"
#include "core/nn/winograd/winograd.h"

/* Of the largest value of the right result: F(4x4, 3x3) in float loses about a digit. */
#define TOLERANCE 3e-5

static const struct winograd_shape shapes[] = {
    {1, 16, 16, 1, 1, 1},   {2, 16, 32, 4, 4, 2},   {3, 32, 16, 7, 7, 1},   {1, 48, 16, 5, 13, 2},
    {2, 16, 80, 6, 3, 3},   {5, 32, 32, 9, 8, 2},   {1, 128, 144, 8, 8, 2}, {64, 16, 16, 8, 8, 2},
    {2, 256, 64, 12, 4, 2}, {7, 64, 64, 14, 14, 2}, {8, 16, 16, 32, 32, 2}}; /* the last: the gradient's sum
                                                                                over two pieces */

static uint32_t lcg = 1;

static float *noise(size_t count) {
  float *values = malloc(count * sizeof(float));
  assert_non_null(values);
  for (size_t i = 0; i < count; i++) {
    lcg = lcg * 1664525u + 1013904223u;
    values[i] = (float)(lcg >> 8) / (float)(1u << 24) - 0.45f;
  }
  return values;
}

/* Of (N, C/8, H, W, 8). */
static size_t at(const struct winograd_shape *s, uint32_t channels, uint32_t n, uint32_t c, uint32_t y,
                 uint32_t x) {
  return ((((size_t)n * (channels / 8) + c / 8) * s->height + y) * s->width + x) * 8 + c % 8;
}

/* Calls what with every product of the convolution: where in x, in the weights and in y. */
static void each_product(const struct winograd_shape *s,
                         void (*what)(void *context, size_t x, size_t weight, size_t y), void *context) {
  for (uint32_t n = 0; n < s->batch; n++)
    for (uint32_t o = 0; o < s->out_channels; o++)
      for (uint32_t i = 0; i < s->in_channels; i++)
        for (uint32_t y = 0; y < s->height; y++)
          for (uint32_t x = 0; x < s->width; x++)
            for (uint32_t place = 0; place < 9; place++) {
              const uint32_t row = y + place / 3 - 1, column = x + place % 3 - 1; /* huge when outside */
              if (row < s->height && column < s->width)
                what(context, at(s, s->in_channels, n, i, row, column),
                     ((size_t)o * s->in_channels + i) * 9 + place, at(s, s->out_channels, n, o, y, x));
            }
}

struct operands {
  const float *x, *weights, *dy;
  double *y, *dx, *gradient;
};

static void multiply(void *context, size_t x, size_t weight, size_t y) {
  struct operands *o = context;
  o->y[y] += (double)o->x[x] * (double)o->weights[weight];
  o->dx[x] += (double)o->dy[y] * (double)o->weights[weight];
  o->gradient[weight] += (double)o->x[x] * (double)o->dy[y];
}

static void check_close(const char *what, const struct winograd_shape *s, const float *got,
                        const double *want, size_t count) {
  double most = 0, error = 0;
  for (size_t i = 0; i < count; i++) {
    most = fmax(most, fabs(want[i]));
    error = fmax(error, fabs((double)got[i] - want[i]));
    if (!isfinite(got[i]))
      error = INFINITY;
  }
  if (!(error <= TOLERANCE * most))
    fail_msg("%s of %u x %u x %u x %u to %u: error %g of %g", what, s->batch, s->in_channels, s->height,
             s->width, s->out_channels, error, most);
}

/* All memory of one shape. */
struct bench {
  size_t x_count, y_count, weights_count;
  float *x, *dy, *weights, *bias, *y, *dx, *gradient, *own, *scratch;
  struct operands right;
};

static float *filled(size_t count) {
  float *values = malloc(MAX(count, (size_t)1) * sizeof(float));
  assert_non_null(values);
  for (size_t i = 0; i < count; i++)
    values[i] = NAN; /* whoever reads what was not written shows it */
  return values;
}

static void bench_init(struct bench *b, const struct winograd_shape *s) {
  const size_t plane = (size_t)s->batch * s->height * s->width;
  b->x_count = plane * s->in_channels;
  b->y_count = plane * s->out_channels;
  b->weights_count = (size_t)s->in_channels * s->out_channels * 9;
  b->x = noise(b->x_count);
  b->dy = noise(b->y_count);
  b->weights = noise(b->weights_count);
  b->bias = noise(s->out_channels);
  b->y = filled(b->y_count);
  b->dx = filled(b->x_count);
  b->gradient = filled(b->weights_count);
  b->own = filled(winograd_weights_count(s));
  const struct winograd_shape turned = {s->batch,  s->out_channels, s->in_channels,
                                        s->height, s->width,        s->threads};
  b->scratch = filled(
      MAX(MAX(winograd_forward_scratch(s), winograd_forward_scratch(&turned)), winograd_gradient_scratch(s)));
  b->right = (struct operands){b->x,
                               b->weights,
                               b->dy,
                               calloc(b->y_count, sizeof(double)),
                               calloc(b->x_count, sizeof(double)),
                               calloc(b->weights_count, sizeof(double))};
  assert_true(b->right.y && b->right.dx && b->right.gradient);
}

static void bench_done(struct bench *b) {
  float *floats[] = {b->x, b->dy, b->weights, b->bias, b->y, b->dx, b->gradient, b->own, b->scratch};
  for (size_t i = 0; i < ARRAY_SIZE(floats); i++)
    free(floats[i]);
  free(b->right.y);
  free(b->right.dx);
  free(b->right.gradient);
}

static void run_all(struct bench *b, const struct winograd_shape *s, bool add) {
  const struct winograd_shape turned = {s->batch,  s->out_channels, s->in_channels,
                                        s->height, s->width,        s->threads};
  winograd_weights(s, b->weights, b->own);
  winograd_forward(s, b->x, b->own, add ? NULL : b->bias, add, b->scratch, b->y);
  winograd_turned_weights(&turned, b->weights, b->own);
  winograd_forward(&turned, b->dy, b->own, NULL, false, b->scratch, b->dx);
  winograd_gradient(s, b->x, b->dy, b->scratch, b->own, b->gradient);
}

static void needs_processor(void) {
  if (!winograd_available()) {
    print_message("SKIPPED: this processor has no AVX2\n");
    skip();
  }
}

static void equals_plain_loops(void **state) {
  (void)state;
  needs_processor();
  for (size_t i = 0; i < ARRAY_SIZE(shapes); i++) {
    const struct winograd_shape *s = &shapes[i];
    struct bench b;
    bench_init(&b, s);
    each_product(s, multiply, &b.right);
    for (uint32_t n = 0; n < s->batch; n++)
      for (uint32_t c = 0; c < s->out_channels; c++)
        for (uint32_t pixel = 0; pixel < s->height * s->width; pixel++)
          b.right.y[at(s, s->out_channels, n, c, 0, 0) + (size_t)8 * pixel] += (double)b.bias[c];
    run_all(&b, s, false);
    check_close("y", s, b.y, b.right.y, b.y_count);
    check_close("dx", s, b.dx, b.right.dx, b.x_count);
    check_close("gradient", s, b.gradient, b.right.gradient, b.weights_count);
    /* once more without the bias, added to what is there: bias + 2 conv */
    for (size_t k = 0; k < b.y_count; k++)
      b.right.y[k] *= 2;
    for (uint32_t n = 0; n < s->batch; n++)
      for (uint32_t c = 0; c < s->out_channels; c++)
        for (uint32_t pixel = 0; pixel < s->height * s->width; pixel++)
          b.right.y[at(s, s->out_channels, n, c, 0, 0) + (size_t)8 * pixel] -= (double)b.bias[c];
    run_all(&b, s, true);
    check_close("added y", s, b.y, b.right.y, b.y_count);
    bench_done(&b);
  }
}

static void threads_change_no_bit(void **state) {
  (void)state;
  needs_processor();
  struct winograd_shape s = {9, 32, 48, 21, 19, 1};
  struct bench alone, many;
  lcg = 7;
  bench_init(&alone, &s);
  run_all(&alone, &s, false);
  for (s.threads = 2; s.threads <= 5; s.threads++) {
    lcg = 7;
    bench_init(&many, &s);
    run_all(&many, &s, false);
    assert_memory_equal(alone.y, many.y, alone.y_count * sizeof(float));
    assert_memory_equal(alone.dx, many.dx, alone.x_count * sizeof(float));
    assert_memory_equal(alone.gradient, many.gradient, alone.weights_count * sizeof(float));
    bench_done(&many);
  }
  bench_done(&alone);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(equals_plain_loops),
                                     cmocka_unit_test(threads_change_no_bit)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
