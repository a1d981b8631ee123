/* Where the daemon listens: parsing of --listen, the rule that only local addresses are served, the socket
 * itself. */
#pragma once

#include <sys/socket.h>
#include <sys/un.h>

#include "core/base/base.h"

struct listen_address {
  struct sockaddr_storage address;
  socklen_t length;
};

/* "127.0.0.1:8080", "[::1]:0", "localhost:8080", "unix:PATH". -EINVAL: not understood; -EPERM: an address
 * that other machines reach, which is refused as long as requests are not authenticated by tokens. err says
 * what to write instead. */
int listen_parse(const char *text, struct listen_address *ret_address, struct guise_error *err);
/* A bound, listening, non-blocking socket (>= 0), or a negative errno. A Unix socket's file is made with mode
 * 0660; one left by a dead daemon is replaced, a live one is -EADDRINUSE. */
int listen_open(const struct listen_address *address, struct guise_error *err);
/* Sockets passed by the service manager: the only one's fd, -ENOENT when there is none, -EINVAL with err when
 * it is unfit (checked as in listen_parse). */
int listen_inherited(struct guise_error *err);
/* "http://127.0.0.1:8080" or "unix:/run/guise/guised.sock" of a listening socket. */
int listen_describe(int fd, char *ret_text, size_t size);
