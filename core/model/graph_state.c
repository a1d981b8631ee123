#include "core/model/graph_state.h"

#include <stdio.h>
#include <string.h>

#define PIECES 3u

static const char *const pieces[PIECES] = {"value.", "momentum.", "square."};

static float *piece_of(const struct graph_parameter *parameter, uint32_t i) {
  float *const data[PIECES] = {parameter->value, parameter->momentum, parameter->square};
  return data[i]; /* NULL: statistics have no moments */
}

uint32_t graph_state_tensors(struct graph *graph) {
  return PIECES * graph_parameters(graph);
}

int tensor_list_init(struct tensor_list *list, uint32_t capacity) {
  *list = (struct tensor_list){.capacity = capacity};
  list->tensor = calloc(capacity, sizeof(*list->tensor));
  list->name = calloc(capacity, sizeof(*list->name));
  return list->tensor && list->name ? 0 : -ENOMEM;
}

void tensor_list_done(struct tensor_list *list) {
  free(list->tensor);
  free(list->name);
  memset(list, 0, sizeof(*list));
}

void tensor_list_add(struct tensor_list *list, const char *prefix, const char *name, const char *dtype,
                     const void *data, uint64_t count, uint64_t size) {
  char *text = list->name[list->count];
  (void)snprintf(text, sizeof(list->name[0]), "%s%s", prefix, name);
  list->tensor[list->count++] = (struct safetensor){
      .name = text, .dtype = dtype, .rank = 1, .shape = {count}, .data = data, .bytes = count * size};
}

void tensor_list_add_graph(struct tensor_list *list, struct graph *graph, const char *owner) {
  for (uint32_t i = 0; i < graph_parameters(graph); i++)
    for (uint32_t k = 0; k < PIECES; k++) {
      const struct graph_parameter *parameter = graph_parameter(graph, i);
      char prefix[32];
      (void)snprintf(prefix, sizeof(prefix), "%s%s", owner, pieces[k]);
      if (piece_of(parameter, k))
        tensor_list_add(list, prefix, parameter->name, "F32", piece_of(parameter, k), parameter->count,
                        sizeof(float));
    }
}

int graph_state_read_vector(const struct safetensors *file, const char *prefix, const char *name,
                            const char *dtype, void *ret_data, uint64_t count, uint64_t size,
                            struct guise_error *err) {
  char text[160];
  (void)snprintf(text, sizeof(text), "%s%s", prefix, name);
  const struct safetensor *tensor = safetensors_find(file, text);
  if (!tensor || strcmp(tensor->dtype, dtype) != 0 || tensor->bytes != count * size)
    return error_set(err, -EBADMSG,
                     "the checkpoint lacks a fitting tensor %s: it is of another version or damaged", text);
  memcpy(ret_data, tensor->data, tensor->bytes);
  return 0;
}

int graph_state_read(const struct safetensors *file, struct graph *graph, const char *owner,
                     struct guise_error *err) {
  int r = 0;
  for (uint32_t i = 0; r == 0 && i < graph_parameters(graph); i++)
    for (uint32_t k = 0; r == 0 && k < PIECES; k++) {
      struct graph_parameter *parameter = graph_parameter(graph, i);
      char prefix[32];
      (void)snprintf(prefix, sizeof(prefix), "%s%s", owner, pieces[k]);
      if (piece_of(parameter, k))
        r = graph_state_read_vector(file, prefix, parameter->name, "F32", piece_of(parameter, k),
                                    parameter->count, sizeof(float), err);
    }
  graph_parameters_changed(graph);
  return r;
}
