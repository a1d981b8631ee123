/* Walks the operations of a built graph, and times them when asked to. */
#include <omp.h>

#include "core/nn/graph_internal.h"

static int run_range(struct graph *graph, uint32_t begin, uint32_t end, struct guise_error *err) {
  for (uint32_t i = begin; i < end; i++) {
    struct op *op = &graph->ops[i];
    const int64_t since = graph->profiling ? clock_ns() : 0;
    int r = op->run(graph, op, err);
    if (r < 0)
      return r;
    if (graph->profiling)
      op->spent_ns += clock_ns() - since;
  }
  return 0;
}

void graph_profile(struct graph *graph, bool on) {
  for (uint32_t i = 0; on && i < graph->op_count; i++)
    graph->ops[i].spent_ns = 0;
  graph->profiling = on;
}

uint32_t graph_profile_rows(const struct graph *graph) {
  return graph->op_count;
}

struct graph_profile_row graph_profile_row(const struct graph *graph, uint32_t i) {
  const struct op *op = &graph->ops[i];
  const struct node *node = &graph->nodes[op->node];
  struct graph_profile_row row = {.layer = node->name ? node->name : node->type->name,
                                  .kind = node->type->name,
                                  .operation = op->what,
                                  .algorithm = op->algorithm,
                                  .seconds = (double)op->spent_ns * 1e-9,
                                  .flops = op->flops};
  for (int k = 0; k < OP_BUFFERS; k++)
    if (op->buffer[k] >= 0)
      row.bytes += (double)graph->buffers[op->buffer[k]].bytes;
  return row;
}

static int load_weights(struct graph *graph, enum conv_pass pass, bool *stale, struct guise_error *err) {
  int r = *stale ? convs_load_weights(graph, pass, err) : 0;
  *stale &= r < 0;
  return r;
}

/* A single value has no variance. */
static int check_batch_statistics(const struct graph *graph, struct guise_error *err) {
  for (uint32_t i = 0; i < graph->norm_count; i++)
    if (graph->norms[i].images_rows < 2)
      return error_set(err, -EINVAL,
                       "%s sees one value a channel and cannot be trained; use batches of 2 or more images",
                       graph->nodes[graph->norms[i].node].name);
  return 0;
}

int graph_forward(struct graph *graph, enum graph_mode mode, uint64_t step, struct guise_error *err) {
  if (!graph->built)
    return error_set(err, -EINVAL, "the graph must be built before it runs");
  if (graph->config.folded && mode != GRAPH_EVAL)
    return error_set(err, -EINVAL, "a folded graph runs in evaluation mode alone");
  int r = mode == GRAPH_TRAIN ? check_batch_statistics(graph, err) : 0;
  if (r < 0)
    return r;
  omp_set_num_threads((int)graph->config.threads); /* the library's primitives were made for this number */
  graph->mode = mode;
  graph->step = step;
  graph->forwarded = false;
  r = load_weights(graph, CONV_FORWARD, &graph->forward_stale, err);
  if (r == 0)
    r = run_range(graph, 0, graph->forward_ops, err);
  graph->forwarded = r == 0;
  return r;
}

int graph_backward(struct graph *graph, struct guise_error *err) {
  if (!graph->built || !graph->config.training)
    return error_set(err, -EINVAL, "a backward pass needs a graph that was built for training");
  if (!graph->forwarded || graph->mode == GRAPH_STATISTICS)
    return error_set(err, -EINVAL,
                     "a backward pass must follow a forward pass in training or evaluation mode");
  omp_set_num_threads((int)graph->config.threads);
  graph->forwarded = false; /* gradients take the place of values that are no longer needed */
  int r = load_weights(graph, CONV_BACKWARD_DATA, &graph->backward_stale, err);
  if (r == 0)
    r = run_range(graph, graph->forward_ops, graph->op_count, err);
  return r;
}
