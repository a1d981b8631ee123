/* Inside the engine: what a described graph (nodes) becomes when it is built (operations on planned buffers).
 *
 * graph.c       description: nodes, shapes, sticky errors
 * build.c       nodes -> operations: fuses element-wise nodes, follows gradients backwards
 * plan.c        life times of buffers -> offsets in one arena
 * run.c         executes the operations
 * norm.c        batch norm's statistics and coefficients, and the fused element-wise operations
 * parameters.c  initial values, gradient steps, copies
 * dnnl_*.c      everything that knows oneDNN */
#pragma once

#include "core/base/base.h"
#include "core/base/memory.h"
#include "core/freq/dct.h"
#include "core/nn/dnnl_conv.h"
#include "core/nn/graph.h"
#include "core/nn/kernels.h"

struct shape {
  uint32_t c, h, w;
};

static inline uint64_t shape_rows(struct shape shape) {
  return (uint64_t)shape.h * shape.w;
}
static inline uint64_t shape_count(struct shape shape) {
  return shape.c * shape_rows(shape);
}

enum node_kind {
  NODE_INPUT,
  NODE_CONV,
  NODE_BATCH_NORM,
  NODE_PRELU,
  NODE_ADD,
  NODE_DROPOUT,
  NODE_LINEAR,
  NODE_IDCT
};

enum { GAMMA, BETA, RUNNING_MEAN, RUNNING_VARIANCE };
enum { WEIGHT, BIAS };
#define NODE_PARAMETERS 4

struct node {
  enum node_kind kind;
  struct shape shape;
  uint32_t inputs;
  int input[2];
  char *name; /* NULL when the node has no parameters */
  struct conv_options conv;
  struct { /* linear */
    uint32_t out;
    bool bias;
  } linear;
  float probability;              /* dropout */
  struct block_idct_options idct; /* arrays owned by the node */
  int parameter[NODE_PARAMETERS]; /* index in graph->parameters or -1 */

  /* filled by build.c */
  uint32_t consumers;  /* nodes that read it, the graph's output counted as one */
  bool plain;          /* value is plain NCHW, not blocked */
  bool wants_gradient; /* something before it has parameters or is the input whose gradient is asked for */
  bool fused;  /* its value is never written: it lives inside the element-wise group of a later node */
  int value;   /* buffer, -1 when fused */
  int pending; /* buffer that holds its gradient collected so far, -1 */
  int norm;    /* batch norm: index in graph->norms */
  int extra;   /* buffer: dropout's mask, linear's plain input, the IDCT's scratch */
  int ordinal; /* dropout: the how-manieth */
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

enum op_kind {
  OP_PACK,   /* plain -> blocked: from, to */
  OP_UNPACK, /* blocked -> plain: from, to */
  OP_CONV_FORWARD,
  OP_CONV_BACKWARD_WEIGHTS,
  OP_CONV_BACKWARD_DATA,
  OP_POINTWISE_FORWARD,  /* x1, x2, y */
  OP_POINTWISE_REDUCE,   /* dy, x1, x2 */
  OP_POINTWISE_BACKWARD, /* dy, x, addend, dx for one operand */
  OP_ACCUMULATE,         /* to += from */
  OP_DROPOUT_FORWARD,    /* x, y, mask */
  OP_DROPOUT_BACKWARD,   /* dy, dx, mask */
  OP_LINEAR_FORWARD,     /* x, packed x, y */
  OP_LINEAR_BACKWARD,    /* dy, packed x, dx, packed dx */
  OP_IDCT_FORWARD,       /* x, y, scratch */
  OP_IDCT_BACKWARD,      /* dy, dx, scratch */
};

#define OP_BUFFERS 6

struct op {
  enum op_kind kind;
  int node;               /* the node it belongs to; its shape is the node's unless said otherwise */
  int index;              /* of the conv or pointwise group, or the operand */
  int operand;            /* OP_POINTWISE_BACKWARD */
  int buffer[OP_BUFFERS]; /* -1: none */
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
  int own[CONV_PASSES]; /* weights in the library's formats, -1 where the plain layout is used */
};

struct graph {
  struct graph_config config;
  struct guise_error error; /* sticky; code 0 = fine */
  const struct kernels *kernels;
  uint32_t block;
  bool built;

  struct node *nodes;
  uint32_t node_count;
  int input, output;

  struct graph_parameter *parameters;
  uint32_t parameter_count;
  float *values, *gradients, *momenta; /* trainable parameters, one after the other; those with decay first */
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
  int parameter_buffers[4], sums_buffer, constants_buffer, scratch_buffer, norm_buffer;
  size_t scratch_bytes;

  struct dnnl_context *context;
  struct block_dct *dct;
  double *sums;       /* [threads][4][widest] */
  size_t sums_stride; /* widest padded channel count */
  const float *ones, *zeros;
  bool forward_stale, backward_stale; /* the library's copies of the weights are older than the master */

  enum graph_mode mode; /* of the last forward */
  uint64_t step;
  bool forwarded;
};

static inline uint32_t graph_padded(const struct graph *graph, uint32_t channels) {
  return (channels + graph->block - 1) / graph->block * graph->block;
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

/* plan.c */
int plan_buffer(struct graph *graph, size_t bytes, bool pinned); /* buffer index or -ENOMEM */
int plan_arena(struct graph *graph, struct guise_error *err);

/* parameters.c */
int parameters_describe(struct graph *graph); /* from the nodes */
int parameters_plan(struct graph *graph);     /* buffers; before plan_arena */
void parameters_bind(struct graph *graph);    /* pointers and initial values; after plan_arena */

/* norm.c */
int norms_plan(struct graph *graph);
void norms_bind(struct graph *graph);
void pointwise_forward(struct graph *graph, const struct op *op);
void pointwise_reduce(struct graph *graph, const struct op *op);
void pointwise_backward(struct graph *graph, const struct op *op);

/* layers.c */
void layer_pack(struct graph *graph, const struct op *op);
void layer_unpack(struct graph *graph, const struct op *op);
void layer_accumulate(struct graph *graph, const struct op *op);
void layer_dropout_forward(struct graph *graph, const struct op *op);
void layer_dropout_backward(struct graph *graph, const struct op *op);
void layer_linear_forward(struct graph *graph, const struct op *op);
void layer_linear_backward(struct graph *graph, const struct op *op);
void layer_idct_forward(struct graph *graph, const struct op *op);
void layer_idct_backward(struct graph *graph, const struct op *op);
