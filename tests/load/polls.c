/* Clients that ask again and again, over epoll. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "tests/load/load.h"

#define ANSWER_BYTES (64u << 10)

struct client {
  int fd;
  bool waits;         /* for its answer */
  int64_t sent_ns;    /* last request */
  int64_t next_ns;    /* when to ask again */
  size_t have, whole; /* bytes of the answer so far; of all of it, 0 = its head is not there yet */
  int status;
  char answer[ANSWER_BYTES];
};

struct crowd {
  struct client *client;
  uint32_t clients;
  int epoll;
  char request[512];
  size_t request_bytes;
  int64_t every_ns;
  float *ms; /* of each answer */
  size_t times, room;
  struct polls result;
};

int64_t now_ns(void) {
  struct timespec now;
  (void)clock_gettime(CLOCK_MONOTONIC, &now);
  return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

static unsigned port_of(const struct server *server) {
  unsigned port = 0;
  assert_int_equal(sscanf(server->url, "http://127.0.0.1:%u", &port), 1);
  return port;
}

static void open_client(struct crowd *crowd, struct client *client, unsigned port) {
  const int on = 1;
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
  struct epoll_event event = {.events = EPOLLIN, .data.ptr = client};
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  client->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  assert_true(client->fd >= 0);
  if (connect(client->fd, (struct sockaddr *)&address, sizeof(address)) < 0) {
    crowd->result.broken++;
    (void)close(client->fd);
    client->fd = -1;
    return;
  }
  (void)setsockopt(client->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
  (void)fcntl(client->fd, F_SETFL, O_NONBLOCK);
  assert_int_equal(epoll_ctl(crowd->epoll, EPOLL_CTL_ADD, client->fd, &event), 0);
}

static void lose(struct crowd *crowd, struct client *client) {
  crowd->result.broken++;
  (void)close(client->fd);
  client->fd = -1;
}

static void ask_again(struct crowd *crowd, struct client *client, int64_t now) {
  client->waits = true;
  client->have = client->whole = 0;
  client->sent_ns = now;
  client->next_ns += crowd->every_ns;
  if (send(client->fd, crowd->request, crowd->request_bytes, MSG_NOSIGNAL) != (ssize_t)crowd->request_bytes)
    lose(crowd, client);
}

/* Sets client->whole once the answer's head is there. */
static void read_head(struct client *client) {
  client->answer[client->have] = 0;
  const char *end = strstr(client->answer, "\r\n\r\n");
  const char *length = end ? strcasestr(client->answer, "\r\nContent-Length:") : NULL;
  if (!length || length > end)
    return;
  (void)sscanf(client->answer, "HTTP/1.%*d %d", &client->status);
  client->whole = (size_t)(end + 4 - client->answer) + strtoul(length + 17, NULL, 10);
}

static void note_answer(struct crowd *crowd, struct client *client, int64_t now) {
  client->waits = false;
  if (client->status != 200) {
    crowd->result.refused++;
    return;
  }
  crowd->result.answers++;
  if (crowd->times == crowd->room) {
    crowd->room = crowd->room ? 2 * crowd->room : 1u << 16;
    crowd->ms = reallocarray(crowd->ms, crowd->room, sizeof(*crowd->ms));
    assert_non_null(crowd->ms);
  }
  crowd->ms[crowd->times++] = (float)((double)(now - client->sent_ns) * 1e-6);
}

static void take(struct crowd *crowd, struct client *client) {
  /* of the body nothing is looked at */
  const size_t kept = client->whole > 0 ? 0 : client->have;
  ssize_t n = recv(client->fd, client->answer + kept, ANSWER_BYTES - 1 - kept, 0);
  if (n < 0 && errno == EAGAIN)
    return;
  if (n <= 0 || !client->waits) {
    lose(crowd, client);
    return;
  }
  client->have += (size_t)n;
  if (client->whole == 0)
    read_head(client);
  if (client->whole > 0 && client->have >= client->whole) {
    const int64_t now = now_ns();
    note_answer(crowd, client, now);
    if (crowd->every_ns == 0)
      ask_again(crowd, client, now);
  }
}

/* Sends what is due; the time of what is due next. */
static int64_t ask_due(struct crowd *crowd) {
  const int64_t now = now_ns();
  int64_t soonest = now + 100000000;
  for (uint32_t i = 0; i < crowd->clients; i++) {
    struct client *client = &crowd->client[i];
    if (client->fd >= 0 && !client->waits && client->next_ns <= now)
      ask_again(crowd, client, now_ns());
    if (client->fd >= 0 && !client->waits && client->next_ns < soonest)
      soonest = client->next_ns;
  }
  return soonest;
}

static void serve(struct crowd *crowd, int64_t until) {
  struct epoll_event events[64];
  for (int64_t now = now_ns(); now < until; now = now_ns()) {
    int64_t soonest = ask_due(crowd);
    int wait_ms = soonest <= now ? 0 : (int)((soonest - now + 999999) / 1000000);
    int count = epoll_wait(crowd->epoll, events, 64, wait_ms);
    for (int i = 0; i < count; i++)
      take(crowd, events[i].data.ptr);
  }
}

static int by_size(const void *a, const void *b) {
  const float x = *(const float *)a, y = *(const float *)b;
  return (x > y) - (x < y);
}

static void sum_up(struct crowd *crowd, double seconds) {
  struct polls *result = &crowd->result;
  const size_t n = crowd->times;
  result->per_s = (double)result->answers / seconds;
  if (n == 0)
    return;
  qsort(crowd->ms, n, sizeof(*crowd->ms), by_size);
  result->p50_ms = (double)crowd->ms[n / 2];
  result->p99_ms = (double)crowd->ms[(size_t)((double)n * 0.99)];
  result->most_ms = (double)crowd->ms[n - 1];
}

void polls_run(const struct server *server, const char *path, uint32_t clients, double every_s,
               double seconds, struct polls *ret_polls) {
  struct crowd crowd = {.clients = clients, .every_ns = (int64_t)(every_s * 1e9)};
  const unsigned port = port_of(server);
  crowd.client = calloc(clients, sizeof(*crowd.client));
  crowd.epoll = epoll_create1(EPOLL_CLOEXEC);
  assert_true(crowd.client && crowd.epoll >= 0);
  crowd.request_bytes = (size_t)snprintf(crowd.request, sizeof(crowd.request),
                                         "GET %s HTTP/1.1\r\nHost: 127.0.0.1:%u\r\n\r\n", path, port);
  for (uint32_t i = 0; i < clients; i++)
    open_client(&crowd, &crowd.client[i], port);
  const int64_t begin = now_ns();
  for (uint32_t i = 0; i < clients; i++) /* not all at the same moment */
    crowd.client[i].next_ns = begin + crowd.every_ns * i / clients;
  serve(&crowd, begin + (int64_t)(seconds * 1e9));
  for (uint32_t i = 0; i < clients; i++)
    if (crowd.client[i].fd >= 0)
      (void)close(crowd.client[i].fd);
  sum_up(&crowd, seconds);
  *ret_polls = crowd.result;
  (void)close(crowd.epoll);
  free(crowd.client);
  free(crowd.ms);
}

bool polls_by_wrk(const struct server *server, const char *path, uint32_t clients, double seconds,
                  struct polls *ret_polls) {
  char command[512], line[256];
  struct polls result = {.per_s = -1};
  (void)snprintf(command, sizeof(command), "wrk -t1 -c%u -d%.0fs %s%s 2>/dev/null", clients, seconds,
                 server->url, path);
  FILE *out = popen(command, "re"); // NOLINT(cert-env33-c): made of numbers and our own URL
  while (out && fgets(line, sizeof(line), out)) {
    (void)sscanf(line, "Requests/sec: %lf", &result.per_s);
    (void)sscanf(line, " Non-2xx or 3xx responses: %llu", &result.refused);
  }
  if (out)
    (void)pclose(out);
  if (result.per_s < 0)
    return false;
  *ret_polls = result;
  return true;
}
