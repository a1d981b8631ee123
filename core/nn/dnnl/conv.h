/* Convolutions, also transposed ones, of the kernel library (oneDNN, C API v2). No other header of the engine
 * mentions it, so that another version of the library is a change in core/nn/dnnl alone.
 *
 * Life: conv_new() chooses algorithms and tells how much memory each format needs; the caller plans an arena;
 * conv_bind() says where everything is; then the passes run without creating anything. The number of threads
 * is the caller's omp_set_num_threads() at the time of conv_new() and of each pass. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/base/base.h"

struct dnnl_context; /* engine, stream and attributes of one graph */
int dnnl_context_new(struct dnnl_context **ret_context, struct guise_error *err);
struct dnnl_context *dnnl_context_free(struct dnnl_context *context);

struct conv_shape {
  uint32_t batch, in_channels, in_height, in_width, out_channels, out_height, out_width;
  uint32_t kernel, stride, padding;
  uint32_t groups; /* at least 1 */
  bool transposed; /* plain weights are (I,O,K,K); no groups */
  uint32_t block;  /* channels a block, 16 or 8 */
  bool bias;
  bool plain_input; /* x is NCHW; otherwise blocked. y and all gradients are blocked */
  bool half;     /* x, y, dx, dy are bfloat16; weights, biases and their gradients are float for the caller */
  bool training; /* backward passes wanted */
  bool input_gradient; /* also with respect to x */
  bool folded;         /* forward only: conv_memory's weights are a buffer that holds the plain weights while
                          conv_load_weights() runs, and no longer */
  bool sum;            /* folded: y += conv, asked for; see conv_sums() */
  size_t scratch_most; /* Winograd not with more scratch memory than this; 0: no limit */
  bool winograd;       /* allowed; taken where conv_wants_winograd() says so and the library has it */
};

enum conv_pass { CONV_FORWARD, CONV_BACKWARD_DATA, CONV_BACKWARD_WEIGHTS, CONV_PASSES };

struct conv;
int conv_new(struct dnnl_context *context, const struct conv_shape *shape, const char *name,
             struct conv **ret_conv, struct guise_error *err);
struct conv *conv_free(struct conv *conv);

/* The written rule, measured once: Winograd F(4x4, 3x3) is 1.2 to 2.4 times as fast as direct convolution in
 * every pass of 3x3 stride-1 layers with whole blocks of channels, at least 32, and outputs of 7x7 at least,
 * as soon as the batch has 48 tiles of 4x4 outputs; below that its transformed weights cost more than they
 * save. That is the library's, for AVX-512. Ours for AVX2 (core/nn/winograd, blocks of 8) gains from 16
 * channels on, and wherever at least half of the tiles' outputs exist: 4x4 and 7x7, not 5x5. */
bool conv_wants_winograd(const struct conv_shape *shape);

/* Bytes of the library's own format of weights (forward, backward data) or their gradient; 0 where the plain
 * (O,I,K,K) memory is used as it is, or where the pass does not exist. */
size_t conv_weights_bytes(const struct conv *conv, enum conv_pass pass);
/* What a pass needs while it runs, and no longer. */
size_t conv_scratch_bytes(const struct conv *conv, enum conv_pass pass);
/* "direct", "winograd" (the library's or ours), "loops" (conv_gradient.h) or "other" (the library's general
 * fallback); NULL where the pass does not exist. */
const char *conv_algorithm(const struct conv *conv, enum conv_pass pass);

/* Whether the library adds to y, at no loss of its algorithm. (It has no fast PReLU as part of a
 * convolution.) */
bool conv_sums(const struct conv *conv);

struct conv_memory {
  void *x, *y, *dx, *dy;
  void *x_again;                     /* x for the gradient of the weights */
  void *y_again;                     /* where conv_run_again() writes y, or NULL */
  float *weights, *weights_gradient; /* plain master (O,I,K,K) and its gradient */
  float *bias, *bias_gradient;       /* (O) or NULL */
  void *own[CONV_PASSES];            /* conv_weights_bytes() each, or NULL */
  void *scratch[CONV_PASSES];        /* conv_scratch_bytes() each */
};
int conv_bind(struct conv *conv, const struct conv_memory *memory, struct guise_error *err);

/* Copies the master weights into the format of a pass (forward or backward data), after they changed. */
int conv_load_weights(struct conv *conv, enum conv_pass pass, struct guise_error *err);
int conv_run(struct conv *conv, enum conv_pass pass, struct guise_error *err);
/* The forward pass once more, to y_again. */
int conv_run_again(struct conv *conv, struct guise_error *err);
