#include "core/image/decoder.h"

#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/image/decode.h"
#include "core/image/ingest.h"

#define JAIL_FAILED 2      /* exit status of guise-decode when it cannot enter its jail */
#define LOADING_FAILED 127 /* and of the dynamic loader when it cannot load a program's libraries */

void decoder_init(struct decoder *decoder, const char *program) {
  *decoder = (struct decoder){.program = program, .socket = -1, .pid = 0};
}

/* Returns the exit status, or -1 when a signal ended it. */
static int reap(struct decoder *decoder, bool kill_it) {
  int status = 0;
  if (decoder->socket < 0)
    return 0;
  (void)close(decoder->socket);
  decoder->socket = -1;
  if (kill_it)
    (void)kill(decoder->pid, SIGKILL);
  while (waitpid(decoder->pid, &status, 0) < 0 && errno == EINTR)
    ;
  decoder->pid = 0;
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

/* After a failed exchange: a helper that has exited by itself tells why; one that hangs is killed. */
static int reap_failed(struct decoder *decoder) {
  for (int tries = 0; tries < 50; tries++) {
    siginfo_t info = {0};
    if (waitid(P_PID, (id_t)decoder->pid, &info, WEXITED | WNOHANG | WNOWAIT) == 0 &&
        info.si_pid == decoder->pid)
      return reap(decoder, false);
    (void)usleep(1000);
  }
  return reap(decoder, true);
}

void decoder_stop(struct decoder *decoder) {
  (void)reap(decoder, true);
}

/* The helper sees its socket as standard input and output, /dev/null as standard error, and an empty
 * environment. */
static int spawn(struct decoder *decoder, int socket, struct guise_error *err) {
  char *const arguments[] = {(char *)DECODE_PROGRAM, NULL}, *const environment[] = {NULL};
  posix_spawn_file_actions_t actions;
  posix_spawnattr_t attributes;
  sigset_t none, all;
  pid_t pid = 0;
  (void)sigemptyset(&none);
  (void)sigfillset(&all);
  (void)posix_spawn_file_actions_init(&actions);
  (void)posix_spawnattr_init(&attributes);
  (void)posix_spawn_file_actions_adddup2(&actions, socket, STDIN_FILENO);
  (void)posix_spawn_file_actions_adddup2(&actions, socket, STDOUT_FILENO);
  (void)posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, "/dev/null", 1, 0);
  (void)posix_spawn_file_actions_addclosefrom_np(&actions, 3);
  (void)posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
  (void)posix_spawnattr_setsigmask(&attributes, &none);
  (void)posix_spawnattr_setsigdefault(&attributes, &all);
  int r = posix_spawn(&pid, decoder->program, &actions, &attributes, arguments, environment);
  (void)posix_spawnattr_destroy(&attributes);
  (void)posix_spawn_file_actions_destroy(&actions);
  if (r != 0)
    return error_set(
        err, -r,
        "cannot run the image decoder %s: %s; set the option decoder to where guise-decode is installed",
        decoder->program, strerror(r));
  decoder->pid = pid;
  return 0;
}

static int start(struct decoder *decoder, struct guise_error *err) {
  int ends[2];
  if (decoder->images >= DECODE_IMAGES)
    decoder_stop(decoder);
  if (decoder->socket >= 0)
    return 0;
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) < 0)
    return error_set(err, -errno, "cannot make a socket for the image decoder: %s", strerror(errno));
  int r = spawn(decoder, ends[1], err);
  (void)close(ends[1]);
  if (r < 0)
    (void)close(ends[0]);
  else
    decoder->socket = ends[0];
  decoder->images = 0;
  return r;
}

/* Waits for the socket until the deadline. */
static bool wait_for(int fd, short events, int64_t deadline_ns) {
  for (;;) {
    int64_t left = (deadline_ns - clock_ns()) / 1000000;
    struct pollfd poller = {fd, events, 0};
    if (left <= 0)
      return false;
    int n = poll(&poller, 1, (int)left);
    if (n < 0 && errno == EINTR)
      continue;
    return n > 0;
  }
}

