/* The load program's parts: clients that poll, listeners of a job's events, a large upload, a start. Each
 * drives a real guised over loopback and returns what it measured. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "tests/integration/support/server.h"

struct polls {
  unsigned long long answers; /* 200 */
  unsigned long long refused; /* any other status */
  unsigned long long broken;  /* connections that were closed or could not be made */
  double p50_ms, p99_ms, most_ms;
  double per_s;
};
/* `clients` connections, kept alive, ask for `path` for `seconds`; each asks `every_s` after it asked before,
 * or as soon as it has its answer when every_s is 0. One thread. A time is from sending to the answer's last
 * byte. */
void polls_run(const struct server *server, const char *path, uint32_t clients, double every_s,
               double seconds, struct polls *ret_polls);
/* The same by wrk with so many connections, without times; false when there is no wrk. */
bool polls_by_wrk(const struct server *server, const char *path, uint32_t clients, double seconds,
                  struct polls *ret_polls);

/* Listeners of a job's events, in a thread of their own. */
struct listeners;
struct listeners *listeners_start(const struct server *server, const char *job, uint32_t count);
struct heard {
  uint32_t listeners, whole; /* whole: heard all of the job's events, in order, to the last one, `end` */
  uint32_t events;           /* of the job */
};
/* Waits until all streams have ended; frees. */
void listeners_finish(struct server *server, struct listeners *listeners, struct heard *ret_heard);

uint64_t resident_bytes(pid_t pid); /* anonymous */
double processor_s(pid_t pid);      /* that it has used, all threads */

struct upload_load {
  double seconds;
  uint64_t before, most, after; /* anonymous resident memory of guised */
};
/* Sends `bytes` that are no archive as a data set, and erases it. */
void upload_run(struct server *server, uint64_t bytes, struct upload_load *ret_load);

/* Adds `count` jobs that have ended, each with its events and metrics, to the stopped daemon's database;
 * they are copies of the job `like`. */
void jobs_add(const struct server *server, const char *like, uint32_t count);
/* Starts guised; milliseconds until /readyz says 200, and the processor time that guised took for it. */
double start_run(struct server *server, double *ret_processor_ms);

int64_t now_ns(void);
