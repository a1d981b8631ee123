#include "core/attack/variation.h"

#include <math.h>
#include <string.h>

#include "core/model/model.h"
#include "core/nn/graph.h"

#define SMOOTHED 0.01f /* of the planes' unit: where an edge begins to count */

double variation_of_planes(const float *planes, uint32_t count, uint32_t size, float unit, double factor,
                           float *derivative) {
  const size_t area = (size_t)size * size;
  const float share = (float)(factor / ((double)count * (double)area)), least = SMOOTHED * unit;
  double sum = 0;
  for (uint32_t c = 0; c < count; c++) {
    const float *plane = planes + c * area;
    float *slope = derivative + c * area;
    for (uint32_t y = 0; y < size; y++)
      for (uint32_t x = 0; x < size; x++) {
        const size_t at = (size_t)y * size + x, right = x + 1 < size ? at + 1 : at,
                     below = y + 1 < size ? at + size : at;
        const float dx = plane[right] - plane[at], dy = plane[below] - plane[at];
        const float length = sqrtf(dx * dx + dy * dy + least * least);
        slope[right] += share * dx / length;
        slope[below] += share * dy / length;
        slope[at] -= share * (dx + dy) / length;
        sum += (double)length;
      }
  }
  return sum / ((double)count * (double)area);
}

struct variation {
  struct graph *graph; /* from the template to the picture and back: a network's fixed first layer alone */
  size_t elements;
  uint32_t size;
};

int variation_new(const struct mask *mask, struct variation **ret_variation, struct guise_error *err) {
  const struct graph_config config = {.batch = 1, .threads = 1, .training = true, .input_gradient = true};
  const struct arch_options options = arch_options_for(mask, 1, 1, 0);
  _cleanup_(variation_freep) struct variation *variation = calloc(1, sizeof(*variation));
  if (!variation)
    return error_set(err, -ENOMEM, "out of memory for the picture behind a template");
  *variation = (struct variation){.elements = mask_elements(mask), .size = mask_size(mask)};
  int r = graph_new(&config, &variation->graph, err);
  if (r < 0)
    return r;
  const int input = graph_input(variation->graph, options.mask.channels, options.grid, options.grid);
  (void)graph_output(variation->graph, graph_block_idct(variation->graph, input, &options.mask));
  r = graph_build(variation->graph, err);
  if (r == 0)
    *ret_variation = TAKE(variation);
  return r;
}

struct variation *variation_free(struct variation *variation) {
  if (!variation)
    return NULL;
  graph_free(variation->graph);
  free(variation);
  return NULL;
}

int variation_add(struct variation *variation, const float *template_, double factor, float *derivative,
                  struct guise_error *err) {
  struct graph *graph = variation->graph;
  memcpy(graph_input_data(graph), template_, variation->elements * sizeof(float));
  int r = graph_forward(graph, GRAPH_EVAL, 0, err);
  if (r < 0)
    return r;
  float *slope = graph_output_gradient(graph);
  memset(slope, 0, (size_t)3 * variation->size * variation->size * sizeof(float));
  (void)variation_of_planes(graph_output_data(graph), 3, variation->size, 1, factor, slope);
  r = graph_backward(graph, err);
  const float *gradient = graph_input_gradient(graph);
  for (size_t i = 0; r == 0 && i < variation->elements; i++)
    derivative[i] += gradient[i];
  return r;
}
