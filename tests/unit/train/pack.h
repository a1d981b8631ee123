/* Packs of drawn faces. */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
// cmocka needs the four headers above
#include <cmocka.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "core/image/ingest.h"
#include "core/image/tar_write.h"

/* At `path`, from an archive beside it; other seeds draw other people. */
static inline void draw_pack(const char *path, uint64_t seed, uint32_t people, uint32_t images,
                             uint32_t size) {
  char tar[300];
  struct guise_error err = {0};
  struct ingest_result result;
  (void)snprintf(tar, sizeof(tar), "%s.tar", path);
  int fd = open(tar, O_CREAT | O_TRUNC | O_WRONLY | O_CLOEXEC, 0600);
  assert_true(fd >= 0);
  assert_int_equal(synth_write_tar(fd, seed, people, images, size, &err), 0);
  (void)close(fd);
  if (ingest_archive(tar, path, size, GUISE_BUILD "/guise-decode", 1, NULL, NULL, &result, &err) < 0)
    fail_msg("%s", err.text);
  assert_int_equal(result.images, people * images);
}
