#include "api/limit.h"

#include <math.h>
#include <netinet/in.h>
#include <sodium.h>
#include <string.h>
#include <sys/socket.h>

static void fill(struct limit_bucket *bucket, double rate, double burst, int64_t now_ns) {
  const double seconds = (double)(now_ns - bucket->filled_ns) * 1e-9;
  bucket->tokens = fmin(burst, bucket->tokens + rate * seconds);
  bucket->filled_ns = now_ns;
}

/* The client's bucket; a new one takes the place of one that is full again, which remembers nothing. */
static struct limit_bucket *find(struct limit *limit, uint64_t client, double rate, double burst,
                                 int64_t now_ns) {
  struct limit_bucket *free_one = NULL;
  for (uint32_t i = 0; i < LIMIT_CLIENTS; i++) {
    struct limit_bucket *bucket = &limit->bucket[i];
    if (bucket->used)
      fill(bucket, rate, burst, now_ns);
    if (bucket->used && bucket->client == client)
      return bucket;
    if (!free_one && (!bucket->used || bucket->tokens >= burst))
      free_one = bucket;
  }
  if (!free_one && limit->bucket[LIMIT_CLIENTS].used) {
    fill(&limit->bucket[LIMIT_CLIENTS], rate, burst, now_ns);
    return &limit->bucket[LIMIT_CLIENTS];
  }
  if (!free_one)
    free_one = &limit->bucket[LIMIT_CLIENTS];
  *free_one = (struct limit_bucket){.client = client, .tokens = burst, .filled_ns = now_ns, .used = true};
  return free_one;
}

uint32_t limit_take(struct limit *limit, uint64_t client, double cost, double rate, double burst,
                    int64_t now_ns) {
  struct limit_bucket *bucket = find(limit, client, rate, burst, now_ns);
  if (bucket->tokens >= cost) {
    bucket->tokens -= cost;
    return 0;
  }
  return (uint32_t)fmax(1, ceil((cost - bucket->tokens) / rate));
}

void limit_give_back(struct limit *limit, uint64_t client, double cost, double rate, double burst,
                     int64_t now_ns) {
  struct limit_bucket *bucket = find(limit, client, rate, burst, now_ns);
  bucket->tokens = fmin(burst, bucket->tokens + cost);
}

static uint64_t hash(const void *data, size_t bytes) {
  static const uint8_t key[crypto_shorthash_KEYBYTES] = {0}; /* no secret: keys of a small table */
  uint64_t value = 0;
  (void)crypto_shorthash((unsigned char *)&value, data, bytes, key);
  return value;
}

uint64_t limit_client(int fd) {
  struct sockaddr_storage address;
  socklen_t length = sizeof(address);
  struct ucred user;
  socklen_t user_length = sizeof(user);
  memset(&address, 0, sizeof(address));
  if (getpeername(fd, (struct sockaddr *)&address, &length) < 0)
    return 0;
  if (address.ss_family == AF_INET)
    return hash(&((struct sockaddr_in *)(void *)&address)->sin_addr, sizeof(struct in_addr));
  if (address.ss_family == AF_INET6) /* a host has a whole /64 */
    return hash(&((struct sockaddr_in6 *)(void *)&address)->sin6_addr, 8);
  if (address.ss_family == AF_UNIX && getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &user, &user_length) == 0)
    return hash(&user.uid, sizeof(user.uid));
  return 0;
}

uint64_t limit_token(const char *id) {
  return hash(id, strlen(id));
}
