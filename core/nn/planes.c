#include "core/nn/planes.h"

#include "core/nn/element.h"

enum { X, Y, DX, DY, SCRATCH }; /* buffers of an operation */
enum { PLANES = SCRATCH };

static size_t plane_count(const struct graph *graph, const struct node *node) {
  return shape_rows(node->shape) * graph->block;
}

/* Floats a thread needs for planes of bfloat16 tensors. */
static size_t scratch_count(const struct graph *graph, const struct node *node) {
  const size_t in = plane_count(graph, &graph->nodes[node->input[0]]), out = plane_count(graph, node);
  return node->half ? 2 * (in + out) : 0;
}

static int finish(struct graph *graph, struct op *op, const struct node *node) {
  const size_t scratch = graph->config.threads * scratch_count(graph, node) * sizeof(float);
  const int buffer = scratch > 0 ? plan_buffer(graph, scratch, false) : -1;
  if (scratch > 0 && buffer < 0)
    return buffer;
  op->buffer[SCRATCH] = buffer;
  return 0;
}

int planes_forward(struct graph *graph, int index,
                   int (*run)(struct graph *graph, const struct op *op, struct guise_error *err),
                   bool in_place) {
  struct node *node = &graph->nodes[index];
  node->value = graph_value(graph, index, in_place ? node->input[0] : -1);
  struct op *op = graph_emit(graph, "forward", run, index, 0);
  if (!op || node->value < 0)
    return graph->error.code;
  op->buffer[X] = graph->nodes[node->input[0]].value;
  op->buffer[Y] = node->value;
  return finish(graph, op, node);
}

int planes_backward(struct graph *graph, int index, int dy,
                    int (*run)(struct graph *graph, const struct op *op, struct guise_error *err),
                    bool reads_x, bool reads_y, bool in_place) {
  const struct node *node = &graph->nodes[index], *source = &graph->nodes[node->input[0]];
  const int dx = in_place && graph_exclusive(graph, dy, 0) ? dy : graph_tensor(graph, source);
  struct op *op = graph_emit(graph, "backward", run, index, 0);
  if (!op || dx < 0)
    return graph->error.code;
  op->buffer[X] = reads_x ? source->value : -1;
  op->buffer[Y] = reads_y ? node->value : -1;
  op->buffer[DX] = dx;
  op->buffer[DY] = dy;
  int r = finish(graph, op, node);
  return r < 0 ? r : graph_contribute(graph, node->input[0], dx);
}

static void load(const void *tensor, size_t count, float *plane) {
  for (size_t i = 0; i < count; i++)
    plane[i] = element_get(tensor, i, true);
}

static void save(const float *plane, size_t count, void *tensor) {
  for (size_t i = 0; i < count; i++)
    element_set(tensor, i, plane[i], true);
}

/* Plane `job` of every tensor: the floats where they lie, or in scratch. */
static void run_plane(const struct graph *graph, const struct op *op, uint64_t job, float *scratch,
                      void (*work)(const struct plane *plane)) {
  const struct node *node = &graph->nodes[op->node], *source = &graph->nodes[node->input[0]];
  const uint32_t blocks = graph_padded(graph, node->shape.c) / graph->block;
  const uint32_t channel = (uint32_t)(job % blocks) * graph->block;
  const bool forward = op->buffer[DX] < 0;
  const int written = forward ? Y : DX;
  const size_t counts[PLANES] = {plane_count(graph, source), plane_count(graph, node),
                                 plane_count(graph, source), plane_count(graph, node)};
  char *tensor[PLANES] = {NULL};
  float *plane[PLANES] = {NULL};
  for (int k = 0; k < PLANES; k++) {
    if (op->buffer[k] < 0)
      continue;
    tensor[k] =
        (char *)graph_buffer(graph, op->buffer[k]) + job * counts[k] * (node->half ? 2 : sizeof(float));
    plane[k] = node->half ? scratch : (float *)(void *)tensor[k];
    scratch += node->half ? counts[k] : 0;
    if (node->half && k != written)
      load(tensor[k], counts[k], plane[k]);
  }
  work(&(struct plane){.node = node,
                       .in = source->shape,
                       .out = node->shape,
                       .block = graph->block,
                       .lanes = MIN(graph->block, node->shape.c - channel),
                       .x = plane[X],
                       .y = plane[Y],
                       .dy = plane[DY],
                       .dx = plane[DX]});
  if (node->half)
    save(plane[written], counts[written], tensor[written]);
}

int planes_run(struct graph *graph, const struct op *op, void (*work)(const struct plane *plane)) {
  const struct node *node = &graph->nodes[op->node];
  const int threads = (int)graph->config.threads;
  const uint64_t jobs = (uint64_t)graph->config.batch * (graph_padded(graph, node->shape.c) / graph->block);
  const size_t stride = scratch_count(graph, node);
  float *scratch = graph_buffer(graph, op->buffer[SCRATCH]);
#pragma omp parallel for num_threads(threads) schedule(static, 1)
  for (int thread = 0; thread < threads; thread++) {
    const uint64_t end = share_begin(jobs, thread + 1, threads);
    for (uint64_t job = share_begin(jobs, thread, threads); job < end; job++)
      run_plane(graph, op, job, node->half ? scratch + (size_t)thread * stride : NULL, work);
  }
  return 0;
}
