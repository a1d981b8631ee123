/* The network engine: a static graph of nodes with planned memory, on oneDNN.
 *
 * A network is described once by calls that append nodes, then graph_build() checks shapes, chooses memory
 * formats (blocked by 16 channels with AVX-512, by 8 with AVX2, chosen at run time), plans one arena for
 * activations and gradients by their life times, and creates every oneDNN primitive. After that a step
 * allocates nothing in our code and creates no primitive.
 *
 * Node calls return a node id >= 0, or a negative errno that stays with the graph: later calls pass it on and
 * graph_build() returns it with its message, so that a network reads as straight code. All shapes are per
 * image, (channels, height, width); the batch size is the graph's. A graph is used by one thread at a time
 * (it runs OpenMP inside). */
#pragma once

#include <stdint.h>

#include "core/base/base.h"

enum graph_mode {
  GRAPH_TRAIN,      /* batch statistics, running statistics updated (momentum 0.1), dropout on */
  GRAPH_EVAL,       /* running statistics, dropout off */
  GRAPH_STATISTICS, /* like EVAL for dropout, batch statistics for normalisation, which are pooled: see below
                     */
};

enum graph_optimizer { GRAPH_SGD, GRAPH_ADAM };

/* Bilinear as PyTorch's with align_corners=false. */
enum graph_upsampling { UPSAMPLE_NEAREST, UPSAMPLE_BILINEAR };

struct graph_config {
  uint32_t batch;   /* images a step */
  uint32_t threads; /* OpenMP threads; the caller's thread gets omp_set_num_threads(threads) in graph_build */
  bool training;    /* plan gradients; false = forward only, less memory */
  bool input_gradient; /* also plan the gradient of the input */
  bool winograd;       /* Winograd where the written rule says so and the library has it */
  /* bfloat16 tensors and convolutions from the input to the linear layers; parameters, statistics, linear
   * layers and what follows them stay float. Needs AVX512_BF16. */
  bool bfloat16;
  /* Training: what is cheap to compute (batch norms, PReLUs, additions, the first convolution) is computed
   * again for the backward pass instead of kept, the library's copies of weights are made when they are
   * needed, and Winograd is left out where it needs more memory than the largest tensor. The same results but
   * for that and, in bfloat16, the order of roundings. */
  bool low_memory;
  /* Forward-only graphs, in GRAPH_EVAL alone: batch norms that follow a convolution disappear into its
   * weights, and additions into the convolution where the library can. */
  bool folded;
  enum graph_optimizer optimizer; /* GRAPH_ADAM: memory for second moments too */
  uint64_t seed;                  /* of initial weights and dropout */
};

struct graph;

/* Whether config.bfloat16 is possible here. */
bool graph_bfloat16_supported(void);

int graph_new(const struct graph_config *config, struct graph **ret_graph, struct guise_error *err);
struct graph *graph_free(struct graph *graph);

/* ---- description ---- `name` prefixes the node's parameters ("stem.conv" -> "stem.conv.weight") and must be
 * unique. */
int graph_input(struct graph *graph, uint32_t channels, uint32_t height, uint32_t width);
struct conv_options {
  uint32_t out_channels, kernel, stride, padding; /* square kernel */
  bool bias;
  uint32_t groups;    /* 0 and 1: none; more: out_channels are as many as the input's; as many as channels:
                         depthwise. Weights are (O, I/groups, K, K) */
  bool spectral_norm; /* weights over their largest singular value: adds statistics "weight_u", "weight_v" */
};
int graph_conv(struct graph *graph, int x, const char *name, const struct conv_options *options);
/* Transposed convolution, weights (I,O,K,K): (H,W) becomes (H-1) stride - 2 padding + kernel. Neither groups
 * nor spectral norm. */
int graph_conv_transpose(struct graph *graph, int x, const char *name, const struct conv_options *options);
int graph_batch_norm(struct graph *graph, int x, const char *name); /* eps 1e-5; over (N,H,W) */
int graph_prelu(struct graph *graph, int x, const char *name);      /* a slope a channel, initially 0.25 */
/* Mean and variance of each of `groups` groups of neighbouring channels of each image; eps 1e-5. */
int graph_group_norm(struct graph *graph, int x, const char *name, uint32_t groups);
/* Batch norm with gain and bias of the image's class, rows of tables (classes, C); see graph_classes(). Its
 * running statistics are batch norm's in all modes. */
