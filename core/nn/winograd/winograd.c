#include "core/nn/winograd/winograd.h"

#include <omp.h>

#include "core/base/base.h"
#include "core/nn/winograd/tiles.h"

/* ---- the tiles of all images, in pieces ---- */

struct pieces {
  uint32_t down, across, tiles; /* tiles of an image, and of all */
  uint32_t tiles_most, count;   /* tiles of a piece; pieces */
};

static struct pieces divide(const struct winograd_shape *s, uint32_t wanted) {
  struct pieces p = {.down = (s->height + 3) / 4, .across = (s->width + 3) / 4};
  p.tiles = s->batch * p.down * p.across;
  const uint32_t count = (p.tiles + wanted - 1) / wanted;
  p.tiles_most = (p.tiles + count - 1) / count;
  p.tiles_most = (p.tiles_most + WINOGRAD_ROWS - 1) / WINOGRAD_ROWS * WINOGRAD_ROWS;
  p.count = (p.tiles + p.tiles_most - 1) / p.tiles_most;
  return p;
}

/* Of the forward pass: what a thread works on should stay in its second-level cache; wide layers need many
 * tiles, or they would wait for their weights, which they read once a piece. */
static struct pieces forward_pieces(const struct winograd_shape *s) {
  const uint32_t fit = (96u << 10) / (WINOGRAD_PLACES * (s->in_channels + s->out_channels));
  const uint32_t least = s->in_channels * s->out_channels >= 128 * 128 ? 48 : 12;
  return divide(s, MAX(fit, least));
}

/* Of the gradient: all threads work on one piece; the longer it is, the seldomer the sums are loaded. */
static struct pieces gradient_pieces(const struct winograd_shape *s) {
  const uint32_t fit = (512u << 10) / (WINOGRAD_PLACES * (s->in_channels + s->out_channels));
  return divide(s, MAX(fit, 96));
}

static struct winograd_tile tile_of(const struct winograd_shape *s, const struct pieces *p, uint32_t tile,
                                    uint32_t channels) {
  const uint32_t an_image = p->down * p->across, within = tile % an_image;
  return (struct winograd_tile){
      channels, s->height, s->width, tile / an_image, within / p->across * 4, within % p->across * 4};
}

static size_t piece_floats(const struct winograd_shape *s, const struct pieces *p) {
  return (size_t)WINOGRAD_PLACES * p->tiles_most * ((size_t)s->in_channels + s->out_channels);
}

size_t winograd_forward_scratch(const struct winograd_shape *s) {
  const struct pieces p = forward_pieces(s);
  return piece_floats(s, &p) * s->threads;
}

size_t winograd_gradient_scratch(const struct winograd_shape *s) {
  const struct pieces p = gradient_pieces(s);
  return piece_floats(s, &p);
}

/* ---- what the processor can do ---- */

#if defined(__x86_64__)
static const struct winograd_kernels *const kernels = &winograd_avx2;

bool winograd_available(void) {
  return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
}
#else
static const struct winograd_kernels *const kernels = NULL;

bool winograd_available(void) {
  return false;
}
#endif

/* ---- weights ---- */

/* Transformed weights are (36, O/16, I, 16). */
static void transform(const struct winograd_shape *s, const float *plain, size_t out_stride, size_t in_stride,
                      bool turned, float *ret_weights) {
  const size_t place = (size_t)s->in_channels * s->out_channels;
#pragma omp parallel for schedule(static) num_threads((int)s->threads)
  for (uint32_t panel = 0; panel < s->out_channels / WINOGRAD_PANEL; panel++)
    for (uint32_t i = 0; i < s->in_channels; i++)
      kernels->weights(plain + panel * WINOGRAD_PANEL * out_stride + i * in_stride, out_stride, turned, place,
                       ret_weights + ((size_t)panel * s->in_channels + i) * WINOGRAD_PANEL);
}

void winograd_weights(const struct winograd_shape *s, const float *plain, float *ret_weights) {
  transform(s, plain, (size_t)s->in_channels * 9, 9, false, ret_weights);
}

void winograd_turned_weights(const struct winograd_shape *s, const float *plain, float *ret_weights) {
  transform(s, plain, 9, (size_t)s->out_channels * 9, true, ret_weights);
}

/* ---- passes ---- */

