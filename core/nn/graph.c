/* Description of a network: every call appends one node, checks shapes and passes earlier errors on. */
#include "core/nn/graph.h"

#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "core/nn/graph_internal.h"

DEFINE_CLEANUP(struct graph *, graph_free)

#define SIDE_MAX 65536u /* of channels, height and width: keeps products of three within 64 bits */
#define ELEMENTS_MAX ((uint64_t)1 << 40)

void *array_grow(void **array, uint32_t *count, size_t size) {
  /* Room doubles at powers of two. */
  if ((*count & (*count - 1)) == 0) {
    void *larger = reallocarray(*array, *count ? (size_t)*count * 2 : 1, size);
    if (!larger)
      return NULL;
    *array = larger;
  }
  void *element = (char *)*array + (size_t)*count * size;
  memset(element, 0, size);
  (*count)++;
  return element;
}

int graph_new(const struct graph_config *config, struct graph **ret_graph, struct guise_error *err) {
  if (config->batch == 0 || config->batch > 65536)
    return error_set(err, -EINVAL, "the batch must have 1 to 65536 images, not %u", config->batch);
  if (config->threads == 0 || config->threads > 1024)
    return error_set(err, -EINVAL, "the number of threads must be 1 to 1024, not %u", config->threads);
  _cleanup_(graph_freep) struct graph *graph = calloc(1, sizeof(*graph));
  if (!graph)
    return error_set(err, -ENOMEM, "out of memory");
  graph->config = *config;
  graph->kernels = kernels_choose();
  graph->block = graph->kernels->block;
  graph->input = graph->output = -1;
  graph->input_buffer = graph->output_buffer = -1;
  graph->output_gradient_buffer = graph->input_gradient_buffer = -1;
  *ret_graph = TAKE(graph);
  return 0;
}

struct graph *graph_free(struct graph *graph) {
  if (!graph)
    return NULL;
  for (uint32_t i = 0; i < graph->conv_count; i++)
    conv_free(graph->convs[i].conv);
  dnnl_context_free(graph->context);
  block_dct_free(graph->dct);
  for (uint32_t i = 0; i < graph->node_count; i++) {
    struct node *node = &graph->nodes[i];
    free(node->name);
    free((void *)(uintptr_t)node->idct.channel);
    free((void *)(uintptr_t)node->idct.mean);
    free((void *)(uintptr_t)node->idct.deviation);
  }
  for (uint32_t i = 0; i < graph->parameter_count; i++)
    free((void *)(uintptr_t)graph->parameters[i].name);
  for (uint32_t i = 0; i < graph->group_count; i++)
    free(graph->groups[i].gather);
  arena_unmap(&graph->arena);
  free(graph->nodes);
  free(graph->parameters);
  free(graph->norms);
  free(graph->groups);
  free(graph->convs);
  free(graph->ops);
  free(graph->buffers);
  free(graph);
  return NULL;
}

#define FAIL(graph, code, ...) error_set(&(graph)->error, code, __VA_ARGS__)

/* The node `x` or NULL, with the graph's error set. Earlier errors stay. */
static const struct node *operand(struct graph *graph, int x, const char *what) {
  if (graph->error.code < 0)
    return NULL;
  if (graph->built) {
    FAIL(graph, -EINVAL, "%s: the graph is built already", what);
    return NULL;
  }
  if (x < 0 || (uint32_t)x >= graph->node_count) {
    FAIL(graph, -EINVAL, "%s: there is no node %d", what, x);
    return NULL;
  }
  return &graph->nodes[x];
}

static bool name_taken(const struct graph *graph, const char *name) {
  for (uint32_t i = 0; i < graph->node_count; i++)
    if (graph->nodes[i].name && strcmp(graph->nodes[i].name, name) == 0)
      return true;
  return false;
}

/* Appends a node; the caller fills in what its kind needs. NULL with the graph's error set. */
static struct node *append(struct graph *graph, enum node_kind kind, struct shape shape, const char *name) {
  if (shape.c == 0 || shape.h == 0 || shape.w == 0 || shape.c > SIDE_MAX || shape.h > SIDE_MAX ||
      shape.w > SIDE_MAX || shape_count(shape) * graph->config.batch > ELEMENTS_MAX) {
    FAIL(graph, -EINVAL, "%s: a tensor of %u x %u x %u is not possible", name ? name : "node", shape.c,
         shape.h, shape.w);
    return NULL;
  }
  if (name && name_taken(graph, name)) {
    FAIL(graph, -EINVAL, "two layers are named %s", name);
    return NULL;
  }
  char *copy = name ? strdup(name) : NULL;
  struct node *node =
      name && !copy ? NULL : array_grow((void **)&graph->nodes, &graph->node_count, sizeof(*node));
  if (!node) {
    free(copy);
    FAIL(graph, -ENOMEM, "out of memory");
    return NULL;
  }
  node->kind = kind;
  node->shape = shape;
  node->name = copy;
  node->input[0] = node->input[1] = -1;
  for (int i = 0; i < NODE_PARAMETERS; i++)
    node->parameter[i] = -1;
  node->value = node->pending = node->norm = -1;
  return node;
}

