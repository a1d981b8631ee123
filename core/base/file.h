/* Files that survive a crash, and their hashes. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "core/base/base.h"

#define SHA256_HEX 65 /* 64 digits and a NUL */

/* Writes `path` so that a reader sees the old file or the whole new one: temporary file beside it, fsync,
 * rename, fsync of the directory. */
int file_write_atomic(const char *path, const void *data, size_t size, struct guise_error *err);
/* The last step alone, for a temporary file written by somebody else: fsync(temp), rename, fsync(directory).
 */
int file_publish(const char *temp, const char *path, struct guise_error *err);
int file_sync_directory(const char *directory);

/* Reads a whole file of at most `limit` bytes; a NUL follows the data. -EFBIG when it is larger. Free
 * *ret_data. */
int file_read(const char *path, size_t limit, char **ret_data, size_t *ret_size, struct guise_error *err);

/* Creates the directory and its parents (mode 0700 for those it makes). */
int directory_make(const char *path, struct guise_error *err);
/* Removes a directory and what is in it; a missing one is no error. Does not follow symbolic links. */
int directory_remove(const char *path);

int sha256_file(const char *path, char ret_hex[SHA256_HEX], uint64_t *ret_size /* may be NULL */);
void sha256_data(const void *data, size_t size, char ret_hex[SHA256_HEX]);
