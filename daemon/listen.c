#include "daemon/listen.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#define BACKLOG 128

static bool is_loopback(const struct sockaddr_storage *address) {
  if (address->ss_family == AF_INET)
    return (ntohl(((const struct sockaddr_in *)address)->sin_addr.s_addr) >> 24) == 127;
  if (address->ss_family == AF_INET6)
    return IN6_IS_ADDR_LOOPBACK(&((const struct sockaddr_in6 *)address)->sin6_addr);
  return address->ss_family == AF_UNIX;
}

static int parse_unix(const char *path, struct listen_address *ret_address, struct guise_error *err) {
  struct sockaddr_un un = {.sun_family = AF_UNIX};
  if (!path[0] || strlen(path) >= sizeof(un.sun_path))
    return error_set(err, -EINVAL, "unix:PATH needs a path of 1 to %zu bytes", sizeof(un.sun_path) - 1);
  memcpy(un.sun_path, path, strlen(path));
  memset(ret_address, 0, sizeof(*ret_address));
  memcpy(&ret_address->address, &un, sizeof(un));
  ret_address->length = sizeof(un);
  return 0;
}

static int parse_port(const char *text, in_port_t *ret_port) {
  char *end;
  errno = 0;
  unsigned long port = strtoul(text, &end, 10);
  if (errno || *end || end == text || text[0] == '-' || text[0] == '+' || port > 65535)
    return -EINVAL;
  *ret_port = htons((uint16_t)port);
  return 0;
}

int listen_parse(const char *text, struct listen_address *ret_address, struct guise_error *err) {
  struct listen_address result = {.length = 0};
  struct sockaddr_in *in4 = (struct sockaddr_in *)&result.address;
  struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)&result.address;
  char host[64];
  in_port_t port;
  if (strncmp(text, "unix:", 5) == 0)
    return parse_unix(text + 5, ret_address, err);
  const char *colon = strrchr(text, ':');
  size_t length = colon ? (size_t)(colon - text) : 0;
  if (!colon || length == 0 || length >= sizeof(host) || parse_port(colon + 1, &port) < 0)
    return error_set(
        err, -EINVAL,
        "\"%s\" is no address: write ADDRESS:PORT (127.0.0.1:8080, port 0 = a free one) or unix:PATH", text);
  (void)snprintf(host, sizeof(host), "%.*s", (int)length, text);
  if (strcmp(host, "localhost") == 0)
    (void)snprintf(host, sizeof(host), "127.0.0.1");
  if (inet_pton(AF_INET, host, &in4->sin_addr) == 1) {
    in4->sin_family = AF_INET;
    in4->sin_port = port;
    result.length = sizeof(*in4);
  } else if (host[0] == '[' && host[length - 1] == ']') {
    host[length - 1] = 0;
    if (inet_pton(AF_INET6, host + 1, &in6->sin6_addr) == 1) {
      in6->sin6_family = AF_INET6;
      in6->sin6_port = port;
      result.length = sizeof(*in6);
    }
  }
  if (result.length == 0)
    return error_set(
        err, -EINVAL,
        "\"%s\" is no IP address: write 127.0.0.1:PORT, [::1]:PORT, another IP address, or unix:PATH", text);
  *ret_address = result;
  return 0;
}

/* A socket file without a listener is what a killed daemon leaves; a live one answers connect(). */
static int clear_stale(const struct sockaddr_un *un, struct guise_error *err) {
  struct stat st;
  if (lstat(un->sun_path, &st) < 0)
    return errno == ENOENT ? 0
                           : error_set(err, -errno, "cannot look at %s: %s", un->sun_path, strerror(errno));
  if (!S_ISSOCK(st.st_mode))
    return error_set(err, -EEXIST, "%s exists and is no socket: choose another path", un->sun_path);
  _cleanup_(closep) int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0)
    return error_set(err, -errno, "cannot make a socket: %s", strerror(errno));
  if (connect(fd, (const struct sockaddr *)un, sizeof(*un)) == 0)
    return error_set(err, -EADDRINUSE, "another process listens on %s: stop it or choose another path",
                     un->sun_path);
  if (errno != ECONNREFUSED)
    return error_set(err, -errno, "cannot tell who listens on %s: %s", un->sun_path, strerror(errno));
  if (unlink(un->sun_path) < 0)
    return error_set(err, -errno, "cannot replace the socket %s: %s", un->sun_path, strerror(errno));
  return 0;
}

