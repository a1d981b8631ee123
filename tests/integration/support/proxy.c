#include "tests/integration/support/proxy.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "core/base/base.h"

#define POLL_MS 50
#define HELD_NS INT64_C(2000000000)

static int connect_target(const struct proxy *proxy) {
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  (void)snprintf(address.sun_path, sizeof(address.sun_path), "%s", proxy->target);
  if (fd >= 0 && connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0)
    return fd;
  (void)close(fd);
  return -1;
}

static bool pass(int from, int to, char *buffer, ssize_t size, size_t *passed) {
  ssize_t n = read(from, buffer, (size_t)size);
  for (ssize_t done = 0; done < n;) {
    ssize_t written = send(to, buffer + done, (size_t)(n - done), MSG_NOSIGNAL);
    if (written <= 0)
      return false;
    done += written;
  }
  *passed += (size_t)(n > 0 ? n : 0);
  return n > 0;
}

/* "100 Continue" is none yet. */
static bool is_answer(int daemon) {
  char head[13] = "";
  return recv(daemon, head, sizeof(head) - 1, MSG_PEEK) <= 0 || strcmp(head, "HTTP/1.1 100") != 0;
}

/* The client's end is closed at once; the daemon goes on waiting for the rest. */
static bool cut_off(struct proxy *proxy, size_t passed, int daemon) {
  const size_t cut = atomic_load(&proxy->cut);
  if (cut == 0 || passed < cut)
    return false;
  atomic_store(&proxy->cut, 0);
  proxy->held = dup(daemon);
  proxy->held_at = clock_ns();
  return true;
}

static void let_go(struct proxy *proxy, bool now) {
  if (proxy->held < 0 || (!now && clock_ns() - proxy->held_at < HELD_NS))
    return;
  (void)close(proxy->held);
  proxy->held = -1;
}

/* Bytes to and fro until one side closes, or an answer is to be lost, or a request cut off. */
static void serve(struct proxy *proxy, int client, int daemon) {
  static char buffer[1 << 16];
  size_t passed = 0, answered = 0; /* bytes */
  bool asked = false;              /* since the last answer began */
  for (bool open = true; open && !atomic_load(&proxy->stop);) {
    struct pollfd ends[] = {{client, POLLIN, 0}, {daemon, POLLIN, 0}};
    if (poll(ends, 2, POLL_MS) <= 0)
      continue;
    if (ends[1].revents && asked && is_answer(daemon)) {
      const unsigned number = atomic_fetch_add(&proxy->answers, 1) + 1;
      asked = false;
      if (number >= atomic_load(&proxy->first) && number <= atomic_load(&proxy->last))
        return;
    }
    if (ends[1].revents)
      open = pass(daemon, client, buffer, sizeof(buffer), &answered);
    if (open && ends[0].revents) {
      open = pass(client, daemon, buffer, sizeof(buffer), &passed) && !cut_off(proxy, passed, daemon);
      asked = true;
    }
  }
}

/* One connection at a time, which is what the client has. */
static void *run(void *context) {
  struct proxy *proxy = context;
  while (!atomic_load(&proxy->stop)) {
    struct pollfd poller = {proxy->fd, POLLIN, 0};
    let_go(proxy, false);
    if (poll(&poller, 1, POLL_MS) <= 0)
      continue;
    int client = accept4(proxy->fd, NULL, NULL, SOCK_CLOEXEC), daemon = connect_target(proxy);
    if (client >= 0 && daemon >= 0)
      serve(proxy, client, daemon);
    if (client >= 0)
      (void)close(client);
    if (daemon >= 0)
      (void)close(daemon);
  }
  return NULL;
}

void proxy_start(struct proxy *proxy, const char *unix_url) {
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  socklen_t length = sizeof(address);
  memset(proxy, 0, sizeof(*proxy));
  proxy->held = -1;
  (void)snprintf(proxy->target, sizeof(proxy->target), "%s", unix_url + strlen("unix:"));
  proxy->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  assert_true(proxy->fd >= 0);
  assert_int_equal(bind(proxy->fd, (struct sockaddr *)&address, sizeof(address)), 0);
  assert_int_equal(listen(proxy->fd, 16), 0);
  assert_int_equal(getsockname(proxy->fd, (struct sockaddr *)&address, &length), 0);
  (void)snprintf(proxy->url, sizeof(proxy->url), "http://127.0.0.1:%u", ntohs(address.sin_port));
  assert_int_equal(pthread_create(&proxy->thread, NULL, run, proxy), 0);
}

void proxy_lose(struct proxy *proxy, unsigned first, unsigned last) {
  atomic_store(&proxy->answers, 0);
  atomic_store(&proxy->first, first);
  atomic_store(&proxy->last, last);
}

void proxy_stop(struct proxy *proxy) {
  atomic_store(&proxy->stop, true);
  (void)pthread_join(proxy->thread, NULL);
  let_go(proxy, true);
  (void)close(proxy->fd);
}
