/* Token buckets, one a client: `rate` tokens a second flow in, up to `burst`. A client is a token;
 * without one an address, or a user on a Unix socket. One thread at a time. */
#pragma once

#include <stdint.h>

#include "core/base/base.h"

#define LIMIT_CLIENTS 256u

struct limit_bucket {
  uint64_t client; /* hash */
  double tokens;
  int64_t filled_ns; /* when tokens were counted */
  bool used;
};

struct limit {
  /* The last one is shared by whoever finds no place: a client that takes many addresses gains nothing by it.
   */
  struct limit_bucket bucket[LIMIT_CLIENTS + 1];
};

/* Takes `cost` tokens: 0. Otherwise nothing is taken, and the seconds after which it is worth another try (at
 * least 1) are returned. cost <= burst. */
uint32_t limit_take(struct limit *limit, uint64_t client, double cost, double rate, double burst,
                    int64_t now_ns);

/* Gives back what limit_take took: what it was for did not come about. */
void limit_give_back(struct limit *limit, uint64_t client, double cost, double rate, double burst,
                     int64_t now_ns);

/* Who is at the other end of a connected socket. */
uint64_t limit_client(int fd);
uint64_t limit_token(const char *id);
