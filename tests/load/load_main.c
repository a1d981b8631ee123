/* Measures a real guised under load, on a loopback port of its own with a fresh state directory.
 *
 *   build/guise-load            the figures of docs/reliability.md, as its table: some minutes, 2 GB of disk
 *   build/guise-load --short    in seconds, and exit status 1 when one is worse by an order of magnitude
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "tests/load/load.h"

#define MIB (1024.0 * 1024)
#define JOB                                                                                             \
  "{\"type\":\"train\",\"dataset\":\"faces\",\"model\":{\"input\":32,\"width\":0.25,\"embedding\":32}," \
  "\"mask\":{\"method\":\"none\"},\"resources\":{\"threads\":1},"                                       \
  "\"train\":{\"epochs\":1000,\"batch\":32},\"audit\":{\"attacks\":[]}}"

#ifdef GUISE_SANITIZED
#define SLACK 100 /* and their memory is not guised's */
#else
#define SLACK 10
#endif

static const struct plan {
  bool is_short;
  uint32_t people, images;           /* of the data set that is trained on */
  uint32_t pollers, listeners, keen; /* keen: clients that ask as fast as they are answered */
  double seconds;                    /* of each measurement of polls */
  uint64_t upload;
  uint32_t jobs, starts;
} whole = {.people = 200,
           .images = 10,
           .pollers = 200,
           .listeners = 100,
           .keen = 64,
           .seconds = 30,
           .upload = UINT64_C(2000000000),
           .jobs = 10000,
           .starts = 5},
  brief = {.is_short = true,
           .people = 20,
           .images = 10,
           .pollers = 50,
           .listeners = 20,
           .keen = 16,
           .seconds = 2,
           .upload = 64u << 20,
           .jobs = 1000,
           .starts = 1};

static const struct plan *plan = &whole;

/* A line of the table; in the short form a figure that is `slack` times worse than the aim fails. */
static void tell(const char *what, const char *aim, double value, double most, double slack,
                 const char *format, ...) __attribute__((format(printf, 6, 7)));
static void tell(const char *what, const char *aim, double value, double most, double slack,
                 const char *format, ...) {
  va_list args;
  char measured[256];
  va_start(args, format);
  (void)vsnprintf(measured, sizeof(measured), format, args);
  va_end(args);
  printf("| %s | %s | %s | %s |\n", what, aim, measured, value <= most ? "yes" : "no");
  (void)fflush(stdout);
  if (plan->is_short && value > most * slack)
    fail_msg("%s: %s, %.0f times worse than %s is a fault", what, measured, slack, aim);
}

static void job_path(const char *id, char ret_path[160]) {
  (void)snprintf(ret_path, 160, "/v1/jobs/%s", id);
}

/* The short form runs on machines that do other things: there guised's own processor time counts. */
static void idle(struct server *server, const char *id, const char *when) {
  char path[160], what[128];
  struct polls polls;
  job_path(id, path);
  const double before = processor_s(server->pid);
  const bool wrk = !plan->is_short && polls_by_wrk(server, path, plan->keen, plan->seconds, &polls);
  if (!wrk)
    polls_run(server, path, plan->keen, 0, plan->seconds, &polls);
  const double per_processor_s = polls.per_s * plan->seconds / (processor_s(server->pid) - before + 0.01);
  (void)snprintf(what, sizeof(what), "idle, %s: polls a second (%s, %u connections)", when,
                 wrk ? "wrk" : "own client", plan->keen);
  tell(what, "15,000", 15000 / (plan->is_short ? per_processor_s : polls.per_s + 1e-9), 1, SLACK,
       "%.0f; %.0f a second of guised's processor time; %llu refused", polls.per_s, per_processor_s,
       polls.refused + polls.broken);
}

static void memory(struct server *server, const char *when) {
  char what[128];
  const double mib = (double)resident_bytes(server->pid) / MIB;
  (void)snprintf(what, sizeof(what), "idle, %s: anonymous resident memory", when);
  tell(what, "40 MB", mib, 40 * 1e6 / MIB, SLACK, "%.1f MB", mib * MIB / 1e6);
}

static void wait_running(struct server *server, const char *id) {
  if (strcmp(wait_job(server, id, 1, 120), "running") != 0)
    fail_msg("the job %s does not run", id);
}

static void upload(struct server *server) {
  struct upload_load load;
  char what[128];
  upload_run(server, plan->upload, &load);
  (void)snprintf(what, sizeof(what),
                 "upload of %.0f MB beside two trainings: growth of anonymous resident memory",
                 (double)plan->upload / 1e6);
  const double grown = ((double)load.most - (double)load.before) / 1e6;
  tell(what, "constant (< 8 MB)", grown, 8, SLACK,
       "%.1f MB (before %.1f, most %.1f, after %.1f MB), %.0f MB/s", grown, (double)load.before / 1e6,
       (double)load.most / 1e6, (double)load.after / 1e6, (double)plan->upload / 1e6 / load.seconds);
}

