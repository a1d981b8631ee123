/* Room for erasing on a full disk. To erase rows SQLite first writes the pages that change into its log, so a
 * disk that is full would keep what somebody wants gone, which is what would make room. A file of the state
 * directory holds some blocks meanwhile; an erasure that finds no room removes it and tries once more, and
 * when the disk has room again it is made anew. */
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "core/base/file.h"
#include "daemon/log.h"
#include "daemon/service_internal.h"

#define MOST_BYTES (UINT64_C(32) << 20)
#define SHARE 64u /* of the file system at most */
#define ROOM 4u   /* it is made where so many times its size are free */
#define LOOK_NS (10 * 1000000000LL)

static int reserve_path(struct service *service, char ret_path[PATH_MAX]) {
  return state_path(ret_path, service, RESERVE_FILE);
}

static uint64_t size_on(const struct statvfs *disk) {
  return MIN(MOST_BYTES, (uint64_t)disk->f_blocks * disk->f_frsize / SHARE);
}

bool reserve_fits(struct service *service, uint64_t bytes) {
  struct statvfs disk;
  return statvfs(service->config.state, &disk) == 0 &&
         (uint64_t)disk.f_bavail * disk.f_frsize >= bytes + ROOM * size_on(&disk);
}

/* One that is too small is of a daemon that ended while it made it. */
static void make(const char *path, uint64_t bytes) {
  _cleanup_(closep) int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
  if (fd >= 0 && posix_fallocate(fd, 0, (off_t)bytes) != 0)
    (void)unlink(path);
}

void reserve_keep(struct service *service, int64_t *looked_ns) {
  char path[PATH_MAX];
  struct statvfs disk;
  struct stat made;
  if ((*looked_ns && clock_ns() - *looked_ns < LOOK_NS) || service_storage(service) < 0)
    return;
  *looked_ns = clock_ns();
  if (reserve_path(service, path) < 0 || statvfs(service->config.state, &disk) < 0)
    return;
  const uint64_t bytes = size_on(&disk);
  if (stat(path, &made) == 0 && (uint64_t)made.st_size >= bytes)
    return;
  if ((uint64_t)disk.f_bavail * disk.f_frsize >= ROOM * bytes)
    make(path, bytes);
}

bool reserve_give(struct service *service, int r) {
  char path[PATH_MAX];
  if (!lacks_room(r) || reserve_path(service, path) < 0 || unlink(path) < 0)
    return false;
  (void)file_sync_directory(service->config.state); /* some file systems free the blocks only then */
  log_info("the disk is full: an erasure takes the room that is reserved for it");
  return true;
}
