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

bool graph_bfloat16_supported(void) {
  return kernels_bfloat16() != NULL;
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
  graph->kernels_half = kernels_bfloat16();
  graph->block = graph->kernels->block;
  if (config->bfloat16 && !graph->kernels_half)
    return error_set(
        err, -ENOTSUP,
        "bfloat16 needs a processor with AVX512_BF16, which this one does not have: use float32");
  graph->input = graph->output = -1;
  graph->input_buffer = graph->output_buffer = -1;
  graph->output_gradient_buffer = graph->input_gradient_buffer = -1;
  graph->classes_buffer = -1;
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
    if (node->type->release)
      node->type->release(node);
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

#define FAIL GRAPH_FAIL

const struct node *graph_operand(struct graph *graph, int x, const char *what) {
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

struct node *graph_append(struct graph *graph, const struct layer_type *type, struct shape shape,
                          const char *name) {
  if (shape.c == 0 || shape.h == 0 || shape.w == 0 || shape.c > SIDE_MAX || shape.h > SIDE_MAX ||
      shape.w > SIDE_MAX || shape_count(shape) * graph->config.batch > ELEMENTS_MAX) {
    FAIL(graph, -EINVAL, "%s: a tensor of %u x %u x %u is not possible", name ? name : "node", shape.c,
         shape.h, shape.w);
    return NULL;
  }
  if (shape_rows(shape) > UINT32_MAX) {
    FAIL(graph, -EINVAL, "%s: %u x %u pixels are too many", name ? name : "node", shape.h, shape.w);
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
  node->type = type;
  node->shape = shape;
  node->name = copy;
  node->input[0] = node->input[1] = -1;
  for (int i = 0; i < NODE_PARAMETERS; i++)
    node->parameter[i] = -1;
  node->value = node->again = node->pending = node->norm = node->spectral = -1;
  return node;
}

int graph_connect(struct graph *graph, struct node *node, int a, int b) {
  if (!node)
    return graph->error.code;
  node->input[0] = a;
  node->input[1] = b;
  node->inputs = (uint32_t)(a >= 0) + (uint32_t)(b >= 0);
  return (int)(node - graph->nodes);
}

int graph_freeze(struct graph *graph) {
  for (uint32_t i = 0; graph->error.code == 0 && i < graph->node_count; i++)
    graph->nodes[i].frozen = true;
  return graph->error.code;
}

int graph_output(struct graph *graph, int x) {
  if (!graph_operand(graph, x, "output"))
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