int listen_open(const struct listen_address *address, struct guise_error *err) {
  const struct sockaddr_un *un = (const struct sockaddr_un *)&address->address;
  bool local = address->address.ss_family == AF_UNIX;
  int on = 1;
  int r = local ? clear_stale(un, err) : 0;
  if (r < 0)
    return r;
  _cleanup_(closep) int fd =
      socket(address->address.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (fd < 0)
    return error_set(err, -errno, "cannot make a socket: %s", strerror(errno));
  if (!local && setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) < 0)
    return error_set(err, -errno, "cannot set up the socket: %s", strerror(errno));
  /* a Unix socket's file takes the descriptor's mode less the umask: nobody gets in between bind and chmod */
  if (local && fchmod(fd, 0660) < 0)
    return error_set(err, -errno, "cannot set the socket's mode: %s", strerror(errno));
  if (bind(fd, (const struct sockaddr *)&address->address, address->length) < 0 || listen(fd, BACKLOG) < 0) {
    r = -errno;
    return error_set(err, r, "cannot listen: %s%s", strerror(-r),
                     r == -EADDRINUSE ? "; choose another port with --listen 127.0.0.1:PORT (0 = a free one)"
                                      : "");
  }
  if (local && chmod(un->sun_path, 0660) < 0)
    return error_set(err, -errno, "cannot set the mode of %s: %s", un->sun_path, strerror(errno));
  int result = fd;
  fd = -1;
  return result;
}

int listen_inherited(struct guise_error *err) {
  int count = sd_listen_fds(1);
  if (count == 0)
    return -ENOENT;
  if (count != 1)
    return error_set(err, -EINVAL,
                     "%s sockets were passed: guised takes one (one ListenStream= in guised.socket)",
                     count < 0 ? "unusable" : "several");
  int fd = SD_LISTEN_FDS_START;
  if (sd_is_socket(fd, AF_UNSPEC, SOCK_STREAM, 1) <= 0)
    return error_set(err, -EINVAL, "the passed socket is not a listening stream socket");
  int flags = fcntl(fd, F_GETFL);
  if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0)
    return error_set(err, -errno, "cannot set up the passed socket: %s", strerror(errno));
  return fd;
}

bool listen_is_local(int fd) {
  struct sockaddr_storage address = {0};
  socklen_t length = sizeof(address);
  return getsockname(fd, (struct sockaddr *)&address, &length) == 0 && is_loopback(&address);
}

bool listen_is_unix(int fd) {
  struct sockaddr_storage address = {0};
  socklen_t length = sizeof(address);
  return getsockname(fd, (struct sockaddr *)&address, &length) == 0 && address.ss_family == AF_UNIX;
}

int listen_describe(int fd, bool tls, char *ret_text, size_t size) {
  struct sockaddr_storage address = {0};
  socklen_t length = sizeof(address);
  char host[INET6_ADDRSTRLEN];
  if (getsockname(fd, (struct sockaddr *)&address, &length) < 0)
    return -errno;
  if (address.ss_family == AF_UNIX) {
    (void)snprintf(ret_text, size, "unix:%s", ((struct sockaddr_un *)&address)->sun_path);
    return 0;
  }
  bool six = address.ss_family == AF_INET6;
  const void *ip = six ? (const void *)&((struct sockaddr_in6 *)&address)->sin6_addr
                       : (const void *)&((struct sockaddr_in *)&address)->sin_addr;
  in_port_t port =
      six ? ((struct sockaddr_in6 *)&address)->sin6_port : ((struct sockaddr_in *)&address)->sin_port;
  if (!inet_ntop(address.ss_family, ip, host, sizeof(host)))
    return -errno;
  (void)snprintf(ret_text, size, six ? "http%s://[%s]:%u" : "http%s://%s:%u", tls ? "s" : "", host,
                 (unsigned)ntohs(port));
  return 0;
}
