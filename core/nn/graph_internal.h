/* Inside the engine: what a described graph (nodes) becomes when it is built (operations on planned buffers).
 *
 * graph.c       description: nodes, sticky errors
 * build.c       nodes -> operations: follows values forwards and gradients backwards
 * plan.c        life times of buffers -> offsets in one arena
 * run.c         executes the operations
 * layer_*.c     one kind of layer each: its description, its operations, what they do
 * pointwise.c   fusion of batch norm, PReLU and addition; norm.c what the fused operations do
 * planes.c      layers that look at one channel of one image at a time
 * image_norm.c  passes with coefficients an image, for normalisation layers; spectral.c spectral norm
 * parameters.c  initial values, gradient steps, copies; adam.c Adam
 * layout.c      plain (N,C,H,W) floats <-> the engine's blocked tensors
 * dnnl/         everything that knows oneDNN */
#pragma once

#include "core/base/base.h"
#include "core/base/memory.h"
#include "core/freq/dct.h"
#include "core/nn/dnnl/conv.h"
#include "core/nn/graph.h"
#include "core/nn/kernels.h"
#include "core/nn/visit.h"

struct shape {
  uint32_t c, h, w;
};

static inline uint64_t shape_rows(struct shape shape) {
  return (uint64_t)shape.h * shape.w;
}
static inline uint64_t shape_count(struct shape shape) {
  return shape.c * shape_rows(shape);
}

struct node;
struct graph;

/* A kind of layer: one row, in the file that implements it. */
struct layer_type {
  const char *name;
  bool float_value; /* its value stays float in a bfloat16 graph */
  bool half_value;  /* its value is bfloat16 in a bfloat16 graph, whatever it reads */
  bool plain_value; /* its value may be plain ... */
  bool (*reads_plain)(const struct node *node,
                      const struct node *source); /* ... for who reads it so; NULL: does not */
  /* Describes the parameters with parameter_add(); NULL: it has none. */
  int (*parameters)(struct graph *graph, struct node *node);
  /* Appends the forward operations and sets node->value. */
  int (*forward)(struct graph *graph, int index);
  /* Appends the backward operations; dy holds the node's whole gradient. Hands each input its share with
   * contribute(). */
  int (*backward)(struct graph *graph, int index, int dy);
  void (*release)(struct node *node); /* frees what the node owns; NULL: nothing */
  /* Tells a visitor what the layer computes; -ENOTSUP when this setting or the visitor has no word for it.
   * NULL: the kind has none. */
  int (*visit)(const struct graph *graph, int index, const struct graph_visitor *visitor);
};
extern const struct layer_type layer_input, layer_conv, layer_batch_norm, layer_prelu, layer_add,
    layer_dropout, layer_linear, layer_idct, layer_global_conv, layer_conv_transpose, layer_group_norm,
    layer_conditional_norm, layer_concat, layer_reshape, layer_activation, layer_max_pool, layer_average_pool,
    layer_upsample, layer_tap;

enum { GAMMA, BETA, RUNNING_MEAN, RUNNING_VARIANCE };
enum { WEIGHT, BIAS, SPECTRAL_U, SPECTRAL_V };
#define NODE_TRAINABLE 2 /* parameters from here on are statistics */
#define NODE_PARAMETERS 4
#define NORM_EPSILON 1e-5 /* of batch norms */

struct node {
  const struct layer_type *type;
  struct shape shape;
  uint32_t inputs;
  int input[2];
  char *name; /* NULL when the node has no parameters */
  union {     /* by type */
    struct conv_options conv;
    struct {
      uint32_t out;
      bool bias, spectral_norm;
    } linear;
    struct {
      int which; /* see layer_activation.c */
      float slope;
    } activation;
    struct {
      uint32_t height, width, stride, padding;
    } pool;
    struct {
      uint32_t factor;
      enum graph_upsampling how;
    } upsample;
    struct {
      uint32_t groups;
    } group_norm;
    struct {
      uint32_t classes;
    } conditional;
    struct {
      float probability;
      int ordinal; /* the how-manieth dropout of the graph: keys its draws */
    } dropout;
    struct block_idct_options idct; /* arrays owned by the node */
  };
  int parameter[NODE_PARAMETERS]; /* index in graph->parameters or -1 */
  float initial[NODE_PARAMETERS]; /* every value; NAN: drawn; INFINITY: a drawn unit vector */

