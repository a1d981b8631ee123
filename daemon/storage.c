/* What stands in the way of writing: a full disk, one that fails, a damaged database. While something does,
 * guised only reads: what would write is answered with 503, no job begins, and what runs waits at its last
 * checkpoint. The scheduler's thread tries again every second or so, so that it ends without a restart; what
 * is kept for convenience alone goes first. */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "daemon/log.h"
#include "daemon/networks.h"
#include "daemon/service_internal.h"

#define PROBE_BYTES (1u << 20)
#define PROBE_NS 1000000000LL

const char *storage_reason(int r) {
  switch (r) {
  case -ENOSPC:
  case -EDQUOT:
    return "the disk of the state directory is full: free space there; until then guised only reads";
  case -EROFS:
    return "the state directory is mounted read-only: mount it for writing; until then guised only reads";
  case -EIO:
    return "the disk of the state directory fails: look into the system's log; until it works guised only "
           "reads";
  case -EUCLEAN:
    return "the database is damaged: stop guised, look at it with guised --check-state and restore a backup; "
           "until then guised only reads";
  default:
    return NULL;
  }
}

int service_storage(struct service *service) {
  int fault = store_fault(service->store);
  return fault < 0 ? fault : atomic_load(&service->storage_fault);
}

void storage_note(struct service *service, int r) {
  int none = 0;
  if (storage_reason(r) && atomic_compare_exchange_strong(&service->storage_fault, &none, r))
    log_error("%s", storage_reason(r));
}

/* Whether a file takes bytes: the database alone may have room left in its log when nothing else has. */
static int probe_file(struct service *service) {
  char path[PATH_MAX];
  _cleanup_(freep) char *zeros = calloc(1, PROBE_BYTES);
  if (!zeros)
    return -ENOMEM;
  int r = state_path(path, service, "uploads/probe-XXXXXX");
  if (r < 0)
    return r;
  _cleanup_(closep) int fd = mkostemp(path, O_CLOEXEC);
  if (fd < 0)
    return -errno;
  size_t done = 0;
  while (r == 0 && done < PROBE_BYTES) {
    ssize_t n = write(fd, zeros + done, PROBE_BYTES - done);
    if (n < 0 && errno != EINTR)
      r = -errno;
    done += (size_t)MAX(n, 0);
  }
  if (r == 0 && fsync(fd) < 0)
    r = -errno;
  (void)unlink(path);
  return r;
}

int storage_probe(struct service *service) {
  int r = probe_file(service);
  if (r == 0)
    r = store_probe(service->store);
  if (r == 0 && atomic_exchange(&service->storage_fault, 0) < 0)
    log_info("the state directory takes writes again");
  else if (r < 0)
    storage_note(service, r);
  return r;
}

void storage_tick(struct service *service, int64_t *probed_ns) {
  storage_note(service, store_fault(service->store)); /* a probe ends both */
  if (service_storage(service) == 0 || clock_ns() - *probed_ns < PROBE_NS)
    return;
  if (networks_give(service, storage_probe(service), NULL)) /* it may be that there is room again without */
    (void)storage_probe(service);
  *probed_ns = clock_ns();
}

bool machine_lacks(int r) {
  return r == -ENOMEM || r == -EIO || r == -EMFILE || r == -ENFILE || r == -EAGAIN;
}

bool storage_stops(struct service *service, int r) {
  if (!storage_reason(r))
    return false;
  if (r == -EIO && service_storage(service) == 0 && storage_probe(service) == 0)
    return false; /* it writes: what cannot be read will not come back */
  storage_note(service, r);
  return true;
}
