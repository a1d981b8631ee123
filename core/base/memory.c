#include "core/base/memory.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

static const size_t huge_page = (size_t)2 << 20;
static atomic_size_t live_bytes;

int arena_map(struct arena *ret_arena, size_t bytes) {
  if (bytes > SIZE_MAX - 2 * huge_page)
    return -ENOMEM;
  size_t size = (bytes + huge_page - 1) & ~(huge_page - 1);
  if (size == 0)
    size = huge_page;
  uint8_t *raw = mmap(NULL, size + huge_page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (raw == MAP_FAILED)
    return -ENOMEM;
  uintptr_t start = ((uintptr_t)raw + huge_page - 1) & ~(uintptr_t)(huge_page - 1);
  size_t head = start - (uintptr_t)raw;
  if (head > 0)
    (void)munmap(raw, head);
  if (huge_page - head > 0)
    (void)munmap((uint8_t *)start + size, huge_page - head);
  (void)madvise((void *)start, size, MADV_HUGEPAGE); /* a wish: kernels without huge pages refuse it */
  atomic_fetch_add(&live_bytes, size);
  ret_arena->base = (uint8_t *)start;
  ret_arena->size = size;
  return 0;
}

void arena_unmap(struct arena *arena) {
  if (!arena->base)
    return;
  (void)munmap(arena->base, arena->size);
  atomic_fetch_sub(&live_bytes, arena->size);
  arena->base = NULL;
  arena->size = 0;
}

/* The size stands in a 64-byte block before the memory handed out. */
void *tensor_alloc(size_t bytes) {
  if (bytes > SIZE_MAX - 256)
    return NULL;
  const size_t total = ((bytes + 63) & ~(size_t)63) + 64;
  const bool large = total >= huge_page;
  void *block = NULL;
  if (posix_memalign(&block, large ? huge_page : 64, total) != 0)
    return NULL;
  if (large) /* whole huge pages: what is left is not rounded up to one */
    (void)madvise(block, total & ~(huge_page - 1), MADV_HUGEPAGE);
  memset(block, 0, total);
  memcpy(block, &total, sizeof(total));
  atomic_fetch_add(&live_bytes, total);
  return (uint8_t *)block + 64;
}

void *tensor_free(void *pointer) {
  if (pointer) {
    uint8_t *block = (uint8_t *)pointer - 64;
    size_t total;
    memcpy(&total, block, sizeof(total));
    atomic_fetch_sub(&live_bytes, total);
    free(block);
  }
  return NULL;
}

size_t memory_live_bytes(void) {
  return atomic_load(&live_bytes);
}
