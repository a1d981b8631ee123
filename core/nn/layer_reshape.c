/* Reshape: the same values in plain (C,H,W) order under another shape, so that a linear layer's vector
 * becomes an image. Blocks of channels differ, so the values are moved. In a bfloat16 network the result is
 * bfloat16: this is where the vector of a linear layer goes back to images. */
#include "core/nn/graph_internal.h"

int graph_reshape(struct graph *graph, int x, uint32_t channels, uint32_t height, uint32_t width) {
  const struct node *source = graph_operand(graph, x, "reshape");
  if (!source)
    return graph->error.code;
  const struct shape from = source->shape, to = {channels, height, width};
  struct node *node = graph_append(graph, &layer_reshape, to, NULL);
  if (node && shape_count(from) != shape_count(to))
    return GRAPH_FAIL(graph, -EINVAL, "reshape: %u x %u x %u values are not %u x %u x %u", from.c, from.h,
                      from.w, channels, height, width);
  return graph_connect(graph, node, x, -1);
}

/* From the blocked tensor of one shape to that of the other, a plain image a thread between them. */
static void move(const struct graph *graph, const struct node *from_node, const void *from,
                 const struct node *to_node, void *to, float *scratch) {
  const size_t from_bytes = layout_blocked_bytes(graph, from_node),
               to_bytes = layout_blocked_bytes(graph, to_node);
  const int threads = (int)graph->config.threads;
#pragma omp parallel for num_threads(threads) schedule(static, 1)
  for (int thread = 0; thread < threads; thread++) {
    float *plain = scratch + (size_t)thread * shape_count(to_node->shape);
    const uint64_t end = share_begin(graph->config.batch, thread + 1, threads);
    for (uint64_t n = share_begin(graph->config.batch, thread, threads); n < end; n++) {
      layout_unpack_image((const char *)from + n * from_bytes, from_node->shape, graph->block,
                          from_node->half, plain);
      layout_pack_image(plain, to_node->shape, graph->block, to_node->half, (char *)to + n * to_bytes);
    }
  }
}

/* x or dy, y or dx, scratch; op->operand: 1 = forward */
static int run(struct graph *graph, const struct op *op, struct guise_error *err) {
  (void)err;
  const struct node *node = &graph->nodes[op->node], *source = &graph->nodes[node->input[0]];
  move(graph, op->operand ? source : node, graph_buffer(graph, op->buffer[0]), op->operand ? node : source,
       graph_buffer(graph, op->buffer[1]), graph_buffer(graph, op->buffer[2]));
  return 0;
}

static int emit(struct graph *graph, int index, bool forward, int from, int to) {
  const size_t scratch = graph->config.threads * shape_count(graph->nodes[index].shape) * sizeof(float);
  const int plain = plan_buffer(graph, scratch, false);
  struct op *op = graph_emit(graph, forward ? "forward" : "backward", run, index, 0);
  if (!op || plain < 0 || to < 0)
    return graph->error.code;
  op->operand = forward;
  op->buffer[0] = from;
  op->buffer[1] = to;
  op->buffer[2] = plain;
  return 0;
}

static int forward(struct graph *graph, int index) {
  struct node *node = &graph->nodes[index];
  node->value = graph_value(graph, index, -1);
  return emit(graph, index, true, graph->nodes[node->input[0]].value, node->value);
}

static int backward(struct graph *graph, int index, int dy) {
  const int input = graph->nodes[index].input[0];
  const int dx = graph_tensor(graph, &graph->nodes[input]);
  int r = emit(graph, index, false, dy, dx);
  return r < 0 ? r : graph_contribute(graph, input, dx);
}

const struct layer_type layer_reshape = {
    .name = "reshape", .half_value = true, .forward = forward, .backward = backward};
