#include "daemon/peer.h"

#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#define GROUPS_MAX 1024u

/* Not reentrant, like the functions below it: called before there are threads, and at a reload by one. */
static int find_user(const char *name, uint32_t *ret_id) {
  const struct passwd *entry = getpwnam(name);
  if (!entry)
    return -ENOENT;
  *ret_id = entry->pw_uid;
  return 0;
}

static int find_group(const char *name, uint32_t *ret_id) {
  const struct group *entry = getgrnam(name);
  if (!entry)
    return -ENOENT;
  *ret_id = entry->gr_gid;
  return 0;
}

/* (uid_t)-1 means "nobody in particular" to the kernel and is no id. */
static int parse_id(const char *name, int (*find)(const char *name, uint32_t *ret_id), uint32_t *ret_id) {
  char *end;
  if (name[0] < '0' || name[0] > '9')
    return find(name, ret_id);
  errno = 0;
  unsigned long value = strtoul(name, &end, 10);
  if (errno || *end || value >= UINT32_MAX)
    return -EINVAL;
  *ret_id = (uint32_t)value;
  return 0;
}

static int parse_list(const char *text, const char *what, int (*find)(const char *name, uint32_t *ret_id),
                      uint32_t ids[PEER_IDS], uint32_t *count, struct guise_error *err) {
  while (*text) {
    char name[64];
    text += strspn(text, ", \t");
    size_t length = strcspn(text, ", \t");
    if (length == 0)
      break;
    if (*count == PEER_IDS)
      return error_set(err, -EINVAL, "there are more than %u %ss: name a group", PEER_IDS, what);
    (void)snprintf(name, sizeof(name), "%.*s", (int)MIN(length, sizeof(name) - 1), text);
    if (length >= sizeof(name) || parse_id(name, find, &ids[*count]) < 0)
      return error_set(err, -EINVAL, "there is no %s %s on this machine", what, name);
    (*count)++;
    text += length;
  }
  return 0;
}

int peers_parse(const char *users, const char *groups, struct peers *ret_peers, struct guise_error *err) {
  struct peers peers = {.users = 0};
  int r = parse_list(users, "user", find_user, peers.user, &peers.users, err);
  if (r == 0)
    r = parse_list(groups, "group", find_group, peers.group, &peers.groups, err);
  if (r == 0)
    *ret_peers = peers;
  return r;
}

static bool has(const uint32_t *ids, uint32_t count, uint32_t id) {
  for (uint32_t i = 0; i < count; i++)
    if (ids[i] == id)
      return true;
  return false;
}

bool peers_allow(const struct peers *peers, int fd, uid_t *ret_user) {
  struct ucred peer = {.uid = (uid_t)-1};
  gid_t further[GROUPS_MAX];
  socklen_t length = sizeof(peer), bytes = sizeof(further);
  if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &length) < 0 || peer.uid == (uid_t)-1)
    return false;
  *ret_user = peer.uid;
  if (peers->users + peers->groups == 0 || has(peers->user, peers->users, peer.uid) ||
      has(peers->group, peers->groups, peer.gid))
    return true;
  if (getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, further, &bytes) < 0)
    return false;
  for (size_t i = 0; i < bytes / sizeof(gid_t); i++)
    if (has(peers->group, peers->groups, further[i]))
      return true;
  return false;
}
