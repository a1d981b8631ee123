/* The whole of guise-decode: turns one image file after the other into RGB bytes, in a jail. It is started
 * with its requests on standard input and its answers on standard output (core/image/decode.h) and needs
 * nothing else: no file system, no network, no new processes. The client, which has no such program beside
 * it, runs itself as one. */
#include <linux/seccomp.h>
#include <seccomp.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include "core/image/decode.h"
#include "core/image/pack.h"

#define CPU_SECONDS ((rlim_t)DECODE_IMAGES * DECODE_SECONDS)

static int limit(int resource, rlim_t value) {
  struct rlimit rlimit = {value, value};
  return setrlimit((__rlimit_resource_t)resource, &rlimit);
}

int decode_jail(void) {
  static const int allowed[] = {SCMP_SYS(read),  SCMP_SYS(write),      SCMP_SYS(brk),
                                SCMP_SYS(mmap),  SCMP_SYS(munmap),     SCMP_SYS(mremap),
                                SCMP_SYS(exit),  SCMP_SYS(exit_group), SCMP_SYS(rt_sigreturn),
                                SCMP_SYS(futex), SCMP_SYS(madvise)};
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 || prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0)
    return -1;
#ifdef GUISE_SANITIZED
  /* the sanitizers map terabytes, and read /proc when they report: files stay limited, system calls not */
  (void)allowed;
  return limit(RLIMIT_FSIZE, 0) < 0 || limit(RLIMIT_CPU, CPU_SECONDS) < 0 ? -1 : 0;
#else
  if (limit(RLIMIT_AS, (rlim_t)1 << 30) < 0 || limit(RLIMIT_FSIZE, 0) < 0 || limit(RLIMIT_NOFILE, 3) < 0 ||
      limit(RLIMIT_CORE, 0) < 0 || limit(RLIMIT_CPU, CPU_SECONDS) < 0)
    return -1;
  scmp_filter_ctx filter = seccomp_init(SCMP_ACT_KILL_PROCESS);
  if (!filter)
    return -1;
  int r = 0;
  for (size_t i = 0; i < ARRAY_SIZE(allowed) && r == 0; i++)
    r = seccomp_rule_add(filter, SCMP_ACT_ALLOW, allowed[i], 0);
  if (r == 0)
    r = seccomp_load(filter);
  seccomp_release(filter);
  return r;
#endif
}

static bool read_all(void *data, size_t bytes) {
  for (size_t have = 0; have < bytes;) {
    ssize_t n = read(STDIN_FILENO, (char *)data + have, bytes - have);
    if (n <= 0)
      return false;
    have += (size_t)n;
  }
  return true;
}

static bool write_all(const void *data, size_t bytes) {
  for (size_t done = 0; done < bytes;) {
    ssize_t n = write(STDOUT_FILENO, (const char *)data + done, bytes - done);
    if (n <= 0)
      return false;
    done += (size_t)n;
  }
  return true;
}

static bool answer(enum decode_status status, const void *data, uint32_t bytes) {
  uint32_t head[2] = {(uint32_t)status, bytes};
  return write_all(head, sizeof(head)) && write_all(data, bytes);
}

static bool serve_one(void) {
  uint32_t head[2];
  char reason[200];
  struct decoded image = {NULL, 0, 0};
  if (!read_all(head, sizeof(head)) || head[0] < 16 || head[0] > 224 || head[1] == 0 ||
      head[1] > DECODE_FILE_MAX)
    return false;
  uint8_t *file = malloc(head[1]), *rgb = malloc((size_t)head[0] * head[0] * 3);
  bool ok = file && rgb && read_all(file, head[1]);
  if (ok) {
    enum decode_status status = image_decode(file, head[1], &image, reason);
    if (status == DECODE_OK) {
      image_resize(image.rgb, image.width, image.height, rgb, head[0]);
      ok = answer(DECODE_OK, rgb, head[0] * head[0] * 3);
    } else {
      ok = answer(status, reason, (uint32_t)strlen(reason));
    }
  }
  free(image.rgb);
  free(file);
  free(rgb);
  return ok;
}

int decode_serve(void) {
  if (decode_jail() != 0) {
    (void)fputs("guise-decode: cannot enter its jail (seccomp and resource limits)\n", stderr);
    return 2;
  }
  while (serve_one())
    ;
  return 0;
}
