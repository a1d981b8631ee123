/* One arena for everything a graph needs.
 *
 * Operations are numbered, forward before backward; a buffer lives from the first to the last operation that
 * touches it, pinned ones always. Offsets are chosen greedily: larger buffers first, each at the lowest place
 * where it meets no buffer that lives at the same time. For chains like ours this comes within a few per cent
 * of the peak of live bytes. */
#include <limits.h>

#include "core/nn/graph_internal.h"

#define BUFFER_ALIGN 4096u

int plan_buffer(struct graph *graph, size_t bytes, bool pinned) {
  struct buffer *buffer = array_grow((void **)&graph->buffers, &graph->buffer_count, sizeof(*buffer));
  if (!buffer)
    return error_set(&graph->error, -ENOMEM, "out of memory");
  buffer->bytes = (MAX(bytes, (size_t)1) + BUFFER_ALIGN - 1) / BUFFER_ALIGN * BUFFER_ALIGN;
  buffer->pinned = pinned;
  buffer->first = pinned ? INT32_MIN : INT32_MAX;
  buffer->last = pinned ? INT32_MAX : INT32_MIN;
  return (int)graph->buffer_count - 1;
}

static void find_life_times(struct graph *graph) {
  for (uint32_t i = 0; i < graph->op_count; i++)
    for (int k = 0; k < OP_BUFFERS; k++)
      if (graph->ops[i].buffer[k] >= 0) {
        struct buffer *buffer = &graph->buffers[graph->ops[i].buffer[k]];
        buffer->first = MIN(buffer->first, (int32_t)i);
        buffer->last = MAX(buffer->last, (int32_t)i);
      }
}

static int larger_first(const void *a, const void *b) {
  const struct buffer *const *x = a, *const *y = b;
  if ((*x)->bytes != (*y)->bytes)
    return (*x)->bytes < (*y)->bytes ? 1 : -1;
  return *x < *y ? -1 : *x > *y; /* a total order, so that plans are reproducible */
}

static int lower_first(const void *a, const void *b) {
  const struct buffer *const *x = a, *const *y = b;
  if ((*x)->offset != (*y)->offset)
    return (*x)->offset < (*y)->offset ? -1 : 1;
  return *x < *y ? -1 : *x > *y;
}

/* The lowest offset at which `buffer` meets none of the `count` placed ones; `neighbours` is scratch. */
static size_t lowest_gap(const struct buffer *buffer, struct buffer **placed, uint32_t count,
                         struct buffer **neighbours) {
  uint32_t found = 0;
  for (uint32_t i = 0; i < count; i++)
    if (placed[i]->first <= buffer->last && buffer->first <= placed[i]->last)
      neighbours[found++] = placed[i];
  qsort(neighbours, found, sizeof(struct buffer *), lower_first);
  size_t offset = 0;
  for (uint32_t i = 0; i < found; i++) {
    if (neighbours[i]->offset >= offset + buffer->bytes)
      break;
    offset = MAX(offset, neighbours[i]->offset + neighbours[i]->bytes);
  }
  return offset;
}

int plan_arena(struct graph *graph, struct guise_error *err) {
  const uint32_t count = graph->buffer_count;
  find_life_times(graph);
  _cleanup_(freep) struct buffer **order = calloc(count, 2 * sizeof(struct buffer *));
  if (!order)
    return error_set(err, -ENOMEM, "out of memory");
  struct buffer **neighbours = order + count;
  for (uint32_t i = 0; i < count; i++)
    order[i] = &graph->buffers[i];
  qsort((void *)order, count, sizeof(struct buffer *), larger_first);
  size_t total = 0;
  for (uint32_t i = 0; i < count; i++) {
    order[i]->offset = lowest_gap(order[i], order, i, neighbours);
    total = MAX(total, order[i]->offset + order[i]->bytes);
  }
  if (arena_map(&graph->arena, total) < 0)
    return error_set(err, -ENOMEM,
                     "a network with batches of %u images needs %zu MiB, which the system does not give",
                     graph->config.batch, total >> 20);
  return 0;
}