int graph_conditional_norm(struct graph *graph, int x, const char *name, uint32_t classes);
int graph_add(struct graph *graph, int a, int b);
int graph_concat(struct graph *graph, int a, int b); /* along channels */
/* The same values in plain order under another shape: C H W must be the same. */
int graph_reshape(struct graph *graph, int x, uint32_t channels, uint32_t height, uint32_t width);
int graph_leaky_relu(struct graph *graph, int x, float slope); /* slope >= 0; 0: relu */
int graph_sigmoid(struct graph *graph, int x);
int graph_tanh(struct graph *graph, int x);
/* Square windows, padding at most half of the kernel; an average counts padding as zeros. */
int graph_max_pool(struct graph *graph, int x, uint32_t kernel, uint32_t stride, uint32_t padding);
int graph_average_pool(struct graph *graph, int x, uint32_t kernel, uint32_t stride, uint32_t padding);
int graph_global_average_pool(struct graph *graph, int x); /* (C,1,1) */
int graph_upsample(struct graph *graph, int x, uint32_t factor, enum graph_upsampling how);
int graph_dropout(struct graph *graph, int x, float probability);
/* Makes the value of x readable after a forward pass, and takes a gradient of it besides the one that comes
 * from its readers: for losses on hidden layers, see graph_tap_data(). Graphs that are not for training have
 * no taps: x. */
int graph_tap(struct graph *graph, int x);
int graph_linear(struct graph *graph, int x, const char *name, uint32_t out,
                 bool bias); /* flattens (C,H,W) in plain order */
int graph_linear_spectral(struct graph *graph, int x, const char *name, uint32_t out,
                          bool bias); /* with spectral norm, see conv_options */
/* Fixed linear layer: template (C,G,G) -> pixels (3,8G,8G): coefficient[channel[c]] = deviation[c] * x[c] +
 * mean[c], what is not listed is 0, inverse orthonormal 8x8 block DCT (core/freq), divided by pixel_scale.
 * Its input gradient is the transpose. */
struct block_idct_options {
  uint32_t channels; /* C */
  const uint16_t *channel;
  const float *mean, *deviation;
  float pixel_scale;
};
int graph_block_idct(struct graph *graph, int x, const struct block_idct_options *options);

/* Nothing described until now is trained: its parameters have neither gradients nor momenta and stay to the
 * bit, its batch norms use their running statistics in every mode, and the backward pass ends there. */
int graph_freeze(struct graph *graph);

int graph_output(struct graph *graph,
                 int x); /* names the result; its gradient is the backward pass's start */
int graph_build(struct graph *graph, struct guise_error *err);

/* ---- running ---- Buffers are plain NCHW float, owned by the graph, 64-byte aligned. */
float *graph_input_data(struct graph *graph);           /* (batch, C, H, W): fill before forward */
const float *graph_output_data(struct graph *graph);    /* (batch, C, H, W) of the output node */
float *graph_output_gradient(struct graph *graph);      /* fill before backward */
const float *graph_input_gradient(struct graph *graph); /* NULL unless config.input_gradient */
/* The classes of the batch's images, (batch), initially 0: fill before forward. NULL when no layer needs
 * them. */
uint32_t *graph_classes(struct graph *graph);

/* The taps in the order of the description, plain (batch, C, H, W). A backward pass adds `gradient`,
 * initially 0, and sets it to 0 again: fill it between the passes. */
struct graph_tap {
  size_t count; /* C H W */
  const float *value;
  float *gradient;
};
uint32_t graph_taps(const struct graph *graph);
struct graph_tap graph_tap_data(const struct graph *graph, uint32_t i);

/* step: keys dropout. 0, or -EIO with err when the kernel library fails. */
int graph_forward(struct graph *graph, enum graph_mode mode, uint64_t step, struct guise_error *err);
/* After a forward in GRAPH_TRAIN or GRAPH_EVAL (attacks differentiate in evaluation mode); overwrites
 * parameter gradients. */
int graph_backward(struct graph *graph, struct guise_error *err);

