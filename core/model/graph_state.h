/* A graph's state in a safetensors file: values, running statistics and what the optimiser remembers, so that
 * a training goes on as if nothing had happened. */
#pragma once

#include "core/model/safetensors.h"
#include "core/nn/graph.h"

struct tensor_list {
  struct safetensor *tensor;
  char (*name)[160];
  uint32_t count, capacity;
};

/* Tensors that a graph's state takes at most. */
uint32_t graph_state_tensors(struct graph *graph);

int tensor_list_init(struct tensor_list *list, uint32_t capacity); /* 0 or -ENOMEM; done is due */
void tensor_list_done(struct tensor_list *list);
/* A vector of `count` elements of `size` bytes, called prefix + name; data stays the caller's. */
void tensor_list_add(struct tensor_list *list, const char *prefix, const char *name, const char *dtype,
                     const void *data, uint64_t count, uint64_t size);
/* owner: before the names of all its tensors. */
void tensor_list_add_graph(struct tensor_list *list, struct graph *graph, const char *owner);

/* Reads them back. -EBADMSG when the file lacks a fitting tensor. */
int graph_state_read_vector(const struct safetensors *file, const char *prefix, const char *name,
                            const char *dtype, void *ret_data, uint64_t count, uint64_t size,
                            struct guise_error *err);
int graph_state_read(const struct safetensors *file, struct graph *graph, const char *owner,
                     struct guise_error *err);
