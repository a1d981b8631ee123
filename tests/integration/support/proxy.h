/* Stands between a client and a guised on a Unix socket, and loses answers: the request arrives, and then the
 * connection breaks. Or breaks it in the middle of a request. */
#pragma once

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct proxy {
  char url[64];    /* http://127.0.0.1:PORT */
  char target[96]; /* path of the socket */
  int fd;
  pthread_t thread;
  atomic_bool stop;
  /* Answers are counted from 1; those from `first` to `last` are lost. */
  atomic_uint answers, first, last;
  atomic_size_t cut; /* bytes after which the next large request is broken off, once; 0 = none */
  int64_t held_at;
  int held; /* the daemon's end of that, which closes two seconds later */
};

/* unix_url: unix:PATH. Fails the test when it cannot start. */
void proxy_start(struct proxy *proxy, const char *unix_url);
/* Counts anew, and loses these answers. */
void proxy_lose(struct proxy *proxy, unsigned first, unsigned last);
void proxy_stop(struct proxy *proxy);