  /* filled by build.c */
  uint32_t consumers;  /* nodes that read it, the graph's output counted as one */
  bool plain;          /* value is plain NCHW, not blocked */
  bool half;           /* value and gradient are bfloat16, not float */
  bool wants_gradient; /* something before it has parameters or is the input whose gradient is asked for */
  bool fused;    /* its value is never written: it lives inside the element-wise group of a later node */
  bool frozen;   /* described before graph_freeze() */
  bool absorbed; /* a convolution before it computes it: its value is the convolution's */
  int value;     /* buffer, -1 when fused */
  int again;     /* low memory: buffer of the value computed again, -1: not yet */
  int pending;   /* buffer that holds its gradient collected so far, -1 */
  int norm;      /* batch norm, conditional norm: index in graph->norms */
  int extra;     /* buffer: dropout's mask, linear's plain input, the IDCT's scratch, a norm's coefficients */
  int spectral;  /* buffer: weights under spectral norm, -1 without */
  int tap_gradient; /* of a tap: the plain buffer that is added to its gradient; its value is in `extra` */
};

/* A batch norm: coefficients a channel, padded with zeros to whole blocks. */
struct norm {
  int node;
  uint32_t channels, padded;
  uint64_t images_rows; /* batch * H * W: values a channel */
  float *mean, *inverse, *scale,
      *shift;        /* of the last forward: x^ = (x - mean) inverse, y = scale x + shift */
  float *p, *q;      /* backward, see kernels.h */
  double *pooled[2]; /* GRAPH_STATISTICS: sum and sum of squares over all passes */
  uint64_t pooled_count;
  bool from_producer; /* the pass that writes its input gathers its statistics */
};

/* A fused element-wise group: v = norm1(x1) [+ norm2(x2)], y = prelu(v); each norm may be absent. */
struct pointwise {
  int node; /* the last of the group: its value is y */
  uint32_t operands;
  int source[2]; /* nodes that are read */
  int norm[2];   /* index in graph->norms or -1 */
  int prelu;     /* node or -1 */
  int *gather;   /* norms that normalise y, whose statistics are gathered here */
  uint32_t gathers;
};

#define OP_BUFFERS 6

struct op {
  int (*run)(struct graph *graph, const struct op *op, struct guise_error *err);
  const char *what;       /* for profiles */
  int node;               /* the node it belongs to; its shape is the node's unless said otherwise */
  int index;              /* of the convolution or pointwise group */
  int operand;            /* what an operation does of several: its own business */
  int buffer[OP_BUFFERS]; /* -1: none */
  const char *algorithm;  /* of a convolution, else NULL */
  double flops;           /* multiplications and additions of products, else 0 */
  int64_t spent_ns;       /* while profiling */
};

struct buffer {
  size_t bytes;
  bool pinned;         /* lives as long as the graph */
  int32_t first, last; /* operations that touch it first and last */
  size_t offset;       /* in the arena */
};

/* A convolution with its buffers: master weights stay plain, the library's own formats are copies. */
struct conv_slot {
  int node;
  struct conv *conv;
  int x, y, dx, dy;     /* buffers, -1: none */
  int x_again, y_again; /* x and y for the backward pass */
  bool folded;          /* its weights hold a batch norm, if any follows */
  int norm;             /* folded graphs: the batch norm it computes too, -1: none */
  int bias;             /* buffer of the folded bias, -1: none */
  int own[CONV_PASSES]; /* weights in the library's formats, -1 where the plain layout is used */
  int scratch[CONV_PASSES];
};

struct graph {
  struct graph_config config;
  struct guise_error error;                     /* sticky; code 0 = fine */
  const struct kernels *kernels, *kernels_half; /* of float and of bfloat16 tensors */
  uint32_t block;
  bool built;

  struct node *nodes;
  uint32_t node_count;
  int input, output;

  struct graph_parameter *parameters;
  uint32_t parameter_count;
  float *values, *gradients, *momenta; /* trainable parameters, one after the other; those with decay first */
  float *squares;                      /* likewise; NULL without Adam */
  uint64_t decay_count, trainable_count;