/* Ends a node call: connects its inputs and returns its id. */
static int connect(struct graph *graph, struct node *node, int a, int b) {
  if (!node)
    return graph->error.code;
  node->input[0] = a;
  node->input[1] = b;
  node->inputs = (uint32_t)(a >= 0) + (uint32_t)(b >= 0);
  return (int)(node - graph->nodes);
}

int graph_input(struct graph *graph, uint32_t channels, uint32_t height, uint32_t width) {
  if (graph->error.code < 0)
    return graph->error.code;
  if (graph->input >= 0)
    return FAIL(graph, -EINVAL, "a graph has one input");
  struct node *node = append(graph, NODE_INPUT, (struct shape){channels, height, width}, NULL);
  graph->input = connect(graph, node, -1, -1);
  return graph->input;
}

int graph_conv(struct graph *graph, int x, const char *name, const struct conv_options *options) {
  const struct node *source = operand(graph, x, name);
  if (!source)
    return graph->error.code;
  const uint32_t k = options->kernel, s = options->stride, p = options->padding;
  if (k == 0 || k > 31 || s == 0 || s > 31 || p >= k || options->out_channels == 0)
    return FAIL(graph, -EINVAL, "%s: kernel %u, stride %u, padding %u, %u channels is no convolution", name,
                k, s, p, options->out_channels);
  if (source->shape.h + 2 * p < k || source->shape.w + 2 * p < k)
    return FAIL(graph, -EINVAL, "%s: a %u x %u kernel does not fit into %u x %u pixels", name, k, k,
                source->shape.h, source->shape.w);
  const struct shape shape = {options->out_channels, (source->shape.h + 2 * p - k) / s + 1,
                              (source->shape.w + 2 * p - k) / s + 1};
  struct node *node = append(graph, NODE_CONV, shape, name);
  if (node)
    node->conv = *options;
  return connect(graph, node, x, -1);
}

int graph_batch_norm(struct graph *graph, int x, const char *name) {
  const struct node *source = operand(graph, x, name);
  if (!source)
    return graph->error.code;
  return connect(graph, append(graph, NODE_BATCH_NORM, source->shape, name), x, -1);
}

int graph_prelu(struct graph *graph, int x, const char *name) {
  const struct node *source = operand(graph, x, name);
  if (!source)
    return graph->error.code;
  return connect(graph, append(graph, NODE_PRELU, source->shape, name), x, -1);
}

int graph_add(struct graph *graph, int a, int b) {
  const struct node *first = operand(graph, a, "add"), *second = operand(graph, b, "add");
  if (!first || !second)
    return graph->error.code;
  const struct shape p = first->shape, q = second->shape;
  if (p.c != q.c || p.h != q.h || p.w != q.w)
    return FAIL(graph, -EINVAL, "add: %u x %u x %u and %u x %u x %u are not the same shape", p.c, p.h, p.w,
                q.c, q.h, q.w);
  return connect(graph, append(graph, NODE_ADD, p, NULL), a, b);
}

int graph_dropout(struct graph *graph, int x, float probability) {
  const struct node *source = operand(graph, x, "dropout");
  if (!source)
    return graph->error.code;
  if (!(probability >= 0 && probability < 1))
    return FAIL(graph, -EINVAL, "dropout: the probability must be at least 0 and below 1, not %g",
                (double)probability);
  if (probability == 0)
    return x;
  struct node *node = append(graph, NODE_DROPOUT, source->shape, NULL);
  if (node)
    node->probability = probability;
  return connect(graph, node, x, -1);
}

int graph_linear(struct graph *graph, int x, const char *name, uint32_t out, bool bias) {
  const struct node *source = operand(graph, x, name);
  if (!source)
    return graph->error.code;
  const uint64_t in = shape_count(source->shape);
  if (in > INT_MAX)
    return FAIL(graph, -EINVAL, "%s: %llu inputs are too many", name, (unsigned long long)in);
  struct node *node = append(graph, NODE_LINEAR, (struct shape){out, 1, 1}, name);
  if (node) {
    node->linear.out = out;
    node->linear.bias = bias;
  }
  return connect(graph, node, x, -1);
}