/* Polls, then an upload, beside listeners, while two jobs train. */
static void trainings(struct server *server, const char jobs[2][64]) {
  char path[160];
  struct polls polls;
  struct heard heard;
  struct listeners *listeners = listeners_start(server, jobs[0], plan->listeners);
  job_path(jobs[1], path);
  polls_run(server, path, plan->pollers, 1, plan->seconds, &polls);
  tell("two trainings on 2 cores: clients that poll a job each second, p99", "50 ms, none refused",
       polls.refused + polls.broken ? 1e9 : polls.p99_ms, 50, SLACK,
       "%u clients: p50 %.1f ms, p99 %.1f ms, longest %.1f ms, %llu refused", plan->pollers, polls.p50_ms,
       polls.p99_ms, polls.most_ms, polls.refused + polls.broken);
  polls_run(server, path, plan->pollers, 0, plan->seconds, &polls);
  tell("the same, each asks again at once: p99", "none refused", polls.refused + polls.broken ? 1e9 : 0, 1, 1,
       "%.0f/s, p50 %.1f ms, p99 %.1f ms, %llu refused", polls.per_s, polls.p50_ms, polls.p99_ms,
       polls.refused + polls.broken);
  upload(server);
  for (int i = 0; i < 2; i++) { /* 200: they have not ended */
    job_path(jobs[i], path);
    (void)strcat(path, "/cancel");
    expect(server, "POST", path, NULL, 200, NULL);
  }
  listeners_finish(server, listeners, &heard);
  tell("listeners to the events of a running job that hear all of them", "all", heard.listeners - heard.whole,
       0, 1, "%u of %u, %u events each", heard.whole, heard.listeners, heard.events);
  for (int i = 0; i < 2; i++)
    assert_string_equal(wait_job(server, jobs[i], 0, 60), "canceled");
}

static void lists(struct server *server) {
  static const char *const paths[] = {"/v1/jobs?limit=100", "/v1/jobs?state=queued", "/v1/jobs?label=load:no",
                                      "/v1/jobs?created_after=2030-01-01T00:00:00Z", "/metrics"};
  for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++) {
    struct polls polls;
    char what[128];
    polls_run(server, paths[i], 1, 0, plan->is_short ? 0.5 : 2, &polls);
    (void)snprintf(what, sizeof(what), "%u jobs: `GET %s`, p99", plan->jobs, paths[i]);
    tell(what, "50 ms", polls.answers ? polls.p99_ms : 1e9, 50, SLACK, "p50 %.1f ms, p99 %.1f ms",
         polls.p50_ms, polls.p99_ms);
  }
}

static void starts(struct server *server, const char *like) {
  double worst = 0, best = 1e9, most_processor = 0;
  char what[128];
  assert_int_equal(server_stop(server), 0);
  jobs_add(server, like, plan->jobs);
  for (uint32_t i = 0; i <= plan->starts; i++) {
    double processor;
    const double ms = start_run(server, &processor);
    if (i > 0) { /* the first one reads the files */
      worst = ms > worst ? ms : worst;
      best = ms < best ? ms : best;
      most_processor = processor > most_processor ? processor : most_processor;
    }
    if (i < plan->starts)
      assert_int_equal(server_stop(server), 0);
  }
  (void)snprintf(what, sizeof(what), "start to ready with %u jobs in the database", plan->jobs);
  tell(what, "200 ms", plan->is_short ? most_processor : worst, 200, SLACK,
       "%.0f to %.0f ms, %.0f ms of processor time", best, worst, most_processor);
}

static void load(void **state) {
  struct server server;
  char jobs[2][64];
  (void)state;
  server_prepare(&server);
  const char *options[] = {"--cores=2", "--workers=2", "--threads=1"};
  memcpy(server.option, options, sizeof(options));
  printf("| what | aim | measured | met |\n|---|---|---|---|\n");
  server_start(&server);
  memory(&server, "after the start");
  upload_faces(&server, "faces", plan->people, plan->images);
  for (int i = 0; i < 2; i++)
    (void)snprintf(jobs[i], sizeof(jobs[i]), "%s", submit(&server, JOB));
  for (int i = 0; i < 2; i++)
    wait_running(&server, jobs[i]);
  trainings(&server, jobs);
  starts(&server, jobs[0]);
  idle(&server, "job_load000001", "a job that has ended");
  lists(&server);
  memory(&server, "after these requests");
  assert_int_equal(server_stop(&server), 0);
  server_clean(&server);
}

int main(int argc, char **argv) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(load)};
  if (argc == 2 && strcmp(argv[1], "--short") == 0)
    plan = &brief;
  else if (argc > 1) {
    (void)fprintf(stderr, "usage: guise-load [--short]\n");
    return 2;
  }
  return cmocka_run_group_tests(tests, NULL, NULL);
}