/* Recomputing normalisation statistics: reset, GRAPH_STATISTICS forwards, finish: running mean and variance
 * become those of all images seen in the passes (pooled mean; variance = pooled second moment, unbiased as in
 * training). */
void graph_statistics_reset(struct graph *graph);
void graph_statistics_finish(struct graph *graph);
/* Which of `count` images, listed person by person, is sample i of a pass of `batch` images. Each pass is
 * normalised by itself, so it must hold as many people as a training batch does: a pass of one person would
 * lose what tells people apart, and with it the variance that deeper layers see. Passes take every n-th
 * image. */
static inline uint32_t graph_statistics_image(uint32_t pass, uint32_t passes, uint32_t batch, uint32_t i,
                                              uint32_t count) {
  return (uint32_t)(((uint64_t)i * passes + pass) * count / ((uint64_t)passes * batch));
}

/* What batch norms hold: gains and biases with their momenta, running statistics. A second set of them is
 * `size` numbers: saved from the graph, it begins as a copy; swapped, graph and copy change places, so that
 * steps train the set that is in the graph. */
uint64_t graph_norms_size(const struct graph *graph);
void graph_norms_save(const struct graph *graph, float *ret_set);
void graph_norms_swap(struct graph *graph, float *set);

/* ---- parameters ---- in plain layouts: conv (O,I,K,K), linear (O,I), vectors (C). Includes running
 * statistics. */
struct graph_parameter {
  const char *name;
  uint32_t rank;
  uint64_t shape[4];
  size_t count;
  float *value;    /* plain layout; call graph_parameters_changed after writing */
  float *gradient; /* NULL for running statistics and graphs without training */
  float *momentum; /* likewise; Adam's first moment */
  float *square;   /* Adam's second moment; NULL unless config.optimizer is GRAPH_ADAM */
  bool decay;      /* weight decay applies (conv and linear weights; not biases, batch norm, PReLU) */
};
uint32_t graph_parameters(struct graph *graph);
struct graph_parameter *graph_parameter(struct graph *graph, uint32_t i);
uint64_t graph_trained_numbers(struct graph *graph); /* of parameters with gradients */
void graph_parameters_changed(struct graph *graph);
/* Gradients of all parameters that have them, one after the other with zeros in between, as the last backward
 * pass left them and the next gradient step takes them. NULL without training. ret_count may be NULL. */
float *graph_gradients(struct graph *graph, uint64_t *ret_count);
/* Copies values (not gradients, not momenta) between graphs of the same description, whatever their batch.
 * -EINVAL if different. */
int graph_copy_parameters(struct graph *target, struct graph *source, struct guise_error *err);

/* v = momentum v + (g + decay w); w -= rate v   (as in PyTorch), on parameters with gradients. */
void graph_sgd(struct graph *graph, float rate, float momentum, float decay);

/* Adam as in PyTorch, on parameters with gradients; weight decay is added to the gradient, or decoupled from
 * it (AdamW). Steps count from 1. -EINVAL unless config.optimizer is GRAPH_ADAM. */
struct adam_options {
  float rate, beta1, beta2, epsilon, decay;
  bool decoupled;
};
int graph_adam(struct graph *graph, const struct adam_options *options, uint64_t step,
               struct guise_error *err);

/* Where the time goes: seconds of each operation, added up while profiling is on. Rows come in the order of
 * execution, forward before backward. */
struct graph_profile_row {
  const char *layer;     /* its name, or its kind where it has none */
  const char *kind;      /* "conv", "batch norm", ... */
  const char *operation; /* "forward", "backward data", ... */
  const char *algorithm; /* of convolutions, else NULL */
  double seconds;
  double flops; /* a pass, multiplications and additions, of convolutions and linear layers; else 0 */
  double bytes; /* a pass: what it must at least read and write */
};
void graph_profile(struct graph *graph, bool on); /* off: the rows stay; on: they start from 0 */
uint32_t graph_profile_rows(const struct graph *graph);
struct graph_profile_row graph_profile_row(const struct graph *graph, uint32_t i);

size_t graph_arena_bytes(const struct graph *graph);
/* Names the algorithm each convolution pass uses, one line each ("stem.conv forward direct"), for
 * checkpoints; freed by the caller. */
char *graph_algorithms(const struct graph *graph);