static void *duplicate(const void *data, size_t bytes) {
  void *copy = malloc(bytes ? bytes : 1);
  if (copy)
    memcpy(copy, data, bytes);
  return copy;
}

static int check_idct(struct graph *graph, struct shape shape, const struct block_idct_options *options) {
  if (options->channels != shape.c || shape.c > DCT_CHANNELS)
    return FAIL(graph, -EINVAL,
                "block idct: the template has %u channels, its constants %u, at most %u are possible",
                shape.c, options->channels, DCT_CHANNELS);
  if (shape.h != shape.w || shape.h < 2 || shape.h > 56)
    return FAIL(graph, -EINVAL, "block idct: the template must be a square of 2 to 56 blocks, not %u x %u",
                shape.h, shape.w);
  if (!(options->pixel_scale > 0))
    return FAIL(graph, -EINVAL, "block idct: the pixel scale must be positive");
  bool listed[DCT_CHANNELS] = {false};
  for (uint32_t i = 0; i < shape.c; i++) {
    if (options->channel[i] >= DCT_CHANNELS || listed[options->channel[i]])
      return FAIL(graph, -EINVAL,
                  "block idct: channel %u is %u, which is no coefficient or was listed before", i,
                  options->channel[i]);
    if (!isfinite(options->mean[i]) || !isfinite(options->deviation[i]))
      return FAIL(graph, -EINVAL, "block idct: the constants of channel %u are not finite", i);
    listed[options->channel[i]] = true;
  }
  return 0;
}

int graph_block_idct(struct graph *graph, int x, const struct block_idct_options *options) {
  const struct node *source = operand(graph, x, "block idct");
  if (!source)
    return graph->error.code;
  int r = check_idct(graph, source->shape, options);
  if (r < 0)
    return r;
  for (uint32_t i = 0; i < graph->node_count; i++)
    if (graph->nodes[i].kind == NODE_IDCT)
      return FAIL(graph, -EINVAL, "block idct: a graph has at most one");
  const uint32_t pixels = source->shape.h * DCT_BLOCK, channels = options->channels;
  struct node *node = append(graph, NODE_IDCT, (struct shape){3, pixels, pixels}, NULL);
  if (!node)
    return graph->error.code;
  node->idct = *options;
  node->idct.channel = duplicate(options->channel, channels * sizeof(*options->channel));
  node->idct.mean = duplicate(options->mean, channels * sizeof(*options->mean));
  node->idct.deviation = duplicate(options->deviation, channels * sizeof(*options->deviation));
  if (!node->idct.channel || !node->idct.mean || !node->idct.deviation)
    return FAIL(graph, -ENOMEM, "out of memory");
  return connect(graph, node, x, -1);
}

int graph_output(struct graph *graph, int x) {
  if (!operand(graph, x, "output"))
    return graph->error.code;
  if (graph->output >= 0)
    return FAIL(graph, -EINVAL, "a graph has one output");
  if (x == graph->input)
    return FAIL(graph, -EINVAL, "the output must not be the input itself");
  graph->output = x;
  return x;
}

float *graph_input_data(struct graph *graph) {
  return graph_buffer(graph, graph->input_buffer);
}

const float *graph_output_data(struct graph *graph) {
  return graph_buffer(graph, graph->output_buffer);
}

float *graph_output_gradient(struct graph *graph) {
  return graph_buffer(graph, graph->output_gradient_buffer);
}

const float *graph_input_gradient(struct graph *graph) {
  return graph_buffer(graph, graph->input_gradient_buffer);
}

size_t graph_arena_bytes(const struct graph *graph) {
  return graph->arena.size;
}

char *graph_algorithms(const struct graph *graph) {
  static const char *const passes[CONV_PASSES] = {"forward", "backward-data", "backward-weights"};
  char *text = NULL;
  size_t size = 0;
  FILE *stream = open_memstream(&text, &size);
  if (!stream)
    return NULL;
  for (uint32_t i = 0; i < graph->conv_count; i++)
    for (enum conv_pass pass = 0; pass < CONV_PASSES; pass++) {
      const char *algorithm = conv_algorithm(graph->convs[i].conv, pass);
      if (algorithm)
        (void)fprintf(stream, "%s %s %s\n", graph->nodes[graph->convs[i].node].name, passes[pass], algorithm);
    }
  if (fclose(stream) != 0) {
    free(text);
    return NULL;
  }
  return text;
}