static bool send_all(int fd, const void *data, size_t bytes, int64_t deadline) {
  for (size_t done = 0; done < bytes;) {
    if (!wait_for(fd, POLLOUT, deadline))
      return false;
    ssize_t n = send(fd, (const char *)data + done, bytes - done, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (n < 0 && (errno == EINTR || errno == EAGAIN))
      continue;
    if (n <= 0)
      return false;
    done += (size_t)n;
  }
  return true;
}

static bool receive_all(int fd, void *data, size_t bytes, int64_t deadline) {
  for (size_t have = 0; have < bytes;) {
    if (!wait_for(fd, POLLIN, deadline))
      return false;
    ssize_t n = recv(fd, (char *)data + have, bytes - have, MSG_DONTWAIT);
    if (n < 0 && (errno == EINTR || errno == EAGAIN))
      continue;
    if (n <= 0)
      return false;
    have += (size_t)n;
  }
  return true;
}

/* One exchange; false when the helper broke the protocol, died or was late. */
static bool exchange(struct decoder *decoder, const void *data, size_t bytes, uint32_t size, uint8_t *ret_rgb,
                     uint32_t *ret_status, char detail[200]) {
  int64_t deadline = clock_ns() + (int64_t)DECODE_SECONDS * 1000000000;
  uint32_t head[2] = {size, (uint32_t)bytes};
  if (!send_all(decoder->socket, head, sizeof(head), deadline) ||
      !send_all(decoder->socket, data, bytes, deadline) ||
      !receive_all(decoder->socket, head, sizeof(head), deadline) || head[0] >= DECODE_STATUSES)
    return false;
  *ret_status = head[0];
  if (head[0] == DECODE_OK)
    return head[1] == size * size * 3 && receive_all(decoder->socket, ret_rgb, head[1], deadline);
  if (head[1] >= 200 || !receive_all(decoder->socket, detail, head[1], deadline))
    return false;
  detail[head[1]] = 0;
  for (char *p = detail; *p; p++) /* texts of the libraries may quote the file */
    if (*p < ' ' || *p > '~')
      *p = '?';
  return true;
}

/* One helper's answer, as decoder_run has it; -ECHILD when it died or was late. */
static int ask(struct decoder *decoder, const void *data, size_t bytes, uint32_t size, uint8_t *ret_rgb,
               const char **ret_code, char detail[200], struct guise_error *err) {
  static const char *const codes[DECODE_STATUSES] = {"", "unsupported_type", "corrupt", "bad_dimensions"};
  uint32_t status = DECODE_CORRUPT;
  int r = start(decoder, err);
  if (r < 0)
    return r;
  decoder->images++;
  if (exchange(decoder, data, bytes, size, ret_rgb, &status, detail)) {
    *ret_code = codes[status];
    return status == DECODE_OK ? 0 : -EBADMSG;
  }
  switch (reap_failed(decoder)) {
  case JAIL_FAILED:
    return error_set(
        err, -EPERM,
        "the image decoder %s cannot enter its jail: this system refuses seccomp or resource limits",
        decoder->program);
  case LOADING_FAILED:
    return error_set(err, -ENOEXEC,
                     "the image decoder %s cannot be loaded: install the libraries that ldd finds missing",
                     decoder->program);
  default:
    *ret_code = "decoder_failed";
    (void)snprintf(detail, 200, "the decoder died or took longer than %u s on this file", DECODE_SECONDS);
    return -ECHILD;
  }
}

/* Asks up to `tries` helpers. */
static int run(struct decoder *decoder, uint32_t tries, const void *data, size_t bytes, uint32_t size,
               uint8_t *ret_rgb, const char **ret_code, char detail[200], struct guise_error *err) {
  int r = -ECHILD;
  detail[0] = 0;
  if (bytes == 0 || bytes > DECODE_FILE_MAX) {
    *ret_code = bytes == 0 ? "corrupt" : "too_large";
    (void)snprintf(detail, 200, bytes == 0 ? "the file is empty" : "the file is larger than 64 MiB");
    return -EBADMSG;
  }
  for (uint32_t i = 0; i < tries && r == -ECHILD; i++)
    r = ask(decoder, data, bytes, size, ret_rgb, ret_code, detail, err);
  return r == -ECHILD ? -EBADMSG : r;
}

int decoder_run(struct decoder *decoder, const void *data, size_t bytes, uint32_t size, uint8_t *ret_rgb,
                const char **ret_code, char detail[200], struct guise_error *err) {
  return run(decoder, 2, data, bytes, size, ret_rgb, ret_code, detail, err);
}

int decode_image(const char *program, const void *data, size_t bytes, uint32_t size, uint8_t *ret_rgb,
                 struct guise_error *err) {
  struct decoder decoder;
  const char *code = "";
  char detail[200];
  if (size < 16 || size > 224)
    return error_set(err, -EINVAL, "images are decoded to 16..224 pixels, not %u", size);
  decoder_init(&decoder, program);
  int r = run(&decoder, 1, data, bytes, size, ret_rgb, &code, detail, err); /* who asks can ask again */
  decoder_stop(&decoder);
  return r == -EBADMSG ? error_set(err, r, "the image cannot be used (%s): %s", code, detail) : r;
}