/* m (tiles, O) = v (tiles, I) times the weights of one place. */
static void multiply_place(const struct winograd_shape *s, const float *v, uint32_t tiles,
                           const float *weights, float *m) {
  for (uint32_t o = 0; o < s->out_channels; o += WINOGRAD_PANEL)
    for (uint32_t t = 0; t < tiles; t += WINOGRAD_ROWS)
      kernels->product(MIN(WINOGRAD_ROWS, tiles - t), s->in_channels, v + (size_t)t * s->in_channels,
                       s->in_channels, 1, weights + (size_t)o * s->in_channels, WINOGRAD_PANEL, false,
                       m + (size_t)t * s->out_channels + o, s->out_channels);
}

void winograd_forward(const struct winograd_shape *s, const float *x, const float *weights, const float *bias,
                      bool add, float *scratch, float *y) {
  const struct pieces p = forward_pieces(s);
  const size_t v_place = (size_t)p.tiles_most * s->in_channels,
               m_place = (size_t)p.tiles_most * s->out_channels;
#pragma omp parallel for schedule(static) num_threads((int)s->threads)
  for (uint32_t piece = 0; piece < p.count; piece++) {
    const uint32_t first = piece * p.tiles_most, tiles = MIN(p.tiles_most, p.tiles - first);
    float *v = scratch + (size_t)omp_get_thread_num() * piece_floats(s, &p),
          *m = v + WINOGRAD_PLACES * v_place;
    for (uint32_t t = 0; t < tiles; t++) {
      const struct winograd_tile tile = tile_of(s, &p, first + t, s->in_channels);
      kernels->input(&tile, x, v_place, v + (size_t)t * s->in_channels);
    }
    for (uint32_t place = 0; place < WINOGRAD_PLACES; place++)
      multiply_place(s, v + place * v_place, tiles,
                     weights + (size_t)place * s->in_channels * s->out_channels, m + place * m_place);
    for (uint32_t t = 0; t < tiles; t++) {
      const struct winograd_tile tile = tile_of(s, &p, first + t, s->out_channels);
      kernels->output(&tile, m + (size_t)t * s->out_channels, m_place, bias, add, y);
    }
  }
}

/* sums (I, O) of one place and a panel of outputs (= or +=) v' d, over the tiles of a piece. */
static void multiply_gradient(const struct winograd_shape *s, const float *v, const float *d, uint32_t tiles,
                              bool add, float *sums) {
  for (uint32_t i = 0; i < s->in_channels; i += WINOGRAD_ROWS)
    kernels->product(MIN(WINOGRAD_ROWS, s->in_channels - i), tiles, v + i, 1, s->in_channels, d,
                     s->out_channels, add, sums + (size_t)i * s->out_channels, s->out_channels);
}

void winograd_gradient(const struct winograd_shape *s, const float *x, const float *dy, float *scratch,
                       float *transformed, float *ret_gradient) {
  const struct pieces p = gradient_pieces(s);
  const size_t v_place = (size_t)p.tiles_most * s->in_channels,
               d_place = (size_t)p.tiles_most * s->out_channels,
               place_size = (size_t)s->in_channels * s->out_channels;
  const uint32_t panels = s->out_channels / WINOGRAD_PANEL;
  float *v = scratch, *d = scratch + WINOGRAD_PLACES * v_place;
#pragma omp parallel num_threads((int)s->threads)
  {
    for (uint32_t piece = 0; piece < p.count; piece++) {
      const uint32_t first = piece * p.tiles_most, tiles = MIN(p.tiles_most, p.tiles - first);
#pragma omp for schedule(static)
      for (uint32_t t = 0; t < tiles; t++) {
        const struct winograd_tile in = tile_of(s, &p, first + t, s->in_channels),
                                   out = tile_of(s, &p, first + t, s->out_channels);
        kernels->input(&in, x, v_place, v + (size_t)t * s->in_channels);
        kernels->gradient(&out, dy, d_place, d + (size_t)t * s->out_channels);
      }
#pragma omp for schedule(static) collapse(2)
      for (uint32_t place = 0; place < WINOGRAD_PLACES; place++)
        for (uint32_t panel = 0; panel < panels; panel++)
          multiply_gradient(s, v + place * v_place, d + place * d_place + panel * WINOGRAD_PANEL, tiles,
                            piece > 0, transformed + place * place_size + panel * WINOGRAD_PANEL);
    }
#pragma omp for schedule(static)
    for (uint32_t panel = 0; panel < panels; panel++)
      for (uint32_t i = 0; i < s->in_channels; i++)
        kernels->weights_gradient(transformed + (size_t)i * s->out_channels + panel * WINOGRAD_PANEL,
                                  place_size, (size_t)s->in_channels * 9,
                                  ret_gradient + ((size_t)panel * WINOGRAD_PANEL * s->in_channels + i) * 9);
  }
}
