/* A layer over SQLite's default VFS that fails the n-th call which changes a file (write, truncate, sync,
 * delete, growth of the shared index), and, when it is `lasting`, every later one until it is told to stop.
 * A write that fails may have written its first half. full_while makes a disk that is full until a file goes.
 * Real syncs are left out: the process does not die. Arming is for one thread; full_while may change while
 * others write. */
#pragma once

#include <sqlite3.h>
#include <stdatomic.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

static struct {
  sqlite3_vfs vfs, *real;
  atomic_uint calls; /* since faulty_arm */
  uint32_t fail_at;  /* 0 = never */
  int code;          /* SQLITE_FULL, or SQLITE_IOERR with the call's own extended code */
  bool lasting, torn;
  const char *_Atomic full_while; /* every call fails while this file is there; NULL = see above */
} faulty;

struct faulty_file {
  sqlite3_file base;
  sqlite3_file *real; /* behind this */
};

static sqlite3_file *real_of(sqlite3_file *file) {
  return ((struct faulty_file *)(void *)file)->real;
}

static void faulty_arm(uint32_t fail_at, int code, bool lasting, bool torn) {
  faulty.calls = 0;
  faulty.fail_at = fail_at;
  faulty.code = code;
  faulty.lasting = lasting;
  faulty.torn = torn;
}

/* SQLITE_OK, or what the call shall fail with. */
static int faulty_next(int extended) {
  const uint32_t calls = faulty.calls++ + 1;
  const char *full_while = faulty.full_while;
  if (full_while)
    return access(full_while, F_OK) == 0 ? SQLITE_FULL : SQLITE_OK;
  bool fails = faulty.fail_at && (faulty.lasting ? calls >= faulty.fail_at : calls == faulty.fail_at);
  return !fails ? SQLITE_OK : faulty.code == SQLITE_IOERR ? extended : faulty.code;
}

static int faulty_close(sqlite3_file *file) {
  return real_of(file)->pMethods ? real_of(file)->pMethods->xClose(real_of(file)) : SQLITE_OK;
}
static int faulty_read(sqlite3_file *file, void *data, int bytes, sqlite3_int64 offset) {
  return real_of(file)->pMethods->xRead(real_of(file), data, bytes, offset);
}
static int faulty_write(sqlite3_file *file, const void *data, int bytes, sqlite3_int64 offset) {
  int r = faulty_next(SQLITE_IOERR_WRITE);
  if (r == SQLITE_OK || faulty.torn) {
    int wrote =
        real_of(file)->pMethods->xWrite(real_of(file), data, r == SQLITE_OK ? bytes : bytes / 2, offset);
    r = r == SQLITE_OK ? wrote : r;
  }
  return r;
}
static int faulty_truncate(sqlite3_file *file, sqlite3_int64 size) {
  int r = faulty_next(SQLITE_IOERR_TRUNCATE);
  return r == SQLITE_OK ? real_of(file)->pMethods->xTruncate(real_of(file), size) : r;
}
static int faulty_sync(sqlite3_file *file, int flags) {
  (void)file;
  (void)flags;
  return faulty_next(SQLITE_IOERR_FSYNC);
}
static int faulty_size(sqlite3_file *file, sqlite3_int64 *size) {
  return real_of(file)->pMethods->xFileSize(real_of(file), size);
}
static int faulty_lock(sqlite3_file *file, int lock) {
  return real_of(file)->pMethods->xLock(real_of(file), lock);
}
static int faulty_unlock(sqlite3_file *file, int lock) {
  return real_of(file)->pMethods->xUnlock(real_of(file), lock);
}
static int faulty_check(sqlite3_file *file, int *locked) {
  return real_of(file)->pMethods->xCheckReservedLock(real_of(file), locked);
}
static int faulty_control(sqlite3_file *file, int operation, void *argument) {
  return real_of(file)->pMethods->xFileControl(real_of(file), operation, argument);
}
static int faulty_sector(sqlite3_file *file) {
  return real_of(file)->pMethods->xSectorSize(real_of(file));
}
static int faulty_traits(sqlite3_file *file) {
  return real_of(file)->pMethods->xDeviceCharacteristics(real_of(file));
}
static int faulty_shm_map(sqlite3_file *file, int region, int bytes, int extend, void volatile **memory) {
  int r = extend ? faulty_next(SQLITE_IOERR_SHMSIZE) : SQLITE_OK;
  return r == SQLITE_OK ? real_of(file)->pMethods->xShmMap(real_of(file), region, bytes, extend, memory) : r;
}
static int faulty_shm_lock(sqlite3_file *file, int offset, int count, int flags) {
  return real_of(file)->pMethods->xShmLock(real_of(file), offset, count, flags);
}
static void faulty_shm_barrier(sqlite3_file *file) {
  real_of(file)->pMethods->xShmBarrier(real_of(file));
}
static int faulty_shm_unmap(sqlite3_file *file, int erase) {
  return real_of(file)->pMethods->xShmUnmap(real_of(file), erase);
}

static int faulty_open(sqlite3_vfs *vfs, const char *name, sqlite3_file *file, int flags, int *out_flags) {
  static const sqlite3_io_methods methods = {
      .iVersion = 2,
      .xClose = faulty_close,
      .xRead = faulty_read,
      .xWrite = faulty_write,
      .xTruncate = faulty_truncate,
      .xSync = faulty_sync,
      .xFileSize = faulty_size,
      .xLock = faulty_lock,
      .xUnlock = faulty_unlock,
      .xCheckReservedLock = faulty_check,
      .xFileControl = faulty_control,
      .xSectorSize = faulty_sector,
      .xDeviceCharacteristics = faulty_traits,
      .xShmMap = faulty_shm_map,
      .xShmLock = faulty_shm_lock,
      .xShmBarrier = faulty_shm_barrier,
      .xShmUnmap = faulty_shm_unmap,
  };
  struct faulty_file *mine = (struct faulty_file *)(void *)file;
  (void)vfs;
  mine->real = (sqlite3_file *)(void *)(mine + 1);
  int r = faulty.real->xOpen(faulty.real, name, mine->real, flags, out_flags);
  mine->base.pMethods = mine->real->pMethods ? &methods : NULL;
  return r;
}

static int faulty_delete(sqlite3_vfs *vfs, const char *name, int sync) {
  (void)vfs;
  int r = faulty_next(SQLITE_IOERR_DELETE);
  return r == SQLITE_OK ? faulty.real->xDelete(faulty.real, name, sync) : r;
}

/* Makes it the default of connections to come. */
static int faulty_register(void) {
  faulty.real = sqlite3_vfs_find(NULL);
  faulty.vfs = *faulty.real;
  faulty.vfs.zName = "faulty";
  faulty.vfs.szOsFile = (int)sizeof(struct faulty_file) + faulty.real->szOsFile;
  faulty.vfs.xOpen = faulty_open;
  faulty.vfs.xDelete = faulty_delete;
  return sqlite3_vfs_register(&faulty.vfs, 1);
}
