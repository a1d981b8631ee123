#include "core/nn/visit.h"

#include "core/nn/graph_internal.h"

struct graph_value graph_value_of(const struct graph *graph, int index) {
  const struct node *node = &graph->nodes[index];
  return (struct graph_value){index, node->name, node->shape.c, node->shape.h, node->shape.w};
}

int graph_visit(const struct graph *graph, const struct graph_visitor *visitor, struct guise_error *err) {
  int r = 0;
  if (!graph->built)
    return error_set(err, -EINVAL, "a graph must be built before its layers have values");
  for (uint32_t i = 0; r == 0 && i < graph->node_count; i++) {
    const struct node *node = &graph->nodes[i];
    r = node->type->visit ? node->type->visit(graph, (int)i, visitor) : -ENOTSUP;
    if (r == -ENOTSUP)
      return error_set(err, r, "layer %u (%s%s%s) cannot be exported: the format has no word for it", i,
                       node->type->name, node->name ? " " : "", node->name ? node->name : "");
  }
  if (r == 0)
    r = visitor->output(visitor->context, graph_value_of(graph, graph->output));
  return r;
}
