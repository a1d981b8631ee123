/* Walks the operations of a built graph. */
#include <omp.h>

#include "core/nn/graph_internal.h"

static int run_range(struct graph *graph, uint32_t begin, uint32_t end, struct guise_error *err) {
  for (uint32_t i = begin; i < end; i++) {
    const struct op *op = &graph->ops[i];
    int r = op->run(graph, op, err);
    if (r < 0)
      return r;
  }
  return 0;
}

static int load_weights(struct graph *graph, enum conv_pass pass, bool *stale, struct guise_error *err) {
  for (uint32_t i = 0; *stale && i < graph->conv_count; i++) {
    int r = conv_load_weights(graph->convs[i].conv, pass, err);
    if (r < 0)
      return r;
  }
  *stale = false;
  return 0;
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