  struct norm *norms;
  uint32_t norm_count;
  struct pointwise *groups;
  uint32_t group_count;
  struct conv_slot *convs;
  uint32_t conv_count;

  struct op *ops;
  uint32_t op_count, forward_ops; /* ops[0, forward_ops) are the forward pass */
  struct buffer *buffers;
  uint32_t buffer_count;
  struct arena arena;

  int input_buffer, output_buffer, output_gradient_buffer, input_gradient_buffer; /* plain */
  int parameter_buffers[5], sums_buffer, constants_buffer, norm_buffer;
  int plain_buffer;   /* folded graphs: plain weights of one convolution, while they are loaded */
  int classes_buffer; /* -1: no layer needs classes */
  size_t plain_bytes;

  struct dnnl_context *context;
  struct block_dct *dct;
  double *sums;       /* [threads][4][widest] */
  size_t sums_stride; /* widest padded channel count */
  const float *ones, *zeros;
  bool forward_stale, backward_stale; /* the library's copies of the weights are older than the master */

  enum graph_mode mode; /* of the last forward */
  uint64_t step;
  bool forwarded;
  bool profiling;
};

static inline uint32_t graph_padded(const struct graph *graph, uint32_t channels) {
  return (channels + graph->block - 1) / graph->block * graph->block;
}

static inline size_t node_element(const struct node *node) {
  return node->half ? 2 : sizeof(float);
}

static inline const struct kernels *node_kernels(const struct graph *graph, const struct node *node) {
  return node->half ? graph->kernels_half : graph->kernels;
}

static inline float *graph_buffer(const struct graph *graph, int buffer) {
  return buffer < 0 ? NULL : (float *)(void *)(graph->arena.base + graph->buffers[buffer].offset);
}

static inline struct graph_parameter *node_parameter(const struct graph *graph, const struct node *node,
                                                     int which) {
  return node->parameter[which] < 0 ? NULL : &graph->parameters[node->parameter[which]];
}

/* The jobs of one thread: an even, contiguous share of `count`. */
static inline uint64_t share_begin(uint64_t count, int thread, int threads) {
  return count * (uint64_t)thread / (uint64_t)threads;
}

/* Grows an array by one zeroed element; NULL when out of memory. */
void *array_grow(void **array, uint32_t *count, size_t size);

/* visit.c */
struct graph_value graph_value_of(const struct graph *graph, int index);

/* plan.c */
int plan_buffer(struct graph *graph, size_t bytes, bool pinned); /* buffer index or -ENOMEM */
int plan_arena(struct graph *graph, struct guise_error *err);

/* parameters.c */
int parameters_describe(struct graph *graph); /* from the nodes */
int parameters_plan(struct graph *graph);     /* buffers; before plan_arena */
void parameters_bind(struct graph *graph);    /* pointers and initial values; after plan_arena */

/* build.c: for the layers' forward() and backward(). Buffers are indices; negative = out of memory, with the
 * graph's error set. */
#define GRAPH_FAIL(graph, code, ...) error_set(&(graph)->error, code, __VA_ARGS__)
struct op *graph_emit(struct graph *graph, const char *what,
                      int (*run)(struct graph *graph, const struct op *op, struct guise_error *err), int node,
                      int index);
/* A tensor of the node's shape and layout. */
int graph_tensor(struct graph *graph, const struct node *node);
/* Where the node's value goes: the output's own buffer when the layouts agree, `in_place`'s memory when
 * nobody else needs that (forward-only graphs; -1 = never), else a new buffer. */
int graph_value(struct graph *graph, int index, int in_place);
/* The buffer that holds a node's value in the backward pass; with low memory it may be computed again here.
 */
int graph_value_again(struct graph *graph, int index);
/* May the buffer be overwritten by an operation that is the last to read it? `allowed` nodes may hold it as
 * their pending gradient. */
bool graph_exclusive(const struct graph *graph, int buffer, uint32_t allowed);
/* `fresh` holds a new contribution to the node's gradient; adds what is pending to it. */
int graph_contribute(struct graph *graph, int index, int fresh);
int graph_run_accumulate(struct graph *graph, const struct op *op,
                         struct guise_error *err); /* to, from: to += from */

