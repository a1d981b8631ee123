#include "core/base/file.h"

#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

int file_sync_directory(const char *directory) {
  _cleanup_(closep) int fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0)
    return -errno;
  return fsync(fd) < 0 ? -errno : 0;
}

/* The directory part of `path`, "." when there is none. */
static void parent_of(const char *path, char ret_parent[PATH_MAX]) {
  const char *slash = strrchr(path, '/');
  if (!slash)
    (void)snprintf(ret_parent, PATH_MAX, ".");
  else if (slash == path)
    (void)snprintf(ret_parent, PATH_MAX, "/");
  else
    (void)snprintf(ret_parent, PATH_MAX, "%.*s", (int)(slash - path), path);
}

int file_publish(const char *temp, const char *path, struct guise_error *err) {
  char parent[PATH_MAX];
  {
    _cleanup_(closep) int fd = open(temp, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fsync(fd) < 0)
      return error_set(err, -errno, "cannot write %s to disk: %s", temp, strerror(errno));
  }
  if (rename(temp, path) < 0)
    return error_set(err, -errno, "cannot rename %s to %s: %s", temp, path, strerror(errno));
  parent_of(path, parent);
  int r = file_sync_directory(parent);
  if (r < 0)
    return error_set(err, r, "cannot write the directory %s to disk: %s", parent, strerror(-r));
  return 0;
}

static int write_all(int fd, const char *data, size_t size) {
  while (size > 0) {
    ssize_t n = write(fd, data, size);
    if (n < 0 && errno == EINTR)
      continue;
    if (n < 0)
      return -errno;
    data += n;
    size -= (size_t)n;
  }
  return 0;
}

int file_write_atomic(const char *path, const void *data, size_t size, struct guise_error *err) {
  char temp[PATH_MAX];
  if (snprintf(temp, sizeof(temp), "%s.XXXXXX", path) >= (int)sizeof(temp))
    return error_set(err, -ENAMETOOLONG, "the path %s is too long", path);
  _cleanup_(closep) int fd = mkostemp(temp, O_CLOEXEC);
  if (fd < 0)
    return error_set(err, -errno, "cannot create %s: %s", temp, strerror(errno));
  int r = write_all(fd, data, size);
  if (r < 0)
    error_set(err, r, "cannot write %s: %s", temp, strerror(-r));
  else
    r = file_publish(temp, path, err);
  if (r < 0)
    (void)unlink(temp);
  return r;
}

int file_read(const char *path, size_t limit, char **ret_data, size_t *ret_size, struct guise_error *err) {
  _cleanup_(closep) int fd = open(path, O_RDONLY | O_CLOEXEC);
  struct stat st;
  if (fd < 0 || fstat(fd, &st) < 0)
    return error_set(err, -errno, "cannot open %s: %s", path, strerror(errno));
  if (!S_ISREG(st.st_mode))
    return error_set(err, -EINVAL, "%s is not a regular file", path);
  if ((uint64_t)st.st_size > limit)
    return error_set(err, -EFBIG, "%s has %lld bytes; the limit is %zu", path, (long long)st.st_size, limit);
  size_t size = (size_t)st.st_size, have = 0;
  _cleanup_(freep) char *data = malloc(size + 1);
  if (!data)
    return error_set(err, -ENOMEM, "out of memory reading %s", path);
  while (have < size) {
    ssize_t n = read(fd, data + have, size - have);
    if (n < 0 && errno == EINTR)
      continue;
    if (n < 0)
      return error_set(err, -errno, "cannot read %s: %s", path, strerror(errno));
    if (n == 0)
      break;
    have += (size_t)n;
  }
  data[have] = 0;
  *ret_data = TAKE(data);
  *ret_size = have;
  return 0;
}

int directory_make(const char *path, struct guise_error *err) {
  char buffer[PATH_MAX];
  if (snprintf(buffer, sizeof(buffer), "%s", path) >= (int)sizeof(buffer))
    return error_set(err, -ENAMETOOLONG, "the path %s is too long", path);
  for (char *p = buffer + 1; *p; p++) {
    if (*p != '/')
      continue;
    *p = 0;
    if (mkdir(buffer, 0700) < 0 && errno != EEXIST)
      return error_set(err, -errno, "cannot create the directory %s: %s", buffer, strerror(errno));
    *p = '/';
  }
  if (mkdir(buffer, 0700) < 0 && errno != EEXIST)
    return error_set(err, -errno, "cannot create the directory %s: %s", buffer, strerror(errno));
  return 0;
}

static int remove_entry(const char *path, const struct stat *st, int type, struct FTW *ftw) {
  (void)st;
  (void)type;
  (void)ftw;
  return remove(path);
}

int directory_remove(const char *path) {
  if (nftw(path, remove_entry, 16, FTW_DEPTH | FTW_PHYS | FTW_MOUNT) < 0 && errno != ENOENT)
    return -errno;
  return 0;
}

static void hex_of(const unsigned char digest[crypto_hash_sha256_BYTES], char ret_hex[SHA256_HEX]) {
  (void)sodium_bin2hex(ret_hex, SHA256_HEX, digest, crypto_hash_sha256_BYTES);
}

int sha256_file(const char *path, char ret_hex[SHA256_HEX], uint64_t *ret_size) {
  _cleanup_(closep) int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0)
    return -errno;
  _cleanup_(freep) unsigned char *buffer = malloc(1 << 20);
  if (!buffer)
    return -ENOMEM;
  crypto_hash_sha256_state state;
  unsigned char digest[crypto_hash_sha256_BYTES];
  uint64_t size = 0;
  crypto_hash_sha256_init(&state);
  for (;;) {
    ssize_t n = read(fd, buffer, 1 << 20);
    if (n < 0 && errno == EINTR)
      continue;
    if (n < 0)
      return -errno;
    if (n == 0)
      break;
    crypto_hash_sha256_update(&state, buffer, (unsigned long long)n);
    size += (uint64_t)n;
  }
  crypto_hash_sha256_final(&state, digest);
  hex_of(digest, ret_hex);
  if (ret_size)
    *ret_size = size;
  return 0;
}

void sha256_data(const void *data, size_t size, char ret_hex[SHA256_HEX]) {
  unsigned char digest[crypto_hash_sha256_BYTES];
  crypto_hash_sha256(digest, data, size);
  hex_of(digest, ret_hex);
}
