/* Who is at the other end of a Unix socket, by the kernel's word (SO_PEERCRED, SO_PEERGROUPS), and whether he
 * is one of those who need no token. */
#pragma once

#include <sys/types.h>

#include "core/base/base.h"

#define PEER_IDS 64u

struct peers {
  uid_t user[PEER_IDS];
  gid_t group[PEER_IDS];
  uint32_t users, groups; /* both 0: everybody whom the socket's mode lets in */
};

/* Names or numbers, separated by commas; "" = none. -EINVAL with err: no such user or group, or too many. */
int peers_parse(const char *users, const char *groups, struct peers *ret_peers, struct guise_error *err);
/* Whether the peer of a connected Unix socket is one of them, by his user, his group or one of his further
 * groups. *ret_user is set in either case. False when the kernel does not tell. */
bool peers_allow(const struct peers *peers, int fd, uid_t *ret_user);