/* parameters.c, for parameters() of layers: rank and shape as in the public list. `initial`: every value, or
 * NAN for PyTorch's default, U(-1/sqrt(fan_in), 1/sqrt(fan_in)); INFINITY for a random unit vector. */
int parameter_add(struct graph *graph, struct node *node, int which, const char *suffix, uint32_t rank,
                  const uint64_t shape[4], float initial);

/* graph.c, for descriptions. The node `x`, or NULL with the graph's error set. Earlier errors stay. */
const struct node *graph_operand(struct graph *graph, int x, const char *what);
/* Appends a node; the caller fills in what its type needs. NULL with the graph's error set. */
struct node *graph_append(struct graph *graph, const struct layer_type *type, struct shape shape,
                          const char *name);
/* Ends a node call: connects its inputs (-1: none) and returns its id or the graph's error. */
int graph_connect(struct graph *graph, struct node *node, int a, int b);

/* layout.c */
/* Elements of an image of the node's value, padding included. */
size_t layout_count(const struct graph *graph, const struct node *node);
/* Bytes of an image of a blocked tensor of the node's shape and element: values that are not plain, and all
 * gradients. */
size_t layout_blocked_bytes(const struct graph *graph, const struct node *node);
/* Whole batches, to and from blocked tensors: values of nodes that are not plain, and all gradients. */
void layout_pack(const struct graph *graph, const struct node *node, const float *plain, void *tensor);
void layout_unpack(const struct graph *graph, const struct node *node, const void *tensor, float *plain);
/* One image of (c, rows) plain floats. */
void layout_pack_image(const float *plain, struct shape shape, uint32_t block, bool half, void *ret_tensor);
void layout_unpack_image(const void *tensor, struct shape shape, uint32_t block, bool half, float *ret_plain);
int layout_run_pack(struct graph *graph, const struct op *op, struct guise_error *err);   /* plain, tensor */
int layout_run_unpack(struct graph *graph, const struct op *op, struct guise_error *err); /* tensor, plain */

/* layer_conv.c */
int conv_again(struct graph *graph, int index); /* emits the forward pass once more; its new buffer */
int conv_visit(const struct graph *graph, int index, const struct graph_visitor *visitor);
void convs_fold(struct graph *graph); /* marks the batch norms that folded convolutions take over */
int convs_bind(struct graph *graph);  /* after plan_arena */
/* Puts the master weights into the format of a pass (forward or backward data). */
int convs_load_weights(struct graph *graph, enum conv_pass pass, struct guise_error *err);

/* spectral.c, for layers with weights (O, ...): the statistics u and v; W / sigma before each forward pass;
 * the way back for the weights' gradient, after it was computed; the weights to be used. */
int spectral_parameters(struct graph *graph, struct node *node);
int spectral_forward(struct graph *graph, int index);
int spectral_backward(struct graph *graph, int index);
float *spectral_weights(const struct graph *graph, const struct node *node);
void spectral_unit(float *vector, size_t count); /* vector /= its length */

/* pointwise.c */
int pointwise_find(struct graph *graph);             /* groups and norms; before the forward operations */
int pointwise_again(struct graph *graph, int index); /* emits a group once more; its new buffer */

/* norm.c: what the operations of groups do */
int norms_plan(struct graph *graph);
/* y = scale x + shift with the running statistics of a batch norm node, one channel. */
void norm_folded(const struct graph *graph, int index, uint32_t channel, double *ret_scale,
                 double *ret_shift);
void norms_bind(struct graph *graph);
/* Mean and inverse deviation of a norm whose input is x, as the mode says; running statistics move. */
void norm_prepare(struct graph *graph, int index, const void *x);
int pointwise_run_forward(struct graph *graph, const struct op *op, struct guise_error *err); /* x1, x2, y */
int pointwise_run_reduce(struct graph *graph, const struct op *op, struct guise_error *err);  /* dy, x1, x2 */
int pointwise_run_backward(struct graph *graph, const struct op *op,
                           struct guise_error *err); /* dy, x, addend, dx */
