/* Where the daemon listens: parsing of --listen, the socket itself, and whether other machines reach it. */
#pragma once

#include <sys/socket.h>
#include <sys/un.h>

#include "core/base/base.h"

struct listen_address {
  struct sockaddr_storage address;
  socklen_t length;
};

/* "127.0.0.1:8080", "[::1]:0", "localhost:8080", "0.0.0.0:8443", "unix:PATH". -EINVAL: not understood; err
 * says what to write instead. */
int listen_parse(const char *text, struct listen_address *ret_address, struct guise_error *err);
/* A bound, listening, non-blocking socket (>= 0), or a negative errno. A Unix socket's file is made with mode
 * 0660; one left by a dead daemon is replaced, a live one is -EADDRINUSE. */
int listen_open(const struct listen_address *address, struct guise_error *err);
/* Sockets passed by the service manager: the only one's fd, -ENOENT when there is none, -EINVAL with err when
 * it is unfit. */
int listen_inherited(struct guise_error *err);
/* Whether only this machine reaches a listening socket: loopback or Unix. False when that cannot be told. */
bool listen_is_local(int fd);
bool listen_is_unix(int fd);
/* "http://127.0.0.1:8080" (https:// with tls) or "unix:/run/guise/guised.sock" of a listening socket. */
int listen_describe(int fd, bool tls, char *ret_text, size_t size);
