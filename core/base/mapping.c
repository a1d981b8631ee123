#include "core/base/mapping.h"

#include <signal.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Slots, not a list: the signal's handler may look at them at any moment and without a lock. */
struct mapping {
  atomic_bool taken;
  atomic_uintptr_t start; /* 0 = not mapped */
  atomic_size_t bytes;
  atomic_bool failed;
  _Atomic(struct mapping_watch *) watch;
};

static struct mapping mappings[MAPPINGS_MAX];
static struct sigaction before;
static _Thread_local struct mapping_watch *watching;

/* The failure is marked before the zeros can be read. The whole mapping goes at once: what has been read of
 * it is doubtful anyway, and a page at a time a large file would come to more mappings than a process may
 * have. The kernel is asked directly: other threads go on reading meanwhile, which is the point, and
 * ThreadSanitizer takes mmap() for a write to all of it. */
static bool put_zeros(struct mapping *mapping, uintptr_t start, size_t bytes) {
  struct mapping_watch *watch = atomic_load(&mapping->watch);
  atomic_store(&mapping->failed, true);
  if (watch)
    atomic_store(&watch->failed, true);
  return syscall(SYS_mmap, start, bytes, (long)PROT_READ, (long)(MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED),
                 -1L, 0L) != -1;
}

static void on_bus_error(int signal, siginfo_t *info, void *context) {
  const int kept = errno;
  const uintptr_t at = (uintptr_t)info->si_addr;
  (void)signal;
  (void)context;
  const bool sent = info->si_code <= 0 || info->si_code == BUS_MCEERR_AO; /* there is no access */
  for (uint32_t i = 0; !sent && i < MAPPINGS_MAX; i++) {
    const uintptr_t start = atomic_load(&mappings[i].start);
    const size_t bytes = atomic_load(&mappings[i].bytes);
    if (start && atomic_load(&mappings[i].start) == start && /* else bytes are of the slot's next mapping */
        at >= start && at - start < bytes && put_zeros(&mappings[i], start, bytes)) {
      errno = kept;
      return;
    }
  }
  (void)sigaction(SIGBUS, &before, NULL); /* not ours: the same access meets the old action */
  if (sent)
    (void)raise(SIGBUS); /* on return */
  errno = kept;
}

int mapping_guard(void) {
  struct sigaction action = {.sa_sigaction = on_bus_error, .sa_flags = SA_SIGINFO | SA_RESTART}, now;
  if (sigaction(SIGBUS, NULL, &now) < 0)
    return -errno;
  if ((now.sa_flags & SA_SIGINFO) && now.sa_sigaction == on_bus_error)
    return 0;
  before = now;
  (void)sigemptyset(&action.sa_mask);
  return sigaction(SIGBUS, &action, NULL) < 0 ? -errno : 0;
}

static struct mapping *take_slot(void) {
  for (uint32_t i = 0; i < MAPPINGS_MAX; i++) {
    bool taken = false;
    if (atomic_compare_exchange_strong(&mappings[i].taken, &taken, true))
      return &mappings[i];
  }
  return NULL;
}

int mapping_open(int fd, size_t bytes, struct mapping **ret_mapping) {
  struct mapping *mapping = take_slot();
  if (!mapping)
    return -EMFILE;
  void *start = mmap(NULL, bytes, PROT_READ, MAP_SHARED, fd, 0);
  if (start == MAP_FAILED) {
    int r = -errno;
    atomic_store(&mapping->taken, false);
    return r;
  }
  atomic_store(&mapping->failed, false);
  atomic_store(&mapping->watch, watching);
  atomic_store(&mapping->bytes, bytes);
  atomic_store(&mapping->start, (uintptr_t)start);
  *ret_mapping = mapping;
  return 0;
}

struct mapping *mapping_free(struct mapping *mapping) {
  if (!mapping)
    return NULL;
  void *start = (void *)atomic_exchange(&mapping->start, 0);
  (void)munmap(start, atomic_load(&mapping->bytes));
  atomic_store(&mapping->watch, NULL);
  atomic_store(&mapping->taken, false);
  return NULL;
}

const void *mapping_data(const struct mapping *mapping) {
  return (const void *)atomic_load(&mapping->start);
}

bool mapping_failed(const struct mapping *mapping) {
  return atomic_load(&mapping->failed);
}

void mapping_watch_begin(struct mapping_watch *watch) {
  atomic_store(&watch->failed, false);
  watching = watch;
}

void mapping_watch_end(struct mapping_watch *watch) {
  watching = NULL;
  for (uint32_t i = 0; i < MAPPINGS_MAX; i++) { /* one that is still open outlives the watch */
    struct mapping_watch *expected = watch;
    (void)atomic_compare_exchange_strong(&mappings[i].watch, &expected, NULL);
  }
}
