/* The arena: one region for a whole graph, on huge pages where the kernel gives them (page faults of 4 KiB
 * halve the speed of a training step), and a count of live bytes so that a test can show that steps allocate
 * nothing. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#define ARENA_ALIGN 4096u

struct arena {
  uint8_t *base;
  size_t size; /* of the mapping, a multiple of 2 MiB */
};

/* Zeroed memory of at least `bytes`. 0 or -ENOMEM. */
int arena_map(struct arena *ret_arena, size_t bytes);
void arena_unmap(struct arena *arena);

/* Aligned heap memory for tensors outside an arena, on huge pages from 2 MiB on; counted. tensor_free takes
 * NULL and returns NULL. */
void *tensor_alloc(size_t bytes); /* 64-byte aligned, zeroed; NULL when out of memory */
void *tensor_free(void *pointer);

/* Bytes held through this file by the whole process. */
size_t memory_live_bytes(void);
